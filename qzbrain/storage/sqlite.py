"""SQLite connections that never stall a gevent hub.

sqlite3 blocks the thread that calls it: a writer that waits for another process's lock would stop every stream of the web
process. Where gevent has patched the standard library, statements that write, and commits, run in the hub's native thread
pool while only their greenlet waits; reads stay inline, because a WAL reader waits for nobody and they are short. Only pure
native calls go to the pool (no logging, no shared locks: those hang there).
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

BUSY_TIMEOUT_S = 30.0


def _inline(function: Callable[..., Any], *args: Any) -> Any:
    return function(*args)


def offloader() -> Callable[..., Any]:
    """`call(function, *args)`: in the hub's native thread pool when gevent has patched this process, else right here."""
    monkey = sys.modules.get("gevent.monkey")  # whoever patched has imported it; the worker need not
    if monkey is None or not monkey.is_module_patched("socket"):
        return _inline
    from gevent import get_hub

    def in_pool(function: Callable[..., Any], *args: Any) -> Any:
        return get_hub().threadpool.apply(function, args)

    return in_pool


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

    offload: Callable[..., Any] = staticmethod(_inline)
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
