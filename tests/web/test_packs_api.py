"""Packs over HTTP."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from qzbrain.brain import Brain
from qzbrain.worker import Workplace


def work(brain: Brain) -> None:
    end, deadline = threading.Event(), time.monotonic() + 60
    Workplace(brain).run(lambda: end.is_set() or time.monotonic() > deadline, idle=lambda _: end.set())
    assert end.is_set()


@pytest.fixture
def laws(client: FlaskClient, brain: Brain) -> str:
    assert client.post("/api/knowledge-bases", json={"name": "laws"}).status_code == 201
    client.post("/api/knowledge-bases/laws/documents", json={"name": "采购", "text": "第一条 采购金额超过五十万元的，须经董事会批准。"})
    work(brain)
    return "laws"


def job(client: FlaskClient, job_id: str) -> dict[str, Any]:
    return next(x for x in client.get("/api/jobs").get_json()["data"] if x["id"] == job_id)


def send(client: FlaskClient, data: bytes, name: str = "x.qzkb", query: str = "") -> Any:
    return client.post(f"/api/knowledge-bases/import{query}", data={"file": (io.BytesIO(data), name)}, content_type="multipart/form-data")


def exported(client: FlaskClient, brain: Brain, **body: bool) -> bytes:
    started = client.post("/api/knowledge-bases/laws/export", json=body)
    assert started.status_code == 202
    work(brain)
    fetched = client.get(f"/api/knowledge-bases/laws/export/{started.get_json()['job_id']}")
    assert fetched.status_code == 200
    assert "lexical-laws-250-50.qzkb" in fetched.headers["Content-Disposition"]
    return bytes(fetched.data)


def test_out_and_in_again(client: FlaskClient, brain: Brain, laws: str) -> None:
    data = exported(client, brain)
    question = {"query": "采购由谁批准", "knowledge_bases": [laws]}
    before = client.post("/api/search", json=question).get_json()["hits"]
    assert client.delete(f"/api/knowledge-bases/{laws}").status_code == 204
    started = send(client, data)
    assert started.status_code == 202, started.data
    assert client.get(f"/api/knowledge-bases/{laws}").status_code == 404, "not seen before it is whole"
    work(brain)
    assert job(client, started.get_json()["job_id"])["status"] == "done"
    after = client.post("/api/search", json=question).get_json()["hits"]
    assert before
    assert [{**x, "chunk_id": 0} for x in after] == [{**x, "chunk_id": 0} for x in before]
    assert not list((brain.settings.data / "packs").glob("import-*")), "what came is forgotten when it is in"


def test_a_taken_name_is_a_409_and_another_or_replacing_helps(client: FlaskClient, brain: Brain, laws: str, tmp_path: Path) -> None:
    data = exported(client, brain)
    refused = send(client, data)
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (409, "name_taken")
    for query in ("?name=other", "?replace=true"):
        started = send(client, data, query=query)
        assert started.status_code == 202
        work(brain)
        assert job(client, started.get_json()["job_id"])["status"] == "done"
    assert [x["name"] for x in client.get("/api/knowledge-bases").get_json()["data"]] == ["laws", "other"]


@pytest.mark.parametrize(
    ("data", "name", "query", "status"),
    [
        (b"", "x.qzkb", "", 400),
        (b"no pack", "x.qzkb", "", 400),
        (b"PK\x03\x04" * 9, "x.qzkb", "", 400),
        (b"x", "x.qzkb", "?name=a/b", 400),
        (b"x", "x", "?nam=a", 400),
    ],
)
def test_what_is_no_pack_is_refused_and_leaves_nothing(client: FlaskClient, brain: Brain, data: bytes, name: str, query: str, status: int) -> None:
    refused = send(client, data, name, query)
    assert refused.status_code == status
    assert refused.get_json()["error"]["message"]
    assert not list((brain.settings.data / "packs").glob("import-*"))


def test_a_wrong_request_is_refused(client: FlaskClient, laws: str) -> None:
    assert client.post("/api/knowledge-bases/import", json={}).status_code == 415
    assert client.post("/api/knowledge-bases/import", data={"other": "x"}, content_type="multipart/form-data").status_code == 400
    assert client.post("/api/knowledge-bases/none/export", json={}).status_code == 404
    assert client.post("/api/knowledge-bases/laws/export", json={"vector": 1}).status_code == 400
    assert client.get("/api/knowledge-bases/laws/export/none").status_code == 404
    started = client.post("/api/knowledge-bases/laws/export", json={}).get_json()["job_id"]
    early = client.get(f"/api/knowledge-bases/laws/export/{started}")
    assert (early.status_code, early.get_json()["error"]["code"]) == (409, "not_exported")


def test_a_pack_may_be_larger_than_an_upload(client: FlaskClient, brain: Brain, laws: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = exported(client, brain)
    monkeypatch.setitem(client.application.config, "MAX_CONTENT_LENGTH", 100)
    assert send(client, data, query="?name=other").status_code == 202
