"""Streamed answers over a real gunicorn: order, ends, clients that leave or read slowly, engines that fail."""

from __future__ import annotations

import socket
import time
from typing import Any

import openai
import pytest
from engine import Engine
from web_process import WebProcess, events_of, eventually, read_all

from qzbrain.web import sse

TEXTS = [f"第{i}段，" for i in range(12)]


def ask(question: dict[str, Any], user: str, **more: Any) -> dict[str, Any]:
    """The question with a user by which the engine knows its script."""
    return {**question, "user": user, **more}


def test_a_stream_has_role_then_text_then_end_then_usage_then_done(web: WebProcess, scripted: Engine, question: dict[str, Any]) -> None:
    scripted.script(TEXTS, user="order")
    with web.open_stream(ask(question, "order", stream_options={"include_usage": True})) as sock:
        reply = read_all(sock)
    head = reply.partition(b"\r\n\r\n")[0].decode().lower()
    assert "content-type: text/event-stream" in head
    assert "x-accel-buffering: no" in head
    assert "x-request-id: " in head
    events = events_of(reply)
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in events[:-3]) == "".join(TEXTS)
    last = events[-3]
    assert last["choices"][0]["finish_reason"] == "stop"
    assert (last["rung"], last["citations"], last["confidence"]) == ("model", [], None)
    assert last["message_id"]
    assert last["conversation_id"]
    assert events[-2]["usage"]["completion_tokens"] == len(TEXTS)
    assert events[-1] == "[DONE]"


def test_the_connection_can_be_used_again_after_a_stream(web: WebProcess, scripted: Engine, question: dict[str, Any]) -> None:
    scripted.script(TEXTS, user="again")
    with web.open_stream(ask(question, "again")) as sock:
        assert read_all(sock).endswith(b"0\r\n\r\n")
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        assert read_all(sock).endswith(b'{"status":"ok"}')


def test_http_1_0_and_connection_close_end_with_the_connection(web: WebProcess, scripted: Engine, question: dict[str, Any]) -> None:
    scripted.script(TEXTS, user="close")
    with web.open_stream(ask(question, "close"), Connection="close") as sock:
        reply = b""
        while piece := sock.recv(65536):
            reply += piece
    assert events_of(reply)[-1] == "[DONE]"


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_frees_the_engine(web: WebProcess, scripted: Engine, question: dict[str, Any], stream: bool) -> None:
    user = f"leaver-{stream}"
    scripted.script(["字"] * 200, user=user, delay_s=0.5)
    sock = web.open_stream(ask(question, user, stream=stream))
    if stream:
        assert "字".encode() in _until(sock, "字".encode())
    else:
        eventually(lambda: any(one.body.get("user") == user for one in scripted.requests))
    left_at = time.monotonic()
    sock.close()
    freed_at = eventually(lambda: next((at for name, at in scripted.cancelled if name == user), None))
    assert freed_at - left_at < 0.45  # before the next token, which comes every half second


def test_what_was_given_before_leaving_is_stored_as_stopped(web: WebProcess, scripted: Engine) -> None:
    scripted.script(["开头", "后面"], user="half", delay_s=5)
    _, made = web.call("POST", "/api/conversations", {})
    path = f"/api/conversations/{made['id']}/messages"
    sock = web.open_stream({"content": "问", "model": "scripted@none", "options": {"user": "half"}}, path, Accept="text/event-stream")
    _until(sock, "开头".encode())
    sock.close()
    stored = eventually(lambda: [one for one in web.call("GET", path)[1]["data"] if one["status"] == "stopped"])
    assert stored[0]["content"] == "开头"


def test_native_events_carry_the_payloads_of_socket_io(web: WebProcess, scripted: Engine) -> None:
    scripted.script(TEXTS, user="native")
    _, made = web.call("POST", "/api/conversations", {})
    body = {"content": "问", "model": "scripted@none", "options": {"user": "native"}}
    with web.open_stream(body, f"/api/conversations/{made['id']}/messages", Accept="text/event-stream") as sock:
        reply = read_all(sock)
    events = events_of(reply)
    deltas = [event for event in events if "seq" in event]
    assert [event["seq"] for event in deltas] == list(range(len(deltas)))
    assert "".join(event["text"] for event in deltas) == "".join(TEXTS) == events[-1]["answer"]
    assert b"event: delta" in reply
    assert b"event: done" in reply


