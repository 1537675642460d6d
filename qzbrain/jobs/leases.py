"""Jobs as leased rows: the runner that needs no broker. See `jobs.base` for what every runner promises.

A worker claims due rows, oldest first, several of one kind at a time, and holds them by a lease that its heartbeat extends. A
lease that runs out, or whose holder died on this host, is taken back. Losing the worker is seldom the job's fault, so it counts
apart from failed attempts: `MAX_LOST` times, then the job is put in quarantine.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, bindparam, case, false, or_, select, update

from qzbrain import logs, metrics, tracing
from qzbrain.domain import utc_now
from qzbrain.errors import BrainError, Cancelled, EngineUnavailable, ParseFailed, StorageBusy, StorageFull
from qzbrain.jobs.base import MAX_ATTEMPTS, WAITED_OUT, Handler, Job
from qzbrain.jobs.owner import died_here, new_owner
from qzbrain.jobs.rows import JobRows
from qzbrain.storage.database import Database
from qzbrain.storage.tables import jobs

LEASE_S = 60.0
POLL_S = 0.15
IDLE_POLL_S = 0.4
"""Pause between polls when nothing was due for `IDLE_AFTER_S`: on a machine at rest each wake-up costs half a millisecond."""
IDLE_AFTER_S = 5.0
STORAGE_POLL_S = 1.0
"""More between polls while the database is full, locked or away: each try is a line of the log."""
MAX_LOST = 20
ALONE_AFTER_LOST = 3
_SWEEP_S = 5.0
_BEAT_S = 0.5
_PAUSE_S = 3.0
_ENGINE_PAUSE_S = 10.0
"""Trying an engine that does not come up starts a process each time."""

log = logs.get(__name__)


_ANY_DUE = select(jobs.c.id).where(jobs.c.status == "pending", jobs.c.run_after <= bindparam("now")).limit(1)
_IS_DUE = _ANY_DUE.where(jobs.c.id == bindparam("job_id"))
"""Asked for every message of a broker; that of a job done with others, as most are in a rush, costs this look-up."""


class Stopping(Exception):
    """The worker is asked to end: handlers let it pass, and their jobs are given back untouched."""


class GiveWay(Exception):
    """A long job of low priority steps aside: it is given back as if never tried, and goes on after others that are due, `after_s` later at the soonest."""

    def __init__(self, after_s: float = 0.0) -> None:
        super().__init__()
        self.after_s = after_s


BatchHandler = Callable[[Sequence["Lease"]], None]
"""Does several jobs of one kind. Calls `complete` or `fail` of each in its own transaction; those left open when it returns are done.

