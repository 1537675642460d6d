"""Brings the outbox into the search index. SQL is the truth: what is applied is always what SQL holds at that moment.

An outbox row says that a document's chunks (or a whole knowledge base) may have changed, not how. So rows can be applied twice, late or
together, and a replay after kill -9 ends in the same index. Knows no backend: only the SearchIndex protocol.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import orjson
from sqlalchemy import Row, bindparam, delete, func, select

from qzbrain.retrieval.base import DeleteDocument, IndexChange, IndexedChunk, PutDocument, SearchIndex
from qzbrain.storage.database import Database
from qzbrain.storage.tables import chunks, documents, outbox

Tokens = Mapping[str, Sequence[str]]
Progress = Callable[[int, int], None]

BATCH_DOCUMENTS = 64
WORTH_COMPACTING = 0.25
"""Share of deleted chunks at which the index is rebuilt: they still count in the statistics and take room."""

_PENDING = (
    select(outbox.c.seq, outbox.c.document_id).where(outbox.c.kb_id == bindparam("kb"), outbox.c.seq > bindparam("after")).order_by(outbox.c.seq)
)
_LAST = select(func.max(outbox.c.seq)).where(outbox.c.kb_id == bindparam("kb"))
_DROPPED = select(outbox.c.seq).where(outbox.c.kb_id == bindparam("kb"), outbox.c.op == "drop").order_by(outbox.c.seq.desc()).limit(1)
_APPLIED = delete(outbox).where(outbox.c.kb_id == bindparam("kb"), outbox.c.seq <= bindparam("last"))
_DOCUMENTS = select(documents.c.id).where(documents.c.kb_id == bindparam("kb")).order_by(documents.c.id)
_CHUNKS = (
    select(chunks.c.document_id, chunks.c.id, chunks.c.text, chunks.c.heading_path, documents.c.title)
    .join(documents, documents.c.id == chunks.c.document_id)
    .where(chunks.c.document_id.in_(bindparam("ids", expanding=True)))
    .order_by(chunks.c.document_id, chunks.c.ordinal)
)


class Feeder:
    """One per process that writes indexes. Calls for one knowledge base must not overlap: the second raises Unavailable."""

    def __init__(self, database: Database, index: SearchIndex) -> None:
        self._db = database
        self._index = index

    def catch_up(self, kb_id: str, tokens: Tokens | None = None) -> int:
        """Apply the knowledge base's outbox rows, commit, prune them; returns how many rows are done with.

        `tokens`: by document id the token strings of its chunks in order, where the caller has them already; only a saving.
        A missing or unreadable index is rebuilt. Raises StorageFull, Unavailable; nothing is lost then: the rows stay.
        """
        dropped = self._db.rows(_DROPPED, {"kb": kb_id})
        if dropped:
            self._index.drop(kb_id)
            return self._prune(kb_id, dropped[0].seq)
        if self.ensure(kb_id):
            return self._prune(kb_id, self._index.watermark(kb_id))
        rows = self._db.rows(_PENDING, {"kb": kb_id, "after": self._index.watermark(kb_id)})
        if rows:
            touched = list(dict.fromkeys(row.document_id for row in rows))
            self._index.apply(kb_id, self._changes(touched, tokens or {}), watermark=rows[-1].seq)
            if self._index.deleted_share(kb_id) >= WORTH_COMPACTING:
                self.rebuild(kb_id)
        return self._prune(kb_id, self._index.watermark(kb_id))

    def ensure(self, kb_id: str, progress: Progress | None = None) -> bool:
        """Rebuild the index when there is none that this program can read; True when it had to be."""
        if self._index.watermark(kb_id) >= 0:
            return False
        self.rebuild(kb_id, progress)
        return True

    def rebuild(self, kb_id: str, progress: Progress | None = None) -> int:
        """Build the index anew from SQL beside the one in use, then swap; returns its chunks. `progress(done, total)` counts documents.

        Rows that come meanwhile have a higher seq than the watermark taken at the start, and are applied by the next `catch_up`.
        """
        watermark = self._db.rows(_LAST, {"kb": kb_id})[0][0] or max(0, self._index.watermark(kb_id))
        ids = [row.id for row in self._db.rows(_DOCUMENTS, {"kb": kb_id})]
        self._index.rebuild(kb_id, self._puts(ids, progress), watermark=watermark)
        return self._index.chunk_count(kb_id)

    def _puts(self, ids: Sequence[str], progress: Progress | None) -> Iterator[IndexChange]:
        for done, change in enumerate(self._changes(ids, {}), 1):
            yield change
            if progress is not None and (done % BATCH_DOCUMENTS == 0 or done == len(ids)):
                progress(done, len(ids))

    def _changes(self, ids: Sequence[str], tokens: Tokens) -> Iterator[IndexChange]:
        """What SQL holds of these documents now: their chunks, or that there are none."""
        for start in range(0, len(ids), BATCH_DOCUMENTS):
            batch = ids[start : start + BATCH_DOCUMENTS]
            rows = self._db.rows(_CHUNKS, {"ids": list(batch)})
            found = {one: _indexed(list(group), tokens.get(one, ())) for one, group in groupby(rows, key=lambda row: row.document_id)}
            for document_id in batch:
                yield PutDocument(document_id, found[document_id]) if document_id in found else DeleteDocument(document_id)

    def _prune(self, kb_id: str, last: int) -> int:
        with self._db.write() as connection:
            return connection.execute(_APPLIED, {"kb": kb_id, "last": last}).rowcount


def _indexed(rows: Sequence[Row[Any]], tokens: Sequence[str]) -> list[IndexedChunk]:
    given = tokens if len(tokens) == len(rows) else ("",) * len(rows)
    return [
        IndexedChunk(row.id, row.document_id, row.text, "\n".join(dict.fromkeys((row.title, *orjson.loads(row.heading_path)))), one)
        for row, one in zip(rows, given, strict=True)
    ]
