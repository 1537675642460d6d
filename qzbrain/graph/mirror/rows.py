"""What SQL holds of some entities, relations and triples, as the rows that `cypher` puts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection, Table, select

from qzbrain.graph.base import Place
from qzbrain.graph.changes import Touched
from qzbrain.graph.filling import fetched, parts
from qzbrain.storage.tables import graph_aliases, graph_entities, graph_mentions, graph_relations, graph_triples

PLACES = 20
"""So many of a triple's places are copied, the best first: as many as are ever told."""
_ROWS_AT_ONCE = 2000
_CHARS_AT_ONCE = 4_000_000
_PLACE = ("extractor", "document_id", "chunk_id", "start", "end", "quote", "source", "confidence")

Rows = list[list[Any]]


@dataclass(slots=True)
class Content:
    """What is there of what was asked for; what is not there any more is in the question alone."""

    relations: Rows = field(default_factory=list)
    entities: Rows = field(default_factory=list)
    aliases: Rows = field(default_factory=list)
    facts: Rows = field(default_factory=list)


def content(connection: Connection, kb_id: str, touched: Touched) -> Content:
    """What SQL holds of this, in one snapshot of the caller's."""
    found = Content()
    for part in parts(sorted(touched.relations)):
        named = select(graph_relations.c.id, graph_relations.c.name)
        found.relations += _lists(fetched(connection, named.where(graph_relations.c.kb_id == kb_id, graph_relations.c.id.in_(part))))
    for part in parts(sorted(touched.entities)):
        _add_entities(connection, kb_id, part, found)
    for part in parts(sorted(touched.triples)):
        _add_facts(connection, kb_id, part, found)
    return found


def next_ids(connection: Connection, table: Table, kb_id: str, after: int, most: int) -> list[int]:
    """The ids that follow, in their order."""
    query = select(table.c.id).where(table.c.kb_id == kb_id, table.c.id > after).order_by(table.c.id).limit(most)
    return [row[0] for row in fetched(connection, query)]


def batches(rows: Iterable[list[Any]]) -> Iterator[Rows]:
    """Rows for one statement each: limited in number and, but for a single row that is longer, in characters."""
    some: Rows = []
    chars = 0
    for row in rows:
        length = _chars(row)
        if some and (len(some) >= _ROWS_AT_ONCE or chars + length > _CHARS_AT_ONCE):
            yield some
            some, chars = [], 0
        some.append(row)
        chars += length
    if some:
        yield some


def read_places(said: str) -> tuple[Place, ...]:
    """The places of a fact."""
    return tuple(Place(**dict(zip(_PLACE, one, strict=True))) for one in orjson.loads(said))


def _chars(row: Sequence[Any]) -> int:
    return sum(len(one) if isinstance(one, str) else _chars(one) if isinstance(one, list) else 8 for one in row)


def _lists(rows: Iterable[tuple[Any, ...]]) -> Rows:
    return [list(row) for row in rows]


def _add_entities(connection: Connection, kb_id: str, ids: Sequence[int], found: Content) -> None:
    named = select(graph_aliases.c.entity_id, graph_aliases.c.alias_key, graph_aliases.c.alias).where(
        graph_aliases.c.kb_id == kb_id, graph_aliases.c.entity_id.in_(ids)
    )
    aliases: dict[int, dict[str, None]] = {}
    for entity, key, alias in dict.fromkeys(fetched(connection, named.order_by(graph_aliases.c.entity_id, graph_aliases.c.alias_key))):
        aliases.setdefault(entity, {})[alias] = None
        found.aliases.append([entity, key, alias])
    columns = select(graph_entities.c.id, graph_entities.c.name, graph_entities.c.type, graph_entities.c.name_key)
    for row in fetched(connection, columns.where(graph_entities.c.kb_id == kb_id, graph_entities.c.id.in_(ids))):
        found.entities.append([*row, list(aliases[row[0]]) if row[0] in aliases else None])


def _add_facts(connection: Connection, kb_id: str, ids: Collection[int], found: Content) -> None:
    said: dict[int, int] = {}
    places: dict[int, list[tuple[Any, ...]]] = {}
    columns = [graph_mentions.c[name] for name in ("triple_id", *_PLACE)]
    order = graph_mentions.c.triple_id, graph_mentions.c.confidence.desc(), graph_mentions.c.id
    for triple, *place in fetched(connection, select(*columns).where(graph_mentions.c.triple_id.in_(ids)).order_by(*order)):
        said[triple] = said.get(triple, 0) + 1
        some = places.setdefault(triple, [])
        if len(some) < PLACES:
            some.append(tuple(place))
    query = select(graph_triples.c.id, graph_triples.c.head_id, graph_triples.c.relation_id, graph_relations.c.name, graph_triples.c.tail_id)
    query = query.join(graph_relations, graph_relations.c.id == graph_triples.c.relation_id)
    for row in fetched(connection, query.where(graph_triples.c.kb_id == kb_id, graph_triples.c.id.in_(ids)).order_by(graph_triples.c.id)):
        some = places.get(row[0], [])
        documents = list(dict.fromkeys(place[1] for place in some if place[1])) or None
        found.facts.append([*row, said.get(row[0], 0), orjson.dumps(some).decode(), documents])
