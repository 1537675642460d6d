"""SQLite connections that never stall a gevent hub.

sqlite3 blocks the thread that calls it: a writer that waits for another process's lock would stop every stream of the web
process. Where gevent has patched the standard library, statements that write, and commits, run in the hub's native thread
pool while only their greenlet waits; reads stay inline, because a WAL reader waits for nobody and they are short. Only pure
native calls go to the pool (no logging, no shared locks: those hang there).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, create_engine, event, exc, pool
from sqlalchemy.engine import RootTransaction

from qzbrain.errors import BrainError, StorageBusy, StorageFull
from qzbrain.storage.base import Kind, Result
from qzbrain.storage.cooperation import inline, offloader
from qzbrain.storage.text import as_json, no_text

BUSY_TIMEOUT_S = 30.0


class SqliteDriver:
    """An SQLite file. Look-ups share one connection, kept for them; a write holds the process's lock and SQLite's."""

    name: Kind = "sqlite"
    tries = 1
    """Whoever waited for the lock as long as the busy time-out need not wait again."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.place = str(path)
        self.engine: Engine = create_engine(
            "sqlite://",
            creator=lambda: connect(path),
            poolclass=pool.QueuePool,
            pool_size=16,
            max_overflow=64,
            pool_timeout=30,
            json_serializer=as_json,
            json_deserializer=orjson.loads,
        )
        event.listen(self.engine, "begin", _begin)
        self._reader = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._writers = {
            (durable, blind): self.engine.execution_options(qz_write=True, qz_durable=durable, qz_deferred=blind)
            for durable in (False, True)
            for blind in (False, True)
        }
        self._lock = threading.Lock()
        self._kept: Connection | None = None

    def ask(self, question: Callable[[Connection], Result]) -> Result:
        """See `Driver.ask`; asked once."""
        with self._lock:
            if self._kept is None:
                self._kept = self._reader.connect()
            return question(self._kept)

    def fetch(self, connection: Connection, sql: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """See `Driver.fetch`."""
        cursor = connection.connection.cursor()
        cursor.execute(sql, parameters)
        return list(cursor.fetchall())

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """See `Driver.reading`."""
        with self._reader.connect() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """See `Driver.snapshot`."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    def begin(self, *, durable: bool, blind: bool) -> tuple[Connection, RootTransaction]:
        """See `Driver.begin`."""
        connection = self._writers[durable, blind].connect()
        try:
            return connection, connection.begin()
        except BaseException:
            connection.close()
            raise

    def translated(self, exc: Exception) -> BrainError | None:
        """See `Driver.translated`."""
        return _translated(exc)

    def scrub(self) -> bool:
        """Move the write-ahead log into the database, where what is deleted was overwritten (`secure_delete`), and cut it to nothing."""
        return self.ask(lambda connection: not connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").scalar())

    def close(self) -> None:
        """See `Driver.close`."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None
        self.engine.dispose()


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("isolation_level") == "AUTOCOMMIT":
        return
    if options.get("qz_write"):
        if options.get("qz_deferred"):
            driver: OffloadConnection = connection.connection.driver_connection  # type: ignore[assignment]
            driver.deferred = []
        connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if options.get('qz_durable') else 'NORMAL'}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql("BEGIN")


def _translated(error: Exception) -> BrainError | None:
    if unstorable := no_text(error):
        return unstorable
    if isinstance(error, exc.TimeoutError):
        return StorageBusy()
    if not isinstance(error, exc.DBAPIError | sqlite3.OperationalError):
        return None
    said = str(error.orig if isinstance(error, exc.DBAPIError) else error)
    if "disk is full" in said or "disk I/O error" in said:
        return StorageFull()
    return StorageBusy() if "locked" in said or "busy" in said else None


def _reads(sql: str) -> bool:
    return sql.startswith(("SELECT", "PRAGMA", "WITH"))


class OffloadCursor(sqlite3.Cursor):
    """A cursor whose writing statements run in the native pool."""

    connection: OffloadConnection

    def execute(self, sql: str, parameters: Any = ()) -> OffloadCursor:
        """As sqlite3's; reads inline, everything else in the pool."""
        if _reads(sql):
            super().execute(sql, parameters)
        elif self.connection.deferred is not None:
            self.connection.defer(sqlite3.Cursor.execute, sql, parameters)
        else:
            self.connection.offload(sqlite3.Cursor.execute, self, sql, parameters)
        return self

    def executemany(self, sql: str, parameters: Any) -> OffloadCursor:
        """As sqlite3's, in the pool."""
        if self.connection.deferred is not None:
            self.connection.defer(sqlite3.Cursor.executemany, sql, list(parameters))
        else:
            self.connection.offload(sqlite3.Cursor.executemany, self, sql, list(parameters))
        return self


class OffloadConnection(sqlite3.Connection):
    """A connection whose commits and writing statements run in the native pool."""

    offload: Callable[..., Any] = staticmethod(inline)
    deferred: list[Any] | None = None
    """While it is a list, writing statements wait in it and run together with the commit: one trip to the pool for a transaction."""

    def defer(self, function: Callable[..., Any], sql: str, parameters: Any) -> None:
        """Let a statement wait for the commit, with a cursor of its own: the caller closes his at once."""
        if self.deferred is not None:
            self.deferred.append((function, sqlite3.Connection.cursor(self), sql, parameters))

    def cursor(self, factory: Any = OffloadCursor) -> Any:
        """A cursor that knows this connection's pool."""
        return super().cursor(factory)

    def commit(self) -> None:
        """As sqlite3's, in the pool; what was deferred runs first."""
        calls, self.deferred = self.deferred, None
        if calls is not None:
            self.offload(_run, [*calls, (sqlite3.Connection.commit, self)])
        else:
            self.offload(sqlite3.Connection.commit, self)

    def rollback(self) -> None:
        """As sqlite3's, in the pool; nothing to do when there is no transaction (a connection that is given back asks always)."""
        self.deferred = None
        if self.in_transaction:
            self.offload(sqlite3.Connection.rollback, self)


def _run(calls: list[tuple[Any, ...]]) -> None:
    for function, *args in calls:
        function(*args)


def connect(path: Path) -> OffloadConnection:
    """Open the database in WAL mode, in autocommit (the caller begins), with foreign keys on and deleted content overwritten.

    `synchronous=NORMAL`: a commit survives kill -9 of any process; `Database.write(durable=True)` raises it to FULL, which
    survives power loss, for the transactions behind an acknowledged upload.
    """
    connection: OffloadConnection = sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, factory=OffloadConnection, cached_statements=256
    )
    connection.offload = offloader()
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "secure_delete=ON", "temp_store=MEMORY", "cache_size=-2000"):
        sqlite3.Cursor.execute(sqlite3.Connection.cursor(connection), f"PRAGMA {pragma}")
    return connection
