"""Users, groups, keys and rights to what the API and the command line show. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qzbrain.auth.grants import KbRights
from qzbrain.auth.groups import GroupShown
from qzbrain.auth.keys import KeyShown
from qzbrain.auth.user_rows import UserShown
from qzbrain.web.account_shapes import UserReply

Json = dict[str, Any]


def user(one: UserShown) -> Json:
    """A user; null for what the caller may not know."""
    if one.name_only:
        return {**dict.fromkeys(UserReply.model_fields), "id": one.id, "username": one.username, "display_name": one.display_name}
    return {
        "id": one.id, "username": one.username, "display_name": one.display_name, "role": one.role, "clearance": one.clearance, "disabled": one.disabled,
        "must_change": one.must_change, "password": one.password, "totp": one.totp, "external": one.external, "groups": _named(one.groups),
        "created_at": one.created_at, "signed_in_at": one.signed_in_at,
    }  # fmt: skip


def group(one: GroupShown) -> Json:
    """A group."""
    return {"id": one.id, "name": one.name, "description": one.description, "members": _named(one.members), "created_at": one.created_at}


def keys(found: Sequence[KeyShown], names: Mapping[str, str]) -> list[Json]:
    """Keys; `names`: of users by id."""
    return [
        {
            "id": one.id, "user_id": one.user_id, "username": names.get(one.user_id, ""), "name": one.name, "shown": one.shown, "right": one.right,
            "knowledge_bases": list(one.knowledge_bases), "requests_per_minute": one.requests_per_minute, "created_at": one.created_at,
            "expires_at": one.expires_at, "used_at": one.used_at,
        }
        for one in found
    ]  # fmt: skip


def rights(found: KbRights) -> Json:
    """Who may what in a knowledge base."""
    grants = [{"user": one.user or None, "group": one.group or None, "id": one.subject_id, "right": one.right} for one in found.grants]
    return {"knowledge_base": found.knowledge_base, "level": found.level, "grants": grants}


def _named(pairs: Sequence[tuple[str, str]]) -> list[Json]:
    return [{"id": one, "name": name} for one, name in pairs]
