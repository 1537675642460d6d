"""What /metrics reads when it is asked, beside what is counted: jobs, documents, models and their engines, workers, the disk, parts that are away."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from datetime import datetime

from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import Select, bindparam, func, select

from qzbrain import __version__
from qzbrain.brain import Brain
from qzbrain.errors import BrainError
from qzbrain.jobs.lock import worker_is_alive
from qzbrain.metrics import workers_counting
from qzbrain.ops.doctor_backup import last_made
from qzbrain.storage.tables import documents, jobs

OLDEST_LOOKED_AT = 1000
"""Of the jobs that wait so many are looked at, the first that came, for the one that waits longest."""
GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "qzbrain_build": ("1, with the version.", ("version",)),
    "qzbrain_jobs": ("Jobs by status.", ("status",)),
    "qzbrain_jobs_due": ("Jobs that could be done now and are not, by kind.", ("kind",)),
    "qzbrain_job_due_oldest_seconds": ("For how long the one that waits longest could have been done, by kind.", ("kind",)),
    "qzbrain_documents": ("Documents by status.", ("status",)),
    "qzbrain_worker_up": ("1 while a worker holds the data folder, else 0.", ()),
    "qzbrain_workers_counting": ("Workers whose counters are in here.", ()),
    "qzbrain_model_up": ("1 while a model answers or would when asked, else 0.", ("model",)),
    "qzbrain_model_slots": ("Answers that a model may give at once.", ("model",)),
    "qzbrain_model_answers_running": ("Answers being generated, by model.", ("model",)),
    "qzbrain_model_questions_queued": ("Questions waiting for a slot, by model.", ("model",)),
    "qzbrain_engine_restarts": ("How often a local engine was started again since its manager began.", ("model",)),
    "qzbrain_disk_free_bytes": ("Free space where the data folder is.", ()),
    "qzbrain_disk_bytes": ("All space where the data folder is.", ()),
    "qzbrain_backup_last_timestamp_seconds": ("When the newest backup was made, in seconds since 1970. Once there is one.", ()),
    "qzbrain_shared_state_connected": ("1 while Redis is there, else 0: each process is alone. With REDIS_HOST only.", ()),
    "qzbrain_graph_service_connected": ("1 while the graph service is asked, else 0. With a graph service only.", ()),
}
"""Name: what it means, and its labels."""

_JOBS: Select[tuple[str, int]] = select(jobs.c.status, func.count().label("number")).group_by(jobs.c.status)
_DUE = (jobs.c.status == "pending") & (jobs.c.run_after <= bindparam("now"))
_JOBS_DUE: Select[tuple[str, int]] = select(jobs.c.kind, func.count().label("number")).where(_DUE).group_by(jobs.c.kind)
_OLDEST = select(jobs.c.kind, jobs.c.created_at, jobs.c.run_after).where(_DUE).order_by(jobs.c.id).limit(OLDEST_LOOKED_AT)
_DOCUMENTS: Select[tuple[str, int]] = select(documents.c.status, func.count().label("number")).where(documents.c.kind == "file").group_by(documents.c.status)


class AtScrape:
    """Reads a brain when /metrics is asked for."""

    def __init__(self, brain: Brain) -> None:
        self._brain = brain

    def describe(self) -> list[Metric]:
        """Nothing ahead of time: there may be no database yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Those of `GAUGES` that there is something to say of."""
        brain = self._brain
        yield _gauge("qzbrain_build", {(__version__,): 1})
        yield _gauge("qzbrain_jobs", {(row.status,): row.number for row in brain.db.rows(_JOBS)})
        yield _gauge("qzbrain_documents", {(row.status,): row.number for row in brain.db.rows(_DOCUMENTS)})
        yield from self._due()
        yield from self._models()
        yield _gauge("qzbrain_worker_up", {(): worker_is_alive(brain.settings.data)})
        yield _gauge("qzbrain_workers_counting", {(): len(workers_counting(brain.settings.data))})
        disk = shutil.disk_usage(brain.settings.data)
        yield _gauge("qzbrain_disk_free_bytes", {(): disk.free})
        yield _gauge("qzbrain_disk_bytes", {(): disk.total})
        if (backup := _last_backup(brain)) is not None:
            yield _gauge("qzbrain_backup_last_timestamp_seconds", {(): backup})
        if brain.shared.several:
            yield _gauge("qzbrain_shared_state_connected", {(): brain.shared.connected})
        if brain.remote_graph is not None:
            yield _gauge("qzbrain_graph_service_connected", {(): brain.remote_graph.calls.state.name == "closed"})

    def _due(self) -> Iterator[Metric]:
        now = time.time()
        waiting: dict[tuple[str, ...], float] = {}
        for row in self._brain.db.rows(_OLDEST, {"now": now}):
            since = max(row.run_after, datetime.fromisoformat(row.created_at).timestamp())
            waiting[(row.kind,)] = max(now - since, waiting.get((row.kind,), 0.0))
        yield _gauge("qzbrain_jobs_due", {(row.kind,): row.number for row in self._brain.db.rows(_JOBS_DUE, {"now": now})})
        yield _gauge("qzbrain_job_due_oldest_seconds", waiting)

    def _models(self) -> Iterator[Metric]:
        states = self._brain.chat.model_states()
        yield _gauge("qzbrain_model_up", {(state.name,): state.status == "ready" for state, _, _ in states})
        yield _gauge("qzbrain_model_slots", {(state.name,): state.slots for state, _, _ in states if state.slots})
        yield _gauge("qzbrain_model_answers_running", {(state.name,): in_use for state, in_use, _ in states})
        yield _gauge("qzbrain_model_questions_queued", {(state.name,): waiting for state, _, waiting in states})
        yield _gauge("qzbrain_engine_restarts", {(state.name,): state.restarts for state, _, _ in states if state.local})


def _last_backup(brain: Brain) -> float | None:
    try:
        return last_made(brain.settings)
    except BrainError:  # the doctor's part
        return None


def _gauge(name: str, values: dict[tuple[str, ...], float]) -> GaugeMetricFamily:
    text, labels = GAUGES[name]
    family = GaugeMetricFamily(name, text, labels=labels)
    for of, value in values.items():
        family.add_metric(of, float(value))
    return family
