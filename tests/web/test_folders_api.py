"""Watched folders and bulk retry over HTTP."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from qzbrain import metrics
from qzbrain.brain import build
from qzbrain.settings import Settings
from qzbrain.web.app import create_app


@pytest.fixture
def fenced(make_settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlaskClient]:
    """A client of a brain that may watch `tmp_path/shared`."""
    (tmp_path / "shared").mkdir()
    monkeypatch.setattr(metrics, "REGISTRY", type(metrics.REGISTRY)(auto_describe=False))
    brain = build(make_settings(watch_roots=os.pathsep.join((str(tmp_path / "other"), str(tmp_path / "shared")))))
    client = create_app(brain).test_client()
    assert client.post("/api/knowledge-bases", json={"name": "laws"}).status_code == 201
    yield client
    brain.close()


def test_watch_list_and_unwatch(fenced: FlaskClient, tmp_path: Path) -> None:
    made = fenced.post("/api/knowledge-bases/laws/folders", json={"path": str(tmp_path / "shared"), "every_s": 30, "exclude": ["*.log"]})
    assert made.status_code == 201
    folder = made.get_json()
    assert (folder["every_s"], folder["recursive"], folder["exclude"], folder["result"]) == (30, False, ["*.log"], None)
    again = fenced.post("/api/knowledge-bases/laws/folders", json={"path": str(tmp_path / "shared"), "recursive": True}).get_json()
    assert (again["id"], again["every_s"], again["recursive"]) == (folder["id"], 60, True)
    assert [x["id"] for x in fenced.get("/api/knowledge-bases/laws/folders").get_json()["data"]] == [folder["id"]]
    assert [x["kind"] for x in fenced.get("/api/jobs").get_json()["data"]] == ["scan"]
    assert fenced.delete(f"/api/knowledge-bases/laws/folders/{folder['id']}").status_code == 204
    assert fenced.delete(f"/api/knowledge-bases/laws/folders/{folder['id']}").status_code == 404
    assert fenced.get("/api/jobs").get_json()["data"] == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"path": "/etc"}, 403, "folder_not_allowed"),
        ({"path": "SHARED/../.."}, 403, "folder_not_allowed"),
        ({"path": "SHARED/nothing"}, 400, "no_such_folder"),
        ({"path": "SHARED", "every_s": 0}, 400, "invalid_value"),
        ({"path": "SHARED", "every_s": "often"}, 400, "invalid_value"),
        ({"path": 5}, 400, "invalid_value"),
        ({}, 400, "invalid_value"),
        ({"path": "SHARED", "follow": True}, 400, "invalid_value"),
    ],
)
def test_what_cannot_be_watched(fenced: FlaskClient, tmp_path: Path, body: dict[str, object], status: int, code: str) -> None:
    if isinstance(body.get("path"), str):
        body = {**body, "path": str(body["path"]).replace("SHARED", str(tmp_path / "shared"))}
    reply = fenced.post("/api/knowledge-bases/laws/folders", json=body)
    assert reply.status_code == status, reply.get_json()
    if status != 400 or code != "invalid_value":
        assert reply.get_json()["error"]["code"] == code


def test_without_roots_no_folder_is_watched_over_http(client: FlaskClient, tmp_path: Path) -> None:
    client.post("/api/knowledge-bases", json={"name": "laws"})
    assert client.post("/api/knowledge-bases/laws/folders", json={"path": str(tmp_path)}).status_code == 403


def test_failed_documents_are_tried_again(fenced: FlaskClient) -> None:
    url = "/api/knowledge-bases/laws/documents"
    job = fenced.post(url, json={"name": "a", "text": "文件。"}).get_json()["data"][0]["job_id"]
    assert fenced.post(f"/api/jobs/{job}/cancel").status_code == 200
    assert fenced.get(f"{url}?status=failed").get_json()["data"][0]["reason"]["code"] == "cancelled"
    assert fenced.post(f"{url}/retry", json={"code": "timeout"}).get_json() == {"retried": 0}
    reply = fenced.post(f"{url}/retry", json={})
    assert (reply.status_code, reply.get_json()) == (202, {"retried": 1})
    (row,) = fenced.get(url).get_json()["data"]
    assert (row["status"], row["reason"], row["waiting_for"]["position"]) == ("pending", None, 1)
    assert fenced.post("/api/knowledge-bases/nothing/documents/retry", json={}).status_code == 404
