"""Joint retrieval: articles named by number first, then what the index ranks best, filled with text and place from SQL.

Merging several knowledge bases: raw scores of different statistics do not compare, coverage does. So each knowledge base's hits keep
their own order and their scores are scaled to its best hit, times that hit's confidence: the base that covers more of the question leads.
A hit whose row is gone (deleted a moment ago) is dropped; more is fetched to keep `top_k`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import orjson
from sqlalchemy import Row, bindparam, select

from qzbrain.domain import Degraded, Hit, ReadScope, SearchResult, SourceScore
from qzbrain.retrieval.base import LexicalHit, SearchIndex
from qzbrain.retrieval.references import ReferenceHit, References
from qzbrain.settings import Settings
from qzbrain.storage.database import Database
from qzbrain.storage.tables import chunks, documents, knowledge_bases

Mode = Literal["auto", "lexical", "semantic", "hybrid"]

SPARE = 5
_NO_SEMANTIC = Degraded("semantic", "no embedding model is configured; searched by words")
_NO_INDEX = "the search index of knowledge base {} is missing or being rebuilt"

_ROWS = (
    select(
        chunks.c.id, chunks.c.document_id, chunks.c.kb_id, chunks.c.ordinal, chunks.c.text, chunks.c.start, chunks.c.end, chunks.c.page,
        chunks.c.heading_path, documents.c.external_id, documents.c.name, documents.c.title, knowledge_bases.c.name.label("knowledge_base"),
    )
    .join(documents, documents.c.id == chunks.c.document_id)
    .join(knowledge_bases, knowledge_bases.c.id == chunks.c.kb_id)
    .where(chunks.c.id.in_(bindparam("ids", expanding=True)))
)  # fmt: skip
_HAS_CHUNKS = select(chunks.c.id).where(chunks.c.kb_id == bindparam("kb")).limit(1)


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What to look for. `min_confidence`: hits below it are left out. `mode` auto takes what is configured."""

    text: str
    top_k: int = 10
    mode: Mode = "auto"
    min_confidence: float | None = None


@dataclass(frozen=True, slots=True)
class _Candidate:
    chunk_id: int
    kb_id: str
    score: float
    confidence: float
    sources: dict[str, SourceScore] = field(default_factory=dict)


class Retriever:
    """Searches what a scope allows."""

    def __init__(self, database: Database, index: SearchIndex, settings: Settings, report_missing: Callable[[str], None] = lambda _kb_id: None) -> None:
        """`report_missing` is told of each knowledge base that a search found without a usable index."""
        self._report_missing = report_missing
        self._db = database
        self._index = index
        self._references = References(database, index)
        self._threshold = settings.answer_threshold

    def search(self, query: SearchQuery, scope: ReadScope) -> SearchResult:
        """Best first; the same question over the same knowledge gives the same hits. A question without content words finds nothing."""
        started = time.perf_counter()
        degraded = [_NO_SEMANTIC] if query.mode in ("semantic", "hybrid") else []
        named = self._references.find(query.text, scope)
        wanted = query.top_k + SPARE
        hits: list[Hit] = []
        while True:
            candidates, exhausted = self._candidates(query.text, scope, named, wanted)
            hits = self._filled(candidates, scope, query)
            if len(hits) >= query.top_k or exhausted or wanted > 8 * query.top_k:
                break
            wanted *= 3
        hits = hits[: query.top_k]
        confidence = max((hit.confidence for hit in hits), default=0.0)
        degraded += self._unusable(scope)
        took_ms = (time.perf_counter() - started) * 1e3
        return SearchResult(tuple(hits), confidence, bool(hits) and confidence >= self._threshold, tuple(degraded), took_ms)

    def _candidates(self, text: str, scope: ReadScope, named: Sequence[ReferenceHit], wanted: int) -> tuple[list[_Candidate], bool]:
        """Named articles, then lexical hits; and whether the indexes have no more to give."""
        found: list[_Candidate] = []
        exhausted = True
        for kb_id in scope.kb_ids:
            hits = self._index.search(kb_id, text, top_k=wanted, document_ids=scope.document_ids)
            exhausted = exhausted and len(hits) < wanted
            found += _scaled(kb_id, hits, alone=len(scope.kb_ids) == 1)
        found.sort(key=lambda c: (-c.score, c.chunk_id))
        lexical = {c.chunk_id: replace(c, sources={"lexical": SourceScore(rank, c.sources["lexical"].score)}) for rank, c in enumerate(found, 1)}
        first = [_referenced(rank, hit, lexical.pop(hit.chunk_id, None), found) for rank, hit in enumerate(named, 1)]
        return first + list(lexical.values()), exhausted

    def _filled(self, candidates: Sequence[_Candidate], scope: ReadScope, query: SearchQuery) -> list[Hit]:
        least = query.min_confidence or 0.0
        wanted = [c for c in candidates if c.confidence >= least]
        if not wanted:
            return []
        rows = {row.id: row for row in self._db.rows(_ROWS, {"ids": [c.chunk_id for c in wanted]})}
        return [_hit(c, rows[c.chunk_id]) for c in wanted if c.chunk_id in rows and rows[c.chunk_id].kb_id in scope.kb_ids]

    def _unusable(self, scope: ReadScope) -> list[Degraded]:
        """Knowledge bases that have chunks and no index to search them by."""
        missing = [kb_id for kb_id in scope.kb_ids if self._index.watermark(kb_id) < 0 and self._db.rows(_HAS_CHUNKS, {"kb": kb_id})]
        for kb_id in missing:
            self._report_missing(kb_id)
        return [Degraded("lexical", _NO_INDEX.format(kb_id)) for kb_id in missing]


def _scaled(kb_id: str, hits: Sequence[LexicalHit], *, alone: bool) -> list[_Candidate]:
    best = max((hit.score for hit in hits), default=0.0)
    lead = 1.0 if alone or not best else max(hit.confidence for hit in hits) / best
    return [_Candidate(h.chunk_id, kb_id, h.score * lead, h.confidence, {"lexical": SourceScore(0, h.score)}) for h in hits]


def _referenced(rank: int, hit: ReferenceHit, lexical: _Candidate | None, found: Sequence[_Candidate]) -> _Candidate:
    """A named article stands above every lexical hit; its lexical view is kept where there is one."""
    above = found[0].score if found else 0.0
    sources = {"reference": SourceScore(rank, hit.confidence), **(lexical.sources if lexical else {})}
    return _Candidate(hit.chunk_id, hit.kb_id, above + hit.confidence, max(hit.confidence, lexical.confidence if lexical else 0.0), sources)


def _hit(candidate: _Candidate, row: Row[Any]) -> Hit:
    return Hit(
        chunk_id=row.id,
        document_id=row.document_id,
        external_id=row.external_id or None,
        document=row.name,
        title=row.title,
        kb_id=row.kb_id,
        knowledge_base=row.knowledge_base,
        heading_path=tuple(orjson.loads(row.heading_path)),
        ordinal=row.ordinal,
        text=row.text,
        start=row.start,
        end=row.end,
        page=row.page,
        score=candidate.score,
        confidence=candidate.confidence,
        sources=candidate.sources,
    )
