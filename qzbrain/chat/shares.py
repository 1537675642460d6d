"""Conversations shown to others: to users, to groups, to whoever is signed in. They may read, and are shown what they themselves may see (`rereading`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, exists, insert, or_, select

from qzbrain.auth.access import LOCAL_USER
from qzbrain.auth.standing import EVERYONE
from qzbrain.domain import Caller, utc_now
from qzbrain.errors import InvalidRequest, NotFound
from qzbrain.storage.database import Database
from qzbrain.storage.tables import conversation_shares, conversations, group_members, user_groups, users

MOST = 200


@dataclass(frozen=True, slots=True)
class Shares:
    """With whom a conversation is shared: (id, name) of each, by name. The group EVERYONE stands for whoever is signed in."""

    users: tuple[tuple[str, str], ...]
    groups: tuple[tuple[str, str], ...]


def shared_with(caller: Caller) -> ColumnElement[bool]:
    """What rows of conversations that somebody shares with the caller fulfil."""
    mine = select(group_members.c.group_id).where(group_members.c.user_id == caller.id)
    to_me = or_(conversation_shares.c.user_id == caller.id, conversation_shares.c.group_id.in_(mine), conversation_shares.c.group_id == EVERYONE)
    return exists().where(conversation_shares.c.conversation_id == conversations.c.id, to_me)


def readable_by(caller: Caller) -> ColumnElement[bool]:
    """What rows of conversations that the caller may read fulfil."""
    own: ColumnElement[bool] = conversations.c.owner == caller.id
    return own if caller.id == LOCAL_USER else or_(own, shared_with(caller))


class ShareRows:
    """Reads and writes shares; whose the conversation is, was asked before."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def of(self, conversation_id: str) -> Shares:
        """With whom it is shared."""
        mine = conversation_shares.c.conversation_id == conversation_id
        to_users = select(users.c.id, users.c.name).join(conversation_shares, conversation_shares.c.user_id == users.c.id).where(mine)
        to_groups = select(user_groups.c.id, user_groups.c.name).join(conversation_shares, conversation_shares.c.group_id == user_groups.c.id).where(mine)
        everyone = self._db.rows(select(conversation_shares.c.group_id).where(mine, conversation_shares.c.group_id == EVERYONE))
        groups = [(row.id, row.name) for row in self._db.rows(to_groups)] + ([(EVERYONE, EVERYONE)] if everyone else [])
        found = [(row.id, row.name) for row in self._db.rows(to_users)]
        return Shares(tuple(sorted(found, key=lambda x: x[1])), tuple(sorted(groups, key=lambda x: x[1])))

    def set(self, conversation_id: str, given_users: Sequence[str], given_groups: Sequence[str]) -> None:
        """Share it with these, by names or ids, and with nobody else. Raises NotFound (`user_not_found`, `group_not_found`), InvalidRequest."""
        if len(given_users) + len(given_groups) > MOST:
            raise InvalidRequest(
                "too_many",
                zh=f"一个会话最多与 {MOST} 个用户和用户组共享。请改用用户组。",
                en=f"A conversation is shared with at most {MOST} users and groups. Use a group.",
                param="users",
            )
        user_ids = {self._found(users, one, "user_not_found", "用户", "user") for one in given_users}
        group_ids = {one if one == EVERYONE else self._found(user_groups, one, "group_not_found", "用户组", "group") for one in given_groups}
        now = utc_now()
        rows = [{"user_id": one, "group_id": ""} for one in user_ids] + [{"user_id": "", "group_id": one} for one in group_ids]
        with self._db.write() as connection:
            forget_shares(connection, conversation_id)
            if rows:
                connection.execute(insert(conversation_shares), [{**row, "conversation_id": conversation_id, "created_at": now} for row in rows])

    def _found(self, table: Any, key: str, code: str, zh: str, en: str) -> str:
        name = key.lower() if table is users else key
        rows = self._db.rows(select(table.c.id).where(or_(table.c.id == key, table.c.name == name))) if key.isprintable() else ()
        if not rows:
            raise NotFound(code, zh=f"没有名为“{key[:64]}”的{zh}。请核对名称。", en=f'There is no {en} "{key[:64]}". Check the name.', param=f"{en}s")
        return str(rows[0].id)


def forget_shares(connection: Connection, conversation_id: str) -> None:
    """Share it with nobody."""
    connection.execute(delete(conversation_shares).where(conversation_shares.c.conversation_id == conversation_id))
