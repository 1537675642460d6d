"""The graph in the brain's own database. See `base.GraphStore` for what it promises.

Whether something is there already is left to the unique keys of the tables, so that a hub of a million triples costs no more than any other entity.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import BindParameter, Connection, Select, Table, bindparam, delete, func, select, update
from sqlalchemy.exc import IntegrityError

from qzbrain.graph import merging
from qzbrain.graph.base import Cues, Entity, Fact, Place, Stats, Triple, relation_not_found
from qzbrain.graph.ceilings import readable, said_by
from qzbrain.graph.changes import Touched
from qzbrain.graph.cues import cleaned
from qzbrain.graph.filling import MANY, Filling, changed, fetched, graph_version, levels_changed, parts
from qzbrain.graph.forgetting import forget_documents, sweep
from qzbrain.graph.linking import key_of
from qzbrain.storage.database import Database
from qzbrain.storage.tables import (
    OF_A_GRAPH,
    graph_aliases,
    graph_entities,
    graph_links,
    graph_mentions,
    graph_merges,
    graph_names,
    graph_relations,
    graph_triples,
    graph_versions,
)

_READ_AT_ONCE = 50_000
_PLACES = 20
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from qzbrain.graph.view import GraphView


class SqlGraph:
    """Graphs in SQL. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._version = database.prepared(select(graph_versions.c.version).where(graph_versions.c.kb_id == bindparam("kb_id")))
        self._read: dict[str, _LastRead] = {}

    # -- writing

    def add(self, kb_id: str, facts: Iterable[Fact]) -> Stats:
        """See `GraphStore.add`. Some thousands at a time keep the transaction short."""
        some = list(facts)
        if not some:
            return Stats(version=self.version(kb_id))
        before = self._counts(kb_id)
        with self._db.write() as connection:
            self.add_within(connection, kb_id, some)
        after = self._counts(kb_id)
        return Stats(
            after.entities - before.entities,
            after.relations - before.relations,
            after.triples - before.triples,
            after.mentions - before.mentions,
            after.version,
        )

    def add_within(self, connection: Connection, kb_id: str, facts: Sequence[Fact]) -> None:
        """Bring facts in as a part of the caller's transaction."""
        if facts:
            Filling(kb_id).add(connection, facts)

    def forget_document(self, kb_id: str, document_id: str, *, extractor: str = "") -> None:
        """See `GraphStore.forget_document`."""
        with self._db.write() as connection:
            forget_documents(connection, [document_id], extractors=(extractor,) if extractor else ())

    def forget_alias(self, kb_id: str, entity_id: int, alias: str) -> None:
        """See `GraphStore.forget_alias`."""
        named = graph_aliases.c.kb_id == kb_id, graph_aliases.c.entity_id == entity_id, graph_aliases.c.alias_key == key_of(alias)
        with self._db.write() as connection:
            if connection.execute(delete(graph_aliases).where(*named)).rowcount:
                sweep(connection, [entity_id], ())
                changed(connection, kb_id, Touched([entity_id]))

    def drop(self, kb_id: str) -> None:
        """See `GraphStore.drop`."""
        with self._db.write() as connection:
            named = select(graph_names.c.id).where(graph_names.c.kb_id == kb_id)
            connection.execute(delete(graph_links).where(graph_links.c.name_id.in_(named)))
            for table in OF_A_GRAPH:
                connection.execute(delete(table).where(table.c.kb_id == kb_id))
            changed(connection, kb_id, Touched())

    def set_cues(self, kb_id: str, relation: str, forward: Sequence[str], backward: Sequence[str]) -> None:
        """See `GraphStore.set_cues`."""
        cues = {"forward": cleaned(forward, "forward_cues"), "backward": cleaned(backward, "backward_cues")}
        named = graph_relations.c.kb_id == kb_id, graph_relations.c.name_key == key_of(relation)
        with self._db.write(durable=True) as connection:
            found = connection.execute(select(graph_relations.c.id).where(*named)).scalar()
            if found is None:
                raise relation_not_found(relation)
            connection.execute(update(graph_relations).where(graph_relations.c.id == found).values(cues=cues if any(cues.values()) else {}))
            sweep(connection, (), [found])
            changed(connection, kb_id, Touched(relations=[found]), grown=bool(cues["forward"] or cues["backward"]))

    def merge(self, kb_id: str, keep: int, merged: Sequence[int], *, author: str) -> str:
        """See `GraphStore.merge`."""
        with self._db.write(durable=True) as connection:
            merge_id, touched = merging.merge(connection, kb_id, keep, merged, author=author, key_of=key_of)
            changed(connection, kb_id, touched)
        return merge_id

    def undo_merge(self, kb_id: str, merge_id: str) -> None:
        """See `GraphStore.undo_merge`."""
        try:
            with self._db.write(durable=True) as connection:
                changed(connection, kb_id, merging.undo(connection, kb_id, merge_id))
        except IntegrityError as exc:  # the log, which may have come in a pack, says what the graph contradicts
            raise merging.not_undoable() from exc

    def merged_into(self, kb_id: str, merge_id: str) -> int | None:
        """See `GraphStore.merged_into`."""
        rows = self._db.rows(select(graph_merges.c.keep_id).where(graph_merges.c.id == merge_id, graph_merges.c.kb_id == kb_id))
        return int(rows[0].keep_id) if rows else None

    def levels_changed(self, connection: Connection, kb_id: str) -> None:
        """See `GraphStore.levels_changed`."""
        levels_changed(connection, kb_id)

    # -- reading

    def version(self, kb_id: str) -> int:
        """See `GraphStore.version`."""
        rows = self._version(kb_id=kb_id)
        return int(rows[0][0]) if rows else 0

    def stats(self, kb_id: str) -> Stats:
        """See `GraphStore.stats`."""
        return self._counts(kb_id)

    def _counts(self, kb_id: str) -> Stats:
        with self._db.snapshot() as connection:
            counts = [
                connection.execute(select(func.count()).select_from(table).where(table.c.kb_id == kb_id)).scalar_one()
                for table in (graph_entities, graph_relations, graph_triples, graph_mentions)
            ]
            version = connection.execute(select(graph_versions.c.version).where(graph_versions.c.kb_id == kb_id)).scalar() or 0
        return Stats(counts[0], counts[1], counts[2], counts[3], version)

    def view(self, kb_id: str) -> GraphView:
        """See `GraphStore.view`. Where nothing was taken away since it was last read and is still held, only what is new is read."""
        with self._db.snapshot() as connection:
            columns = select(graph_versions.c.version, graph_versions.c.removals).where(graph_versions.c.kb_id == kb_id)
            version, removals = next(iter(fetched(connection, columns)), (0, 0))
            before = self._read.get(kb_id)
            base = before.view() if before is not None and before.removals == removals and self._db.kind == "sqlite" else None
            keys = before.keys if before is not None and base is not None else []
            view, keys = _read(connection, kb_id, version, base, keys)
        if self._db.kind == "sqlite" and not view.same:  # its ids grow with each commit; elsewhere a smaller one may be committed later
            held = {one: read for one, read in list(self._read.items()) if read.view() is not None}
            self._read = {**held, kb_id: _LastRead(removals, keys, weakref.ref(view))}
        return view

    def cues(self, kb_id: str) -> Mapping[str, Cues]:
        """See `GraphStore.cues`."""
        rows = self._db.rows(select(graph_relations.c.name, graph_relations.c.cues).where(graph_relations.c.kb_id == kb_id).order_by(graph_relations.c.id))
        return {row.name: _cues(row.cues) for row in rows if row.cues}

    def entity(self, kb_id: str, entity_id: int) -> Entity | None:
        """See `GraphStore.entity`."""
        with self._db.read() as connection:
            return next(iter(_entities(connection, kb_id, [entity_id])), None)

    def search(self, kb_id: str, text: str, *, limit: int) -> list[Entity]:
        """See `GraphStore.search`."""
        key = key_of(text)
        if not key:
            return []
        escaped = key.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        found: dict[int, None] = {}
        with self._db.read() as connection:
            for pattern in (None, f"{escaped}%", f"%{escaped}%"):
                for table, column, entity in (
                    (graph_entities, graph_entities.c.name_key, graph_entities.c.id),
                    (graph_aliases, graph_aliases.c.alias_key, graph_aliases.c.entity_id),
                ):
                    fits = column == key if pattern is None else column.like(pattern, escape="\\")
                    rows = connection.execute(select(entity).where(table.c.kb_id == kb_id, fits).order_by(entity).limit(limit * 4))
                    found.update(dict.fromkeys(rows.scalars().all()))
                if len(found) >= limit:
                    break
            entities = _entities(connection, kb_id, list(found))
        order = {one: n for n, one in enumerate(found)}
        return sorted(entities, key=lambda e: (closeness(e, key), -e.degree, order[e.id]))[:limit]

    def triples(self, kb_id: str, triple_ids: Sequence[int]) -> list[Triple]:
        """See `GraphStore.triples`."""
        with self._db.read() as connection:
            found = {one.id: one for part in parts(list(dict.fromkeys(int(one) for one in triple_ids))) for one in _triples(connection, kb_id, part)}
        return [found[one] for one in dict.fromkeys(int(one) for one in triple_ids) if one in found]

    def every_triple(self, kb_id: str, *, ceiling: int | None = None) -> Iterator[Triple]:
        """See `GraphStore.every_triple`."""
        with self._db.snapshot() as connection:
            if ceiling is None:
                yield from self.triples_after(connection, kb_id, 0)
                return
            hidden = set(connection.execute(said_by(ceiling, kb_id)).scalars())
            for block in self._triple_ids(connection, kb_id, 0):
                yield from _triples(connection, kb_id, [one for one in block if one not in hidden], ceiling)

    def view_below(self, kb_id: str, ceiling: int) -> GraphView:
        """See `GraphStore.view_below`."""
        with self._db.snapshot() as connection:
            return _read_below(connection, kb_id, graph_version(connection, kb_id), ceiling)

    def triples_seen(self, kb_id: str, triple_ids: Sequence[int], ceiling: int) -> list[Triple]:
        """See `GraphStore.triples_seen`."""
        wanted = list(dict.fromkeys(int(one) for one in triple_ids))
        with self._db.read() as connection:
            found = {one.id: one for part in parts(wanted) for one in _triples(connection, kb_id, part, ceiling)}
        return [found[one] for one in wanted if one in found and found[one].places]

    def mentions_seen(self, kb_id: str, ceiling: int) -> int:
        """See `GraphStore.mentions_seen`."""
        wanted = select(func.count()).select_from(graph_mentions).where(graph_mentions.c.kb_id == kb_id, readable(graph_mentions.c.document_id, ceiling))
        return int(self._db.rows(wanted)[0][0])

    def triples_after(self, connection: Connection, kb_id: str, after: int) -> Iterator[Triple]:
        """Those with larger ids than this, in the order of their ids."""
        for ids in self._triple_ids(connection, kb_id, after):
            yield from _triples(connection, kb_id, ids)

    @staticmethod
    def _triple_ids(connection: Connection, kb_id: str, after: int) -> Iterator[Sequence[int]]:
        while True:
            query = select(graph_triples.c.id).where(graph_triples.c.kb_id == kb_id, graph_triples.c.id > after)
            ids = connection.execute(query.order_by(graph_triples.c.id).limit(MANY)).scalars().all()
            if not ids:
                return
            yield ids
            after = ids[-1]


