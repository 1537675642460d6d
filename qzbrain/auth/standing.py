"""What a user may do, as the database says it, kept for half a second: so a right that is taken away is gone within a second in every process.

Every change of users, groups, keys, rights or levels raises one number (`access_state.version`) in its own transaction. Who asks for a standing
looks at that number at most twice a second, and forgets what he knows when it has changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import cast

from sqlalchemy import Connection, bindparam, or_, select, update

from qzbrain.domain import RIGHTS, Right, Role
from qzbrain.storage.database import Database
from qzbrain.storage.tables import access_state, group_members, kb_grants, knowledge_bases, users

EVERYONE = "everyone"
"""Stands for a group that whoever is signed in belongs to."""
CHECKED_EVERY_S = 0.5

_VERSION = select(access_state.c.version).where(access_state.c.id == 1)
_USER = select(users.c.role, users.c.clearance, users.c.disabled, users.c.must_change).where(users.c.id == bindparam("id"))
_MINE = select(group_members.c.group_id).where(group_members.c.user_id == bindparam("id"))
_GRANTS = select(kb_grants.c.kb_id, kb_grants.c.granted).where(
    or_(kb_grants.c.user_id == bindparam("id"), kb_grants.c.group_id.in_(_MINE), kb_grants.c.group_id == EVERYONE)
)
_LEVELS = select(knowledge_bases.c.id, knowledge_bases.c.level)


@dataclass(frozen=True, slots=True)
class Standing:
    """A user's role, clearance (place in LEVELS) and granted rights by knowledge base. `active`: may do anything at all."""

    role: Role
    clearance: int
    active: bool
    granted: Mapping[str, Right] = field(default_factory=dict)


NOBODY = Standing("reader", -1, active=False)


class Standings:
    """Standings by user, and the levels of knowledge bases."""

    def __init__(self, database: Database, *, now: Callable[[], float] = time.monotonic) -> None:
        self._version_now, self._user = database.prepared(_VERSION), database.prepared(_USER)
        self._grants, self._levels_now = database.prepared(_GRANTS), database.prepared(_LEVELS)
        self._now = now
        self._version, self._checked_at = -1, float("-inf")
        self._known: dict[str, Standing] = {}
        self._levels: dict[str, int] | None = None

    def of(self, user_id: str) -> Standing:
        """What this user may; NOBODY for one who is not there."""
        self._look()
        known = self._known
        found = known.get(user_id)
        if found is None:
            found = known[user_id] = self._read(user_id)
        return found

    def level(self, kb_id: str) -> int:
        """The level of a knowledge base; above all clearances for one that is not there.

        One not heard of before is new, and brought its grants: what is known of users is looked at again too.
        """
        self._look()
        if self._levels is None or kb_id not in self._levels:
            self.forget()
            self._look()
            self._levels = dict(cast(list[tuple[str, int]], self._levels_now()))
        return self._levels.get(kb_id, 99)

    def forget(self) -> None:
        """Look at the database before the next answer: a change was made in this process."""
        self._checked_at = float("-inf")

    def _look(self) -> None:
        now = self._now()
        if now - self._checked_at < CHECKED_EVERY_S:
            return
        rows = self._version_now()
        version = rows[0][0] if rows else 0
        if version != self._version:
            self._known, self._levels = {}, None
        self._version, self._checked_at = version, now

    def _read(self, user_id: str) -> Standing:
        rows = self._user(id=user_id)
        if not rows:
            return NOBODY
        role, clearance, disabled, must_change = rows[0]
        granted: dict[str, Right] = {}
        for kb_id, right in self._grants(id=user_id):
            if kb_id not in granted or RIGHTS.index(right) > RIGHTS.index(granted[kb_id]):
                granted[kb_id] = right
        return Standing(role, clearance, active=not disabled and not must_change, granted=granted)


def access_changed(connection: Connection) -> None:
    """To be called in every transaction that changes what somebody may do."""
    connection.execute(update(access_state).where(access_state.c.id == 1).values(version=access_state.c.version + 1))
