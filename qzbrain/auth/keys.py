"""API keys: for programs that ask in a user's name. A key is shown once, when it is made; what is kept is its hash.

A key never allows more than its user may; it may be narrowed to a right and to knowledge bases, and it may end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update

from qzbrain.auth.standing import access_changed
from qzbrain.auth.tokens import KEY_PREFIX, digest, new_token
from qzbrain.domain import Caller, Right, new_id, utc_now
from qzbrain.errors import Lang
from qzbrain.storage.database import Database
from qzbrain.storage.tables import api_keys, users

_USED_EVERY_S = 60.0
_SHOWN = len(KEY_PREFIX) + 6

_ONE = (
    select(
        api_keys.c.id, api_keys.c.user_id, api_keys.c.at_most, api_keys.c.knowledge_bases, api_keys.c.expires_at, api_keys.c.requests_per_minute, users.c.name
    )
    .join(users, users.c.id == api_keys.c.user_id)
    .where(api_keys.c.token == bindparam("token"), users.c.disabled == 0)
)


@dataclass(frozen=True, slots=True)
class KeyShown:
    """A key without its secret. `knowledge_bases`: ids, empty for all that its user may."""

    id: str
    user_id: str
    name: str
    shown: str
    right: Right
    knowledge_bases: tuple[str, ...]
    requests_per_minute: int
    created_at: str
    expires_at: str | None
    used_at: str | None


class ApiKeys:
    """Makes, finds and ends keys. Whether somebody may is asked by `auth.keyring`."""

    def __init__(self, database: Database, *, now: Callable[[], float] = time.time) -> None:
        self._db, self._now = database, now
        self._used: dict[str, float] = {}

    def create(
        self,
        user_id: str,
        name: str,
        *,
        right: Right = "manage",
        knowledge_bases: Sequence[str] = (),
        expires_at: str | None = None,
        requests_per_minute: int = 0,
    ) -> tuple[KeyShown, str]:
        """A new key, and its secret, which nobody can be shown again."""
        token = new_token(KEY_PREFIX)
        row: dict[str, Any] = {
            "id": new_id(), "user_id": user_id, "name": name, "token": digest(token), "shown": token[:_SHOWN], "at_most": right,
            "knowledge_bases": list(knowledge_bases), "requests_per_minute": requests_per_minute, "created_at": utc_now(),
            "expires_at": expires_at, "used_at": None,
        }  # fmt: skip
        with self._db.write(durable=True) as connection:
            connection.execute(insert(api_keys), row)
            access_changed(connection)
        return _key(row), token

    def get(self, key_id: str) -> KeyShown | None:
        """One key."""
        return next(iter(self._shown(select(api_keys).where(api_keys.c.id == key_id))), None)

    def of(self, user_id: str | None = None) -> list[KeyShown]:
        """A user's keys, or everybody's, oldest first."""
        wanted = select(api_keys).order_by(api_keys.c.id)
        return self._shown(wanted if user_id is None else wanted.where(api_keys.c.user_id == user_id))

    def update(self, key_id: str, values: dict[str, Any]) -> None:
        """Change columns of a key."""
        with self._db.write(durable=True) as connection:
            if values:
                connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(values))
            access_changed(connection)

    def delete(self, key_id: str) -> None:
        """End a key at once."""
        with self._db.write(durable=True) as connection:
            connection.execute(delete(api_keys).where(api_keys.c.id == key_id))
            access_changed(connection)

    def alive(self, key_ids: Collection[str]) -> set[str]:
        """Which of these keys are good still; for connections that stay open."""
        wanted = select(api_keys.c.id, api_keys.c.expires_at).join(users, users.c.id == api_keys.c.user_id).where(users.c.disabled == 0)
        return {row.id for row in self._db.rows(wanted.where(api_keys.c.id.in_(key_ids))) if not self._expired(row.expires_at)}

    def caller(self, token: str, lang: Lang, address: str) -> Caller | None:
        """In whose name a program asks with this key; None for one that is unknown, ended or expired."""
        if not token.startswith(KEY_PREFIX) or len(token) > 128:
            return None
        with self._db.read() as connection:
            row = connection.execute(_ONE, {"token": digest(token)}).first()
        if row is None or self._expired(row.expires_at):
            return None
        self._note(row.id)
        only = frozenset(row.knowledge_bases) or None
        return Caller(
            row.user_id, row.name, lang, key_id=row.id, at_most=row.at_most, only_in=only, address=address, requests_per_minute=row.requests_per_minute
        )

    def _expired(self, expires_at: str | None) -> bool:
        return expires_at is not None and datetime.fromisoformat(expires_at).timestamp() <= self._now()

    def _note(self, key_id: str) -> None:
        now = self._now()
        if now - self._used.get(key_id, 0.0) > _USED_EVERY_S:
            self._used[key_id] = now
            with self._db.write() as connection:
                connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(used_at=utc_now()))

    def _shown(self, wanted: Any) -> list[KeyShown]:
        return [_key(row._mapping) for row in self._db.rows(wanted)]


def _key(row: Any) -> KeyShown:
    return KeyShown(
        row["id"], row["user_id"], row["name"], row["shown"], row["at_most"], tuple(row["knowledge_bases"]), row["requests_per_minute"],
        row["created_at"], row["expires_at"], row["used_at"],
    )  # fmt: skip