_head, _tail = graph_entities.alias("head"), graph_entities.alias("tail")
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_TOLD = (
    select(graph_triples.c.id, _head.c.id, _head.c.name, _head.c.type, graph_relations.c.name, _tail.c.id, _tail.c.name, _tail.c.type)
    .join(_head, _head.c.id == graph_triples.c.head_id)
    .join(_tail, _tail.c.id == graph_triples.c.tail_id)
    .join(graph_relations, graph_relations.c.id == graph_triples.c.relation_id)
    .where(graph_triples.c.kb_id == bindparam("kb_id"), graph_triples.c.id.in_(_IDS))
    .order_by(graph_triples.c.id)
)
_SAID = (
    select(*(graph_mentions.c[name] for name in ("triple_id", "extractor", "document_id", "chunk_id", "start", "end", "quote", "source", "confidence")))
    .where(graph_mentions.c.triple_id.in_(_IDS))
    .order_by(graph_mentions.c.triple_id, graph_mentions.c.confidence.desc(), graph_mentions.c.id)
)
_NAMED = select(graph_aliases.c.entity_id, graph_aliases.c.alias).where(graph_aliases.c.entity_id.in_(_IDS)).order_by(graph_aliases.c.alias_key)
"""Made once: asked for every answer, and making them takes longer than their rows."""


