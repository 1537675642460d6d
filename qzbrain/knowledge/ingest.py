"""The job `ingest`: bring one uploaded document to `ready`, or to `failed` with a reason. Many are done together, see `pipeline`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, select, update

from qzbrain.errors import BrainError, ParseFailed
from qzbrain.jobs.base import Job
from qzbrain.jobs.leases import Kind, Lease, LeaseRunner
from qzbrain.knowledge.answers import Reached
from qzbrain.knowledge.pipeline import Pipeline
from qzbrain.knowledge.reader import ReadRequest
from qzbrain.knowledge.records import fail_document, let_document_wait
from qzbrain.storage.database import Database
from qzbrain.storage.files import FileStore
from qzbrain.storage.tables import document_texts, documents, knowledge_bases

_BATCH = 512
_MIRRORED = ("stage", "progress_done", "progress_total", "progress_unit", "progress_rate")
_to_read = select(
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

    def __init__(self, database: Database, files: FileStore, runner: LeaseRunner, pipeline: Pipeline) -> None:
        self._db, self._files, self._runner, self._pipeline = database, files, runner, pipeline

    @property
    def kind(self) -> Kind:
        """How the runner does these jobs."""
        return Kind(self.handle, failed=_failed, batch=_BATCH, waits=_waits, shows=_shows)

    def handle(self, leases: Sequence[Lease]) -> None:
        """Read the documents of these jobs. One that was deleted meanwhile is dropped without a word. Raises what is to be waited out."""
        self._pipeline.ready()
        by_document = {lease.job.subject: lease for lease in leases}
        with self._db.write() as connection:
            rows = connection.execute(_to_read.where(documents.c.id.in_(list(by_document)))).all()
            begun = update(documents).where(documents.c.id.in_([row.id for row in rows]))
            connection.execute(begun.values(status="running", stage="parse", reason_code=None, reason_zh=None, reason_en=None))
        order = {document_id: position for position, document_id in enumerate(by_document)}
        rows = sorted(rows, key=lambda row: order[row.id])
        owner = _Leases(self._db, self._runner, by_document)

        def progress(request: ReadRequest, reached: Reached) -> None:
            stage = "chunk" if reached.unit == "chunks" else "parse"
            by_document[request.document_id].progress(stage, reached.done, reached.total, reached.unit)

        self._pipeline.run(self._requests(rows), owner, beat=lambda request: by_document[request.document_id].heartbeat(), progress=progress)

    def _requests(self, rows: Iterable[Row[*tuple[Any, ...]]]) -> Iterator[ReadRequest]:
        for row in rows:
            text = None
            if not row.stored:
                found = self._db.rows(select(document_texts.c.text).where(document_texts.c.document_id == row.id))
                if not found:
                    continue  # deleted meanwhile
                text = found[0].text
            yield ReadRequest(
                document_id=row.id,
                kb_id=row.kb_id,
                name=row.name,
                chunk_chars=row.chunk_chars,
                overlap_chars=row.overlap_chars,
                path=self._files.path(row.sha256) if row.stored else None,
                text=text,
                title="" if row.stored else row.title,
                size_bytes=row.size_bytes if row.stored else 0,
            )


class _Leases:
    """The pipeline's owner: each document stands for a job that this worker holds."""

    def __init__(self, database: Database, runner: LeaseRunner, by_document: dict[str, Lease]) -> None:
        self._db, self._runner, self._leases = database, runner, by_document

    def wanted(self, connection: Connection, document_ids: Sequence[str]) -> set[str]:
        held = self._runner.still_held(connection, [self._leases[x] for x in document_ids])
        return {lease.job.subject for lease in held}

    def ready(self, connection: Connection, document_ids: Sequence[str]) -> None:
        for document_id in document_ids:
            self._leases[document_id].complete(connection)

    def failed(self, document_id: str, error: ParseFailed) -> None:
        with self._db.write() as connection:
            self._leases[document_id].fail(connection, error)


def _failed(connection: Connection, job: Job, error: BrainError) -> None:
    fail_document(connection, job.subject, error)


def _shows(connection: Connection, job: Job, values: Mapping[str, Any]) -> None:
    shown = update(documents).where(documents.c.id == job.subject, documents.c.status == "running")
    connection.execute(shown.values({name: values[name] for name in _MIRRORED}))


def _waits(connection: Connection, job: Job, error: BrainError) -> None:
    let_document_wait(connection, job.subject, error)
