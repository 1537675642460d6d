"""Knowledge bases, documents and their jobs behind one door. Every method takes the caller first and asks `auth.access`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import get_args

from sqlalchemy import delete, select, update

from qzbrain.auth.access import Access
from qzbrain.domain import Caller, JobRecord, JobStatus, Page
from qzbrain.errors import BrainError, InvalidRequest
from qzbrain.jobs.leases import LeaseRunner
from qzbrain.knowledge.bases import KnowledgeBases, page_size
from qzbrain.knowledge.chunk_edits import ChunkEdits
from qzbrain.knowledge.documents import Documents
from qzbrain.knowledge.ingest import KINDS
from qzbrain.knowledge.records import STARTING_OVER, fail_document, fail_unread
from qzbrain.knowledge.semantics import Semantics
from qzbrain.knowledge.visible_jobs import VisibleJobs
from qzbrain.settings import Settings
from qzbrain.storage.database import Database
from qzbrain.storage.files import FileStore
from qzbrain.storage.tables import documents, jobs

_AT_ONCE = 500


class KnowledgeService(KnowledgeBases, Documents, ChunkEdits):
    """What the web and the command line use."""

    def __init__(self, database: Database, files: FileStore, access: Access, runner: LeaseRunner, settings: Settings) -> None:
        semantics = Semantics(database, runner, settings)
        KnowledgeBases.__init__(self, database, access, runner, semantics)
        ChunkEdits.__init__(self, database, access, runner, semantics, settings)
        Documents.__init__(self, database, files, access, runner, settings)
        self._visible_jobs = VisibleJobs(access)

    def jobs(self, caller: Caller, status: str | None = None, limit: int = 50, after: str | None = None) -> Page[JobRecord]:
        """Jobs that the caller may know of, newest first. Raises InvalidRequest."""
        self._access.require(caller, "read")
        if status is not None and status not in get_args(JobStatus):
            allowed = ", ".join(get_args(JobStatus))
            raise InvalidRequest(zh=f"status 只能是 {allowed} 之一。", en=f"status is one of {allowed}.", param="status")
        if after is not None and not after.isprintable():
            raise InvalidRequest(zh="after 不是有效的游标。", en="after is no cursor of this list.", param="after")
        found = self._jobs.jobs(status, page_size(limit), after, where=self._visible_jobs.where(caller))
        return replace(found, data=tuple(self._line.jobs(self._visible_jobs.shown(caller, found.data))))

    def job(self, caller: Caller, job_id: str) -> JobRecord:
        """One job. Raises NotFound."""
        job = self._jobs.get(job_id if job_id.isprintable() else "", where=self._visible_jobs.where(caller))
        return self._line.jobs(self._visible_jobs.shown(caller, [job]))[0]

    def unfinished_jobs(self, caller: Caller, job_ids: Collection[str]) -> set[str]:
        """Those of these jobs that wait or run; for following many at once."""
        self._access.require(caller, "read")
        return self._jobs.unfinished(job_ids)

    def retry_job(self, caller: Caller, job_id: str) -> JobRecord:
        """Run a failed or cancelled job again from the start. Raises NotFound, Conflict, PermissionRefused."""
        job = self.job(caller, job_id)
        self._access.require(caller, "write", job.kb_id)
        with self._db.write(durable=True) as connection:
            self._jobs.retry_within(connection, job.id)
            if job.kind in KINDS:
                connection.execute(update(documents).where(documents.c.id == job.subject).values(STARTING_OVER))
        return self.job(caller, job.id)

    def retry_documents(self, caller: Caller, kb: str, code: str | None = None) -> int:
        """Read all failed documents of a knowledge base again, or those that failed for this reason; returns how many.

        Their failed jobs give way to new ones. Raises NotFound, PermissionRefused.
        """
        ref = self._access.resolve(caller, [kb])[0]
        self._access.require(caller, "write", ref.id)
        failed = (documents.c.kb_id == ref.id) & (documents.c.status == "failed") & (documents.c.kind == "file")
        if (ceiling := self._access.ceiling(caller, ref.id)) is not None:
            failed &= documents.c.level <= ceiling
        if code is not None:
            failed &= documents.c.reason_code == (code if code.isprintable() else "")
        with self._db.write(durable=True) as connection:
            ids = connection.execute(select(documents.c.id).where(failed).order_by(documents.c.id)).scalars().all()
            for start in range(0, len(ids), _AT_ONCE):
                some = ids[start : start + _AT_ONCE]
                over = jobs.c.subject.in_(some) & jobs.c.kind.in_(KINDS) & jobs.c.status.in_(("failed", "cancelled"))
                connection.execute(delete(jobs).where(over))
                connection.execute(update(documents).where(documents.c.id.in_(some)).values(STARTING_OVER))
            self._jobs.submit_many(connection, "ingest", ids, kb_id=ref.id)
        return len(ids)

    def cancel_job(self, caller: Caller, job_id: str) -> JobRecord:
        """Stop a pending or running job; a document that it was reading is then `failed` as cancelled. Raises NotFound, Conflict, PermissionRefused."""
        job = self.job(caller, job_id)
        self._access.require(caller, "write", job.kb_id)
        with self._db.write(durable=True) as connection:
            self._jobs.cancel_within(connection, job.id)
            if job.kind in KINDS:
                fail_document(connection, job.subject, _cancelled())
            elif job.kind == "corpus":
                fail_unread(connection, job.kb_id, _cancelled())
        return self.job(caller, job.id)


def _cancelled() -> BrainError:
    return BrainError(
        "cancelled",
        zh="处理已被取消。可重试该任务，或重新上传该文件。",
        en="Reading was cancelled. Retry the job, or upload the file again.",
    )
