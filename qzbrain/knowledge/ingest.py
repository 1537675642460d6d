"""The job `ingest`: bring one uploaded document to `ready`, or to `failed` with a reason. Many are done together, see `pipeline`.

One that takes long, or surely will, becomes a job `ingest_long`: those are done one by one in a lane of their own, by a child of their
own, and what was uploaded after a scan of an hour does not wait for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from sqlalchemy import Connection, Row, select, update

from qzbrain.errors import BrainError, ParseFailed
from qzbrain.jobs.base import Job
from qzbrain.jobs.leases import Kind, Lease, LeaseRunner
from qzbrain.knowledge.answers import Reached
from qzbrain.knowledge.edit_rows import edits_of
from qzbrain.knowledge.edits import Edit, original
from qzbrain.knowledge.pipeline import Pipeline
from qzbrain.knowledge.reader import ReadRequest
from qzbrain.knowledge.records import STARTING_OVER, fail_document, let_document_wait
from qzbrain.storage.database import Database
from qzbrain.storage.files import FileStore
from qzbrain.storage.tables import document_texts, documents, knowledge_bases

LONG = "ingest_long"
KINDS = ("ingest", LONG)
"""The kinds of jobs that read one document."""
PATIENCE_S = 5.0
SMALL_PATIENCE_S = 20.0
"""Of a small one, which may have met a busy machine and should not stand in line behind scans for that."""
_LARGE_BYTES = 32 << 20
_SMALL_BYTES = 1 << 16
_BATCH = 512
_MIRRORED = ("stage", "progress_done", "progress_total", "progress_unit", "progress_rate")
TO_READ = select(
    documents.c.id,
    documents.c.kb_id,
    documents.c.name,
    documents.c.title,
    documents.c.sha256,
    documents.c.stored,
    documents.c.size_bytes,
    knowledge_bases.c.chunk_chars,
    knowledge_bases.c.overlap_chars,
).join(knowledge_bases, knowledge_bases.c.id == documents.c.kb_id)


class Ingest:
    """Handles jobs whose subject is a document."""

    def __init__(
        self, database: Database, files: FileStore, runner: LeaseRunner, pipeline: Pipeline, put_off: Callable[[], None] | None = None
    ) -> None:
        """`put_off`: told after documents were left to `ingest_long`; None: this is who does those."""
        self._db, self._files, self._runner, self._pipeline = database, files, runner, pipeline
        self._tell_put_off = put_off

    @property
    def kind(self) -> Kind:
        """How the runner does these jobs."""
        batch = _BATCH if self._tell_put_off is not None else 1
        return Kind(self.handle, failed=_failed, batch=batch, waits=_waits, shows=_shows)

    def handle(self, leases: Sequence[Lease]) -> None:
        """Read the documents of these jobs. One that was deleted meanwhile is dropped without a word. Raises what is to be waited out."""
        self._pipeline.ready()
        by_document = {lease.job.subject: lease for lease in leases}
        owner = _Leases(self._db, self._runner, by_document, self._tell_put_off)
        for document_id in self._pipeline.take_up(documents.c.id.in_(list(by_document)), owner):
            by_document.pop(document_id)
        with self._db.write() as connection:
            rows = connection.execute(TO_READ.where(documents.c.id.in_(list(by_document)))).all()
            begun = update(documents).where(documents.c.id.in_([row.id for row in rows]))
            connection.execute(begun.values(status="running", stage="parse", reason_code=None, reason_zh=None, reason_en=None))
        order = {document_id: position for position, document_id in enumerate(by_document)}
        rows = sorted(rows, key=lambda row: order[row.id])

        def progress(request: ReadRequest, reached: Reached) -> None:
            stage = "chunk" if reached.unit == "chunks" else "parse"
            by_document[request.document_id].progress(stage, reached.done, reached.total, reached.unit)

        def beat(request: ReadRequest) -> None:
            by_document[request.document_id].heartbeat()

        patience = _Patience() if self._tell_put_off is not None else None
        self._pipeline.run(self._requests(rows), owner, beat=beat, progress=progress, patience=patience)

    def _requests(self, rows: Iterable[Row[*tuple[Any, ...]]]) -> Iterator[ReadRequest]:
        for row in rows:
            text = None
            if not row.stored:
                found = self._db.rows(select(document_texts.c.text).where(document_texts.c.document_id == row.id))
                if not found:
                    continue  # deleted meanwhile
                text = original(found[0].text, self._edits(row.id))
            yield request_of(row, self._files, text)

    def _edits(self, document_id: str) -> Sequence[Edit]:
        with self._db.read() as connection:
            return edits_of(connection, [document_id]).get(document_id, ())


def request_of(row: Row[*tuple[Any, ...]], files: FileStore, text: str | None) -> ReadRequest:
    """How to read a document: `row` has the columns of `TO_READ`; `text`: that of one given directly, without edits."""
    return ReadRequest(
        document_id=row.id,
        kb_id=row.kb_id,
        name=row.name,
        chunk_chars=row.chunk_chars,
        overlap_chars=row.overlap_chars,
        path=files.path(row.sha256) if row.stored else None,
        text=text,
        title="" if row.stored else row.title,
        size_bytes=row.size_bytes if row.stored else 0,
    )


class _Patience:
    """Long is what is large, what has taken seconds, and for the rest of the batch what looks like it: of the same kind by its name, and no smaller."""

    def __init__(self) -> None:
        self._long: dict[str, int] = {}

    def seconds(self, request: ReadRequest) -> float:
        return PATIENCE_S if request.size_bytes >= _SMALL_BYTES else SMALL_PATIENCE_S

    def took_long(self, request: ReadRequest) -> None:
        if request.size_bytes >= _SMALL_BYTES:
            suffix = PurePath(request.name).suffix.lower()
            self._long[suffix] = min(request.size_bytes, self._long.get(suffix, _LARGE_BYTES))

    def expects_long(self, request: ReadRequest) -> bool:
        least = self._long.get(PurePath(request.name).suffix.lower(), _LARGE_BYTES)
        return request.size_bytes >= least


class _Leases:
    """The pipeline's owner: each document stands for a job that this worker holds."""

    def __init__(self, database: Database, runner: LeaseRunner, by_document: dict[str, Lease], tell_put_off: Callable[[], None] | None) -> None:
        self._db, self._runner, self._leases = database, runner, by_document
        self._tell_put_off = tell_put_off

    def wanted(self, connection: Connection, document_ids: Sequence[str]) -> set[str]:
        held = self._runner.still_held(connection, [self._leases[x] for x in document_ids])
        return {lease.job.subject for lease in held}

    def ready(self, connection: Connection, document_ids: Sequence[str]) -> None:
        for document_id in document_ids:
            self._leases[document_id].complete(connection)

    def failed(self, document_id: str, error: ParseFailed) -> None:
        with self._db.write() as connection:
            self._leases[document_id].fail(connection, error)

    def put_off(self, document_id: str) -> None:
        with self._db.write() as connection:
            if self.wanted(connection, [document_id]):
                self._leases[document_id].move(connection, LONG)
                connection.execute(update(documents).where(documents.c.id == document_id).values(STARTING_OVER))
        if self._tell_put_off is not None:
            self._tell_put_off()


def _failed(connection: Connection, job: Job, error: BrainError) -> None:
    fail_document(connection, job.subject, error)


def _shows(connection: Connection, job: Job, values: Mapping[str, Any]) -> None:
    shown = update(documents).where(documents.c.id == job.subject, documents.c.status == "running")
    connection.execute(shown.values({name: values[name] for name in _MIRRORED}))


def _waits(connection: Connection, job: Job, error: BrainError) -> None:
    let_document_wait(connection, job.subject, error)
