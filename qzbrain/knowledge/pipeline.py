"""From documents to found passages: read in the child, store in one transaction, index, mark as ready; several documents at a time.

Reading, taking in what was read, and indexing what is stored go on beside each other: in the child, in this thread, and in a second one.

Safe to be run twice at every point: storing replaces what was stored, the outbox is applied as SQL stands at that moment, and `ready`
comes after the index commit that holds the document. What documents state about themselves is in the graph when they are stored: a search right after
`ready` finds what a later one finds.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import copy_context
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import groupby
from typing import Any, Protocol

import orjson
from sqlalchemy import ColumnElement, Connection, Dialect, bindparam, insert, select, update

from qzbrain import metrics, tracing
from qzbrain.errors import ParseFailed
from qzbrain.graph.embedded import SqlGraph
from qzbrain.graph.stated import state
from qzbrain.graph.statements import RULES, may_state
from qzbrain.knowledge import heap
from qzbrain.knowledge.answers import ReadDocument
from qzbrain.knowledge.edit_rows import edits_of, store_outcomes
from qzbrain.knowledge.edits import Edit, Piece, drafts, reapplied
from qzbrain.knowledge.reader import Outcome, Patience, Progress, PutOff, Reader, ReadRequest, unheard
from qzbrain.knowledge.records import mark_ready
from qzbrain.knowledge.removal import forget_content
from qzbrain.retrieval.feeder import DocumentTokens, Feeder, Tokens
from qzbrain.stages import ingest_stage
from qzbrain.storage.database import Database
from qzbrain.storage.tables import chunks, document_texts, documents, outbox

_FIRST_BATCH_CHUNKS = 1000
_BATCH_CHUNKS = 4000
"""Each batch is a commit of the index: with twice as many of half the size, merging them took a fifth of indexing (2026-11-28)."""
_BATCH_CHARS = 8_000_000
_BATCH_S = 1.0
_NICE = 3
STORED = "index"
"""The stage of a document whose chunks are stored, and that the index may or may not hold already."""
_KINDS = {
    "pdf": "pdf", "image/": "image", "html": "html", "word": "word", "presentation": "slides", "sheet": "sheet", "excel": "sheet", "csv": "sheet",
    "markdown": "text", "text/plain": "text", "json": "json", "epub": "book",
}  # fmt: skip
"""Kinds of files as metrics name them, by what their type holds."""
_MOST_CODES = 40
_codes: set[str] = set()
"""Reasons for which documents could not be read. The reading child names them, and it may have been taken over by a file: so many and no more."""
_stored = update(documents).where(documents.c.id == bindparam("document_id"))


class Owner(Protocol):
    """On whose behalf documents are read."""

    def wanted(self, connection: Connection, document_ids: Sequence[str]) -> set[str]:
        """Those that are still to be stored: not deleted, cancelled or taken over by another worker meanwhile."""

    def ready(self, connection: Connection, document_ids: Sequence[str]) -> None:
        """They can be found now; called in the transaction that marks them."""

    def failed(self, document_id: str, error: ParseFailed) -> None:
        """One cannot be read."""

    def put_off(self, document_id: str) -> None:
        """One is to be read elsewhere: it would keep the others waiting."""


Follow = Callable[[Connection, str], object]
"""Called in the transaction that makes documents of a knowledge base ready: what comes after is submitted there."""


def _nothing_follows(_connection: Connection, _kb_id: str) -> None:
    """Nobody waits for them."""


class Pipeline:
    """Reads, stores and indexes. For one thread."""

    def __init__(
        self, database: Database, feeder: Callable[[], Feeder], reader: Reader, follow: Follow = _nothing_follows, graph: SqlGraph | None = None
    ) -> None:
        """`graph`: takes what documents state about themselves, in the transaction that stores them; None: they are not looked through."""
        self._db, self._feeder, self._reader, self._follow, self._graph = database, feeder, reader, follow, graph

    def ready(self) -> None:
        """Raises IndexUnavailable when what is read now could not be indexed: then nothing is read either."""
        self._feeder().ready()

    def take_up(self, which: ColumnElement[bool], owner: Owner) -> set[str]:
        """Bring those of these documents to their end that were stored and not marked as ready when their worker was killed; returns their ids.

        Reading and storing them again would leave what is indexed already as deleted chunks, which count in the statistics of words.
        """
        left = which, documents.c.stage == STORED, documents.c.status.in_(("pending", "running"))
        rows = self._db.rows(select(documents.c.id, documents.c.kb_id).where(*left).order_by(documents.c.kb_id, documents.c.id))
        for kb_id, group in groupby(rows, key=lambda row: row.kb_id):
            self._index(_Stored(kb_id, [row.id for row in group], {}), owner)
        return {row.id for row in rows}

    def run(
        self,
        requests: Iterable[ReadRequest],
        owner: Owner,
        *,
        beat: Callable[[ReadRequest], None],
        progress: Progress = unheard,
        patience: Patience | None = None,
    ) -> None:
        """Bring all documents to `ready` or to failure, but for those put off. `beat`, `progress`, `patience`: see `Reader.read`.

        When it raises, those that were stored before are ready, unless it is their indexing that raised.
        """
        batch, indexing = _Batch(), _Beside()

        def store() -> None:
            indexing.end()  # its last step needs the database: a kill while it waits for ours would have documents indexed twice
            for stored in self._store(batch.take(), owner):
                indexing.begin(partial(self._index, stored, owner))

        def beat_and_store(request: ReadRequest) -> None:
            beat(request)
            if batch.is_due():  # a slow document does not hold up those before it
                store()

        try:
            with tracing.span("read"):
                for request, outcome in _timed(self._reader.read(requests, beat=beat_and_store, progress=progress, patience=patience)):
                    _count(outcome)
                    if isinstance(outcome, PutOff):
                        owner.put_off(request.document_id)
                    elif isinstance(outcome, ParseFailed):
                        owner.failed(request.document_id, outcome)
                    else:
                        batch.add(request, outcome)
                        if batch.is_full():
                            store()
                store()
        except BaseException:
            indexing.end(quietly=True)
            raise
        indexing.end()

    def _store(self, batch: Sequence[tuple[ReadRequest, ReadDocument]], owner: Owner) -> Iterator[_Stored]:
        for kb_id, group in groupby(sorted(batch, key=lambda x: x[0].kb_id), key=lambda x: x[0].kb_id):
            of_kb = list(group)
            with ingest_stage("store"), self._db.write() as connection:
                wanted = owner.wanted(connection, [request.document_id for request, _ in of_kb])
                kept = [x for x in of_kb if x[0].document_id in wanted]
                edited = _write(connection, kb_id, kept, self._graph)
            metrics.CHUNKS_STORED.inc(sum(len(read.chunks) for _, read in kept))
            if kept:
                tokens = {request.document_id: DocumentTokens(read.tokens, read.headings) for request, read in kept if request.document_id not in edited}
                yield _Stored(kb_id, [request.document_id for request, _ in kept], tokens)

    def _index(self, stored: _Stored, owner: Owner) -> None:
        with ingest_stage("index"):
            self._feeder().catch_up(stored.kb_id, stored.tokens)
        with self._db.write() as connection:
            still = owner.wanted(connection, stored.document_ids)
            mark_ready(connection, still)
            owner.ready(connection, sorted(still))
            self._follow(connection, stored.kb_id)
        heap.give_back()


@dataclass(frozen=True, slots=True)
class _Stored:
    """Documents of a knowledge base that are stored and not indexed."""

    kb_id: str
    document_ids: Sequence[str]
    tokens: Tokens


class _Beside:
    """One piece of work at a time in a thread of its own."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._raised: BaseException | None = None

    def begin(self, work: Callable[[], None]) -> None:
        """Begin when what was begun before has ended. Raises what that raised."""
        self.end()
        self._thread = threading.Thread(target=copy_context().run, args=(self._run, work))
        self._thread.start()

    def end(self, *, quietly: bool = False) -> None:
        """Wait for the end. Raises what the work raised; `quietly`: another exception is under way already."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        raised, self._raised = self._raised, None
        if raised is not None and not quietly:
            raise raised

    def _run(self, work: Callable[[], None]) -> None:
        try:
            if sys.platform == "linux":  # there a thread, and those that the index starts in it, can leave the processor to answers, as the reading child does
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
            work()
        except BaseException as exc:  # noqa: BLE001  whatever it was, the thread that waits must hear of it
            self._raised = exc


def _timed(outcomes: Iterator[tuple[ReadRequest, Outcome]]) -> Iterator[tuple[ReadRequest, Outcome]]:
    """The same, with the waits for the reading child as the stage `read`."""
    while True:
        with ingest_stage("read", spanned=False):
            one = next(outcomes, None)
        if one is None:
            return
        yield one


def _count(outcome: Outcome) -> None:
    """What a file that could not be read is may not be known. One that is put off is counted when it is read."""
    if isinstance(outcome, ParseFailed):
        if outcome.code not in _codes and len(_codes) < _MOST_CODES:
            _codes.add(outcome.code)
        metrics.DOCUMENTS_READ.labels("unknown", outcome.code if outcome.code in _codes else "other").inc()
    elif isinstance(outcome, ReadDocument):
        kind = next((kind for part, kind in _KINDS.items() if part in outcome.mime_type), "other")
        metrics.DOCUMENTS_READ.labels(kind, "read").inc()
        metrics.PAGES_READ.inc(outcome.pages or 0)
        metrics.OCR_PAGES.inc(outcome.ocr_pages)


class _Batch:
    """Documents read and not stored yet."""

    def __init__(self) -> None:
        self._read: list[tuple[ReadRequest, ReadDocument]] = []
        self._chunks = self._chars = 0
        self._most_chunks = _FIRST_BATCH_CHUNKS  # so that there is soon something to index
        self._since = 0.0

    def add(self, request: ReadRequest, read: ReadDocument) -> None:
        if not self._read:
            self._since = time.monotonic()
        self._read.append((request, read))
        self._chunks += len(read.chunks)
        self._chars += len(read.text)

    def is_full(self) -> bool:
        return self._chunks >= self._most_chunks or self._chars >= _BATCH_CHARS

    def is_due(self) -> bool:
        return bool(self._read) and time.monotonic() - self._since >= _BATCH_S

    def take(self) -> list[tuple[ReadRequest, ReadDocument]]:
        taken, self._read, self._chunks, self._chars = self._read, [], 0, 0
        self._most_chunks = min(2 * self._most_chunks, _BATCH_CHUNKS)
        return taken


def _write(connection: Connection, kb_id: str, read: Sequence[tuple[ReadRequest, ReadDocument]], graph: SqlGraph | None) -> set[str]:
    """Returns the documents that are stored with people's edits in them: the tokens of what was read are not theirs."""
    if not read:
        return set()
    forget_content(connection, [request.document_id for request, _ in read], texts=False)
    edits = edits_of(connection, [request.document_id for request, _ in read])
    read = [(request, _edited(connection, request.document_id, one, edits.get(request.document_id, ()))) for request, one in read]
    texts = [{"document_id": x.document_id, "text": one.text} for x, one in read if x.text is None or x.document_id in edits]
    if texts:
        connection.execute(document_texts.delete().where(document_texts.c.document_id.in_([x["document_id"] for x in texts])))
        connection.execute(insert(document_texts), texts)
    rows = [row for request, one in read for row in _chunk_rows(kb_id, request.document_id, one)]
    if rows:
        connection.exec_driver_sql(_chunk_insert(connection.dialect), rows)
    connection.execute(insert(outbox), [{"kb_id": kb_id, "op": "put", "document_id": request.document_id} for request, _ in read])
    values = ("title", "mime_type", "pages", "chunks", "chars", "progress_total")
    begun = {"stage": STORED, "progress_unit": "chunks", "progress_done": 0, "progress_rate": 0.0, "graph_rules": 0 if graph is None else RULES}
    change = _stored.values({name: bindparam(f"new_{name}") for name in values} | begun)
    connection.execute(change, [_shown(request, one) for request, one in read])
    if graph is not None:
        telling = [request.document_id for request, one in read if may_state(len(one.text), {x.reference for x in one.chunks})]
        state(connection, graph, kb_id, telling)
    return set(edits)


