"""Changing the level of documents: the rows, the word to the indexes and to who holds the graph, and the number that tells every process to look
anew, in one transaction.

Searches obey the new level at once, because what they find is checked against SQL in the end; the indexes follow in the background.
Who may do it is asked elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, insert, select, update

from qzbrain.auth.standing import access_changed
from qzbrain.domain import LEVELS
from qzbrain.graph.filling import levels_changed
from qzbrain.jobs.leases import LeaseRunner
from qzbrain.knowledge.removal import submit_index_changes
from qzbrain.retrieval.shelves import FACTS, facts_shelf
from qzbrain.storage.tables import documents, outbox

_AT_ONCE = 500


def set_level(connection: Connection, runner: LeaseRunner, document_ids: Sequence[str], level: int) -> list[str]:
    """Give documents of any kind, of one or several knowledge bases, this level (place in LEVELS); returns the ids of those that had another.

    Unknown ids are no error, and where nothing changes nothing is written. Raises ValueError for what is no level.
    """
    if not 0 <= level < len(LEVELS):
        raise ValueError(f"{level} is no place in LEVELS")
    changed: list[str] = []
    bases: dict[str, None] = {}
    for start in range(0, len(document_ids), _AT_ONCE):
        other = documents.c.id.in_(document_ids[start : start + _AT_ONCE]) & (documents.c.level != level)
        rows = connection.execute(select(documents.c.id, documents.c.kb_id, documents.c.kind).where(other).order_by(documents.c.id)).all()
        if not rows:
            continue
        connection.execute(update(documents).where(documents.c.id.in_([row.id for row in rows])).values(level=level))
        told = [(facts_shelf(row.kb_id) if row.kind == FACTS else row.kb_id, row.id) for row in rows]
        connection.execute(insert(outbox), [{"kb_id": shelf, "op": "put", "document_id": document_id} for shelf, document_id in told])
        changed += [row.id for row in rows]
        bases |= dict.fromkeys(row.kb_id for row in rows)
    if changed:
        access_changed(connection)
    for kb_id in bases:
        levels_changed(connection, kb_id)
        submit_index_changes(connection, runner, kb_id)
    return changed
