"""/healthz, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import Select, func, select

from qzbrain import logs
from qzbrain.brain import Brain
from qzbrain.errors import BrainError, IndexUnavailable, MirrorUnavailable
from qzbrain.jobs.lock import worker_is_alive
from qzbrain.metrics import scraped
from qzbrain.storage.tables import documents, knowledge_bases
from qzbrain.web import replies
from qzbrain.web.responses import reply
from qzbrain.web.scrape import AtScrape

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


def routes(brain: Brain) -> APIBlueprint:
    """The routes of this module over a brain."""
    api = APIBlueprint("health", __name__, abp_tags=[Tag(name="health")])
    registry = scraped(AtScrape(brain), brain.settings.data)

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
