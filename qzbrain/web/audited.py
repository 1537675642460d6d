"""What of each route goes into the audit log, one line a route: whatever changes something, and whatever shows contents.

The event is written when the reply is made: a change is answered when its event is in the log, reading waits for nothing. Refusals (401, 403, 429, and
404 for something that is there) are written for all routes, but no more than so many a minute of one kind: the rest is counted. Answers to
questions are written at their end (`answers`), whichever way they were asked. Nothing of a question, a passage or a secret is written.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from flask import Flask, Response, g, request
from sqlalchemy import bindparam, select

from qzbrain.auth.access import ANONYMOUS, TOP
from qzbrain.auth.audit import AuditLog
from qzbrain.brain import Brain
from qzbrain.chat.turns import Turn
from qzbrain.domain import Caller, Done, Failed, Outcome
from qzbrain.errors import BrainError
from qzbrain.storage.tables import documents
from qzbrain.web.sse import EventStream

READING: Mapping[str, str] = {
    "GET /api/conversations/<conversation_id>/messages": "conversation.read",
    "POST /api/search": "search",
    "POST /chat-process-txt": "graph.ask",
    "GET /api/documents/<document_id>/content": "document.read",
    "GET /api/documents/<document_id>/file": "document.download",
    "GET /api/documents/<document_id>/chunks": "document.read",
    "GET /api/documents/<document_id>/chunks/<chunk_id>/history": "document.read",
    "POST /api/documents/<document_id>/chunk-preview": "document.read",
    "GET /api/documents/<document_id>/edits": "document.read",
    "GET /api/knowledge-bases/<kb>/entries": "entry.read",
    "GET /api/knowledge-bases/<kb>/entries/<entry_id>": "entry.read",
    "GET /api/knowledge-bases/<kb>/entries/<entry_id>/versions": "entry.read",
    "GET /api/knowledge-bases/<kb>/entries/export": "entry.export",
    "GET /api/knowledge-bases/<kb>/regressions": "regression.read",
    "GET /api/knowledge-bases/<kb>/export/<job_id>": "knowledge_base.download",
    "GET /api/graph/<kb>/overview": "graph.read",
    "GET /api/graph/<kb>/search": "graph.read",
    "GET /api/graph/<kb>/entities/<entity_id>": "graph.read",
    "GET /api/graph/<kb>/neighbors": "graph.read",
    "GET /api/graph/<kb>/path": "graph.read",
    "GET /api/graph/<kb>/export": "graph.export",
    "GET /api/graph/<kb>/suggestions": "graph.read",
    "GET /api/system/audit": "audit.read",
}
"""Routes that show contents."""

CHANGING: Mapping[str, str] = {
    "POST /api/session": "session.sign_in",
    "DELETE /api/session": "session.sign_out",
    "DELETE /api/session/all": "session.sign_out_everywhere",
    "POST /api/session/link": "user.choose_password",
    "POST /api/session/password": "user.change_password",
    "POST /api/session/totp": "user.totp_on",
    "DELETE /api/session/totp": "user.totp_off",
    "POST /api/setup": "setup",
    "POST /api/users": "user.create",
    "PATCH /api/users/<user>": "user.update",
    "DELETE /api/users/<user>": "user.delete",
    "POST /api/users/<user>/link": "user.link",
    "POST /api/users/<user>/sign-out": "user.sign_out",
    "POST /api/groups": "group.create",
    "PATCH /api/groups/<group>": "group.update",
    "DELETE /api/groups/<group>": "group.delete",
    "POST /api/api-keys": "key.create",
    "PATCH /api/api-keys/<key_id>": "key.update",
    "DELETE /api/api-keys/<key_id>": "key.delete",
    "PUT /api/knowledge-bases/<kb>/rights": "rights.change",
    "POST /api/conversations": "conversation.create",
    "PATCH /api/conversations/<conversation_id>": "conversation.update",
    "DELETE /api/conversations/<conversation_id>": "conversation.delete",
    "POST /api/conversations/<conversation_id>/share": "conversation.share",
    "POST /api/conversations/<conversation_id>/messages/<message_id>/correct": "answer.correct",
    "POST /api/conversations/<conversation_id>/messages/<message_id>/feedback": "answer.feedback",
    "POST /api/knowledge-bases": "knowledge_base.create",
    "POST /api/knowledge-bases/import": "knowledge_base.import",
    "PATCH /api/knowledge-bases/<kb>": "knowledge_base.update",
    "DELETE /api/knowledge-bases/<kb>": "knowledge_base.delete",
    "POST /api/knowledge-bases/<kb>/reembed": "knowledge_base.reembed",
    "POST /api/knowledge-bases/<kb>/rollback": "knowledge_base.rollback",
    "POST /api/knowledge-bases/<kb>/export": "knowledge_base.export",
    "POST /api/knowledge-bases/<kb>/folders": "folder.watch",
    "DELETE /api/knowledge-bases/<kb>/folders/<folder_id>": "folder.unwatch",
    "POST /api/knowledge-bases/<kb>/documents": "document.add",
    "POST /api/knowledge-bases/<kb>/documents/retry": "document.retry",
    "PATCH /api/documents/<document_id>": "document.update",
    "DELETE /api/documents/<document_id>": "document.delete",
    "PATCH /api/documents/<document_id>/chunks/<chunk_id>": "document.edit",
    "POST /api/documents/<document_id>/edits/<number>/undo": "document.undo",
    "POST /api/knowledge-bases/<kb>/entries": "entry.create",
    "PATCH /api/knowledge-bases/<kb>/entries/<entry_id>": "entry.update",
    "DELETE /api/knowledge-bases/<kb>/entries/<entry_id>": "entry.delete",
    "POST /api/knowledge-bases/<kb>/entries/<entry_id>/approve": "entry.approve",
    "POST /api/knowledge-bases/<kb>/entries/import": "entry.import",
    "POST /api/knowledge-bases/<kb>/regressions/run": "regression.run",
    "PUT /api/graph/<kb>/relations/<path:relation>": "graph.relation",
    "POST /api/graph/<kb>/import": "graph.import",
    "POST /api/graph/<kb>/extract": "graph.extract",
    "POST /api/graph/<kb>/merge": "graph.merge",
    "POST /api/graph/<kb>/merge/<merge_id>/undo": "graph.merge_undo",
    "POST /api/graph/<kb>/suggestions/<suggestion_id>/accept": "graph.suggestion",
    "POST /api/graph/<kb>/suggestions/<suggestion_id>/dismiss": "graph.suggestion",
    "POST /api/jobs/<job_id>/cancel": "job.cancel",
    "POST /api/jobs/<job_id>/retry": "job.retry",
    "POST /api/models/<model>/start": "model.start",
    "POST /api/models/<model>/stop": "model.stop",
    "POST /api/models/<model>/swap": "model.swap",
}
"""Routes that change something. One that is missing here and is no GET goes by its method and address."""

ANSWERING = frozenset({"POST /v1/chat/completions", "POST /api/conversations/<conversation_id>/messages"})
"""Their answers are written by `answers`; here only what was refused."""

HARMLESS = frozenset(
    {
        "POST /v1/embeddings", "POST /v1/rerank", "POST /api/models/<model>/probe", "POST /api/conversations/<conversation_id>/stop",
    }
)  # fmt: skip
"""Change nothing, and show nothing that is kept here."""

A_MINUTE = 20
"""Most refusals and failures of one kind, caller and address that are written within a minute."""
_KINDS_KEPT = 2_000
_MOST_REPLY_BYTES = 1 << 20
_SHOWN_IDS = ("id", "job_id", "entry_id", "key_id")
_DOCUMENT = select(documents.c.kb_id, documents.c.level).where(documents.c.id == bindparam("id"))


def about(subject: str = "", **details: Any) -> None:
    """To be called by a route that knows more of what it does than its address says, such as who tried to sign in. No secrets."""
    g.audit_subject, g.audit_details = subject, details


def attach(app: Flask, brain: Brain) -> None:
    """Have every request written down that is to be."""
    flood, look = _Flood(brain.audit), brain.db.prepared(_DOCUMENT)

    @app.before_request
    def before() -> None:
        document_id = (request.view_args or {}).get("document_id")
        if document_id is not None and document_id.isprintable():
            rows = look(id=document_id)
            g.audit_document = rows[0] if rows else None

    @app.after_request
    def after(response: Response) -> Response:
        if request.url_rule is None or isinstance(response, EventStream):
            return response
        route = f"{'GET' if request.method == 'HEAD' else request.method} {request.url_rule.rule}"
        action, changes = _action(route)
        outcome = _outcome(response.status_code, hidden=g.get("audit_document") is not None)
        if outcome == "done" and not action:
            return response
        if outcome == "failed" and not changes:
            return response
        who: Caller = g.get("caller") or Caller(ANONYMOUS, ANONYMOUS, address=str(request.environ.get("REMOTE_ADDR") or ""))
        if who.id == ANONYMOUS and route == "DELETE /api/session":  # signs nobody out, and anybody can send it
            return response
        _write(brain, flood, _Seen(who, action or ("answer" if route in ANSWERING else "request"), outcome, changes), response, route)
        return response


def refusals(brain: Brain) -> Callable[[Caller, str, BrainError], None]:
    """What connections that are no Flask requests are to call when they refuse somebody something; bounded likewise."""
    flood = _Flood(brain.audit)

    def refused(who: Caller, action: str, error: BrainError) -> None:
        seen = _Seen(who, action, _outcome(error.status), changes=False)
        if brain.audit.active and seen.outcome == "refused" and flood.lets_pass(seen):
            brain.audit.record(None, who, action, outcome="refused", details={"status": error.status, "code": error.code})

    return refused


def answers(brain: Brain) -> Callable[[Turn, Done | Failed], None]:
    """What the chat service is to call at the end of each turn."""

    def ended(turn: Turn, last: Done | Failed) -> None:
        asked = {"conversation": turn.conversation_id, "knowledge_bases": [kb.id for kb in turn.plan.kbs]}
        if isinstance(last, Failed):
            refused: Outcome = "refused" if last.status in (401, 403, 429) else "failed"
            brain.audit.record(None, turn.caller, "answer", turn.message_id, outcome=refused, details={**asked, "code": last.code})
            return
        answer = last.answer
        shown = list(dict.fromkeys(one.document_id for one in answer.citations if one.document_id))
        said = {**asked, "model": answer.model, "rung": answer.rung, "stopped": answer.stopped}
        brain.audit.record(None, turn.caller, "answer", turn.message_id, details=said, documents=shown)

    return ended


@dataclass(frozen=True, slots=True)
class _Seen:
    who: Caller
    action: str
    outcome: Outcome
    changes: bool


def _action(route: str) -> tuple[str, bool]:
    """What a route is called in the log ('' for what is not written), and whether it changes something."""
    if route in CHANGING:
        return CHANGING[route], True
    if route in READING:
        return READING[route], False
    method = route.partition(" ")[0]
    if method in ("GET", "OPTIONS") or route in ANSWERING or route in HARMLESS:
        return "", False
    return route.lower(), True


def _outcome(status: int, *, hidden: bool = False) -> Outcome:
    """`hidden`: what was asked for is there, whatever the reply says."""
    if status < 400:
        return "done"
    return "refused" if status in (401, 403, 429) or (hidden and status == 404) else "failed"


def _write(brain: Brain, flood: _Flood, seen: _Seen, response: Response, route: str) -> None:
    given = dict(request.view_args or {})
    kb, level = str(given.pop("kb", "")), 0
    if (found := g.get("audit_document")) is not None:
        kb, level = found
    subject: str = g.get("audit_subject") or "/".join(str(value) for value in given.values())
    details: dict[str, Any] = dict(g.get("audit_details") or {})
    shown: list[str] = []
    if seen.outcome == "done":
        said = _said(response)
        shown = _documents_of(said) if seen.action in ("search", "graph.ask") else []
        made = _ids_of(said) if response.status_code in (201, 202) or route in ("POST /api/session", "POST /api/setup") else []
        subject = subject or ("" if len(made) > 1 else "".join(made))
        if len(made) > 1:
            details["ids"] = made
    else:
        details |= {"status": response.status_code, "code": _code_of(_said(response)), "route": route}
        if not flood.lets_pass(seen):
            return
    if kb and found is None:
        kb, level = _knowledge_base(brain, seen.who, kb)
    event = brain.audit.record(None, seen.who, seen.action, subject, kb_id=kb, level=level, outcome=seen.outcome, details=details, documents=shown)
    if seen.changes and seen.outcome == "done":
        event.wait()


def _said(response: Response) -> dict[str, Any]:
    """The reply's JSON, where it is some that can be looked into."""
    if response.is_streamed or response.mimetype != "application/json" or (response.content_length or 0) > _MOST_REPLY_BYTES:
        return {}
    found = orjson.loads(response.get_data() or b"{}")
    return found if isinstance(found, dict) else {}


