"""Users: made, changed and deleted by administrators. An administrator gives nobody more clearance than he has, and takes no power over who has more.

The last administrator who can sign in stays. Deleting or disabling a user ends his sessions and keys in the same transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Row, delete, insert, select, update

from qzbrain.auth.access import Access
from qzbrain.auth.links import make_link
from qzbrain.auth.naming import checked_name, checked_words, naming, plain_name
from qzbrain.auth.passwords import Passwords, checked_password
from qzbrain.auth.user_rows import UserShown, end_sessions, find_user, keeping_an_administrator, name_only, new_user, set_groups, shown
from qzbrain.domain import LEVELS, Caller, Level, Role, utc_now
from qzbrain.errors import InvalidRequest
from qzbrain.storage.database import Database
from qzbrain.storage.tables import api_keys, conversation_shares, group_members, kb_grants, links, sessions, users


class Users:
    """The users of the brain, as a caller may see and change them."""

    def __init__(self, database: Database, access: Access, passwords: Passwords) -> None:
        self._db, self._access, self._passwords = database, access, passwords

    def create(
        self,
        caller: Caller,
        *,
        name: str,
        password: str | None = None,
        display_name: str = "",
        role: Role = "reader",
        clearance: Level = "internal",
        must_change: bool = False,
        groups: Sequence[str] = (),
    ) -> UserShown:
        """A new user. Without a password he needs a link (`link`). `groups`: names or ids.

        Raises PermissionRefused, InvalidRequest, Conflict (`name_taken`), NotFound (`group_not_found`).
        """
        self._access.require(caller, "manage")
        self._access.require_level(caller, LEVELS.index(clearance))
        row = new_user(name, display_name=display_name, role=role, clearance=clearance)
        if password is not None:
            row |= {"password": self._passwords.hash(checked_password(password, name=row["name"])), "password_at": utc_now(), "must_change": int(must_change)}
        with naming(self._db) as connection:
            connection.execute(insert(users), row)
            set_groups(connection, row["id"], groups)
            self._access.changed(connection)
        return self.user(caller, row["id"])

    def users(self, caller: Caller) -> list[UserShown]:
        """All users, by name; see `user`."""
        self._access.require(caller, "write")
        with self._db.read() as connection:
            return self._seen(caller, shown(connection, select(users).order_by(users.c.name)))

    def user(self, caller: Caller, name_or_id: str) -> UserShown:
        """One user: whole for administrators and himself; for who may give rights, only what a user is called. Raises NotFound, PermissionRefused."""
        if plain_name(name_or_id) not in (caller.id, caller.name):
            self._access.require(caller, "write")
        with self._db.read() as connection:
            row = find_user(connection, name_or_id)
            if row.id != caller.id:
                self._access.require(caller, "write")
            return self._seen(caller, shown(connection, select(users).where(users.c.id == row.id)))[0]

    def update(
        self,
        caller: Caller,
        name_or_id: str,
        *,
        name: str | None = None,
        display_name: str | None = None,
        role: Role | None = None,
        clearance: Level | None = None,
        disabled: bool | None = None,
        password: str | None = None,
        must_change: bool | None = None,
        totp: bool | None = None,
        groups: Sequence[str] | None = None,
    ) -> UserShown:
        """Change what is given; `totp` False switches one-time codes off. A new password ends all sessions. Raises as `create`, Conflict."""
        self._access.require(caller, "manage")
        values: dict[str, Any] = {
            "name": None if name is None else checked_name(name),
            "display_name": None if display_name is None else checked_words(display_name, "display_name"),
            "role": role,
            "clearance": None if clearance is None else LEVELS.index(clearance),
            "disabled": None if disabled is None else int(disabled),
            "must_change": None if must_change is None else int(must_change),
        }
        values = {key: value for key, value in values.items() if value is not None}
        if totp is not None:
            if totp:
                raise InvalidRequest(zh="两步验证只能由用户本人开启。", en="One-time codes can only be switched on by the user himself.", param="totp")
            values |= {"totp": "", "recovery": [], "totp_last": 0}
        with self._db.read() as connection:
            row = find_user(connection, name_or_id)
        self._require_power_over(caller, row, values, disabling=values == {"disabled": 1} and groups is None and password is None)
        if password is not None:
            values |= {"password": self._passwords.hash(checked_password(password, name=values.get("name", row.name))), "password_at": utc_now()}
        with naming(self._db) as connection:
            if values:
                with keeping_an_administrator(connection):
                    connection.execute(update(users).where(users.c.id == row.id).values(values))
            if groups is not None:
                set_groups(connection, row.id, groups)
            if disabled or password is not None:
                end_sessions(connection, row.id)
            self._access.changed(connection)
        return self.user(caller, row.id)

    def delete(self, caller: Caller, name_or_id: str) -> UserShown:
        """Remove a user, at once, with sessions, keys, links and rights. Raises NotFound, PermissionRefused, Conflict (`last_administrator`)."""
        self._access.require(caller, "manage")
        gone = self.user(caller, name_or_id)
        with self._db.write(durable=True) as connection:
            with keeping_an_administrator(connection):
                connection.execute(delete(users).where(users.c.id == gone.id))
            for table in (conversation_shares, sessions, api_keys, links, group_members, kb_grants):
                connection.execute(delete(table).where(table.c.user_id == gone.id))
            self._access.changed(connection)
        return gone

    def sign_out(self, caller: Caller, name_or_id: str) -> int:
        """End all sessions of a user; returns how many. His keys stay."""
        self._access.require(caller, "manage")
        with self._db.write(durable=True) as connection:
            row = find_user(connection, name_or_id)
            ended = end_sessions(connection, row.id)
            self._access.changed(connection)
        return ended

    def link(self, caller: Caller, name_or_id: str) -> str:
        """The token of a link with which a user chooses a password, once, within a day. Raises NotFound, PermissionRefused."""
        self._access.require(caller, "manage")
        with self._db.write(durable=True) as connection:
            row = find_user(connection, name_or_id)
            self._require_power_over(caller, row, {})
            return make_link(connection, "password", row.id)

    def names(self, user_ids: Collection[str]) -> dict[str, str]:
        """What users are called, by id."""
        return {row.id: row.name for row in self._db.rows(select(users.c.id, users.c.name).where(users.c.id.in_(set(user_ids))))}

    def require_power_over(self, caller: Caller, name_or_id: str) -> str:
        """The id of a user in whose name the caller may make credentials. Raises NotFound, PermissionRefused."""
        self._access.require(caller, "manage")
        with self._db.read() as connection:
            row = find_user(connection, name_or_id)
        self._require_power_over(caller, row, {})
        return str(row.id)

    def _require_power_over(self, caller: Caller, row: Row[Any], values: dict[str, Any], *, disabling: bool = False) -> None:
        """Who could sign in as somebody, or makes him able to see more, must be cleared for what he sees; disabling anybody is safe."""
        self._access.require_level(caller, values.get("clearance", 0))
        if not disabling and row.id != caller.id:
            self._access.require_level(caller, row.clearance)

    def _seen(self, caller: Caller, found: list[UserShown]) -> list[UserShown]:
        if self._access.allows(caller, "manage"):
            return found
        return [one if one.id == caller.id else name_only(one) for one in found]
