"""Writing facts into the tables of a graph, part by part, each part in a transaction of the caller's.

What is known of names, relations and aliases is kept from one part to the next, so that a large import asks for each name once; it is forgotten as soon as
anybody else has changed the graph. Facts are taken in their order, so that it makes no difference where one part ends and the next begins.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Connection, Insert, Select, Table, and_, insert, or_, select, update

from qzbrain.graph.base import Fact, Place
from qzbrain.graph.changes import Touched, note
from qzbrain.graph.inserting import insert_new, insert_rows
from qzbrain.graph.linking import key_of, keys_of
from qzbrain.storage.tables import graph_aliases, graph_entities, graph_mentions, graph_relations, graph_triples, graph_versions

MANY = 500
_CACHE_KB = 16_000
_ENDS_AT_ONCE = 150
"""Triples looked up by their ends in one statement."""
_LEAST_RUN = 200
"""Facts in a row with the same place, from which on a statement for them alone pays."""
Item = TypeVar("Item")
EntityKey = tuple[str, str]
Ends = tuple[int, int, int]


class Filling:
    """Brings facts into one graph. For one thread."""

    def __init__(self, kb_id: str) -> None:
        self._kb_id = kb_id
        self._version = -1
        self._new: Collection[int] = ()
        self._forget()

    def _forget(self) -> None:
        self._entities: dict[EntityKey, int] = {}
        self._relations: dict[str, int] = {}
        self._by_alias: dict[str, dict[int, str]] = {}
        self._keys: dict[str, str] = {}
        self._named: set[tuple[int, str, str]] = set()

    def add(self, connection: Connection, facts: Sequence[Fact]) -> None:
        """Bring facts in as a part of the caller's transaction, which must be the only one that writes. The same fact again changes nothing."""
        version = graph_version(connection, self._kb_id)
        if version != self._version:
            self._forget()
            _make_room(connection)
        self._version = -1  # until all is well: a part that is rolled back leaves ids here that are nobody's
        self._look_up(connection, facts)
        relations = self._relation_ids(connection, facts)
        heads_and_tails, aliases = self._resolved(connection, facts)
        ends = [(head, relations[key_of(fact.relation)], tail) for fact, (head, tail) in zip(facts, heads_and_tails, strict=True)]
        triples = self._triple_ids(connection, dict.fromkeys(ends))
        self._say(connection, facts, [triples[one] for one in ends])
        insert_rows(connection, graph_aliases, ("entity_id", "alias_key", "document_id", "alias"), aliases, {"kb_id": self._kb_id})
        touched = Touched({*self._new, *(row[0] for row in aliases)}, triples.values(), {relation for _, relation, _ in ends})
        changed(connection, self._kb_id, touched, grown=True)
        self._version = version + 1

    def _look_up(self, connection: Connection, facts: Sequence[Fact]) -> None:
        """Have what the database knows of the names of these facts."""
        names = {fact.head for fact in facts}
        names.update([fact.tail for fact in facts])
        new = keys_of(names - self._keys.keys())
        entities = select(graph_entities.c.name_key, graph_entities.c.type, graph_entities.c.id).where(graph_entities.c.kb_id == self._kb_id)
        named = graph_entities, graph_entities.c.id == graph_aliases.c.entity_id
        aliases = select(graph_aliases.c.alias_key, graph_aliases.c.entity_id, graph_entities.c.type).join(*named)
        aliases = aliases.where(graph_aliases.c.kb_id == self._kb_id, graph_aliases.c.document_id == "")
        for part in parts(sorted(set(new.values()))):
            for key, kind, entity in connection.execute(entities.where(graph_entities.c.name_key.in_(part))):
                self._entities[key, kind] = entity
            for key, entity, kind in connection.execute(aliases.where(graph_aliases.c.alias_key.in_(part))):
                self._by_alias.setdefault(key, {})[entity] = kind
        self._keys |= new

    def _resolved(self, connection: Connection, facts: Sequence[Fact]) -> tuple[list[tuple[int, int]], list[tuple[Any, ...]]]:
        """The ids of head and tail of each fact, and rows for the aliases that are new. An entity that is new has a number below 0 until it is written."""
        new: list[tuple[EntityKey, str]] = []
        ends: list[tuple[int, int]] = []
        given: list[tuple[int, str, Fact]] = []
        known, keys = self._entities.get, self._keys
        for fact in facts:
            head, tail = known((keys[fact.head], fact.head_type)), known((keys[fact.tail], fact.tail_type))
            if head is None:
                head = self._end(fact.head, fact.head_type, new)
            if tail is None:
                tail = self._end(fact.tail, fact.tail_type, new)
            ends.append((head, tail))
            if not fact.aliases and not fact.tail_aliases:
                continue
            for entity, kind, names in ((head, fact.head_type, fact.aliases), (tail, fact.tail_type, fact.tail_aliases)):
                for name in names:
                    given.append((entity, name, fact))
                    if not fact.place.document_id:
                        self._by_alias.setdefault(key_of(name), {}).setdefault(entity, kind)
        ids = self._written(connection, new)
        self._new = ids.values()
        for key in {key_of(name) for entity, name, fact in given if entity < 0 and not fact.place.document_id}:
            self._by_alias[key] = {ids.get(entity, entity): kind for entity, kind in self._by_alias[key].items()}
        rows = [self._alias(ids.get(entity, entity), name, fact) for entity, name, fact in given]
        if ids:
            ends = [(ids.get(head, head), ids.get(tail, tail)) for head, tail in ends]
        return ends, [row for row in rows if row]

    def _end(self, name: str, kind: str, new: list[tuple[EntityKey, str]]) -> int:
        """The entity of this name and type; without one, the only one of no other type that an import or a merge gave this name; else a new one."""
        key = self._keys[name]
        found = self._entities.get((key, kind))
        if found is None:
            named = [entity for entity, other in self._by_alias.get(key, {}).items() if not kind or not other or kind == other]
            if len(named) == 1:
                return named[0]
            new.append(((key, kind), name.strip()))
            found = self._entities[key, kind] = -len(new)
        return found

    def _written(self, connection: Connection, new: Sequence[tuple[EntityKey, str]]) -> dict[int, int]:
        """Write new entities; their ids by the numbers that they had."""
        if not new:
            return {}
        rows = [(key, kind, name) for (key, kind), name in new]
        last, in_order = insert_new(connection, graph_entities, ("name_key", "type", "name"), rows, {"kb_id": self._kb_id})
        if in_order:
            found = {of: entity for entity, (of, _) in enumerate(new, last + 1)}
        else:
            ours = select(graph_entities.c.name_key, graph_entities.c.type, graph_entities.c.id).where(graph_entities.c.id > last)
            found = {(key, kind): entity for key, kind, entity in fetched(connection, ours)}
        self._entities.update(found)
        return {-number: found[key] for number, (key, _) in enumerate(new, 1)}

    def _alias(self, entity: int, name: str, fact: Fact) -> tuple[Any, ...] | None:
        """A row, once; None for an empty one, or the entity's own name, which has become its alias by another row's (甲 also 乙, 乙 also 甲)."""
        row = entity, key_of(name), fact.place.document_id
        if not row[1] or row in self._named or entity in {self._entities.get((row[1], kind)) for kind in (fact.head_type, fact.tail_type, "")}:
            return None
        self._named.add(row)
        return *row, name[:255]

    def _relation_ids(self, connection: Connection, facts: Sequence[Fact]) -> Mapping[str, int]:
        new = {key: fact.relation for fact in facts if (key := key_of(fact.relation)) not in self._relations}
        if new:
            rows = [{"kb_id": self._kb_id, "name_key": key, "name": name.strip()[:255], "cues": {}} for key, name in new.items()]
            connection.execute(ignoring(graph_relations), rows)
            known = select(graph_relations.c.name_key, graph_relations.c.id).where(graph_relations.c.kb_id == self._kb_id)
            for part in parts(sorted(new)):
                self._relations.update((key, one) for key, one in connection.execute(known.where(graph_relations.c.name_key.in_(part))))
        return self._relations

    def _triple_ids(self, connection: Connection, ends: Iterable[Ends]) -> Mapping[Ends, int]:
        """The triples with these ends; made where they are new."""
        triples, some = graph_triples.c, list(ends)
        last, in_order = insert_new(connection, graph_triples, ("head_id", "relation_id", "tail_id"), some, {"kb_id": self._kb_id})
        if in_order:
            return {one: number for number, one in enumerate(some, last + 1)}
        columns = select(triples.id, triples.head_id, triples.relation_id, triples.tail_id)
        found = {(head, relation, tail): one for one, head, relation, tail in fetched(connection, columns.where(triples.id > last))}
        for part in parts([one for one in some if one not in found], _ENDS_AT_ONCE):
            rows = connection.execute(columns.where(or_(*(_has_ends(one) for one in part))))
            found.update({(head, relation, tail): one for one, head, relation, tail in rows})
        return found

    def _say(self, connection: Connection, facts: Sequence[Fact], triples: Sequence[int]) -> None:
        """Write where each fact, which is this triple, is said. A file's facts have few places, which need not come with each row."""
        runs = [(place, list(some)) for place, some in groupby(zip(facts, triples, strict=True), key=lambda both: id(both[0].place))]
        if len(runs) * _LEAST_RUN <= len(facts):
            for _, run in runs:
                same = dict(zip(_MENTION, _mention(run[0][0].place), strict=True))
                insert_rows(connection, graph_mentions, ("triple_id",), [(triple,) for _, triple in run], {"kb_id": self._kb_id, **same})
            return
        said = {id(fact.place): fact.place for fact in facts}  # to compare them takes longer than to write them
        mentions = {number: _mention(place) for number, place in said.items()}
        rows = [(triple, *mentions[id(fact.place)]) for fact, triple in zip(facts, triples, strict=True)]
        insert_rows(connection, graph_mentions, ("triple_id", *_MENTION), rows, {"kb_id": self._kb_id})


