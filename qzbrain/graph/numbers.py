"""Numbers for rows that are to be written later, in an order of the writer's own: nobody else is given them meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Table, delete, insert

from qzbrain.storage.tables import graph_entities, graph_mentions, graph_relations, graph_triples

_NOBODY = "reserved"
_SPARE: Mapping[str, tuple[Table, dict[str, Any]]] = {
    "entities": (graph_entities, {"kb_id": _NOBODY, "name_key": "", "type": "", "name": ""}),
    "relations": (graph_relations, {"kb_id": _NOBODY, "name_key": "", "name": "", "cues": {}}),
    "triples": (graph_triples, {"kb_id": _NOBODY, "head_id": 0, "relation_id": 0, "tail_id": 0}),
    "mentions": (graph_mentions, {"kb_id": _NOBODY, "triple_id": 0, "mark": "", "extractor": ""}),
}


def reserve(connection: Connection, spans: Mapping[str, int]) -> dict[str, int]:
    """Of each kind so many numbers in a row; gives what stands before the first. As a part of the caller's transaction, which leaves no row behind.

    A table counts on from the highest number that it ever had, also when that row is gone.
    """
    before: dict[str, int] = {}
    for kind, count in ((kind, count) for kind, count in spans.items() if count):
        table, row = _SPARE[kind]
        key = connection.execute(insert(table).values(**row)).inserted_primary_key
        first = int(key[0]) if key is not None else 0
        connection.execute(delete(table).where(table.c.id == first))
        connection.execute(insert(table).values(id=first + count, **row))
        connection.execute(delete(table).where(table.c.id == first + count))
        before[kind] = first
    return before
