"""The search backend on Elasticsearch or OpenSearch: keeps the promises of `retrieval.base.SearchIndex`.

One index for each shelf of a knowledge base, those of facts under the name that KGINSERT_INDEX gives, so that no statistics mix. SQL is the
truth: whatever is lost here is built again, and what a killed writer sent half is sent again by the next one, with the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Any

from qzbrain import logs
from qzbrain.errors import Unavailable
from qzbrain.retrieval.base import IndexChange, LexicalHit, Parts, PutDocument
from qzbrain.retrieval.elastic.bulk import Bulk
from qzbrain.retrieval.elastic.connection import Server
from qzbrain.retrieval.elastic.generations import Generation, Generations
from qzbrain.retrieval.elastic.held import chunks_of
from qzbrain.retrieval.elastic.keeping import Keeping
from qzbrain.retrieval.elastic.mapping import SCHEMA_HASH, index_body, source
from qzbrain.retrieval.elastic.searching import Searching
from qzbrain.retrieval.elastic.swapping import through_a_swap
from qzbrain.retrieval.elastic.writing import States
from qzbrain.retrieval.shelves import holds_facts
from qzbrain.settings import Settings

log = logs.get(__name__)

CHANGES_AT_ONCE = 64


class ElasticIndex:
    """Indexes on the server of the settings."""

    def __init__(self, settings: Settings) -> None:
        self.server = Server(settings)
        self._states = States(self.server, settings.es_index)
        self._texts = Keeping(self.server, self._states, settings.es_index, SCHEMA_HASH)
        self._facts = Keeping(self.server, self._states, settings.es_facts_index, SCHEMA_HASH)
        self._searching = Searching(self.server, settings.qizhibrain_es_score)

    # -- writing

    def apply(self, kb_id: str, changes: Iterable[IndexChange], *, watermark: int) -> None:
        """See `SearchIndex.apply`. Raises IndexUnavailable; Unavailable `index_missing` when there is no usable index to apply them to."""
        generations = self._generations(kb_id)
        with self._states.writing(kb_id) as writing:
            current = generations.current()
            if current is None:
                raise Unavailable(
                    "index_missing",
                    zh="该知识库在检索服务上没有可用的索引，需要重建。请运行 qzbrain kb reindex。",
                    en="This knowledge base has no usable index on the search server; it must be rebuilt. Run: qzbrain kb reindex.",
                )
            if watermark <= max(current.watermark, writing.watermark_of(current.name)):
                return
            self._kept(kb_id).refresh(generations.alias)  # what a writer that was killed has sent is seen, and not sent again
            bulk = Bulk(self.server, generations.alias, watermark, writing.still_mine)
            self._write(bulk, generations.alias, changes)
            bulk.flush()
            self._kept(kb_id).refresh(generations.alias)
            writing.finish(current.name, watermark)

    def rebuild(self, kb_id: str, changes: Iterable[IndexChange], *, watermark: int, chunks: int = 0) -> None:
        """See `SearchIndex.rebuild`. Raises IndexUnavailable; the index in use stays then."""
        self._kept(kb_id).rebuild(kb_id, index_body(watermark), watermark, lambda bulk: self._write(bulk, None, changes))

    def parts(self, kb_id: str) -> Parts | None:
        """See `SearchIndex.parts`. The server merges by itself."""
        return None

    def gather(
        self, kb_id: str, changes: Iterable[IndexChange], *, chunks: int, turn: AbstractContextManager[Any], goes_on: Callable[[], bool]
    ) -> bool:
        """See `SearchIndex.gather`. The server merges by itself."""
        return False

    def drop(self, kb_id: str) -> None:
        """See `SearchIndex.drop`."""
        self._kept(kb_id).drop(kb_id)

    # -- reading

    def ready(self) -> None:
        """See `SearchIndex.ready`."""
        self.server.request("GET", "/")

    def watermark(self, kb_id: str) -> int:
        """See `SearchIndex.watermark`. Raises IndexUnavailable."""
        return self._kept(kb_id).watermark(kb_id)

    def search(
        self, kb_id: str, query: str, *, top_k: int, document_ids: Sequence[str] | None = None, max_level: int | None = None
    ) -> list[LexicalHit]:
        """See `SearchIndex.search`. Raises IndexUnavailable, after ES_TIMEOUT_S at the latest; NoIndex."""
        if top_k < 1:
            return []
        alias = self._generations(kb_id).alias
        return through_a_swap(lambda: self._searching.search(alias, query, top_k, document_ids, max_level))

    def chunk_count(self, kb_id: str) -> int:
        """See `SearchIndex.chunk_count`. Raises IndexUnavailable."""
        return self._kept(kb_id).count(kb_id)

    def deleted_share(self, kb_id: str) -> float:
        """See `SearchIndex.deleted_share`. The server merges deleted chunks away by itself, a little at a time."""
        params = {"filter_path": "_all.primaries.docs"}
        reply = self.server.request("GET", f"/{self._generations(kb_id).alias}/_stats/docs", params=params, expected=(404,))
        if not reply.found or not reply.body:
            return 0.0
        docs = reply.body["_all"]["primaries"]["docs"]
        held = docs["count"] + docs["deleted"]
        return float(docs["deleted"] / held) if held else 0.0

    def generation(self, kb_id: str) -> Generation | None:
        """The physical index in use; for the doctor."""
        return self._generations(kb_id).current()

    # -- steps

    def _generations(self, kb_id: str) -> Generations:
        return self._kept(kb_id).generations(kb_id)

    def _kept(self, key: str) -> Keeping:
        """Where the indexes of this shelf are."""
        return self._facts if holds_facts(key) else self._texts

    def _write(self, bulk: Bulk, present: str | None, changes: Iterable[IndexChange]) -> None:
        """Send the changes in order. `present`: the index that holds what was applied before, None when there is nothing yet.

        A chunk that is there with its level is not sent again (chunk ids are never used twice): it would count twice until the deleted one is merged away.
        """
        held: dict[str, dict[int, int]] = {}
        for some in _batches(changes, CHANGES_AT_ONCE):
            unknown = {change.document_id for change in some} - held.keys()
            held |= chunks_of(self.server, present, sorted(unknown)) if present is not None else {one: {} for one in unknown}
            for change in some:
                chunks, level = (change.chunks, change.level) if isinstance(change, PutDocument) else ((), 0)
                now, before = {chunk.chunk_id: level for chunk in chunks}, held[change.document_id]
                for chunk_id in sorted(before.keys() - now.keys()):
                    bulk.delete(chunk_id)
                for chunk in chunks:
                    if before.get(chunk.chunk_id) != level:
                        bulk.put(chunk.chunk_id, source(chunk, level))
                held[change.document_id] = now


def _batches(changes: Iterable[IndexChange], size: int) -> Iterator[list[IndexChange]]:
    rest = iter(changes)
    while some := list(islice(rest, size)):
        yield some
