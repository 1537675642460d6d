"""Joint retrieval: articles named by number first, then what words and meaning find together, filled with text and place from SQL.

Merging several knowledge bases: raw scores of different statistics do not compare, confidence does. So each knowledge base's hits keep
their own order and their scores are scaled to its best hit, times that hit's confidence: the base that covers more of the question leads.
A hit whose row is gone (deleted a moment ago), or of a higher level than may be seen (given one a moment ago), is dropped; more is fetched to
keep `top_k`.
While an index's server is away, articles named by number are still found, and the result says what could not be searched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

import orjson
from sqlalchemy import bindparam, select

from qzbrain import logs, metrics, tracing
from qzbrain.domain import GRAPH_PART, LEXICAL_PART, RERANK_PART, Degraded, Hit, ReadScope, SearchResult, SourceScore
from qzbrain.errors import EngineUnavailable, IndexUnavailable, Unavailable
from qzbrain.models.base import Reranker
from qzbrain.retrieval.base import LexicalHit, NoIndex, SearchIndex
from qzbrain.retrieval.dense import Dense, Meaning, without_embedder
from qzbrain.retrieval.entry_hits import EntryHits
from qzbrain.retrieval.facts import Facts, beside_texts
from qzbrain.retrieval.fusion import DEPTH, Certainty, FusedHit, fused
from qzbrain.retrieval.graph_hits import DEPTH as GRAPH_DEPTH
from qzbrain.retrieval.graph_hits import NearPassage, PassageGraphs, joined, placed
from qzbrain.retrieval.references import ReferenceHit, References
from qzbrain.retrieval.vectors import DenseHit
from qzbrain.settings import Settings
from qzbrain.stages import noting, stage
from qzbrain.storage.database import Database
from qzbrain.storage.tables import chunks, documents, knowledge_bases

log = logs.get(__name__)

Mode = Literal["auto", "lexical", "semantic", "hybrid"]
_NotSearched = IndexUnavailable | NoIndex

SPARE = 5
RERANKED = 30
"""Of the best so many are given to a reranker."""
BLOCK = 16
"""Rows looked up at once: a list of fixed length, so that the statement can be prepared."""
MOST_BEHIND = 2000
"""From so many on no more are fetched, however many an index gives whose level was raised before it followed."""
_NO_INDEX = "the search index of knowledge base {} is missing or being rebuilt"
_IDS = [f"id{n}" for n in range(BLOCK)]

_ROWS = (
    select(
        chunks.c.id, chunks.c.document_id, documents.c.kb_id, chunks.c.ordinal, chunks.c.text, chunks.c.start, chunks.c.end, chunks.c.page,
        chunks.c.heading_path, documents.c.external_id, documents.c.name, documents.c.title, knowledge_bases.c.name.label("knowledge_base"), documents.c.kind,
        documents.c.level,
    )
    .join(documents, documents.c.id == chunks.c.document_id)
    .join(knowledge_bases, knowledge_bases.c.id == documents.c.kb_id)
    .where(chunks.c.id.in_([bindparam(name) for name in _IDS]), chunks.c.disabled == 0)
)  # fmt: skip
_LEVELS = (
    select(chunks.c.id, documents.c.level)
    .join(documents, documents.c.id == chunks.c.document_id)
    .where(chunks.c.id.in_(bindparam("ids", expanding=True)))
)
_HAS_CHUNKS = select(chunks.c.id).where(chunks.c.kb_id == bindparam("kb")).limit(1)


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What to look for. `min_confidence`: hits below it are left out. `mode` auto takes what is configured.

    `weight`: of meaning, 0..1, instead of what the knowledge base's manifest says; for finding out what it should say.
    """

    text: str
    top_k: int = 10
    mode: Mode = "auto"
    min_confidence: float | None = None
    weight: float | None = None


@dataclass(frozen=True, slots=True)
class _Candidate:
    """`seen`: by words or meaning; `reference`: as a named article; `graph`: by what it has to do with what the question names."""

    chunk_id: int
    kb_id: str
    score: float
    confidence: float
    seen: FusedHit | None = None
    reference: SourceScore | None = None
    graph: SourceScore | None = None

    def sources(self) -> dict[str, SourceScore]:
        """Made for the few that are shown: for all of them it took a millisecond (2026-11-28)."""
        seen = self.seen
        found = {} if self.reference is None else {"reference": self.reference}
        sides = {"lexical": seen.lexical, "semantic": seen.semantic} if seen is not None else {}
        found |= {name: SourceScore(*one) for name, one in sides.items() if one is not None}
        return found if self.graph is None else {**found, "graph": self.graph}


