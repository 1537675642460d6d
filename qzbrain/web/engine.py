"""Socket.IO over our own websocket transport: python-socketio keeps the protocol, connections write by `Wire`.

python-engineio gives each connection a queue and a writer greenlet; answers written past that queue would overtake
acknowledgements in it. Here `send` writes at once, so that everything on a connection has one order: that of the calls.
Websocket only: long polling would need all requests of a client in one process, and costs many times more.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import MethodType
from typing import TYPE_CHECKING, Any

from engineio import packet
from engineio import socket as engineio_socket
from flask import Flask
from flask_socketio import SocketIO

from qzbrain.errors import BrainError, Lang
from qzbrain.web import guards, websocket
from qzbrain.web.responses import error_reply
from qzbrain.web.wire import Wire

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

SESSION = "qzbrain.session"
"""Key in a connection's environ that holds its `Session`."""
_PATH = "/socket.io/"
_HEADERS = (
    ("X-Content-Type-Options", "nosniff"), ("X-Frame-Options", "DENY"), ("Cache-Control", "no-store"), ("Content-Security-Policy", "default-src 'none'"),
)  # fmt: skip
_LIMIT_BYTES = 1_000_000
_PING_INTERVAL_S = 25
_PING_TIMEOUT_S = 20


class Session(engineio_socket.Socket):  # type: ignore[misc]  # python-engineio is not typed
    """One client's connection."""

    def __init__(self, server: Any, sid: str, sock: Any) -> None:
        super().__init__(server, sid)
        self._sock = sock
        self.wire = Wire(sock)

    def send(self, pkt: Any) -> None:
        """Write one Engine.IO packet; dropped when the connection is over."""
        if not self.closed:
            encoded = pkt.encode()
            self.wire.write(websocket.text_frame(encoded.encode() if isinstance(encoded, str) else encoded))

    def serve(self) -> None:
        """Receive until the connection ends."""
        self.connected = self.upgraded = True
        try:
            for message in websocket.messages(self._sock, self.wire, limit_bytes=self.server.max_http_buffer_size):
                with suppress(ValueError, IndexError):  # no Engine.IO packet: python-engineio ignores unknown ones too
                    self.receive(packet.Packet(encoded_packet=message))
                if self.closed:
                    break
        finally:
            self.close(wait=False, abort=True, reason=self.server.reason.TRANSPORT_CLOSE)
            self.wire.close()

    def close(self, wait: bool = True, abort: bool = False, reason: str | None = None) -> None:
        """End the connection; nothing is waited for."""
        super().close(wait=False, abort=abort, reason=reason)
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)


def install(app: Flask, default_lang: Lang, check: Callable[[dict[str, Any], Lang], Any]) -> Any:
    """Socket.IO beside a Flask application; returns python-socketio's server, on which handlers are registered.

    `check` raises BrainError for a connection that may not be.
    Handlers get no Flask request context: nothing needs one, and it would cost more than the event.
    """
    sockets = SocketIO(
        app,
        async_mode="gevent",
        transports=["websocket"],
        async_handlers=False,
        cors_allowed_origins=[],  # guards checks instead, by the same rule as for HTTP
        max_http_buffer_size=_LIMIT_BYTES,
        ping_interval=_PING_INTERVAL_S,
        ping_timeout=_PING_TIMEOUT_S,
    )
    engine = sockets.server.eio
    engine._handle_connect = MethodType(_connect, engine)
    flask_app = Flask.wsgi_app.__get__(app)

    def wsgi(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not environ["PATH_INFO"].startswith(_PATH):
            plain: Iterable[bytes] = flask_app(environ, start_response)
            return plain
        start = _with_headers(start_response)
        try:
            check(environ, guards.socket_language(environ, default_lang))
        except BrainError as exc:
            return error_reply(exc, guards.language(environ, default_lang))(environ, start)
        handled: Iterable[bytes] = sockets.server.handle_request(environ, start)
        return handled

    app.wsgi_app = wsgi  # type: ignore[method-assign]
    return sockets.server


def _with_headers(start_response: StartResponse) -> Callable[..., Any]:
    """For plain replies at the address of sockets: nothing that a browser would show or keep."""

    def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
        return start_response(status, [*headers, *_HEADERS], *more)

    return start


def _connect(engine: Any, environ: WSGIEnvironment, start_response: Callable[..., Any], _transport: str, _jsonp_index: int | None = None) -> Any:
    """python-engineio's `_handle_connect` for websockets: accept, tell the client its session, serve until it ends."""
    accepted = websocket.handshake(environ)
    sock = environ.get("gunicorn.socket")
    if accepted is None or sock is None:
        return engine._bad_request("not a websocket upgrade")
    session = Session(engine, engine.generate_id(), sock)
    engine.sockets[session.sid] = session
    environ[SESSION] = session
    _watch(engine)
    try:
        session.wire.write(accepted)
        session.send(packet.Packet(packet.OPEN, _opening(engine, session.sid)))
        if engine._trigger_event("connect", session.sid, environ, run_async=False) in (None, True):
            session.schedule_ping()
            session.serve()
    finally:
        engine.sockets.pop(session.sid, None)
    raise StopIteration  # gunicorn's word for: this connection is over


def _opening(engine: Any, sid: str) -> dict[str, Any]:
    return {
        "sid": sid,
        "upgrades": [],
        "pingTimeout": int(engine.ping_timeout * 1000),
        "pingInterval": int(engine.ping_interval * 1000),
        "maxPayload": engine.max_http_buffer_size,
    }


def _watch(engine: Any) -> None:
    """Start the task that ends connections which no longer answer pings, once."""
    if engine.start_service_task:
        engine.start_service_task = False
        engine.service_task_handle = engine.start_background_task(engine._service_task)
