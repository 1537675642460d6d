"""The audit log for administrators: GET /api/system/audit, as pages or as a file."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag
from pydantic import BaseModel, Field

from qzbrain.auth.audit_trail import Wanted
from qzbrain.brain import Brain
from qzbrain.web import render, replies, schemas
from qzbrain.web.guards import caller
from qzbrain.web.responses import reply
from qzbrain.web.validation import validated

_TIME = r"^(\d{4}(-\d\d(-\d\d(T\d\d(:\d\d(:\d\d(\.\d{1,6})?Z?)?)?)?)?)?)?$"
_TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


class AuditQuery(schemas.Strict):
    """Which events."""

    limit: int = Field(100, ge=1, le=1000, description="Most events of one page.")
    after: str | None = Field(None, max_length=200, description="`next` of the page before.")
    actor: str = Field("", max_length=255, description="Only those of this user, by name or id.")
    action: str = Field("", max_length=64, description="Only this action, or all that begin with it and a dot.")
    since: str = Field("", pattern=_TIME, description="From this time on: RFC 3339 in UTC, or the beginning of it, such as `2026-11-28`.")
    until: str = Field("", pattern=_TIME, description="Up to this time, likewise; a day includes its hours.")
    format: Literal["json", "csv", "jsonl"] = Field("json", description="`csv`, `jsonl`: all that is wanted, oldest first, as a file.")


class AuditEvent(BaseModel):
    """Who did what."""

    number: int
    at: str
    actor_id: str
    actor: str
    key_id: str
    action: str
    subject: str
    kb_id: str
    level: Literal["public", "internal", "confidential", "secret", "top_secret"]
    address: str
    request_id: str
    outcome: Literal["done", "refused", "failed"]
    details: dict[str, Any]
    hash: str


def routes(brain: Brain) -> APIBlueprint:
    """The routes of this module over a brain."""
    api = APIBlueprint("audit", __name__, url_prefix="/api/system", abp_tags=[Tag(name="administration")])

    @api.get("/audit", responses={"200": replies.page_of(AuditEvent), "403": replies.ErrorReply})
    @validated
    def audit(query: AuditQuery) -> Response:
        """Who did or read what, newest first; with `format` as a file."""
        who = caller(brain.access)
        wanted = Wanted(query.actor, query.action, query.since, query.until)
        if query.format == "json":
            return reply(render.page(brain.audit_trail.page(who, wanted, limit=query.limit, after=query.after), asdict))
        pieces = brain.audit_trail.export(who, wanted, query.format)
        named = f'attachment; filename="audit.{query.format}"'
        return Response(pieces, content_type=_TYPES[query.format], headers={"Content-Disposition": named, "Cache-Control": "no-store"})

    return api
