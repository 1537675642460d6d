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
from typing import Any

from celery import Celery, signals
from celery.beat import EmbeddedService, Scheduler

from qzbrain import logs
from qzbrain.errors import StorageBusy, StorageFull
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
        self._beat: Any = None
        self._stand_by: threading.Thread | None = None
        self._kinds = runner.begin(kinds, lambda: self._ending)
        self._register()

    # -- the tasks

    def _register(self) -> None:
        """Functions, not methods: Celery counts `self` among a task's arguments, and beat would send none."""

        def do(job_id: str) -> None:
            self.do(job_id)

        def sweep() -> None:
            self.sweep()

        self._app.task(do, name=broker.DO, shared=False)
        self._app.task(sweep, name=broker.SWEEP, shared=False, acks_late=False)

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

    # -- the process

    def enlist(self, ended: Callable[[], None]) -> None:
        """Follow the Celery worker of this process, which has yet to connect, to its end; `ended` comes last."""
        signals.worker_ready.connect(lambda **_: self.sweep(), weak=False)
        signals.worker_shutting_down.connect(lambda **_: self._end(), weak=False)
        signals.worker_shutdown.connect(lambda **_: self.close(), weak=False)
        signals.worker_shutdown.connect(lambda **_: ended(), weak=False)
        self.start()

    def start(self) -> None:
        """Start beat and the stand-by. The broker need not be there yet.

        Beat's own schedule would be a file; what it has to know is one line of `jobs.broker`.
        """
        logging.getLogger("celery.beat").setLevel(logging.CRITICAL)  # a broker that is away is told by the consumer, and not every two seconds
        self._beat = EmbeddedService(self._app, thread=True, scheduler_cls=Scheduler)
        self._stand_by = threading.Thread(target=self._watch, name="stand-by", daemon=True)
        self._beat.start()
        self._stand_by.start()

    def close(self) -> None:
        """Return when the stand-by has let go. Running handlers give their jobs back, nothing new is begun; beat ends within a second or two."""
        self._end()
        if self._beat is not None:
            self._beat.service.stop()
        if self._stand_by is not None:
            self._stand_by.join(_END_S)

    def _end(self) -> None:
        """Runs inside a signal handler: nothing here may wait."""
        self._ending = True

    def _watch(self) -> None:
        while not self._ending:
            worked = False
            if self._at_work.acquire(blocking=False):
                try:
                    worked = self._tick()
                except Exception as exc:
                    log.error("stand_by_failed", exc_info=exc)
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
