"""One HTTP reply of an engine, read as it comes. On the path of every relayed token."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Callable

from httptools import HttpParserError, HttpResponseParser

from qzbrain.models.faults import EngineFault, quoted

READ_BYTES = 65_536


class Reply:
    """`read()` gives body parts until `complete`. The rest of the public methods are httptools' callbacks.

    `deadline` (time.monotonic) may be moved at any time; past it the watchdog cuts the connection and the read raises TimeoutError.
    """

    __slots__ = ("_parser", "_parts", "_receive_bytes", "complete", "deadline", "overdue", "retry_after", "reusable", "sock", "status")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._receive_bytes = receiver(sock)
        self._parts: list[bytes] = []
        self._parser = HttpResponseParser(self)
        self.status = 0
        self.retry_after = ""
        self.complete = False
        self.reusable = False
        self.overdue = False
        self.deadline = float("inf")

    def read(self) -> bytes:
        """The next bytes of the body, b"" when this read brought none. Sets `complete`, also when the connection ends.

        Raises EngineFault when the connection fails or ends before a status came, TimeoutError past the deadline.
        """
        parts = self._parts
        if not parts and not self.complete:
            self._receive()
        if len(parts) == 1:
            return parts.pop()
        body = b"".join(parts)
        parts.clear()
        return body

    def await_status(self) -> None:
        """Return when the status line and headers are there. Raises as `read`."""
        while not self.status and not self.complete:
            self._receive()

    def settle(self) -> bool:
        """Take in what came since the answer was finished, without waiting; whether the connection can carry another request."""
        self.sock.setblocking(False)
        try:
            while data := self.sock.recv(READ_BYTES):
                self._parser.feed_data(data)
                self._parts.clear()
            return False
        except (BlockingIOError, ssl.SSLWantReadError):
            self.sock.settimeout(None)
            return self.complete and self.reusable
        except (OSError, HttpParserError):
            return False

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: one header."""
        if name.lower() == b"retry-after":
            self.retry_after = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """httptools: the status is known (1xx replies are passed over)."""
        status = self._parser.get_status_code()
        self.status = status if status >= 200 else 0

    def on_body(self, body: bytes) -> None:
        """httptools: a part of the body."""
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """httptools: the reply is whole."""
        if self.status:
            self.complete = True
            self.reusable = bool(self._parser.should_keep_alive())

    def _receive(self) -> None:
        try:
            data = self._receive_bytes(READ_BYTES)
        except OSError as exc:
            raise TimeoutError if self.overdue else lost(exc) from exc
        if data:
            try:
                self._parser.feed_data(data)
            except HttpParserError as exc:
                raise EngineFault(f"回复不是 HTTP：{quoted(data)}", f"the reply is not HTTP: {quoted(data)}") from exc
        elif self.overdue:
            raise TimeoutError
        elif self.status:
            self.complete = True
        else:
            raise EngineFault("连接在回复之前被关闭", "the connection was closed before any reply", lost=True)


def receiver(sock: socket.socket) -> Callable[[int], bytes]:
    """How to read from this socket, waiting for data.

    Under gevent: wait first, then read. gevent's own `recv` reads first, and between two tokens that is an exception for each token.
    """
    if isinstance(sock, ssl.SSLSocket) or not hasattr(sock, "hub"):
        return sock.recv
    fileno, wait = sock.fileno(), sock.hub.wait
    watcher = sock.hub.loop.io(fileno, 1)
    read = os.read

    def receive(size: int) -> bytes:
        wait(watcher)
        return read(fileno, size)

    return receive


def cut(reply: Reply) -> None:
    """End a reply's connection at once, whoever is reading it: the read returns, and the engine sees that nobody listens."""
    if not reply.complete:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(reply.sock, socket.SHUT_RDWR)  # not SSLSocket's own, which would drop the state under the reader


def close(sock: socket.socket) -> None:
    """Close; a broken connection is no error."""
    with contextlib.suppress(OSError):
        sock.close()


def lost(exc: OSError) -> EngineFault:
    """What to say of a connection that failed."""
    return EngineFault(f"连接中断（{exc.strerror or exc}）", f"the connection was lost ({exc.strerror or exc})", lost=True)
