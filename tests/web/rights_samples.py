"""A request for every route, for the matrix of rights. A route that is not here fails `test_rights_matrix`: say what its subject is, and how to ask it.

`KB`: on a knowledge base, which has the level. `ITEM`: on something in a knowledge base that everybody is cleared for; the thing has the level.
`CONVERSATION`: on a conversation, which has an owner. `NOTHING`: on nothing that belongs to anybody.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rights_world import Target, World

from qzbrain.domain import LEVELS

Subject = Literal["kb", "item", "conversation", "nothing"]
Make = Callable[[World, int], Target]


@dataclass(frozen=True, slots=True)
class Sample:
    """`missing`: codes of 404s that an allowed request may give, where the sample has nothing better to name; `refusals`: of 403s that its service
    has reasons of its own for, which tests/web/test_accounts_api.py is about."""

    subject: Subject
    make: Make
    missing: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()


def _upload(name: str, data: bytes) -> dict[str, object]:
    return {"file": (io.BytesIO(data), name)}


def _nothing(url: str, json: object = None, *missing: str, refusals: tuple[str, ...] = ()) -> Sample:
    return Sample("nothing", lambda _w, _level: Target(url, json), missing, refusals)


def _kb(url: str, json: object = None, *missing: str, fresh: bool = False, name: str = "", data: bytes = b"") -> Sample:
    def make(world: World, level: int) -> Target:
        return Target(url, json, _upload(name, data) if name else None, kb=world.kb(level, fresh=fresh))

    return Sample("kb", make, missing)


def _document(url: str, json: object = None, *missing: str) -> Sample:
    def make(world: World, level: int) -> Target:
        kb, document_id = world.document(level)
        return Target(url, json, kb=kb, id=document_id)

    return Sample("item", make, missing)


def _chunk(url: str, json: object = None) -> Sample:
    def make(world: World, level: int) -> Target:
        kb, document_id = world.document(level)
        return Target(url.replace("{chunk}", str(world.chunk(document_id))), json, kb=kb, id=document_id)

    return Sample("item", make)


def _edit(url: str) -> Sample:
    def make(world: World, level: int) -> Target:
        kb, document_id = world.document(level)
        world.edited(document_id)
        return Target(url, kb=kb, id=document_id)

    return Sample("item", make)


def _entry(url: str, json: object = None) -> Sample:
    def make(world: World, level: int) -> Target:
        kb, entry_id = world.entry(level)
        return Target(url, json, kb=kb, id=entry_id)

    return Sample("item", make)


def _job(url: str, status: str) -> Sample:
    def make(world: World, level: int) -> Target:
        kb, job_id = world.job(level, status)
        return Target(url, kb=kb, id=job_id)

    return Sample("item", make)


def _export(world: World, level: int) -> Target:
    kb = world.kb(level, fresh=True)
    return Target("/api/knowledge-bases/{kb}/export/{id}", kb=kb, id=world.export(kb))


def _same_level(world: World, level: int) -> Target:
    kb, document_id = world.document(level)
    return Target(_DOC, {"level": LEVELS[level]}, kb=kb, id=document_id)


def _unwatch(world: World, level: int) -> Target:
    kb = world.kb(level, fresh=True)
    return Target("/api/knowledge-bases/{kb}/folders/{id}", kb=kb, id=world.folder(kb))


def _conversation(url: str, json: object = None) -> Sample:
    return Sample("conversation", lambda _w, _level: Target(url, json))


_KB, _DOC, _ENTRY, _GRAPH = "/api/knowledge-bases/{kb}", "/api/documents/{id}", "/api/knowledge-bases/{kb}/entries/{id}", "/api/graph/{kb}"
_TALK = "/api/conversations/{id}"
_ENTITY = ("entity_not_found", "merge_not_found", "suggestion_not_found", "relation_not_found", "not_found")

SAMPLES: dict[str, Sample] = {
    "GET /": _nothing("/"),
    "GET /console/<path:path>": _nothing("/console/app.js", None, "not_found"),
    "GET /conversations/<path:path>": _nothing("/conversations/x"),
    "GET /documents/<path:path>": _nothing("/documents/x"),
    "GET /graph": _nothing("/graph"),
    "GET /graph/<path:path>": _nothing("/graph/x"),
    "GET /knowledge": _nothing("/knowledge"),
    "GET /knowledge/<path:path>": _nothing("/knowledge/x"),
    "GET /models": _nothing("/models"),
    "GET /account": _nothing("/account"),
    "GET /users": _nothing("/users"),
    "GET /system": _nothing("/system"),
    "GET /setup": _nothing("/setup"),
    "GET /password": _nothing("/password"),
    "GET /healthz": _nothing("/healthz"),
    "GET /readyz": _nothing("/readyz"),
    "GET /metrics": _nothing("/metrics"),
    "GET /docs": _nothing("/docs"),
    "GET /docs/style.css": _nothing("/docs/style.css"),
    "GET /openapi.json": _nothing("/openapi.json"),
    "GET /api/session": _nothing("/api/session"),
    "GET /api/session/oidc": _nothing("/api/session/oidc", None, "no_provider"),
    "GET /api/session/oidc/callback": _nothing("/api/session/oidc/callback", None, "no_provider"),
    "POST /api/session": _nothing("/api/session", {}),
    "DELETE /api/session": _nothing("/api/session"),
    "POST /api/session/link": _nothing("/api/session/link", {}),
    "POST /api/setup": _nothing("/api/setup", {}),
    "POST /api/session/password": _nothing("/api/session/password", {}),
    "GET /api/session/all": _nothing("/api/session/all", refusals=("session_needed",)),
    "DELETE /api/session/all": _nothing("/api/session/all", refusals=("session_needed",)),
    "POST /api/session/totp": _nothing("/api/session/totp", {"wrong": 1}),
    "DELETE /api/session/totp": _nothing("/api/session/totp", {"wrong": 1}),
    "GET /api/api-keys": _nothing("/api/api-keys"),
    "POST /api/api-keys": _nothing("/api/api-keys", {}),
    "GET /api/api-keys/<key_id>": _nothing("/api/api-keys/nosuch", None, "key_not_found"),
    "PATCH /api/api-keys/<key_id>": _nothing("/api/api-keys/nosuch", {"name": "x"}, "key_not_found", refusals=("key_is_narrow",)),
    "DELETE /api/api-keys/<key_id>": _nothing("/api/api-keys/nosuch", None, "key_not_found", refusals=("key_is_narrow",)),
    "GET /api/users": _nothing("/api/users"),
    "POST /api/users": _nothing("/api/users", {}),
    "GET /api/users/<user>": _nothing("/api/users/nosuch", None, "user_not_found", refusals=("permission_refused",)),
    "PATCH /api/users/<user>": _nothing("/api/users/nosuch", {}, "user_not_found"),
    "DELETE /api/users/<user>": _nothing("/api/users/nosuch", None, "user_not_found"),
    "POST /api/users/<user>/link": _nothing("/api/users/nosuch/link", None, "user_not_found"),
    "POST /api/users/<user>/sign-out": _nothing("/api/users/nosuch/sign-out", None, "user_not_found"),
    "GET /api/groups": _nothing("/api/groups"),
    "POST /api/groups": _nothing("/api/groups", {}),
    "GET /api/groups/<group>": _nothing("/api/groups/nosuch", None, "group_not_found"),
    "PATCH /api/groups/<group>": _nothing("/api/groups/nosuch", {}, "group_not_found"),
    "DELETE /api/groups/<group>": _nothing("/api/groups/nosuch", None, "group_not_found"),
    "GET /api/knowledge-bases/<kb>/rights": _kb(f"{_KB}/rights"),
    "PUT /api/knowledge-bases/<kb>/rights": _kb(f"{_KB}/rights", {"grants": []}, fresh=True),
    "GET /api/conversations": _nothing("/api/conversations"),
    "POST /api/conversations": _nothing("/api/conversations", {}),
    "DELETE /api/conversations/<conversation_id>": _conversation(_TALK),
    "GET /api/conversations/<conversation_id>": _conversation(_TALK),
    "PATCH /api/conversations/<conversation_id>": _conversation(_TALK, {"title": "x"}),
    "GET /api/conversations/<conversation_id>/messages": _conversation(f"{_TALK}/messages"),
    "POST /api/conversations/<conversation_id>/messages": _conversation(f"{_TALK}/messages", {"content": "你好", "knowledge_bases": []}),
    "POST /api/conversations/<conversation_id>/messages/<message_id>/correct": _conversation(
        f"{_TALK}/messages/{{message}}/correct", {"answer": "对的答案。", "knowledge_base": "{kb}"}
    ),
    "POST /api/conversations/<conversation_id>/messages/<message_id>/feedback": _conversation(f"{_TALK}/messages/{{message}}/feedback", {"rating": "up"}),
    "POST /api/conversations/<conversation_id>/stop": _conversation(f"{_TALK}/stop"),
    "GET /api/conversations/<conversation_id>/share": _conversation(f"{_TALK}/share"),
    "POST /api/conversations/<conversation_id>/share": _conversation(f"{_TALK}/share", {"users": []}),
    "POST /api/search": _kb("/api/search", {"query": "保密期限", "knowledge_bases": ["{kb}"]}),
    "POST /chat-process-txt": _kb("/chat-process-txt", {"text": "保密期限", "kb_ids": ["{kb}"]}),
    "GET /v1/models": _nothing("/v1/models"),
    "POST /v1/chat/completions": _kb("/v1/chat/completions", {"model": "extractive@{kb}", "messages": [{"role": "user", "content": "保密期限"}]}),
    "POST /v1/embeddings": _nothing("/v1/embeddings", {"input": "x"}, "model_not_found"),
    "POST /v1/rerank": _nothing("/v1/rerank", {"query": "x", "documents": ["y"]}, "model_not_found"),
    "GET /api/knowledge-bases": _nothing("/api/knowledge-bases"),
    "POST /api/knowledge-bases": Sample("nothing", lambda w, _level: Target("/api/knowledge-bases", {"name": f"made{next(w._number)}"})),
    "POST /api/knowledge-bases/import": Sample("nothing", lambda _w, _l: Target("/api/knowledge-bases/import", data=_upload("x.qzkb", b"x"))),
    "GET /api/knowledge-bases/<kb>": _kb(_KB),
    "PATCH /api/knowledge-bases/<kb>": _kb(_KB, {"title": "x"}),
    "DELETE /api/knowledge-bases/<kb>": _kb(_KB, fresh=True),
    "POST /api/knowledge-bases/<kb>/reembed": _kb(f"{_KB}/reembed", {}),
    "POST /api/knowledge-bases/<kb>/rollback": _kb(f"{_KB}/rollback"),
    "POST /api/knowledge-bases/<kb>/export": _kb(f"{_KB}/export", {}, fresh=True),
    "GET /api/knowledge-bases/<kb>/export/<job_id>": Sample("kb", _export),
    "GET /api/knowledge-bases/<kb>/folders": _kb(f"{_KB}/folders"),
    "POST /api/knowledge-bases/<kb>/folders": Sample("kb", lambda w, level: Target(f"{_KB}/folders", {"path": str(w.watched)}, kb=w.kb(level))),
    "DELETE /api/knowledge-bases/<kb>/folders/<folder_id>": Sample("kb", _unwatch),
    "GET /api/knowledge-bases/<kb>/documents": _kb(f"{_KB}/documents"),
    "POST /api/knowledge-bases/<kb>/documents": _kb(f"{_KB}/documents", name="a.txt", data="第一条".encode()),
    "POST /api/knowledge-bases/<kb>/documents/retry": _kb(f"{_KB}/documents/retry", {}),
    "GET /api/documents/<document_id>": _document(_DOC),
    "PATCH /api/documents/<document_id>": Sample("item", _same_level),
    "DELETE /api/documents/<document_id>": _document(_DOC),
    "GET /api/documents/<document_id>/content": _document(f"{_DOC}/content"),
    "GET /api/documents/<document_id>/file": _document(f"{_DOC}/file"),
    "GET /api/documents/<document_id>/chunks": _document(f"{_DOC}/chunks"),
    "PATCH /api/documents/<document_id>/chunks/<chunk_id>": _chunk(f"{_DOC}/chunks/{{chunk}}", {"text": "改过的文字。"}),
    "GET /api/documents/<document_id>/chunks/<chunk_id>/history": _chunk(f"{_DOC}/chunks/{{chunk}}/history"),
    "POST /api/documents/<document_id>/chunk-preview": _document(f"{_DOC}/chunk-preview", {"chunk_chars": 10, "overlap_chars": 99}),
    "GET /api/documents/<document_id>/edits": _document(f"{_DOC}/edits"),
    "POST /api/documents/<document_id>/edits/<number>/undo": _edit(f"{_DOC}/edits/1/undo"),
    "GET /api/knowledge-bases/<kb>/entries": _kb(f"{_KB}/entries"),
    "POST /api/knowledge-bases/<kb>/entries": _kb(f"{_KB}/entries", {"answer": "答案。"}),
    "GET /api/knowledge-bases/<kb>/entries/<entry_id>": _entry(_ENTRY),
    "PATCH /api/knowledge-bases/<kb>/entries/<entry_id>": _entry(_ENTRY, {"source": "x"}),
    "DELETE /api/knowledge-bases/<kb>/entries/<entry_id>": _entry(_ENTRY),
    "GET /api/knowledge-bases/<kb>/entries/<entry_id>/versions": _entry(f"{_ENTRY}/versions"),
    "POST /api/knowledge-bases/<kb>/entries/<entry_id>/approve": _entry(f"{_ENTRY}/approve"),
    "GET /api/knowledge-bases/<kb>/entries/export": _kb(f"{_KB}/entries/export?format=csv"),
    "POST /api/knowledge-bases/<kb>/entries/import": _kb(f"{_KB}/entries/import?dry_run=1", name="e.csv", data="问题,答案\n几年？,五年。\n".encode()),
    "GET /api/knowledge-bases/<kb>/regressions": _kb(f"{_KB}/regressions"),
    "POST /api/knowledge-bases/<kb>/regressions/run": _kb(f"{_KB}/regressions/run"),
    "GET /api/graph/<kb>/stats": _kb(f"{_GRAPH}/stats"),
    "GET /api/graph/<kb>/overview": _kb(f"{_GRAPH}/overview"),
    "GET /api/graph/<kb>/search": _kb(f"{_GRAPH}/search?q=x"),
    "GET /api/graph/<kb>/entities/<entity_id>": _kb(f"{_GRAPH}/entities/1", None, *_ENTITY),
    "GET /api/graph/<kb>/neighbors": _kb(f"{_GRAPH}/neighbors?id=1", None, *_ENTITY),
    "GET /api/graph/<kb>/path": _kb(f"{_GRAPH}/path?from=1&to=2", None, *_ENTITY),
    "GET /api/graph/<kb>/relations": _kb(f"{_GRAPH}/relations"),
    "PUT /api/graph/<kb>/relations/<path:relation>": _kb(f"{_GRAPH}/relations/x", {}, *_ENTITY),
    "GET /api/graph/<kb>/export": _kb(f"{_GRAPH}/export"),
    "POST /api/graph/<kb>/import": _kb(f"{_GRAPH}/import?dry_run=1", name="g.csv", data=b"head,relation,tail\na,b,c\n"),
    "POST /api/graph/<kb>/extract": _kb(f"{_GRAPH}/extract", {"dry_run": True}),
    "POST /api/graph/<kb>/merge": _kb(f"{_GRAPH}/merge", {"keep": "1", "merge": ["2"]}, *_ENTITY),
    "POST /api/graph/<kb>/merge/<merge_id>/undo": _kb(f"{_GRAPH}/merge/x/undo", None, *_ENTITY),
    "GET /api/graph/<kb>/suggestions": _kb(f"{_GRAPH}/suggestions"),
    "POST /api/graph/<kb>/suggestions/<suggestion_id>/accept": _kb(f"{_GRAPH}/suggestions/x/accept", None, *_ENTITY),
    "POST /api/graph/<kb>/suggestions/<suggestion_id>/dismiss": _kb(f"{_GRAPH}/suggestions/x/dismiss", None, *_ENTITY),
    "GET /api/jobs": _nothing("/api/jobs"),
    "POST /api/jobs/<job_id>/cancel": _job("/api/jobs/{id}/cancel", "pending"),
    "POST /api/jobs/<job_id>/retry": _job("/api/jobs/{id}/retry", "cancelled"),
    "GET /api/models": _nothing("/api/models"),
    "POST /api/models/<model>/probe": _nothing("/api/models/nosuch/probe", None, "model_not_found"),
    "POST /api/models/<model>/start": _nothing("/api/models/nosuch/start", None, "model_not_found"),
    "POST /api/models/<model>/stop": _nothing("/api/models/nosuch/stop", None, "model_not_found"),
    "POST /api/models/<model>/swap": _nothing("/api/models/nosuch/swap", {}, "model_not_found"),
    "GET /api/system/doctor": _nothing("/api/system/doctor"),
    "GET /api/system/audit": _nothing("/api/system/audit"),
}
