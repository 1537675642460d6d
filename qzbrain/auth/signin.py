"""Signing in by name and password, with a one-time code where the user has switched that on.

Whoever tries learns nothing of which names exist: known and unknown ones are counted alike, take as long, and get the same answer. That a code is
asked, or that the account is disabled, is told only to who has the password.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Row, select, update

from qzbrain.auth.access import Access
from qzbrain.auth.codes import Codes
from qzbrain.auth.links import spend_link
from qzbrain.auth.naming import plain_name
from qzbrain.auth.passwords import LONGEST, Passwords, checked_password
from qzbrain.auth.sessions import Sessions
from qzbrain.auth.throttle import Attempt, Throttle
from qzbrain.auth.user_rows import TOTP_ON, end_sessions
from qzbrain.domain import utc_now
from qzbrain.errors import AuthenticationRequired, BrainError, Conflict, PermissionRefused
from qzbrain.storage.database import Database
from qzbrain.storage.tables import users


class SignIn:
    """Checks credentials and opens sessions."""

    def __init__(
        self,
        database: Database,
        access: Access,
        passwords: Passwords,
        sessions: Sessions,
        codes: Codes,
        throttle: Throttle,
        elsewhere: Callable[[str, str], Row[Any] | None] | None = None,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`elsewhere`: the row of whoever a directory recognises by name and password, None when it does not; no argument: there is no directory."""
        self._db, self._access, self._passwords, self._sessions = database, access, passwords, sessions
        self._codes, self._throttle, self._elsewhere, self._now = codes, throttle, elsewhere, now

    def sign_in(self, name: str, password: str, *, code: str = "", address: str = "", agent: str = "") -> tuple[str, str]:
        """A new session: the cookie's value, and the user's id. `code`: from the device, or a recovery code.

        Raises AuthenticationRequired (`credentials_wrong`, `totp_required`, `totp_wrong`), PermissionRefused (`account_disabled`), RateLimited.
        """
        attempt, row = self._checked(name, password, address)
        if row.disabled:
            self._throttle.undo(attempt)
            raise _disabled()
        if row.totp.startswith(TOTP_ON):
            self._require_code(attempt, row, code)
        self._throttle.succeeded(attempt)
        if not row.external and self._passwords.outdated(row.password):
            hashed = self._passwords.hash(password)
            with self._db.write() as connection:
                connection.execute(update(users).where(users.c.id == row.id, users.c.password == row.password).values(password=hashed))
        return self._sessions.open(row.id, address=address, agent=agent), row.id

    def welcome(self, row: Row[Any], *, address: str = "", agent: str = "") -> str:
        """A new session of somebody whom an identity provider has recognised; the cookie's value."""
        return self._sessions.open(row.id, address=address, agent=agent)

    def require_password(self, user_id: str, password: str, address: str) -> Row[Any]:
        """The user's row, when this is his password: asked again before what a found-open browser must not do. Raises as `sign_in`."""
        name = self._db.rows(select(users.c.name).where(users.c.id == user_id))
        attempt, row = self._checked(name[0].name if name else "", password, address)
        self._throttle.succeeded(attempt)
        return row

    def change_password(self, user_id: str, session_id: str, old: str, new: str, address: str) -> None:
        """The user's own; ends his other sessions. Raises AuthenticationRequired, InvalidRequest, RateLimited."""
        row = self.require_password(user_id, old, address)
        if row.external:
            raise Conflict(
                "password_elsewhere",
                zh="您的密码由单位目录保管，请在那里修改。",
                en="Your password is kept by your organisation's directory; change it there.",
            )
        kept = self._passwords.hash(checked_password(new, name=row.name))
        self._set(user_id, kept, but=session_id)

    def choose_password(self, token: str, new: str) -> str:
        """By a one-time link; ends all sessions. Returns the user's name. Raises NotFound (`link_unknown`), InvalidRequest, PermissionRefused."""
        with self._db.read() as connection:
            user_id = spend_link(connection, "password", token, now=self._now, keep=True)
        rows = self._db.rows(select(users.c.name, users.c.disabled).where(users.c.id == user_id))
        if not rows or rows[0].disabled:
            raise _disabled()
        kept = self._passwords.hash(checked_password(new, name=rows[0].name))
        self._set(user_id, kept, link=token)
        return str(rows[0].name)

    def _set(self, user_id: str, kept: str, *, but: str = "", link: str = "") -> None:
        with self._db.write(durable=True) as connection:
            if link:
                spend_link(connection, "password", link, now=self._now)
            connection.execute(update(users).where(users.c.id == user_id).values(password=kept, password_at=utc_now(), must_change=0))
            end_sessions(connection, user_id, but=but)
            self._access.changed(connection)

    def _checked(self, name: str, password: str, address: str) -> tuple[Attempt, Row[Any]]:
        plain = plain_name(name[:LONGEST])
        attempt = self._throttle.begin(plain, address)
        found = self._db.rows(select(users).where(users.c.name == plain)) if plain.isprintable() else []
        row = next((one for one in found if one.name == plain), None)
        if self._elsewhere is not None and (row is None or row.external.startswith("ldap:")):
            row = self._elsewhere(plain, password)
            same = row is not None
        else:
            same = self._passwords.verify(row.password if row is not None else "", password)
        if row is None or not same:
            raise AuthenticationRequired(
                "credentials_wrong",
                zh="用户名或密码不正确。请检查后重试；忘记密码请联系管理员。",
                en="The name or the password is wrong. Check both and try again; who has forgotten his password asks an administrator.",
            )
        return attempt, row

    def _require_code(self, attempt: Attempt, row: Row[Any], code: str) -> None:
        if not code.strip():
            self._throttle.undo(attempt)
            raise AuthenticationRequired(
                "totp_required",
                zh="该账号已开启两步验证。请输入验证器中的 6 位验证码，或一个恢复码。",
                en="This account asks for a one-time code. Enter the six digits of your device, or a recovery code.",
                param="totp",
            )
        if not self._codes.spend(row.id, code):
            raise AuthenticationRequired(
                "totp_wrong",
                zh="验证码不正确、已使用或已过期。请等待下一个验证码后重试，并检查设备时间。",
                en="The code is wrong, used or over. Wait for the next one, and see that the device's clock is right.",
                param="totp",
            )


def _disabled() -> BrainError:
    return PermissionRefused("account_disabled", zh="该账号已停用。请联系管理员。", en="This account is disabled. Ask an administrator.")
