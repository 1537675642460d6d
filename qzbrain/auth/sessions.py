"""Who is signed in with a browser. The cookie holds a token, the table what it hashes to; so a copy of the database opens no session.

A session ends when nobody used it for `session_idle_minutes`, and at the latest `session_hours` after sign-in. Its token is replaced every quarter
of an hour; the one before it stays good for a minute, since several requests of a page may be under way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, bindparam, delete, insert, or_, select, update

from qzbrain.auth.tokens import digest, new_token
from qzbrain.domain import Caller, new_id, utc_now
from qzbrain.errors import Lang
from qzbrain.settings import Settings
from qzbrain.storage.database import Database
from qzbrain.storage.tables import sessions, users

ROTATED_EVERY_S = 900.0
FORMER_FOR_S = 60.0
SEEN_EVERY_S = 60.0

_ONE = (
    select(sessions.c.id, sessions.c.user_id, sessions.c.token, sessions.c.created_at, sessions.c.seen_at, sessions.c.rotated_at, users.c.name)
    .join(users, users.c.id == sessions.c.user_id)
    .where(or_(sessions.c.token == bindparam("token"), sessions.c.former_token == bindparam("token")), users.c.disabled == 0)
)


@dataclass(frozen=True, slots=True)
class SessionShown:
    """A session as its owner sees it; times are seconds since 1970."""

    id: str
    created_at: float
    seen_at: float
    address: str
    agent: str


class Sessions:
    """Opens, finds and ends sessions."""

    def __init__(self, database: Database, settings: Settings, *, now: Callable[[], float] = time.time) -> None:
        self._db, self._now = database, now
        self._one = database.prepared(_ONE)
        self._idle_s = settings.session_idle_minutes * 60.0
        self._whole_s = settings.session_hours * 3600.0

    def open(self, user_id: str, *, address: str, agent: str) -> str:
        """Begin a session of a user whose credentials were checked, and note when; returns the cookie's value. Sessions that are over are forgotten."""
        token, now = new_token(), self._now()
        row = {
            "id": new_id(), "token": digest(token), "former_token": "", "user_id": user_id, "created_at": now, "seen_at": now, "rotated_at": now,
            "address": address[:64], "agent": agent[:255],
        }  # fmt: skip
        with self._db.write() as connection:
            connection.execute(delete(sessions).where(or_(sessions.c.seen_at < now - self._idle_s, sessions.c.created_at < now - self._whole_s)))
            connection.execute(insert(sessions), row)
            connection.execute(update(users).where(users.c.id == user_id).values(signed_in_at=utc_now()))
        return token

    def caller(self, token: str, lang: Lang, address: str) -> Caller | None:
        """Whose session this is; None when it is over, or was never."""
        row = self._row(token)
        if row is None:
            return None
        session_id, user_id, _, _, seen_at, _, name = row
        now = self._now()
        if now - seen_at > SEEN_EVERY_S:
            with self._db.write() as connection:
                connection.execute(update(sessions).where(sessions.c.id == session_id).values(seen_at=now))
        return Caller(user_id, name, lang, session_id=session_id, address=address)

    def rotated(self, token: str) -> str | None:
        """A new value for the cookie when it is time for one. At most one of several requests that come at once is given it."""
        row = self._row(token)
        now = self._now()
        if row is None or row[2] != digest(token) or now - row[5] < ROTATED_EVERY_S:
            return None
        fresh = new_token()
        with self._db.write() as connection:
            change = update(sessions).where(sessions.c.id == row[0], sessions.c.token == row[2])
            done = connection.execute(change.values(token=digest(fresh), former_token=row[2], rotated_at=now))
        return fresh if done.rowcount else None

    def alive(self, session_ids: Collection[str]) -> set[str]:
        """Which of these sessions are not over; for connections that stay open."""
        wanted = select(sessions.c.id).join(users, users.c.id == sessions.c.user_id).where(users.c.disabled == 0, *self._not_over())
        return {row.id for row in self._db.rows(wanted.where(sessions.c.id.in_(session_ids)))}

    def used(self, session_id: str) -> None:
        """Somebody did something with it over a connection that stays open."""
        now = self._now()
        change = update(sessions).where(sessions.c.id == session_id, sessions.c.seen_at < now - SEEN_EVERY_S)
        with self._db.write() as connection:
            connection.execute(change.values(seen_at=now))

    def of(self, user_id: str) -> list[SessionShown]:
        """A user's sessions that are not over, latest first."""
        wanted = select(sessions.c.id, sessions.c.created_at, sessions.c.seen_at, sessions.c.address, sessions.c.agent).where(
            sessions.c.user_id == user_id, *self._not_over()
        )
        rows = self._db.rows(wanted.order_by(sessions.c.seen_at.desc()))
        return [SessionShown(row.id, row.created_at, row.seen_at, row.address, row.agent) for row in rows]

    def close(self, session_id: str) -> None:
        """End one session."""
        with self._db.write() as connection:
            connection.execute(delete(sessions).where(sessions.c.id == session_id))

    def close_all(self, user_id: str, *, but: str = "") -> int:
        """Sign a user out everywhere, but for the session `but`; returns how many were ended."""
        with self._db.write() as connection:
            return connection.execute(delete(sessions).where(sessions.c.user_id == user_id, sessions.c.id != but)).rowcount

    def _not_over(self) -> tuple[ColumnElement[bool], ...]:
        now = self._now()
        return sessions.c.seen_at >= now - self._idle_s, sessions.c.created_at >= now - self._whole_s

    def _row(self, token: str) -> tuple[Any, ...] | None:
        if not token or len(token) > 128:
            return None
        now, hashed = self._now(), digest(token)
        for row in self._one(token=hashed):
            _, _, current, created_at, seen_at, rotated_at, _ = row
            over = now - seen_at > self._idle_s or now - created_at > self._whole_s
            if not over and (current == hashed or now - rotated_at <= FORMER_FOR_S):
                return row
        return None
