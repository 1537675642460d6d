"""Rights in knowledge bases: given by who manages one, to users, to groups and to everyone who is signed in; and the knowledge base's own level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from qzbrain.auth.access import LOCAL_USER, Access, unknown_knowledge_base
from qzbrain.auth.naming import plain_name
from qzbrain.auth.standing import EVERYONE, access_changed
from qzbrain.auth.user_rows import find_group, find_user
from qzbrain.domain import LEVELS, Caller, Level, Right
from qzbrain.errors import InvalidRequest
from qzbrain.storage.database import Database
from qzbrain.storage.tables import kb_grants, knowledge_bases, user_groups, users


@dataclass(frozen=True, slots=True)
class Grant:
    """A right of one user or one group, the other being ''. Names or ids when given; names when shown, with the id in `subject_id`."""

    right: Right
    user: str = ""
    group: str = ""
    subject_id: str = ""


@dataclass(frozen=True, slots=True)
class KbRights:
    """Who may what in a knowledge base, and its level."""

    kb_id: str
    knowledge_base: str
    level: Level
    grants: tuple[Grant, ...]


class Grants:
    """Rights in knowledge bases, as a caller may see and change them."""

    def __init__(self, database: Database, access: Access) -> None:
        self._db, self._access = database, access

    def of(self, caller: Caller, kb: str) -> KbRights:
        """The rights in one knowledge base. Raises NotFound, PermissionRefused."""
        kb_id = self._managed(caller, kb)
        with self._db.read() as connection:
            return _rights(connection, kb_id)

    def put(self, caller: Caller, kb: str, *, grants: Sequence[Grant] | None = None, level: Level | None = None) -> KbRights:
        """Have just these grants, and this level; None leaves either as it is. Raises NotFound, PermissionRefused, InvalidRequest."""
        kb_id = self._managed(caller, kb)
        if level is not None:
            self._access.require_level(caller, LEVELS.index(level))
        with self._db.write(durable=True) as connection:
            if grants is not None:
                rows = [_row(connection, kb_id, grant) for grant in grants]
                _require_each_once(rows)
                connection.execute(delete(kb_grants).where(kb_grants.c.kb_id == kb_id))
                for row in rows:
                    connection.execute(insert(kb_grants), row)
            if level is not None:
                connection.execute(update(knowledge_bases).where(knowledge_bases.c.id == kb_id).values(level=LEVELS.index(level)))
            self._access.changed(connection)
            return _rights(connection, kb_id)

    def _managed(self, caller: Caller, kb: str) -> str:
        kb_id = self._access.resolve(caller, [kb])[0].id
        self._access.require(caller, "manage", kb_id)
        return kb_id


def grant_to_maker(connection: Connection, kb_id: str, user_id: str) -> None:
    """Who makes a knowledge base manages it; in the transaction that makes it. The local user ('' too) needs no grant."""
    if user_id not in ("", LOCAL_USER):
        connection.execute(insert(kb_grants), {"kb_id": kb_id, "user_id": user_id, "group_id": "", "granted": "manage"})
    access_changed(connection)


def forget_grants(connection: Connection, kb_id: str) -> None:
    """In the transaction that deletes a knowledge base."""
    connection.execute(delete(kb_grants).where(kb_grants.c.kb_id == kb_id))
    access_changed(connection)


def _rights(connection: Connection, kb_id: str) -> KbRights:
    kb = connection.execute(select(knowledge_bases.c.name, knowledge_bases.c.level).where(knowledge_bases.c.id == kb_id)).first()
    if kb is None:
        raise unknown_knowledge_base(kb_id)
    wanted = (
        select(kb_grants, users.c.name.label("user_name"), user_groups.c.name.label("group_name"))
        .outerjoin(users, users.c.id == kb_grants.c.user_id)
        .outerjoin(user_groups, user_groups.c.id == kb_grants.c.group_id)
        .where(kb_grants.c.kb_id == kb_id)
    )
    grants = [
        Grant(
            row.granted,
            user=row.user_name or "",
            group=EVERYONE if row.group_id == EVERYONE else row.group_name or "",
            subject_id=row.user_id or row.group_id,
        )
        for row in connection.execute(wanted)
    ]
    return KbRights(kb_id, kb.name, LEVELS[kb.level], tuple(sorted(grants, key=lambda one: (one.user, one.group))))


def _row(connection: Connection, kb_id: str, grant: Grant) -> dict[str, str]:
    if bool(grant.user) == bool(grant.group):
        raise InvalidRequest(zh="每条授权须恰好指定 user 或 group 之一。", en="Each grant names just one of user and group.", param="grants")
    row = {"kb_id": kb_id, "user_id": "", "group_id": "", "granted": grant.right}
    if grant.user:
        row["user_id"] = find_user(connection, grant.user).id
    else:
        row["group_id"] = EVERYONE if plain_name(grant.group) == EVERYONE else find_group(connection, grant.group).id
    return row


def _require_each_once(rows: Sequence[dict[str, str]]) -> None:
    if len({(row["user_id"], row["group_id"]) for row in rows}) < len(rows):
        raise InvalidRequest(
            zh="同一个用户或用户组出现了多次。每个只保留一条授权。", en="A user or group stands there more than once. Give each just one right.", param="grants"
        )
