"""Chunks over HTTP: edited, switched off, compared, undone, previewed; and everything that is refused."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from flask.testing import FlaskClient

from qzbrain.brain import Brain
from qzbrain.worker import Workplace

TEXT = "\n".join(f"第{number}台设备每{number}个月保养一次，由值班人员登记。" for number in range(1, 31))


def work(brain: Brain) -> None:
    """All jobs that are due, as the worker does them."""
    end, deadline = threading.Event(), time.monotonic() + 60
    Workplace(brain).run(lambda: end.is_set() or time.monotonic() > deadline, idle=lambda _: end.set())


@pytest.fixture
def document(client: FlaskClient, brain: Brain) -> str:
    """A ready document."""
    client.post("/api/knowledge-bases", json={"name": "kb"})
    reply = client.post("/api/knowledge-bases/kb/documents", json={"name": "a", "text": TEXT})
    work(brain)
    return str(reply.get_json()["data"][0]["id"])


def chunks_of(client: FlaskClient, document: str) -> list[dict[str, Any]]:
    return list(client.get(f"/api/documents/{document}/chunks?limit=500").get_json()["data"])


def test_edit_history_diff_undo(client: FlaskClient, document: str) -> None:
    first = chunks_of(client, document)[0]
    reply = client.patch(f"/api/documents/{document}/chunks/{first['id']}", json={"text": first["text"].replace("值班", "专职"), "note": "更正"})
    made = reply.get_json()
    assert reply.status_code == 200
    assert (made["ordinal"], made["enabled"]) == (0, True)
    assert made["text"] == client.get(f"/api/documents/{document}/content").get_json()["text"][made["start"]:made["end"]]
    edit = client.get(f"/api/documents/{document}/chunks/{made['id']}/history").get_json()["data"][0]
    assert (edit["kind"], edit["before"], edit["after"], edit["note"]) == ("text", first["text"], made["text"], "更正")
    assert {"op": "insert", "text": "专职"} in edit["diff"]
    assert client.get(f"/api/documents/{document}").get_json()["edits"] == {"applied": 1, "lost": 0}
    undone = client.post(f"/api/documents/{document}/edits/1/undo").get_json()
    assert undone["after"] == first["text"]
    assert client.post(f"/api/documents/{document}/edits/1/undo").status_code == 409
    assert [x["number"] for x in client.get(f"/api/documents/{document}/edits").get_json()["data"]] == [2, 1]


def test_what_is_refused(client: FlaskClient, document: str) -> None:
    first = chunks_of(client, document)[0]["id"]
    place = f"/api/documents/{document}/chunks/{first}"
    for path, body, status, code in (
        (place, {"text": " "}, 400, "empty"),
        (place, {"text": "字" * 20_001}, 400, "invalid_value"),
        (place, {"text": 5}, 400, "invalid_value"),
        (place, {"colour": "red"}, 400, None),
        (place, {"text": "新", "if_text": "旧"}, 409, "chunk_changed"),
        (f"/api/documents/{document}/chunks/999999", {"text": "新"}, 404, "chunk_not_found"),
        (f"/api/documents/{document}/chunks/-1", {"text": "新"}, 400, None),
        (f"/api/documents/{document}/chunks/x", {"text": "新"}, 400, None),
        (f"/api/documents/{document}/chunks/{10**30}", {"text": "新"}, 400, None),
        (f"/api/documents/nothing/chunks/{first}", {"text": "新"}, 404, "document_not_found"),
        ("/api/knowledge-bases/kb", {"chunk_chars": 10}, 400, "invalid_value"),
        ("/api/knowledge-bases/kb", {"overlap_chars": 200}, 400, "invalid_value"),
    ):
        reply = client.patch(path, json=body)
        assert reply.status_code == status, (path, body)
        assert code is None or reply.get_json()["error"]["code"] == code, (path, body)
    assert client.get("/api/documents/nothing/edits").status_code == 404
    assert client.post(f"/api/documents/{document}/edits/1/undo").status_code == 404


def test_preview_stores_nothing_and_says_what_rechunking_does(client: FlaskClient, brain: Brain, document: str) -> None:
    before = chunks_of(client, document)
    client.patch(f"/api/documents/{document}/chunks/{before[0]['id']}", json={"text": "全新的开头。"})
    before = chunks_of(client, document)
    found = client.post(f"/api/documents/{document}/chunk-preview", json={"chunk_chars": 90, "overlap_chars": 30}).get_json()
    assert "now" in found, found
    assert found["now"]["count"] == len(before)
    assert chunks_of(client, document) == before
    changed = client.patch("/api/knowledge-bases/kb", json={"chunk_chars": 90, "overlap_chars": 30}).get_json()
    assert (changed["chunk_chars"], changed["manifest"]["chunk_chars"]) == (90, 90)
    assert changed["job_id"]
    work(brain)
    after = chunks_of(client, document)
    assert found["then"]["count"] == len(after)
    assert [x["text"] for x in found["then"]["chunks"]] == [x["text"] for x in after[:50]]
    assert client.patch("/api/knowledge-bases/kb", json={"chunk_chars": 90}).get_json()["job_id"] is None
    for body, status in (({"chunk_chars": 10, "overlap_chars": 0}, 400), ({"chunk_chars": 100, "overlap_chars": 90}, 400), ({}, 400)):
        assert client.post(f"/api/documents/{document}/chunk-preview", json=body).status_code == status
    assert client.post("/api/documents/nothing/chunk-preview", json={"chunk_chars": 90, "overlap_chars": 30}).status_code == 404
