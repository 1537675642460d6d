"""The worker process: leases jobs and does them. One at a time for a data folder; without one, a command can do its part (`work_inline`).

Without REDIS_HOST it looks for due rows itself; with it, it is a Celery worker, and `qzbrain.worker:app` the Celery application
(`celery -A qzbrain.worker:app inspect ping`). The embedded index has one writer, so one worker holds the data folder and others wait
for it; on a search server (ES_URL_ADD) any number share the work.

Lean while idle: tokeniser, index and reading child come with the first job, and a worker that grew large starts itself anew, keeping
its process id and its lock, once it has had nothing to do for a while.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from qzbrain import logs, metrics
from qzbrain.brain import Brain, build
from qzbrain.errors import BrainError, SettingsInvalid
from qzbrain.graph import importing as graph_importing
from qzbrain.graph import upkeep
from qzbrain.graph.base import EXTRACT_JOB
from qzbrain.graph.changes import unfollow_all
from qzbrain.graph.mirror.job import MirrorJobs
from qzbrain.jobs.lane import Lane
from qzbrain.jobs.leases import Kind, Lease, LeaseRunner, Stopping
from qzbrain.jobs.lock import WorkerLock
from qzbrain.knowledge import facts_due, heap
from qzbrain.knowledge.archive_ingest import ArchiveIngest
from qzbrain.knowledge.corpus_ingest import CorpusIngest
from qzbrain.knowledge.entries import validity
from qzbrain.knowledge.facts import FactsJob
from qzbrain.knowledge.facts_due import FactsDue
from qzbrain.knowledge.folder_scan import FolderScan
from qzbrain.knowledge.folders import submit_scan
from qzbrain.knowledge.ingest import LONG, Ingest
from qzbrain.knowledge.packs.configured import bring_in
from qzbrain.knowledge.packs.work import PackWork
from qzbrain.knowledge.pipeline import Pipeline
from qzbrain.knowledge.purge import Purge
from qzbrain.knowledge.reader import CHILD, Reader
from qzbrain.knowledge.rechunking import Rechunking
from qzbrain.knowledge.removal import sweep_strays
from qzbrain.knowledge.segments import Gathering
from qzbrain.ops import traces
from qzbrain.retrieval.shelves import documents_on, shelves
from qzbrain.settings import Settings, load_settings, secrets_of
from qzbrain.storage.backups import REINDEX
from qzbrain.storage.tables import jobs, knowledge_bases, watched_folders

if TYPE_CHECKING:
    from celery import Celery

    from qzbrain.ops.scheduled import Schedule
    from qzbrain.retrieval.feeder import Feeder

log = logs.get(__name__)
_RETIRE_READER_S = 20.0
_RENEW_S = 30.0
_RENEW_ABOVE_MB = 90
_CELERY_MB = 25
"""What Celery adds to a worker that has done nothing yet: 60 MB resident without, 72 to 87 with it (2026-11-28)."""
_LOCK_POLL_S = 0.1
_STRAY_AFTER_S = 3600.0
_ASK_S = 0.05
_TEND_GRAPHS_S = 2.0
_TEND_SOON_S = 0.3
_RESTORED_S = 30.0
"""So long between two tries to build indexes that a restore has left to do."""

Stop = Callable[[], bool]


class Workplace:
    """Everything that jobs are done with, for one thread."""

    def __init__(self, brain: Brain, child: Sequence[str] = CHILD) -> None:
        """`child`: the command line of the processes that read documents."""
        heap.use_one()
        self._brain = brain
        self._making = Lock()
        self._entries_swept = -validity.EVERY_S
        self._graphs_tended = 0.0
        self._renewal_tried = 0.0
        self._reader = Reader(brain.settings, child)
        pipeline = Pipeline(brain.db, self._feeder, self._reader, brain.follow_documents, brain.graph_at_ingest)
        purge = Purge(brain.db, brain.files, self._feeder, lambda: brain.index)
        packs = PackWork(
            brain.db,
            brain.files,
            brain.jobs,
            brain.settings,
            feeder=self._feeder,
            vector_feeder=lambda: brain.vector_feeder,
            embedder=lambda: brain.embedder,
            follow=brain.follow_documents,
            bring_graph=brain.graph_upkeep.bring,
        )
        self._lane = self._long_lane(Reader(brain.settings, child))
        self._extraction = self._extraction_lane()
        self.kinds: dict[str, Kind] = {
            "ingest": self._soon_tended(Ingest(brain.db, brain.files, brain.jobs, pipeline, put_off=self._lane.wake).kind),
            "archive": ArchiveIngest(brain.db, brain.files, brain.knowledge).kind,
            "corpus": self._soon_tended(CorpusIngest(brain.db, brain.files, brain.jobs, pipeline, brain.settings).kind),
            "index": purge.index_kind,
            "rechunk": Rechunking(brain.db, brain.files, pipeline).kind,
            "purge": purge.kind,
            "export": packs.export_kind,
            "import": packs.import_kind,
            "scan": FolderScan(brain.db, lambda: brain.knowledge, brain.access.local_caller(), brain.jobs, brain.settings).kind,
        }
        self._facts_due = FactsDue(brain.db, brain.jobs) if brain.settings.kginsert_facts else None
        self.kinds[facts_due.KIND] = FactsJob(brain.db, self._feeder, brain.courtesy).kind
        self.kinds[upkeep.KIND] = brain.graph_upkeep.kind
        self.kinds[graph_importing.KIND] = self._then_tended(graph_importing.GraphImport(brain.db, brain.files, brain.graph).kind)
        self._backups = self._schedule()
        self._gathering = Gathering(brain.db, self._feeder)
        self._mirroring = MirrorJobs(brain.db, brain.mirror, brain.jobs) if brain.mirror is not None else None
        if brain.embedding is not None:
            self.kinds["embed"] = brain.embedding.kind(rested=lambda since_s: self.rest(since_s, None))

    def run(self, stop: Stop, *, idle: Callable[[float], None] | None = None) -> None:
        """Do jobs until `stop()`; `idle` is told for how many seconds there has been nothing to do."""
        try:
            self.prepare(stop)
            self._brain.jobs.run(self.kinds, stop, idle=lambda since_s: self.rest(since_s, idle))
        finally:
            self.close()

    def prepare(self, stop: Stop) -> None:
        """What is done before the first job."""
        self._renew_restored()
        self._sweep()
        self._renew_indexes(stop)
        bring_in(self._brain.db, self._brain.access, self._brain.packs, self._brain.settings)
        self._embed_missing()
        self._tend_graphs(all_documents=True)
        self._tend_mirror(first=True)
        self._watch()
        self._lane.start()
        self._extraction.start()
        if self._mirroring is not None:
            self._mirroring.lane.start()
        if self._backups is not None:
            self._backups.start()

    def rest(self, since_s: float, idle: Callable[[float], None] | None) -> None:
        """Nothing has been due for so many seconds: hold less, and tell `idle`."""
        if since_s >= _RETIRE_READER_S:
            self._reader.close()
        self._sweep_entries()
        self._look_at_graphs()
        if time.monotonic() - self._graphs_tended >= _TEND_GRAPHS_S:
            self._tend_graphs()
            self._tend_mirror()
        if time.monotonic() - self._renewal_tried >= _RESTORED_S:
            self._renew_restored()
        copies = self._mirroring is not None and self._mirroring.lane.busy
        copies = copies or (self._backups is not None and self._backups.busy)
        if idle is not None:
            busy = self._lane.busy or self._extraction.busy or copies
            self._gathering.rest(0.0 if busy else since_s)
            if not busy and not self._gathering.busy:
                idle(since_s)

    def _sweep_entries(self) -> None:
        """By their dates entries come into force and go out of it."""
        if time.monotonic() - self._entries_swept < validity.EVERY_S:
            return
        self._entries_swept = time.monotonic()
        try:
            changed = validity.sweep(self._brain.db, self._brain.shadows)
        except BrainError as exc:
            log.warning("entries_not_swept", code=exc.code)
        else:
            if changed:
                log.info("entries_swept", changed=changed)

    def _look_at_graphs(self) -> None:
        """What has changed in a graph is told as text."""
        if self._facts_due is not None:
            try:
                self._facts_due.look()
            except BrainError as exc:
                log.warning("graphs_not_looked_at", code=exc.code)

    def close(self) -> None:
        """End the reading children and the lanes."""
        self._gathering.close()
        if self._backups is not None:
            self._backups.close()
        if self._mirroring is not None:
            self._mirroring.lane.close()
        self._extraction.close()
        self._lane.close()
        self._reader.close()

    def _extraction_lane(self) -> Lane:
        """Where a language model reads documents: it waits for an engine most of the time, and holds up nothing else meanwhile."""

        def handle(leases: Sequence[Lease]) -> None:
            lane.wake()  # it has found its work by itself: now it counts as busy
            self._brain.extraction.handle(leases)

        lane = Lane(LeaseRunner(self._brain.db), {EXTRACT_JOB: Kind(handle)}, rest=lambda: None)
        return lane

    def _long_lane(self, reader: Reader) -> Lane:
        """Where long documents are read: by a child and under leases of its own, stored and indexed in turn with the others."""
        runner = LeaseRunner(self._brain.db)
        pipeline = Pipeline(self._brain.db, self._feeder, reader, self._brain.follow_documents, self._brain.graph_at_ingest)
        return Lane(runner, {LONG: Ingest(self._brain.db, self._brain.files, runner, pipeline).kind}, rest=reader.close)

    def _schedule(self) -> Schedule | None:
        """What makes backups by itself, where that is wanted."""
        if not self._brain.settings.backup_every:
            return None
        from qzbrain.ops.scheduled import Schedule

        return Schedule(self._brain)

    def _feeder(self) -> Feeder:
        with self._making:  # two threads come here, and there may be only one feeder
            return self._brain.feeder

    def _embed_missing(self) -> None:
        if self._brain.embedding is not None:
            try:
                self._brain.embedding.submit_missing()
            except BrainError as exc:
                log.warning("embedding_not_begun", code=exc.code)

    def _tend_graphs(self, *, all_documents: bool = False) -> None:
        """Have graphs brought after their documents, and names looked for that came by an import, an extraction or by hand."""
        self._graphs_tended = time.monotonic()
        try:
            self._brain.graph_upkeep.submit_due(all_documents=all_documents)
        except BrainError as exc:
            log.warning("graphs_not_tended", code=exc.code)

    def _tend_mirror(self, *, first: bool = False) -> None:
        """Have the copies on a Neo4j server brought after their graphs; without one, nothing is noted for them any more."""
        try:
            if self._mirroring is not None:
                self._mirroring.submit_due(doubt=first)
            elif first:
                unfollow_all(self._brain.db)
        except BrainError as exc:
            log.warning("mirror_not_tended", code=exc.code)

    def _then_tended(self, kind: Kind) -> Kind:
        """What such jobs bring into a graph is looked for in chunks at once."""

        def handle(leases: Sequence[Lease]) -> None:
            kind.handle(leases)
            self._tend_graphs()
            self._tend_mirror()

        return replace(kind, handle=handle)

    def _soon_tended(self, kind: Kind) -> Kind:
        """After such jobs graphs are looked at as soon as there is nothing else to do: what has just become ready is asked about first."""

        def handle(leases: Sequence[Lease]) -> None:
            kind.handle(leases)
            self._graphs_tended = min(self._graphs_tended, time.monotonic() - _TEND_GRAPHS_S + _TEND_SOON_S)

        return replace(kind, handle=handle)

    def _watch(self) -> None:
        """A job for each watched folder that has none: its last one failed, or was cancelled."""
        try:
            with self._brain.db.write() as connection:
                active = select(watched_folders.c.id, watched_folders.c.kb_id).where(watched_folders.c.active == 1)
                for row in connection.execute(active).all():
                    submit_scan(connection, self._brain.jobs, row.kb_id, row.id, now=False)
        except BrainError as exc:
            log.warning("folders_not_watched", code=exc.code)

    def _sweep(self) -> None:
        try:
            swept = sweep_strays(self._brain.db, self._brain.files, before=time.time() - _STRAY_AFTER_S)
        except BrainError as exc:
            log.warning("strays_not_swept", code=exc.code)
        else:
            if swept:
                log.info("strays_swept", files=swept)

    def _renew_restored(self) -> None:
        """The command that put a backup into its place was killed before it had built the indexes anew, or their server was away; perhaps it still is."""
        self._renewal_tried = time.monotonic()
        if not (self._brain.settings.data / REINDEX).exists():
            return
        from qzbrain.ops.renewing import renew_indexes

        try:
            renew_indexes(self._brain, lambda _stage, _done, _total: None)
        except BrainError as exc:
            log.warning("index_not_renewed", code=exc.code)

    def _renew_indexes(self, stop: Stop) -> None:
        """Build the indexes that this program cannot read: of an older schema, or lost."""

        def progress(_done: int, _total: int) -> None:
            if stop():
                raise Stopping

        for (kb_id,) in self._brain.db.rows(select(knowledge_bases.c.id)):
            try:
                for shelf in shelves(kb_id):
                    if (shelf == kb_id or self._brain.db.rows(documents_on(shelf).limit(1))) and self._brain.feeder.ensure(shelf, progress):
                        log.info("index_renewed", kb_id=shelf)
            except Stopping:
                return
            except BrainError as exc:
                log.warning("index_not_renewed", kb_id=kb_id, code=exc.code)


def work_inline(brain: Brain, until: Stop) -> None:
    """Return when `until()` is true. Where no worker holds the data folder, its part is done here; should one die meanwhile, too.

    What was read here is then also in its graph: nobody else would see to that before a worker runs. `until` is asked at most some twenty times a second.
    """
    until = _seldom(until)
    lock = WorkerLock(brain.settings.data)
    while not until():
        if lock.acquire():
            try:
                Workplace(brain).run(lambda: until() and not _graph_is_due(brain))
            finally:
                lock.release()
            return
        time.sleep(_LOCK_POLL_S)


def _graph_is_due(brain: Brain) -> bool:
    due = (jobs.c.kind == upkeep.KIND) & (jobs.c.status == "pending") & (jobs.c.run_after <= time.time())
    return bool(brain.db.rows(select(jobs.c.id).where(due).limit(1)))


def main() -> None:
    """Work until SIGTERM or SIGINT. Further arguments are `celery worker`'s, where that is what runs."""
    parser = argparse.ArgumentParser(prog="qzbrain.worker", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lock", type=int, default=None, help="descriptor of the lock, when this process held it before it started itself anew")
    given, more = parser.parse_known_args()
    settings = load_settings()
    logs.configure(settings.log_level, "worker")
    logs.hide(secrets_of(settings))
    if settings.redis_host:
        _serve_broker(settings, given.lock, more)
    elif more:
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    else:
        _serve_rows(settings, given.lock)


def _serve_rows(settings: Settings, held: int | None) -> None:
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _frame: stopping.append(got))
    lock = WorkerLock(settings.data, held)
    while not stopping and not lock.acquire():
        time.sleep(_LOCK_POLL_S)
    if stopping:
        return
    traces.begin(settings, "worker")
    brain = build(settings)
    told = metrics.share(settings.data)
    log.info("worker_started", owner=brain.jobs.owner)
    workplace = Workplace(brain)
    workplace.run(lambda: bool(stopping), idle=lambda since_s: _renew_when_large(brain, workplace, lock, since_s, _RENEW_ABOVE_MB))
    brain.close()
    told()
    traces.end()
    log.info("worker_ended")


