"""Why a document or a job waits, and where it stands in the line. Every wait has a reason: one it was given, no worker, or those before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import select

from qzbrain.domain import Document, JobRecord, Waiting
from qzbrain.jobs.lock import worker_is_alive
from qzbrain.jobs.places import places
from qzbrain.settings import Settings
from qzbrain.storage.database import Database
from qzbrain.storage.tables import jobs


class WaitingLine:
    """Completes what is shown with what it waits for."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._db, self._settings = database, settings

    def jobs(self, shown: Sequence[JobRecord]) -> list[JobRecord]:
        """The same jobs; those that are pending say what they wait for."""
        ids: dict[str, set[str]] = {}
        for job in shown:
            if job.status == "pending":
                ids.setdefault(job.kind, set()).add(job.id)
        if not ids:
            return list(shown)
        found = {job_id: place for kind, some in ids.items() for job_id, place in places(self._db, kind, some).items()}
        worker = self._has_worker()
        return [replace(job, waiting=_waiting(job, found.get(job.id), worker=worker)) if job.status == "pending" else job for job in shown]

    def documents(self, shown: Sequence[Document]) -> list[Document]:
        """The same documents; those that are pending say what they wait for."""
        ids = [document.id for document in shown if document.status == "pending"]
        if not ids:
            return list(shown)
        query = select(jobs.c.id, jobs.c.kind, jobs.c.subject).where(jobs.c.subject.in_(ids), jobs.c.status == "pending")
        rows = self._db.rows(query)
        found: dict[str, int] = {}
        for kind in {row.kind for row in rows}:
            found |= places(self._db, kind, {row.id for row in rows if row.kind == kind})
        by_document = {row.subject: found.get(row.id) for row in rows}
        worker = self._has_worker()
        return [replace(one, waiting=_waiting(one, by_document.get(one.id), worker=worker)) if one.status == "pending" else one for one in shown]

    def _has_worker(self) -> bool:
        """Workers on other machines cannot be seen; only where all work is done here is one missed."""
        elsewhere = bool(self._settings.redis_host or self._settings.es_url_add)
        return elsewhere or worker_is_alive(self._settings.data)


def _waiting(one: Document | JobRecord, place: int | None, *, worker: bool) -> Waiting:
    if worker and isinstance(one, JobRecord) and one.kind == "scan" and one.reason_code is None:
        return Waiting("next_time", "等待下一次扫描。", "It waits for the next time to look.", None)
    if not worker:
        return Waiting("no_worker", "后台处理进程没有运行；启动后会继续。", "The worker is not running; this goes on when it is.", place)
    if one.reason_code is not None:
        return Waiting(one.reason_code, one.reason_zh or one.reason_code, one.reason_en or one.reason_code, place)
    if place is None:
        return Waiting("in_line", "正在排队。", "It waits for its turn.", None)
    return Waiting("in_line", f"正在排队，当前第 {place} 位。", f"It waits for its turn: number {place} in the line.", place)