@dataclass(frozen=True, slots=True)
class _LastRead:
    """A view that somebody may still hold, and by what the names of its entities are compared."""

    removals: int
    keys: list[str]
    view: weakref.ref[GraphView]


def _read(connection: Connection, kb_id: str, version: int, base: GraphView | None, keys: Sequence[str]) -> tuple[GraphView, list[str]]:
    """All of a graph, or `base` and what came since; with the key of each name. In blocks, so that the rows are never all in memory at once."""
    import numpy as np  # only who answers pays for it

    ids, names, types, keys = (base.ids.tolist(), list(base.names), list(base.types), list(keys)) if base else ([], [], [], [])
    columns = select(graph_entities.c.id, graph_entities.c.name_key, graph_entities.c.name, graph_entities.c.type)
    for block in _blocks(connection, columns, graph_entities, kb_id, ids[-1] if ids else 0):
        for one, key, name, kind in block:
            ids.append(one)
            keys.append(name if key == name else key)
            names.append(name)
            types.append(kind)
    named = fetched(connection, select(graph_aliases.c.alias, graph_aliases.c.entity_id).where(graph_aliases.c.kb_id == kb_id))
    kinds_of_kb = select(graph_relations.c.id, graph_relations.c.name, graph_relations.c.cues).where(graph_relations.c.kb_id == kb_id)
    kinds = connection.execute(kinds_of_kb.order_by(graph_relations.c.id)).all()
    relations, cues = [(row.id, row.name) for row in kinds], {row.name: _cues(row.cues) for row in kinds if row.cues}
    columns = select(graph_triples.c.id, graph_triples.c.head_id, graph_triples.c.relation_id, graph_triples.c.tail_id)
    after = int(base.triple_ids[-1]) if base is not None and len(base.triple_ids) else 0
    blocks = [np.array(block, np.int64) for block in _blocks(connection, columns, graph_triples, kb_id, after)]
    triples = np.concatenate(blocks) if blocks else np.empty((0, 4), np.int64)
    return assembled(version, Names(ids, names, types, keys), named, relations, triples, cues, base), keys