class Retriever:
    """Searches what a scope allows."""

    def __init__(
        self,
        database: Database,
        index: SearchIndex,
        settings: Settings,
        report_missing: Callable[[str], None] = lambda _kb_id: None,
        *,
        dense: Dense | None = None,
        reranker: Reranker | None = None,
        graphs: PassageGraphs | None = None,
    ) -> None:
        """`report_missing` is told of each knowledge base that a search found without a usable index. `dense`: None searches by words alone."""
        self._report_missing = report_missing
        self._rows = database.prepared(_ROWS)
        self._any_chunk = database.prepared(_HAS_CHUNKS)
        self._db = database
        self._index = index
        self._dense, self._reranker, self._graphs = dense, reranker, graphs
        self._facts = Facts(database, index, report_missing) if settings.kginsert_facts else None
        self._rerank_timeout_s = settings.rerank_timeout_s
        self._references = References(database, index)
        self.entries = EntryHits(database)
        self._threshold = settings.answer_threshold
        self._slow_ms, self._log_content = settings.slow_search_ms, settings.log_content == "on"

    def search(self, query: SearchQuery, scope: ReadScope) -> SearchResult:
        """Best first; the same question over the same knowledge gives the same hits. By words alone, one without content words finds nothing."""
        stages: dict[str, float] = {}
        with tracing.span("search", mode=query.mode, top_k=query.top_k, knowledge_bases=len(scope.kb_ids)) as span, noting(stages):
            found = self._search(query, scope, stages)
            span.set(hits=len(found.hits), answerable=found.answerable)
            span.content(query=query.text)
        metrics.SEARCH_SECONDS.observe(found.took_ms / 1e3)
        if 0 < self._slow_ms < found.took_ms:
            self._tell_slow(query, scope, found)
        return found

    def _tell_slow(self, query: SearchQuery, scope: ReadScope, found: SearchResult) -> None:
        metrics.SLOW.labels("search").inc()
        more: dict[str, object] = {f"{name}_ms": round(ms, 1) for name, ms in found.stages.items()}
        if self._log_content:
            more["query"] = query.text
        log.warning(
            "slow_search", took_ms=round(found.took_ms, 1), mode=query.mode, knowledge_bases=len(scope.kb_ids), hits=len(found.hits),
            query_chars=len(query.text), degraded=[one.part for one in found.degraded], **more,
        )  # fmt: skip

    def _search(self, query: SearchQuery, scope: ReadScope, stages: dict[str, float]) -> SearchResult:
        started = time.perf_counter()
        reranked = self._reranker is not None and query.mode != "lexical"
        shown = max(query.top_k, RERANKED) if reranked else query.top_k
        wanted = shown + SPARE
        meaning = self._meaning(query, scope, wanted)
        with stage("references"):
            named = self._references.find(query.text, scope)
        degraded = list[Degraded]()
        with stage("graph"):
            near = self._near(query, scope, named, degraded)
        hits: list[Hit] = []
        away: dict[str, _NotSearched] = {}
        while True:
            candidates, exhausted = self._candidates(query, scope, named, wanted, away, meaning)
            candidates = _with_graph(candidates, near)
            with stage("fill"):
                filled, hidden = self._filled(candidates, scope, query, shown)
                hits = self._with_entries(query.text, filled)
            if len(hits) >= shown or exhausted or wanted > (MOST_BEHIND if hidden else 8 * shown):
                break
            wanted *= 3
        degraded[:0] = meaning.degraded
        if reranked:
            with stage("rerank"):
                hits = self._reranked(query.text, hits, degraded)[: query.top_k]
        confidence = max((hit.confidence for hit in hits), default=0.0)
        degraded += self._unusable(away)
        took_ms = (time.perf_counter() - started) * 1e3
        return SearchResult(tuple(hits), confidence, bool(hits) and confidence >= self._threshold, tuple(degraded), took_ms, meaning.vector, dict(stages))

    def _near(
        self, query: SearchQuery, scope: ReadScope, named: Sequence[ReferenceHit], degraded: list[Degraded]
    ) -> dict[str, Sequence[NearPassage]]:
        """By knowledge base, what the graphs lead to; nothing while they are away, and then `degraded` is told."""
        if self._graphs is None or query.mode not in ("auto", "hybrid"):
            return {}
        articles = {kb_id: [hit.chunk_id for hit in named if hit.kb_id == kb_id] for kb_id in scope.kb_ids}
        try:
            found = {
                kb_id: self._graphs.near(kb_id, query.text, chunk_ids, top_k=GRAPH_DEPTH, ceiling=scope.max_level(kb_id))
                for kb_id, chunk_ids in articles.items()
            }
        except Unavailable as exc:
            log.warning("graph_unavailable", code=exc.code)
            degraded.append(Degraded(GRAPH_PART, exc.en))
            return {}
        return {kb_id: some for kb_id, all_ in found.items() if (some := self._seen_of(all_, scope.max_level(kb_id)))}

    def _seen_of(self, passages: Sequence[NearPassage], max_level: int | None) -> Sequence[NearPassage]:
        """Those of at most this level: what is hidden must not take the place of what is shown, nor move it."""
        if max_level is None or not passages:
            return passages
        seen = {row.id for row in self._db.rows(_LEVELS, {"ids": [one.chunk_id for one in passages]}) if row.level <= max_level}
        return [one for one in passages if one.chunk_id in seen]

    def _meaning(self, query: SearchQuery, scope: ReadScope, wanted: int) -> Meaning:
        """What can be searched by meaning; of the first such knowledge base the search is under way."""
        if query.mode == "lexical":
            return Meaning()
        asked_for, dense = query.mode != "auto", self._dense
        if dense is None:
            return without_embedder(asked_for=asked_for)
        meaning = dense.meaning(query.text, scope.kb_ids, asked_for=asked_for)
        for kb_id in list(meaning.spaces)[:1]:
            dense.begin(meaning, kb_id, top_k=max(wanted, DEPTH), document_ids=scope.document_ids, max_level=scope.max_level(kb_id))
        return meaning

    def _candidates(
        self, query: SearchQuery, scope: ReadScope, named: Sequence[ReferenceHit], wanted: int, away: dict[str, _NotSearched], meaning: Meaning
    ) -> tuple[list[_Candidate], bool]:
        """Named articles, then the others; and whether the indexes have no more to give. `away` takes the knowledge bases that gave none."""
        found: list[tuple[float, str, FusedHit]] = []
        exhausted = True
        for kb_id in scope.kb_ids:
            facts = self._told(kb_id, query, scope, wanted, away)
            hits, over = self._of_base(kb_id, query, scope, wanted, away, meaning, refers=bool(named))
            hits = beside_texts(hits, facts)
            exhausted = exhausted and over and len(facts) < wanted
            found += _scaled(kb_id, hits, alone=len(scope.kb_ids) == 1)
        found.sort(key=lambda one: (-one[0], one[2].chunk_id))
        ranked = {hit.chunk_id: _Candidate(hit.chunk_id, kb_id, score, hit.confidence, hit) for score, kb_id, hit in found}
        above = found[0][0] if found else 0.0
        first = [_referenced(rank, hit, ranked.pop(hit.chunk_id, None), above) for rank, hit in enumerate(named, 1)]
        return first + list(ranked.values()), exhausted

    def _of_base(
        self, kb_id: str, query: SearchQuery, scope: ReadScope, wanted: int, away: dict[str, _NotSearched], meaning: Meaning, *, refers: bool
    ) -> tuple[list[FusedHit], bool]:
        """One knowledge base's hits in their order, and whether there are no more. `refers`: the question names an article."""
        depth = max(wanted, DEPTH) if kb_id in meaning.spaces else wanted
        words, near = self._seen(kb_id, query, scope, depth, away, meaning)
        over = len(words) < depth and len(near) < depth
        space, dense = meaning.spaces.get(kb_id), self._dense
        if space is not None and dense is not None:
            manifest = space.manifest
            weight = 1.0 if query.mode == "semantic" else manifest.reference_weight if refers else manifest.weight if query.weight is None else query.weight
            certainty = Certainty(manifest.cosine_floor, manifest.cosine_span)
            most = wanted if query.min_confidence is None else None
            level = scope.max_level(kb_id)

            def cosines(ids: Sequence[int]) -> dict[int, float]:
                return dense.cosines(meaning, kb_id, ids, max_level=level)

            hits = fused(words, near, weight=weight, certainty=certainty, cosines=cosines, most=most)
            if kb_id in meaning.spaces:  # the store may have gone away just now
                return hits, over and (most is None or len(hits) < most)
        return [FusedHit(x.chunk_id, x.score, x.confidence, (n, x.score), None) for n, x in enumerate(words, 1)], over

    def _seen(
        self, kb_id: str, query: SearchQuery, scope: ReadScope, depth: int, away: dict[str, _NotSearched], meaning: Meaning
    ) -> tuple[list[LexicalHit], list[DenseHit]]:
        """What words and what meaning find, looked for side by side; words alone when the store turns out to be lost, or meaning alone when asked."""
        dense = self._dense
        if dense is None or kb_id not in meaning.spaces:
            return self._by_words(kb_id, query, scope, depth, away), []
        if query.mode == "semantic":
            near = dense.search(meaning, kb_id, top_k=depth, document_ids=scope.document_ids, max_level=scope.max_level(kb_id))
            return [] if kb_id in meaning.spaces else self._by_words(kb_id, query, scope, depth, away), near
        max_level = scope.max_level(kb_id)
        if (kb_id, depth) not in meaning.begun:
            dense.begin(meaning, kb_id, top_k=depth, document_ids=scope.document_ids, max_level=max_level)
        words = self._by_words(kb_id, query, scope, depth, away)
        return words, dense.search(meaning, kb_id, top_k=depth, document_ids=scope.document_ids, max_level=max_level)

    def _told(self, kb_id: str, query: SearchQuery, scope: ReadScope, depth: int, away: dict[str, _NotSearched]) -> list[LexicalHit]:
        """What is found of the facts of its graph. They have no vectors: what they mean the graph itself knows."""
        if self._facts is None or query.mode == "semantic" or kb_id in away:
            return []
        try:
            with stage("facts"):
                return self._facts.search(kb_id, query.text, top_k=depth, document_ids=scope.document_ids, max_level=scope.max_level(kb_id))
        except IndexUnavailable as exc:
            away[kb_id] = exc
            return []

    def _by_words(self, kb_id: str, query: SearchQuery, scope: ReadScope, depth: int, away: dict[str, _NotSearched]) -> list[LexicalHit]:
        if kb_id in away:
            return []
        try:
            with stage("words"):
                return self._index.search(kb_id, query.text, top_k=depth, document_ids=scope.document_ids, max_level=scope.max_level(kb_id))
        except (IndexUnavailable, NoIndex) as exc:
            away[kb_id] = exc
            return []

    def _reranked(self, question: str, hits: Sequence[Hit], degraded: list[Degraded]) -> list[Hit]:
        """Named articles stay first; the rest in the reranker's order, ties in the order before. When it fails, all as they were."""
        reranker = self._reranker
        rest = [hit for hit in hits if "reference" not in hit.sources]
        if reranker is None or len(rest) < 2:
            return list(hits)
        try:
            scores = reranker.rerank(question, [hit.text for hit in rest], timeout_s=self._rerank_timeout_s)
        except EngineUnavailable as exc:
            log.warning("not_reranked", code=exc.code, reason=exc.en)
            degraded.append(Degraded(RERANK_PART, exc.en))
            return list(hits)
        order = sorted(range(len(rest)), key=lambda n: -scores[n])
        places = {n: rank for rank, n in enumerate(order, 1)}
        judged = [replace(hit, sources={**hit.sources, "rerank": SourceScore(places[n], scores[n])}) for n, hit in enumerate(rest)]
        return [*(hit for hit in hits if "reference" in hit.sources), *(judged[n] for n in order)]

    def _filled(self, candidates: Sequence[_Candidate], scope: ReadScope, query: SearchQuery, most: int) -> tuple[list[Hit], bool]:
        """The first `most` candidates whose rows are there and in scope; and whether the level of one was too high, so that the index is behind."""
        least = query.min_confidence or 0.0
        wanted = [c for c in candidates if c.confidence >= least]
        hits: list[Hit] = []
        hidden = False
        for start in range(0, len(wanted), BLOCK):
            block = wanted[start : start + BLOCK]
            ids = [c.chunk_id for c in block] + [block[0].chunk_id] * (BLOCK - len(block))
            rows = {row[0]: row for row in self._rows(**dict(zip(_IDS, ids, strict=True)))}
            shown = (_hit(c, rows[c.chunk_id]) for c in block if c.chunk_id in rows and _allowed(rows[c.chunk_id], scope))
            hits += islice(shown, most - len(hits))
            hidden = hidden or (bool(scope.max_levels) and not all(_cleared(row, scope) for row in rows.values()))
            if len(hits) >= most:
                break
        return hits, hidden

    def _with_entries(self, question: str, hits: list[Hit]) -> list[Hit]:
        """Curated entries with how surely they answer; without those that are not in force, and behind all else one that says it does not answer this."""
        found = self.entries.in_force([hit.document_id for hit in hits if hit.kind == "entry"]) if any(hit.kind == "entry" for hit in hits) else {}
        kept: list[Hit] = []
        denied: list[Hit] = []
        rank = 0
        for hit in hits:
            entry = found.get(hit.document_id)
            if hit.kind != "entry":
                kept.append(hit)
            elif entry is not None:
                rank += 1
                score = entry.match(question)
                told = replace(hit, sources={**hit.sources, "entry": SourceScore(rank, score)})
                (denied if entry.denies(question) else kept).append(told)
        return kept + denied

    def _unusable(self, away: Mapping[str, _NotSearched]) -> list[Degraded]:
        """What these knowledge bases, which were not searched by words, lack: their server is away, or they have chunks and no index."""
        missing = [kb_id for kb_id, why in away.items() if isinstance(why, NoIndex) and self._any_chunk(kb=kb_id)]
        for kb_id in missing:
            self._report_missing(kb_id)
        unavailable = [why for why in away.values() if isinstance(why, IndexUnavailable)]
        for code in {one.code for one in unavailable}:
            log.warning("search_unavailable", code=code)
        reasons = dict.fromkeys([*(one.en for one in unavailable), *(_NO_INDEX.format(kb_id) for kb_id in missing)])
        return [Degraded(LEXICAL_PART, reason) for reason in reasons]


