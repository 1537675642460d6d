"""The database: short reads, short exclusive writes, and group commit for the small rows of running answers.

Knows transactions, not tables, and not which kind of database it is: that is its `Driver`'s part (SQLite by default, MySQL by
configuration). Every driver exception leaves here as one of `errors.py`'s, but for a constraint that was hurt (SQLAlchemy's IntegrityError).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from sqlalchemy import Connection, Engine, Row, Select
from sqlalchemy.sql import Executable

from qzbrain import logs, metrics
from qzbrain.errors import BrainError
from qzbrain.storage.base import Driver, Kind, Result
from qzbrain.storage.group_commit import GroupCommit, Submitted
from qzbrain.storage.sqlite import SqliteDriver

__all__ = ["Database", "Submitted", "after_commit"]

log = logs.get(__name__)

_FOLLOWING = "qz_after_commit"
_LONGEST_SHOWN = 500
_READ, _WRITE = metrics.SQL_SECONDS.labels("read"), metrics.SQL_SECONDS.labels("write")


class Database:
    """One database. `read()` and `write()` give SQLAlchemy Core connections; there is one write at a time, in all processes together."""

    def __init__(self, place: Path | Driver) -> None:
        """`place`: the file of an SQLite database, or the driver of another one."""
        self._driver: Driver = SqliteDriver(place) if isinstance(place, Path) else place
        self._lock = Lock()
        self._group = GroupCommit(self, self._driver.tries)
        self.slow_ms = 0.0
        """What takes longer is logged; 0: nothing is."""

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine."""
        return self._driver.engine

    @property
    def kind(self) -> Kind:
        """Which kind of database it is."""
        return self._driver.name

    @property
    def place(self) -> str:
        """Where it is, for people."""
        return self._driver.place

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection for SELECTs, each its own snapshot. Raises StorageBusy."""
        began = time.perf_counter()
        try:
            with self._translated(), self._driver.reading() as connection:
                yield connection
        finally:
            self._was_read(time.perf_counter() - began)

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """A connection whose SELECTs all see the same moment; for reading the whole database. Raises StorageBusy."""
        with self._translated(), self._driver.snapshot() as connection:
            yield connection

    def rows(self, statement: Executable, parameters: dict[str, Any] | None = None) -> Sequence[Row[Any]]:
        """All rows of one SELECT: a third of the cost of `read()` for the look-ups of every request."""
        return self._ask(lambda connection: connection.execute(statement, parameters).all(), statement)

    def prepared(self, statement: Select[Any]) -> Callable[..., list[tuple[Any, ...]]]:
        """A SELECT made ready for being asked again and again: `ask(name=value…)` gives plain tuples, at a tenth of the cost of `rows`."""
        compiled = statement.compile(self.engine)
        sql, fixed, order = compiled.string, compiled.params, compiled.positiontup or []

        def ask(**values: Any) -> list[tuple[Any, ...]]:
            given = {**fixed, **values}
            parameters = tuple(given[name] for name in order)
            return self._ask(lambda connection: self._driver.fetch(connection, sql, parameters), sql)

        return ask

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[Connection]:
        """One transaction, begun at once, committed at the end of the block, rolled back when the block raises.

        `durable`: the commit survives power loss too. Keep the block short: other writers wait.
        Raises StorageFull, StorageBusy; of its kinds StorageInDoubt alone leaves open whether the commit took place.
        """
        following: list[Callable[[], None]] = []
        with self._writing(durable=durable, blind=False) as connection:
            connection.info[_FOLLOWING] = following
            yield connection
        for call in following:
            call()

    @contextmanager
    def write_blindly(self) -> Iterator[Connection]:
        """As `write`, for statements whose outcome nobody looks at: on SQLite they run together at the end, in one trip to the native pool."""
        with self._writing(durable=False, blind=True) as connection:
            yield connection

    def submit(self, statement: Executable, row: dict[str, Any]) -> Submitted:
        """Queue one insert or update for the next group commit; many callers share one transaction.

        Within a transaction inserts come before updates, tables before those that refer to them; an insert brings its primary key.
        `Submitted.wait()` returns when the row is committed. Without gevent it is committed at once.
        """
        return self._group.submit(statement, row)

    def scrub(self) -> bool:
        """Take deleted content out of the files that the database can do without; False when that is not possible now."""
        with self._translated():
            return self._driver.scrub()

    def close(self) -> None:
        """Give all connections back."""
        self._driver.close()

    def _ask(self, question: Callable[[Connection], Result], statement: object) -> Result:
        began = time.perf_counter()
        try:
            with self._translated():
                return self._driver.ask(question)
        finally:
            self._was_read(time.perf_counter() - began, statement)

    def _was_read(self, took_s: float, statement: object = None) -> None:
        _READ.observe(took_s)
        if 0 < self.slow_ms < took_s * 1e3:
            self._slow("read", took_s, **({} if statement is None else {"statement": " ".join(str(statement).split())[:_LONGEST_SHOWN]}))

    @contextmanager
    def _writing(self, *, durable: bool, blind: bool) -> Iterator[Connection]:
        asked = begun = time.perf_counter()
        try:
            with self._translated(), self._lock:
                connection, transaction = self._driver.begin(durable=durable, blind=blind)
                begun = time.perf_counter()
                with connection, transaction:
                    yield connection
        finally:
            took = time.perf_counter() - begun
            metrics.SQL_WAIT_SECONDS.observe(begun - asked)
            _WRITE.observe(took)
            if 0 < self.slow_ms < max(took, begun - asked) * 1e3:
                self._slow("write", took, waited_ms=round((begun - asked) * 1e3, 1))

    @staticmethod
    def _slow(operation: Literal["read", "write"], took_s: float, **more: object) -> None:
        """A line about what was slow, with the place in the code that wanted it; values are not in it."""
        metrics.SLOW.labels("sql").inc()
        log.warning("slow_sql", operation=operation, took_ms=round(took_s * 1e3, 1), at=_asker(), **more)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn the driver's exceptions into errors of the tree, once, here."""
        try:
            yield
        except BrainError:
            raise
        except Exception as exc:
            error = self._driver.translated(exc)
            if error is None:
                raise
            raise error from exc


def after_commit(connection: Connection, call: Callable[[], None]) -> None:
    """Have `call` run as soon as the `Database.write` block of this connection is committed, and never when it is not.

    It runs outside the transaction, in the caller's way: it must be quick and must not raise.
    """
    following: list[Callable[[], None]] = connection.info[_FOLLOWING]
    following.append(call)


def _asker() -> str:
    """Which function outside of this module and of the standard library is at work, and where."""
    frame = sys._getframe(1)
    while frame.f_back is not None and (frame.f_globals.get("__name__") in (__name__, "contextlib") or "qzbrain" not in frame.f_code.co_filename):
        frame = frame.f_back
    return f"{frame.f_globals.get('__name__')}.{frame.f_code.co_qualname}"
