"""The worker's side of jobs that Celery dispatches: the two tasks, beat, and the stand-by for a broker that is silent.

Celery runs tasks in the main thread (`solo`): reading is done by a child process, and an index has one writer anyway. Beside it two
threads: beat sends a sweep every other second, and the stand-by does due jobs straight from SQL when no message, not even a sweep, has
come for `SILENCE_S`. So a broker that is away, hung or emptied delays jobs by seconds and stops none. A lock keeps it one job at a time.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from celery import Celery
from celery.beat import EmbeddedService, Scheduler

from qzbrain import logs
from qzbrain.errors import BrainError, StorageBusy, StorageFull
from qzbrain.jobs import broker
from qzbrain.jobs.base import Handler
from qzbrain.jobs.leases import Kind, LeaseRunner

SILENCE_S = 3 * broker.SWEEP_EVERY_S
_TICK_S = 0.4
_QUICK_TICK_S = 0.15
_MOST_ANNOUNCED = 1000
_END_S = 10.0

log = logs.get(__name__)


class Shift:
    """One process's work, whoever asks for it. `idle` is told a few times a second for how many seconds there has been nothing to do."""

    def __init__(self, app: Celery, runner: LeaseRunner, kinds: Mapping[str, Kind | Handler], idle: Callable[[float], None] | None = None) -> None:
        self._app, self._runner, self._idle = app, runner, idle
        self._at_work = threading.Lock()
        self._ending = False
        self._heard = self._busy = time.monotonic()
        self._silent = False
        self._threads: list[threading.Thread] = []
        self._kinds = runner.begin(kinds, lambda: self._ending)
        app.task(self.do, name=broker.DO, shared=False)
        app.task(self.sweep, name=broker.SWEEP, acks_late=False, shared=False)

    # -- the tasks

    def do(self, job_id: str) -> None:
        """Do the job of a message, and with it others of its kind that are due. One that is done, held or not yet due costs a look-up."""
        with self._at_work:
            self._hear()
            self._work(job_id)
            self._heard = time.monotonic()

    def sweep(self) -> None:
        """Take back what dead workers held, and send messages for due rows when the queue holds fewer than there are.

        So the queue never grows beyond the rows, and rows whose messages were lost are found as soon as it is worked off.
        """
        with self._at_work:
            self._hear()
            if self._ending:
                return
            try:
                self._runner.reclaim(self._kinds)
                due = self._runner.due(self._kinds, _MOST_ANNOUNCED)
            except (StorageFull, StorageBusy) as exc:
                log.warning("jobs_wait_for_storage", code=exc.code)
                return
            missing = len(due) - broker.waiting(self._app) if due else 0
            if missing > 0:
                broker.send(self._app, due[:missing])

    # -- beside the tasks

    def start(self) -> None:
        """Start beat and the stand-by. The broker need not be there yet.

        Beat's own schedule would be a file; what it has to know is one line of `jobs.broker`.
        """
        logging.getLogger("celery.beat").setLevel(logging.CRITICAL)  # a broker that is away is told by the consumer, once and not every two seconds
        stand_by = threading.Thread(target=self._stand_by, name="stand-by", daemon=True)
        self._threads = [EmbeddedService(self._app, thread=True, scheduler_cls=Scheduler), stand_by]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        """Have running handlers give their jobs back; nothing new is begun. Safe in a signal handler."""
        self._ending = True

    def close(self) -> None:
        """Return when the stand-by has let go."""
        self.end()
        for thread in self._threads[1:]:
            thread.join(_END_S)

    def _stand_by(self) -> None:
        while not self._ending:
            worked = False
            if self._at_work.acquire(blocking=False):
                try:
                    worked = self._tick()
                except BrainError as exc:
                    log.warning("stand_by_failed", code=exc.code)
                finally:
                    self._at_work.release()
            if not worked:
                time.sleep(_QUICK_TICK_S if self._silent else _TICK_S)

    def _tick(self) -> bool:
        now = time.monotonic()
        if now - self._heard > SILENCE_S:
            if not self._silent:
                self._silent = True
                log.warning("broker_silent", since_s=round(now - self._heard, 1), jobs="taken from the database meanwhile")
            if self._work():
                return True
        if self._idle is not None:
            self._idle(now - self._busy)
        return False

    def _hear(self) -> None:
        self._heard = time.monotonic()
        if self._silent:
            self._silent = False
            log.info("broker_heard")

    def _work(self, job_id: str = "") -> bool:
        if self._ending:
            return False
        try:
            worked = self._runner.work(self._kinds, job_id)
        except (StorageFull, StorageBusy) as exc:
            log.warning("jobs_wait_for_storage", code=exc.code)
            return False
        if worked:
            self._busy = time.monotonic()
        return worked
