"""MySQL and MariaDB through PyMySQL, which cooperates with gevent: no native pool, and no look-up queues behind another.

One transaction writes at a time, in all processes and hosts together, as on SQLite: each begins with the session lock `qzbrain.DATABASE`.
So the outbox is committed in the order of its numbers, and the brain's own transactions cannot dead-lock each other.
A server that restarts is waited for; look-ups and beginnings of transactions are then repeated, whole transactions by whoever can.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event
from sqlalchemy.engine import RootTransaction
from sqlalchemy.exc import DBAPIError

from qzbrain.errors import BrainError, StorageBusy
from qzbrain.storage.base import Kind, Result
from qzbrain.storage.mysql_errors import is_away, is_lost, translated
from qzbrain.storage.mysql_session import Server, Session, open_session
from qzbrain.storage.text import as_json

LOCK_WAIT_S = 30
PATIENCE_S = 10.0
"""A restart takes a server one or two seconds. One that stays away is waited for once; from then on every call fails until it is back."""
POOLED = 64
"""Most sessions of one process at a time."""
_KEPT = 16
_PAUSE_S = 0.1
_RECYCLE_S = 60
"""Sessions are renewed before the server ends them."""
_SNAPSHOT_S = 28_800
"""A snapshot is read at the pace of whoever writes it down; its session may be silent meanwhile."""
_LONGEST_LOCK_NAME = 64


class MysqlDriver:
    """A database of a MySQL or MariaDB server."""

    name: Kind = "mysql"
    tries = 3

    def __init__(self, server: Server, *, patience_s: float = PATIENCE_S) -> None:
        self.place = server.place
        self._server, self._patience_s = server, patience_s
        self._lock_name = lock_name(server.database)
        self._away_since: float | None = None
        self.engine: Engine = create_engine(
            "mysql+pymysql://",
            paramstyle="format",  # parameters in order, as `Database.prepared` gives them
            creator=lambda: open_session(server),
            pool_size=_KEPT,
            max_overflow=POOLED - _KEPT,
            pool_timeout=30,
            pool_recycle=_RECYCLE_S,
            pool_use_lifo=True,
            json_serializer=as_json,
            json_deserializer=orjson.loads,
        )
        event.listen(self.engine, "begin", self._begin)
        event.listen(self.engine, "handle_error", _mark_lost)
        self._writer = self.engine.execution_options(qz_write=True)

    def ask(self, question: Callable[[Connection], Result]) -> Result:
        """See `Driver.ask`."""

        def once() -> Result:
            with self.engine.connect() as connection:
                return question(connection)

        return self._patiently(once)

    def fetch(self, connection: Connection, sql: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """See `Driver.fetch`."""
        return [tuple(row) for row in connection.exec_driver_sql(sql, parameters)]

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """See `Driver.reading`."""
        with self._patiently(self._living) as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """See `Driver.snapshot`."""
        with self._patiently(self._living) as connection:
            connection.detach()  # ends with the block, and its time-outs with it
            connection.exec_driver_sql(f"SET SESSION wait_timeout = {_SNAPSHOT_S}, net_write_timeout = {_SNAPSHOT_S}")
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            connection.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            yield connection

    def begin(self, *, durable: bool, blind: bool) -> tuple[Connection, RootTransaction]:
        """See `Driver.begin`. How durable a commit is, is the server's setting (innodb_flush_log_at_trx_commit)."""
        return self._patiently(self._begun)

    def translated(self, exc: Exception) -> BrainError | None:
        """See `Driver.translated`."""
        return translated(exc, user=self._server.user, database=self._server.database)

    def scrub(self) -> bool:
        """InnoDB purges by itself; what it does with its files is the server's part."""
        return True

    def close(self) -> None:
        """See `Driver.close`."""
        self.engine.dispose()

    def _living(self) -> Connection:
        """A connection that answers."""
        connection = self.engine.connect()
        try:
            connection.exec_driver_sql("DO 0")
        except BaseException:
            connection.close()
            raise
        return connection

    def _begun(self) -> tuple[Connection, RootTransaction]:
        connection = self._writer.connect()
        try:
            return connection, connection.begin()
        except BaseException:
            connection.close()
            raise

    def _begin(self, connection: Connection) -> None:
        if not connection.get_execution_options().get("qz_write"):
            return  # each look-up is a transaction of its own
        if connection.exec_driver_sql("SELECT GET_LOCK(%s, %s)", (self._lock_name, LOCK_WAIT_S)).scalar() != 1:
            raise StorageBusy
        session: Session = connection.connection.driver_connection  # type: ignore[assignment]
        session.locked = True
        connection.exec_driver_sql("BEGIN")

    def _patiently(self, attempt: Callable[[], Result]) -> Result:
        """Repeat what failed for want of a connection: at once, then while the server may be coming back."""
        pause_s = 0.0
        while True:
            try:
                result = attempt()
            except DBAPIError as exc:
                if not is_away(exc) or not self._may_wait():
                    raise
                time.sleep(pause_s)
                pause_s = _PAUSE_S
            else:
                self._away_since = None
                return result

    def _may_wait(self) -> bool:
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
        return now - self._away_since < self._patience_s


def lock_name(database: str) -> str:
    """The name of the session lock behind which writes of all processes queue."""
    name = f"qzbrain.{database}"
    if name.isascii() and len(name) <= _LONGEST_LOCK_NAME:
        return name
    return f"qzbrain.{hashlib.sha256(database.encode()).hexdigest()[:40]}"


def _mark_lost(context: ExceptionContext) -> None:
    """Codes that SQLAlchemy does not count among the ends of a connection; the whole pool is renewed then."""
    if is_lost(context.original_exception):
        context.is_disconnect = True