def _read_below(connection: Connection, kb_id: str, version: int, ceiling: int) -> GraphView:
    """A graph without the documents above a level; see `ceilings`. An entity is left that a triple names, a name from a document, or nothing at all."""
    import numpy as np

    hidden = np.array(connection.execute(said_by(ceiling, kb_id)).scalars().all(), np.int64)
    columns = select(graph_triples.c.id, graph_triples.c.head_id, graph_triples.c.relation_id, graph_triples.c.tail_id)
    blocks = [np.array(block, np.int64) for block in _blocks(connection, columns, graph_triples, kb_id, 0)]
    triples = np.concatenate(blocks) if blocks else np.empty((0, 4), np.int64)
    above = np.isin(triples[:, 0], hidden)
    triples, gone = triples[~above], set(triples[above][:, [1, 3]].ravel().tolist())
    named = select(graph_aliases.c.alias, graph_aliases.c.entity_id, graph_aliases.c.document_id).where(graph_aliases.c.kb_id == kb_id)
    all_named = {entity for _, entity, _ in connection.execute(named)}
    aliases = list(connection.execute(named.where(readable(graph_aliases.c.document_id, ceiling))))
    left = {*triples[:, [1, 3]].ravel().tolist(), *(entity for _, entity, document_id in aliases if document_id)}
    names = Names([], [], [], [])
    columns = select(graph_entities.c.id, graph_entities.c.name_key, graph_entities.c.name, graph_entities.c.type)
    for block in _blocks(connection, columns, graph_entities, kb_id, 0):
        for one, key, name, kind in block:
            if one in left or (one not in gone and one not in all_named):
                names.ids.append(one)
                names.keys.append(key)
                names.names.append(name)
                names.types.append(kind)
    kinds = select(graph_relations.c.id, graph_relations.c.name, graph_relations.c.cues).where(graph_relations.c.kb_id == kb_id)
    used = set(np.unique(triples[:, 2]).tolist())
    relations = [row for row in connection.execute(kinds.order_by(graph_relations.c.id)) if row.id in used]
    cues = {row.name: _cues(row.cues) for row in relations if row.cues}
    return assembled(version, names, [(alias, entity) for alias, entity, _ in aliases], [(row.id, row.name) for row in relations], triples, cues)


