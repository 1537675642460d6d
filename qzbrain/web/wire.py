"""Ordered writing to a client's socket that never waits: what the kernel does not take now is kept and sent when it can.

One slow reader must not hold up the turn that it reads, nor any other reader. So nobody blocks in a send here: `write` hands the
bytes to the kernel at once when nothing is before them, else keeps them. Writers of much (an answer's deltas) look at `backlog`
and go on from their own place in the log when `on_drained` calls them; then what is kept per client stays bounded.

Everything runs in the greenlets of one hub and nothing here switches, so bytes of one `write` are never mixed with another's.
"""

from __future__ import annotations

import select
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any

BACKLOG_BYTES = 1 << 16
"""Kept bytes above which a writer of much should pause."""

_READABLE, _WRITABLE = 1, 2
_LOOKED_S = 0.25
_FULL = (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError)
"""Nothing can be sent now; the same bytes are sent again when the socket takes them."""
_PEEKED = 1


class Wire:
    """The sending side of one client's connection, and the watch for its going away."""

    __slots__ = ("_drained", "_fileno", "_gone", "_kept", "_leaving", "_recv", "_send", "_tls", "_watcher", "backlog", "broken", "wrote")

    def __init__(self, sock: Any) -> None:
        """`sock`: gevent's socket of the connection (gunicorn's `gunicorn.socket`)."""
        native = sock._sock  # gevent's own is the non-blocking one underneath
        self._fileno: int = native.fileno()
        self._tls = getattr(sock, "_sslobj", None)
        self._send: Callable[..., int] = native.send if self._tls is None else self._tls.write
        self._recv: Callable[..., bytes] = native.recv
        self._kept: deque[bytes | memoryview] = deque()
        self._watcher: Any = None
        self._leaving: Any = None
        self._gone: Callable[[], None] | None = None
        self._drained: list[Callable[[], None]] = []
        self.backlog = 0
        self.broken = False
        self.wrote = False

    def write(self, data: bytes) -> None:
        """Send now or as soon as the client takes it; on a broken connection nothing happens."""
        self.wrote = True
        if self.broken:
            return
        sent = 0
        if not self.backlog:
            try:
                sent = self._send(data)
            except _FULL:
                sent = 0
            except OSError:
                self._break()
                return
            if sent == len(data):
                return
        rest = memoryview(data)[sent:] if sent else data
        self._kept.append(rest)
        self.backlog += len(rest)
        self._watch_writable()

    def on_drained(self, call: Callable[[], None]) -> None:
        """Call once when nothing is kept any more (or the connection broke); at once when that is so now."""
        if self.backlog and not self.broken:
            self._drained.append(call)
        else:
            call()

    def watch_leaving(self, gone: Callable[[], None]) -> None:
        """Call `gone`, once, as soon as the client closes its side or the connection breaks.

        A write would notice it only the second time; at two tokens a second an engine would work on for nobody.
        """
        self._gone = gone
        self._leaving = _hub_loop().io(self._fileno, _READABLE)
        self._leaving.start(self._on_readable)

    def close(self) -> None:
        """Stop watching. The socket itself belongs to the server. Kept bytes are dropped."""
        self._gone = None
        self._stop_leaving()
        self._stop_writable()
        self._kept.clear()
        self.backlog = 0

    def _on_readable(self) -> None:
        import socket

        try:
            data = self._recv(_PEEKED, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data and self._tls is not None:
            self._look_again()
        elif data:  # the next request, sent ahead: it stays for the server, and leaving is from now on noticed by writing
            self._stop_leaving()
        else:
            self._break()

    def _look_again(self) -> None:
        """Under TLS nobody knows what lies there unread: the next request, or a goodbye, after which the client closes. So look whether it has."""
        self._stop_leaving()
        if _hung_up(self._fileno):
            self._break()
        else:
            self._leaving = _hub_loop().timer(_LOOKED_S)
            self._leaving.start(self._look_again)

    def _break(self) -> None:
        self.broken = True
        self._kept.clear()
        self.backlog = 0
        self._stop_leaving()
        self._stop_writable()
        gone, self._gone = self._gone, None
        if gone is not None:
            gone()
        self._call_drained()

    def _watch_writable(self) -> None:
        if self._watcher is None:
            self._watcher = _hub_loop().io(self._fileno, _WRITABLE)
            self._watcher.start(self._flush)

    def _flush(self) -> None:
        while self._kept:
            data = self._kept.popleft()
            try:
                sent = self._send(data)
            except _FULL:
                self._kept.appendleft(data)
                return
            except OSError:
                self._break()
                return
            self.backlog -= sent
            if sent < len(data):
                self._kept.appendleft(memoryview(data)[sent:])
                return
        self._stop_writable()
        self._call_drained()

    def _call_drained(self) -> None:
        waiting, self._drained = self._drained, []
        for call in waiting:
            call()

    def _stop_writable(self) -> None:
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None

    def _stop_leaving(self) -> None:
        if self._leaving is not None:
            self._leaving.stop()
            self._leaving.close()
            self._leaving = None


def _hung_up(fileno: int) -> bool:
    """Whether the other side has closed, whatever lies there unread."""
    from gevent import monkey

    poller = monkey.get_original("select", "poll")()
    poller.register(fileno, select.POLLRDHUP)
    return bool(poller.poll(0))


def _hub_loop() -> Any:
    from gevent import get_hub

    return get_hub().loop
