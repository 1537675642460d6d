"""The graph service's own application (`qzbrain graph-service`): questions to graphs, and nothing that changes one.

With GRAPH_TOKEN whoever sends it may ask, from anywhere; nobody else may. Without it the service is bound to this machine alone, and requests that a foreign
page made in somebody's browser are refused as web refuses them.
"""

from __future__ import annotations

import hmac
from typing import Annotated, Any

from flask import Flask, Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI
from pydantic import Field
from sqlalchemy import select

from qzbrain import __version__, logs
from qzbrain.brain import Brain
from qzbrain.domain import Caller
from qzbrain.errors import AuthenticationRequired, BrainError, Lang
from qzbrain.storage.tables import knowledge_bases
from qzbrain.web import edge, graph_api, guards
from qzbrain.web.graph_shapes import Text
from qzbrain.web.guards import caller
from qzbrain.web.replies import ErrorReply
from qzbrain.web.responses import reply
from qzbrain.web.schemas import KnowledgeBasePath, Names, Strict
from qzbrain.web.validation import validated

log = logs.get(__name__)

_MOST_BODY_BYTES = 1 << 20
_ANY_BASE = select(knowledge_bases.c.id).limit(1)
_ANSWERED = ("kb_id", "kind", "relation", "values", "left_out", "confidence", "truth")
_Chunk = Annotated[int, Field(gt=0, lt=1 << 62)]


class PassagesBody(Strict):
    """A question, and passages that it names itself."""

    question: Text
    chunk_ids: list[_Chunk] = Field(default_factory=list, max_length=1000)
    top_k: int = Field(30, ge=1, le=200)


class AnswerBody(Strict):
    """A question, and what it may lean on: questions before it, and how near relations' names are to it in meaning."""

    text: Text
    kb_ids: Names
    before: list[Text] = Field(default_factory=list, max_length=20)
    nearness: dict[str, Annotated[float, Field(ge=-1.01, le=1.01)]] | None = Field(None, max_length=20_000)


def create_graph_app(brain: Brain) -> Flask:
    """The application over a brain that reads graphs itself."""
    app = OpenAPI(
        "qzbrain-graph",
        info=Info(title="qzbrain graph service", version=__version__),
        doc_ui=False,
        validation_error_status=400,
        validation_error_model=ErrorReply,
        static_folder=None,
    )
    app.config["MAX_CONTENT_LENGTH"] = _MOST_BODY_BYTES
    edge.attach(app, lang=brain.settings.qzbrain_lang, check=_check(brain, brain.settings.graph_token))
    app.register_api(graph_api.asking_routes(brain))
    app.register_api(_own_routes(brain))
    return app


def _check(brain: Brain, token: str) -> edge.Check:
    wanted = f"Bearer {token}".encode()

    def check(environ: dict[str, Any], lang: Lang) -> Caller:
        if environ.get("PATH_INFO") == "/healthz":
            return brain.access.local_caller(lang)
        if not token:
            guards.require_own_host(environ)
            guards.require_same_origin(environ)
        elif not hmac.compare_digest(environ.get("HTTP_AUTHORIZATION", "").encode("latin-1", "replace"), wanted):
            raise AuthenticationRequired(
                "graph_token_required",
                zh="图谱服务需要密钥：请求头 Authorization: Bearer 加上 GRAPH_TOKEN 的值。请检查双方的 GRAPH_TOKEN 是否一致。",
                en="The graph service wants its secret, as the header Authorization: Bearer with the value of GRAPH_TOKEN. See that both sides have the same.",
            )
        return brain.access.local_caller(lang)

    return check


def _own_routes(brain: Brain) -> APIBlueprint:
    api = APIBlueprint("graph-service", __name__)

    @api.post("/api/graph/<kb>/passages")
    @validated
    def near_passages(path: KnowledgeBasePath, body: PassagesBody) -> Response:
        """The passages that the graph leads to from what a question names, nearest first, by their numbers."""
        ref = brain.access.resolve(caller(brain.access), [path.kb])[0]
        found = brain.passage_graphs.near(ref.id, body.question, body.chunk_ids, top_k=body.top_k)
        return reply({"data": [{"chunk_id": one.chunk_id, "score": one.score} for one in found]})

    @api.post("/api/graph/answer")
    @validated
    def answer(body: AnswerBody) -> Response:
        """The answer of the graph that is surest of its own, with the triples that say it."""
        refs = brain.access.resolve(caller(brain.access), body.kb_ids)
        found = brain.graph_service.answer(body.text, [ref.id for ref in refs], before=body.before, nearness=body.nearness)
        steps = [{"triple": graph_api.triple(one.triple), "forward": one.forward} for one in found.steps]
        return reply({name: getattr(found, name) for name in _ANSWERED} | {"steps": steps})

    @api.get("/healthz")
    def healthz() -> Response:
        """200 while the process lives."""
        return reply({"status": "ok"})

    @api.get("/readyz")
    def readyz() -> Response:
        """200 when questions can be answered: the database is there."""
        try:
            brain.db.rows(_ANY_BASE)
        except BrainError as exc:
            log.warning("readiness_check_failed", code=exc.code)
            return reply({"status": "not_ready", "checks": {"database": exc.code}}, 503)
        return reply({"status": "ready", "checks": {"database": "ok"}})

    return api