def test_a_slow_reader_gets_everything_and_holds_up_nobody(web: WebProcess, scripted: Engine, question: dict[str, Any]) -> None:
    text = "长" * 20_000
    scripted.script([text] * 60, user="slow")
    scripted.script(TEXTS, user="quick")
    with web.open_stream(ask(question, "slow"), receive_bytes=4096) as slow:
        eventually(lambda: any(one.body.get("user") == "slow" for one in scripted.requests))
        begun = time.monotonic()
        with web.open_stream(ask(question, "quick")) as quick:
            assert events_of(read_all(quick))[-1] == "[DONE]"
        assert time.monotonic() - begun < 5
        events = events_of(read_all(slow))
    assert "".join(event["choices"][0]["delta"].get("content", "") for event in events[:-1]) == text * 60


def test_silence_is_filled_with_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    class Recorder:
        def __init__(self) -> None:
            self.wrote, self.sent = False, b""

        def write(self, data: bytes) -> None:
            self.wrote, self.sent = True, self.sent + data

    wire = Recorder()
    live = sse._Live(wire, b"HEAD", b"COMMENT")  # type: ignore[arg-type]
    live.keep()
    assert wire.sent == b"HEADCOMMENT"
    live.keep()
    live.open()
    assert wire.sent == b"HEADCOMMENTCOMMENT"
    wire.write(b"x")
    live.keep()
    assert wire.sent.endswith(b"x")


def test_a_full_queue_is_429_with_a_time_to_come_back(web: WebProcess, scripted: Engine, question: dict[str, Any]) -> None:
    scripted.script(["字"] * 50, user="holder", delay_s=0.2)
    with web.open_stream(ask(question, "holder", model="narrow@none")) as holder:
        _until(holder, "字".encode())
        for stream in (True, False):
            with web.open_stream(ask(question, "late", model="narrow@none", stream=stream)) as sock:
                head = _until(sock, b"\r\n\r\n").decode("latin-1").lower()
            assert " 429 " in head.split("\r\n")[0]
            assert "retry-after: " in head


@pytest.mark.parametrize(
    ("fault", "fields"),
    [("", {"status": 500}), ("", {"status": 503}), ("garbage", {}), ("empty", {}), ("close", {}), ("html", {})],
)
@pytest.mark.parametrize("stream", [True, False])
def test_a_bare_model_that_fails_is_an_error_in_the_shape(
    web: WebProcess, scripted: Engine, question: dict[str, Any], fault: str, fields: dict[str, Any], stream: bool
) -> None:
    user = f"fault-{fault}-{fields.get('status')}-{stream}"
    scripted.script([], user=user, fault=fault, **fields)
    status, reply = web.call("POST", "/v1/chat/completions", ask(question, user, stream=stream))
    assert status == 503
    assert {"message", "type", "code", "param"} == set(reply["error"])


def test_a_stream_that_breaks_off_ends_with_an_error_and_done(web: WebProcess, scripted: Engine, question: dict[str, Any]) -> None:
    scripted.script(TEXTS, user="broken", fault="reset", after=3)
    with web.open_stream(ask(question, "broken")) as sock:
        events = events_of(read_all(sock))
    assert "error" in events[-2]
    assert events[-1] == "[DONE]"


def test_the_openai_sdk_streams_and_meets_its_own_errors(web: WebProcess, scripted: Engine) -> None:
    scripted.script(TEXTS)
    client = openai.OpenAI(base_url=f"{web.url}/v1", api_key="none", max_retries=0)
    assert "scripted" in [model.id for model in client.models.list()]
    messages: Any = [{"role": "user", "content": "你好"}]
    plain = client.chat.completions.create(model="scripted@none", messages=messages)
    assert plain.choices[0].message.content == "".join(TEXTS)
    chunks = list(client.chat.completions.create(model="scripted@none", messages=messages, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "".join(TEXTS)
    assert chunks[-1].usage is not None
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="nothing", messages=messages)
    assert missing.value.code == "model_not_found"


def test_a_parts_list_is_read_as_text(web: WebProcess, scripted: Engine, question: dict[str, Any]) -> None:
    scripted.script(TEXTS, user="parts")
    parts = [{"type": "text", "text": "一"}, {"type": "image_url", "image_url": {"url": "data:"}}, {"type": "text", "text": "二"}]
    status, _ = web.call("POST", "/v1/chat/completions", ask(question, "parts", stream=False, messages=[{"role": "user", "content": parts}]))
    assert status == 200
    asked = next(one for one in reversed(scripted.requests) if one.body.get("user") == "parts")
    assert asked.body["messages"][-1]["content"] == "一\n二"


def _until(sock: socket.socket, mark: bytes) -> bytes:
    data = b""
    while mark not in data:
        piece = sock.recv(65536)
        assert piece, f"ended before {mark!r}: {data[-200:]!r}"
        data += piece
    return data
