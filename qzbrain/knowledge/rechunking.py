"""The job `rechunk`: read every document of a knowledge base anew, after its chunk sizes have changed.

Each document is replaced in one transaction and stays `ready`: what was found of it before is found until then. One that can no longer be
read keeps what it had, and its row says why. Steps aside for uploads between documents and goes on after the last one that it read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, func, select, update

from qzbrain.errors import ParseFailed
from qzbrain.jobs.leases import Kind, Lease, LeaseRunner
from qzbrain.knowledge.edit_rows import edits_of
from qzbrain.knowledge.edits import original
from qzbrain.knowledge.ingest import TO_READ, request_of
from qzbrain.knowledge.pipeline import Pipeline
from qzbrain.knowledge.reader import ReadRequest
from qzbrain.storage.database import Database
from qzbrain.storage.files import FileStore
from qzbrain.storage.tables import document_texts, documents, jobs

KIND = "rechunk"
_AT_ONCE = 50
"""Documents between two looks whether something else is due."""


class Rechunking:
    """Handles jobs whose `kb_id` names a knowledge base."""

    def __init__(self, database: Database, files: FileStore, pipeline: Pipeline) -> None:
        self._db, self._files, self._pipeline = database, files, pipeline

    @property
    def kind(self) -> Kind:
        """How the runner does these jobs."""
        return Kind(self.handle, rank=1)

    def handle(self, leases: Sequence[Lease]) -> None:
        """Read what is ready, in the order of the ids. What comes or is retried meanwhile is read with the new sizes by its own job."""
        self._pipeline.ready()
        for lease in leases:
            self._read_again(lease)

    def _read_again(self, lease: Lease) -> None:
        owner = _Owner(self._db, lease)
        while ids := self._next(lease.job.kb_id, owner.last):
            self._pipeline.run(self._requests(ids), owner, beat=lambda _: lease.heartbeat())
            owner.passed(ids[-1])
            lease.give_way()
        with self._db.write() as connection:
            lease.complete(connection, {"documents": owner.result["documents"], "failed": owner.result["failed"]})

    def _next(self, kb_id: str, after: str) -> list[str]:
        query = select(documents.c.id).where(documents.c.kb_id == kb_id, documents.c.id > after, _READ_AGAIN)
        return [row.id for row in self._db.rows(query.order_by(documents.c.id).limit(_AT_ONCE))]

    def _requests(self, ids: Sequence[str]) -> Iterator[ReadRequest]:
        for document_id in ids:
            with self._db.read() as connection:
                row = connection.execute(TO_READ.where(documents.c.id == document_id)).first()
                if row is None:
                    continue  # deleted meanwhile
                text = None
                if not row.stored:
                    found = connection.execute(select(document_texts.c.text).where(document_texts.c.document_id == document_id)).scalar()
                    text = original(found or "", edits_of(connection, [document_id]).get(document_id, ()))
            yield request_of(row, self._files, text)


_READ_AGAIN = (documents.c.status == "ready") & (documents.c.kind == "file")


class _Owner:
    """The pipeline's owner: all documents stand for the one job. How far it is stands in the job's result, from which another run goes on."""

    def __init__(self, database: Database, lease: Lease) -> None:
        self._db, self._lease = database, lease
        before = database.rows(select(jobs.c.result).where(jobs.c.id == lease.job.id))
        self.result: dict[str, Any] = {"documents": 0, "failed": 0, "after": "", **((before[0].result if before else None) or {})}
        left = select(func.count()).select_from(documents).where(documents.c.kb_id == lease.job.kb_id, documents.c.id > self.last, _READ_AGAIN)
        self._total = self.result["documents"] + self.result["failed"] + int(database.rows(left)[0][0])

    @property
    def last(self) -> str:
        """The last document that is done with."""
        return str(self.result["after"])

    def passed(self, document_id: str) -> None:
        """All documents up to this one are done with."""
        self.result["after"] = document_id
        done = self.result["documents"] + self.result["failed"]
        self._lease.progress("index", done, max(self._total, done), "documents", self.result)

    def wanted(self, connection: Connection, document_ids: Sequence[str]) -> set[str]:
        """One that is being uploaded anew meanwhile is left to its own job."""
        query = select(documents.c.id).where(documents.c.id.in_(document_ids), documents.c.status == "ready")
        return set(connection.execute(query).scalars())

    def ready(self, connection: Connection, document_ids: Sequence[str]) -> None:
        self.result["documents"] += len(document_ids)
        again = update(documents).where(documents.c.id.in_(document_ids))
        connection.execute(again.values(reason_code=None, reason_zh=None, reason_en=None))
        done = self.result["documents"] + self.result["failed"]
        self._lease.show(connection, "index", done, max(self._total, done), "documents")

    def failed(self, document_id: str, error: ParseFailed) -> None:
        self.result["failed"] += 1
        reason = {
            "reason_code": error.code,
            "reason_zh": f"重新切分时无法再次读取，保留原有段落：{error.zh}",
            "reason_en": f"It could not be read again to be cut anew, so its chunks stay as they were: {error.en}",
        }
        with self._db.write() as connection:
            connection.execute(update(documents).where(documents.c.id == document_id, documents.c.status == "ready").values(**reason))

    def put_off(self, document_id: str) -> None:
        """Nothing is: this is the work that waits for all other."""


def submit_rechunking(connection: Connection, runner: LeaseRunner, kb_id: str) -> str:
    """See that a knowledge base's documents are read anew; a job that has not begun will do. Returns the job's id."""
    query = select(jobs.c.id, jobs.c.result).where(jobs.c.kind == KIND, jobs.c.kb_id == kb_id, jobs.c.status == "pending")
    for row in connection.execute(query):
        if not row.result:
            return str(row.id)
    return runner.submit(connection, KIND, kb_id=kb_id)
