"""Entries come into force and go out of it by their dates: what searches find of them follows within a minute (a search itself asks the dates, at once)."""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import and_, or_, select, update

from qzbrain.domain import LEVELS, utc_now
from qzbrain.knowledge.entries.service import fields_of
from qzbrain.knowledge.entries.shadow import Shadows
from qzbrain.retrieval.entry_hits import is_valid
from qzbrain.storage.database import Database
from qzbrain.storage.tables import entries, entry_versions

EVERY_S = 60.0
_AT_ONCE = 200


def sweep(database: Database, shadows: Shadows) -> int:
    """Bring in those that became valid, take out those that are not any more; returns how many changed."""
    now, changed = utc_now(), 0
    in_force = and_(entry_versions.c.entry_id == entries.c.id, entry_versions.c.version == entries.c.approved_version)
    dated = or_(entries.c.valid_from.is_not(None), entries.c.valid_until.is_not(None), entries.c.version != entries.c.approved_version)
    query = select(entries.c.id, entries.c.kb_id, entries.c.document_id, entries.c.level, entry_versions.c.content).join(entry_versions, in_force).where(dated)
    due = [row for row in database.rows(query) if is_valid(row.content, now) != bool(row.document_id)]
    for start in range(0, len(due), _AT_ONCE):
        with database.write() as connection:
            for row in due[start : start + _AT_ONCE]:
                document_id = ""
                if row.document_id:
                    shadows.remove(connection, row.kb_id, [row.document_id])
                else:
                    fields = fields_of(row.content)
                    level = max(fields.level, row.level, key=LEVELS.index)  # one that was raised is so before that is approved
                    document_id = shadows.put(connection, row.kb_id, row.id, "", replace(fields, level=level))
                connection.execute(update(entries).where(entries.c.id == row.id).values(document_id=document_id))
                changed += 1
            for kb_id in {row.kb_id for row in due[start : start + _AT_ONCE]}:
                shadows.tell(connection, kb_id)
    return changed