def _documents_of(said: dict[str, Any]) -> list[str]:
    hits = said.get("hits") or said.get("data") or []
    sources = [one.get("source") or {} for one in said.get("triples") or [] if isinstance(one, dict)]
    ids = [one.get("document_id") for one in [*hits, *sources] if isinstance(one, dict)]
    return list(dict.fromkeys(one for one in ids if one))


def _ids_of(said: dict[str, Any]) -> list[str]:
    """Ids of what a request made."""
    user = said.get("user")
    several = said.get("data") if isinstance(said.get("data"), list) else [user if isinstance(user, dict) else said]
    found = [next((str(one[name]) for name in _SHOWN_IDS if one.get(name)), "") for one in several or [] if isinstance(one, dict)]
    return [one for one in found if one][:100]


def _code_of(said: dict[str, Any]) -> str:
    error = said.get("error")
    return str(error.get("code", "")) if isinstance(error, dict) else ""


def _knowledge_base(brain: Brain, who: Caller, kb: str) -> tuple[str, int]:
    """Id and level of a knowledge base that the address names; what was given, where there is none for this caller."""
    found = brain.access.scope(who, [kb]).kb_ids if who.id != ANONYMOUS and kb.isprintable() else ()
    return (found[0], min(brain.access.standings.level(found[0]), TOP)) if found else (kb, 0)


class _Flood:
    """Lets a bounded number of refusals a minute pass, and writes down how many more there were."""

    def __init__(self, audit: AuditLog, clock: Callable[[], float] = time.monotonic) -> None:
        self._audit, self._clock = audit, clock
        self._lock = threading.Lock()
        self._seen: dict[tuple[str, str, str], list[float]] = {}  # since when, how many

    def lets_pass(self, seen: _Seen) -> bool:
        """Whether this one is written."""
        now, kind = self._clock(), (seen.who.id, seen.who.address, seen.action)
        over: list[tuple[tuple[str, str, str], int]] = []
        with self._lock:
            if len(self._seen) >= _KINDS_KEPT:
                kind = ("", "", "others") if kind not in self._seen else kind
            for key in [key for key, (since, _) in self._seen.items() if now - since >= 60.0] if self._seen else ():
                count = int(self._seen.pop(key)[1])
                if count > A_MINUTE:
                    over.append((key, count - A_MINUTE))
            counted = self._seen.setdefault(kind, [now, 0])
            counted[1] += 1
            passes = counted[1] <= A_MINUTE
        for (actor, address, action), more in over:
            self._audit.record(None, Caller(actor, actor, address=address), action, outcome="refused", details={"more_within_a_minute": more})
        return passes
