"""Clients that ask a running brain over its three streaming interfaces, write down all that they are told, and may leave at any stage.

Interfaces: `v1` (POST /v1/chat/completions, which tells no places), `api` (a conversation's messages as server-sent events), `socket` (Socket.IO).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import socketio

VIAS = ("v1", "api", "socket")
WAIT_S = 120


@dataclass
class Notice:
    """One `queued` event as it came (time.monotonic)."""

    at: float
    position: int
    eta_s: float | None


@dataclass
class Question:
    """One question and what became of it. `ends`: every end that was told; exactly one unless its client left."""

    number: int
    user: str
    via: str
    leave: str = ""
    """'' stays; `queued` and `delta` leave at the first such event; `soon` leaves after `leave_after_s`; `stop` presses stop then (Socket.IO)."""
    leave_after_s: float = 0.0
    asked: float = 0.0
    ended: float = 0.0
    left: bool = False
    text: str = ""
    notices: list[Notice] = field(default_factory=list)
    ends: list[str] = field(default_factory=list)

    @property
    def content(self) -> str:
        """What is asked: tells the engine which question this is."""
        return f"问题 {self.number}"


def number_of(body: dict[str, Any]) -> int:
    """Which question an engine's request carries."""
    return int(body["messages"][-1]["content"].rpartition(" ")[2])


class Asker:
    """One client of one interface; asks one question at a time. `strays`: ends that came for questions which had ended."""

    def __init__(self, port: int, via: str, model: str) -> None:
        self._port, self._via, self._model = port, via, model
        self._client: socketio.SimpleClient | None = None
        self.strays = 0

    def ask(self, question: Question) -> Question:
        """Ask, and return at the end, or when the client has left."""
        ways: dict[str, Callable[[Question], None]] = {"v1": self._v1, "api": self._api, "socket": self._socket}
        try:
            ways[self._via](question)
        finally:
            question.ended = time.monotonic()
        return question

    def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            self._client.disconnect()
            self._client = None

    # -- over HTTP

    def _v1(self, question: Question) -> None:
        body = {"model": self._model, "stream": True, "user": question.user, "messages": [{"role": "user", "content": question.content}]}
        self._stream(question, self._connection(), "/v1/chat/completions", body, {}, _read_v1)

    def _api(self, question: Question) -> None:
        connection = self._connection()
        connection.request("POST", "/api/conversations", b"{}", {"Content-Type": "application/json"})
        made = json.loads(connection.getresponse().read())
        body = {"content": question.content, "model": self._model, "options": {"user": question.user}}
        self._stream(question, connection, f"/api/conversations/{made['id']}/messages", body, {"Accept": "text/event-stream"}, _read_api)

    def _connection(self) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=WAIT_S)
        connection.connect()
        return connection

    def _stream(
        self,
        question: Question,
        connection: http.client.HTTPConnection,
        path: str,
        body: dict[str, Any],
        headers: dict[str, str],
        read: Callable[[Question, http.client.HTTPResponse], None],
    ) -> None:
        sock: socket.socket = connection.sock

        def hang_up() -> None:
            question.left = True
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(question.leave_after_s, hang_up)
        if question.leave in ("soon", "stop") or (question.leave == "queued" and read is _read_v1):
            timer.start()
        question.asked = time.monotonic()
        try:
            connection.request("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})
            with connection.getresponse() as reply:
                if reply.status == 200:
                    read(question, reply)
                else:
                    question.ends.append(f"http {reply.status}")
        except (OSError, http.client.HTTPException):
            if not question.left:
                raise
        except _Leaving:
            hang_up()
        finally:
            timer.cancel()
            connection.close()

    # -- over Socket.IO

    def _socket(self, question: Question) -> None:
        if self._client is None:
            self._client = socketio.SimpleClient()
            self._client.connect(f"http://127.0.0.1:{self._port}", transports=["websocket"])
        client = self._client
        question.asked = time.monotonic()
        ack = client.call("chat", {"message": question.content, "model": self._model, "options": {"user": question.user}}, timeout=WAIT_S)
        if "error" in ack:
            question.ends.append(f"refused {ack['error']['code']}")
            return
        leaves_at = question.asked + question.leave_after_s if question.leave in ("soon", "stop") else float("inf")
        try:
            while not question.ends:
                self._hear(client, question, ack["message_id"], leaves_at)
        except _Leaving:
            question.left = True
            self.close()

    def _hear(self, client: socketio.SimpleClient, question: Question, message_id: str, leaves_at: float) -> None:
        """One event. Raises _Leaving."""
        try:
            name, payload = client.receive(timeout=WAIT_S if question.left else max(0.001, min(WAIT_S, leaves_at - time.monotonic())))
        except socketio.exceptions.TimeoutError:
            if question.leave != "stop" or question.left:
                raise _Leaving from None
            question.left = True
            client.emit("chat:stop", {"message_id": message_id})
            return
        if payload["message_id"] != message_id:
            self.strays += name in ("chat:done", "chat:error")
            return
        _take(question, name.removeprefix("chat:"), payload)


class _Leaving(Exception):
    """The stage has come at which this question's client leaves."""


def _take(question: Question, name: str, payload: dict[str, Any]) -> None:
    """One event of the native interfaces."""
    if name == "queued":
        question.notices.append(Notice(time.monotonic(), payload["position"], payload["eta_s"]))
    elif name == "delta":
        question.text += payload["text"]
    elif name in ("done", "error"):
        question.ends.append(name if name == "done" else f"error {payload['code']}")
    if name == question.leave:
        raise _Leaving


def _read_api(question: Question, reply: http.client.HTTPResponse) -> None:
    name = ""
    for line in reply:
        if line.startswith(b"event: "):
            name = line[7:].strip().decode()
        elif line.startswith(b"data: "):
            _take(question, name, json.loads(line[6:]))


def _read_v1(question: Question, reply: http.client.HTTPResponse) -> None:
    for line in reply:
        if line.startswith(b"data: [DONE]"):
            question.ends.append("done")
        elif line.startswith(b"data: "):
            chunk = json.loads(line[6:])
            if "error" in chunk:
                question.ends.append(f"error {chunk['error']['code']}")
            for choice in chunk.get("choices", ()):
                if text := choice["delta"].get("content"):
                    _take(question, "delta", {"text": text})
