"""What the graph says of each entity as a head, page by page, with a mark that tells whether it has changed. Reads SQL.

Only what no document says is read: a fact out of a document is found with that document's own text, under that document's rights.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, exists, func, select

from qzbrain.graph.telling import MOST_NAMED, Head
from qzbrain.storage.database import Database
from qzbrain.storage.tables import graph_aliases, graph_entities, graph_mentions, graph_relations, graph_triples, graph_versions

PAGE = 2000
MOST_FACTS = 2000
"""Of one entity so many are told; a hub with more says how many it leaves out."""
LAST = (1 << 62) - 1
_IDS = 400
_PRIME = 2_147_483_647


@dataclass(frozen=True, slots=True)
class Page:
    """The heads with ids above `after` and up to `upto`: by id, how many facts each has, and its mark. `entities`: all that there are."""

    after: int
    upto: int
    marks: Mapping[int, str]
    facts: Mapping[int, int]
    entities: int


class Heads:
    """Of many knowledge bases."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def version(self, kb_id: str) -> int:
        """Grows with every change of the graph; 0 where there never was one."""
        rows = self._db.rows(select(graph_versions.c.version).where(graph_versions.c.kb_id == kb_id))
        return int(rows[0].version) if rows else 0

    def count(self, kb_id: str) -> int:
        """Entities of a graph."""
        return int(self._db.rows(select(func.count()).select_from(graph_entities).where(graph_entities.c.kb_id == kb_id))[0][0])

    def pages(self, kb_id: str) -> Iterator[Page]:
        """All heads, in the order of their ids; the last page reaches up to LAST."""
        after = 0
        while after < LAST:
            query = select(graph_entities.c.id).where(_is(graph_entities.c.kb_id, kb_id), graph_entities.c.id > after)
            ids = [row.id for row in self._db.rows(query.order_by(graph_entities.c.id).limit(PAGE))]
            upto = ids[-1] if len(ids) == PAGE else LAST
            yield self._page(kb_id, after, upto, len(ids))
            after = upto

    def _page(self, kb_id: str, after: int, upto: int, entities: int) -> Page:
        """The sum of a number for each fact stands for the facts: ids are never used twice, so another sum means other facts."""
        said = (graph_triples.c.id * 7919 + graph_triples.c.relation_id * 104_729 + graph_triples.c.tail_id * 15_485_863) % _PRIME
        query = _said(select(graph_triples.c.head_id, func.count().label("facts"), func.sum(said).label("sum")), kb_id)
        query = query.where(graph_triples.c.head_id > after, graph_triples.c.head_id <= upto).group_by(graph_triples.c.head_id)
        names: dict[int, int] = {}
        aliases = select(graph_aliases.c.entity_id, graph_aliases.c.alias).where(_is(graph_aliases.c.kb_id, kb_id), _is(graph_aliases.c.document_id, ""))
        aliases = aliases.where(graph_aliases.c.entity_id > after, graph_aliases.c.entity_id <= upto)
        for row in self._db.rows(aliases.order_by(graph_aliases.c.entity_id, graph_aliases.c.alias_key)):
            names[row.entity_id] = zlib.crc32(row.alias.encode("utf-8", "replace"), names.get(row.entity_id, 0))
        rows = self._db.rows(query)
        marks = {row.head_id: f"{row.facts}.{int(row.sum)}.{names.get(row.head_id, 0)}" for row in rows}
        return Page(after, upto, marks, {row.head_id: row.facts for row in rows}, entities)

    def read(self, kb_id: str, ids: Sequence[int]) -> list[Head]:
        """These heads with their facts, by id; one that says nothing any more is left out. At most MOST_FACTS each, read at once: mind their sum."""
        found: list[Head] = []
        for start in range(0, len(ids), _IDS):
            some = ids[start : start + _IDS]
            facts = self._facts(kb_id, some)
            aliases = self._aliases(some)
            rows = self._db.rows(select(graph_entities).where(graph_entities.c.id.in_(list(facts))).order_by(graph_entities.c.id))
            found += [Head(row.id, row.name, row.type, tuple(aliases.get(row.id, ())), tuple(facts[row.id])) for row in rows]
        return found

    def read_hub(self, kb_id: str, entity_id: int, facts: int) -> list[Head]:
        """As `read`, of one that has so many facts: the first MOST_FACTS of them."""
        found = self._facts(kb_id, [entity_id], most=MOST_FACTS)
        rows = self._db.rows(select(graph_entities).where(graph_entities.c.id.in_(list(found))))
        aliases = self._aliases([entity_id])
        some = [(row, found[row.id]) for row in rows]
        return [Head(row.id, row.name, row.type, tuple(aliases.get(row.id, ())), tuple(said), max(0, facts - len(said))) for row, said in some]

    def _facts(self, kb_id: str, ids: Sequence[int], most: int | None = None) -> dict[int, list[tuple[str, str]]]:
        tails = graph_entities.alias("tails")
        query = _said(select(graph_triples.c.head_id, graph_relations.c.name.label("relation"), tails.c.name.label("tail")), kb_id)
        query = query.where(
            graph_triples.c.head_id.in_(ids), graph_relations.c.id == graph_triples.c.relation_id, tails.c.id == graph_triples.c.tail_id
        )
        found: dict[int, list[tuple[str, str]]] = {}
        for row in self._db.rows(query.order_by(graph_triples.c.id).limit(most)):
            found.setdefault(row.head_id, []).append((row.relation, row.tail))
        return found

    def _aliases(self, ids: Sequence[int]) -> dict[int, list[str]]:
        query = select(graph_aliases.c.entity_id, graph_aliases.c.alias).where(graph_aliases.c.entity_id.in_(ids), _is(graph_aliases.c.document_id, ""))
        found: dict[int, list[str]] = {}
        for row in self._db.rows(query.order_by(graph_aliases.c.entity_id, graph_aliases.c.alias_key)):
            names = found.setdefault(row.entity_id, [])
            if row.alias not in names and len(names) < MOST_NAMED:
                names.append(row.alias)
        return found


def _said(query: Select[Any], kb_id: str) -> Select[Any]:
    """Of the triples that are said outside of all documents."""
    outside = exists().where(graph_mentions.c.triple_id == graph_triples.c.id, _is(graph_mentions.c.document_id, ""))
    return query.where(_is(graph_triples.c.kb_id, kb_id), outside)


def _is(column: Column[Any], value: str) -> ColumnElement[bool]:
    """Said so that no database takes the column's index for the way to a page of ids, or to one triple: it would read the whole graph for each."""
    return func.coalesce(column, "") == value
