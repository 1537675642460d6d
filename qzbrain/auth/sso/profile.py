"""People known elsewhere, and their rows here.

Who signs in for the first time gets a row with the role and clearance of the settings; groups of the same name are joined and left as the other side says.
A name that a local account has is never taken over: whoever keeps the directory would otherwise become any user that he likes.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from qzbrain.auth.naming import checked_name, checked_words
from qzbrain.auth.standing import access_changed
from qzbrain.auth.user_rows import new_user
from qzbrain.domain import utc_now
from qzbrain.errors import InvalidRequest, PermissionRefused
from qzbrain.settings import Settings
from qzbrain.storage.database import Database
from qzbrain.storage.tables import group_members, user_groups, users


@dataclass(frozen=True, slots=True)
class Profile:
    """Somebody as the other side knows him. `external`: never changes and is never given to another. `groups`: None where it does not tell."""

    external: str
    name: str
    display_name: str = ""
    groups: frozenset[str] | None = None


class People:
    """Brings profiles into the table of users."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._db, self._settings = database, settings

    def welcome(self, profile: Profile) -> Row[Any]:
        """The row of whoever has just been recognised elsewhere, made or brought up to date. Raises PermissionRefused, InvalidRequest."""
        external = profile.external[:255]
        name = checked_name(profile.name)
        with self._db.write(durable=True) as connection:
            row = connection.execute(select(users).where(users.c.external == external)).first()
            if row is None:
                _require_free(connection, name)
                made = new_user(name, display_name="", role=self._settings.sso_role, clearance=self._settings.sso_clearance)
                connection.execute(insert(users), made | {"external": external})
                access_changed(connection)
                row = connection.execute(select(users).where(users.c.external == external)).one()
            shown = _words(profile.display_name)
            connection.execute(update(users).where(users.c.id == row.id).values(display_name=shown or row.display_name, signed_in_at=utc_now()))
            if profile.groups is not None:
                _join(connection, row.id, profile.groups)
        if row.disabled:
            raise PermissionRefused("account_disabled", zh="该账号已停用。请联系管理员。", en="This account is disabled. Ask an administrator.")
        return row


def _require_free(connection: Connection, name: str) -> None:
    if connection.execute(select(users.c.id).where(users.c.name == name)).first() is not None:
        raise PermissionRefused(
            "name_is_local",
            zh=f"本系统已有名为“{name}”的账号，与单位目录中的账号不是同一个。请管理员先将其改名或删除。",
            en=f'There is an account "{name}" here that is not the one of the directory. An administrator must rename or delete it first.',
        )


def _join(connection: Connection, user_id: str, names: Collection[str]) -> None:
    """Be in those groups of ours that the other side names, and in no others."""
    wanted = {row.id for row in connection.execute(select(user_groups.c.id, user_groups.c.name)) if row.name in {one.strip().lower() for one in names}}
    mine = group_members.c.user_id == user_id
    there = set(connection.execute(select(group_members.c.group_id).where(mine)).scalars())
    if wanted == there:
        return
    connection.execute(delete(group_members).where(mine))
    for group_id in sorted(wanted):
        connection.execute(insert(group_members), {"group_id": group_id, "user_id": user_id})
    access_changed(connection)


def _words(text: str) -> str:
    """What somebody is called, as far as it can be kept."""
    try:
        return checked_words(text[:200], "display_name")
    except InvalidRequest:
        return ""
