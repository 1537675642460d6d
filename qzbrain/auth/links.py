"""One-time links: for the set-up of a new brain, and for choosing a password. The address holds a random token, the table what it hashes to."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from sqlalchemy import Connection, delete, insert, select

from qzbrain.auth.tokens import digest, new_token
from qzbrain.errors import NotFound
from qzbrain.storage.tables import links

Kind = Literal["setup", "password"]
LIVES_S = 24 * 3600.0


def make_link(connection: Connection, kind: Kind, user_id: str = "", *, now: Callable[[], float] = time.time) -> str:
    """A new token, good once and for a day; those made before for the same are good no more."""
    token = new_token()
    revoke_links(connection, kind, user_id)
    connection.execute(insert(links), {"token": digest(token), "kind": kind, "user_id": user_id, "expires_at": now() + LIVES_S})
    return token


def revoke_links(connection: Connection, kind: Kind, user_id: str = "") -> None:
    """Have no link of this kind for this user."""
    connection.execute(delete(links).where(links.c.kind == kind, links.c.user_id == user_id))


def spend_link(connection: Connection, kind: Kind, token: str, *, now: Callable[[], float] = time.time, keep: bool = False) -> str:
    """Use a link up, or with `keep` only look at it; returns its user's id. It is unused again when the transaction fails. Raises NotFound (`link_unknown`)."""
    wanted = select(links.c.user_id).where(links.c.token == digest(token), links.c.kind == kind, links.c.expires_at > now())
    user_id = connection.execute(wanted).scalar()
    if user_id is None:
        raise NotFound(
            "link_unknown",
            zh="这个链接不存在、已使用过或已过期。请索取新的链接：设置链接用 qzbrain user setup-link，密码链接由管理员提供。",
            en="This link is unknown, used up or expired. Get a new one: for the set-up with qzbrain user setup-link, for a password from an administrator.",
            param="token",
        )
    if not keep:
        connection.execute(delete(links).where(links.c.token == digest(token)))
    return str(user_id)
