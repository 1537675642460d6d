"""One HTTP request to the graph service within a time that holds whatever the other side does: resolving, connecting and reading together.

The request runs on a thread of its own (a greenlet, where threads are such), because a name server that hangs or a reply that drips keeps every time-out of a
socket. Whoever waits leaves at the end of the time and cuts the connection. Proxies of the environment are not used, redirects not followed.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections import deque
from dataclasses import dataclass
from urllib.parse import urlsplit

from qzbrain.graph.breaker import FAILURES, GraphFault

MOST_REPLY_BYTES = 16 << 20
MOST_AT_ONCE = 64
KEPT_S = 20.0


@dataclass(frozen=True, slots=True)
class Reply:
    """What came, whatever its status."""

    status: int
    body: bytes


class Connections:
    """Connections to one address. Thread-safe; those that are good are kept for the next request."""

    def __init__(self, address: str) -> None:
        """`address`: http(s)://HOST[:PORT][/PATH]."""
        parts = urlsplit(address)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host, self._port, self._path = parts.hostname or "", parts.port or (443 if self._tls else 80), parts.path.rstrip("/")
        self._idle: deque[tuple[float, http.client.HTTPConnection]] = deque()
        self._room = threading.Semaphore(MOST_AT_ONCE)

    @property
    def where(self) -> str:
        """HOST:PORT, for messages."""
        return f"{f'[{self._host}]' if ':' in self._host else self._host}:{self._port}"

    def request(self, method: str, path: str, body: bytes | None, headers: dict[str, str], *, timeout_s: float) -> Reply:
        """Raises GraphFault. A kept connection that the other side has closed is replaced once."""
        if not self._room.acquire(blocking=False):
            raise GraphFault(f"已有 {MOST_AT_ONCE} 个请求在等它", f"{MOST_AT_ONCE} requests wait for it already", weight=0)
        running = _Running(self, method, self._path + path, body, headers, timeout_s)
        try:
            threading.Thread(target=running.run, args=(self._room,), name="graph-service-call", daemon=True).start()
        except RuntimeError as exc:  # no more threads
            self._room.release()
            raise GraphFault("本机已无法再建立线程", "this machine gives no more threads", weight=0) from exc
        return running.wait()

    def take(self) -> http.client.HTTPConnection | None:
        """The connection used last, if one is kept that was used lately."""
        while True:
            try:
                until, kept = self._idle.pop()
            except IndexError:
                return None
            if until > time.monotonic():
                return kept
            kept.close()

    def keep(self, connection: http.client.HTTPConnection) -> None:
        """Keep one whose reply was read to its end."""
        now = time.monotonic()
        self._idle.append((now + KEPT_S, connection))
        while self._idle and self._idle[0][0] < now:
            with contextlib.suppress(IndexError):
                self._idle.popleft()[1].close()

    def made(self, timeout_s: float) -> http.client.HTTPConnection:
        """A new one, not yet connected."""
        if self._tls is not None:
            return http.client.HTTPSConnection(self._host, self._port, timeout=timeout_s, context=self._tls)
        return http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)

    def close(self) -> None:
        """Give the kept ones up."""
        while self._idle:
            self._idle.pop()[1].close()


class _Running:
    """One request on its way, and who waits for it."""

    def __init__(self, connections: Connections, method: str, path: str, body: bytes | None, headers: dict[str, str], timeout_s: float) -> None:
        self._connections, self._timeout_s = connections, timeout_s
        self._method, self._path, self._body, self._headers = method, path, body, headers
        self._deadline = time.monotonic() + timeout_s
        self._over = threading.Event()
        self._left = False
        self._connection: http.client.HTTPConnection | None = None
        self._reply: Reply | None = None
        self._fault = GraphFault("没有回复", "no reply")

    def wait(self) -> Reply:
        """The reply, at the latest when the time is up. Raises GraphFault."""
        if not self._over.wait(max(0.0, self._deadline - time.monotonic())):
            self._left = True
            if self._connection is not None:
                _cut(self._connection)
            raise self._late()
        if self._reply is None:
            raise self._fault
        return self._reply

    def run(self, room: threading.Semaphore) -> None:
        """On the side thread."""
        try:
            self._reply = self._asked()
        except GraphFault as fault:
            self._fault = fault
        finally:
            room.release()
            self._over.set()

    def _asked(self) -> Reply:
        kept = self._connections.take()
        if kept is not None:
            try:
                return self._exchanged(kept)
            except (ConnectionError, http.client.BadStatusLine):  # closed by the other side since; every request here only reads
                pass
            except (OSError, http.client.HTTPException) as exc:
                raise self._told(exc) from exc
        try:
            return self._exchanged(self._connections.made(self._timeout_s))
        except (OSError, http.client.HTTPException) as exc:
            raise self._told(exc) from exc

    def _exchanged(self, connection: http.client.HTTPConnection) -> Reply:
        self._connection = connection
        left_s = self._deadline - time.monotonic()
        if self._left or left_s <= 0:
            connection.close()
            raise self._late()
        connection.timeout = left_s
        try:
            if connection.sock is None:
                connection.connect()
            else:
                connection.sock.settimeout(left_s)
            if self._left:
                raise self._late()
            connection.request(self._method, self._path, self._body, self._headers)
            response = connection.getresponse()
            reply = Reply(response.status, _whole(response))
        except BaseException:
            connection.close()
            raise
        if response.will_close or self._left:
            connection.close()
        else:
            self._connections.keep(connection)
        return reply

    def _late(self) -> GraphFault:
        return GraphFault(f"{self._timeout_s:g} 秒内没有完整回复", f"no whole reply within {self._timeout_s:g} s", weight=FAILURES)

    def _told(self, exc: Exception) -> GraphFault:
        if self._left or isinstance(exc, TimeoutError):
            return self._late()
        if isinstance(exc, ssl.SSLCertVerificationError):
            return GraphFault(
                f"证书不受信任（{exc.verify_message}）；自建 CA 请在启动前设置 SSL_CERT_FILE",
                f"its certificate is not trusted ({exc.verify_message}); for a CA of your own set SSL_CERT_FILE before the start",
            )
        if isinstance(exc, ConnectionRefusedError):
            return GraphFault("没有程序在该地址监听", "nothing listens there")
        if isinstance(exc, http.client.HTTPException):
            return GraphFault(f"回复不是完整的 HTTP（{type(exc).__name__}）", f"its reply is not whole HTTP ({type(exc).__name__})")
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else type(exc).__name__
        return GraphFault(f"连接失败（{reason}）", f"the connection failed ({reason})")


def _whole(response: http.client.HTTPResponse) -> bytes:
    """The body. Raises GraphFault for one that is too long."""
    body = b"" if (response.length or 0) > MOST_REPLY_BYTES else response.read(MOST_REPLY_BYTES + 1)
    if len(body) > MOST_REPLY_BYTES or (response.length or 0) > MOST_REPLY_BYTES:
        raise GraphFault(f"回复超过 {MOST_REPLY_BYTES >> 20} MiB", f"its reply is longer than {MOST_REPLY_BYTES >> 20} MiB")
    if response.length:
        raise http.client.IncompleteRead(body, response.length)
    return body


def _cut(connection: http.client.HTTPConnection) -> None:
    """End it at once, whoever reads it: closing alone would leave the read waiting."""
    sock = connection.sock
    if sock is not None:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)  # not SSLSocket's own, which would drop the state under the reader
