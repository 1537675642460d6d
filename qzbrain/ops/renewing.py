"""What lies outside of the rows and has to come after them when others take their place: search indexes, copies of graphs, numbers that were given.

What there was before is noted in the data folder (REINDEX) until the indexes are built, so whoever goes on after a restore that was killed knows it still:
the command run again, when the rows of before are gone, or the worker.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Column, Connection, insert, inspect, select
from sqlalchemy.exc import DatabaseError

from qzbrain.brain import Brain, database_of
from qzbrain.errors import BrainError
from qzbrain.retrieval.backends import search_index, vector_index
from qzbrain.retrieval.shelves import documents_on, shelves
from qzbrain.settings import Settings
from qzbrain.storage.backups import REINDEX
from qzbrain.storage.backups.rows import Progress
from qzbrain.storage.counters import COUNTED, last_number
from qzbrain.storage.database import Database
from qzbrain.storage.tables import graph_mirrors, knowledge_bases, vector_spaces


@dataclass(frozen=True, slots=True)
class Former:
    """Keys of shelves and vector spaces that have indexes, ids of knowledge bases whose graph has a copy, the last number that each table gave."""

    shelves: Sequence[str] = ()
    spaces: Sequence[str] = ()
    graphs: Sequence[str] = ()
    numbers: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Former:
        """What the present database has, as far as it can be read, and what a restore before it has noted."""
        noted, there = _noted(settings.data), _present(settings)
        numbers = {name: max(noted.numbers.get(name, 0), there.numbers.get(name, 0)) for name in {*noted.numbers, *there.numbers}}
        return cls(
            sorted({*noted.shelves, *there.shelves}), sorted({*noted.spaces, *there.spaces}), sorted({*noted.graphs, *there.graphs}), numbers
        )  # fmt: skip

    def note(self, folder: Path) -> None:
        """Write it down; until `renew_indexes` is done."""
        new = folder / f".{REINDEX}.new"
        new.write_bytes(orjson.dumps(asdict(self)))
        new.replace(folder / REINDEX)

    def leave_copies(self, database: Database) -> None:
        """Have the copies taken away whose knowledge bases are none of the present rows."""
        with database.write() as connection:
            if not inspect(connection).has_table(graph_mirrors.name):
                return
            known = set(connection.execute(select(graph_mirrors.c.kb_id)).scalars())
            if gone := [{"kb_id": kb_id, "version": -1} for kb_id in self.graphs if kb_id not in known]:
                connection.execute(insert(graph_mirrors), gone)


def renew_indexes(brain: Brain, progress: Progress) -> None:
    """Build the indexes anew that hold what was before a restore. Killed, it is done again. Raises Unavailable, StorageFull; it is still to be done then."""
    before = _noted(brain.settings.data)
    bases = [row.id for row in brain.db.rows(select(knowledge_bases.c.id))]
    for shelf in sorted({*before.shelves, *(shelf for kb_id in bases for shelf in shelves(kb_id))}):
        brain.index.drop(shelf)
    for space in before.spaces:
        brain.vectors.drop(space)
    build_indexes(brain, progress)
    (brain.settings.data / REINDEX).unlink(missing_ok=True)


def drop_indexes(settings: Settings) -> None:
    """Take away the indexes of before a restore, and those of the present rows: an older program builds its own. Raises IndexUnavailable."""
    known, index, vectors = Former.of(settings), search_index(settings), vector_index(settings)
    for shelf in known.shelves:
        index.drop(shelf)
    for space in known.spaces:
        vectors.drop(space)
    (settings.data / REINDEX).unlink(missing_ok=True)


def build_indexes(brain: Brain, progress: Progress) -> None:
    """Those of all knowledge bases, from the rows."""
    for (kb_id,) in brain.db.rows(select(knowledge_bases.c.id)):
        for shelf in shelves(kb_id):
            if shelf == kb_id or brain.db.rows(documents_on(shelf).limit(1)):
                brain.feeder.rebuild(shelf, lambda done, total: progress("index", done, total))
        brain.feeder.rebuild_vectors(kb_id)


def _noted(folder: Path) -> Former:
    try:
        return Former(**orjson.loads((folder / REINDEX).read_bytes()))
    except (OSError, ValueError, TypeError):
        return Former()


def _present(settings: Settings) -> Former:
    if not settings.mysql_host and not settings.database_path.exists():
        return Former()
    try:
        with closing(database_of(settings)) as database, database.read() as connection:
            there = set(inspect(connection).get_table_names())
            bases, spaces, graphs = (_ids(connection, there, column) for column in (knowledge_bases.c.id, vector_spaces.c.id, graph_mirrors.c.kb_id))
            numbers = {name: last_number(connection, database.kind, name) for name in COUNTED if name in there}
    except (DatabaseError, sqlite3.DatabaseError, BrainError):
        return Former()
    return Former([shelf for kb_id in bases for shelf in shelves(kb_id)], spaces, graphs, numbers)


def _ids(connection: Connection, there: set[str], column: Column[Any]) -> list[str]:
    return list(connection.execute(select(column)).scalars()) if column.table.name in there else []
