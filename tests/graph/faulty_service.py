"""A graph service that can be told to misbehave, on a port of its own: real sockets, no framework, so that it can break the protocol as well."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

GOOD = {
    "code": 0,
    "entities": [{"name": "晨光公司"}],
    "triples": [{"head": "晨光公司", "relation": "董事长", "tail": "李明", "score": 0.9}],
}
"""What a service of others answers `POST /chat-process-txt`: it has no ids and no version."""


class FaultyService:
    """`behave` names what it does with the next requests; `routes`: replies by method and path, status and body.

    Behaviours: good, hang, silent (takes no connection), drip, reset, cut, status-NNN, not-json, wrong-shape, code-7, huge, endless-headers, redirect, garbage.
    """

    def __init__(self) -> None:
        self.behave = "good"
        self.routes: dict[tuple[str, str], tuple[int, Any]] = {("POST", "/chat-process-txt"): (200, GOOD)}
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self._listener: socket.socket | None = None
        self.port = 0
        self._open: set[socket.socket] = set()
        self.start()

    @property
    def base(self) -> str:
        """Its address alone."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """As the manual writes it."""
        return f"{self.base}/chat-process-txt"

    def start(self) -> None:
        """Listen, after a stop at the same port."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stop(self) -> None:
        """Gone, as a killed process is."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for sock in tuple(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                self._open.add(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            reader = sock.makefile("rb")
            while line := reader.readline():
                method, path, _ = line.decode().split()
                headers = {}
                while (header := reader.readline().strip()) != b"":
                    name, _, value = header.decode().partition(":")
                    headers[name.lower()] = value.strip()
                body = reader.read(int(headers.get("content-length", 0)))
                self.asked.append((method, path, headers, body))
                if not self._answer(sock, method, path):
                    break
        self._open.discard(sock)
        sock.close()

    def _answer(self, sock: socket.socket, method: str, path: str) -> bool:
        """Whether the connection goes on."""
        how = self.behave
        if how == "good":
            status, body = self.routes.get((method, path.split("?")[0]), (404, "<h1>Not Found</h1>"))
            sock.sendall(_whole(status, body if isinstance(body, str) else json.dumps(body)))
            return True
        special: dict[str, Callable[[socket.socket], None]] = {
            "hang": lambda _: self._wait(how),
            "drip": self._drip,
            "reset": _reset,
            "cut": lambda s: s.sendall(_whole(200, json.dumps(GOOD))[:-9]),
            "huge": lambda s: s.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 9000000000\r\n\r\n" + b" " * 1000),
            "endless": self._endless,
            "endless-headers": self._headers,
            "garbage": lambda s: s.sendall(b"\x00\x01\x02 not http at all\r\n\r\n"),
            "redirect": lambda s: s.sendall(f"HTTP/1.1 302 Found\r\nlocation: {self.url}\r\ncontent-length: 0\r\n\r\n".encode()),
        }
        if how in special:
            special[how](sock)
            return False
        status, body = {"not-json": (200, "<html>"), "wrong-shape": (200, '{"triples": [{"head": 1}]}'), "code-7": (200, '{"code": 7, "triples": []}')}.get(
            how, (int(how.removeprefix("status-")) if how.startswith("status-") else 200, "{}")
        )
        sock.sendall(_whole(status, body))
        return True

    def _wait(self, how: str) -> None:
        while self.behave == how and self._listener is not None:
            time.sleep(0.02)

    def _drip(self, sock: socket.socket) -> None:
        for byte in _whole(200, json.dumps(GOOD)):
            sock.sendall(bytes([byte]))
            time.sleep(0.05)
            if self.behave != "drip":
                return

    def _endless(self, sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while self.behave == "endless":
            sock.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")

    def _headers(self, sock: socket.socket) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\n")
        while self.behave == "endless-headers":
            sock.sendall(b"x-more: " + b"a" * 60_000 + b"\r\n")


def _whole(status: int, body: str) -> bytes:
    data = body.encode()
    return f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data


def _reset(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.shutdown(socket.SHUT_RD)
        sock.close()
