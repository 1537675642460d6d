"""Which chunks have which known names in them: the names of a graph's entities, looked for in every chunk, also where no rule found a fact.

Each name is looked for by itself, also inside longer ones, so the rows do not depend on the order in which names and chunks came, and a new name costs
one look at the chunks that are there, not all names again. How far this is stands in SQL with the rows: whoever comes after a killed worker goes on there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, delete, exists, func, insert, select, update

from qzbrain.auth.access import VISIBLE
from qzbrain.graph.linking import Linker, name_key
from qzbrain.graph.structure import ARTICLE, PART
from qzbrain.storage.database import Database
from qzbrain.storage.tables import chunks, graph_aliases, graph_entities, graph_linking, graph_links, graph_names, graph_versions, knowledge_bases

Beat = Callable[[int, int], None]
"""Told how many of how many chunks are done; may raise, then the work goes on where it stopped."""

SHORTEST, LONGEST = 2, 40
NOT_LINKED = (ARTICLE, PART)
"""Types of entities that a text does not name as they are called here."""
_CHUNKS = 1000
_NAMES = 500
_NO_NAME = re.compile(r"[\d\s.,:/%()\-+~年月日时分秒元万亿千百十个岁名人次号第至约]*")
"""Numbers, dates and amounts: they stand everywhere and name nothing."""


class _State(NamedTuple):
    graph_version: int = 0
    upto: int = 0
    again: int = 0
    version: int = 0


class Links:
    """Looks for names in chunks. For one thread."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def due(self) -> list[str]:
        """Knowledge bases whose graph or whose chunks have changed since names were looked for. Those of an import are looked through by that."""
        state = select(graph_versions.c.kb_id, graph_versions.c.version, graph_linking.c.graph_version, graph_linking.c.upto)
        state = state.outerjoin(graph_linking, graph_linking.c.kb_id == graph_versions.c.kb_id)
        visible = exists().where(knowledge_bases.c.id == graph_versions.c.kb_id, VISIBLE)
        rows = self._db.rows(state.where(graph_versions.c.version > 0, visible))
        return [row.kb_id for row in rows if row.version != row.graph_version or _last_chunk(self._db, row.kb_id) > row.upto]

    def tend(self, kb_id: str, beat: Beat) -> int:
        """Bring the links of a knowledge base after its names and chunks. Returns how many chunks were looked at."""
        seen = 0
        while True:
            self._take_names(kb_id)
            found = self._new_names(kb_id, beat) + self._new_chunks(kb_id, beat)
            seen += found
            if not found and kb_id not in self.due():
                return seen

    def start_over(self, connection: Connection, kb_id: str) -> None:
        """Forget all links of a knowledge base, and that any were looked for."""
        named = select(graph_names.c.id).where(graph_names.c.kb_id == kb_id)
        connection.execute(delete(graph_links).where(graph_links.c.name_id.in_(named)))
        connection.execute(delete(graph_names).where(graph_names.c.kb_id == kb_id))
        _note(connection, kb_id, changed=True, graph_version=0, upto=0, again=0)

    def _take_names(self, kb_id: str) -> None:
        """Have `graph_names` hold the names that the graph has now."""
        with self._db.snapshot() as connection:
            version = connection.execute(select(graph_versions.c.version).where(graph_versions.c.kb_id == kb_id)).scalar() or 0
            if version == _state(connection, kb_id).graph_version:
                return
            wanted = _names(connection, kb_id)
            known = {row.name_key: row.id for row in connection.execute(select(graph_names.c.name_key, graph_names.c.id).where(graph_names.c.kb_id == kb_id))}
        gone = sorted(number for key, number in known.items() if key not in wanted)
        new = sorted(key for key in wanted if key not in known)
        with self._db.write() as connection:
            for some in _parts(gone, _NAMES):
                connection.execute(delete(graph_links).where(graph_links.c.name_id.in_(some)))
                connection.execute(delete(graph_names).where(graph_names.c.id.in_(some)))
            if new:
                connection.execute(insert(graph_names), [{"kb_id": kb_id, "name_key": key, "linked": 0} for key in new])
            changes = {"again": 0} if new else {}
            _note(connection, kb_id, graph_version=version, changed=bool(gone), **changes)

    def _new_names(self, kb_id: str, beat: Beat) -> int:
        """Look for names that came lately in the chunks that were there before them."""
        new = self._linker(kb_id, linked=0)
        if not len(new.names):
            return 0
        seen = 0
        with self._db.read() as connection:
            state = _state(connection, kb_id)
        for batch in self._batches(kb_id, state.again, state.upto):
            seen += len(batch)
            with self._db.write() as connection:
                self._write(connection, kb_id, batch, new, again=batch[-1].id)
            beat(seen, seen)
        with self._db.write() as connection:
            connection.execute(update(graph_names).where(graph_names.c.kb_id == kb_id, graph_names.c.linked == 0).values(linked=1))
            _note(connection, kb_id, again=0)
        return seen

    def _new_chunks(self, kb_id: str, beat: Beat) -> int:
        """Look for all names in chunks that came lately."""
        with self._db.read() as connection:
            state = _state(connection, kb_id)
        last = _last_chunk(self._db, kb_id)
        if last <= state.upto:
            return 0
        names = self._linker(kb_id, linked=1)
        seen = 0
        for batch in self._batches(kb_id, state.upto, last) if names.names else ():
            seen += len(batch)
            with self._db.write() as connection:
                self._write(connection, kb_id, batch, names, upto=batch[-1].id)
            beat(seen, seen)
        if not seen:
            with self._db.write() as connection:
                _note(connection, kb_id, upto=last)
        return seen

    def _linker(self, kb_id: str, *, linked: int) -> _Names:
        query = select(graph_names.c.name_key, graph_names.c.id).where(graph_names.c.kb_id == kb_id, graph_names.c.linked == linked)
        return _Names([(row.name_key, row.id) for row in self._db.rows(query)])

    def _batches(self, kb_id: str, after: int, upto: int) -> Iterator[Sequence[Row[Any]]]:
        """Chunks with ids in (after, upto], in order."""
        query = select(chunks.c.id, chunks.c.text, chunks.c.disabled).where(chunks.c.kb_id == kb_id, chunks.c.id <= upto).order_by(chunks.c.id).limit(_CHUNKS)
        while rows := self._db.rows(query.where(chunks.c.id > after)):
            yield rows
            after = rows[-1].id

    def _write(self, connection: Connection, kb_id: str, batch: Sequence[Row[Any]], names: _Names, **state: int) -> None:
        """Links of these chunks, but for those that went meanwhile or may not be found."""
        first, last = batch[0].id, batch[-1].id
        there = select(chunks.c.id).where(chunks.c.kb_id == kb_id, chunks.c.id.between(first, last), chunks.c.disabled == 0)
        kept = set(connection.execute(there).scalars())
        rows = [
            {"name_id": name, "chunk_id": row.id, "count": count}
            for row in batch if row.id in kept for name, count in names.counted(row.text).items()
        ]  # fmt: skip
        if rows:
            ignoring = insert(graph_links).prefix_with("OR IGNORE", dialect="sqlite").prefix_with("IGNORE", dialect="mysql")
            connection.execute(ignoring, rows)
        _note(connection, kb_id, changed=bool(rows), **state)