def _has_ends(ends: Ends) -> ColumnElement[bool]:
    return and_(graph_triples.c.head_id == ends[0], graph_triples.c.relation_id == ends[1], graph_triples.c.tail_id == ends[2])


def _make_room(connection: Connection) -> None:
    """Let SQLite keep more pages of its indexes in memory than a look-up needs, while this connection is open: else it reads them again and again."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA cache_size=-{_CACHE_KB}")


def fetched(connection: Connection, query: Select[Any]) -> list[tuple[Any, ...]]:
    """All rows as the driver gives them: of hundreds of thousands SQLAlchemy would make objects for longer than the query takes."""
    result = connection.execute(query)
    rows = list(result.cursor.fetchall()) if result.cursor is not None else []
    result.close()
    return rows


def ignoring(table: Table) -> Insert:
    """An insert that passes over rows that are there."""
    return insert(table).prefix_with("OR IGNORE", dialect="sqlite").prefix_with("IGNORE", dialect="mysql")


def parts(some: Sequence[Item], size: int = MANY) -> Iterator[Sequence[Item]]:
    """Pieces for one statement each."""
    for start in range(0, len(some), size):
        yield some[start : start + size]


_MENTION = ("mark", "document_id", "chunk_id", "start", "end", "quote", "source", "extractor", "confidence")


def mark_of(extractor: str, document_id: str, chunk_id: int, start: int, source: str) -> str:
    """What makes a mention of a triple another than the next: the same said in the same place is said once."""
    said = f"{extractor}\0{document_id}\0{chunk_id}\0{start}\0{source}"
    return hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()


def _mention(place: Place) -> tuple[Any, ...]:
    """In the order of _MENTION."""
    mark = mark_of(place.extractor, place.document_id, place.chunk_id, place.start, place.source)
    return mark, place.document_id, place.chunk_id, place.start, place.end, place.quote, place.source, place.extractor, place.confidence


def graph_version(connection: Connection, kb_id: str) -> int:
    """Grows with every change; 0 for a graph that never had any."""
    return int(connection.execute(select(graph_versions.c.version).where(graph_versions.c.kb_id == kb_id)).scalar() or 0)


def levels_changed(connection: Connection, kb_id: str) -> None:
    """Levels of documents change: who holds the graph as somebody may see it reads it anew."""
    if graph_version(connection, kb_id):
        changed(connection, kb_id, Touched())


def changed(connection: Connection, kb_id: str, touched: Touched, *, grown: bool = False) -> None:
    """Count a change of what is `touched`. `grown`: nothing was taken away or moved, so that whoever holds the graph reads what is new alone."""
    removals = 0 if grown else 1
    more = {"version": graph_versions.c.version + 1, "removals": graph_versions.c.removals + removals}
    if not connection.execute(update(graph_versions).where(graph_versions.c.kb_id == kb_id).values(**more)).rowcount:
        connection.execute(insert(graph_versions).values(kb_id=kb_id, version=1, removals=removals))
    note(connection, kb_id, touched)
