"""Stands between a client and its server, and cuts the line at one message: before it, or after it was passed on but before the reply.

So a client can be killed at a moment of the test's choosing: `then` is called while it waits for that message's reply.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

Cut = Literal["before", "after"]


class CuttingProxy:
    """Listens on a free port of 127.0.0.1. `arm(mark, cut)`: the next message of a client that holds `mark` is where the line is cut, once; `cuts` counts."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._armed: tuple[bytes, Cut, Callable[[], object]] | None = None
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, mark: bytes, cut: Cut, then: Callable[[], object] = lambda: None) -> None:
        """Cut at the next message that holds these bytes; call `then` before the client can notice."""
        self._armed = mark, cut, then

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                line = _Line(client, socket.create_connection(("127.0.0.1", self._to)))
                threading.Thread(target=self._pass_on, args=(line,), daemon=True).start()
                threading.Thread(target=line.pass_back, daemon=True).start()

    def _pass_on(self, line: _Line) -> None:
        with suppress(OSError):
            while data := line.client.recv(1 << 16):
                if self._armed and self._armed[0] in data:
                    (_, cut, then), self._armed = self._armed, None
                    self.cuts += 1
                    if cut == "after":
                        line.replies_wanted = False
                        line.server.sendall(data)
                        then()
                        return  # its reply ends the line
                    then()
                    break
                line.server.sendall(data)
        line.end()


class _Line:
    """One client's connection through the proxy."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.replies_wanted = True

    def pass_back(self) -> None:
        with suppress(OSError):
            while (data := self.server.recv(1 << 16)) and self.replies_wanted:
                self.client.sendall(data)
        self.end()

    def end(self) -> None:
        """Both sides learn it at once."""
        for one in (self.client, self.server):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
