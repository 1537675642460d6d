"""gunicorn's gevent worker, which at a stop waits for answers only: connections that are idle are closed at once.

gunicorn's own waits for every open connection: one idle browser tab would hold a restart up until it is killed.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any

from gunicorn.workers.ggevent import GeventWorker


class Worker(GeventWorker):  # type: ignore[misc]  # gunicorn is not typed
    """Knows which connections wait for their next request."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._idle: set[Any] = set()

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """One connection, from its first request to its end."""
        self._idle.add(client)
        try:
            super().handle(listener, client, addr)
        finally:
            self._idle.discard(client)

    def handle_request(self, listener_name: Any, req: Any, sock: Any, addr: Any) -> None:
        """One request. Raises StopIteration, gunicorn's word for "close", when the worker is to end."""
        self._idle.discard(sock)
        super().handle_request(listener_name, req, sock, addr)
        if not self.alive:
            raise StopIteration
        self._idle.add(sock)

    def notify(self) -> None:
        """Called every second, also while the worker waits for its last answers."""
        super().notify()
        if not self.alive:
            for client in tuple(self._idle):
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
            self.wsgi.extensions["chat_sockets"].close_idle()
