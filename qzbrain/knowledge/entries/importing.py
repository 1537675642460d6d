"""Many entries from a file, and all of them into one. Rows that cannot be taken are told by number; the rest is taken in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from qzbrain.auth.access import KbRef
from qzbrain.domain import Caller
from qzbrain.errors import BrainError
from qzbrain.knowledge.entries.conflicts import Conflict, OtherEntries
from qzbrain.knowledge.entries.entry import Entry, EntryFields, checked_fields
from qzbrain.knowledge.entries.service import Entries, entry_of
from qzbrain.knowledge.entries.shadow import Shadows
from qzbrain.knowledge.entries.transfer import BadRow, Format, Row, read, write
from qzbrain.storage.database import Database
from qzbrain.storage.tables import entries

_AT_ONCE = 200
MOST_TOLD = 1000
_TEXTS = ("question", "answer", "source", "valid_from", "valid_until", "level")


@dataclass(slots=True)
class Imported:
    """What came of an import. `errors`: row and reason; `conflicts`: row and what it contradicts."""

    created: int = 0
    updated: int = 0
    skipped: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)
    conflicts: list[tuple[int, Conflict]] = field(default_factory=list)


class EntryFiles:
    """Imports and exports the entries of knowledge bases."""

    def __init__(self, database: Database, service: Entries, shadows: Shadows) -> None:
        self._db, self._service, self._shadows = database, service, shadows

    def load(self, caller: Caller, kb: str, name: str, data: bytes, *, dry_run: bool = False, approve: bool = False) -> Imported:
        """Take in a file's rows: a question that is there already is updated, one with the same content skipped. Some hundreds a transaction.

        `approve`: at once in force, but for rows whose status says `proposed`. Raises NotFound, InvalidRequest.
        """
        ref = self._service.writable(caller, kb, approve=approve)
        known = {one.fields.key: one for one in self._all(caller, ref.id)}
        others = OtherEntries((one.id, one.fields) for one in known.values())
        told = Imported()
        waiting: list[tuple[EntryFields, Entry | None, bool, str]] = []
        taken: dict[str, int] = {}
        for row in read(data, name):
            fields = self._fields(row, told, caller, ref, known)
            if fields is None or isinstance(row, BadRow):
                continue
            if fields.key in taken:
                _fault(told, row.number, f"与第 {taken[fields.key]} 行的问题相同", f"asks the same as row {taken[fields.key]}")
                continue
            taken[fields.key] = row.number
            there = known.get(fields.key)
            at_once = (approve or self._service.approved_at_once) and str(row.values.get("status", "")).strip() not in ("proposed", "待审核")
            told.conflicts += [(row.number, one) for one in others.conflicts(there.id if there else "", fields)]
            others.add(there.id if there else f"row {row.number}", fields)
            if there is not None and there.fields == fields and not (at_once and there.approved_version != there.version):
                told.skipped += 1
                continue
            told.created += there is None
            told.updated += there is not None
            waiting.append((fields, there, at_once, str(row.values.get("author", "")).strip()[:255]))
            if len(waiting) >= _AT_ONCE and not dry_run:
                self._store(caller, ref, waiting, name)
                waiting = []
        if waiting and not dry_run:
            self._store(caller, ref, waiting, name)
        return told

    def dump(self, caller: Caller, kb: str, form: Format) -> bytes:
        """All entries that the caller may see as a file, oldest first. Raises NotFound."""
        return write(self._all(caller, self._service.readable(caller, kb).id), form)

    def _all(self, caller: Caller, kb_id: str) -> Iterator[Entry]:
        last, seen = "", self._service.seen(caller)
        while rows := self._db.rows(select(entries).where(entries.c.kb_id == kb_id, entries.c.id > last, *seen).order_by(entries.c.id).limit(1000)):
            yield from (entry_of(row) for row in rows)
            last = rows[-1].id

    def _fields(self, row: Row | BadRow, told: Imported, caller: Caller, ref: KbRef, known: Mapping[str, Entry]) -> EntryFields | None:
        """The row's fields; a level that is not named is that of the entry which is there, else the knowledge base's."""
        if isinstance(row, BadRow):
            _fault(told, row.number, row.zh, row.en)
            return None
        lists = {name: _listed(row.values.get(name)) for name in ("variants", "negatives")}
        texts = {name: "" if (value := row.values.get(name)) is None else str(value) for name in _TEXTS}
        try:
            bare = checked_fields(**lists, **{**texts, "level": None})  # type: ignore[arg-type]
            there = known.get(bare.key)
            given = {**lists, **texts, "level": texts["level"] or (there.fields.level if there else None)}
            return self._service.checked(caller, ref, given, before=there)
        except BrainError as exc:
            _fault(told, row.number, exc.zh, exc.en)
            return None

    def _store(self, caller: Caller, ref: Any, rows: Sequence[tuple[EntryFields, Entry | None, bool, str]], name: str) -> None:
        with self._db.write(durable=True) as connection:
            for fields, there, at_once, author in rows:
                approver = caller.name if at_once else ""
                if there is None:
                    self._service.insert(connection, ref, fields, author=author or caller.name, approver=approver, origin={"file": name[:255]})
                else:
                    self._service.replace(connection, ref, there, fields, author=author or caller.name, approver=approver)
            self._shadows.tell(connection, ref.id)


def _listed(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else [] if value in (None, "") else [str(value)]


def _fault(told: Imported, row: int, zh: str, en: str) -> None:
    if len(told.errors) < MOST_TOLD:
        told.errors.append({"row": row, "zh": zh, "en": en})
