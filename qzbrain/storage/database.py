"""The database: short reads, short exclusive writes, and group commit for the small rows of running answers.

Knows transactions, not tables. Every driver exception leaves here as one of `errors.py`'s.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, Insert, Row, Select, Update, create_engine, event, pool
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import Executable

from qzbrain.errors import BrainError, StorageBusy, StorageFull
from qzbrain.storage import sqlite
from qzbrain.storage.tables import metadata

LINGER_S = 0.5
"""Rows that nobody waits for are committed this late: those of a quick answer share the transaction of its end, those of a rush one."""
PACE_S = 0.015
"""Group commits begin at least this far apart: a lone row is committed at once, the rows of a rush together."""


_FOLLOWING = "qz_after_commit"
_TABLE_ORDER: dict[object, int] = {table: place for place, table in enumerate(metadata.sorted_tables)}


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


class Database:
    """One database. `read()` and `write()` give SQLAlchemy Core connections; a write holds the process's single write lock."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.engine: Engine = create_engine(
            "sqlite://",
            creator=lambda: sqlite.connect(path),
            poolclass=pool.QueuePool,
            pool_size=16,
            max_overflow=64,
            pool_timeout=30,
            json_serializer=_json,
            json_deserializer=orjson.loads,
        )
        event.listen(self.engine, "begin", _begin)
        self._reader = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        self._writer = self.engine.execution_options(qz_write=True)
        self._group_writer = self.engine.execution_options(qz_write=True, qz_deferred=True)
        self._durable_writer = self.engine.execution_options(qz_write=True, qz_durable=True)
        self._lock = threading.Lock()
        self._rows_lock = threading.Lock()
        self._rows_connection: Connection | None = None
        self._group = GroupCommit(self)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for SELECTs, each its own snapshot. Raises StorageBusy."""
        with translated(), self._reader.connect() as connection:
            yield connection

    def rows(self, statement: Executable, parameters: dict[str, Any] | None = None) -> Sequence[Row[Any]]:
        """All rows of one SELECT, over a connection kept for that: a third of the cost of `read()` for the look-ups of every request."""
        with translated(), self._rows_lock:
            return self._kept().execute(statement, parameters).all()

    def prepared(self, statement: Select[Any]) -> Callable[..., list[tuple[Any, ...]]]:
        """A SELECT made ready for being asked again and again: `ask(name=value…)` gives plain tuples, at a tenth of the cost of `rows`."""
        compiled = statement.compile(self.engine)
        sql, fixed, order = compiled.string, compiled.params, compiled.positiontup or []

        def ask(**values: Any) -> list[tuple[Any, ...]]:
            given = {**fixed, **values}
            with translated(), self._rows_lock:
                cursor = self._kept().connection.cursor()
                cursor.execute(sql, tuple(given[name] for name in order))
                return list(cursor.fetchall())

        return ask

    def _kept(self) -> Connection:
        if self._rows_connection is None:
            self._rows_connection = self._reader.connect()
        return self._rows_connection

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[Connection]:
        """One transaction, begun at once, committed at the end of the block, rolled back when the block raises.

        `durable`: the commit survives power loss too. Keep the block short: other writers wait. Raises StorageFull, StorageBusy.
        """
        following: list[Callable[[], None]] = []
        with translated(), self._lock, (self._durable_writer if durable else self._writer).begin() as connection:
            connection.info[_FOLLOWING] = following
            yield connection
        for call in following:
            call()

    @contextmanager
    def write_blindly(self) -> Iterator[Connection]:
        """As `write`, for statements whose outcome nobody looks at: they run together at the end, in one trip to the native pool."""
        with translated(), self._lock, self._group_writer.begin() as connection:
            yield connection

    def submit(self, statement: Executable, row: dict[str, Any]) -> Submitted:
        """Queue one insert or update for the next group commit; many callers share one transaction.

        Within a transaction inserts come before updates, tables before those that refer to them.
        `Submitted.wait()` returns when the row is committed. Without gevent it is committed at once.
        """
        return self._group.submit(statement, row)

    def close(self) -> None:
        """Give all connections back."""
        if self._rows_connection is not None:
            self._rows_connection.close()
            self._rows_connection = None
        self.engine.dispose()


def after_commit(connection: Connection, call: Callable[[], None]) -> None:
    """Have `call` run as soon as the `Database.write` block of this connection is committed, and never when it is not.

    It runs outside the transaction, in the caller's way: it must be quick and must not raise.
    """
    following: list[Callable[[], None]] = connection.info[_FOLLOWING]
    following.append(call)


class Submitted:
    """A row that waits for its group commit."""

    __slots__ = ("_hurry", "error", "event", "row", "statement")

    def __init__(self, statement: Executable, row: dict[str, Any], hurry: Callable[[], None]) -> None:
        self.statement, self.row, self._hurry = statement, row, hurry
        self.event = threading.Event()
        self.error: BaseException | None = None

    def wait(self) -> None:
        """Return when the row is committed; raises what the commit raised. Rows that nobody waits for yet are committed a little later."""
        if not self.event.is_set():
            self._hurry()
            self.event.wait()
        if self.error is not None:
            raise self.error


class GroupCommit:
    """Collects small writes while the transaction before is being committed, then commits them together.

    At 500 answers a second a transaction for each row would cost more than the answers; shared, a row costs some 20 µs.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[Submitted] = []
        self._running = False
        self._later: Any = None
        self._committed_at = 0.0
        self._greenlets = sqlite.offloader() is not sqlite._inline

    def submit(self, statement: Executable, row: dict[str, Any]) -> Submitted:
        """See `Database.submit`."""
        one = Submitted(statement, row, self._hurry)
        if not self._greenlets:
            self._commit([one])
            return one
        self._waiting.append(one)
        if self._later is None and not self._running:
            import gevent

            self._later = gevent.spawn_later(LINGER_S, self._hurry)
        return one

    def _hurry(self) -> None:
        """Commit what waits: somebody wants it, or it has waited long enough."""
        self._later = None
        if self._waiting and not self._running:
            self._running = True
            import gevent

            gevent.spawn(self._drain)

    def _drain(self) -> None:
        while self._waiting:
            early_s = self._committed_at + PACE_S - time.monotonic()
            if early_s > 0:
                time.sleep(early_s)
            self._committed_at = time.monotonic()
            batch, self._waiting = self._waiting, []
            self._commit(batch)
        self._running = False

    def _commit(self, batch: Sequence[Submitted]) -> None:
        try:
            with self._database.write_blindly() as connection:
                for _, group in groupby(sorted(batch, key=_turn), key=_turn):
                    rows = list(group)
                    connection.execute(rows[0].statement, [x.row for x in rows])
        except BaseException as exc:  # noqa: BLE001  whatever it was, each caller that waits must hear of it
            if len(batch) > 1 and isinstance(exc, BrainError | DBAPIError) and not isinstance(exc, StorageFull | StorageBusy):
                for one in batch:  # one bad row must not take the others with it
                    self._commit([one])
                return
            for one in batch:
                one.error = exc
        for one in batch:
            one.event.set()


