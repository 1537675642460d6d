"""Backups that are made by themselves (BACKUP_EVERY): when one is due, and the job that makes it, in a lane of its own so that nothing waits for it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy import Connection, func, select

from qzbrain import logs
from qzbrain.brain import Brain, beside_backup
from qzbrain.errors import BrainError
from qzbrain.jobs.lane import Lane
from qzbrain.jobs.leases import Kind, Lease, LeaseRunner
from qzbrain.storage.backups.of_settings import repository_of
from qzbrain.storage.backups.taking import take
from qzbrain.storage.tables import jobs

KIND = "backup"
SCHEDULED = "scheduled"
_LOOK_S = 30.0
_UNITS = {"m": 60, "h": 3600, "d": 86_400}

log = logs.get(__name__)


def due_at(every: str, last: float | None, now: float) -> float:
    """When the next backup is due, as `now` and `last` (of the last one that was tried) in seconds since 1970; `now` or earlier: at once.

    `every`: BACKUP_EVERY, not empty. A time of day is this machine's; one that was missed is made up for.
    """
    if last is None:
        return now
    if interval := re.fullmatch(r"(\d+)([mhd])", every):
        return last + int(interval[1]) * _UNITS[interval[2]]
    hour, minute = map(int, every.split(":"))
    day = datetime.fromtimestamp(last).astimezone().replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (day if day.timestamp() > last else day + timedelta(days=1)).timestamp()


class Schedule:
    """Looks now and then whether a backup is due, and has it made. Several workers of one brain make one."""

    def __init__(self, brain: Brain) -> None:
        self._brain = brain
        self._lane = Lane(LeaseRunner(brain.db), {KIND: Kind(self._make)}, rest=lambda: None)
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether a backup is being made."""
        return self._lane.busy

    def start(self) -> None:
        """Begin to look."""
        self._lane.start()
        self._thread = threading.Thread(target=self._look, name="backups", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End; a backup that is being made is given back, and leaves nothing."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(_LOOK_S)
            self._thread = None
        self._lane.close()
        self._ending.clear()

    def submit_due(self) -> bool:
        """Have a backup made when one is due; tells whether one is."""
        with self._brain.db.write() as connection:
            if due_at(self._brain.settings.backup_every, _last_tried(connection), time.time()) > time.time() or _is_open(connection):
                return False
            self._brain.jobs.submit(connection, KIND)
        self._lane.wake()
        return True

    def _look(self) -> None:
        while not self._ending.is_set():
            try:
                self.submit_due()
            except BrainError as exc:
                log.warning("backup_not_scheduled", code=exc.code)
            except Exception as exc:
                log.error("backup_not_scheduled", exc_info=exc)
            self._ending.wait(_LOOK_S)

    def _make(self, leases: Sequence[Lease]) -> None:
        self._lane.wake()
        brain = self._brain
        for lease in leases:
            repository = repository_of(brain.settings, make=True)
            with repository.locked(wait=True):
                made = take(brain.db, brain.files, repository, SCHEDULED, beside_backup(brain.settings), partial(_show, lease))
                gone, _ = repository.prune(brain.settings.backup_keep, (SCHEDULED,))
            told = asdict(made)
            result = {name: told[name] for name in ("id", "files", "new_files", "new_bytes", "missing", "seconds")} | {"pruned": len(gone)}
            with brain.db.write() as connection:
                lease.complete(connection, result)
            log.info("backup_made", backup=made.id, seconds=made.seconds)


def _show(lease: Lease, stage: str, done: int, total: int) -> None:
    lease.progress(stage, done, total, stage)


def _last_tried(connection: Connection) -> float | None:
    at = connection.execute(select(func.max(jobs.c.created_at)).where(jobs.c.kind == KIND)).scalar()
    return datetime.fromisoformat(at).timestamp() if at else None


def _is_open(connection: Connection) -> bool:
    return connection.execute(select(jobs.c.id).where(jobs.c.kind == KIND, jobs.c.status.in_(("pending", "running"))).limit(1)).first() is not None
