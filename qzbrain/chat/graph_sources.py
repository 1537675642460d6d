"""Where the triples of a graph's answer are said, as citations. Reads SQL.

A triple that a document says is cited by the place in it, where the quote still stands; an imported one by the text in which the facts of its head are told,
and while that is not there by what was imported, which stands in no document. Triples of one place share a citation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote as escaped

import orjson
from sqlalchemy import bindparam, func, select

from qzbrain.domain import Citation, CitedFact
from qzbrain.graph.answered import AnswerStep
from qzbrain.graph.base import Place, Triple
from qzbrain.graph.telling import line_of
from qzbrain.storage.database import Database
from qzbrain.storage.tables import chunks, document_texts, documents, graph_told

_PLACE = (
    select(documents.c.external_id, documents.c.name, documents.c.title, func.substr(document_texts.c.text, bindparam("first"), bindparam("length")))
    .join(document_texts, document_texts.c.document_id == documents.c.id)
    .where(documents.c.id == bindparam("document"))
)
_CHUNK = (
    select(chunks.c.heading_path, chunks.c.page)
    .where(chunks.c.document_id == bindparam("document"), chunks.c.start <= bindparam("start"), chunks.c.end > bindparam("start"), chunks.c.disabled == 0)
    .order_by(chunks.c.start.desc())
    .limit(1)
)
_TOLD = (
    select(graph_told.c.document_id, documents.c.name, documents.c.title, document_texts.c.text)
    .join(documents, documents.c.id == graph_told.c.document_id)
    .join(document_texts, document_texts.c.document_id == documents.c.id)
    .where(graph_told.c.entity_id == bindparam("entity"))
)


@dataclass(frozen=True, slots=True)
class FactSources:
    """Citations, numbered from 1, and for each step of the answer the number of its own."""

    citations: tuple[Citation, ...] = ()
    numbers: tuple[int, ...] = ()


class GraphSources:
    """Cites triples. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._place, self._chunk, self._told = database.prepared(_PLACE), database.prepared(_CHUNK), database.prepared(_TOLD)

    def of(self, steps: Sequence[AnswerStep], knowledge_base: str) -> FactSources | None:
        """Where these are said; None when a document that said one of them no longer does, and nothing else says it."""
        found: dict[tuple[Any, ...], Citation] = {}
        keys: list[tuple[Any, ...]] = []
        told: dict[int, Any] = {}
        for step in steps:
            citation = self._citation(step.triple, told, knowledge_base)
            if citation is None:
                return None
            fact = _fact(step.triple, knowledge_base)
            key = citation.document_id, citation.start, citation.end, "" if citation.document_id else citation.quote
            there = found.get(key)
            found[key] = replace(citation, facts=(fact,)) if there is None else replace(there, facts=tuple(dict.fromkeys((*there.facts, fact))))
            keys.append(key)
        numbers = {key: number for number, key in enumerate(found, 1)}
        return FactSources(tuple(replace(one, index=numbers[key]) for key, one in found.items()), tuple(numbers[key] for key in keys))

    def _citation(self, triple: Triple, told: dict[int, Any], knowledge_base: str) -> Citation | None:
        for place in triple.places:
            if place.document_id and (citation := self._at(place)) is not None:
                return citation
        if all(place.document_id for place in triple.places):
            return None
        if triple.head.id not in told:
            rows = self._told(entity=triple.head.id)
            told[triple.head.id] = rows[0] if rows else None
        row = told[triple.head.id]
        span = None if row is None else line_of(row[3], triple.head.name, triple.relation, triple.tail.name)
        if row is None or span is None:
            return _undocumented(triple, knowledge_base)
        return _cited(row[0], None, row[1], row[2], (), None, *span, row[3][slice(*span)])

    def _at(self, place: Place) -> Citation | None:
        """The place in its document, if the quote stands there now."""
        rows = self._place(document=place.document_id, first=place.start + 1, length=place.end - place.start)
        if not place.quote or not rows or rows[0][3] != place.quote:
            return None
        external_id, name, title, _ = rows[0]
        around = self._chunk(document=place.document_id, start=place.start)
        path, page = (tuple(orjson.loads(around[0][0])), around[0][1]) if around else ((), None)
        return _cited(place.document_id, external_id or None, name, title, path, page, place.start, place.end, place.quote)


def graph_address(knowledge_base: str, entity_id: str) -> str:
    """The console's page of a graph with this entity in the middle."""
    return f"/graph/{escaped(knowledge_base, safe='')}?entity={entity_id}"


def _fact(triple: Triple, knowledge_base: str) -> CitedFact:
    source = next((place.source for place in triple.places if not place.document_id), "")
    return CitedFact(knowledge_base, str(triple.head.id), triple.head.name, triple.relation, str(triple.tail.id), triple.tail.name, source)


def _undocumented(triple: Triple, knowledge_base: str) -> Citation:
    """What was imported, word for word; it stands in no document, and the address is that of its entity."""
    said = f"{triple.head.name} | {triple.relation} | {triple.tail.name}"
    source = next((place.source for place in triple.places if not place.document_id and place.source), "")
    citation = _cited("", None, source or knowledge_base, source or knowledge_base, (), None, 0, len(said), said)
    return replace(citation, url=graph_address(knowledge_base, str(triple.head.id)))


def _cited(
    document_id: str, external_id: str | None, name: str, title: str, path: tuple[str, ...], page: int | None, start: int, end: int, quote: str
) -> Citation:
    return Citation(
        index=0,
        document_id=document_id,
        external_id=external_id,
        document=name,
        title=title or name,
        heading_path=path,
        page=page,
        start=start,
        end=end,
        quote=quote,
        url=f"/documents/{document_id}?start={start}&end={end}",
        cited=False,
        supported=None,
    )