def _serve_broker(settings: Settings, held: int | None, more: Sequence[str]) -> None:
    """Run Celery's worker in this process. Its command line is only loaded (9 MB) when there is something on it."""
    app = celery_app(settings, held, more)
    if more:
        import click

        try:
            app.worker_main(["worker", f"--hostname={_node()}", "--without-mingle", "--without-gossip", "--without-heartbeat", *more])
        except click.ClickException as exc:
            exc.show()
            sys.exit(exc.exit_code)
        return
    worker = app.Worker(hostname=_node(), without_mingle=True, without_gossip=True, without_heartbeat=True, quiet=True)
    worker.start()
    sys.exit(worker.exitcode)


def require_broker(settings: Settings) -> None:
    """Raises SettingsInvalid when a Celery worker is wanted and no Redis is configured."""
    if not settings.redis_host:
        raise SettingsInvalid(
            zh="没有设置 REDIS_HOST，任务由内置的后台进程处理，不需要 Celery。要使用 Celery，请在环境变量或 config.toml 中设置 REDIS_HOST（见 docs/redis.md）；"
            "否则运行 python main.py 即可。",
            en="REDIS_HOST is not set, so the built-in worker does the jobs and Celery is not needed. To use Celery set REDIS_HOST in the environment or in "
            "config.toml (see docs/redis.md); else python main.py is all.",
            param="redis_host",
        )


