"""What each route asks of its caller, one line a route. A route without a line here is refused to everybody, and fails the tests.

The first five are decided here, before the route runs. `read`, `write` and `manage` are rights in the knowledge base that the address or the body
names, or to which the document, job or graph belongs: the services ask `auth.access` for them, and the tests compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from flask import Flask, g, request

from qzbrain.auth.access import ANONYMOUS, LOCAL_USER, Access
from qzbrain.domain import Caller
from qzbrain.errors import PermissionRefused
from qzbrain.web.callers import METRICS_READER, signed_out

Need = Literal["nobody", "own_account", "signed_in", "create", "administer", "read", "write", "manage"]
"""`nobody`: open to who is not signed in. `own_account`: signed in, even where a new password must be chosen first. `create`: may make knowledge
bases. `administer`: rules over accounts, models and the server."""

NEEDS: Mapping[str, Need] = {
    # the console's files hold nothing of anybody's
    "GET /": "nobody",
    "GET /console/<path:path>": "nobody",
    "GET /conversations/<path:path>": "nobody",
    "GET /documents/<path:path>": "nobody",
    "GET /graph": "nobody",
    "GET /graph/<path:path>": "nobody",
    "GET /knowledge": "nobody",
    "GET /knowledge/<path:path>": "nobody",
    "GET /models": "nobody",
    "GET /account": "nobody",
    "GET /users": "nobody",
    "GET /system": "nobody",
    "GET /setup": "nobody",
    "GET /password": "nobody",
    "GET /healthz": "nobody",
    "GET /readyz": "nobody",
    "GET /metrics": "administer",
    "GET /docs": "signed_in",
    "GET /docs/style.css": "signed_in",
    "GET /openapi.json": "signed_in",
    # who is signed in, and his own account
    "GET /api/session/oidc": "nobody",
    "GET /api/session/oidc/callback": "nobody",
    "GET /api/session": "nobody",
    "POST /api/session": "nobody",
    "DELETE /api/session": "nobody",
    "POST /api/session/link": "nobody",
    "POST /api/setup": "nobody",
    "POST /api/session/password": "own_account",
    "GET /api/session/all": "own_account",
    "DELETE /api/session/all": "own_account",
    "POST /api/session/totp": "signed_in",
    "DELETE /api/session/totp": "signed_in",
    # keys are one's own; administrators rule over everybody's
    "GET /api/api-keys": "signed_in",
    "POST /api/api-keys": "signed_in",
    "GET /api/api-keys/<key_id>": "signed_in",
    "PATCH /api/api-keys/<key_id>": "signed_in",
    "DELETE /api/api-keys/<key_id>": "signed_in",
    # accounts: who may give rights in a knowledge base of his own sees what users and groups are called
    "GET /api/users": "create",
    "POST /api/users": "administer",
    "GET /api/users/<user>": "signed_in",
    "PATCH /api/users/<user>": "administer",
    "DELETE /api/users/<user>": "administer",
    "POST /api/users/<user>/link": "administer",
    "POST /api/users/<user>/sign-out": "administer",
    "GET /api/groups": "create",
    "POST /api/groups": "administer",
    "GET /api/groups/<group>": "create",
    "PATCH /api/groups/<group>": "administer",
    "DELETE /api/groups/<group>": "administer",
    "GET /api/knowledge-bases/<kb>/rights": "manage",
    "PUT /api/knowledge-bases/<kb>/rights": "manage",
    # conversations belong to who began them
    "GET /api/conversations": "signed_in",
    "POST /api/conversations": "signed_in",
    "DELETE /api/conversations/<conversation_id>": "signed_in",
    "GET /api/conversations/<conversation_id>": "signed_in",
    "PATCH /api/conversations/<conversation_id>": "signed_in",
    "GET /api/conversations/<conversation_id>/messages": "signed_in",
    "POST /api/conversations/<conversation_id>/messages": "signed_in",
    "POST /api/conversations/<conversation_id>/messages/<message_id>/correct": "write",
    "POST /api/conversations/<conversation_id>/messages/<message_id>/feedback": "signed_in",
    "POST /api/conversations/<conversation_id>/stop": "signed_in",
    "GET /api/conversations/<conversation_id>/share": "signed_in",
    "POST /api/conversations/<conversation_id>/share": "signed_in",
    # asking
    "POST /api/search": "read",
    "POST /chat-process-txt": "read",
    "GET /v1/models": "signed_in",
    "POST /v1/chat/completions": "read",
    "POST /v1/embeddings": "signed_in",
    "POST /v1/rerank": "signed_in",
    # knowledge bases
    "GET /api/knowledge-bases": "signed_in",
    "POST /api/knowledge-bases": "create",
    "POST /api/knowledge-bases/import": "create",
    "GET /api/knowledge-bases/<kb>": "read",
    "PATCH /api/knowledge-bases/<kb>": "manage",
    "DELETE /api/knowledge-bases/<kb>": "manage",
    "POST /api/knowledge-bases/<kb>/reembed": "manage",
    "POST /api/knowledge-bases/<kb>/rollback": "manage",
    "POST /api/knowledge-bases/<kb>/export": "manage",
    "GET /api/knowledge-bases/<kb>/export/<job_id>": "manage",
    # a watched folder reads whatever lies on the server
    "GET /api/knowledge-bases/<kb>/folders": "administer",
    "POST /api/knowledge-bases/<kb>/folders": "administer",
    "DELETE /api/knowledge-bases/<kb>/folders/<folder_id>": "administer",
    # documents
    "GET /api/knowledge-bases/<kb>/documents": "read",
    "POST /api/knowledge-bases/<kb>/documents": "write",
    "POST /api/knowledge-bases/<kb>/documents/retry": "write",
    "GET /api/documents/<document_id>": "read",
    "PATCH /api/documents/<document_id>": "write",  # to lower its level: manage
    "DELETE /api/documents/<document_id>": "write",
    "GET /api/documents/<document_id>/content": "read",
    "GET /api/documents/<document_id>/file": "read",
    "GET /api/documents/<document_id>/chunks": "read",
    "PATCH /api/documents/<document_id>/chunks/<chunk_id>": "write",
    "GET /api/documents/<document_id>/chunks/<chunk_id>/history": "read",
    "POST /api/documents/<document_id>/chunk-preview": "read",
    "GET /api/documents/<document_id>/edits": "read",
    "POST /api/documents/<document_id>/edits/<number>/undo": "write",
    # entries
    "GET /api/knowledge-bases/<kb>/entries": "read",
    "POST /api/knowledge-bases/<kb>/entries": "write",
    "GET /api/knowledge-bases/<kb>/entries/<entry_id>": "read",
    "PATCH /api/knowledge-bases/<kb>/entries/<entry_id>": "write",
    "DELETE /api/knowledge-bases/<kb>/entries/<entry_id>": "write",
    "GET /api/knowledge-bases/<kb>/entries/<entry_id>/versions": "read",
    "POST /api/knowledge-bases/<kb>/entries/<entry_id>/approve": "manage",
    "GET /api/knowledge-bases/<kb>/entries/export": "read",
    "POST /api/knowledge-bases/<kb>/entries/import": "write",
    "GET /api/knowledge-bases/<kb>/regressions": "read",
    "POST /api/knowledge-bases/<kb>/regressions/run": "write",
    # the graph
    "GET /api/graph/<kb>/stats": "read",
    "GET /api/graph/<kb>/overview": "read",
    "GET /api/graph/<kb>/search": "read",
    "GET /api/graph/<kb>/entities/<entity_id>": "read",
    "GET /api/graph/<kb>/neighbors": "read",
    "GET /api/graph/<kb>/path": "read",
    "GET /api/graph/<kb>/relations": "read",
    "PUT /api/graph/<kb>/relations/<path:relation>": "write",
    "GET /api/graph/<kb>/export": "read",
    "POST /api/graph/<kb>/import": "write",
    "POST /api/graph/<kb>/extract": "write",
    "POST /api/graph/<kb>/merge": "write",
    "POST /api/graph/<kb>/merge/<merge_id>/undo": "write",
    "GET /api/graph/<kb>/suggestions": "write",
    "POST /api/graph/<kb>/suggestions/<suggestion_id>/accept": "write",
    "POST /api/graph/<kb>/suggestions/<suggestion_id>/dismiss": "write",
    # work and engines
    "GET /api/jobs": "signed_in",
    "POST /api/jobs/<job_id>/cancel": "write",
    "POST /api/jobs/<job_id>/retry": "write",
    "GET /api/models": "signed_in",
    "POST /api/models/<model>/probe": "administer",
    "POST /api/models/<model>/start": "administer",
    "POST /api/models/<model>/stop": "administer",
    "POST /api/models/<model>/swap": "administer",
    "GET /api/system/audit": "administer",
    "GET /api/system/doctor": "administer",
}

EVENTS: Mapping[str, Need] = {"connect": "signed_in", "chat": "read", "chat:stop": "signed_in", "chat:resume": "signed_in"}
"""The same of Socket.IO's events."""


