"""Vectors on Elasticsearch or OpenSearch: keeps the promises of `retrieval.vectors.VectorIndex`.

One index per space beside that of the words, with generations, alias, lease and watermark as there. Vectors are kept unquantised in an
HNSW graph; a search looks at so many candidates that its best are the exact ones in practice, and one whose filter leaves no more than it
asks for is exact. No `_source`: vectors are read from SQL.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from qzbrain import logs
from qzbrain.errors import Unavailable
from qzbrain.retrieval.base import DEFAULT_LEVEL, Parts
from qzbrain.retrieval.elastic.bulk import Bulk
from qzbrain.retrieval.elastic.connection import Server
from qzbrain.retrieval.elastic.generations import Generations
from qzbrain.retrieval.elastic.held import chunks_of
from qzbrain.retrieval.elastic.keeping import Keeping
from qzbrain.retrieval.elastic.mapping import CHUNK, DOCUMENT, LEVEL, up_to
from qzbrain.retrieval.elastic.searching import filters
from qzbrain.retrieval.elastic.swapping import through_a_swap
from qzbrain.retrieval.elastic.writing import States, Writing
from qzbrain.retrieval.vectors import DenseHit, StoredVectors, Vector
from qzbrain.settings import Settings

log = logs.get(__name__)

VECTOR = "vector"
SCHEMA_HASH = hashlib.sha256(b"vectors 2").hexdigest()[:12]
LINKS, EFFORT = 24, 200
"""Of the graph: edges of a node, candidates when one is added."""
LEAST_CANDIDATES, MOST_CANDIDATES = 400, 10_000
CANDIDATES_PER_HIT = 8
DOCUMENTS_AT_ONCE = 10_000
COSINE_DIGITS = 6
_HITS = {"filter_path": "hits.hits._score,hits.hits.fields,timed_out,_shards.failed", "allow_partial_search_results": "false"}

Json = dict[str, Any]


class ElasticVectors:
    """Spaces on the server of the settings."""

    def __init__(self, settings: Settings) -> None:
        self.server = Server(settings)
        self._states = States(self.server, settings.es_index)
        self._keeping = Keeping(self.server, self._states, f"{settings.es_index}.vectors", SCHEMA_HASH)

    # -- writing

    def append(self, space_id: str, rows: StoredVectors, *, upto: int) -> None:
        """See `VectorIndex.append`. Raises IndexUnavailable; Unavailable `vectors_missing` when there is no usable index."""
        generations = self._generations(space_id)
        with self._states.writing(space_id) as writing:
            name, present = self._present(generations, writing)
            if upto <= present:
                return
            bulk = Bulk(self.server, generations.alias, upto, writing.still_mine)
            _put(bulk, rows, after=present)
            bulk.flush()
            self._keeping.refresh(generations.alias)
            writing.finish(name, upto)

    def forget(self, space_id: str, document_ids: Collection[str], *, keep: Collection[int] = ()) -> None:
        """See `VectorIndex.forget`. Raises IndexUnavailable."""
        generations = self._generations(space_id)
        if not document_ids or generations.current() is None:
            return
        with self._states.writing(space_id) as writing:
            name, present = self._present(generations, writing)
            bulk = Bulk(self.server, generations.alias, max(0, present), writing.still_mine)
            kept, documents = set(keep), iter(sorted(document_ids))
            while some := list(islice(documents, DOCUMENTS_AT_ONCE)):
                for held in chunks_of(self.server, generations.alias, some).values():
                    for chunk_id in sorted(held.keys() - kept):
                        bulk.delete(chunk_id)
            bulk.flush()
            self._keeping.refresh(generations.alias)
            writing.finish(name, present)

    def set_levels(self, space_id: str, levels: Mapping[str, int], stored: Callable[[Sequence[str]], Iterable[StoredVectors]]) -> None:
        """See `VectorIndex.set_levels`: the server keeps no vector that could be read, so they come from `stored`. Raises IndexUnavailable."""
        generations = self._generations(space_id)
        other = self._otherwise(generations, levels) if levels and generations.current() is not None else []
        if not other:
            return
        with self._states.writing(space_id) as writing:
            name, present = self._present(generations, writing)
            bulk = Bulk(self.server, generations.alias, max(0, present), writing.still_mine)
            for rows in stored(other):
                _put(bulk, rows, after=-1, upto=present)
            bulk.flush()
            self._keeping.refresh(generations.alias)
            writing.finish(name, present)

    def _otherwise(self, generations: Generations, levels: Mapping[str, int]) -> list[str]:
        """Those of these documents that are held with another level."""
        found: list[str] = []
        documents = iter(sorted(levels))
        while some := list(islice(documents, DOCUMENTS_AT_ONCE)):
            held = chunks_of(self.server, generations.alias, some)
            found += [one for one in some if any(level != levels[one] for level in held[one].values())]
        return found

    def rebuild(self, space_id: str, width: int, rows: Iterable[StoredVectors], *, upto: int) -> None:
        """See `VectorIndex.rebuild`. Raises IndexUnavailable; the index in use stays then."""
        def fill(bulk: Bulk) -> None:
            for batch in rows:
                _put(bulk, batch, after=-1)

        self._keeping.rebuild(space_id, self._body(width, upto), upto, fill)

    def parts(self, space_id: str) -> Parts | None:
        """See `VectorIndex.parts`. The server merges by itself."""
        return None

    def gather(self, space_id: str, goes_on: Callable[[], bool]) -> bool:
        """See `VectorIndex.gather`. The server merges by itself."""
        return False

    def drop(self, space_id: str) -> None:
        """See `VectorIndex.drop`."""
        self._keeping.drop(space_id)

    # -- reading

    def upto(self, space_id: str) -> int:
        """See `VectorIndex.upto`. Raises IndexUnavailable."""
        return self._keeping.watermark(space_id)

    def count(self, space_id: str) -> int:
        """See `VectorIndex.count`. Raises IndexUnavailable."""
        return self._keeping.count(space_id)

    def search(
        self, space_id: str, vector: Vector, *, top_k: int, document_ids: Sequence[str] | None = None, max_level: int | None = None
    ) -> list[DenseHit]:
        """See `VectorIndex.search`. Raises IndexUnavailable, after ES_TIMEOUT_S at the latest."""
        if top_k < 1:
            return []
        candidates = min(MOST_CANDIDATES, max(LEAST_CANDIDATES, CANDIDATES_PER_HIT * top_k))
        hits = self._nearest(space_id, vector, candidates, filters(document_ids, max_level), size=min(candidates, top_k + LEAST_CANDIDATES))
        return sorted(hits, key=lambda one: (-one.cosine, one.chunk_id))[:top_k]

    def cosines(self, space_id: str, vector: Vector, chunk_ids: Sequence[int], *, max_level: int | None = None) -> dict[int, float]:
        """See `VectorIndex.cosines`: exact, since the filter leaves no more than are asked for. Raises IndexUnavailable."""
        found: dict[int, float] = {}
        for start in range(0, len(chunk_ids), MOST_CANDIDATES):
            some = [int(one) for one in chunk_ids[start : start + MOST_CANDIDATES]]
            only = [{"terms": {CHUNK: some}}, *([] if max_level is None else [up_to(max_level)])]
            hits = self._nearest(space_id, vector, len(some), only, size=len(some))
            found.update((hit.chunk_id, hit.cosine) for hit in hits)
        return found

    # -- steps

    def _generations(self, space_id: str) -> Generations:
        return self._keeping.generations(space_id)

    def _present(self, generations: Generations, writing: Writing) -> tuple[str, int]:
        """The index in use and how far it is. Raises Unavailable `vectors_missing`."""
        current = generations.current()
        if current is None:
            raise Unavailable(
                "vectors_missing",
                zh="该知识库在检索服务上没有可用的语义索引，将从数据库重建。",
                en="This knowledge base has no usable semantic index on the search server; it will be rebuilt from the database.",
                retry_after_s=5,
            )
        return current.name, max(current.watermark, writing.watermark_of(current.name))

    def _opensearch(self) -> bool:
        return self.server.product().name == "opensearch"

    def _body(self, width: int, upto: int) -> Json:
        """One shard, so that a search's candidates are those of the whole space; refreshed by its writer alone."""
        settings: Json = {"number_of_shards": 1, "auto_expand_replicas": "0-1", "refresh_interval": "-1"}
        graph = {"m": LINKS, "ef_construction": EFFORT}
        if self._opensearch():
            settings["index.knn"] = True
            field: Json = {
                "type": "knn_vector",
                "dimension": width,
                "method": {"name": "hnsw", "engine": "lucene", "space_type": "cosinesimil", "parameters": graph},
            }
        else:
            field = {"type": "dense_vector", "dims": width, "index": True, "similarity": "cosine", "index_options": {"type": "hnsw", **graph}}
        return {
            "settings": settings,
            "mappings": {
                "_meta": {"schema": SCHEMA_HASH, "watermark": upto},
                "_source": {"enabled": False},
                "dynamic": False,
                "properties": {CHUNK: {"type": "long"}, DOCUMENT: {"type": "keyword"}, LEVEL: {"type": "integer"}, VECTOR: field},
            },
        }

    def _nearest(self, space_id: str, vector: Vector, candidates: int, only: Sequence[Json], *, size: int) -> list[DenseHit]:
        asked = np.asarray(vector, np.float32).tolist()
        body: Json = {
            "size": size,
            "stored_fields": "_none_",
            "docvalue_fields": [CHUNK, DOCUMENT],
            "track_total_hits": False,
            "timeout": f"{int(self.server.timeout_s * 900)}ms",
        }
        chosen = {"filter": {"bool": {"filter": list(only)}}} if only else {}
        if self._opensearch():
            body["query"] = {"knn": {VECTOR: {"vector": asked, "k": candidates, **chosen}}}
        else:
            body["knn"] = {"field": VECTOR, "query_vector": asked, "k": candidates, "num_candidates": candidates, **chosen}
        path = f"/{self._generations(space_id).alias}/_search"
        reply = through_a_swap(lambda: self.server.request("POST", path, body, params=_HITS, expected=(404,)))
        hits = reply.body.get("hits", {}).get("hits", []) if reply.found else []
        return [_hit(hit) for hit in hits]


def _hit(hit: Json) -> DenseHit:
    """Both servers give (1 + cosine) / 2."""
    fields = hit["fields"]
    return DenseHit(int(fields[CHUNK][0]), fields[DOCUMENT][0], round(2 * float(hit["_score"]) - 1, COSINE_DIGITS))


def _put(bulk: Bulk, rows: StoredVectors, *, after: int, upto: int | None = None) -> None:
    """Those of chunks with ids above `after`, and none above `upto`."""
    vectors = np.ascontiguousarray(rows.vectors, np.float32)
    levels = rows.levels or [DEFAULT_LEVEL] * len(rows.chunk_ids)
    for chunk_id, document_id, level, vector in zip(rows.chunk_ids, rows.document_ids, levels, vectors, strict=True):
        if chunk_id > after and (upto is None or chunk_id <= upto):
            bulk.put(int(chunk_id), {CHUNK: int(chunk_id), DOCUMENT: document_id, LEVEL: int(level), VECTOR: vector})