def _turn(one: Submitted) -> tuple[bool, int, int]:
    """Where a row comes within its transaction: inserts before updates, tables before those that refer to them, then rows of one statement together."""
    statement = one.statement
    place = _TABLE_ORDER.get(statement.table, 0) if isinstance(statement, Insert | Update) else 0
    return not isinstance(statement, Insert), place, id(statement)


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("isolation_level") == "AUTOCOMMIT":
        return
    if options.get("qz_write"):
        if options.get("qz_deferred"):
            driver: sqlite.OffloadConnection = connection.connection.driver_connection  # type: ignore[assignment]
            driver.deferred = []
        connection.exec_driver_sql(f"PRAGMA synchronous={'FULL' if options.get('qz_durable') else 'NORMAL'}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql("BEGIN")


@contextmanager
def translated() -> Iterator[None]:
    """Turn the driver's exceptions into errors of the tree, once, here."""
    try:
        yield
    except DBAPIError as exc:
        text = str(exc.orig)
        if "disk is full" in text or "disk I/O error" in text:
            raise StorageFull from exc
        if "locked" in text or "busy" in text:
            raise StorageBusy from exc
        raise
    except sqlite3.OperationalError as exc:
        if "disk is full" in str(exc):
            raise StorageFull from exc
        raise
