"""Jobs dispatched by Celery: rows as `jobs.leases` keeps them, and after each commit a message that wakes a worker.

A message only carries the id of a row, so nothing depends on it: what was not sent (the broker was away, the process ended), was
lost (the broker was emptied) or comes twice makes no difference but a second or two, because workers sweep the rows (`jobs.shift`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from qzbrain import logs
from qzbrain.domain import JobRecord
from qzbrain.jobs.leases import LEASE_S, LeaseRunner
from qzbrain.settings import Settings
from qzbrain.storage.database import Database, after_commit

if TYPE_CHECKING:
    from celery import Celery

PAUSE_S = 5.0
"""While the broker is away nothing is sent for this long: workers find the rows by themselves."""
_CLOSE_S = 1.0
_MOST_WAITING = 10_000

log = logs.get(__name__)


class CeleryRunner(LeaseRunner):
    """Submits as `LeaseRunner` does, and tells the broker once that is committed."""

    def __init__(self, database: Database, announcer: Announcer, *, lease_s: float = LEASE_S, clock: Callable[[], float] = time.time) -> None:
        super().__init__(database, lease_s=lease_s, clock=clock)
        self._announcer = announcer

    def submit_many(
        self, connection: Connection, kind: str, subjects: Sequence[str], *, kb_id: str = "", payload: Mapping[str, Any] | None = None
    ) -> list[str]:
        """Add one job for each subject, in their order."""
        ids = super().submit_many(connection, kind, subjects, kb_id=kb_id, payload=payload)
        after_commit(connection, lambda: self._announcer.announce(ids))
        return ids

    def retry_within(self, connection: Connection, job_id: str) -> JobRecord:
        """As `retry`, in the caller's transaction; returns the job as it was."""
        job = super().retry_within(connection, job_id)
        after_commit(connection, lambda: self._announcer.announce([job_id]))
        return job

    def close(self) -> None:
        """Give what was submitted last a second to be announced."""
        self._announcer.wait(_CLOSE_S)


class Announcer:
    """Sends messages beside the caller, in a thread (in the web process a greenlet) that ends when nothing is left: nobody waits for the broker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._waiting: deque[str] = deque(maxlen=_MOST_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._silent_until = 0.0
        self._app: Celery | None = None

    def announce(self, job_ids: Sequence[str]) -> None:
        """Have these jobs told to the broker. Returns at once and never raises; while the broker is away nothing is kept."""
        if time.monotonic() < self._silent_until:
            return
        with self._lock:
            self._waiting.extend(job_ids)
            if self._waiting and self._thread is None:
                self._thread = threading.Thread(target=self._send_all, name="announcer", daemon=True)
                self._thread.start()

    def wait(self, within_s: float) -> None:
        """Return when all that was announced so far is sent or given up, or the time is over."""
        thread = self._thread
        if thread is not None:
            thread.join(within_s)

    def _send_all(self) -> None:
        while batch := self._next():
            try:
                self._send(batch)
            except Exception as exc:  # noqa: BLE001  kombu passes on whatever sockets and redis-py raise; the rows are safe
                self._silent_until = time.monotonic() + PAUSE_S
                self._waiting.clear()
                log.warning("jobs_not_announced", error=repr(exc)[:300], redis=f"{self._settings.redis_host}:{self._settings.redis_port}")

    def _next(self) -> list[str]:
        with self._lock:
            batch = list(self._waiting)
            self._waiting.clear()
            if not batch:
                self._thread = None
            return batch

    def _send(self, job_ids: list[str]) -> None:
        from qzbrain.jobs import broker

        if self._app is None:
            self._app = broker.application(self._settings)
        broker.send(self._app, job_ids)
