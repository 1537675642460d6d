"""Server-sent events: an answer's frames straight onto the client's connection, and the end of the answer when the client leaves.

The response takes over gunicorn's socket after Flask is done with the request: head and chunks are written without waiting
(`Wire`), so a slow reader holds up nobody, and one greenlet's comments keep all silent connections open. Under a server that
gives no socket (Flask's test client) the frames are collected and returned whole.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flask import Response

from qzbrain import logs, metrics, tracing
from qzbrain.chat.turns import Turn
from qzbrain.domain import Failed, Queued, StreamEvent
from qzbrain.web.follow import Follower
from qzbrain.web.wire import Wire

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

log = logs.get(__name__)

KEEP_ALIVE_S = 10.0
SLOW_READER_S = 60.0
"""A client that takes nothing for so long after the end of its answer is given up."""
_COMMENT = b": keep-alive\n\n"


def chunk(data: bytes) -> bytes:
    """One piece of HTTP's chunked coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def _chunks_of(render: Callable[[StreamEvent], bytes]) -> Callable[[StreamEvent], bytes]:
    def chunked(event: StreamEvent) -> bytes:
        data = render(event)
        return b"%x\r\n%b\r\n" % (len(data), data) if data else b""

    return chunked


@contextmanager
def cancelled_on_leaving(environ: WSGIEnvironment, turn: Turn) -> Iterator[None]:
    """While inside, the turn is cancelled as soon as the client closes its connection."""
    sock = environ.get("gunicorn.socket")
    if sock is None:
        yield
        return
    wire = Wire(sock)
    wire.watch_leaving(turn.cancellation.cancel)
    try:
        yield
    finally:
        wire.close()


class EventStream(Response):
    """Streams a turn. `run` gives its events by doing its work; `render` makes a frame of each, b"" for none."""

    def __init__(
        self,
        turn: Turn,
        run: Iterator[StreamEvent],
        render: Callable[[StreamEvent], bytes],
        *,
        opening: bytes = b"",
        failed: Callable[[Failed], Response],
    ) -> None:
        """`opening`: sent before the first frame. `failed`: the plain reply when the turn fails before anything was sent."""
        super().__init__(headers={"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"}, content_type="text/event-stream; charset=utf-8")
        self._turn, self._run, self._render = turn, run, render
        self._opening, self._failed = opening, failed
        self._begun = time.perf_counter()
        self.span = tracing.NOTHING
        """The request as traces show it; it ends with the stream."""

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        """Stream over the socket of gunicorn; elsewhere return all frames at the end."""
        sock = environ.get("gunicorn.socket")
        try:
            return self._collect(environ, start_response) if sock is None else self._stream(environ, start_response, Wire(sock))
        finally:
            self.span.end()

    def _collect(self, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        events = [event for event in self._run if not self._is_silent(event)]
        if events and isinstance(events[0], Failed):
            return self._failed(events[0])(environ, start_response)
        body = Response(self._opening + b"".join(self._render(event) for event in events), headers=self.headers)
        return body(environ, start_response)

    def _stream(self, environ: WSGIEnvironment, start_response: StartResponse, wire: Wire) -> Any:
        turn, ended = self._turn, threading.Event()
        chunked = environ.get("SERVER_PROTOCOL") != "HTTP/1.0"
        keeps = chunked and "close" not in environ.get("HTTP_CONNECTION", "").lower()
        frame = chunk if chunked else bytes
        follower = Follower(turn, wire, _chunks_of(self._render) if chunked else self._render, ended=ended.set)
        live = _Live(wire, self._head(chunked=chunked, keeps=keeps) + (frame(self._opening) if self._opening else b""), frame(_COMMENT))
        wire.watch_leaving(turn.cancellation.cancel)
        _live.add(live)
        metrics.STREAMS.labels("sse").inc()
        try:
            first = next((event for event in self._run if not self._is_silent(event)), None)  # opened meanwhile when it takes long
            if isinstance(first, Failed) and not live.opened:
                return self._failed(first)(environ, start_response)
            live.open()
            follower.start()
            for _event in self._run:
                pass
            _settle(wire, ended)
            if chunked:
                wire.write(b"0\r\n\r\n")
                _settle(wire, ended)
            if wire.broken or wire.backlog or not keeps:
                raise StopIteration  # gunicorn's word for: close this connection
        finally:
            _live.discard(live)
            follower.stop()
            wire.close()
            metrics.STREAMS.labels("sse").dec()
            log.info("stream", transport="sse", path=environ["PATH_INFO"], message_id=turn.message_id, left=wire.broken, took_ms=self._took_ms())
        return _already_handled()

    def _is_silent(self, event: StreamEvent) -> bool:
        """Whether this client is not told of it: then the reply can still be a plain error."""
        return isinstance(event, Queued) and not self._render(event)

    def _head(self, *, chunked: bool, keeps: bool) -> bytes:
        lines = ["HTTP/1.1 200 OK", *(f"{name}: {value}" for name, value in self.headers.items() if name != "Content-Length")]
        lines.append(f"Connection: {'keep-alive' if keeps else 'close'}")
        if chunked:
            lines.append("Transfer-Encoding: chunked")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def _took_ms(self) -> float:
        return round((time.perf_counter() - self._begun) * 1e3, 1)


def _settle(wire: Wire, ended: threading.Event) -> None:
    """Wait until the follower is through the log and the client has taken everything, or has taken nothing for too long."""
    before = -1
    while not wire.broken and not (ended.is_set() and not wire.backlog):
        if wire.backlog == before:
            return
        before = wire.backlog
        drained = threading.Event()
        wire.on_drained(drained.set)
        drained.wait(SLOW_READER_S)


def _already_handled() -> object:
    from gunicorn.workers.base_async import ALREADY_HANDLED

    return ALREADY_HANDLED


class _Live:
    """One open stream as the keeper of silent connections sees it."""

    __slots__ = ("_comment", "_head", "_wire", "opened")

    def __init__(self, wire: Wire, head: bytes, comment: bytes) -> None:
        self._wire, self._head, self._comment = wire, head, comment
        self.opened = False

    def open(self) -> None:
        """Send the head, once."""
        if not self.opened:
            self.opened = True
            self._wire.write(self._head)

    def keep(self) -> None:
        """Say something when nothing was said since the last time."""
        if not self._wire.wrote:
            self.open()
            self._wire.write(self._comment)
        self._wire.wrote = False


class _LiveStreams:
    """All open streams, kept alive by one greenlet that runs while there are any."""

    def __init__(self) -> None:
        self._streams: set[_Live] = set()
        self._running = False

    def add(self, stream: _Live) -> None:
        """Keep this one too."""
        self._streams.add(stream)
        if not self._running:
            self._running = True
            threading.Thread(target=self._keep, name="keep-alive", daemon=True).start()

    def discard(self, stream: _Live) -> None:
        """This one has ended."""
        self._streams.discard(stream)

    def _keep(self) -> None:
        while self._streams:
            time.sleep(KEEP_ALIVE_S)
            for stream in tuple(self._streams):
                stream.keep()
        self._running = False


_live = _LiveStreams()
