"""Searching one index on the server: how many chunks hold each term, then the best by BM25 and which terms each of them holds.

The ranking query names each of its terms, and the server tells for each hit which names matched: that is the coverage. Common terms are
named as well, but match for nothing. The arithmetic is `retrieval.ranking`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson

from qzbrain.retrieval.base import LexicalHit, NoIndex
from qzbrain.retrieval.elastic import faults
from qzbrain.retrieval.elastic.connection import Server
from qzbrain.retrieval.elastic.mapping import BODY, CHUNK, CONTEXT, DOCUMENT, K1, LENGTH, up_to
from qzbrain.retrieval.question import asked_terms
from qzbrain.retrieval.ranking import CONTEXT_BOOST, Question, heaviest, inverse_document_frequency, ranked, wanted_candidates, weigh

MOST_IDS = 65_536
"""The servers' bound on the values of one `terms` filter."""
COUNTED_AT_ONCE = 500
_ONLY = "took,responses.error,responses.status,responses.timed_out,responses.hits.total,responses.hits.hits,responses.aggregations"
_PARAMS = {"filter_path": _ONLY}
_COUNTED = {BODY: "b", CONTEXT: "c"}

Json = dict[str, Any]


class Searching:
    """Searches of every knowledge base on one server. `least_score`: see QIZHIBRAIN_ES_SCORE."""

    def __init__(self, server: Server, least_score: float) -> None:
        self._server, self._least_score = server, least_score

    def search(
        self, alias: str, question: str, top_k: int, document_ids: Sequence[str] | None, max_level: int | None
    ) -> list[LexicalHit]:
        """See `SearchIndex.search`. Raises IndexUnavailable; NoIndex, except for a question without content words, which needs no look at it."""
        weights = asked_terms(question)
        if not weights:
            return []
        idfs, absent = self._idfs(alias, list(weights))
        asked = weigh(heaviest(weights, idfs, absent), idfs, absent)
        if not asked.present:
            return []
        only, wanted = filters(document_ids, max_level), wanted_candidates(top_k)
        (found,) = self._ask(alias, [_ranking(asked, only, wanted)])
        if len(found["hits"]["hits"]) < wanted and len(asked.ranking) < len(asked.present):
            (found,) = self._ask(alias, [_ranking(replace(asked, ranking=asked.present), only, wanted)])
        return self._ranked(found["hits"]["hits"], asked, top_k)

    def _idfs(self, alias: str, terms: Sequence[str]) -> tuple[dict[str, float], float]:
        """The idf of each term, and of one that stands nowhere."""
        counted = self._ask(alias, [_counting(terms[n : n + COUNTED_AT_ONCE]) for n in range(0, len(terms), COUNTED_AT_ONCE)])
        chunks: int = counted[0]["hits"]["total"]["value"]
        buckets: Json = {}
        for one in counted:
            buckets |= one["aggregations"]["terms"]["buckets"]
        frequencies = {term: max(buckets[f"{mark}{term}"]["doc_count"] for mark in _COUNTED.values()) for term in terms}
        return {term: inverse_document_frequency(n, chunks) for term, n in frequencies.items()}, inverse_document_frequency(0, chunks)

    def _ask(self, alias: str, bodies: Sequence[Json]) -> list[Json]:
        """Several searches of one index in one request. Raises NoIndex."""
        limit = {"timeout": f"{int(self._server.timeout_s * 900)}ms"}
        header = orjson.dumps({"index": alias, "allow_partial_search_results": False}) + b"\n"
        lines = b"".join(header + orjson.dumps(body | limit) + b"\n" for body in bodies)
        replies: list[Json] = self._server.request("POST", "/_msearch", lines, params=_PARAMS).body["responses"]
        for reply in replies:
            if reply.get("status") == 404:
                raise NoIndex(alias)
            if "error" in reply:
                raise faults.from_reply(self._server.where, reply["status"], reply["error"]).error()
            if reply["timed_out"]:
                raise faults.too_slow(self._server.where, self._server.timeout_s).error()
        return replies

    def _ranked(self, hits: Sequence[Json], asked: Question, top_k: int) -> list[LexicalHit]:
        terms, found = list(asked.present), list[tuple[int, float, float, int]]()
        scale = K1 + 1 if self._server.product().leaves_out_k1 else 1.0
        for hit in hits:
            held = sum(asked.telling[terms[n]] for n in {int(name.lstrip("c")) for name in hit["matched_queries"]})
            bm25, chunk_id = hit["sort"][0] * scale, hit["sort"][1]
            if max(bm25, held) < self._least_score:
                continue
            (length,) = hit["fields"][LENGTH]
            found.append((chunk_id, bm25, held, length))
        ids, scores, kept, lengths = zip(*found, strict=True) if found else ((), (), (), ())
        return ranked(asked, ids, scores, kept, lengths, top_k)


def filters(document_ids: Sequence[str] | None, max_level: int | None) -> list[Json]:
    """What a search may find at all: only these documents, only what is of at most this level; [] for everything."""
    found: list[Json] = []
    if document_ids is not None:
        some = [{"terms": {DOCUMENT: list(document_ids[n : n + MOST_IDS])}} for n in range(0, max(1, len(document_ids)), MOST_IDS)]
        found.append({"bool": {"should": some, "minimum_should_match": 1}})
    if max_level is not None:
        found.append(up_to(max_level))
    return found


def _ranking(asked: Question, only: Sequence[Json], size: int) -> Json:
    """The best by BM25, ties by chunk id. Names: the term's number, with a c before it where it stands in the context."""
    ranked: list[Json] = []
    common: list[Json] = []
    for n, (term, weight) in enumerate(asked.present.items()):
        for field, boost, name in ((BODY, weight, f"{n}"), (CONTEXT, weight * CONTEXT_BOOST, f"c{n}")):
            if term in asked.ranking:
                ranked.append({"term": {field: {"value": term, "boost": boost, "_name": name}}})
            else:
                common.append({"constant_score": {"filter": {"term": {field: {"value": term, "_name": name}}}, "boost": 0}})
    query: Json = {"bool": {"must": [{"bool": {"should": ranked, "minimum_should_match": 1}}], "should": common, "filter": list(only)}}
    return {
        "size": size,
        "query": query,
        "sort": [{"_score": "desc"}, {CHUNK: "asc"}],
        "stored_fields": "_none_",
        "docvalue_fields": [LENGTH],
        "track_total_hits": False,
    }


def _counting(terms: Sequence[str]) -> Json:
    """How many chunks there are, and how many of them hold each term, by field."""
    filters = {f"{mark}{term}": {"term": {field: term}} for field, mark in _COUNTED.items() for term in terms}
    return {"size": 0, "track_total_hits": True, "aggs": {"terms": {"filters": {"filters": filters}}}}
