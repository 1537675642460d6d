"""Joint retrieval: articles named by number first, then what the index ranks best, filled with text and place from SQL.

Merging several knowledge bases: raw scores of different statistics do not compare, coverage does. So each knowledge base's hits keep
their own order and their scores are scaled to its best hit, times that hit's confidence: the base that covers more of the question leads.
A hit whose row is gone (deleted a moment ago) is dropped; more is fetched to keep `top_k`.
While an index's server is away, articles named by number are still found, and the result says what could not be searched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from sqlalchemy import bindparam, select

from qzbrain import logs
from qzbrain.domain import LEXICAL_PART, Degraded, Hit, ReadScope, SearchResult, SourceScore
from qzbrain.errors import IndexUnavailable
from qzbrain.retrieval.base import LexicalHit, SearchIndex
from qzbrain.retrieval.references import ReferenceHit, References
from qzbrain.settings import Settings
from qzbrain.storage.database import Database
from qzbrain.storage.tables import chunks, documents, knowledge_bases

log = logs.get(__name__)

Mode = Literal["auto", "lexical", "semantic", "hybrid"]

SPARE = 5
BLOCK = 16
"""Rows looked up at once: a list of fixed length, so that the statement can be prepared."""
_NO_SEMANTIC = Degraded("semantic", "no embedding model is configured; searched by words")
_NO_INDEX = "the search index of knowledge base {} is missing or being rebuilt"
_IDS = [f"id{n}" for n in range(BLOCK)]

_ROWS = (
    select(
        chunks.c.id, chunks.c.document_id, chunks.c.kb_id, chunks.c.ordinal, chunks.c.text, chunks.c.start, chunks.c.end, chunks.c.page,
        chunks.c.heading_path, documents.c.external_id, documents.c.name, documents.c.title, knowledge_bases.c.name.label("knowledge_base"),
    )
    .join(documents, documents.c.id == chunks.c.document_id)
    .join(knowledge_bases, knowledge_bases.c.id == chunks.c.kb_id)
    .where(chunks.c.id.in_([bindparam(name) for name in _IDS]))
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
    sources: dict[str, SourceScore]


class Retriever:
    """Searches what a scope allows."""

    def __init__(self, database: Database, index: SearchIndex, settings: Settings, report_missing: Callable[[str], None] = lambda _kb_id: None) -> None:
        """`report_missing` is told of each knowledge base that a search found without a usable index."""
        self._report_missing = report_missing
        self._rows = database.prepared(_ROWS)
        self._any_chunk = database.prepared(_HAS_CHUNKS)
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
        away: dict[str, IndexUnavailable] = {}
        while True:
            candidates, exhausted = self._candidates(query.text, scope, named, wanted, away)
            hits = self._filled(candidates, scope, query)
            if len(hits) >= query.top_k or exhausted or wanted > 8 * query.top_k:
                break
            wanted *= 3
        confidence = max((hit.confidence for hit in hits), default=0.0)
        answered = {c.kb_id for c in candidates if "lexical" in c.sources}
        degraded += self._unusable([kb_id for kb_id in scope.kb_ids if kb_id not in answered], away)
        took_ms = (time.perf_counter() - started) * 1e3
        return SearchResult(tuple(hits), confidence, bool(hits) and confidence >= self._threshold, tuple(degraded), took_ms)

    def _candidates(
        self, text: str, scope: ReadScope, named: Sequence[ReferenceHit], wanted: int, away: dict[str, IndexUnavailable]
    ) -> tuple[list[_Candidate], bool]:
        """Named articles, then lexical hits; and whether the indexes have no more to give. `away` takes the knowledge bases that gave none."""
        found: list[tuple[float, str, LexicalHit]] = []
        exhausted = True
        for kb_id in scope.kb_ids:
            try:
                hits = [] if kb_id in away else self._index.search(kb_id, text, top_k=wanted, document_ids=scope.document_ids)
            except IndexUnavailable as exc:
                hits, away[kb_id] = [], exc
            exhausted = exhausted and len(hits) < wanted
            found += _scaled(kb_id, hits, alone=len(scope.kb_ids) == 1)
        found.sort(key=lambda one: (-one[0], one[2].chunk_id))
        lexical = {
            hit.chunk_id: _Candidate(hit.chunk_id, kb_id, score, hit.confidence, {"lexical": SourceScore(rank, hit.score)})
            for rank, (score, kb_id, hit) in enumerate(found, 1)
        }
        above = found[0][0] if found else 0.0
        first = [_referenced(rank, hit, lexical.pop(hit.chunk_id, None), above) for rank, hit in enumerate(named, 1)]
        return first + list(lexical.values()), exhausted

    def _filled(self, candidates: Sequence[_Candidate], scope: ReadScope, query: SearchQuery) -> list[Hit]:
        """The first `top_k` candidates whose rows are there and in scope."""
        least = query.min_confidence or 0.0
        wanted = [c for c in candidates if c.confidence >= least]
        hits: list[Hit] = []
        for start in range(0, len(wanted), BLOCK):
            block = wanted[start : start + BLOCK]
            ids = [c.chunk_id for c in block] + [block[0].chunk_id] * (BLOCK - len(block))
            rows = {row[0]: row for row in self._rows(**dict(zip(_IDS, ids, strict=True)))}
            hits += [_hit(c, rows[c.chunk_id]) for c in block if c.chunk_id in rows and rows[c.chunk_id][2] in scope.kb_ids]
            if len(hits) >= query.top_k:
                break
        return hits[: query.top_k]

    def _unusable(self, kb_ids: Sequence[str], away: dict[str, IndexUnavailable]) -> list[Degraded]:
        """What of these knowledge bases could not be searched: their server is away, or they have chunks and no index."""
        missing: list[str] = []
        for kb_id in kb_ids:
            try:
                if kb_id not in away and self._index.watermark(kb_id) < 0 and self._any_chunk(kb=kb_id):
                    missing.append(kb_id)
            except IndexUnavailable as exc:
                away[kb_id] = exc
        for kb_id in missing:
            self._report_missing(kb_id)
        for code in {one.code for one in away.values()}:
            log.warning("search_unavailable", code=code)
        reasons = dict.fromkeys([*(one.en for one in away.values()), *(_NO_INDEX.format(kb_id) for kb_id in missing)])
        return [Degraded(LEXICAL_PART, reason) for reason in reasons]


def _scaled(kb_id: str, hits: Sequence[LexicalHit], *, alone: bool) -> list[tuple[float, str, LexicalHit]]:
    best = max((hit.score for hit in hits), default=0.0)
    lead = 1.0 if alone or not best else max(hit.confidence for hit in hits) / best
    return [(hit.score * lead, kb_id, hit) for hit in hits]


def _referenced(rank: int, hit: ReferenceHit, lexical: _Candidate | None, above: float) -> _Candidate:
    """A named article stands above every lexical hit, whose best score is `above`; its lexical view is kept where there is one."""
    sources = {"reference": SourceScore(rank, hit.confidence), **(lexical.sources if lexical else {})}
    return _Candidate(hit.chunk_id, hit.kb_id, above + hit.confidence, max(hit.confidence, lexical.confidence if lexical else 0.0), sources)


def _hit(candidate: _Candidate, row: tuple[Any, ...]) -> Hit:
    """`row` has the columns of _ROWS."""
    chunk_id, document_id, kb_id, ordinal, text, start, end, page, heading_path, external_id, name, title, knowledge_base = row
    return Hit(
        chunk_id=chunk_id,
        document_id=document_id,
        external_id=external_id or None,
        document=name,
        title=title,
        kb_id=kb_id,
        knowledge_base=knowledge_base,
        heading_path=tuple(orjson.loads(heading_path)),
        ordinal=ordinal,
        text=text,
        start=start,
        end=end,
        page=page,
        score=candidate.score,
        confidence=candidate.confidence,
        sources=candidate.sources,
    )