When it raises, the jobs still open are tried one by one, so that one bad job cannot take the others with it.
"""

FailureHook = Callable[[Connection, Job, BrainError], None]
"""What follows a job into failure, in the transaction that marks it as failed."""


ProgressHook = Callable[[Connection, Job, Mapping[str, Any]], None]
"""What follows a job's progress, in the transaction that shows it; the values are those of the job's columns."""


def _nothing_shown(connection: Connection, job: Job, values: Mapping[str, Any]) -> None:
    """Most kinds have no row that mirrors their progress."""


def _nothing_follows(connection: Connection, job: Job, error: BrainError) -> None:
    """Most kinds have no row that mirrors their state."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How jobs of one kind are done, at most `batch` at a time. `waits`: what follows a job that goes back because of something it waits out.

    `shows`: what follows its progress.

    `rank`: done only while no job of a kind of lower rank is due; from 1 on its handler calls `Lease.give_way` between its steps.
    """

    handle: BatchHandler
    failed: FailureHook = _nothing_follows
    batch: int = 1
    waits: FailureHook = _nothing_follows
    shows: ProgressHook = _nothing_shown
    rank: int = 0


class _Pace:
    """Units a second since a stage began."""

    def __init__(self) -> None:
        self._of: tuple[str, str] | None = None
        self._since = 0.0
        self._from = 0

    def rate(self, of: tuple[str, str], done: int) -> float:
        """The rate of this stage and unit, of which so many are done; 0 when nothing can be said yet."""
        now = time.monotonic()
        if of != self._of:
            self._of, self._since, self._from = of, now, done
        return (done - self._from) / (now - self._since) if now > self._since else 0.0


class Lease:
    """A job held by this worker; it is the `JobContext` of its handler."""

    def __init__(self, runner: LeaseRunner, job: Job, kind: Kind) -> None:
        self._runner, self._kind = runner, kind
        self._shown = 0.0
        self._stage = ""
        self._pace = _Pace()
        self.job = job

    def heartbeat(self) -> None:
        """Extend the leases of this worker, at most twice a second. Raises Cancelled when the job is no longer ours, Stopping."""
        self._runner.check_stop()
        if self._runner.beat_is_due():
            self._runner.extend(self.job.id, {}, lambda _connection: None)

    def give_way(self, *, after_s: float = 0.0) -> None:
        """Raises GiveWay when a job of a kind of lower rank is due. Never for one of the same rank: two would give way to each other for ever."""
        if self._runner.before_due(self._kind.rank):
            raise GiveWay(after_s)

    def progress(self, stage: str, done: int, total: int, unit: str, result: Mapping[str, Any] | None = None) -> None:
        """Show where the work stands, at most twice a second but each new stage at once; `result`: what can be said of it so far.

        Raises Cancelled, Stopping.
        """
        self._runner.check_stop()
        now = time.monotonic()
        if stage == self._stage and now - self._shown < _BEAT_S and done < total:
            return
        self._stage, self._shown = stage, now
        shown = self._shown_values(stage, done, total, unit)

        def follow(connection: Connection) -> None:
            self._kind.shows(connection, self.job, shown)

        self._runner.extend(self.job.id, shown if result is None else {**shown, "result": dict(result)}, follow)

    def show(self, connection: Connection, stage: str, done: int, total: int, unit: str) -> None:
        """As `progress`, in the caller's transaction, each time."""
        shown = self._shown_values(stage, done, total, unit)
        connection.execute(update(jobs).where(jobs.c.id == self.job.id).values(updated_at=utc_now(), **shown))

    def _shown_values(self, stage: str, done: int, total: int, unit: str) -> dict[str, Any]:
        rate = self._pace.rate((stage, unit), done)
        return {"stage": stage, "progress_done": done, "progress_total": total, "progress_unit": unit, "progress_rate": rate}

    def move(self, connection: Connection, kind: str) -> None:
        """Make it a job of another kind in the caller's transaction, pending as if never tried."""
        self._runner.settle(connection, self.job, {"status": "pending", "kind": kind, "stage": "", "attempts": self.job.attempts - 1})

    def complete(self, connection: Connection, result: Mapping[str, Any] | None = None) -> None:
        """Mark the job as done in the caller's transaction. A job that was cancelled or taken back meanwhile stays as it is."""
        self._runner.settle(connection, self.job, {"status": "done", "stage": "", "result": result, **_NO_REASON})

    def fail(self, connection: Connection, error: BrainError) -> None:
        """Mark the job as failed for good in the caller's transaction, with what follows it."""
        self._runner.fail(connection, self.job, self._kind, error)


