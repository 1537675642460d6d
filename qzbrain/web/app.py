"""The Flask application: routes, errors, request ids, and what every reply carries. Transport only; services do the work."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from flask import Flask, Response, g, request
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI
from werkzeug.exceptions import HTTPException

from qzbrain import __version__, logs, metrics
from qzbrain.brain import Brain
from qzbrain.domain import new_id
from qzbrain.errors import BrainError
from qzbrain.web import (
    admin_api,
    chat_api,
    chunks_api,
    docs,
    embeddings_api,
    entries_api,
    graph_api,
    graph_extraction_api,
    guards,
    health,
    knowledge_api,
    models_api,
    openai_api,
    packs_api,
    pages,
    rerank_api,
)
from qzbrain.web.replies import ErrorReply
from qzbrain.web.responses import handle_error
from qzbrain.web.socket import ChatSockets
from qzbrain.web.sse import EventStream

log = logs.get(__name__)

_REQUEST_ID = re.compile(r"[\w.\-]{1,64}")
_MULTIPART_SLACK = 1 << 20
_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})


def create_app(brain: Brain) -> Flask:
    """The web application over a wired brain."""
    app = OpenAPI(
        "qzbrain",
        info=Info(title="qzbrain", version=__version__, description="启智大脑：带引用的知识问答。 Answers from your documents that cite the exact passage."),
        doc_ui=False,
        validation_error_status=400,
        validation_error_model=ErrorReply,
        responses={"400": ErrorReply, "404": ErrorReply},
        static_folder=None,
    )
    app.config["MAX_CONTENT_LENGTH"] = (brain.settings.max_upload_mb << 20) + _MULTIPART_SLACK
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.url_map.merge_slashes = False  # an address is found or not; no redirects
    app.before_request(_begin(brain))
    app.after_request(_finish)
    for kind in (BrainError, HTTPException, Exception):
        app.register_error_handler(kind, handle_error)
    knowledge = (knowledge_api, packs_api, chunks_api, entries_api, graph_api, graph_extraction_api)
    for blueprint in (*knowledge, chat_api, openai_api, embeddings_api, rerank_api, models_api, admin_api, health, docs, pages):
        app.register_api(blueprint.routes(brain))
    ChatSockets(brain, app)
    _ = brain.chat  # imported now, not while the first questioner waits
    return app


def _begin(brain: Brain) -> Callable[[], None]:
    default = brain.settings.qzbrain_lang

    def begin() -> None:
        environ = request.environ
        g.begun = time.perf_counter()
        g.lang = guards.language(environ, default)
        given = environ.get("HTTP_X_REQUEST_ID", "")
        g.request_id = given if _REQUEST_ID.fullmatch(given) else new_id()
        logs.clear()
        logs.bind(request_id=g.request_id)
        guards.require_same_origin(environ)

    return begin


def _finish(response: Response) -> Response:
    headers = response.headers
    headers["X-Request-Id"] = g.request_id
    for name, value in _SECURITY.items():
        if name not in headers:
            headers[name] = value
    route = request.url_rule.rule if request.url_rule else "unknown"
    metrics.REQUESTS.labels(route, response.status_code).inc()
    if not isinstance(response, EventStream):  # a stream writes its line when it ends
        took = time.perf_counter() - g.begun
        metrics.REQUEST_SECONDS.labels(route).observe(took)
        write = log.debug if route in _QUIET else log.info
        write("request", method=request.method, route=route, status=response.status_code, took_ms=round(took * 1e3, 2))
    return response
