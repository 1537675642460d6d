"""One-time codes of users: begun, confirmed with a first code, spent at sign-in, ended. The secret is kept sealed; a code counts once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row, select, update

from qzbrain.auth import totp
from qzbrain.auth.sealing import Seal
from qzbrain.auth.user_rows import TOTP_BEGUN, TOTP_ON
from qzbrain.errors import Conflict, InvalidRequest
from qzbrain.storage.database import Database
from qzbrain.storage.tables import users

ISSUER = "qzbrain"


class Codes:
    """The second step of signing in."""

    def __init__(self, database: Database, seal: Seal, *, now: Callable[[], float] = time.time) -> None:
        self._db, self._seal, self._now = database, seal, now

    def begin(self, user_id: str, name: str) -> tuple[str, str]:
        """A new secret, and its otpauth address; it is not asked for before `confirm`. Raises Conflict when codes are asked already."""
        secret = totp.new_secret()
        with self._db.write(durable=True) as connection:
            if _row(connection, user_id).totp.startswith(TOTP_ON):
                raise Conflict(
                    "totp_on", zh="两步验证已开启。如要更换设备，请先关闭再开启。", en="One-time codes are on already. To change the device, end them first."
                )
            sealed = TOTP_BEGUN + self._seal.seal(secret, purpose=_purpose(user_id))
            connection.execute(update(users).where(users.c.id == user_id).values(totp=sealed, totp_last=0, recovery=[]))
        return secret, totp.address(secret, name, ISSUER)

    def confirm(self, user_id: str, code: str) -> list[str]:
        """Ask for codes from now on; returns recovery codes, shown this once. Raises InvalidRequest (`totp_wrong`), Conflict."""
        recovery = totp.new_recovery_codes()
        with self._db.write(durable=True) as connection:
            row = _row(connection, user_id)
            if not row.totp.startswith(TOTP_BEGUN):
                raise Conflict("totp_not_begun", zh="请先生成两步验证的密钥，再输入验证码。", en="Ask for a secret first, then confirm it with a code.")
            sealed = row.totp.removeprefix(TOTP_BEGUN)
            step = totp.matching_step(self._seal.open(sealed, purpose=_purpose(user_id)), code, self._now(), after=0)
            if step is None:
                raise InvalidRequest(
                    "totp_wrong",
                    zh="验证码不正确。请确认已把密钥添加到验证器，并检查设备时间。",
                    en="The code is wrong. See that the secret is in your app, and that the device's clock is right.",
                    param="code",
                )
            kept = [totp.recovery_digest(one) for one in recovery]
            connection.execute(update(users).where(users.c.id == user_id).values(totp=TOTP_ON + sealed, totp_last=step, recovery=kept))
        return recovery

    def spend(self, user_id: str, code: str) -> bool:
        """Whether this code, or recovery code, is good; it is not again."""
        with self._db.write(durable=True) as connection:  # one write at a time: two requests cannot spend the same
            row = _row(connection, user_id)
            sealed = row.totp.removeprefix(TOTP_ON)
            step = totp.matching_step(self._seal.open(sealed, purpose=_purpose(user_id)), code, self._now(), after=row.totp_last)
            given = totp.recovery_digest(code)
            if step is not None:
                values: dict[str, Any] = {"totp_last": step}
            elif given in row.recovery:
                values = {"recovery": [one for one in row.recovery if one != given]}
            else:
                return False
            connection.execute(update(users).where(users.c.id == user_id).values(values))
        return True

    def end(self, user_id: str) -> None:
        """Ask for codes no more."""
        with self._db.write(durable=True) as connection:
            connection.execute(update(users).where(users.c.id == user_id).values(totp="", totp_last=0, recovery=[]))


def _row(connection: Connection, user_id: str) -> Row[Any]:
    return connection.execute(select(users).where(users.c.id == user_id)).one()


def _purpose(user_id: str) -> str:
    return f"totp:{user_id}"
