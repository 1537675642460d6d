"""What a change of a graph touched, noted with it for a copy that follows (`mirror`). Nothing is noted for a graph that nobody follows.

A note says which rows may have changed, not how: a copy is brought to what SQL holds, so notes can be applied together, late or twice.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection, delete, func, insert, select

from qzbrain.domain import new_id
from qzbrain.storage.database import Database
from qzbrain.storage.tables import graph_changes, graph_mirrors, graph_versions

MOST_NOTES = 5000
"""Of one graph. Where a copy is further behind, making it anew is no dearer, and notes need not be kept for a server that may never come back."""


@dataclass(frozen=True, slots=True)
class Touched:
    """Ids of what was made, changed or taken away: an entity also with its aliases, a triple also with its mentions."""

    entities: Collection[int] = ()
    triples: Collection[int] = ()
    relations: Collection[int] = ()

    def __len__(self) -> int:
        return len(self.entities) + len(self.triples) + len(self.relations)


def note(connection: Connection, kb_id: str, touched: Touched) -> None:
    """Note a change in its transaction, after its version was counted, where a copy of the graph follows."""
    followed = select(graph_mirrors.c.kb_id).where(graph_mirrors.c.kb_id == kb_id)
    if connection.execute(followed).first() is not None:
        _note(connection, kb_id, touched)


def follow(connection: Connection, kb_id: str) -> None:
    """From now on note this graph's changes; its version has a mark from now on at the latest."""
    if connection.execute(select(graph_mirrors.c.kb_id).where(graph_mirrors.c.kb_id == kb_id)).first() is None:
        connection.execute(insert(graph_mirrors).values(kb_id=kb_id, version=-1))
    version = select(graph_versions.c.version).where(graph_versions.c.kb_id == kb_id).scalar_subquery()
    if connection.execute(select(graph_changes.c.mark).where(graph_changes.c.kb_id == kb_id, graph_changes.c.version == version)).first() is None:
        _note(connection, kb_id, Touched())


def trim(database: Database) -> None:
    """Keep but the newest note of a graph that has too many: its copy, which knows none of those before, will be made anew."""
    many = select(graph_changes.c.kb_id, func.max(graph_changes.c.version).label("newest")).group_by(graph_changes.c.kb_id)
    for row in database.rows(many.having(func.count() > MOST_NOTES)):
        with database.write() as connection:
            connection.execute(delete(graph_changes).where(graph_changes.c.kb_id == row.kb_id, graph_changes.c.version < row.newest))


def unfollow_all(database: Database) -> None:
    """Note nothing any more."""
    if database.rows(select(graph_mirrors.c.kb_id).limit(1)):
        with database.write() as connection:
            for table in (graph_changes, graph_mirrors):
                connection.execute(delete(table))


def read_touched(noted: str) -> Touched:
    """What a note says."""
    entities, triples, relations = orjson.loads(noted)
    return Touched(entities, triples, relations)


def _note(connection: Connection, kb_id: str, touched: Touched) -> None:
    said = orjson.dumps([sorted(some) for some in (touched.entities, touched.triples, touched.relations)]).decode()
    version = connection.execute(select(graph_versions.c.version).where(graph_versions.c.kb_id == kb_id)).scalar()
    if version is not None:
        connection.execute(insert(graph_changes).values(kb_id=kb_id, version=version, mark=new_id(), touched=said))
