"""gunicorn's gevent worker, with three differences.

At a stop it waits for answers only, and closes connections that are idle at once. gunicorn's own waits for every open connection:
one idle browser tab would hold a restart up until it is killed.

Who sends a request at a crawl does not hold a connection with it (`slow_clients.py`).

What is no HTTP that can be served is answered in the shape of all other errors, not as gunicorn's HTML page.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import ssl
import time
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import orjson
from gunicorn.workers.ggevent import GeventWorker

from qzbrain.domain import new_id
from qzbrain.errors import BrainError
from qzbrain.web.protocol_errors import refusal
from qzbrain.web.slow_clients import HANDSHAKE_S, HEAD_S, PacedBody, TooSlow

_PR_SET_PDEATHSIG = 1
_INTERNAL = BrainError(zh="服务器内部错误，已记录。请稍后重试。", en="Internal error; it was logged. Try again.")


class Worker(GeventWorker):  # type: ignore[misc]  # gunicorn is not typed
    """Knows which connections wait for their next request."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._idle: set[Any] = set()
        self._new: dict[Any, float] = {}  # connections whose first request is not there yet, by the time of their beginning

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """One connection, from its first request to its end."""
        self._idle.add(client)
        self._new[client] = time.monotonic()
        try:
            super().handle(listener, client, addr)
        finally:
            self._idle.discard(client)
            self._new.pop(client, None)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        """One request. Raises StopIteration, gunicorn's word for "close", when the worker is to end."""
        self._idle.discard(sock)
        self._new.pop(sock, None)
        body = None
        if req.body is not None:
            body = req.body = PacedBody(req.body)
        super().handle_request(listener_name, req, sock, addr)
        if not self.alive or (body is not None and body.late):
            raise StopIteration
        self._idle.add(sock)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Exception) -> None:
        """Answer a request that gunicorn could not read, or broke at, and log it; the connection is closed after it."""
        error = exc if isinstance(exc, TooSlow) else refusal(exc)
        if error is None:
            self.log.error("error handling a request", exc_info=exc)
        with suppress(OSError):
            client.sendall(_plain_reply(error or _INTERNAL))
            client.shutdown(socket.SHUT_WR)

    def notify(self) -> None:
        """Called every second, also while the worker waits for its last answers."""
        super().notify()
        late = time.monotonic() - HEAD_S
        for client in [client for client, begun in self._new.items() if begun < late]:
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        if not self.alive:
            for client in tuple(self._idle):
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
            sockets = self.wsgi.extensions.get("chat_sockets")
            if sockets is not None:  # the graph service has none
                sockets.close_idle()


class TlsContext(ssl.SSLContext):
    """A server's TLS, from 1.2 on, whose handshake may not take for ever."""

    def wrap_socket(self, sock: Any, *args: Any, **options: Any) -> Any:
        """As ssl's. The worker takes the time-out away when the handshake is done."""
        sock.settimeout(HANDSHAKE_S)
        return super().wrap_socket(sock, *args, **options)


def tls_context(certificate: str, key: str) -> TlsContext:
    """The context of a certificate (with its chain) and a key, both PEM files. Raises OSError, ssl.SSLError."""
    context = TlsContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(certificate, key)
    return context


def end_with_master(worker: Any) -> None:
    """In a worker just forked: have the kernel end it with its master, also when that is killed; it would keep the port from the next one."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != worker.ppid:  # it died between fork and request
        os._exit(1)


def _plain_reply(error: BrainError) -> bytes:
    """A whole HTTP/1.1 reply. The reader's language is not known: the message has both."""
    body = error.body("en")
    body["error"]["message"] = f"{error.zh} {error.en}"
    content = orjson.dumps(body)
    head = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        f"X-Request-Id: {new_id()}",
        "X-Content-Type-Options: nosniff",
        "Connection: close",
    )
    return "\r\n".join((*head, "", "")).encode("ascii") + content
