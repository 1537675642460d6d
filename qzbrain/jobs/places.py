"""Where waiting jobs stand in the line of their kind. Two look-ups by an index for a whole page of them, however long the line is."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import func, select

from qzbrain.storage.database import Database
from qzbrain.storage.tables import jobs


def places(database: Database, kind: str, job_ids: Collection[str]) -> dict[str, int]:
    """The place of each of these jobs that waits, from 1, by its id; jobs of a kind are begun in this order."""
    if not job_ids:
        return {}
    line = (jobs.c.status == "pending") & (jobs.c.kind == kind)
    before = database.rows(select(func.count()).where(line, jobs.c.id < min(job_ids)))[0][0]
    among = database.rows(select(jobs.c.id).where(line, jobs.c.id >= min(job_ids), jobs.c.id <= max(job_ids)).order_by(jobs.c.id))
    return {row.id: place for place, row in enumerate(among, before + 1) if row.id in job_ids}