@dataclass(frozen=True, slots=True)
class Names:
    """Entities, one row each, by id ascending; `keys`: by what their names are compared."""

    ids: list[int]
    names: list[str]
    types: list[str]
    keys: list[str]


def assembled(
    version: int,
    entities: Names,
    aliases: Iterable[tuple[Any, ...]],
    relations: Sequence[tuple[Any, ...]],
    triples: NDArray[np.int64],
    cues: Mapping[str, Cues],
    base: GraphView | None = None,
) -> GraphView:
    """A view of rows: `aliases` (alias, entity id); `relations` (id, name), `triples` (id, head, relation, tail) by id. `base`: whose triples come before."""
    import numpy as np

    from qzbrain.graph.view import GraphView

    number = {one: n for n, one in enumerate(entities.ids)}
    named = [(alias, number[entity]) for alias, entity in aliases if entity in number]
    entity_ids, relation_ids = np.array(entities.ids, np.int64), np.array([one for one, _ in relations], np.int64)
    heads, tails = (np.searchsorted(entity_ids, triples[:, column]).astype(np.int32) for column in (1, 3))
    kinds, triple_ids = np.searchsorted(relation_ids, triples[:, 2]).astype(np.int32), np.ascontiguousarray(triples[:, 0])
    if base is not None:
        heads, kinds, tails = (np.concatenate(both) for both in ((base.heads, heads), (base.relations, kinds), (base.tails, tails)))
        triple_ids = np.concatenate([base.triple_ids, triple_ids])
    same = _same(entities.keys, entities.types)
    if same:
        canonical = np.arange(len(entities.names), dtype=np.int32)
        canonical[list(same)] = list(same.values())
        heads, tails = canonical[heads], canonical[tails]
    said = [(one.forward, one.backward) for one in (cues.get(name, Cues()) for _, name in relations)] if cues else []
    names = [name for _, name in relations]
    return GraphView(version, entity_ids, entities.names, entities.types, named, names, triple_ids, heads, kinds, tails, same, said)


def _cues(stored: Mapping[str, Sequence[str]]) -> Cues:
    return Cues(tuple(stored.get("forward", ())), tuple(stored.get("backward", ())))


