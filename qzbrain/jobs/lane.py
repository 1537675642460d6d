"""A second lane: a thread of the worker that does the jobs of some kinds one after the other, so that they hold up no others.

It has a runner of its own, and with that leases of its own: who holds a job, takes it back or learns that it was cancelled is decided as
everywhere. At rest it looks for due rows every few seconds; `wake` has it look at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from qzbrain import logs
from qzbrain.errors import StorageBusy, StorageFull
from qzbrain.jobs.leases import STORAGE_POLL_S, Kind, LeaseRunner

log = logs.get(__name__)
_LOOK_S = 5.0
_REST_AFTER_S = 20.0
_END_S = 10.0


class Lane:
    """`rest`: called in the lane's thread when it has had nothing to do for a while, and at its end."""

    def __init__(self, runner: LeaseRunner, kinds: Mapping[str, Kind], rest: Callable[[], None]) -> None:
        self._runner, self._kinds, self._rest = runner, kinds, rest
        self._ending, self._woken = threading.Event(), threading.Event()
        self._busy = False
        self._state = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether it works, or has been told of work that it has not looked for yet."""
        return self._busy

    def start(self) -> None:
        """Begin; what dead workers held of these kinds is taken back first."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="lane", daemon=True)
            self._thread.start()

    def wake(self) -> None:
        """There is work."""
        with self._state:
            self._busy = True
            self._woken.set()

    def close(self) -> None:
        """Give back what is being done, and return when the thread has ended."""
        self._ending.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join(_END_S)
            self._thread = None
        self._ending.clear()

    def _run(self) -> None:
        try:
            self._work()
        except Exception as exc:
            log.error("lane_failed", exc_info=exc)
        finally:
            self._busy = False
            self._rest()

    def _work(self) -> None:
        known: dict[str, Kind] | None = None
        worked_at = time.monotonic()
        while not self._ending.is_set():
            self._woken.clear()
            try:
                if known is None:
                    known = self._runner.begin(self._kinds, self._ending.is_set)
                worked = self._runner.work(known)
            except (StorageFull, StorageBusy) as exc:
                log.warning("lane_waits_for_storage", code=exc.code)
                self._ending.wait(STORAGE_POLL_S)
                continue
            if worked:
                worked_at = time.monotonic()
                continue
            with self._state:
                self._busy = self._woken.is_set()
            self._woken.wait(_LOOK_S)
            if time.monotonic() - worked_at > _REST_AFTER_S:
                self._rest()
