"""The audit log as the real web process writes it: answers by stream and by socket, at a kill and at a stop, and without slowing anybody."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import orjson
import pytest
import socketio
from engine import Engine
from web_process import WebProcess, eventually, read_all

from qzbrain.brain import build
from qzbrain.settings import Settings


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory, scripted: Engine) -> Iterator[WebProcess]:
    config = f'[models.scripted]\nengine = "external"\nbase_url = "{scripted.base_url}"\nslots = 200\nqueue = 200\n'
    process = WebProcess(tmp_path_factory.mktemp("audited"), config, settings={"QZBRAIN_AUDIT": "on"}).start()
    yield process
    process.stop()


def rows(web: WebProcess, action: str) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(web.data / "brain.sqlite")) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM audit_log WHERE action = ? ORDER BY number", (action,))]


def faults(web: WebProcess) -> tuple[object, ...]:
    brain = build(Settings(qzbrain_data=web.data))
    try:
        return brain.verify_audit().faults
    finally:
        brain.close()


def ask(user: str) -> dict[str, Any]:
    return {"model": "scripted@none", "stream": True, "user": user, "messages": [{"role": "user", "content": "你好"}]}


def test_answers_by_stream_and_by_socket_are_written_at_their_end(audited: WebProcess, scripted: Engine) -> None:
    scripted.script(["一", "二"], user="audit-live")
    with audited.open_stream(ask("audit-live")) as stream:
        assert b"[DONE]" in read_all(stream)
    (event,) = eventually(lambda: rows(audited, "answer"))
    assert (event["actor"], event["outcome"], orjson.loads(event["details"])["model"]) == ("local", "done", "scripted")
    assert event["request_id"]
    client = socketio.SimpleClient()
    client.connect(audited.url, transports=["websocket"])
    ack = client.call("chat", {"message": "你好", "model": "scripted@none", "options": {"user": "audit-live"}}, timeout=10)
    (_, second) = eventually(lambda: len(found := rows(audited, "answer")) == 2 and found)
    assert second["subject"] == ack["message_id"]
    client.disconnect()
    scripted.script(["字"] * 50, user="audit-leaver", delay_s=0.2)
    stream = audited.open_stream(ask("audit-leaver"))
    while "字".encode() not in stream.recv(65536):
        pass
    stream.close()
    third = eventually(lambda: len(found := rows(audited, "answer")) == 3 and found)[2]
    assert orjson.loads(third["details"])["stopped"] is True


def test_a_socket_that_is_refused_is_written(audited: WebProcess) -> None:
    status, _ = audited.call("GET", "/socket.io/?EIO=4&transport=websocket", Origin="http://evil.example")
    assert status == 403
    (event,) = eventually(lambda: rows(audited, "socket"))
    assert (event["outcome"], orjson.loads(event["details"])["code"], event["address"]) == ("refused", "origin_refused", "127.0.0.1")


def test_a_change_that_was_answered_is_in_the_log_after_a_kill(audited: WebProcess) -> None:
    made = []
    for i in range(10):
        status, body = audited.call("POST", "/api/knowledge-bases", {"name": f"kb{i}"})
        assert status == 201
        made.append(body["id"])
    audited.kill()
    assert [row["subject"] for row in rows(audited, "knowledge_base.create")] == made
    assert faults(audited) == ()
    audited.start()


def test_what_was_read_is_in_the_log_after_a_stop(audited: WebProcess) -> None:
    before = len(rows(audited, "search"))
    for i in range(20):
        assert audited.call("POST", "/api/search", {"query": f"第{i}条"})[0] == 200
    audited.stop()
    assert len(rows(audited, "search")) == before + 20
    assert faults(audited) == ()
    audited.start()


def test_many_at_once_make_one_chain(audited: WebProcess, scripted: Engine) -> None:
    before = len(rows(audited, "answer"))
    scripted.script(["一", "二"], user="audit-many")
    streams = [audited.open_stream(ask("audit-many")) for _ in range(60)]
    for i, stream in enumerate(streams):
        assert b"[DONE]" in read_all(stream)
        stream.close()
        if i % 10 == 0:
            assert audited.call("POST", "/api/knowledge-bases", {"name": f"many{i}"})[0] == 201
    eventually(lambda: len(rows(audited, "answer")) == before + 60)
    assert faults(audited) == ()