def _node() -> str:
    return f"worker-{os.getpid()}@{socket.gethostname()}"


def celery_app(settings: Settings, held: int | None = None, more: Sequence[str] = ()) -> Celery:
    """The Celery application of these settings. A Celery worker that is started on it, by whatever command, becomes this brain's worker."""
    from celery import signals
    from celery.platforms import SecurityWarning

    from qzbrain.jobs.broker import application

    warnings.filterwarnings("ignore", category=SecurityWarning)  # of running as root: for messages that hold code, and ours hold an id
    app = application(settings)
    signals.setup_logging.connect(lambda **_: logs.configure(settings.log_level, "worker"), weak=False)

    def begin(sender: Any, **_: Any) -> None:
        try:
            if "solo" not in str(sender.pool_cls):
                raise _other_pool()
            _take_part(app, settings, held, more)
        except Exception as exc:  # Celery would log it and run without any task
            log.error("worker_not_started", exc_info=exc)
            raise SystemExit(1) from exc

    signals.worker_init.connect(begin, weak=False)
    return app


def _other_pool() -> SettingsInvalid:
    return SettingsInvalid(
        zh="本程序的 Celery worker 只使用 solo 池（文档由子进程解析）。请去掉 --pool；需要更多并行时，在配置了 ES_URL_ADD 后启动多个 worker。",
        en="This Celery worker uses the pool `solo` only (a child process reads documents). Drop --pool; for more at once start several workers, "
        "with ES_URL_ADD configured.",
        param="pool",
    )