def _blocks(connection: Connection, columns: Select[Any], table: Table, kb_id: str, after: int) -> Iterator[list[tuple[Any, ...]]]:
    """The rows of a knowledge base with larger ids than this, in the order of their ids, which are the first column; in blocks."""
    while True:
        rows = fetched(connection, columns.where(table.c.kb_id == kb_id, table.c.id > after).order_by(table.c.id).limit(_READ_AT_ONCE))
        if rows:
            yield rows
            after = rows[-1][0]
        if len(rows) < _READ_AT_ONCE:
            return


def _entities(connection: Connection, kb_id: str, ids: Sequence[int]) -> list[Entity]:
    """In no order; unknown ones are left out."""
    found = []
    for part in parts(ids):
        rows = connection.execute(select(graph_entities).where(graph_entities.c.kb_id == kb_id, graph_entities.c.id.in_(part))).all()
        aliases = _aliases(connection, part)
        degrees: dict[int, int] = {}
        for end in (graph_triples.c.head_id, graph_triples.c.tail_id):
            for entity, count in connection.execute(select(end, func.count()).where(end.in_(part)).group_by(end)):
                degrees[entity] = degrees.get(entity, 0) + count
        found += [Entity(row.id, row.name, row.type, aliases.get(row.id, ()), degrees.get(row.id, 0)) for row in rows]
    return found


def _aliases(connection: Connection, ids: Collection[int], ceiling: int | None = None) -> dict[int, tuple[str, ...]]:
    """Other names of these entities, each once."""
    found: dict[int, dict[str, None]] = {}
    named = _NAMED if ceiling is None else _NAMED.where(readable(graph_aliases.c.document_id, ceiling))
    for entity, alias in connection.execute(named, {"ids": list(ids)}):
        found.setdefault(entity, {})[alias] = None
    return {entity: tuple(some) for entity, some in found.items()}


def _same(keys: Sequence[str], types: Sequence[str]) -> dict[int, int]:
    """Entities without a type that must be the typed one of the same name, since there is just one: by their places in these lists."""
    if not any(types):
        return {}
    bare = {key: number for number, (key, kind) in enumerate(zip(keys, types, strict=True)) if not kind}
    typed: dict[str, list[int]] = {}
    for number, (key, kind) in enumerate(zip(keys, types, strict=True)):
        if kind and key in bare:
            typed.setdefault(key, []).append(number)
    return {bare[key]: numbers[0] for key, numbers in typed.items() if len(numbers) == 1}


def closeness(entity: Entity, key: str) -> int:
    """How well an entity fits a search for this key: 0 by a whole name, 1 by a beginning, 2 by a part."""
    keys = [key_of(name) for name in (entity.name, *entity.aliases)]
    return 0 if key in keys else 1 if any(one.startswith(key) for one in keys) else 2


def _triples(connection: Connection, kb_id: str, ids: Sequence[int], ceiling: int | None = None) -> list[Triple]:
    """By id; with their first places, of those at most at `ceiling`. Degrees are not counted: a hub's would cost more than all the rest."""
    rows = connection.execute(_TOLD, {"kb_id": kb_id, "ids": list(ids)}).all()
    aliases = _aliases(connection, {end for row in rows for end in (row[1], row[5])}, ceiling)
    places: dict[int, list[Place]] = {}
    said = _SAID if ceiling is None else _SAID.where(readable(graph_mentions.c.document_id, ceiling))
    for triple, *place in connection.execute(said, {"ids": list(ids)}):
        some = places.setdefault(triple, [])
        if len(some) < _PLACES:
            some.append(Place(*place))
    return [
        Triple(one, Entity(h, h_name, h_type, aliases.get(h, ())), relation, Entity(t, t_name, t_type, aliases.get(t, ())), tuple(places.get(one, ())))
        for one, h, h_name, h_type, relation, t, t_name, t_type in rows
    ]