class _Names:
    """Names by their keys, to the ids of their rows."""

    def __init__(self, names: Sequence[tuple[str, int]]) -> None:
        self.names = names
        self._linker = Linker(names)

    def counted(self, text: str) -> Counter[int]:
        """How often each stands in the text."""
        return Counter(one.entity_ids[0] for one in self._linker.all_mentions(text)) if self.names else Counter()


def forget_links(connection: Connection, document_ids: Collection[str]) -> None:
    """Forget what the chunks of these documents name; before the chunks go."""
    of = select(chunks.c.id).where(chunks.c.document_id.in_(document_ids))
    connection.execute(delete(graph_links).where(graph_links.c.chunk_id.in_(of)))


def forget_chunk_links(connection: Connection, chunk_ids: Collection[int]) -> None:
    """Forget what these chunks name."""
    connection.execute(delete(graph_links).where(graph_links.c.chunk_id.in_(chunk_ids)))


def linkable(name: str) -> str:
    """The key by which a name is looked for in texts; '' for one that would be found by chance, or everywhere, or never."""
    key = name_key(name)
    return key if SHORTEST <= len(key) <= LONGEST and not _NO_NAME.fullmatch(key) else ""


def _names(connection: Connection, kb_id: str) -> set[str]:
    named = select(graph_entities.c.name).where(graph_entities.c.kb_id == kb_id, graph_entities.c.type.not_in(NOT_LINKED))
    also = select(graph_aliases.c.alias).join(graph_entities, graph_entities.c.id == graph_aliases.c.entity_id)
    also = also.where(graph_aliases.c.kb_id == kb_id, graph_entities.c.type.not_in(NOT_LINKED))
    return {key for query in (named, also) for name in connection.execute(query).scalars() if (key := linkable(name))}


def _last_chunk(database: Database, kb_id: str) -> int:
    return int(database.rows(select(func.max(chunks.c.id)).where(chunks.c.kb_id == kb_id))[0][0] or 0)


def _state(connection: Connection, kb_id: str) -> _State:
    columns = (graph_linking.c.graph_version, graph_linking.c.upto, graph_linking.c.again, graph_linking.c.version)
    row = connection.execute(select(*columns).where(graph_linking.c.kb_id == kb_id)).first()
    return _State(*row) if row is not None else _State()


def _note(connection: Connection, kb_id: str, *, changed: bool = False, **values: int) -> None:
    """Write down how far this is; `changed`: and that links are others now."""
    grown = {"version": graph_linking.c.version + 1} if changed else {}
    if not values and not changed:
        return
    if not connection.execute(update(graph_linking).where(graph_linking.c.kb_id == kb_id).values(**values, **grown)).rowcount:
        connection.execute(insert(graph_linking).values(**{"graph_version": 0, "upto": 0, "again": 0, "version": int(changed), "kb_id": kb_id, **values}))


def _parts(some: Sequence[int], size: int) -> Iterable[Sequence[int]]:
    return (some[start : start + size] for start in range(0, len(some), size))
