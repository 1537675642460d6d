"""Brings the outbox into the search index. SQL is the truth: what is applied is always what SQL holds at that moment.

An outbox row says that a document's chunks (or a whole knowledge base) may have changed, not how. So rows can be applied twice, late or
together, and a replay after kill -9 ends in the same index. Knows no backend: only the SearchIndex protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from threading import RLock
from typing import Any

import orjson
from sqlalchemy import Row, bindparam, delete, func, select

from qzbrain.retrieval.base import DeleteDocument, IndexChange, IndexedChunk, Parts, PutDocument, SearchIndex
from qzbrain.retrieval.shelves import FACTS, documents_on
from qzbrain.retrieval.vector_feeder import VectorFeeder
from qzbrain.storage.database import Database
from qzbrain.storage.tables import chunks, documents, outbox

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class DocumentTokens:
    """Token strings of a document, made elsewhere: of its chunks in order, and of its title and headings by their text."""

    chunks: Sequence[str]
    headings: Mapping[str, str]


Tokens = Mapping[str, DocumentTokens]

BATCH_DOCUMENTS = 64
WORTH_COMPACTING = 0.25
"""Share of deleted chunks at which the index is rebuilt: they still count in the statistics and take room."""

_PENDING = (
    select(outbox.c.seq, outbox.c.document_id).where(outbox.c.kb_id == bindparam("kb"), outbox.c.seq > bindparam("after")).order_by(outbox.c.seq)
)
_LAST = select(func.max(outbox.c.seq)).where(outbox.c.kb_id == bindparam("kb"))
_DROPPED = select(outbox.c.seq).where(outbox.c.kb_id == bindparam("kb"), outbox.c.op == "drop").order_by(outbox.c.seq.desc()).limit(1)
_COUNT = select(func.count()).select_from(chunks).where(chunks.c.kb_id == bindparam("kb"), chunks.c.disabled == 0)
_APPLIED = delete(outbox).where(outbox.c.kb_id == bindparam("kb"), outbox.c.seq <= bindparam("last"))
_CHUNKS = (
    select(chunks.c.document_id, chunks.c.id, chunks.c.text, chunks.c.heading_path, documents.c.title, documents.c.kind, documents.c.level)
    .join(documents, documents.c.id == chunks.c.document_id)
    .where(chunks.c.document_id.in_(bindparam("ids", expanding=True)), chunks.c.disabled == 0)
    .order_by(chunks.c.document_id, chunks.c.ordinal)
)


class Feeder:
    """One per process that writes indexes; its threads take turns. `kb_id` is the key of a shelf: see `shelves`."""

    def __init__(self, database: Database, index: SearchIndex, vectors: VectorFeeder | None = None) -> None:
        """`vectors`: told of the documents that changed, so that the vector store forgets what is gone."""
        self._db = database
        self._index = index
        self._vectors = vectors
        self._turn = RLock()

    def ready(self) -> None:
        """Raises IndexUnavailable when the index cannot be fed now."""
        self._index.ready()

    def catch_up(self, kb_id: str, tokens: Tokens | None = None) -> int:
        """Apply the knowledge base's outbox rows, commit, prune them; returns how many rows are done with.

        `tokens`: by document id, where the caller has them already; only a saving, above all of the tokeniser's dictionary in this process.
        A missing or unreadable index is rebuilt. Raises StorageFull, Unavailable; nothing is lost then: the rows stay.
        """
        with self._turn:
            return self._catch_up(kb_id, tokens)

    def _catch_up(self, kb_id: str, tokens: Tokens | None) -> int:
        dropped = self._db.rows(_DROPPED, {"kb": kb_id})
        if dropped:
            self._index.drop(kb_id)
            if self._vectors is not None:
                self._vectors.drop(kb_id)
            return self._prune(kb_id, dropped[0].seq)
        if self.ensure(kb_id, tokens=tokens):
            return self._prune(kb_id, self._index.watermark(kb_id))
        rows = self._db.rows(_PENDING, {"kb": kb_id, "after": self._index.watermark(kb_id)})
        if rows:
            touched = list(dict.fromkeys(row.document_id for row in rows))
            self._forget_vectors(kb_id, touched)
            self._index.apply(kb_id, self._changes(touched, tokens), watermark=rows[-1].seq)
            if self._index.deleted_share(kb_id) >= WORTH_COMPACTING:
                self.rebuild(kb_id)
        return self._prune(kb_id, self._index.watermark(kb_id))

    def ensure(self, kb_id: str, progress: Progress | None = None, tokens: Tokens | None = None) -> bool:
        """Rebuild the index when there is none that this program can read; True when it had to be. `tokens`: as for `catch_up`."""
        with self._turn:
            if self._index.watermark(kb_id) >= 0:
                return False
            self.rebuild(kb_id, progress, tokens)
            return True

    def rebuild(self, kb_id: str, progress: Progress | None = None, tokens: Tokens | None = None) -> int:
        """Build the index anew from SQL beside the one in use, then swap; returns its chunks. `progress(done, total)` counts documents.

        Rows that come meanwhile have a higher seq than the watermark taken at the start, and are applied by the next `catch_up`.
        """
        with self._turn:
            watermark = self._db.rows(_LAST, {"kb": kb_id})[0][0] or max(0, self._index.watermark(kb_id))
            self._forget_vectors(kb_id, [row.document_id for row in self._db.rows(_PENDING, {"kb": kb_id, "after": 0})])
            ids = [row.id for row in self._db.rows(documents_on(kb_id))]
            self._index.rebuild(kb_id, self._puts(ids, progress, tokens), watermark=watermark, chunks=self._count(kb_id))
            return self._index.chunk_count(kb_id)

    def parts(self, kb_id: str) -> Parts | None:
        """See `SearchIndex.parts`."""
        return self._index.parts(kb_id)

    def gather(self, kb_id: str, goes_on: Callable[[], bool] = lambda: True) -> bool:
        """Where an index lies in many parts, write it anew from SQL beside the one in use, and swap; True when that was done.

        Others write meanwhile, threads of this process too: only for the first and the last moment it is this one's turn. What they write makes it
        void, `goes_on()`, asked all the time, ends it; then the index stays as it was. Raises StorageFull, IndexUnavailable.
        """
        if self.parts(kb_id) is None:
            return False
        return self._index.gather(kb_id, self._everything(kb_id), chunks=self._count(kb_id), turn=self._turn, goes_on=goes_on)

    def vector_parts(self, kb_id: str) -> Mapping[str, Parts]:
        """As `parts`, of the vectors, by space."""
        return {} if self._vectors is None else self._vectors.parts(kb_id)

    def gather_vectors(self, space_id: str, goes_on: Callable[[], bool] = lambda: True) -> bool:
        """As `gather`, of a space's vectors, which are put together as they are."""
        return self._vectors is not None and self._vectors.gather(space_id, goes_on)

    def _everything(self, kb_id: str) -> Iterator[IndexChange]:
        """As `_puts`, but SQL is not asked for the documents before the first is taken."""
        yield from self._changes([row.id for row in self._db.rows(documents_on(kb_id))], None)

    def _count(self, kb_id: str) -> int:
        return int(self._db.rows(_COUNT, {"kb": kb_id})[0][0])

    def rebuild_vectors(self, kb_id: str) -> None:
        """As `rebuild`, of the vectors; nothing to do where there are none."""
        if self._vectors is not None:
            self._vectors.rebuild(kb_id)

    def _forget_vectors(self, kb_id: str, document_ids: Sequence[str]) -> None:
        """Before the watermark moves: what is killed after it would not be told again."""
        if self._vectors is not None and document_ids:
            self._vectors.forget(kb_id, list(dict.fromkeys(document_ids)))

    def _puts(self, ids: Sequence[str], progress: Progress | None, tokens: Tokens | None) -> Iterator[IndexChange]:
        for done, change in enumerate(self._changes(ids, tokens), 1):
            yield change
            if progress is not None and (done % BATCH_DOCUMENTS == 0 or done == len(ids)):
                progress(done, len(ids))

    def _changes(self, ids: Sequence[str], tokens: Tokens | None) -> Iterator[IndexChange]:
        """What SQL holds of these documents now: their chunks, or that there are none."""
        tokens = tokens or {}
        for start in range(0, len(ids), BATCH_DOCUMENTS):
            batch = ids[start : start + BATCH_DOCUMENTS]
            rows = self._db.rows(_CHUNKS, {"ids": list(batch)})
            found: dict[str, IndexChange] = {}
            for document_id, group in groupby(rows, key=lambda row: row.document_id):
                some = list(group)
                found[document_id] = PutDocument(document_id, _indexed(some, tokens.get(document_id, _NO_TOKENS)), some[0].level)
            for document_id in batch:
                yield found.get(document_id) or DeleteDocument(document_id)

    def _prune(self, kb_id: str, last: int) -> int:
        with self._db.write() as connection:
            return connection.execute(_APPLIED, {"kb": kb_id, "last": last}).rowcount


_NO_TOKENS = DocumentTokens((), {})


def _indexed(rows: Sequence[Row[*tuple[Any, ...]]], tokens: DocumentTokens) -> list[IndexedChunk]:
    given = tokens.chunks if len(tokens.chunks) == len(rows) else ("",) * len(rows)
    contexts: dict[str, tuple[str, str]] = {}
    found: list[IndexedChunk] = []
    for (document_id, chunk_id, text, path, title, kind, _), one in zip(rows, given, strict=True):
        if (context := contexts.get(path)) is None:
            before = [] if kind == FACTS else [title]  # what stands before each entity's name in the title of its facts would be found by itself
            context = contexts[path] = _context([*before, *orjson.loads(path)], tokens.headings)
        found.append(IndexedChunk(chunk_id, document_id, text, context[0], one, context[1]))
    return found


def _context(headings: Sequence[str], tokens: Mapping[str, str]) -> tuple[str, str]:
    """Title and headings, each once, one a line; and their tokens, '' unless all are known."""
    each = dict.fromkeys(headings)
    return "\n".join(each), " ".join([tokens[x] for x in each]) if all(x in tokens for x in each) else ""
