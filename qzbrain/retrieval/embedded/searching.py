"""Searching one open tantivy index: BM25 over text and context, and how much of the question a chunk covers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from qzbrain.domain import LEVELS
from qzbrain.retrieval.base import LexicalHit
from qzbrain.retrieval.embedded.forward import covered
from qzbrain.retrieval.embedded.schema import BODY, CHUNK, CONTEXT, DOCUMENT, LENGTH, LEVEL, SEQ, TERMS, schema
from qzbrain.retrieval.question import asked_terms
from qzbrain.retrieval.ranking import CONTEXT_BOOST, heaviest, inverse_document_frequency, ranked, wanted_candidates, weigh
from qzbrain.storage.cooperation import offloader

KNOWN_TERMS = 50_000


class OpenIndex:
    """One commit of one index. Immutable, safe for threads; later commits need a new one."""

    def __init__(self, generation: Path) -> None:
        from tantivy import Index, Occur, Query

        self._query, self._occur = Query, Occur  # an import in every function would be a tenth of a search
        self._index = Index.open(str(generation))
        self._index.config_reader("manual")
        self._index.reload()
        self._searcher = self._index.searcher()
        self._offload = offloader()
        self._schema = schema()
        self._deleted, self._held = _deletions(generation / "meta.json")
        self._idf: dict[str, float] = {}
        self._absent = self.idf("")
        self.highest_seq = self._highest_seq()

    def _term(self, field: str, value: Any) -> Any:
        return self._query.term_query(self._schema, field, value, "freq" if field in (BODY, CONTEXT) else "basic")

    def _highest_seq(self) -> int:
        best = self._searcher.search(self._query.all_query(), 1, count=False, order_by_field=SEQ).hits
        return int(best[0][0]) if best else -1

    @property
    def chunk_count(self) -> int:
        """Chunks that a search can find."""
        return int(self._searcher.num_docs)

    @property
    def deleted_share(self) -> float:
        """Share of deleted entries among those in the files."""
        return self._deleted / self._held if self._held else 0.0

    def chunks_of(self, document_id: str) -> dict[int, int]:
        """A document's chunks: their ids, and the level that each is held with."""
        found = self._searcher.search(self._term(DOCUMENT, document_id), max(1, self._searcher.num_docs), count=False).hits
        addresses = [address for _, address in found]
        return dict(zip(self._numbers(CHUNK, addresses), self._numbers(LEVEL, addresses), strict=True))

    def _numbers(self, field: str, addresses: list[Any]) -> list[int]:
        numbers: list[int] = self._searcher.fast_field_values(field, addresses)  # type: ignore[assignment]
        return numbers

    def idf(self, term: str) -> float:
        """How much a term tells in this index."""
        known = self._idf.get(term)
        if known is None:
            if len(self._idf) > KNOWN_TERMS:
                self._idf.clear()
            frequency = max(self._searcher.doc_freq(BODY, term), self._searcher.doc_freq(CONTEXT, term))
            known = self._idf[term] = inverse_document_frequency(frequency, self._searcher.num_docs)
        return known

    def search(self, question: str, top_k: int, document_ids: Sequence[str] | None, max_level: int | None) -> list[LexicalHit]:
        """See `SearchIndex.search`. BM25 chooses candidates, coverage and length order them."""
        weights = asked_terms(question)
        idfs = {term: self.idf(term) for term in weights}
        asked = weigh(heaviest(weights, idfs, self._absent), idfs, self._absent)
        if not asked.present:
            return []
        wanted = wanted_candidates(top_k)
        found = self._best(self._ranking_query(asked.ranking, document_ids, max_level), wanted)
        if len(found) < wanted and len(asked.ranking) < len(asked.present):
            found = self._best(self._ranking_query(asked.present, document_ids, max_level), wanted)
        addresses = [address for _, address in found]
        ids, lengths = self._numbers(CHUNK, addresses), self._numbers(LENGTH, addresses)
        return ranked(asked, ids, [bm25 for bm25, _ in found], self._kept(asked.telling, addresses), lengths, top_k)

    def _best(self, query: Any, limit: int) -> list[tuple[float, Any]]:
        """(score, address) of the best. tantivy lets go of the interpreter meanwhile: under gevent other requests go on, on another core."""
        found: list[tuple[float, Any]] = self._offload(self._searcher.search, query, limit, False).hits
        return found

    def _ranking_query(self, weights: dict[str, float], document_ids: Sequence[str] | None, max_level: int | None) -> Any:
        should, boosted = self._occur.Should, self._query.boost_query
        parts = []
        for term, weight in weights.items():
            parts.append((should, boosted(self._term(BODY, term), weight)))
            parts.append((should, boosted(self._term(CONTEXT, term), weight * CONTEXT_BOOST)))
        query = self._query.boolean_query(parts)
        filters = []
        if document_ids is not None:
            only = self._query.const_score_query(self._query.term_set_query(self._schema, DOCUMENT, list(document_ids)), 0.0)
            filters.append((self._occur.Must, only))
        if max_level is not None:
            # leaving out by single terms: a tenth of a search; taking in, or a set or a range of levels: a quarter to a half (2026-11-28)
            filters += [(self._occur.MustNot, self._term(LEVEL, above)) for above in range(max_level + 1, len(LEVELS))]
        return self._query.boolean_query([(self._occur.Must, query), *filters]) if filters else query

    def _kept(self, telling: dict[str, float], addresses: list[Any]) -> list[float]:
        """Of each chunk: how much of these terms' weight stands in its text or context."""
        read = self._searcher.doc
        return covered([read(address).get_first(TERMS) or b"" for address in addresses], telling)


def _deletions(meta: Path) -> tuple[int, int]:
    """(deleted, all) entries of the segments, as tantivy's own list has them."""
    segments = orjson.loads(meta.read_bytes())["segments"]
    return sum((s.get("deletes") or {}).get("num_deleted_docs", 0) for s in segments), sum(s["max_doc"] for s in segments)
