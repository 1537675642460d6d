"""The first administrator of a new brain: made with a one-time link that is shown only to who starts the brain. There is no default password."""

from __future__ import annotations

from sqlalchemy import insert, select

from qzbrain.auth.access import Access
from qzbrain.auth.links import make_link, revoke_links, spend_link
from qzbrain.auth.passwords import Passwords, checked_password
from qzbrain.auth.user_rows import new_user
from qzbrain.domain import utc_now
from qzbrain.errors import Conflict
from qzbrain.settings import Settings
from qzbrain.storage.database import Database
from qzbrain.storage.tables import users

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104  not bound here


class Setup:
    """Over once there is a user."""

    def __init__(self, database: Database, access: Access, passwords: Passwords, settings: Settings) -> None:
        self._db, self._access, self._passwords, self._settings = database, access, passwords, settings

    def needed(self) -> bool:
        """Whether nobody has an account yet."""
        return not self._db.rows(select(users.c.id).limit(1))

    def link(self) -> str:
        """A new set-up link, as it is opened in a browser on this machine; those before are good no more. Raises Conflict (`set_up`)."""
        with self._db.write(durable=True) as connection:
            if connection.execute(select(users.c.id).limit(1)).first() is not None:
                raise _done()
            token = make_link(connection, "setup")
        return address(self._settings, "setup", token)

    def finish(self, token: str, name: str, password: str) -> str:
        """Make the first administrator, cleared for everything; returns his id. Raises Conflict (`set_up`), NotFound (`link_unknown`), InvalidRequest."""
        if not self.needed():
            raise _done()
        with self._db.read() as connection:
            spend_link(connection, "setup", token, keep=True)
        row = new_user(name, display_name="", role="administrator", clearance="top_secret")
        row |= {"password": self._passwords.hash(checked_password(password, name=row["name"])), "password_at": utc_now()}
        with self._db.write(durable=True) as connection:
            if connection.execute(select(users.c.id).limit(1)).first() is not None:
                raise _done()
            spend_link(connection, "setup", token)
            revoke_links(connection, "setup")
            connection.execute(insert(users), row)
            self._access.changed(connection)
        return str(row["id"])


def address(settings: Settings, page: str, token: str) -> str:
    """Where a one-time link leads. A server that listens on all its addresses is named by the one of this machine; others put its name there."""
    url = settings.url
    for bound, here in _ANYWHERE.items():
        url = url.replace(f"//{bound}:", f"//{here}:").replace(f"//[{bound}]:", f"//{here}:")
    return f"{url}/{page}?token={token}"


def _done() -> Conflict:
    return Conflict(
        "set_up",
        zh="系统已完成设置。请登录；忘记管理员密码时，在服务器上运行 qzbrain user link 用户名。",
        en="This brain is set up already. Sign in; where the administrator's password is forgotten, run on the server: qzbrain user link NAME",
    )
