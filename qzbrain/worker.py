"""The worker process: leases jobs and does them. One at a time for a data folder; without one, a command can do its part (`work_inline`).

Lean while idle: tokeniser, index and reading child come with the first job, and a worker that grew large starts itself anew, keeping
its process id and its lock, once it has had nothing to do for a while.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import select

from qzbrain import logs
from qzbrain.brain import Brain, build
from qzbrain.errors import BrainError
from qzbrain.jobs.leases import Kind, Stopping
from qzbrain.jobs.lock import WorkerLock
from qzbrain.knowledge.corpus_ingest import CorpusIngest
from qzbrain.knowledge.ingest import Ingest
from qzbrain.knowledge.pipeline import Pipeline
from qzbrain.knowledge.purge import Purge
from qzbrain.knowledge.reader import Reader
from qzbrain.knowledge.removal import sweep_strays
from qzbrain.settings import load_settings
from qzbrain.storage.tables import knowledge_bases

log = logs.get(__name__)
_RETIRE_READER_S = 20.0
_RENEW_S = 30.0
_RENEW_ABOVE_MB = 90
_LOCK_POLL_S = 0.1
_STRAY_AFTER_S = 3600.0
_ASK_S = 0.05
_M_ARENA_MAX = -8

Stop = Callable[[], bool]


class Workplace:
    """Everything that jobs are done with, for one thread."""

    def __init__(self, brain: Brain) -> None:
        _use_one_heap()
        self._brain = brain
        self._reader = Reader(brain.settings)
        pipeline = Pipeline(brain.db, lambda: brain.feeder, self._reader)
        purge = Purge(brain.db, brain.files, lambda: brain.feeder, lambda: brain.index)
        self._kinds: dict[str, Kind] = {
            "ingest": Ingest(brain.db, brain.files, brain.jobs, pipeline).kind,
            "corpus": CorpusIngest(brain.db, brain.files, pipeline, brain.settings).kind,
            "index": purge.index_kind,
            "purge": purge.kind,
        }

    def run(self, stop: Stop, *, idle: Callable[[float], None] | None = None) -> None:
        """Do jobs until `stop()`; `idle` is told for how many seconds there has been nothing to do."""
        try:
            self._sweep()
            self._renew_indexes(stop)
            self._brain.jobs.run(self._kinds, stop, idle=lambda since_s: self._rest(since_s, idle))
        finally:
            self._reader.close()

    def _rest(self, since_s: float, idle: Callable[[float], None] | None) -> None:
        if since_s >= _RETIRE_READER_S:
            self._reader.close()
        if idle is not None:
            idle(since_s)

    def _sweep(self) -> None:
        try:
            swept = sweep_strays(self._brain.db, self._brain.files, before=time.time() - _STRAY_AFTER_S)
        except BrainError as exc:
            log.warning("strays_not_swept", code=exc.code)
        else:
            if swept:
                log.info("strays_swept", files=swept)

    def _renew_indexes(self, stop: Stop) -> None:
        """Build the indexes that this program cannot read: of an older schema, or lost."""

        def progress(_done: int, _total: int) -> None:
            if stop():
                raise Stopping

        for (kb_id,) in self._brain.db.rows(select(knowledge_bases.c.id)):
            try:
                if self._brain.feeder.ensure(kb_id, progress):
                    log.info("index_renewed", kb_id=kb_id)
            except Stopping:
                return
            except BrainError as exc:
                log.warning("index_not_renewed", kb_id=kb_id, code=exc.code)


def work_inline(brain: Brain, until: Stop) -> None:
    """Return when `until()` is true. Where no worker holds the data folder, its part is done here; should one die meanwhile, too.

    `until` is asked at most some twenty times a second.
    """
    until = _seldom(until)
    lock = WorkerLock(brain.settings.data)
    while not until():
        if lock.acquire():
            try:
                Workplace(brain).run(until)
            finally:
                lock.release()
            return
        time.sleep(_LOCK_POLL_S)


def main() -> None:
    """Work until SIGTERM or SIGINT."""
    arguments = argparse.ArgumentParser(prog="qzbrain.worker", description=__doc__)
    arguments.add_argument("--lock", type=int, default=None, help="descriptor of the lock, when this process held it before it started itself anew")
    held = arguments.parse_args().lock
    settings = load_settings()
    logs.configure(settings.log_level, "worker")
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _frame: stopping.append(got))
    lock = WorkerLock(settings.data, held)
    while not stopping and not lock.acquire():
        time.sleep(_LOCK_POLL_S)
    if stopping:
        return
    brain = build(settings)
    log.info("worker_started", owner=brain.jobs.owner)
    Workplace(brain).run(lambda: bool(stopping), idle=lambda since_s: _renew_when_large(brain, lock, since_s))
    brain.close()
    log.info("worker_ended")


def _renew_when_large(brain: Brain, lock: WorkerLock, since_s: float) -> None:
    """Start this process anew when it is idle and large: what the tokeniser and the index took cannot be given back otherwise."""
    if since_s < _RENEW_S or _resident_mb() < _RENEW_ABOVE_MB:
        return
    brain.close()
    os.execv(sys.executable, [sys.executable, "-m", "qzbrain.worker", "--lock", str(lock.hand_on())])


def _use_one_heap() -> None:
    """Have glibc's malloc share one arena between threads: with one for each, an ingest of 27,000 chunks peaked at 225 instead of 161 MB (2026-11-24)."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def _resident_mb() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _seldom(ask: Stop) -> Stop:
    """The same question, put at most every _ASK_S seconds; yes stays yes."""
    asked, answer = -1.0, False

    def answered() -> bool:
        nonlocal asked, answer
        now = time.monotonic()
        if not answer and now - asked >= _ASK_S:
            answer = ask()
            asked = time.monotonic()
        return answer

    return answered


if __name__ == "__main__":
    main()
