"""HTTP/1.1 over plain sockets to one engine: a keep-alive pool, and replies that are read as they come and cut off at once.

Plain sockets and httptools rather than a client library: at 200 streams an HTTP library costs a third to five times as much CPU
per token, and hides the socket, whose `shutdown` is what makes a blocked read return the moment its caller leaves.
Works with gevent's patched sockets and with threads.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import time
from collections import deque
from dataclasses import dataclass
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpResponseParser

from qzbrain.models.base import Cancellation
from qzbrain.models.faults import EngineFault, quoted

READ_BYTES = 65_536
KEPT_CONNECTIONS = 256
KEPT_S = 20.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where an engine listens. `path` is what stands before `/chat/completions`, without a slash at its end."""

    host: str
    port: int
    path: str
    tls: bool

    @classmethod
    def of(cls, base_url: str) -> Address:
        """From `http://HOST[:PORT]/v1` or https."""
        parts = urlsplit(base_url)
        tls = parts.scheme == "https"
        return cls(host=parts.hostname or "", port=parts.port or (443 if tls else 80), path=parts.path.rstrip("/"), tls=tls)

    @property
    def header(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class Reply:
    """One reply on its way: `read()` gives body parts until `complete`. Also takes httptools' callbacks."""

    __slots__ = ("_parser", "_parts", "complete", "retry_after", "reusable", "sock", "status")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._parts: list[bytes] = []
        self._parser = HttpResponseParser(self)
        self.status = 0
        self.retry_after = ""
        self.complete = False
        self.reusable = False

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

    def read(self) -> bytes:
        """The next bytes of the body, b"" when this read brought none. Sets `complete`, also when the connection ends.

        Raises EngineFault when the connection fails or ends before a status came, TimeoutError after the socket's time-out.
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

    def _receive(self) -> None:
        try:
            data = self.sock.recv(READ_BYTES)
        except TimeoutError:
            raise
        except OSError as exc:
            raise _lost(exc) from exc
        if data:
            try:
                self._parser.feed_data(data)
            except HttpParserError as exc:
                raise EngineFault(f"回复不是 HTTP：{quoted(data)}", f"the reply is not HTTP: {quoted(data)}") from exc
        elif self.status:
            self.complete = True
        else:
            raise EngineFault("连接在回复之前被关闭", "the connection was closed before any reply")


class Transport:
    """Connections to one engine. Thread-safe: a connection belongs to one reply at a time."""

    def __init__(self, address: Address, *, connect_timeout_s: float) -> None:
        self._address = address
        self._connect_timeout_s = connect_timeout_s
        self._idle: deque[tuple[float, socket.socket]] = deque()
        self._tls = ssl.create_default_context() if address.tls else None

    def post(self, path: str, body: bytes, *, headers: bytes, timeout_s: float, cancellation: Cancellation) -> Reply:
        """Send a JSON body; returns when the status is known. The cancellation cuts the connection from then on.

        A kept connection that turns out to be dead is replaced once. Raises EngineFault, TimeoutError.
        """
        request = b"POST %b HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b" % (
            (self._address.path + path).encode(), self._address.header.encode(), headers, len(body), body,
        )  # fmt: skip
        kept = self._take()
        if kept is not None:
            with contextlib.suppress(EngineFault):
                return _exchange(kept, request, timeout_s, cancellation)
            _close(kept)
            if cancellation.cancelled:
                raise EngineFault("已取消", "cancelled")
        fresh = self.connect(self._connect_timeout_s)
        try:
            return _exchange(fresh, request, timeout_s, cancellation)
        except BaseException:
            _close(fresh)
            raise

    def connect(self, timeout_s: float) -> socket.socket:
        """A new connection. Raises EngineFault."""
        where = self._address.header
        try:
            sock = self._dial(timeout_s)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock if self._tls is None else self._tls.wrap_socket(sock, server_hostname=self._address.host)
        except TimeoutError as exc:
            raise EngineFault(f"{timeout_s:g} 秒内连接不上 {where}", f"no connection to {where} within {timeout_s:g} s") from exc
        except OSError as exc:
            reason = exc.strerror or str(exc)
            raise EngineFault(f"连接不上 {where}（{reason}）", f"cannot connect to {where} ({reason})") from exc

    def _dial(self, timeout_s: float) -> socket.socket:
        """A TCP connection. An address in figures goes past the resolver, which under gevent is a thread pool."""
        host, port = self._address.host, self._address.port
        try:
            family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
        except ValueError:
            return socket.create_connection((host, port), timeout_s)
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(timeout_s)
            sock.connect((host, port))
        except BaseException:
            sock.close()
            raise
        return sock

    def keep(self, sock: socket.socket) -> None:
        """Keep a connection for the next request; the ones kept too long are closed."""
        now = time.monotonic()
        self._idle.append((now + KEPT_S, sock))
        while self._idle and (len(self._idle) > KEPT_CONNECTIONS or self._idle[0][0] < now):
            _close(self._idle.popleft()[1])

    def release(self, reply: Reply) -> None:
        """Done with a reply: its connection is kept when the reply is whole and the engine allows it, else cut, which frees the engine."""
        if reply.complete and reply.reusable:
            self.keep(reply.sock)
        else:
            _close(reply.sock)

    def _take(self) -> socket.socket | None:
        try:
            until, sock = self._idle.pop()
        except IndexError:
            return None
        if until > time.monotonic():
            return sock
        _close(sock)
        return None


def _exchange(sock: socket.socket, request: bytes, timeout_s: float, cancellation: Cancellation) -> Reply:
    reply = Reply(sock)
    cancellation.on_cancel(lambda: cut(reply))
    try:
        sock.settimeout(timeout_s)
        sock.sendall(request)
    except TimeoutError:
        raise
    except OSError as exc:
        raise _lost(exc) from exc
    reply.await_status()
    return reply


def cut(reply: Reply) -> None:
    """End a reply's connection at once, whoever is reading it: the read returns, and the engine sees that nobody listens."""
    if not reply.complete:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(reply.sock, socket.SHUT_RDWR)  # not SSLSocket's own, which would drop the state under the reader


def _close(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.close()


def _lost(exc: OSError) -> EngineFault:
    return EngineFault(f"连接中断（{exc.strerror or exc}）", f"the connection was lost ({exc.strerror or exc})")
