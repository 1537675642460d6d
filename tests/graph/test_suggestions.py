"""The review queue over HTTP: suggested, accepted, undone, dismissed for good."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from qzbrain import metrics
from qzbrain.web.app import create_app
from tests.engine import Engine
from tests.graph.conftest import Extracting

TEXT = "晨光文具股份有限公司（简称晨光文具）的董事长是李明。\n\n晨光文具的所在地是上海。"
SAID = {
    "entities": [
        {"name": "晨光文具股份有限公司", "type": "组织", "aliases": ["晨光文具", "不在文中的别名", "晨"]}, {"name": "晨光文具", "type": "组织", "aliases": []},
        {"name": "李明", "type": "人物", "aliases": []}, {"name": "上海", "type": "地点", "aliases": []},
    ],
    "triples": [
        {"s": "晨光文具股份有限公司", "p": "董事长", "o": "李明", "chunk": 1, "quote": "董事长是李明"},
        {"s": "晨光文具", "p": "所在地", "o": "上海", "chunk": 1, "quote": "晨光文具的所在地是上海"},
    ],
}  # fmt: skip


@pytest.fixture
def client(extracting: Extracting, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlaskClient]:
    """Requests to a brain whose model has read one document."""
    monkeypatch.setattr(metrics, "REGISTRY", type(metrics.REGISTRY)(auto_describe=False))
    engine.script(texts=[json.dumps(SAID, ensure_ascii=False)])
    extracting.add("a.txt", TEXT)
    extracting.extract()
    yield create_app(extracting.brain).test_client()


def ask(client: FlaskClient, method: str, path: str, **options: Any) -> Any:
    return client.open(f"/api/graph/kb{path}", method=method, headers={"Accept-Language": "en"}, **options)


def listed(client: FlaskClient, status: str = "open") -> list[dict[str, Any]]:
    return list(ask(client, "GET", f"/suggestions?status={status}").get_json()["data"])


def test_an_alias_that_names_another_entity_is_suggested(client: FlaskClient) -> None:
    (one,) = listed(client)
    assert (one["keep"]["name"], [x["name"] for x in one["merge"]]) == ("晨光文具股份有限公司", ["晨光文具"])
    assert (one["reason_code"], one["alias"]) == ("alias", "晨光文具")
    assert one["keep"]["aliases"] == ["晨光文具"]  # the others stand nowhere, or are a single character
    assert one["score"] == 0.85 and one["status"] == "open" and "alias" in one["reason"]
    assert ask(client, "GET", "/stats").get_json()["entities"] == 4  # nothing was merged by itself


def test_accepting_merges_and_undoing_opens_it_again(client: FlaskClient) -> None:
    (one,) = listed(client)
    made = ask(client, "POST", f"/suggestions/{one['id']}/accept").get_json()
    assert made["status"] == "accepted" and made["merge_id"] and made["keep"]["degree"] == 2 and made["merge"] == []
    assert listed(client) == [] and [x["id"] for x in listed(client, "accepted")] == [one["id"]]
    assert ask(client, "POST", f"/suggestions/{one['id']}/accept").status_code == 409
    assert ask(client, "POST", f"/merge/{made['merge_id']}/undo").status_code == 204
    assert [(x["id"], x["merge_id"]) for x in listed(client)] == [(one["id"], None)] and ask(client, "GET", "/stats").get_json()["entities"] == 4


def test_what_was_dismissed_does_not_come_again(client: FlaskClient, extracting: Extracting) -> None:
    (one,) = listed(client)
    assert ask(client, "POST", f"/suggestions/{one['id']}/dismiss").get_json()["status"] == "dismissed"
    found = ask(client, "GET", f"/entities/{one['keep']['id']}").get_json()
    assert found["aliases"] == []
    document_id = extracting.brain.knowledge.documents(extracting.caller, "kb").data[0].id
    for _ in range(2):
        extracting.brain.graph.forget_document(extracting.kb_id, document_id)  # its entities come back with other ids
        job = extracting.extract()
        assert job.result is not None and job.result["suggestions"] == 0 and listed(client) == []
    assert all(t.head.aliases == () for t in extracting.brain.graph.every_triple(extracting.kb_id))
    assert ask(client, "POST", f"/suggestions/{one['id']}/dismiss").status_code == 409


def test_what_is_gone_is_no_longer_suggested(client: FlaskClient, extracting: Extracting) -> None:
    document_id = extracting.brain.knowledge.documents(extracting.caller, "kb").data[0].id
    extracting.brain.graph.forget_document(extracting.kb_id, document_id)
    assert listed(client) == []
    assert extracting.brain.suggestions.refresh(extracting.kb_id) == 0 and ask(client, "GET", "/suggestions").get_json() == {"data": [], "total": 0}


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/suggestions/nothing/accept", 404, "suggestion_not_found"), ("POST", f"/suggestions/{'x' * 300}/dismiss", 404, "suggestion_not_found"),
        ("GET", "/suggestions?status=other", 400, None), ("GET", "/suggestions?limit=0", 400, None),
    ],
)  # fmt: skip
def test_bad_requests_are_refused(client: FlaskClient, method: str, path: str, status: int, code: str | None) -> None:
    said = ask(client, method, path)
    assert said.status_code == status and said.get_json()["error"]["message"] and (code is None or said.get_json()["error"]["code"] == code)


def test_extracting_over_http(client: FlaskClient, extracting: Extracting) -> None:
    cost = ask(client, "POST", "/extract", json={"dry_run": True}).get_json()
    assert {"chunks", "calls", "cached_calls", "prompt_tokens", "completion_tokens", "estimate_s", "model"} <= set(cost)
    assert cost["cached_calls"] == cost["calls"] == 1
    started = ask(client, "POST", "/extract", json={"model": "scripted"})
    assert started.status_code == 202
    extracting.work()
    assert extracting.brain.jobs.get(started.get_json()["job_id"]).status == "done"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model": "unknown"}, 404, "model_not_found"), ({"model": "extractive"}, 404, "model_not_found"),
        ({"document_ids": ["none"]}, 404, "document_not_found"), ({"document_ids": []}, 400, None),
        ({"other": 1}, 400, None), ({"dry_run": "perhaps"}, 400, None),
    ],
)  # fmt: skip
def test_what_cannot_be_extracted_is_said(client: FlaskClient, body: dict[str, Any], status: int, code: str | None) -> None:
    said = ask(client, "POST", "/extract", json=body)
    assert said.status_code == status, said.get_json()
    assert code is None or said.get_json()["error"]["code"] == code
