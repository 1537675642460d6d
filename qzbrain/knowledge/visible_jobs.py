"""Which jobs a caller may know of, and what of them. A job belongs to its knowledge base, to the document that it reads, or to whoever sent a pack.

A job on a document above the caller's clearance is not there; one on all of a knowledge base that holds such is shown without its counts, which would
tell how much of it there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, and_, false, or_, select, true

from qzbrain.auth.access import LOCAL_USER, Access
from qzbrain.domain import Caller, JobRecord
from qzbrain.storage.tables import documents, jobs

_OF_ONE_DOCUMENT = ("ingest", "ingest_long")
_BROUGHT = ("corpus", "archive", "graph-import", "import")
"""What somebody sent; counts and errors are of that alone."""


class VisibleJobs:
    """Filters jobs for callers."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def where(self, caller: Caller) -> list[ColumnElement[bool]]:
        """Conditions that the rows of jobs which the caller may know of fulfil; none for the local user."""
        if caller.id == LOCAL_USER:
            return []
        clearance = self._access.clearance(caller)
        readable = [ref.id for ref in self._access.resolve(caller)]
        own = jobs.c.payload["owner"].as_string() == caller.id if caller.only_in is None else false()
        whole = and_(jobs.c.kb_id == "", true() if self._access.allows(caller, "manage") else own)  # packs on their way in
        level = jobs.c.payload["level"].as_integer()
        found: list[ColumnElement[bool]] = [or_(jobs.c.kb_id.in_(readable), whole), or_(level.is_(None), level <= clearance)]
        if any(self._access.ceiling(caller, kb_id) is not None for kb_id in readable):
            hidden = select(documents.c.id).where(documents.c.kb_id.in_(readable), documents.c.level > clearance)
            found.append(jobs.c.subject.not_in(hidden))
        return found

    def shown(self, caller: Caller, found: Sequence[JobRecord]) -> list[JobRecord]:
        """The same jobs, without what tells of things above the caller's clearance."""
        if caller.id == LOCAL_USER:
            return list(found)
        capped = {kb_id: self._access.ceiling(caller, kb_id) is not None for kb_id in {job.kb_id for job in found if job.kb_id}}
        return [_without_counts(job) if capped.get(job.kb_id) and job.kind not in _OF_ONE_DOCUMENT else job for job in found]


def _without_counts(job: JobRecord) -> JobRecord:
    if job.kind in _BROUGHT:
        result = {**job.result, "names": []} if job.result and "names" in job.result else job.result
        return replace(job, result=result)
    return replace(job, progress_done=0, progress_total=0, progress_unit="", progress_rate=0.0, reason_zh=None, reason_en=None, result=None)
