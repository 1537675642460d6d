"""Socket.IO over a real gunicorn: order, resume, stop, two tabs, slow readers, bad payloads, foreign pages."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import socketio
from engine import Engine
from web_process import WebProcess, eventually

from qzbrain.web import websocket

TEXTS = [f"第{i}段，" for i in range(30)]
Connect = Callable[[], socketio.SimpleClient]


@pytest.fixture
def connect(web: WebProcess) -> Iterator[Connect]:
    """Makes clients that are closed after the test."""
    made: list[socketio.SimpleClient] = []

    def one() -> socketio.SimpleClient:
        client = socketio.SimpleClient()
        client.connect(web.url, transports=["websocket"])
        made.append(client)
        return client

    yield one
    for client in made:
        client.disconnect()


def chat(client: socketio.SimpleClient, user: str, **more: Any) -> dict[str, Any]:
    """The acknowledgement of a question to the bare model."""
    reply: dict[str, Any] = client.call("chat", {"message": "你好", "model": "scripted@none", "options": {"user": user}, **more}, timeout=10)
    return reply


def until_end(client: socketio.SimpleClient, message_id: str) -> list[tuple[str, dict[str, Any]]]:
    """Events of one message up to its end."""
    seen = []
    while not seen or seen[-1][0] not in ("chat:done", "chat:error"):
        name, payload = client.receive(timeout=10)
        if payload["message_id"] == message_id:
            seen.append((name, payload))
    return seen


def text_of(events: list[tuple[str, dict[str, Any]]]) -> str:
    """All deltas joined."""
    return "".join(payload["text"] for name, payload in events if name == "chat:delta")


def test_a_question_is_acknowledged_then_answered_in_order(connect: Connect, scripted: Engine) -> None:
    scripted.script(TEXTS, user="sio-order")
    client = connect()
    ack = chat(client, "sio-order")
    events = until_end(client, ack["message_id"])
    deltas = [payload for name, payload in events if name == "chat:delta"]
    assert [payload["seq"] for payload in deltas] == list(range(len(deltas)))
    done = events[-1][1]
    assert text_of(events) == "".join(TEXTS) == done["answer"]
    assert (done["rung"], done["citations"], done["conversation_id"], done["stopped"]) == ("model", [], ack["conversation_id"], False)


def test_a_dropped_connection_is_taken_up_where_it_broke(connect: Connect, scripted: Engine) -> None:
    scripted.script(TEXTS, user="sio-resume", delay_s=0.03)
    client = connect()
    ack = chat(client, "sio-resume")
    text, seq = "", -1
    while seq < 5:
        name, payload = client.receive(timeout=10)
        if name == "chat:delta":
            text, seq = text + payload["text"], payload["seq"]
    client.disconnect()
    back = connect()
    assert back.call("chat:resume", {"message_id": ack["message_id"], "after_seq": seq})["message_id"] == ack["message_id"]
    events = until_end(back, ack["message_id"])
    deltas = [payload for name, payload in events if name == "chat:delta"]
    assert [payload["seq"] for payload in deltas] == list(range(seq + 1, seq + 1 + len(deltas)))
    assert text + text_of(events) == "".join(TEXTS)


def test_two_tabs_see_one_turn_from_the_start_and_after_its_end(connect: Connect, scripted: Engine) -> None:
    scripted.script(TEXTS, user="sio-tabs", delay_s=0.02)
    first, second = connect(), connect()
    ack = chat(first, "sio-tabs")
    first.receive(timeout=10)
    second.emit("chat:resume", {"message_id": ack["message_id"], "after_seq": -1})
    assert text_of(until_end(second, ack["message_id"])) == "".join(TEXTS)
    until_end(first, ack["message_id"])
    third = connect()
    third.emit("chat:resume", {"message_id": ack["message_id"], "after_seq": -1})
    assert text_of(until_end(third, ack["message_id"])) == "".join(TEXTS)
    assert len([one for one in scripted.requests if one.body.get("user") == "sio-tabs"]) == 1


def test_stop_ends_the_answer_for_all_tabs_and_frees_the_engine(connect: Connect, scripted: Engine) -> None:
    scripted.script(["字"] * 500, user="sio-stop", delay_s=0.1)
    first, second = connect(), connect()
    ack = chat(first, "sio-stop")
    first.receive(timeout=10)
    second.emit("chat:resume", {"message_id": ack["message_id"], "after_seq": -1})
    second.receive(timeout=10)
    begun = time.monotonic()
    assert second.call("chat:stop", {"message_id": ack["message_id"]})["stopped"] is True
    for client in (first, second):
        done = until_end(client, ack["message_id"])[-1]
        assert (done[0], done[1]["stopped"]) == ("chat:done", True)
    assert time.monotonic() - begun < 10, "the whole answer takes fifty seconds"
    eventually(lambda: any(user == "sio-stop" for user, _ in scripted.cancelled))


def test_an_unknown_message_and_one_from_before_are_told_apart(connect: Connect, web: WebProcess) -> None:
    client = connect()
    assert client.call("chat:resume", {"message_id": "nothing", "after_seq": -1})["error"]["code"] == "message_not_found"
    _, answer = web.call("POST", "/v1/chat/completions", {"model": "extractive", "messages": [{"role": "user", "content": "什么？"}]})
    client.call("chat:resume", {"message_id": answer["message_id"], "after_seq": 3})
    events = until_end(client, answer["message_id"])
    assert [name for name, _ in events] == ["chat:done"]
    assert events[0][1]["answer"] == answer["choices"][0]["message"]["content"]


@pytest.mark.parametrize(
    ("event", "payload", "code"),
    [
        ("chat", None, "invalid_value"),
        ("chat", "text", "invalid_value"),
        ("chat", {}, "missing_field"),
        ("chat", {"message": "  "}, "empty_question"),
        ("chat", {"message": "法" * 20_001}, "question_too_long"),
        ("chat", {"message": "x", "model": "nothing"}, "model_not_found"),
        ("chat", {"message": "x", "knowledge_bases": ["nowhere"]}, "knowledge_base_not_found"),
        ("chat", {"message": "x", "conversation_id": "nothing"}, "conversation_not_found"),
        ("chat", {"message": "x", "options": {"max_tokens": -1}}, "invalid_value"),
        ("chat:stop", {}, "missing_field"),
        ("chat:stop", {"message_id": "nothing"}, "message_not_found"),
        ("chat:resume", {"message_id": "x", "after_seq": "y"}, "invalid_value"),
    ],
)
def test_bad_payloads_are_refused_in_the_acknowledgement(connect: Connect, event: str, payload: Any, code: str) -> None:
    error = connect().call(event, payload, timeout=10)["error"]
    assert error["code"] == code
    assert {"message", "type", "code", "param"} == set(error)


@pytest.mark.parametrize(
    ("query", "header", "words"),
    [("?lang=en", "zh-CN", "question"), ("?lang=zh", "en", "问题"), ("?lang=fr", "en", "question"), ("?lang=", "zh", "问题"), ("", "en", "question")],
)
def test_the_address_of_a_connection_names_its_language(web: WebProcess, query: str, header: str, words: str) -> None:
    client = socketio.SimpleClient()
    client.connect(web.url + query, headers={"Accept-Language": header}, transports=["websocket"])
    try:
        assert words in client.call("chat", {"message": " "}, timeout=10)["error"]["message"]
    finally:
        client.disconnect()


def test_unknown_fields_are_ignored(connect: Connect, scripted: Engine) -> None:
    scripted.script(TEXTS, user="sio-more")
    client = connect()
    ack = chat(client, "sio-more", frobnicate=True)
    assert until_end(client, ack["message_id"])[-1][0] == "chat:done"


def test_the_end_of_an_engine_is_told_as_an_error(connect: Connect, scripted: Engine) -> None:
    scripted.script(TEXTS, user="sio-broken", fault="reset", after=2)
    client = connect()
    ack = chat(client, "sio-broken")
    name, payload = until_end(client, ack["message_id"])[-1]
    assert name == "chat:error"
    assert payload["code"]
    assert payload["message"]


class Raw:
    """A websocket client of bare sockets: reads when it is told to, and checks every frame."""

    def __init__(self, web: WebProcess, *, receive_bytes: int = 0, **headers: str) -> None:
        self.sock = socket.socket()
        if receive_bytes:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.sock.settimeout(20)
        self.sock.connect(("127.0.0.1", web.port))
        more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        self.sock.sendall(
            f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n{more}\r\n".encode()
        )
        self.buffer = b""
        self.head = self._head()

    def _head(self) -> str:
        while b"\r\n\r\n" not in self.buffer:
            self._more()
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        return head.decode("latin-1")

    def _more(self) -> None:
        piece = self.sock.recv(65536)
        assert piece, "closed"
        self.buffer += piece

    def send(self, payload: bytes, first: int = 0x81) -> None:
        """One masked frame."""
        size = len(payload)
        length = bytes([0x80 | size]) if size < 126 else b"\xfe" + size.to_bytes(2, "big") if size < 65536 else b"\xff" + size.to_bytes(8, "big")
        self.sock.sendall(bytes([first]) + length + bytes(4) + payload)

    def frame(self) -> tuple[int, bytes]:
        """(first byte, payload) of the next frame."""
        while len(self.buffer) < 10:
            if len(self.buffer) >= 2 and len(self.buffer) >= 2 + (self.buffer[1] & 127) and self.buffer[1] < 126:
                break
            self._more()
        first, size, offset = self.buffer[0], self.buffer[1], 2
        assert size < 128, "a server's frame is not masked"
        if size > 125:
            width = 2 if size == 126 else 8
            size, offset = int.from_bytes(self.buffer[2 : 2 + width], "big"), 2 + width
        while len(self.buffer) < offset + size:
            self._more()
        payload, self.buffer = self.buffer[offset : offset + size], self.buffer[offset + size :]
        return first, payload

    def join(self) -> Raw:
        """Join the namespace."""
        assert self.frame()[1].startswith(b"0{")
        self.send(b"40")
        assert self.frame()[1].startswith(b"40{")
        return self


def test_a_slow_reader_gets_whole_frames_and_holds_up_no_other_tab(web: WebProcess, connect: Connect, scripted: Engine) -> None:
    text = "长" * 30_000
    scripted.script([text] * 40, user="sio-slow")
    slow = Raw(web, receive_bytes=4096).join()
    slow.send(b'420["chat",{"message":"x","model":"scripted@none","options":{"user":"sio-slow"}}]')
    ack = slow.frame()[1]
    assert ack.startswith(b'430[{"conversation_id"')
    message_id = json.loads(ack[3:])[0]["message_id"]
    quick = connect()
    quick.emit("chat:resume", {"message_id": message_id, "after_seq": -1})
    assert text_of(until_end(quick, message_id)) == text * 40  # while the slow one has read nothing yet
    seen, name = "", ""
    while name != "chat:done":
        first, payload = slow.frame()
        assert first == 0x81
        name, event = json.loads(payload[2:])
        seen += event.get("text", "")
    assert seen == text * 40 == event["answer"]


def test_compression_is_refused(web: WebProcess) -> None:
    raw = Raw(web, Sec_WebSocket_Extensions="permessage-deflate; client_max_window_bits")
    assert " 101 " in raw.head.split("\r\n")[0]
    assert "extensions" not in raw.head.lower()
    assert raw.frame()[0] == 0x81


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.example"}, {"Origin": "null"}])
def test_pages_of_other_sites_get_no_socket(web: WebProcess, headers: dict[str, str]) -> None:
    assert " 403 " in Raw(web, **headers).head.split("\r\n")[0]


def test_polling_and_broken_upgrades_are_refused(web: WebProcess) -> None:
    assert web.call("GET", "/socket.io/?EIO=4&transport=polling")[0] == 400
    assert web.call("GET", "/socket.io/?EIO=4&transport=websocket")[0] == 400
    assert web.call("GET", "/socket.io/?EIO=4&transport=websocket", Upgrade="websocket", Connection="Upgrade")[0] == 400


def test_pings_fragments_and_closing_follow_the_standard(web: WebProcess) -> None:
    raw = Raw(web).join()
    raw.send(b"hi", 0x89)
    assert raw.frame() == (0x8A, b"hi")
    raw.send(b'421["chat:stop",', 0x01)
    raw.send(b'{"message_id":"nothing"}]', 0x80)
    assert b"message_not_found" in raw.frame()[1]
    raw.send(b"\x03\xe8", 0x88)
    assert raw.frame()[0] == 0x88


@pytest.mark.parametrize("bad", [b"garbage", b"4", b"42", b"42{", b'42["unknown",1]', b"49", b"451-[]", b"9", b""])
def test_nonsense_on_a_socket_disturbs_nobody(web: WebProcess, connect: Connect, scripted: Engine, bad: bytes) -> None:
    scripted.script(TEXTS, user="sio-calm")
    Raw(web).join().send(bad)
    client = connect()
    ack = chat(client, "sio-calm")
    assert until_end(client, ack["message_id"])[-1][0] == "chat:done"


def test_a_message_over_a_megabyte_closes_the_socket(web: WebProcess) -> None:
    raw = Raw(web).join()
    threading.Thread(target=lambda: _quietly(raw, b"42" + b"x" * 1_100_000), daemon=True).start()
    first, payload = raw.frame()
    assert (first, int.from_bytes(payload[:2], "big")) == (0x88, 1009)


def _quietly(raw: Raw, payload: bytes) -> None:
    try:
        raw.send(payload)
    except OSError:
        return


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_frames_of_all_lengths_have_the_right_head(size: int) -> None:
    frame = websocket.text_frame(b"x" * size)
    head = 2 if size < 126 else 4 if size < 65536 else 10
    assert (frame[0], len(frame)) == (0x81, head + size)
    assert size == (frame[1] if size < 126 else int.from_bytes(frame[2:head], "big"))
