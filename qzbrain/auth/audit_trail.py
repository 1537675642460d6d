"""Reading the audit log: pages and exports for administrators, and whether its chain holds.

What the chain shows: a row that was changed, taken out, or put elsewhere, and an end that was cut off (by the file that keeps the head). What it cannot
show: a chain computed anew from some row on by who may write both the database and the file; whoever fears that keeps exports elsewhere.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, cast

import orjson
from sqlalchemy import Connection, Row, Select, bindparam, select

from qzbrain.auth.access import Access
from qzbrain.auth.audit import COLUMNS, GENESIS, chained
from qzbrain.auth.audit_head import Head
from qzbrain.domain import LEVELS, Caller, Level, Outcome, Page
from qzbrain.errors import InvalidRequest
from qzbrain.storage.database import Database
from qzbrain.storage.tables import audit_log

MOST = 1000
_AT_ONCE = 2000
_MOST_FAULTS = 50
_FAULTS_EXPLAINED = 100
_NEXT = select(*(audit_log.c[name] for name in (*COLUMNS, "hash"))).where(audit_log.c.number > bindparam("after")).order_by(audit_log.c.number).limit(_AT_ONCE)

Format = Literal["json", "csv", "jsonl"]
Kind = Literal["changed", "missing", "moved", "cut_off", "no_head"]


@dataclass(frozen=True, slots=True)
class Event:
    """A row of the log. `details`: as it was recorded."""

    number: int
    at: str
    actor_id: str
    actor: str
    key_id: str
    action: str
    subject: str
    kb_id: str
    level: Level
    address: str
    request_id: str
    outcome: Outcome
    details: dict[str, Any]
    hash: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events. `actor`: id or name; `action`: whole, or the part before a dot; `since`, `until`: RFC 3339 in UTC or the beginning of it."""

    actor: str = ""
    action: str = ""
    since: str = ""
    until: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """Where the chain does not hold. `number`: of the row. `moved`: it was number `was` when it was written."""

    kind: Kind
    number: int
    upto: int = 0
    was: int = 0

    @property
    def zh(self) -> str:
        """In words."""
        rows = f"第 {self.number} 条" if self.upto <= self.number else f"第 {self.number}–{self.upto} 条"
        return {
            "changed": f"{rows}被改动过，或它的前一条被改动后重新计算了校验值",
            "missing": f"{rows}缺失",
            "moved": f"{rows}原为第 {self.was} 条，次序被调换",
            "cut_off": f"末尾被截断：曾写到第 {self.number} 条，现在没有这一条",
            "no_head": "缺少记录末条的文件 audit.head，无法判断末尾是否被截断",
        }[self.kind]

    @property
    def en(self) -> str:
        """In words."""
        rows = f"row {self.number}" if self.upto <= self.number else f"rows {self.number} to {self.upto}"
        return {
            "changed": f"{rows} was changed, or the one before it was and its hash made anew",
            "missing": f"{rows} missing",
            "moved": f"{rows} was row {self.was} when it was written",
            "cut_off": f"the end was cut off: row {self.number} was written and is not there",
            "no_head": "the file audit.head, which tells the last row, is missing: nobody can say whether the end was cut off",
        }[self.kind]


@dataclass(frozen=True, slots=True)
class Verified:
    """What verifying found: how many rows, the last one, and faults (at most 50)."""

    rows: int
    last: Head | None
    faults: tuple[Fault, ...]


class AuditTrail:
    """The log for administrators."""

    def __init__(self, database: Database, access: Access) -> None:
        self._db, self._access = database, access

    def page(self, caller: Caller, wanted: Wanted, *, limit: int = 100, after: str | None = None) -> Page[Event]:
        """Events, newest first; `after` is the cursor of the page before. Raises InvalidRequest, PermissionRefused."""
        self._access.require(caller, "manage")
        before = None
        if after is not None:
            before = int(after) if after.isdecimal() and after.isascii() and len(after) < 19 else -1
            if before < 0:
                raise InvalidRequest(zh="after 不是有效的游标。", en="after is no cursor of this list.", param="after")
        statement = _filtered(wanted).order_by(audit_log.c.number.desc()).limit(limit + 1)
        rows = self._db.rows(statement if before is None else statement.where(audit_log.c.number < before))
        shown = tuple(_event(row) for row in rows[:limit])
        more = len(rows) > limit
        return Page(shown, more, str(shown[-1].number) if more else None)

    def export(self, caller: Caller, wanted: Wanted, form: Format) -> Iterator[bytes]:
        """All events that are wanted, oldest first, as pieces of a file. Raises PermissionRefused at once, before the first piece."""
        self._access.require(caller, "manage")
        return self._pieces(wanted, form)

    def _pieces(self, wanted: Wanted, form: Format) -> Iterator[bytes]:
        names = [field.name for field in fields(Event)]
        if form == "csv":
            yield ("\ufeff" + _csv([names])).encode()
        number = 0
        while rows := self._db.rows(_filtered(wanted).where(audit_log.c.number > number).order_by(audit_log.c.number).limit(_AT_ONCE)):
            events = [asdict(_event(row)) for row in rows]
            if form == "csv":
                yield _csv([[_cell(one[name]) for name in names] for one in events]).encode()
            else:
                yield b"".join(orjson.dumps(one) + b"\n" for one in events)
            number = rows[-1].number