def _scaled(kb_id: str, hits: Sequence[FusedHit], *, alone: bool) -> list[tuple[float, str, FusedHit]]:
    """One knowledge base's hits as they compare with others': see the module's docstring."""
    best = max((hit.score for hit in hits), default=0.0)
    lead = 1.0 if alone or not best else max(hit.confidence for hit in hits) / best
    return [(hit.score * lead, kb_id, hit) for hit in hits]


def _referenced(rank: int, hit: ReferenceHit, found: _Candidate | None, above: float) -> _Candidate:
    """A named article stands above every other hit, whose best score is `above`; its other views are kept where there are some."""
    confidence = max(hit.confidence, found.confidence if found else 0.0)
    seen = found.seen if found else None
    return _Candidate(hit.chunk_id, hit.kb_id, above + hit.confidence, confidence, seen, SourceScore(rank, hit.confidence))


def _with_graph(candidates: list[_Candidate], near: dict[str, Sequence[NearPassage]]) -> list[_Candidate]:
    """Named articles first, as before; the others in the order of their scores with what the graphs add."""
    if not near:
        return candidates
    first = [c for c in candidates if c.reference is not None]
    rest = {c.chunk_id: c for c in candidates if c.reference is None}
    best = max((c.score for c in rest.values()), default=1.0) or 1.0
    for kb_id, passages in near.items():
        for rank, one in enumerate(passages, 1):
            told, source = rest.get(one.chunk_id), SourceScore(rank, one.score)
            score = joined(None if told is None else told.score, one.score, best)
            rest[one.chunk_id] = _Candidate(one.chunk_id, kb_id, score, 0.0, graph=source) if told is None else replace(told, score=score, graph=source)
    some = sorted(rest.values(), key=lambda c: c.chunk_id)
    ordered = [replace(some[at], score=score) for at, score in placed([(c.score, c.seen is not None) for c in some])]
    above = max(0.0, ordered[0].score - best) if ordered else 0.0
    return [*(replace(c, score=c.score + above) for c in first), *ordered]


def _allowed(row: tuple[Any, ...], scope: ReadScope) -> bool:
    """Whether a row of _ROWS is in scope: a graph leads wherever it leads, and a level may have been raised a moment ago."""
    return row[2] in scope.kb_ids and (scope.document_ids is None or row[1] in scope.document_ids) and _cleared(row, scope)


def _cleared(row: tuple[Any, ...], scope: ReadScope) -> bool:
    """Whether a row of _ROWS is of a level that may be seen."""
    most = scope.max_level(row[2])
    return most is None or row[-1] <= most


def _hit(candidate: _Candidate, row: tuple[Any, ...]) -> Hit:
    """`row` has the columns of _ROWS."""
    chunk_id, document_id, kb_id, ordinal, text, start, end, page, heading_path, external_id, name, title, knowledge_base, kind, level = row
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
        sources=candidate.sources(),
        kind=kind,
        level=level,
    )