class LeaseRunner(JobRows):
    """Submits, claims and settles rows of the jobs table. `clock` gives seconds since 1970."""

    def __init__(self, database: Database, *, lease_s: float = LEASE_S, clock: Callable[[], float] = time.time) -> None:
        super().__init__(database)
        self._lease_s, self._clock = lease_s, clock
        self._stop: Callable[[], bool] = lambda: False
        self._swept = self._beaten = 0.0
        self._is_due = database.prepared(_IS_DUE)
        self._due_of: dict[frozenset[str], Callable[..., list[tuple[Any, ...]]]] = {}
        self._known: dict[str, Kind] = {}
        self.owner = new_owner()

    # -- for the worker

    def run(self, kinds: Mapping[str, Kind | Handler], stop: Callable[[], bool], idle: Callable[[float], None] | None = None) -> None:
        """Work until `stop()`. `idle` is called a few times a second while nothing is due, with the seconds since something was."""
        known = self.begin(kinds, stop)
        busy = time.monotonic()
        while not stop():
            try:
                worked = self.work(known)
            except (StorageFull, StorageBusy) as exc:
                log.warning("jobs_wait_for_storage", code=exc.code)
                time.sleep(STORAGE_POLL_S)
                worked = False
            if worked:
                busy = time.monotonic()
                continue
            since_s = time.monotonic() - busy
            if idle is not None:
                idle(since_s)
            time.sleep(POLL_S if since_s < IDLE_AFTER_S else IDLE_POLL_S)

    def begin(self, kinds: Mapping[str, Kind | Handler], stop: Callable[[], bool]) -> dict[str, Kind]:
        """Be ready to `work` at these kinds until `stop()`: what dead workers held is taken back first."""
        known = {name: kind if isinstance(kind, Kind) else Kind(one_by_one(kind, self._db)) for name, kind in kinds.items()}
        self._stop, self._known = stop, known
        self.reclaim(known)
        return known

    def work(self, kinds: Mapping[str, Kind], job_id: str = "") -> bool:
        """Claim and do one batch, the one with `job_id` if that is given; False when nothing is due."""
        if self._clock() - self._swept >= _SWEEP_S:
            self.reclaim(kinds)
        leases = self.claim(kinds, job_id)
        if leases:
            self._do(kinds[leases[0].job.kind], leases)
        return bool(leases)

    def claim(self, kinds: Mapping[str, Kind], job_id: str = "") -> list[Lease]:
        """Lease the oldest due job of the lowest rank, or that with `job_id` if it is due, and others of the same kind, oldest first, up to the kind's batch.

        A job that lost its worker `ALONE_AFTER_LOST` times is given out alone.
        """
        if not (self._is_due(now=self._clock(), job_id=job_id) if job_id else self._any_due(frozenset(kinds))):
            return []
        due = self._due(kinds)
        ranks = {name: kind.rank for name, kind in kinds.items() if kind.rank}
        order = (case(ranks, value=jobs.c.kind, else_=0), jobs.c.id) if ranks else (jobs.c.id,)
        oldest = select(jobs.c.id, jobs.c.kind, jobs.c.lost).where(due).order_by(*order).limit(1)
        if job_id:
            oldest = oldest.where(jobs.c.id == job_id)
        with self._db.write() as connection:
            first = connection.execute(oldest).first()
            if first is None:
                return []
            kind, alone = kinds[first.kind], first.lost >= ALONE_AFTER_LOST
            among = due & (jobs.c.kind == first.kind) & (jobs.c.id == first.id if alone else jobs.c.lost < ALONE_AFTER_LOST)
            rows = connection.execute(select(jobs).where(among).order_by(jobs.c.id != first.id, jobs.c.id).limit(kind.batch)).all()
            held = {"status": "running", "lease_owner": self.owner, "lease_until": self._clock() + self._lease_s, "updated_at": utc_now()}
            connection.execute(update(jobs).where(jobs.c.id.in_([row.id for row in rows])).values(attempts=jobs.c.attempts + 1, **held))
        return [Lease(self, Job(row.id, row.kind, row.subject, row.kb_id, row.payload, row.attempts + 1), kind) for row in rows]

    def reclaim(self, kinds: Mapping[str, Kind]) -> int:
        """Take back leases that ran out, that dead processes of this host hold, or that this runner holds without working on them."""
        self._swept = self._clock()
        held = self._db.rows(select(jobs).where(jobs.c.status == "running", jobs.c.kind.in_(list(kinds))))
        gone = [x for x in held if x.lease_until < self._clock() or x.lease_owner == self.owner or died_here(x.lease_owner)]
        for row in gone:
            with self._db.write() as connection:
                self._take_back(connection, row, kinds[row.kind])
        return len(gone)

    def due(self, kinds: Mapping[str, Kind], limit: int) -> list[str]:
        """Ids of the jobs that could be claimed now, oldest first."""
        return [row.id for row in self._db.rows(select(jobs.c.id).where(self._due(kinds)).order_by(jobs.c.id).limit(limit))]

    def before_due(self, rank: int) -> bool:
        """Whether a job of a kind of lower rank could be claimed now by this runner."""
        return self._any_due(frozenset(name for name, kind in self._known.items() if kind.rank < rank))

    def _any_due(self, kinds: frozenset[str]) -> bool:
        """Asked at every poll. Put as SQLAlchemy puts it each time, twelve polls a second took 1.5% of a core (2026-11-24)."""
        if kinds not in self._due_of:
            self._due_of[kinds] = self._db.prepared(_ANY_DUE.where(or_(false(), *(jobs.c.kind == kind for kind in sorted(kinds)))))
        return bool(self._due_of[kinds](now=self._clock()))

    def _due(self, kinds: Mapping[str, Kind]) -> ColumnElement[bool]:
        return (jobs.c.status == "pending") & (jobs.c.run_after <= self._clock()) & jobs.c.kind.in_(list(kinds))

    # -- for leases and their handlers

    def check_stop(self) -> None:
        """Raises Stopping when the worker shall end."""
        if self._stop():
            raise Stopping

    def beat_is_due(self) -> bool:
        """Whether the leases of this runner were not extended for half a second."""
        return time.monotonic() - self._beaten >= _BEAT_S

    def extend(self, job_id: str, shown: Mapping[str, Any], follow: Callable[[Connection], None]) -> None:
        """Extend all leases of this runner and show a job's progress, with what follows. Raises Cancelled when that job is no longer ours."""
        mine = (jobs.c.lease_owner == self.owner) & (jobs.c.status == "running")
        self._beaten = time.monotonic()
        with self._db.write() as connection:
            connection.execute(update(jobs).where(mine).values(lease_until=self._clock() + self._lease_s))
            found = connection.execute(update(jobs).where(mine, jobs.c.id == job_id).values(updated_at=utc_now(), **shown)).rowcount
            if found:
                follow(connection)
        if not found:
            raise Cancelled

    def still_held(self, connection: Connection, leases: Sequence[Lease]) -> list[Lease]:
        """Those whose job is still ours: not deleted, cancelled, taken back or settled."""
        ids = [lease.job.id for lease in leases]
        mine = select(jobs.c.id).where(jobs.c.id.in_(ids), jobs.c.lease_owner == self.owner, jobs.c.status == "running")
        held = set(connection.execute(mine).scalars())
        return [lease for lease in leases if lease.job.id in held]

    def settle(self, connection: Connection, job: Job, values: Mapping[str, Any]) -> bool:
        """Write an outcome when the job is still ours; tells whether it was."""
        mine = (jobs.c.id == job.id) & (jobs.c.lease_owner == self.owner) & (jobs.c.status == "running")
        change = update(jobs).where(mine).values(lease_owner="", lease_until=0.0, updated_at=utc_now(), **values)
        settled = connection.execute(change).rowcount > 0
        if settled:
            status = values["status"]
            metrics.JOBS_ENDED.labels(job.kind, "again" if status == "pending" else status).inc()
        return settled

    def fail(self, connection: Connection, job: Job, kind: Kind, error: BrainError) -> None:
        """Mark a job as failed for good, with what follows it."""
        if self.settle(connection, job, {"status": "failed", **_reason(error)}):
            kind.failed(connection, job, error)

    # -- one batch

    def _do(self, kind: Kind, leases: Sequence[Lease]) -> None:
        logs.bind(job_id=leases[0].job.id if len(leases) == 1 else "")
        name = leases[0].job.kind
        try:
            with tracing.span_of(None, f"job {name}", jobs=len(leases)):
                kind.handle(leases)
        except (Stopping, GiveWay, KeyboardInterrupt) as exc:
            self._give_back(leases, exc.after_s if isinstance(exc, GiveWay) else 0.0)
            if isinstance(exc, KeyboardInterrupt):
                raise
        except Exception as exc:  # noqa: BLE001 - the edge of a job
            with self._db.read() as connection:
                still_open = self.still_held(connection, leases)
            if isinstance(exc, WAITED_OUT):
                self._wait(kind, still_open, exc)
                return
            if len(leases) == 1:
                self._settle_error(kind, leases[0], exc)
                return
            if isinstance(exc, Cancelled) and len(still_open) < len(leases):
                if still_open:
                    self._do(kind, still_open)  # one of them was cancelled; the others are in order
                return
            log.warning("batch_failed", kind=leases[0].job.kind, jobs=len(still_open), error=repr(exc)[:300])
            for lease in still_open:
                if not self._stop():
                    self._do(kind, [lease])
            self._give_back(still_open)
        else:
            with self._db.write() as connection:
                for lease in self.still_held(connection, leases):
                    lease.complete(connection)

    def _settle_error(self, kind: Kind, lease: Lease, exc: Exception) -> None:
        """Again later, or failed: "never again" errors at once, others after MAX_ATTEMPTS."""
        if isinstance(exc, Cancelled):
            return
        final = isinstance(exc, BrainError) and exc.status < 500
        if not final:
            log.error("job_failed", kind=lease.job.kind, attempt=lease.job.attempts, exc_info=exc)
        with self._db.write() as connection:
            if final or lease.job.attempts >= MAX_ATTEMPTS:
                self.fail(connection, lease.job, kind, exc if isinstance(exc, BrainError) else _unexpected(exc))
                return
            pause = 2.0 ** (lease.job.attempts - 1)
            pause += random.uniform(0, pause / 4)  # noqa: S311 - spreads retries, guards nothing
            self.settle(connection, lease.job, {"status": "pending", "stage": "", "run_after": self._clock() + pause})

    def _give_back(self, leases: Sequence[Lease], after_s: float = 0.0) -> None:
        """Pending again, as if never tried."""
        run_after = self._clock() + after_s if after_s else 0.0
        with self._db.write() as connection:
            for lease in leases:
                self.settle(connection, lease.job, {"status": "pending", "stage": "", "run_after": run_after, "attempts": lease.job.attempts - 1})

    def _wait(self, kind: Kind, leases: Sequence[Lease], error: BrainError) -> None:
        """Pending again in a while, as if never tried, with the reason: a full disk, an index that is away."""
        log.warning("jobs_wait", kind=leases[0].job.kind if leases else "", jobs=len(leases), code=error.code)
        pause_s = _ENGINE_PAUSE_S if isinstance(error, EngineUnavailable) else _PAUSE_S
        untried = {"status": "pending", "stage": "", "run_after": self._clock() + pause_s, **_reason(error)}
        with self._db.write() as connection:
            for lease in leases:
                if self.settle(connection, lease.job, {**untried, "attempts": lease.job.attempts - 1}):
                    kind.waits(connection, lease.job, error)

    def _take_back(self, connection: Connection, row: Row[Any], kind: Kind) -> None:
        lost = row.lost + 1
        values: dict[str, Any] = {"status": "pending", "attempts": max(0, row.attempts - 1), "lost": lost}
        values["run_after"] = 0.0 if lost <= ALONE_AFTER_LOST else self._clock() + min(30.0, 2.0 ** (lost - ALONE_AFTER_LOST))
        error = _quarantined(lost)
        if lost >= MAX_LOST:
            values |= {"status": "failed", **_reason(error)}
        same = (jobs.c.id == row.id) & (jobs.c.status == "running") & (jobs.c.lease_owner == row.lease_owner)
        changed = connection.execute(update(jobs).where(same).values(lease_owner="", lease_until=0.0, stage="", updated_at=utc_now(), **values)).rowcount
        if changed and lost >= MAX_LOST:
            kind.failed(connection, Job(row.id, row.kind, row.subject, row.kb_id, row.payload, row.attempts), error)


