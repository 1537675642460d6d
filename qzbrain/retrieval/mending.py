"""Sees that an index found missing or unreadable, of words or of vectors, is built again: as a job, because only the worker writes indexes.

Who searches reports it, each time; that makes one job, not one for each question.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from sqlalchemy import select

from qzbrain import logs
from qzbrain.errors import BrainError
from qzbrain.jobs.leases import LeaseRunner
from qzbrain.storage.database import Database
from qzbrain.storage.tables import jobs

log = logs.get(__name__)

AGAIN_S = 30.0
"""A report of the same knowledge base is heard once in this time: a job that could do nothing (a full disk) is not asked for without end."""


class Mending:
    """Takes reports. Thread-safe; never raises, a search goes on without."""

    def __init__(self, database: Database, runner: LeaseRunner, clock: Callable[[], float] = time.monotonic) -> None:
        self._db, self._jobs, self._clock = database, runner, clock
        self._heard: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def report(self, kb_id: str) -> None:
        """This knowledge base has chunks and no usable index: have it built, unless that is already to happen."""
        self._submit(kb_id, "index", {"only": "missing"})

    def report_vectors(self, kb_id: str) -> None:
        """This knowledge base has vectors and no usable store of them."""
        self._submit(kb_id, "embed", {})

    def _submit(self, kb_id: str, kind: str, payload: dict[str, str]) -> None:
        now = self._clock()
        with self._lock:
            if now - self._heard.get((kb_id, kind), -AGAIN_S) < AGAIN_S:
                return
            self._heard[kb_id, kind] = now
        waiting = select(jobs.c.id).where(jobs.c.kb_id == kb_id, jobs.c.kind == kind, jobs.c.status.in_(("pending", "running"))).limit(1)
        try:
            with self._db.write() as connection:
                if connection.execute(waiting).first() is None:
                    self._jobs.submit(connection, kind, kb_id=kb_id, payload=payload)
                    log.warning("index_missing_reported", kb_id=kb_id, kind=kind)
        except BrainError as exc:
            log.warning("index_missing_not_reported", kb_id=kb_id, code=exc.code)