def verify(connection: Connection, head: Head | None) -> Verified:
    """Compute the whole chain anew and compare. A million rows take some ten seconds."""
    former, number, count, faults = GENESIS, 0, 0, list[Fault]()
    broken: list[tuple[str, dict[str, Any]]] = []
    hash_at_head, sure = None, True
    while rows := connection.execute(_NEXT, {"after": number}).all():
        for values in rows:
            row = dict(zip((*COLUMNS, "hash"), values, strict=True))
            if row["number"] != number + 1:
                faults.append(Fault("missing", number + 1, upto=row["number"] - 1))
                sure = False  # what stood before this row is not known
            if sure and chained(former, row) != row["hash"]:
                broken.append((former, row))
            former, number, sure = row["hash"], row["number"], True
            count += 1
            if head is not None and number == head.number:
                hash_at_head = former
    faults += _explained(broken)
    if head is not None and hash_at_head != head.hash and not (hash_at_head and faults):
        faults.append(Fault("cut_off", head.number))
    if head is None and count:
        faults.append(Fault("no_head", number))
    last = Head(number, former) if count else None
    return Verified(count, last, tuple(sorted(faults, key=lambda one: one.number)[:_MOST_FAULTS]))


def _explained(broken: Sequence[tuple[str, dict[str, Any]]]) -> list[Fault]:
    """Tell rows that were moved, and those that only follow one, from such as were changed."""
    looked_at = broken[:_FAULTS_EXPLAINED]
    places = {row["number"] for _, row in looked_at}
    formers = {former for former, _ in looked_at} | {row["hash"] for _, row in looked_at}
    faults = []
    for former, row in looked_at:
        was = next((m for m in sorted(places) for p in formers if chained(p, {**row, "number": m}) == row["hash"]), None)
        if was is None:
            faults.append(Fault("changed", row["number"]))
        elif was != row["number"]:
            faults.append(Fault("moved", row["number"], was=was))
        elif not any(one["hash"] == former for _, one in looked_at):
            faults.append(Fault("changed", row["number"]))
    return faults + [Fault("changed", row["number"]) for _, row in broken[_FAULTS_EXPLAINED:]]


def _filtered(wanted: Wanted) -> Select[Any]:
    statement = select(audit_log)
    if wanted.actor:
        statement = statement.where((audit_log.c.actor_id == wanted.actor) | (audit_log.c.actor == wanted.actor))
    if wanted.action:
        whole = audit_log.c.action == wanted.action
        statement = statement.where(whole | audit_log.c.action.startswith(f"{wanted.action}.", autoescape=True))
    if wanted.since:
        statement = statement.where(audit_log.c.at >= wanted.since)
    if wanted.until:
        statement = statement.where(audit_log.c.at <= wanted.until + "\x7f")  # a day includes its hours
    return statement


def _event(row: Row[Any]) -> Event:
    known: dict[str, Any] = {column.name: getattr(row, column.name) for column in audit_log.columns}
    details = orjson.loads(row.details) if row.details else {}
    return Event(**{**known, "level": LEVELS[max(0, min(row.level, len(LEVELS) - 1))], "details": cast(dict[str, Any], details)})


def _cell(value: Any) -> str:
    """A cell; what a spreadsheet would take for a formula begins with an apostrophe."""
    text = orjson.dumps(value).decode() if isinstance(value, dict) else str(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _csv(rows: Sequence[Sequence[str]]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue()
