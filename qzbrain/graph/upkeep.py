"""The job `graph`: what a graph takes from documents is brought up to date in the background.

Documents that were there before the graph was, or were read by older rules, are gone through; then known names are looked for in chunks that were not
looked at. Both note in SQL how far they are with each step, so the job can be stopped anywhere and run again; it steps aside for uploads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, func, select, update

from qzbrain.auth.access import VISIBLE
from qzbrain.errors import Conflict
from qzbrain.graph.embedded import SqlGraph
from qzbrain.graph.links import Links
from qzbrain.graph.stated import state
from qzbrain.graph.statements import RULES
from qzbrain.jobs.leases import Kind, Lease, LeaseRunner
from qzbrain.storage.database import Database
from qzbrain.storage.tables import documents, graph_versions, jobs, knowledge_bases

KIND = "graph"
_DOCUMENTS = 20


class Upkeep:
    """Handles jobs whose `kb_id` names a knowledge base. `states`: documents are to be gone through."""

    def __init__(self, database: Database, graph: SqlGraph, runner: LeaseRunner, *, states: bool) -> None:
        self._db, self._graph, self._runner, self._states = database, graph, runner, states
        self._links = Links(database)

    @property
    def kind(self) -> Kind:
        """How the runner does these jobs."""
        return Kind(self.handle, rank=1)

    def handle(self, leases: Sequence[Lease]) -> None:
        """Go through documents, then link."""
        for lease in leases:
            kb_id = lease.job.kb_id
            stated, linked = self.bring(kb_id, lambda *shown, lease=lease: _shown(lease, *shown))
            with self._db.write() as connection:
                lease.complete(connection, {"documents": stated, "chunks": linked})

    def bring(self, kb_id: str, shown: Callable[[str, int, int, str], None]) -> tuple[int, int]:
        """Go through a knowledge base's documents, then link. Returns how many documents and chunks were looked at. `shown`: stage, done, total, unit."""
        stated = self.state_missing(kb_id, lambda done, total: shown("facts", done, total, "documents"))
        return stated, self._links.tend(kb_id, lambda done, total: shown("link", done, total, "chunks"))

    def state_missing(self, kb_id: str, beat: Callable[[int, int], None]) -> int:
        """Have what ready documents of a knowledge base say about themselves in its graph. Returns how many were gone through."""
        if not self._states:
            return 0
        total = int(self._db.rows(select(func.count()).select_from(documents).where(documents.c.kb_id == kb_id, _MISSING))[0][0])
        done = 0
        while True:
            with self._db.write() as connection:
                query = select(documents.c.id).where(documents.c.kb_id == kb_id, _MISSING).order_by(documents.c.id).limit(_DOCUMENTS)
                ids = connection.execute(query).scalars().all()
                state(connection, self._graph, kb_id, ids)
            if not ids:
                return done
            done += len(ids)
            beat(done, max(done, total))

    def rebuild(self, kb_id: str) -> str:
        """Have all documents gone through and all chunks linked anew; what was imported stays. Returns the job's id. Raises Conflict when that is off."""
        if not self._states:
            raise Conflict(
                "graph_at_ingest_off",
                zh="已设置 GRAPH_AT_INGEST=off，不从文档提取图谱。请改为 on 并重启后再试。",
                en="GRAPH_AT_INGEST=off: nothing is taken from documents into the graph. Set it to on, restart, and try again.",
            )
        with self._db.write(durable=True) as connection:
            connection.execute(update(documents).where(documents.c.kb_id == kb_id).values(graph_rules=0))
            self._links.start_over(connection, kb_id)
            return submit_upkeep(connection, self._runner, kb_id)

    def submit_due(self, *, all_documents: bool = False) -> None:
        """See that whatever is behind is brought up to date. `all_documents`: look for documents too, as after a new version was installed."""
        due = set(self._links.due())
        if all_documents and self._states:
            behind = select(documents.c.kb_id).join(knowledge_bases, knowledge_bases.c.id == documents.c.kb_id).where(_MISSING, VISIBLE).distinct()
            due.update(row.kb_id for row in self._db.rows(behind))
        for kb_id in sorted(due):
            with self._db.write() as connection:
                submit_upkeep(connection, self._runner, kb_id)


def submit_upkeep(connection: Connection, runner: LeaseRunner, kb_id: str) -> str:
    """See that a knowledge base's graph is brought up to date; a job that waits already will do. Returns the job's id."""
    waiting = select(jobs.c.id).where(jobs.c.kind == KIND, jobs.c.kb_id == kb_id, jobs.c.status == "pending").limit(1)
    found = connection.execute(waiting).scalar()
    return str(found) if found is not None else runner.submit(connection, KIND, kb_id=kb_id)


def submit_where_graph(connection: Connection, runner: LeaseRunner, kb_id: str) -> None:
    """As `submit_upkeep`, where there is a graph: its names are looked for in chunks that are new."""
    if connection.execute(select(graph_versions.c.kb_id).where(graph_versions.c.kb_id == kb_id)).first() is not None:
        submit_upkeep(connection, runner, kb_id)


_MISSING = (documents.c.status == "ready") & (documents.c.kind == "file") & (documents.c.graph_rules != RULES)


def _shown(lease: Lease, stage: str, done: int, total: int, unit: str) -> None:
    lease.progress(stage, done, total, unit)
    lease.give_way()
