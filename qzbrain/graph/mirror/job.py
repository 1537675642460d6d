"""The job `graph-mirror`: the copy of a graph on a Neo4j server is brought after it.

In a lane of its own: it waits for a server most of the time, perhaps for one that has frozen, and must hold up nothing else meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select

from qzbrain.graph.changes import trim
from qzbrain.jobs.lane import Lane
from qzbrain.jobs.leases import Kind, Lease, LeaseRunner
from qzbrain.storage.database import Database
from qzbrain.storage.tables import jobs

if TYPE_CHECKING:
    from qzbrain.graph.mirror.feeding import Mirror

MIRROR_JOB = "graph-mirror"


class MirrorJobs:
    """Handles jobs whose `kb_id` names a knowledge base, one that is gone too."""

    def __init__(self, database: Database, mirror: Mirror, runner: LeaseRunner) -> None:
        self._db, self._mirror, self._runner = database, mirror, runner
        self.lane = Lane(LeaseRunner(database), {MIRROR_JOB: Kind(self.handle)}, rest=lambda: None)

    def handle(self, leases: Sequence[Lease]) -> None:
        """Bring copies after their graphs. Raises MirrorUnavailable: the job waits."""
        self.lane.wake()  # it may have found its work by itself: now it counts as busy
        for lease in leases:

            def shown(done: int, total: int, lease: Lease = lease) -> None:
                lease.progress("copy", done, total, "rows")

            self._mirror.catch_up(lease.job.kb_id, shown, lease.heartbeat)
            with self._db.write() as connection:
                lease.complete(connection)

    def submit_due(self, *, doubt: bool = False) -> None:
        """See that every copy is where its graph is; a job that waits already will do. `doubt`: look at all, as after a start."""
        trim(self._db)
        if doubt:
            self._mirror.distrust()
        due = self._mirror.due()
        if not due:
            return
        open_jobs = select(jobs.c.kb_id).where(jobs.c.kind == MIRROR_JOB, jobs.c.status.in_(("pending", "running")))
        with self._db.write() as connection:
            waiting = {row.kb_id for row in connection.execute(open_jobs)}
            for kb_id in due:
                if kb_id not in waiting:
                    self._runner.submit(connection, MIRROR_JOB, kb_id=kb_id)
        self.lane.wake()
