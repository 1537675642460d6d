"""Sees which graphs have changed since their facts were told, and has the worker tell them. Whoever changed a graph need not know of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import select

from qzbrain.auth.access import VISIBLE
from qzbrain.jobs.leases import LeaseRunner
from qzbrain.storage.database import Database
from qzbrain.storage.tables import graph_versions, jobs, knowledge_bases

KIND = "facts"
STAGE = "facts"
EVERY_S = 1.0
SETTLED_S = 2.0
"""A graph that is still being changed is waited for, but not longer than this many of them."""
_NOT_LATER_THAN_S = 60.0


class FactsDue:
    """Of one worker; asked while nothing else is to do."""

    def __init__(self, database: Database, runner: LeaseRunner, clock: Callable[[], float] = time.monotonic) -> None:
        self._db, self._jobs, self._clock = database, runner, clock
        self._asked = float("-inf")
        self._changing: dict[str, tuple[int, float, float]] = {}
        self._submitted: dict[str, int] = {}
        changed = (graph_versions.c.version != graph_versions.c.told) & VISIBLE
        self._due = database.prepared(
            select(graph_versions.c.kb_id, graph_versions.c.version).join(knowledge_bases, knowledge_bases.c.id == graph_versions.c.kb_id).where(changed)
        )

    def look(self) -> int:
        """Submit jobs for graphs that have settled, each version once; returns how many. At most once a second there is something to it."""
        now = self._clock()
        if now - self._asked < EVERY_S:
            return 0
        self._asked = now
        due = [(kb_id, version) for kb_id, version in self._due() if self._settled(kb_id, version, now)]
        return sum(self._submit(kb_id, version) for kb_id, version in due if self._submitted.get(kb_id) != version)

    def _settled(self, kb_id: str, version: int, now: float) -> bool:
        seen, since, first = self._changing.get(kb_id, (-1, now, now))
        if seen != version:
            since = now
        self._changing[kb_id] = version, since, first
        if now - since < SETTLED_S and now - first < _NOT_LATER_THAN_S:
            return False
        del self._changing[kb_id]
        return True

    def _submit(self, kb_id: str, version: int) -> bool:
        """Each version once: a job that failed or was cancelled is not there again until the graph changes, or the worker starts."""
        open_ = select(jobs.c.id).where(jobs.c.kb_id == kb_id, jobs.c.kind == KIND, jobs.c.status.in_(("pending", "running"))).limit(1)
        with self._db.write() as connection:
            if connection.execute(open_).first() is not None:
                return False
            self._jobs.submit(connection, KIND, kb_id=kb_id)
        self._submitted[kb_id] = version
        return True
