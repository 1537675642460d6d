"""Group commit for the small rows of running answers: collected while the transaction before is being committed, then committed together.

At 500 answers a second a transaction for each row would cost more than the answers; shared, a row costs some 20 µs.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Insert, Update, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import Executable

from qzbrain.errors import BrainError, StorageBusy, StorageFull, StorageInDoubt
from qzbrain.storage.cooperation import cooperative
from qzbrain.storage.tables import metadata

if TYPE_CHECKING:
    from qzbrain.storage.database import Database

LINGER_S = 0.5
"""Rows that nobody waits for are committed this late: those of a quick answer share the transaction of its end, those of a rush one."""
PACE_S = 0.015
"""Group commits begin at least this far apart: a lone row is committed at once, the rows of a rush together."""

_TABLE_ORDER: dict[object, int] = {table: place for place, table in enumerate(metadata.sorted_tables)}


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
    """The rows of one process on their way to one database."""

    def __init__(self, database: Database, tries: int) -> None:
        """`tries`: how often a transaction is tried when the database was busy or away."""
        self._database, self._tries = database, tries
        self._waiting: list[Submitted] = []
        self._running = False
        self._later: Any = None
        self._committed_at = 0.0
        self._greenlets = cooperative()

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
            self._write(batch)
        except BaseException as exc:  # noqa: BLE001  whatever it was, each caller that waits must hear of it
            if len(batch) > 1 and isinstance(exc, BrainError | DBAPIError) and not isinstance(exc, StorageFull | StorageBusy):
                for one in batch:  # one bad row must not take the others with it
                    self._commit([one])
                return
            for one in batch:
                one.error = exc
        for one in batch:
            one.event.set()

    def _write(self, batch: Sequence[Submitted]) -> None:
        """One transaction. It is data, so it can be tried again; one whose commit is in doubt only where it turns out to be missing."""
        in_doubt = False
        for left in reversed(range(self._tries)):
            try:
                with self._database.write_blindly() as connection:
                    if not (in_doubt and _is_there(connection, batch)):
                        for _, group in groupby(sorted(batch, key=_turn), key=_turn):
                            rows = list(group)
                            connection.execute(rows[0].statement, [x.row for x in rows])
            except StorageBusy as exc:
                in_doubt = in_doubt or isinstance(exc, StorageInDoubt)
                if not left:
                    raise
            else:
                return


def _is_there(connection: Connection, batch: Sequence[Submitted]) -> bool:
    """Whether a transaction was committed, by one row that it inserts. Updates alone say nothing; they may be made again."""
    for one in batch:
        if isinstance(one.statement, Insert):
            table = one.statement.table
            keys = [column == one.row[column.name] for column in table.primary_key]
            return connection.execute(select(*table.primary_key).where(*keys)).first() is not None
    return False


def _turn(one: Submitted) -> tuple[bool, int, int]:
    """Where a row comes within its transaction: inserts before updates, tables before those that refer to them, then rows of one statement together."""
    statement = one.statement
    place = _TABLE_ORDER.get(statement.table, 0) if isinstance(statement, Insert | Update) else 0
    return not isinstance(statement, Insert), place, id(statement)
