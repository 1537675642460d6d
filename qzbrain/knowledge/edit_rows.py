"""The rows of edits: what was changed in a document, and bringing it into a text that is read anew."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from qzbrain.domain import EditCounts, utc_now
from qzbrain.knowledge.edits import Edit, Kind
from qzbrain.storage.database import Database
from qzbrain.storage.tables import document_edits

_IN_ORDER = select(document_edits).order_by(document_edits.c.document_id, document_edits.c.number)


def edits_of(connection: Connection, document_ids: Sequence[str]) -> Mapping[str, list[Edit]]:
    """The edits of these documents, in the order in which they were made; a document without any is not there."""
    found: dict[str, list[Edit]] = defaultdict(list)
    for row in connection.execute(_IN_ORDER.where(document_edits.c.document_id.in_(document_ids))):
        found[row.document_id].append(edit_of(row))
    return found


def edit_of(row: Row[Any]) -> Edit:
    """A row as the pure part knows it."""
    return Edit(row.number, row.kind, row.start, row.end, row.before, row.after, bool(row.applies))


def note_edit(
    connection: Connection, document_id: str, *, kind: Kind, ordinal: int, span: tuple[int, int], before: str, after: str, author: str, note: str
) -> int:
    """Keep one more edit; returns its number."""
    last = connection.execute(select(func.max(document_edits.c.number)).where(document_edits.c.document_id == document_id)).scalar()
    number = (last or 0) + 1
    row = {"document_id": document_id, "number": number, "kind": kind, "ordinal": ordinal, "start": span[0], "end": span[1], "before": before, "after": after}
    connection.execute(insert(document_edits).values(**row, author=author, note=note, applies=1, created_at=utc_now()))
    return number


def store_outcomes(connection: Connection, document_id: str, before: Sequence[Edit], after: Sequence[Edit]) -> None:
    """What became of a document's edits when its text was read anew."""
    for was, now in zip(before, after, strict=True):
        if was != now:
            mine = (document_edits.c.document_id == document_id) & (document_edits.c.number == now.number)
            connection.execute(update(document_edits).where(mine).values(start=now.start, end=now.end, applies=int(now.applies)))


def set_aside(connection: Connection, document_ids: Sequence[str]) -> None:
    """The text that these documents' edits were made in is gone: whether they fit is found out when there is another."""
    connection.execute(update(document_edits).where(document_edits.c.document_id.in_(document_ids), document_edits.c.applies == 1).values(applies=0))


def edit_counts(database: Database, document_ids: Sequence[str]) -> Mapping[str, EditCounts]:
    """How many edits of these documents are in their texts, and how many no longer fit; a document without any is not there."""
    query = select(document_edits.c.document_id, func.sum(document_edits.c.applies).label("applied"), func.count().label("made"))
    rows = database.rows(query.where(document_edits.c.document_id.in_(document_ids)).group_by(document_edits.c.document_id))
    return {row.document_id: EditCounts(int(row.applied), row.made - int(row.applied)) for row in rows}