def _take_part(app: Celery, settings: Settings, held: int | None, more: Sequence[str]) -> None:
    """Before Celery connects: have the lock, the brain and the tasks. Until then a signal simply ends the process."""
    from qzbrain.jobs.shift import Shift

    lock, shared = WorkerLock(settings.data, held), bool(settings.es_url_add)
    _await(lock, shared=shared)
    traces.begin(settings, "worker")
    brain = build(settings)
    told = metrics.share(settings.data)
    workplace = Workplace(brain)
    workplace.prepare(lambda: False)

    def idle(since_s: float) -> None:
        if shared:
            lock.acquire()  # the worker that held it may have ended
        _renew_when_large(brain, workplace, lock, since_s, _RENEW_ABOVE_MB + _CELERY_MB, more)

    shift = Shift(app, brain.jobs, workplace.kinds, lambda since_s: workplace.rest(since_s, idle))

    def ended() -> None:
        workplace.close()
        brain.close()
        told()
        traces.end()
        log.info("worker_ended")

    log.info("worker_started", owner=brain.jobs.owner, broker=f"{settings.redis_host}:{settings.redis_port}")
    shift.enlist(ended)


def _await(lock: WorkerLock, *, shared: bool) -> None:
    """Wait until the data folder is ours. A shared one is not waited for: whoever holds the lock only shows that there is a worker."""
    if lock.acquire() or shared:
        return
    log.info("worker_waits", reason="another worker holds the data folder")
    while not lock.acquire():
        time.sleep(_LOCK_POLL_S)


def __getattr__(name: str) -> Any:
    """`app`, made when Celery's command line asks for it: without REDIS_HOST nothing of Celery is imported."""
    if name == "app":
        settings = load_settings()
        require_broker(settings)
        return celery_app(settings)
    raise AttributeError(name)


def _renew_when_large(brain: Brain, workplace: Workplace, lock: WorkerLock, since_s: float, above_mb: float, more: Sequence[str] = ()) -> None:
    """Start this process anew when it is idle and large: what the tokeniser and the index took cannot be given back otherwise."""
    if since_s < _RENEW_S or heap.resident_bytes(os.getpid()) / 1e6 < above_mb:
        return
    workplace.close()
    brain.close()
    held = lock.hand_on()
    os.execv(sys.executable, [sys.executable, "-m", "qzbrain.worker", *(["--lock", str(held)] if held is not None else []), *more])


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
