"""One session of a MySQL or MariaDB server: how it is opened, and what commit and rollback mean in it.

The session is in autocommit, so that look-ups cost one message; a transaction is begun by hand. It begins with the brain's lock (see
`mysql`), which is given back behind commit or rollback. The server frees the lock of a client that is gone.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pymysql import connections, converters, err
from pymysql.constants import CLIENT, FIELD_TYPE, SERVER_STATUS

from qzbrain.errors import SettingsInvalid
from qzbrain.settings import Settings
from qzbrain.storage.mysql_errors import PACKET_TOO_LARGE, CommitLost, is_lost

CONNECT_TIMEOUT_S = 5
WAIT_TIMEOUT_S = 120
"""The server ends a session that was silent for so long, and frees its lock: a host that vanished does not hold up the others for longer."""
_SQL_MODE = "STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
_COLLATION = "utf8mb4_bin"


@dataclass(frozen=True, slots=True)
class Server:
    """Where the database is and who we are there. `ca`: PEM file; with it only a server whose certificate it signed is trusted."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    ca: str = ""

    @classmethod
    def of(cls, settings: Settings) -> Server:
        """As the settings say; another database under QZBRAIN_ENV=test."""
        return cls(
            host=settings.mysql_host,
            port=settings.mysql_port,
            user=settings.mysql_user,
            password=settings.mysql_password,
            database=settings.mysql_database,
            ca=str(settings.mysql_ca_path or ""),
        )

    @property
    def place(self) -> str:
        """For people."""
        return f"mysql://{self.user}@{self.host}:{self.port}/{self.database}"


class Session(connections.Connection):  # type: ignore[misc]
    """PyMySQL's connection; `locked` while it holds the brain's lock."""

    locked = False
    longest_bytes = 1 << 20

    def query(self, sql: str | bytes, unbuffered: bool = False) -> Any:
        """As PyMySQL's. Raises error 1153 for what the server would not take: it would cut the connection instead of saying so."""
        data = sql.encode(self.encoding) if isinstance(sql, str) else sql
        if len(data) >= self.longest_bytes:
            raise err.DataError(PACKET_TOO_LARGE, f"{len(data)} bytes in one statement, max_allowed_packet is {self.longest_bytes}")
        return super().query(data, unbuffered)

    def commit(self) -> None:
        """Commit and give the lock back. Raises CommitLost when nobody knows whether the commit took place."""
        try:
            super().commit()
        except err.MySQLError as exc:
            if is_lost(exc):
                raise CommitLost(*exc.args) from exc
            raise
        self._release()

    def rollback(self) -> None:
        """Roll back and give the lock back; no message is sent when there is nothing to undo (a session that is given back asks always)."""
        if self.open and (self.locked or self.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS):
            super().rollback()
        self._release()

    def _release(self) -> None:
        """Never raises: what was committed stays so. A session that cannot give the lock back is closed, and the server frees it."""
        if not self.locked:
            return
        self.locked = False
        try:
            self.query("DO RELEASE_ALL_LOCKS()")
        except err.MySQLError:
            with contextlib.suppress(err.MySQLError):
                self.close()

    def _create_ssl_ctx(self, sslp: Any) -> ssl.SSLContext:
        """PyMySQL would read the system's certificates, 20 ms of the hub, for each connection; unverified it needs none."""
        return sslp if isinstance(sslp, ssl.SSLContext) else _unverified()


def open_session(server: Server) -> Session:
    """A session ready for use. Raises the driver's exceptions, and SettingsInvalid for a CA file that cannot be read."""
    session = Session(
        host=server.host,
        port=server.port,
        user=server.user,
        password=server.password.encode(),  # PyMySQL would take a text for Latin-1
        database=server.database or None,
        charset="utf8mb4",
        collation=_COLLATION,
        sql_mode=_SQL_MODE,
        autocommit=True,
        client_flag=CLIENT.FOUND_ROWS,  # rowcount counts the rows found, as on SQLite, not those that changed
        connect_timeout=CONNECT_TIMEOUT_S,
        conv={**converters.conversions, FIELD_TYPE.DECIMAL: _number, FIELD_TYPE.NEWDECIMAL: _number},
        init_command="SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
        ssl=_verified(server.ca) if server.ca else None,  # without a CA: encrypted where the server can, and not verified
    )
    _notice_a_dead_peer(session._sock)
    with session.cursor() as cursor:
        cursor.execute(f"SET SESSION wait_timeout = {WAIT_TIMEOUT_S}")
        cursor.execute("SELECT @@max_allowed_packet")
        session.longest_bytes = int(cursor.fetchone()[0])
    return session


@lru_cache(maxsize=4)
def _verified(ca: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as exc:
        raise SettingsInvalid(
            zh=f"MYSQL_SSL_CA 指向的文件无法读取或不是 PEM 证书：{ca}。请改正路径。",
            en=f"MYSQL_SSL_CA names a file that cannot be read or is no PEM certificate: {ca}. Correct it.",
            param="mysql_ssl_ca",
        ) from exc
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # certificates that MySQL makes for itself do not pass it
    return context


@lru_cache(maxsize=1)
def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _notice_a_dead_peer(sock: socket.socket) -> None:
    """A host that vanished without a word is noticed within a minute instead of two hours."""
    for option, seconds_or_count in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), seconds_or_count)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000)


def _number(text: str) -> int | float:
    """Sums come as decimals; they are integers, as on SQLite, unless there is a fraction."""
    return float(text) if "." in text else int(text)