def one_by_one(handler: Handler, database: Database) -> BatchHandler:
    """Make a handler of single jobs one of batches."""

    def handle(leases: Sequence[Lease]) -> None:
        for lease in leases:
            result = handler(lease.job, lease)
            with database.write() as connection:
                lease.complete(connection, result)

    return handle


_NO_REASON = {"reason_code": None, "reason_zh": None, "reason_en": None}


def _reason(error: BrainError) -> dict[str, str]:
    return {"reason_code": error.code, "reason_zh": error.zh, "reason_en": error.en}


def _unexpected(exc: Exception) -> BrainError:
    name = type(exc).__name__
    return BrainError(
        zh=f"处理时出现内部错误（{name}），重试 {MAX_ATTEMPTS} 次后仍未成功。请查看日志，然后重试该任务。",
        en=f"An internal error ({name}) came up again in each of {MAX_ATTEMPTS} attempts. See the log, then retry the job.",
    )


def _quarantined(lost: int) -> ParseFailed:
    return ParseFailed(
        "quarantined",
        zh=f"处理该内容时工作进程已 {lost} 次意外终止，已隔离以免影响其他文档。请检查该文件，或重试该任务。",
        en=f"The worker died {lost} times while it held this, so it is in quarantine to spare the other documents. Check the file, or retry the job.",
    )
