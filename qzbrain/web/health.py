"""/healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from sqlalchemy import Select, func, select

from qzbrain import logs
from qzbrain.brain import Brain
from qzbrain.errors import BrainError, IndexUnavailable, MirrorUnavailable
from qzbrain.jobs.lock import worker_is_alive
from qzbrain.metrics import scraped
from qzbrain.storage.tables import documents, jobs, knowledge_bases
from qzbrain.web import replies
from qzbrain.web.responses import reply

log = logs.get(__name__)

SAMPLE = "laws"
_DEGRADED = "degraded: "
_ANY_BASE = select(knowledge_bases.c.id).limit(1)
_SAMPLE: Select[tuple[str, int]] = (
    select(documents.c.status, func.count().label("number"))
    .join(knowledge_bases, knowledge_bases.c.id == documents.c.kb_id)
    .where(knowledge_bases.c.name == SAMPLE)
    .group_by(documents.c.status)
)
_JOBS: Select[tuple[str, int]] = select(jobs.c.status, func.count().label("number")).group_by(jobs.c.status)
_DOCUMENTS: Select[tuple[str, int]] = select(documents.c.status, func.count().label("number")).where(documents.c.kind == "file").group_by(documents.c.status)


def routes(brain: Brain) -> APIBlueprint:
    """The routes of this module over a brain."""
    api = APIBlueprint("health", __name__, abp_tags=[Tag(name="health")])
    registry = scraped(_AtScrape(brain))

    @api.get("/healthz", responses={"200": {"content": {"application/json": {"schema": {"type": "object"}}}}})
    def healthz() -> Response:
        """200 while the process lives."""
        return reply({"status": "ok"})

    @api.get("/readyz", responses={"200": replies.ReadyReply, "503": replies.ReadyReply})
    def readyz() -> Response:
        """200 when the first question can be answered, else 503 with what is missing. `degraded`: answered with a notice that a part is away."""
        checks = {name: _checked(check, brain) for name, check in _checks(brain).items()}
        ready = all(result == "ok" or result.startswith(_DEGRADED) for result in checks.values())
        return reply({"status": "ready" if ready else "not_ready", "checks": checks}, 200 if ready else 503)

    @api.get("/metrics", responses={"200": {"content": {"text/plain": {"schema": {"type": "string"}}}}})
    def metrics() -> Response:
        """Counters in Prometheus' form."""
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return api


def _checked(check: Callable[[Brain], str], brain: Brain) -> str:
    try:
        return check(brain)
    except BrainError as exc:
        return str(exc)
    except Exception as exc:
        log.warning("readiness_check_failed", exc_info=exc)
        return f"{type(exc).__name__}: {exc}"


def _database(brain: Brain) -> str:
    brain.db.rows(_ANY_BASE)
    return "ok"


def _index(brain: Brain) -> str:
    """Every knowledge base can be searched as far as its index is; one that lags is caught up by the worker meanwhile."""
    try:
        for (kb_id,) in brain.db.rows(_ANY_BASE):
            brain.index.chunk_count(kb_id)
    except IndexUnavailable as exc:  # a server of its own: taking every web process out of service would not bring it back
        return f"{_DEGRADED}{exc}"
    return "ok"


def _worker(brain: Brain) -> str:
    if worker_is_alive(brain.settings.data):
        return "ok"
    if brain.settings.redis_host and brain.settings.es_url_add:  # nothing ties a worker to this host
        return f"{_DEGRADED}no worker runs on this host; documents are read by the workers of others"
    return "no worker holds the data folder's lock yet"


def _sample(brain: Brain) -> str:
    """The first start brings documents; until one of them is ready there is nothing to answer from."""
    counts: dict[str, int] = {row.status: row.number for row in brain.db.rows(_SAMPLE)}
    waiting = counts.get("pending", 0) + counts.get("running", 0)
    return f"reading the sample knowledge base {SAMPLE}: {waiting} documents to go" if waiting and not counts.get("ready") else "ok"


def _graph(brain: Brain) -> str:
    """The graph service, where it is a process of its own; without it searches and answers go on."""
    if brain.remote_graph is None:
        return "ok"
    calls = brain.remote_graph.calls
    state = calls.check()
    return "ok" if state.fault is None else f"{_DEGRADED}{calls.unavailable(state.fault)}"


_CHECKS: dict[str, Callable[[Brain], str]] = {"database": _database, "index": _index, "worker": _worker, "sample": _sample, "graph": _graph}


def _checks(brain: Brain) -> dict[str, Callable[[Brain], str]]:
    return _CHECKS if brain.mirror is None else {**_CHECKS, "neo4j": _mirror}


def _mirror(brain: Brain) -> str:
    """The copies of graphs; the database answers without them."""
    assert brain.mirror is not None
    try:
        brain.mirror.link.server()
    except MirrorUnavailable as exc:
        return f"{_DEGRADED}{exc}"
    behind = len(brain.mirror.due())
    return f"{_DEGRADED}{behind} graphs are read from the database until their copies are current" if behind else "ok"


class _AtScrape:
    """What is read when /metrics is asked for."""

    def __init__(self, brain: Brain) -> None:
        self._brain = brain

    def describe(self) -> list[Metric]:
        """Nothing ahead of time: there may be no database yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Jobs and documents by status; answers under way and questions waiting by model."""
        yield self._by_status("qzbrain_jobs", "Jobs by status.", _JOBS)
        yield self._by_status("qzbrain_documents", "Documents by status.", _DOCUMENTS)
        running = GaugeMetricFamily("qzbrain_model_answers_running", "Answers being generated, by model.", labels=["model"])
        queued = GaugeMetricFamily("qzbrain_model_questions_queued", "Questions waiting for a slot, by model.", labels=["model"])
        for state, in_use, waiting in self._brain.chat.model_states():
            running.add_metric([state.name], in_use)
            queued.add_metric([state.name], waiting)
        yield running
        yield queued
        backup = self._last_backup()
        if backup is not None:
            yield backup
        if self._brain.shared.several:
            connected = GaugeMetricFamily("qzbrain_shared_state_connected", "1 while Redis is there, else 0: each process is alone.")
            connected.add_metric([], self._brain.shared.connected)
            yield connected

        if self._brain.remote_graph is not None:
            up = self._brain.remote_graph.calls.state.name == "closed"
            asked = GaugeMetricFamily("qzbrain_graph_service_connected", "1 while the graph service of GRAPH_URL is asked, else 0.")
            asked.add_metric([], up)
            yield asked

    def _last_backup(self) -> GaugeMetricFamily | None:
        from qzbrain.ops.doctor_backup import last_made

        try:
            at = last_made(self._brain.settings)
        except BrainError:
            at = None
        if at is None:
            return None
        family = GaugeMetricFamily("qzbrain_backup_last_timestamp_seconds", "When the newest backup was made, in seconds since 1970; absent without one.")
        family.add_metric([], at)
        return family

    def _by_status(self, name: str, text: str, statement: Select[tuple[str, int]]) -> GaugeMetricFamily:
        family = GaugeMetricFamily(name, text, labels=["status"])
        for row in self._brain.db.rows(statement):
            family.add_metric([row.status], row.number)
        return family
