"""A scripted engine that speaks the OpenAI chat protocol, and misbehaves on request. Runs in a thread of its own process or as a program.

What a request gets is decided by its `user` field, else by the engine's default script:

    with Engine() as engine:                         # 127.0.0.1, a free port
        engine.script(["行政", "处罚"], delay_s=0.01)   # texts of the deltas
        engine.script(fault="reset", after=2)          # break off after two deltas
        engine.requests[-1].body, engine.cancelled     # what came in; who left early

Faults: status (HTTP error), error (an error object in the stream), garbage, html, empty, reset, close (no [DONE], no finish_reason),
silence (headers, then nothing), mute (not even headers), json (a plain reply although a stream was asked for), no_done, huge,
split (bytes cut inside characters), surrogates, comments, crlf, no_usage, usage_without_choices, bad_utf8.
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass
class Script:
    """What a request gets."""

    texts: Sequence[str] = ("你", "好", "！")
    delay_s: float = 0.0
    first_delay_s: float = 0.0
    fault: str = ""
    after: int = 0
    status: int = 200
    message: str = "the engine is out of memory"
    headers: tuple[str, ...] = ()
    finish_reason: str = "stop"
    answer: Callable[[dict[str, Any]], Script | Sequence[str]] | None = None
    """Decides by the request's body: texts, or a whole script."""
    hold: threading.Event | None = None
    """Wait for this before the first delta: lets a test look at a running answer."""


