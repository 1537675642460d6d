"""The jobs table as everyone but the worker sees it: submit, cancel, retry, list."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, insert, select, update

from qzbrain.domain import JobRecord, JobStatus, Page, new_id, utc_now
from qzbrain.errors import Conflict, NotFound
from qzbrain.storage.database import Database
from qzbrain.storage.tables import jobs

_ASKED_AT_ONCE = 500
_SHOWN = tuple(name for name in JobRecord.__dataclass_fields__ if name in jobs.c)


class JobRows:
    """Jobs as rows. Nothing here runs one."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def submit(self, connection: Connection, kind: str, *, subject: str = "", kb_id: str = "", payload: Mapping[str, Any] | None = None) -> str:
        """Add a job inside the caller's transaction; returns its id. Nothing runs before that commit."""
        return self.submit_many(connection, kind, [subject], kb_id=kb_id, payload=payload)[0]

    def submit_many(
        self, connection: Connection, kind: str, subjects: Sequence[str], *, kb_id: str = "", payload: Mapping[str, Any] | None = None
    ) -> list[str]:
        """Add one job for each subject, in their order."""
        now = utc_now()
        shared = {"kind": kind, "kb_id": kb_id, "payload": dict(payload or {}), "status": "pending", "created_at": now, "updated_at": now}
        ids = [new_id() for _ in subjects]
        if ids:
            connection.execute(insert(jobs), [{"id": job_id, "subject": subject, **shared} for job_id, subject in zip(ids, subjects, strict=True)])
        return ids

    def retry(self, job_id: str) -> None:
        """Run a failed or cancelled job again from the start. Raises NotFound, Conflict."""
        with self._db.write() as connection:
            self.retry_within(connection, job_id)

    def retry_within(self, connection: Connection, job_id: str) -> JobRecord:
        """As `retry`, in the caller's transaction; returns the job as it was."""
        fresh = {"status": "pending", "stage": "", "attempts": 0, "lost": 0, "run_after": 0.0, "reason_code": None, "reason_zh": None, "reason_en": None}
        return self._change(connection, job_id, ("failed", "cancelled"), fresh)

    def cancel(self, job_id: str) -> None:
        """Stop a pending or running job. Raises NotFound, Conflict."""
        with self._db.write() as connection:
            self.cancel_within(connection, job_id)

    def cancel_within(self, connection: Connection, job_id: str) -> JobRecord:
        """As `cancel`, in the caller's transaction; returns the job as it was. Who works on it learns it at the next heartbeat."""
        return self._change(connection, job_id, ("pending", "running"), {"status": "cancelled", "stage": ""})

    def get(self, job_id: str, *, where: Sequence[ColumnElement[bool]] = ()) -> JobRecord:
        """One job. `where`: as of `jobs`. Raises NotFound."""
        rows = self._db.rows(select(jobs).where(jobs.c.id == job_id, *where))
        if not rows:
            raise _no_such_job()
        return _record(rows[0])

    def jobs(
        self, status: str | None = None, limit: int = 50, after: str | None = None, *, where: Sequence[ColumnElement[bool]] = ()
    ) -> Page[JobRecord]:
        """Jobs, newest first; `after` is the last id of the page before; `where`: only those."""
        query = select(jobs).where(*where).order_by(jobs.c.id.desc()).limit(limit + 1)
        if status is not None:
            query = query.where(jobs.c.status == status)
        if after is not None:
            query = query.where(jobs.c.id < after)
        rows = [_record(row) for row in self._db.rows(query)]
        more = len(rows) > limit
        return Page(tuple(rows[:limit]), more, rows[limit - 1].id if more else None)

    def unfinished(self, job_ids: Collection[str]) -> set[str]:
        """Those of these jobs that wait or run, by one look-up."""
        found = set[str]()
        for some in _slices(list(job_ids), _ASKED_AT_ONCE):
            query = select(jobs.c.id).where(jobs.c.id.in_(some), jobs.c.status.in_(("pending", "running")))
            found.update(row.id for row in self._db.rows(query))
        return found

    def close(self) -> None:
        """Finish what submitting began. Rows need nothing."""

    def _change(self, connection: Connection, job_id: str, allowed: tuple[JobStatus, ...], values: Mapping[str, Any]) -> JobRecord:
        row = connection.execute(select(jobs).where(jobs.c.id == job_id)).first()
        if row is None:
            raise _no_such_job()
        if row.status not in allowed:
            raise Conflict(
                "job_wrong_state",
                zh=f"任务当前状态为 {row.status}，不能执行此操作；仅适用于：{', '.join(allowed)}。",
                en=f"The job is {row.status}; this works only for one that is {' or '.join(allowed)}.",
            )
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(lease_owner="", lease_until=0.0, updated_at=utc_now(), **values))
        return _record(row)


def _record(row: Row[Any]) -> JobRecord:
    return JobRecord(**{name: getattr(row, name) for name in _SHOWN})


def _slices(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _no_such_job() -> NotFound:
    return NotFound("job_not_found", zh="没有这个任务。请用 GET /api/jobs 查看任务列表。", en="There is no such job. See GET /api/jobs.")
