"""Entries of knowledge bases, as a caller may see and change them. An entry is in force when it is approved and its dates allow it.

With ENTRIES_NEED_APPROVAL a new entry, and each change of one, is `proposed` until somebody approves it; what was approved before stays in force meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, or_, select, update

from qzbrain.auth.access import TOP, Access, KbRef, unknown_knowledge_base
from qzbrain.domain import LEVELS, Caller, Page, new_id, utc_now
from qzbrain.errors import InvalidRequest, NotFound
from qzbrain.knowledge.bases import lock_knowledge_base, page_size
from qzbrain.knowledge.entries.entry import Entry, EntryFields, checked_fields
from qzbrain.knowledge.entries.shadow import Shadows
from qzbrain.knowledge.removal import forget_entries
from qzbrain.retrieval.entry_hits import is_valid
from qzbrain.settings import Settings
from qzbrain.storage.database import Database
from qzbrain.storage.tables import entries, entry_versions

_FIELDS = ("question", "answer", "variants", "negatives", "source", "valid_from", "valid_until", "level")


class Entries:
    """Every method takes the caller first and asks `auth.access`."""

    def __init__(self, database: Database, access: Access, shadows: Shadows, settings: Settings) -> None:
        self._db, self._access, self._shadows, self._settings = database, access, shadows, settings

    # -- changing

    def create(self, caller: Caller, kb: str, *, approve: bool = False, origin: dict[str, Any] | None = None, **given: Any) -> Entry:
        """A new entry, of the knowledge base's level where none is given. `approve`: at once in force, as far as its dates go, by who may approve.

        Raises NotFound, InvalidRequest, PermissionRefused.
        """
        ref = self.writable(caller, kb, approve=approve)
        fields = self.checked(caller, ref, given)
        with self._db.write(durable=True) as connection:
            entry_id = self.insert(connection, ref, fields, author=caller.name, approver=caller.name if approve or self.approved_at_once else "", origin=origin)
            self._shadows.tell(connection, ref.id)
        return self.get(caller, kb, entry_id)

    def update(self, caller: Caller, kb: str, entry_id: str, *, approve: bool = False, **given: Any) -> Entry:
        """Change what is given: a new version, unless nothing differs. A higher level holds at once, approved or not; a lower one takes who may manage.

        Raises NotFound, InvalidRequest, PermissionRefused.
        """
        now, ref = self.get(caller, kb, entry_id), self.writable(caller, kb, approve=approve)
        fields = self.checked(caller, ref, {**now.fields.content(), **given}, before=now)
        if fields == now.fields and not approve:
            return now
        with self._db.write(durable=True) as connection:
            self.replace(connection, ref, now, fields, author=caller.name, approver=caller.name if approve or self.approved_at_once else "")
            self._shadows.tell(connection, ref.id)
        self._access.standings.forget()
        return self.get(caller, kb, entry_id)

    def approve(self, caller: Caller, kb: str, entry_id: str) -> Entry:
        """Put the newest version in force. Again changes nothing. Raises NotFound, PermissionRefused."""
        now, ref = self.get(caller, kb, entry_id), self.writable(caller, kb)
        self._access.require(caller, "manage", ref.id)
        if now.approved_version != now.version:
            with self._db.write(durable=True) as connection:
                self._put_in_force(connection, ref, entry_id, now.document_id, now.version, now.fields, caller.name)
                self._shadows.tell(connection, ref.id)
        return self.get(caller, kb, entry_id)

    def delete(self, caller: Caller, kb: str, entry_id: str) -> None:
        """Remove an entry with its versions and regression questions; searches no longer find it. Raises NotFound."""
        now, ref = self.get(caller, kb, entry_id), self.writable(caller, kb)
        with self._db.write(durable=True) as connection:
            forget_entries(connection, [entry_id])
            self._shadows.remove(connection, ref.id, [now.document_id])
            self._shadows.tell(connection, ref.id)

    # -- showing

    def get(self, caller: Caller, kb: str, entry_id: str) -> Entry:
        """One entry, its newest version. Raises NotFound (`entry_not_found`)."""
        ref = self._access.resolve(caller, [kb])[0]
        wanted = [entries.c.id == (entry_id if entry_id.isprintable() else ""), entries.c.kb_id == ref.id, *self.seen(caller)]
        rows = self._db.rows(select(entries).where(*wanted))
        if not rows:
            raise NotFound("entry_not_found", zh="该知识库中没有这个条目，或它已被删除。", en="This knowledge base has no such entry, or it was deleted.")
        return entry_of(rows[0])

    def some(self, caller: Caller, kb: str, entry_ids: Sequence[str]) -> list[Entry]:
        """Those of these entries that are there and that the caller may see. Raises NotFound."""
        ref = self._access.resolve(caller, [kb])[0]
        return [entry_of(row) for row in self._db.rows(select(entries).where(entries.c.id.in_(entry_ids), entries.c.kb_id == ref.id, *self.seen(caller)))]

    def page(self, caller: Caller, kb: str, *, query: str = "", status: str | None = None, limit: int = 50, after: str | None = None) -> Page[Entry]:
        """Newest first. `query`: only those that hold it in question, answer or source. `status`: proposed, approved, expired, upcoming. Raises NotFound."""
        ref = self._access.resolve(caller, [kb])[0]
        wanted = [entries.c.kb_id == ref.id, *self.seen(caller)]
        if query:
            columns = (entries.c.question, entries.c.answer, entries.c.source)
            wanted.append(or_(*(column.icontains(query, autoescape=True) for column in columns)))
        if status == "expired":
            wanted += [entries.c.valid_until.is_not(None), entries.c.valid_until <= utc_now()]
        elif status == "upcoming":
            wanted += [entries.c.valid_from.is_not(None), entries.c.valid_from > utc_now()]
        elif status in ("proposed", "approved"):
            wanted.append(entries.c.status == status)
        elif status is not None:
            raise InvalidRequest(
                zh="status 只能是 proposed、approved、expired、upcoming 之一。", en="status is one of proposed, approved, expired, upcoming.", param="status"
            )
        if after is not None:
            wanted.append(entries.c.id < (after if after.isprintable() else ""))
        rows = self._db.rows(select(entries).where(*wanted).order_by(entries.c.id.desc()).limit(page_size(limit) + 1))
        more = len(rows) > limit
        return Page(tuple(entry_of(row) for row in rows[:limit]), more, rows[limit - 1].id if more else None)

    def versions(self, caller: Caller, kb: str, entry_id: str) -> list[dict[str, Any]]:
        """Versions of an entry that the caller may see, newest first, each with its fields, author and time. Raises NotFound."""
        entry, clearance = self.get(caller, kb, entry_id), self._access.clearance(caller)
        rows = self._db.rows(select(entry_versions).where(entry_versions.c.entry_id == entry.id).order_by(entry_versions.c.version.desc()))
        shown = [row for row in rows if LEVELS.index(row.content["level"]) <= clearance]
        return [{"version": row.version, **row.content, "author": row.author, "created_at": row.created_at} for row in shown]

    # -- steps, inside a transaction

    @property
    def approved_at_once(self) -> bool:
        """Whether whoever writes also approves."""
        return not self._settings.entries_need_approval

    def readable(self, caller: Caller, kb: str) -> KbRef:
        """The knowledge base. Raises NotFound."""
        return self._access.resolve(caller, [kb])[0]

    def writable(self, caller: Caller, kb: str, *, approve: bool = False) -> KbRef:
        """The knowledge base. `approve`: where entries need approval, one in which the caller may approve. Raises NotFound, PermissionRefused."""
        ref = self._access.resolve(caller, [kb])[0]
        self._access.require(caller, "manage" if approve and not self.approved_at_once else "write", ref.id)
        return ref

    def checked(self, caller: Caller, ref: KbRef, given: dict[str, Any], *, before: Entry | None = None) -> EntryFields:
        """Fields that the caller may write; `before`: the entry that they change. Raises InvalidRequest, PermissionRefused."""
        if not given.get("level"):
            given = {**given, "level": LEVELS[self._access.level_given(caller, ref.id, None)]}
        fields = checked_fields(**given)
        self._access.require_level(caller, fields.level_place)
        if before is not None and fields.level_place < before.fields.level_place:
            self._access.require(caller, "manage", ref.id)
        return fields

    def seen(self, caller: Caller) -> list[ColumnElement[bool]]:
        """What rows of entries that the caller may see fulfil, the knowledge base apart; none where that is all."""
        clearance = self._access.clearance(caller)
        return [] if clearance >= TOP else [entries.c.level.in_(LEVELS[: clearance + 1])]

    def insert(
        self, connection: Connection, ref: KbRef, fields: EntryFields, *, author: str, approver: str, origin: dict[str, Any] | None = None
    ) -> str:
        """A new entry's rows; in force when there is an approver. The caller tells the index."""
        if not lock_knowledge_base(connection, ref.id):
            raise unknown_knowledge_base(ref.name)
        entry_id, now = new_id(), utc_now()
        row = {
            "id": entry_id, "kb_id": ref.id, "status": "proposed", "question_key": fields.key, **fields.content(), "author": author, "approver": "",
            "version": 1, "approved_version": 0, "document_id": "", "origin": origin or {}, "created_at": now, "updated_at": now,
        }  # fmt: skip
        connection.execute(insert(entries).values(row))
        _keep_version(connection, entry_id, 1, fields, author)
        if approver:
            self._put_in_force(connection, ref, entry_id, "", 1, fields, approver)
        return entry_id

    def replace(self, connection: Connection, ref: KbRef, now: Entry, fields: EntryFields, *, author: str, approver: str) -> None:
        """A new version of an entry; in force when there is an approver. The caller tells the index."""
        version = now.version + (fields != now.fields)
        if version > now.version:
            values = {**fields.content(), "question_key": fields.key, "version": version, "status": "proposed", "updated_at": utc_now()}
            connection.execute(update(entries).where(entries.c.id == now.id).values(values))
            _keep_version(connection, now.id, version, fields, author)
            if now.document_id and fields.level_place > now.fields.level_place:
                self._shadows.raise_level(connection, now.document_id, fields.level_place)
        if approver:
            self._put_in_force(connection, ref, now.id, now.document_id, version, fields, approver)

    def _put_in_force(
        self, connection: Connection, ref: KbRef, entry_id: str, document_id: str, version: int, fields: EntryFields, approver: str
    ) -> None:
        values: dict[str, Any] = {"status": "approved", "approver": approver, "approved_version": version, "updated_at": utc_now()}
        if is_valid(fields.content(), utc_now()):
            values["document_id"] = self._shadows.put(connection, ref.id, entry_id, document_id, fields)
        elif document_id:
            self._shadows.remove(connection, ref.id, [document_id])
            values["document_id"] = ""
        connection.execute(update(entries).where(entries.c.id == entry_id).values(values))


def _keep_version(connection: Connection, entry_id: str, version: int, fields: EntryFields, author: str) -> None:
    connection.execute(insert(entry_versions).values(entry_id=entry_id, version=version, content=fields.content(), author=author, created_at=utc_now()))


def fields_of(content: Any) -> EntryFields:
    """The fields of a stored version."""
    return EntryFields(**{**{name: content[name] for name in _FIELDS}, "variants": tuple(content["variants"]), "negatives": tuple(content["negatives"])})


def entry_of(row: Row[Any]) -> Entry:
    """The entry of a row of the table."""
    fields = fields_of({name: getattr(row, name) for name in _FIELDS})
    return Entry(
        row.id, row.kb_id, row.status, fields, row.author, row.approver, row.version, row.approved_version, row.document_id, row.origin or {},
        row.created_at, row.updated_at,
    )  # fmt: skip