@dataclass
class Seen:
    """One request as it came in."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    connection: int
    at: float = field(default_factory=time.monotonic)


class Engine:
    """The server. `requests` in order of arrival; `cancelled` holds (tag, monotonic time) of clients that left before the end."""

    def __init__(self, port: int = 0, *, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._default = Script()
        self._by_user: dict[str, Script] = {}
        self.requests: list[Seen] = []
        self.cancelled: list[tuple[str, float]] = []
        self.connections = 0
        self.active = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=512)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def base_url(self) -> str:
        """For config.toml."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/v1"

    def script(self, texts: Sequence[str] | None = None, *, user: str = "", **fields: Any) -> None:
        """What requests get from now on: all of them, or those with this `user`."""
        made = Script(**({"texts": texts} if texts is not None else {}), **fields)
        if user:
            self._by_user[user] = made
        else:
            self._default = made

    def drop_connections(self) -> None:
        """Close all connections, kept-alive ones too, as an engine that restarts does."""
        with self._lock:
            for sock in self._open:
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop: nothing listens at the port any more."""
        with _Quiet():
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts, which would hold the port otherwise
        self._listener.close()
        with self._lock:
            for sock in self._open:
                with _Quiet():
                    sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock, self.connections), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        if self._tls is not None:
            try:
                sock = self._tls.wrap_socket(sock, server_side=True)
            except OSError:  # the client does not trust us
                return
        with self._lock:
            self._open.add(sock)
        try:
            with sock, sock.makefile("rb") as stream:
                while request := _read_request(stream, number):
                    self.requests.append(request)
                    if not self._reply(sock, request):
                        return
        except (OSError, ValueError):  # gone, or no HTTP
            return
        finally:
            with self._lock:
                self._open.discard(sock)

    def _reply(self, sock: socket.socket, request: Seen) -> bool:
        """Returns whether the connection can take another request."""
        user = str(request.body.get("user") or "")
        script = self._by_user.get(user, self._default)
        if script.answer is not None:
            made = script.answer(request.body)
            script = made if isinstance(made, Script) else replace(script, texts=made)
        self.active += 1
        try:
            return _Answer(sock, script, request).run()
        except OSError:
            self.cancelled.append((user, time.monotonic()))
            return False
        finally:
            self.active -= 1


class _Answer:
    def __init__(self, sock: socket.socket, script: Script, request: Seen) -> None:
        self.sock, self.script, self.request = sock, script, request

    def run(self) -> bool:
        s = self.script
        if s.fault == "mute":
            self._sleep(60)
            return False
        if s.status != 200:
            return self._plain({"error": {"message": s.message, "type": "server_error", "code": s.status}}, status=s.status)
        if s.fault == "json" or not self.request.body.get("stream"):
            return self._plain(self._whole())
        if s.fault == "html":
            return self._raw(b"<html><body>Please sign in</body></html>", "text/html")
        if s.fault == "garbage":
            return self._raw(bytes(range(256)) * 8, "text/event-stream")
        if s.fault == "empty":
            return self._raw(b"", "text/event-stream")
        return self._stream()

    def _stream(self) -> bool:
        s = self.script
        kind = "" if s.fault == "no_content_type" else "content-type: text/event-stream\r\n"
        self.sock.sendall(f"HTTP/1.1 200 OK\r\n{kind}transfer-encoding: chunked\r\n\r\n".encode())
        if s.hold is not None:
            self._hold(s.hold)
        self._sleep(s.first_delay_s)
        if s.fault == "silence":
            self._sleep(60)
        self._send(self._event({"role": "assistant", "content": ""}))
        for i, text in enumerate(s.texts):
            if s.fault and i == s.after and not self._misbehave():
                return False
            self._send(self._event({"content": text}))
            self._sleep(s.delay_s)
        if s.fault in ("reset", "close", "error", "half") and s.after >= len(s.texts) and not self._misbehave():
            return False
        self._end()
        return True

    def _end(self) -> None:
        s, usage = self.script, {"prompt_tokens": 8, "completion_tokens": len(self.script.texts), "total_tokens": 8 + len(self.script.texts)}
        self._send(self._event({}, finish_reason=s.finish_reason))
        if s.fault != "no_usage":
            self._send(b"data: " + json.dumps({"object": "chat.completion.chunk", "choices": [], "usage": usage}).encode() + b"\n\n")
        last = b"" if s.fault == "no_done" else b"e\r\ndata: [DONE]\n\n\r\n"
        self.sock.sendall(last + b"0\r\n\r\n")

    def _misbehave(self) -> bool:
        """Do the fault; returns whether the stream goes on."""
        fault = self.script.fault
        if fault == "reset":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            self.sock.close()
            return False
        if fault == "close":
            return False
        if fault == "half":
            self.sock.sendall(b'40\r\ndata: {"choices":[{"delta":{"cont')
            return False
        if fault == "error":
            self._send(b'data: {"error":{"message":"' + self.script.message.encode() + b'","type":"server_error"}}\n\n')
            return False
        if fault == "broken_json":
            self._send(b"data: {nonsense}\n\n")
        if fault == "stall":
            self._sleep(60)
        if fault == "comments":
            self._send(b": keep-alive\n\nevent: message\nid: 7\nretry: 100\n\n")
        if fault == "bad_utf8":
            self._send(b'data: {"choices":[{"index":0,"delta":{"content":"\xe4\xb8"},"finish_reason":null}]}\n\n')
        if fault == "surrogates":
            self._send(rb'data: {"choices":[{"index":0,"delta":{"content":"\ud83d"}}]}' + b"\n\n")
            self._send(rb'data: {"choices":[{"index":0,"delta":{"content":"\ude00"}}]}' + b"\n\n")
        if fault == "usage_without_choices":
            self._send(b'data: {"usage":{"prompt_tokens":3,"completion_tokens":1}}\n\n')
        if fault == "huge":
            self._send(b"data: " + b"x" * (9 << 20) + b"\n\n")
        return True

    def _event(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        chunk = {"id": "x", "object": "chat.completion.chunk", "model": "scripted", "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}
        text = json.dumps(chunk, ensure_ascii=False)
        if self.script.fault == "crlf":
            return f"data:{text}\r\n\r\n".encode()
        return f"data: {text}\n\n".encode()

    def _send(self, data: bytes) -> None:
        if self.script.fault == "split":
            for i in range(len(data)):
                self.sock.sendall(b"1\r\n" + data[i : i + 1] + b"\r\n")
            return
        self.sock.sendall(b"%x\r\n%b\r\n" % (len(data), data))

    def _whole(self) -> dict[str, Any]:
        text = "".join(self.script.texts)
        usage = {"prompt_tokens": 8, "completion_tokens": len(self.script.texts)}
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return {"object": "chat.completion", "choices": [choice], "usage": usage}

    def _plain(self, body: dict[str, Any], status: int = 200) -> bool:
        return self._raw(json.dumps(body, ensure_ascii=False).encode(), "application/json", status)

    def _raw(self, body: bytes, kind: str, status: int = 200) -> bool:
        more = "".join(f"{line}\r\n" for line in self.script.headers)
        self.sock.sendall(f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{more}content-length: {len(body)}\r\n\r\n".encode() + body)
        return True

    def _sleep(self, seconds: float) -> None:
        """Wait, but notice at once when the client leaves."""
        if seconds > 0:
            self._watch(lambda remaining: remaining <= 0, time.monotonic() + seconds)

    def _hold(self, event: threading.Event) -> None:
        self._watch(lambda _: event.is_set(), time.monotonic() + 30)

    def _watch(self, over: Any, deadline: float) -> None:
        self.sock.settimeout(0.005)
        try:
            while not over(deadline - time.monotonic()) and time.monotonic() < deadline:
                try:
                    if not socket.socket.recv(self.sock, 1, socket.MSG_PEEK):  # below TLS, which cannot peek
                        raise ConnectionResetError
                except TimeoutError:
                    continue
        finally:
            self.sock.settimeout(None)


class _Quiet:
    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, OSError)


def _read_request(stream: Any, number: int) -> Seen | None:
    line = stream.readline()
    if not line:
        return None
    _, path, _ = line.decode().split(" ")
    headers: dict[str, str] = {}
    while (line := stream.readline()) not in (b"\r\n", b""):
        name, _, value = line.decode().partition(":")
        headers[name.strip().lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", 0)))
    return Seen(path, headers, json.loads(body) if body else {}, number)


if __name__ == "__main__":
    import sys

    served = Engine(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    print(served.base_url, flush=True)
    threading.Event().wait()
