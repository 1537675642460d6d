"""Requests that come too slowly, as somebody sends them who wants to hold connections: what a body must keep up with, and when a connection is given up.

Not for links that are merely slow: an upload at 1 KB/s passes. Only waiting counts, not what the program does with what came.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from qzbrain.errors import InvalidRequest

HEAD_S = 20.0
"""A new connection's first request has its head whole within this time; the next ones within gunicorn's keepalive."""
HANDSHAKE_S = 10.0
"""So long may TLS take to begin."""
GRACE_S = 30.0
LEAST_BYTES_S = 500.0
_PIECE = 1 << 13


class TooSlow(InvalidRequest):
    """The body comes too slowly."""

    status = 408
    default_code = "request_too_slow"

    def __init__(self) -> None:
        super().__init__(
            zh="请求体传输过慢，连接已关闭。请检查网络后重试。", en="The body came too slowly; the connection is closed. Check the network and try again."
        )


class PacedBody:
    """A request's body that must come at `LEAST_BYTES_S` on the average, after `GRACE_S` of patience. Raises TooSlow."""

    def __init__(self, body: Any, *, grace_s: float = GRACE_S, least_bytes_s: float = LEAST_BYTES_S) -> None:
        self._body, self._grace_s, self._least = body, grace_s, least_bytes_s
        self._waited, self._received = 0.0, 0
        self.late = False

    def read(self, size: int | None = None) -> bytes:
        """As a file's; with None all that comes."""
        pieces: list[bytes] = []
        left = -1 if size is None or size < 0 else size
        while left and (piece := self._timed(self._body.read, _PIECE if left < 0 else min(left, _PIECE))):
            pieces.append(piece)
            left = left - len(piece) if left > 0 else left
        return b"".join(pieces)

    def readline(self, size: int | None = None) -> bytes:
        """As a file's; a line of more than 8 KiB comes in pieces."""
        return self._timed(self._body.readline, _PIECE if size is None or size < 0 else min(size, _PIECE))

    def readlines(self, _hint: int | None = None) -> list[bytes]:
        """As a file's."""
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line

    def _timed(self, read: Any, size: int) -> bytes:
        import gevent

        budget = self._grace_s + self._received / self._least - self._waited
        if budget <= 0 or self.late:
            self.late = True
            raise TooSlow
        begun = time.monotonic()
        try:
            with gevent.Timeout(budget, TooSlow):
                data: bytes = read(size)
        except TooSlow:
            self.late = True
            raise
        self._waited += time.monotonic() - begun
        self._received += len(data)
        return data