def _edited(connection: Connection, document_id: str, read: ReadDocument, edits: Sequence[Edit]) -> ReadDocument:
    """What was read, with the edits that people made in it before."""
    if not edits:
        return read
    pieces = [Piece(x.start, x.end) for x in read.chunks]
    text, outcomes = reapplied(read.text, pieces, edits)
    store_outcomes(connection, document_id, edits, outcomes)
    return replace(read, text=text, chunks=drafts(text, read.chunks, pieces))


def _shown(request: ReadRequest, read: ReadDocument) -> dict[str, Any]:
    return {
        "document_id": request.document_id,
        "new_title": request.title or read.title,
        "new_mime_type": read.mime_type,
        "new_pages": read.pages,
        "new_chunks": len(read.chunks),
        "new_chars": len(read.text),
        "new_progress_total": len(read.chunks),
    }


_CHUNK = ("document_id", "kb_id", "ordinal", "text", "start", "end", "page", "heading_path", "reference", "disabled")


@lru_cache
def _chunk_insert(dialect: Dialect) -> str:
    """For the driver, values in the order of _CHUNK: to look at each row as SQLAlchemy does took a tenth of storing (2026-11-29)."""
    return str(insert(chunks).values({name: bindparam(name) for name in _CHUNK}).compile(dialect=dialect))


def _chunk_rows(kb_id: str, document_id: str, read: ReadDocument) -> Iterator[tuple[Any, ...]]:
    """In the order of _CHUNK."""
    paths: dict[tuple[str, ...], str] = {}
    for x in read.chunks:
        if (path := paths.get(x.heading_path)) is None:
            path = paths[x.heading_path] = orjson.dumps(x.heading_path).decode()
        yield document_id, kb_id, x.ordinal, x.text, x.start, x.end, x.page, path, x.reference, int(x.disabled)
