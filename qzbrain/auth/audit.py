"""The audit log: who did or read what. Rows are only ever added, each with a hash over the one before it and itself.

A change is written down in its own transaction (`record` with its connection): both are there, or neither. What is read, and what the web edge sees of
changes, waits in this process for a common transaction, so that no answer waits for it; `record(...)` gives something to wait for. One transaction
writes at a time in all processes together (`storage/database.py`), so numbers have no gap and the chain no fork.

Never written: questions, passages, passwords, keys. How the chain is read and verified: `auth/audit_trail.py`.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, func, insert, select

from qzbrain import logs
from qzbrain.auth.audit_head import HeadFile
from qzbrain.domain import Caller, Outcome, utc_now
from qzbrain.errors import BrainError, StorageInDoubt
from qzbrain.storage.cooperation import cooperative
from qzbrain.storage.database import Database, after_commit
from qzbrain.storage.tables import audit_log, documents

log = logs.get(__name__)

GENESIS = "0" * 64
"""Stands before the first row."""
COLUMNS = tuple(column.name for column in audit_log.columns if column.name != "hash")
"""What is hashed, in this order."""
LINGER_S = 0.25
"""Events that nobody waits for are committed this late, together."""
MOST_WAITING = 20_000
"""Beyond so many (the database is away) events are counted, and the count is written down."""
_AT_ONCE = 500
_PAUSE_S = 1.0
_WAIT_S = 10.0
_LAST = select(audit_log.c.number, audit_log.c.hash).order_by(audit_log.c.number.desc()).limit(1)


def chained(former: str, row: Mapping[str, Any]) -> str:
    """The hash of a row that follows one with the hash `former`: SHA-256 over that and the row as a JSON array in the order of COLUMNS."""
    return hashlib.sha256(former.encode() + b"\n" + orjson.dumps([row[name] for name in COLUMNS])).hexdigest()


class Recorded:
    """An event on its way into the log."""

    __slots__ = ("_hurry", "documents", "done", "row")

    def __init__(self, row: dict[str, Any], documents: Sequence[str], hurry: Callable[[], None]) -> None:
        self.row, self.documents, self._hurry = row, documents, hurry
        self.done = threading.Event()

    def wait(self) -> bool:
        """Return when the event is in the log; False when that takes too long: it goes on waiting for the database by itself."""
        if not self.done.is_set():
            self._hurry()
        return self.done.wait(_WAIT_S)


class AuditLog:
    """The log of one brain, as one process writes it. `active`: whether anything is written at all."""

    def __init__(self, database: Database, head: HeadFile, *, active: bool) -> None:
        self.active = active
        self._db, self.head = database, head
        self._waiting: list[Recorded] = []
        self._lost = 0
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._wanted = threading.Event()
        self._closing = threading.Event()
        self._running = False
        self._greenlets = cooperative()

    def record(
        self,
        connection: Connection | None,
        caller: Caller,
        action: str,
        subject: str = "",
        *,
        kb_id: str = "",
        level: int = 0,
        outcome: Outcome = "done",
        details: Mapping[str, Any] | None = None,
        documents: Sequence[str] = (),
        request_id: str = "",
    ) -> Recorded:
        """Write down that `caller` did `action` (such as `user.create`) to `subject` (an id).

        With the `connection` of the transaction that makes the change, as a part of it; with None, a moment later (not within a transaction).
        `details`: names, counts, codes, what changed; never secrets or contents. `documents`: ids of those that were shown; the level becomes the
        highest of theirs, and they are in the details. `request_id` is that of the request being handled unless it is given.
        """
        row = {
            "at": utc_now(), "actor_id": _cut(caller.id, 32), "actor": _cut(caller.name, 255), "key_id": _cut(caller.key_id, 32), "action": _cut(action, 64),
            "subject": _cut(subject, 255), "kb_id": _cut(kb_id, 32), "level": level, "address": _cut(caller.address, 64),
            "request_id": _cut(request_id or logs.bound("request_id"), 64), "outcome": outcome, "details": _canonical(details, documents),
        }  # fmt: skip
        event = Recorded(row, tuple(documents), self._wanted.set)
        if not self.active:
            event.done.set()
        elif connection is not None:
            number, hashed = self._append(connection, [event])
            after_commit(connection, lambda: self._committed([event], number, hashed))
        else:
            self._queue(event)
        return event

    def flush(self) -> None:
        """Return when all that waits is in the log. Raises BrainError when the database does not take it."""
        with self._writing:
            while batch := self._taken():
                try:
                    self._write(batch)
                except BaseException:
                    self._put_back(batch)
                    raise

    def close(self) -> None:
        """Write what waits, as far as the database takes it; to be called at the end of the process."""
        self._closing.set()
        self._wanted.set()
        try:
            self.flush()
        except BrainError as exc:
            log.error("audit_events_lost", events=len(self._waiting), code=exc.code)

    def _queue(self, event: Recorded) -> None:
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                self._lost += 1
                event.done.set()
                return
            self._waiting.append(event)
            begin = self._greenlets and not self._running
            self._running = self._running or begin
        if begin:
            threading.Thread(target=self._keep_writing, name="audit", daemon=True).start()
        elif not self._greenlets:
            self.flush()

    def _keep_writing(self) -> None:
        """Writes as long as something waits; then it ends."""
        while True:
            if not self._closing.is_set():
                self._wanted.wait(LINGER_S)
            self._wanted.clear()
            try:
                self.flush()
            except BrainError as exc:
                log.warning("audit_not_written", events=len(self._waiting), code=exc.code)
                if self._closing.is_set():
                    return
                time.sleep(_PAUSE_S)
            except Exception as exc:
                log.error("audit_not_written", events=len(self._waiting), exc_info=exc)
                time.sleep(_PAUSE_S)
            with self._lock:
                if not self._waiting:
                    self._running = False
                    return

    def _taken(self) -> list[Recorded]:
        with self._lock:
            batch, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
            if batch and self._lost:
                batch.append(Recorded(_loss(self._lost), (), self._wanted.set))
                self._lost = 0
        return batch

    def _put_back(self, batch: list[Recorded]) -> None:
        with self._lock:
            self._waiting = batch + self._waiting

    def _write(self, batch: list[Recorded]) -> None:
        """One transaction. One whose commit is in doubt is made again only where it turns out to be missing."""
        number, hashed = 0, ""
        try:
            with self._db.write() as connection:
                number, hashed = self._append(connection, batch)
        except StorageInDoubt:
            if not number or self._hash_of(number) != hashed:
                raise
        self._committed(batch, number, hashed)

    def _append(self, connection: Connection, batch: Sequence[Recorded]) -> tuple[int, str]:
        """Add rows to the chain; gives number and hash of the last one."""
        last = connection.execute(_LAST).first()
        number, hashed = (last.number, last.hash) if last else (0, GENESIS)
        levels = _levels(connection, batch)
        rows = []
        for event in batch:
            number += 1
            level = max([event.row["level"], *(levels.get(one, 0) for one in event.documents)])
            row = {"number": number, **event.row, "level": level}
            hashed = chained(hashed, row)
            rows.append({**row, "hash": hashed})
        connection.execute(insert(audit_log), rows)
        return number, hashed

    def _committed(self, batch: Sequence[Recorded], number: int, hashed: str) -> None:
        for event in batch:
            event.done.set()
        try:
            self.head.move(number, hashed, self._hash_of)
        except (BrainError, OSError) as exc:  # the log itself is whole; the next event tries again
            log.warning("audit_head_not_written", number=number, exc_info=exc)

    def _hash_of(self, number: int) -> str | None:
        rows = self._db.rows(select(audit_log.c.hash).where(audit_log.c.number == number))
        return rows[0][0] if rows else None


def _levels(connection: Connection, batch: Sequence[Recorded]) -> dict[str, int]:
    """Levels of all documents that were shown."""
    ids = sorted({one for event in batch for one in event.documents})
    found: dict[str, int] = {}
    for start in range(0, len(ids), _AT_ONCE):
        some = select(documents.c.id, func.coalesce(documents.c.level, 0)).where(documents.c.id.in_(ids[start : start + _AT_ONCE]))
        found.update((row[0], row[1]) for row in connection.execute(some))
    return found


def _canonical(details: Mapping[str, Any] | None, shown: Sequence[str]) -> str:
    """Details as JSON with sorted keys; '' for none."""
    given = {**(details or {}), **({"documents": list(shown)} if shown else {})}
    return orjson.dumps(given, default=str, option=orjson.OPT_SORT_KEYS).decode() if given else ""


def _loss(events: int) -> dict[str, Any]:
    nothing = dict.fromkeys(COLUMNS[1:], "")
    return {
        **nothing, "at": utc_now(), "actor_id": "system", "actor": "system", "action": "audit.lost", "level": 0, "outcome": "failed",
        "details": _canonical({"events": events}, ()),
    }  # fmt: skip


def _cut(text: str, length: int) -> str:
    """As much as the column takes, of characters that every database stores."""
    text = text[:length]
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)
