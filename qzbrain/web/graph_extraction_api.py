"""Facts by a language model, and entities that may be one: `/api/graph/{kb}/extract` and `/api/graph/{kb}/suggestions`."""

from __future__ import annotations

import dataclasses
from typing import Any

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from qzbrain.brain import Brain
from qzbrain.errors import Lang
from qzbrain.graph.base import Entity
from qzbrain.graph.suggestions import Suggestion, reason_text
from qzbrain.web import graph_extraction_shapes as shapes
from qzbrain.web import replies, schemas
from qzbrain.web.graph_api import writable
from qzbrain.web.guards import caller
from qzbrain.web.responses import reply
from qzbrain.web.validation import validated


def routes(brain: Brain) -> APIBlueprint:
    """The routes of this module over a brain."""
    api = APIBlueprint("graph_extraction", __name__, abp_tags=[Tag(name="graph")])
    _extracting(api, brain)
    _suggesting(api, brain)
    return api


def _extracting(api: APIBlueprint, brain: Brain) -> None:
    @api.post("/api/graph/<kb>/extract", responses={"200": shapes.CostReply, "202": replies.JobStarted, "503": replies.ErrorReply})
    @validated
    def extract_triples(path: schemas.KnowledgeBasePath, body: shapes.ExtractBody) -> Response:
        """Have a language model read documents for facts, each with its quote. `dry_run` only tells what it will cost; 202 with a job otherwise."""
        kb_id, ceiling = writable(brain, path.kb)
        if body.dry_run:
            return reply(dataclasses.asdict(brain.extractions.cost(kb_id, model=body.model, document_ids=body.document_ids, ceiling=ceiling)))
        return reply({"job_id": brain.extractions.submit(kb_id, model=body.model, document_ids=body.document_ids, ceiling=ceiling)}, 202)


def _suggesting(api: APIBlueprint, brain: Brain) -> None:
    @api.get("/api/graph/<kb>/suggestions", responses={"200": shapes.SuggestionsReply})
    @validated
    def list_suggestions(path: schemas.KnowledgeBasePath, query: shapes.SuggestionsQuery) -> Response:
        """Entities that may be one, the likeliest first."""
        kb_id, ceiling = writable(brain, path.kb)
        seen = None if ceiling is None else set(brain.local_graph.view(kb_id, ceiling=ceiling).ids.tolist())
        found, total = brain.suggestions.listed(kb_id, query.status, limit=query.limit, seen=seen)
        lang = caller(brain.access).lang
        return reply({"data": [_suggestion(one, lang) for one in found], "total": total})

    @api.post("/api/graph/<kb>/suggestions/<suggestion_id>/accept", responses={"200": shapes.SuggestionReply, "409": replies.ErrorReply})
    @validated
    def accept_suggestion(path: shapes.SuggestionPath) -> Response:
        """Make both entities one, as `merge` does; its `merge_id` undoes it."""
        who, kb_id = caller(brain.access), _decidable(brain, path)
        return reply(_suggestion(brain.suggestions.accept(kb_id, path.suggestion_id, author=who.name), who.lang))

    @api.post("/api/graph/<kb>/suggestions/<suggestion_id>/dismiss", responses={"200": shapes.SuggestionReply, "409": replies.ErrorReply})
    @validated
    def dismiss_suggestion(path: shapes.SuggestionPath) -> Response:
        """They are not one; it is not suggested again."""
        who, kb_id = caller(brain.access), _decidable(brain, path)
        return reply(_suggestion(brain.suggestions.dismiss(kb_id, path.suggestion_id, author=who.name), who.lang))


def _decidable(brain: Brain, path: shapes.SuggestionPath) -> str:
    """The knowledge base, where the caller may know of both entities that the suggestion names."""
    kb_id, ceiling = writable(brain, path.kb)
    if ceiling is not None:
        seen = set(brain.local_graph.view(kb_id, ceiling=ceiling).ids.tolist())
        brain.suggestions.require_seen(kb_id, path.suggestion_id, seen)
    return kb_id


def _suggestion(one: Suggestion, lang: Lang) -> dict[str, Any]:
    return {
        "id": one.id,
        "keep": _entity(one.keep),
        "merge": [_entity(one.merge)] if one.merge is not None else [],
        "reason": reason_text(one)[lang == "en"],
        "reason_code": one.reason,
        "score": one.score,
        "status": one.status,
        "alias": one.alias or None,
        "merge_id": one.merge_id or None,
        "author": one.author or None,
    }


def _entity(one: Entity | None) -> dict[str, Any] | None:
    return None if one is None else {"id": str(one.id), "name": one.name, "type": one.type, "aliases": list(one.aliases), "degree": one.degree}
