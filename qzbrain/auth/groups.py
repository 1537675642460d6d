"""Groups: users who are given rights together. Ruled by administrators; their names are seen by who may give rights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select, update

from qzbrain.auth.access import Access
from qzbrain.auth.naming import checked_name, checked_words, naming
from qzbrain.auth.standing import EVERYONE
from qzbrain.auth.user_rows import find_group, find_user
from qzbrain.domain import Caller, new_id, utc_now
from qzbrain.errors import InvalidRequest
from qzbrain.storage.database import Database
from qzbrain.storage.tables import conversation_shares, group_members, kb_grants, user_groups, users


@dataclass(frozen=True, slots=True)
class GroupShown:
    """A group. `members`: (id, name), by name; empty for who is no administrator."""

    id: str
    name: str
    description: str
    members: tuple[tuple[str, str], ...]
    created_at: str


class Groups:
    """The groups of the brain, as a caller may see and change them."""

    def __init__(self, database: Database, access: Access) -> None:
        self._db, self._access = database, access

    def create(self, caller: Caller, *, name: str, description: str = "", members: Sequence[str] = ()) -> GroupShown:
        """A new group. `members`: users by name or id. Raises PermissionRefused, InvalidRequest, Conflict (`name_taken`), NotFound."""
        self._access.require(caller, "manage")
        row = {"id": new_id(), "name": _checked(name), "description": checked_words(description, "description"), "created_at": utc_now()}
        with naming(self._db) as connection:
            connection.execute(insert(user_groups), row)
            _set_members(connection, row["id"], members)
            self._access.changed(connection)
        return self.group(caller, row["id"])

    def groups(self, caller: Caller) -> list[GroupShown]:
        """All groups, by name. Raises PermissionRefused."""
        self._access.require(caller, "write")
        with self._db.read() as connection:
            return self._shown(caller, connection, select(user_groups).order_by(user_groups.c.name))

    def group(self, caller: Caller, name_or_id: str) -> GroupShown:
        """One group. Raises NotFound, PermissionRefused."""
        self._access.require(caller, "write")
        with self._db.read() as connection:
            row = find_group(connection, name_or_id)
            return self._shown(caller, connection, select(user_groups).where(user_groups.c.id == row.id))[0]

    def update(
        self, caller: Caller, name_or_id: str, *, name: str | None = None, description: str | None = None, members: Sequence[str] | None = None
    ) -> GroupShown:
        """Change what is given; `members` takes the place of all there are. Raises as `create`."""
        self._access.require(caller, "manage")
        given = {
            "name": None if name is None else _checked(name),
            "description": None if description is None else checked_words(description, "description"),
        }
        values = {key: value for key, value in given.items() if value is not None}
        with naming(self._db) as connection:
            row = find_group(connection, name_or_id)
            if values:
                connection.execute(update(user_groups).where(user_groups.c.id == row.id).values(values))
            if members is not None:
                _set_members(connection, row.id, members)
            self._access.changed(connection)
        return self.group(caller, row.id)

    def delete(self, caller: Caller, name_or_id: str) -> GroupShown:
        """Remove a group with the rights that it was given. Raises NotFound, PermissionRefused."""
        self._access.require(caller, "manage")
        gone = self.group(caller, name_or_id)
        with self._db.write(durable=True) as connection:
            connection.execute(delete(user_groups).where(user_groups.c.id == gone.id))
            for table in (conversation_shares, group_members, kb_grants):
                connection.execute(delete(table).where(table.c.group_id == gone.id))
            self._access.changed(connection)
        return gone

    def _shown(self, caller: Caller, connection: Connection, wanted: Select[Any]) -> list[GroupShown]:
        members: dict[str, list[tuple[str, str]]] = {}
        if self._access.allows(caller, "manage"):
            mine = select(group_members.c.group_id, users.c.id, users.c.name).join(users, users.c.id == group_members.c.user_id)
            for group_id, user_id, name in connection.execute(mine.order_by(users.c.name)):
                members.setdefault(group_id, []).append((user_id, name))
        rows = connection.execute(wanted).all()
        return [GroupShown(row.id, row.name, row.description, tuple(members.get(row.id, ())), row.created_at) for row in rows]


def _set_members(connection: Connection, group_id: str, members: Sequence[str]) -> None:
    ids = {find_user(connection, one).id for one in members}
    connection.execute(delete(group_members).where(group_members.c.group_id == group_id))
    for user_id in sorted(ids):
        connection.execute(insert(group_members), {"group_id": group_id, "user_id": user_id})


def _checked(name: str) -> str:
    plain = checked_name(name)
    if plain == EVERYONE:
        raise InvalidRequest(
            "invalid_name",
            zh=f"“{EVERYONE}”代表所有已登录的用户，不能作为用户组的名称。请换一个名称。",
            en=f'"{EVERYONE}" stands for whoever is signed in and cannot be a group\'s name. Choose another.',
            param="name",
        )
    return plain
