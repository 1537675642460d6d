"""The Flask application: routes, errors, request ids, and what every reply carries. Transport only; services do the work."""

from __future__ import annotations

from flask import Flask
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI

from qzbrain import __version__
from qzbrain.brain import Brain
from qzbrain.web import (
    accounts_api,
    admin_api,
    audit_api,
    audited,
    chat_api,
    chunks_api,
    docs,
    edge,
    embeddings_api,
    entries_api,
    graph_api,
    graph_extraction_api,
    health,
    knowledge_api,
    limits,
    models_api,
    openai_api,
    packs_api,
    pages,
    proxies,
    rerank_api,
    rights,
    session_api,
)
from qzbrain.web.callers import Callers
from qzbrain.web.replies import ErrorReply
from qzbrain.web.socket import ChatSockets

_MULTIPART_SLACK = 1 << 20


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
    callers = Callers(brain)
    edge.attach(app, lang=brain.settings.qzbrain_lang, check=callers.of)
    if brain.audit.active:
        audited.attach(app, brain)
        brain.turn_ended = audited.answers(brain)
    bounds = limits.Limits(brain)
    if brain.settings.accounts:
        limits.attach(app, bounds)
        rights.attach(app, brain.access)
        callers.attach(app)
    knowledge = (knowledge_api, packs_api, chunks_api, entries_api, graph_api, graph_extraction_api)
    for blueprint in (*knowledge, chat_api, openai_api, embeddings_api, rerank_api, models_api, admin_api, audit_api, health, docs, pages):
        app.register_api(blueprint.routes(brain))
    app.register_api(accounts_api.routes(brain))
    app.register_api(session_api.routes(brain, callers))
    ChatSockets(brain, app, callers, bounds)
    if networks := brain.settings.proxy_networks:
        app.wsgi_app = proxies.believing(app.wsgi_app, networks)  # type: ignore[method-assign]  # outermost: all see the client's own address
    _ = brain.chat  # imported now, not while the first questioner waits
    return app
