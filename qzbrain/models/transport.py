"""Connections to one engine: a keep-alive pool of plain sockets.

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

from qzbrain.models.base import Cancellation
from qzbrain.models.faults import EngineFault
from qzbrain.models.reply import Reply, close, cut, lost
from qzbrain.models.watchdog import watchdog

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


class Transport:
    """Thread-safe: a connection belongs to one reply at a time."""

    def __init__(self, address: Address, *, connect_timeout_s: float) -> None:
        self._address = address
        self._connect_timeout_s = connect_timeout_s
        self._idle: deque[tuple[float, Reply]] = deque()
        self._tls = ssl.create_default_context() if address.tls else None

    def post(self, path: str, body: bytes, *, headers: bytes, deadline: float, cancellation: Cancellation) -> Reply:
        """Send a JSON body; returns when the status is known. The cancellation, and the deadline, cut the connection from then on.

        A kept connection that turns out to be dead is replaced once. Raises EngineFault, TimeoutError. Give the reply to `release`.
        """
        request = b"POST %b HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b" % (
            (self._address.path + path).encode(), self._address.header.encode(), headers, len(body), body,
        )  # fmt: skip
        kept = self._take()
        if kept is not None:
            with contextlib.suppress(EngineFault):
                return self._exchange(kept, request, deadline, cancellation)
            if cancellation.cancelled:
                raise EngineFault("已取消", "cancelled")
        return self._exchange(self._connect(self._connect_timeout_s), request, deadline, cancellation)

    def probe(self, timeout_s: float) -> None:
        """Connect, and keep the connection for the next request. Raises EngineFault."""
        fresh = Reply(self._connect(timeout_s))
        fresh.complete = fresh.reusable = True
        self._keep(fresh)

    def release(self, reply: Reply, *, finished: bool) -> None:
        """Done with a reply. Its connection is kept when the answer was `finished`, else it is cut, which frees the engine."""
        watchdog.forget(reply)
        if finished and (reply.reusable or not reply.complete):
            self._keep(reply)
        else:
            close(reply.sock)

    def _connect(self, timeout_s: float) -> socket.socket:
        where = self._address.header
        try:
            sock = self._dial(timeout_s)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_hostname=self._address.host)
            sock.settimeout(None)
        except TimeoutError as exc:
            raise EngineFault(f"{timeout_s:g} 秒内连接不上 {where}", f"no connection to {where} within {timeout_s:g} s") from exc
        except ssl.SSLCertVerificationError as exc:
            raise _untrusted(where, exc) from exc
        except OSError as exc:
            reason = exc.strerror or str(exc)
            raise EngineFault(f"连接不上 {where}（{reason}）", f"cannot connect to {where} ({reason})", lost=True) from exc
        return sock

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

    def _exchange(self, sock: socket.socket, request: bytes, deadline: float, cancellation: Cancellation) -> Reply:
        reply = Reply(sock)
        reply.deadline = deadline
        watchdog.watch(reply)
        cancellation.on_cancel(lambda: cut(reply))
        try:
            try:
                sock.sendall(request)
            except OSError as exc:
                raise TimeoutError if reply.overdue else lost(exc) from exc
            reply.await_status()
        except BaseException:
            self.release(reply, finished=False)
            raise
        return reply

    def _keep(self, reply: Reply) -> None:
        """Keep a connection for the next request; those kept too long are closed."""
        now = time.monotonic()
        self._idle.append((now + KEPT_S, reply))
        while self._idle and (len(self._idle) > KEPT_CONNECTIONS or self._idle[0][0] < now):
            close(self._idle.popleft()[1].sock)

    def _take(self) -> socket.socket | None:
        """The connection used last that is still good."""
        while True:
            try:
                until, reply = self._idle.pop()
            except IndexError:
                return None
            if until > time.monotonic() and reply.settle():
                return reply.sock
            close(reply.sock)


def _untrusted(where: str, exc: ssl.SSLCertVerificationError) -> EngineFault:
    """OpenSSL itself reads SSL_CERT_FILE, when the context is made."""
    return EngineFault(
        f"{where} 的证书不受信任（{exc.verify_message}）。自建 CA 请在启动前设置 SSL_CERT_FILE=CA 证书文件",
        f"the certificate of {where} is not trusted ({exc.verify_message}); for a CA of your own set SSL_CERT_FILE to its file before the start",
    )
