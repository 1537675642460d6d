"""Rows of users: found, shown, and what must hold of all of them. For the services of accounts, inside their transactions; asks nobody for permission."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, insert, or_, select

from qzbrain.auth.naming import checked_name, checked_words, plain_name
from qzbrain.domain import LEVELS, Level, Role, new_id, utc_now
from qzbrain.errors import Conflict, NotFound
from qzbrain.storage.tables import group_members, sessions, user_groups, users

TOTP_ON, TOTP_BEGUN = "on:", "begun:"
"""What `users.totp` begins with: one-time codes are asked at sign-in, or the secret waits for its first code."""


@dataclass(frozen=True, slots=True)
class UserShown:
    """A user without his secrets. `groups`: (id, name). `password`: whether he has one; `totp`: whether a code is asked beside it."""

    id: str
    username: str
    display_name: str
    role: Role
    clearance: Level
    disabled: bool
    must_change: bool
    password: bool
    totp: bool
    external: str
    groups: tuple[tuple[str, str], ...]
    created_at: str
    signed_in_at: str | None
    name_only: bool = False
    """What else stands here is left out when it is shown."""


def new_user(name: str, *, display_name: str, role: Role, clearance: Level) -> dict[str, Any]:
    """The row of a user without a password. Raises InvalidRequest."""
    return {
        "id": new_id(), "name": checked_name(name), "display_name": checked_words(display_name, "display_name"), "password": "", "role": role,
        "clearance": LEVELS.index(clearance), "disabled": 0, "must_change": 0, "totp": "", "totp_last": 0, "recovery": [], "external": "",
        "storage_mb": 0, "created_at": utc_now(), "password_at": None, "signed_in_at": None,
    }  # fmt: skip


def find_user(connection: Connection, name_or_id: str) -> Row[Any]:
    """A user's row; an id wins over a name. Raises NotFound (`user_not_found`)."""
    name = plain_name(name_or_id)
    if name_or_id.isprintable():  # no other can exist, and the driver takes no lone surrogates
        found = connection.execute(select(users).where(or_(users.c.id == name_or_id, users.c.name == name))).all()
        for row in sorted(found, key=lambda one: one.id != name_or_id):
            if name_or_id == row.id or name == row.name:
                return row
    raise unknown_user(name_or_id)


def shown(connection: Connection, wanted: Select[Any]) -> list[UserShown]:
    """Users by a SELECT of their rows, with their groups."""
    rows = connection.execute(wanted).all()
    mine = select(group_members.c.user_id, user_groups.c.id, user_groups.c.name).join(user_groups, user_groups.c.id == group_members.c.group_id)
    if len(rows) == 1:
        mine = mine.where(group_members.c.user_id == rows[0].id)
    groups: dict[str, list[tuple[str, str]]] = {}
    for user_id, group_id, name in connection.execute(mine.order_by(user_groups.c.name)):
        groups.setdefault(user_id, []).append((group_id, name))
    return [_one(row, tuple(groups.get(row.id, ()))) for row in rows]


def name_only(user: UserShown) -> UserShown:
    """What a user is called, and nothing of what he may."""
    return replace(user, name_only=True)


def set_groups(connection: Connection, user_id: str, groups: Sequence[str]) -> None:
    """Have a user in just these groups, by name or id. Raises NotFound."""
    ids = {find_group(connection, one).id for one in groups}
    connection.execute(delete(group_members).where(group_members.c.user_id == user_id))
    for group_id in sorted(ids):
        connection.execute(insert(group_members), {"group_id": group_id, "user_id": user_id})


def find_group(connection: Connection, name_or_id: str) -> Row[Any]:
    """A group's row; an id wins over a name. Raises NotFound (`group_not_found`)."""
    name = plain_name(name_or_id)
    if name_or_id.isprintable():
        found = connection.execute(select(user_groups).where(or_(user_groups.c.id == name_or_id, user_groups.c.name == name))).all()
        for row in sorted(found, key=lambda one: one.id != name_or_id):
            if name_or_id == row.id or name == row.name:
                return row
    called = name_or_id[:80] if name_or_id.isprintable() else ""
    raise NotFound(
        "group_not_found",
        zh=f"没有名为“{called}”的用户组。请用 qzbrain group list 或 GET /api/groups 查看现有的用户组。",
        en=f'There is no group "{called}". See those that exist with: qzbrain group list, or GET /api/groups.',
        param="group",
    )


def end_sessions(connection: Connection, user_id: str, *, but: str = "") -> int:
    """End a user's sessions, but for one; returns how many."""
    return connection.execute(delete(sessions).where(sessions.c.user_id == user_id, sessions.c.id != but)).rowcount


@contextmanager
def keeping_an_administrator(connection: Connection) -> Iterator[None]:
    """Round every change that takes something from a user. Raises Conflict (`last_administrator`) when nobody is left who could rule, and somebody was."""
    can_rule = select(func.count()).where(users.c.role == "administrator", users.c.disabled == 0, or_(users.c.password != "", users.c.external != ""))
    before = connection.execute(can_rule).scalar_one()
    yield
    if before and not connection.execute(can_rule).scalar_one():
        raise Conflict(
            "last_administrator",
            zh="这是最后一个可以登录的管理员，不能删除、停用或降级。请先设立另一个管理员。",
            en="This is the last administrator who can sign in; he cannot be deleted, disabled or demoted. Make another one first.",
        )


def unknown_user(name_or_id: str) -> NotFound:
    """The error for a user who is not there."""
    called = name_or_id[:80] if name_or_id.isprintable() else ""
    return NotFound(
        "user_not_found",
        zh=f"没有名为“{called}”的用户。请用 qzbrain user list 或 GET /api/users 查看现有的用户。",
        en=f'There is no user "{called}". See those that exist with: qzbrain user list, or GET /api/users.',
        param="user",
    )


def _one(row: Row[Any], groups: tuple[tuple[str, str], ...]) -> UserShown:
    return UserShown(
        id=row.id, username=row.name, display_name=row.display_name, role=row.role, clearance=LEVELS[row.clearance], disabled=bool(row.disabled),
        must_change=bool(row.must_change), password=bool(row.password), totp=row.totp.startswith(TOTP_ON), external=row.external, groups=groups,
        created_at=row.created_at, signed_in_at=row.signed_in_at,
    )  # fmt: skip
