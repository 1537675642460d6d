"""Searching one open tantivy index: BM25 over text and context, and how much of the question a chunk covers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from qzbrain.retrieval.base import LexicalHit
from qzbrain.retrieval.embedded.schema import BODY, CHUNK, CONTEXT, DOCUMENT, MARKER, SEQ, schema
from qzbrain.text.tokenize import query_terms

CONTEXT_BOOST = 0.5
TIES = 16
SCORE_DIGITS = 4
"""Scores are sums of floats whose order depends on how chunks lie in segments; beyond this many decimals they mean nothing."""


class OpenIndex:
    """One commit of one index. Immutable, safe for threads; later commits need a new one."""

    def __init__(self, generation: Path) -> None:
        from tantivy import Index

        self._index = Index.open(str(generation))
        self._index.config_reader("manual")
        self._index.reload()
        self._searcher = self._index.searcher()
        self._schema = schema()
        self._deleted, self._held = _deletions(generation / "meta.json")
        self._markers = len(self._searcher.search(self._term(MARKER, 1), 10, count=False).hits)
        self._idf: dict[str, float] = {}
        self.watermark = self._highest_seq()

    def _term(self, field: str, value: Any) -> Any:
        from tantivy import Query

        return Query.term_query(self._schema, field, value, "freq")

    def _highest_seq(self) -> int:
        from tantivy import Query

        best = self._searcher.search(Query.all_query(), 1, count=False, order_by_field=SEQ).hits
        return int(best[0][0]) if best else -1

    @property
    def chunk_count(self) -> int:
        """Chunks that a search can find."""
        return int(self._searcher.num_docs) - self._markers

    @property
    def deleted_share(self) -> float:
        """Share of deleted entries among those in the files."""
        return self._deleted / self._held if self._held else 0.0

    def chunks_of(self, document_id: str) -> frozenset[int]:
        """Ids of a document's chunks."""
        found = self._searcher.search(self._term(DOCUMENT, document_id), max(1, self._searcher.num_docs), count=False).hits
        return frozenset(self._chunk_ids([address for _, address in found]))

    def _chunk_ids(self, addresses: list[Any]) -> list[int]:
        ids: list[int] = self._searcher.fast_field_values(CHUNK, addresses)  # type: ignore[assignment]
        return ids

    def idf(self, term: str) -> float:
        """BM25's inverse document frequency of a term over text and context: the rarer field counts, absent terms get the maximum."""
        known = self._idf.get(term)
        if known is None:
            count = max(1, self._searcher.num_docs)
            frequency = min(count, max(self._searcher.doc_freq(BODY, term), self._searcher.doc_freq(CONTEXT, term)))
            known = self._idf[term] = math.log(1 + (count - frequency + 0.5) / (frequency + 0.5))
        return known

    def search(self, question: str, top_k: int, document_ids: Sequence[str] | None) -> list[LexicalHit]:
        """See `SearchIndex.search`."""
        terms = query_terms(question)
        if not terms:
            return []
        found = self._searcher.search(self._ranking_query(terms, document_ids), top_k + TIES, count=False).hits
        addresses = [address for _, address in found]
        ids = self._chunk_ids(addresses)
        ranked = sorted(zip((-round(score, SCORE_DIGITS) for score, _ in found), ids, addresses, strict=True), key=lambda x: x[:2])[:top_k]
        covered = self._coverage(terms, [i for _, i, _ in ranked])
        return [LexicalHit(i, str(self._searcher.doc(a).get_first(DOCUMENT)), -s, covered.get(i, 0.0)) for s, i, a in ranked]

    def _ranking_query(self, terms: Sequence[str], document_ids: Sequence[str] | None) -> Any:
        from tantivy import Occur, Query

        parts = []
        for term in terms:
            parts.append((Occur.Should, self._term(BODY, term)))
            parts.append((Occur.Should, Query.boost_query(self._term(CONTEXT, term), CONTEXT_BOOST)))
        query = Query.boolean_query(parts)
        if document_ids is None:
            return query
        only = Query.const_score_query(Query.term_set_query(self._schema, DOCUMENT, list(document_ids)), 0.0)
        return Query.boolean_query([(Occur.Must, query), (Occur.Must, only)])

    def _coverage(self, terms: Sequence[str], chunk_ids: Sequence[int]) -> dict[int, float]:
        """By chunk: the idf-weighted share, 0..1, of the terms that stand in its text or context."""
        from tantivy import Occur, Query

        total = sum(map(self.idf, terms))
        if not chunk_ids or not total:
            return {}
        parts = [(Occur.Must, Query.const_score_query(Query.term_set_query(self._schema, CHUNK, list(chunk_ids)), 0.0))]
        for term in terms:
            either = Query.boolean_query([(Occur.Should, self._term(BODY, term)), (Occur.Should, self._term(CONTEXT, term))])
            parts.append((Occur.Should, Query.const_score_query(either, self.idf(term) / total)))
        found = self._searcher.search(Query.boolean_query(parts), len(chunk_ids), count=False).hits
        ids = self._chunk_ids([address for _, address in found])
        return {i: min(1.0, round(score, SCORE_DIGITS)) for i, (score, _) in zip(ids, found, strict=True)}


def _deletions(meta: Path) -> tuple[int, int]:
    """(deleted, all) entries of the segments, as tantivy's own list has them."""
    segments = orjson.loads(meta.read_bytes())["segments"]
    return sum((s.get("deletes") or {}).get("num_deleted_docs", 0) for s in segments), sum(s["max_doc"] for s in segments)