def attach(app: Flask, access: Access) -> None:
    """Have every request looked at before its route runs."""

    @app.before_request
    def allow() -> None:
        if g.caller.id == METRICS_READER and request.method in ("GET", "HEAD"):  # told by the address, see Callers
            return
        if request.url_rule is not None:  # an unknown address: 404, as for anybody
            require(access, g.caller, need_of(request.method, request.url_rule.rule))


def need_of(method: str, rule: str) -> Need | None:
    """What a route asks; None for one that nobody has declared. HEAD as GET; OPTIONS says nothing of anybody's."""
    return "nobody" if method == "OPTIONS" else NEEDS.get(f"{'GET' if method == 'HEAD' else method} {rule}")


def require(access: Access, caller: Caller, need: Need | None) -> None:
    """Return when the caller may come in. Raises AuthenticationRequired, PermissionRefused."""
    if caller.id == LOCAL_USER or need == "nobody":
        return
    if caller.id == ANONYMOUS:
        raise signed_out()
    if need == "own_account":
        return
    if need is None or not access.standing(caller).active or not access.allows(caller, "read"):
        raise _refused()
    if need == "administer" and not access.allows(caller, "manage"):
        raise _refused()
    if need == "create" and not access.allows(caller, "write"):
        raise _refused()


def _refused() -> PermissionRefused:
    return PermissionRefused(
        zh="您的账号没有执行此操作的权限。请联系管理员。",
        en="Your account may not do this. Ask an administrator.",
    )
