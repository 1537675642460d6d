"""Slows guessing down: after some wrong attempts for a name, or from an address, the next must wait, longer each time, but never for ever.

Kept in SQL, so that it holds for all processes together. An attempt is counted before it is looked at: a thousand at once are not a thousand guesses.
Names that exist and names that do not are counted alike.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from qzbrain.errors import RateLimited
from qzbrain.storage.database import Database
from qzbrain.storage.tables import login_failures

FORGOTTEN_AFTER_S = 3600.0


@dataclass(frozen=True, slots=True)
class Patience:
    """So many attempts are free; then the wait is 1, 2, 4… seconds, at most `longest_s`."""

    free: int
    longest_s: float

    def wait_s(self, failures: int) -> float:
        """How long after so many failures the next attempt is refused."""
        beyond = failures - self.free
        return 0.0 if beyond < 0 else min(2.0 ** min(beyond, 30), self.longest_s)


BY_NAME = Patience(free=5, longest_s=60.0)
BY_ADDRESS = Patience(free=100, longest_s=900.0)
"""Many people may share an address, and come at the same moment; and who guesses at a name must not keep its owner out, so that wait is short."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One that was counted; which it was."""

    name: str
    address: str


class Throttle:
    """Counts attempts to sign in."""

    def __init__(self, database: Database, *, now: Callable[[], float] = time.time) -> None:
        self._db, self._now = database, now

    def begin(self, name: str, address: str) -> Attempt:
        """Count an attempt that is about to be looked at. Raises RateLimited while it must wait."""
        attempt = Attempt(_subject("name", name), _subject("address", address))
        now = self._now()
        with self._db.write() as connection:
            connection.execute(delete(login_failures).where(login_failures.c.last_at < now - FORGOTTEN_AFTER_S))
            there = select(login_failures).where(login_failures.c.subject.in_((attempt.name, attempt.address)))
            found = {row.subject: row for row in connection.execute(there)}
            until = max((row.until for row in found.values()), default=0.0)
            if until <= now:
                for subject, patience in ((attempt.name, BY_NAME), (attempt.address, BY_ADDRESS)):
                    failures = 1 + (found[subject].failures if subject in found else 0)
                    _count(connection, subject, failures, now, now + patience.wait_s(failures), known=subject in found)
        if until > now:
            raise _must_wait(math.ceil(until - now))
        return attempt

    def undo(self, attempt: Attempt) -> None:
        """It was no guess: as if it had not been counted."""
        self._less((attempt.name, attempt.address))

    def succeeded(self, attempt: Attempt) -> None:
        """It was right: the name starts anew. What came from its address before stays counted, else guesses would be hidden between good sign-ins."""
        with self._db.write() as connection:
            connection.execute(delete(login_failures).where(login_failures.c.subject == attempt.name))
        self._less((attempt.address,))

    def _less(self, subjects: Sequence[str]) -> None:
        with self._db.write() as connection:
            change = update(login_failures).where(login_failures.c.subject.in_(subjects), login_failures.c.failures > 0)
            connection.execute(change.values(failures=login_failures.c.failures - 1, until=0.0))


def _count(connection: Connection, subject: str, failures: int, now: float, until: float, *, known: bool) -> None:
    values = {"failures": failures, "last_at": now, "until": until}
    if known:
        connection.execute(update(login_failures).where(login_failures.c.subject == subject).values(values))
    else:
        connection.execute(insert(login_failures), {"subject": subject, **values})


def _subject(kind: str, value: str) -> str:
    return hashlib.sha256(f"{kind}:{value}".encode("utf-8", "surrogatepass")).hexdigest()


def _must_wait(seconds: int) -> RateLimited:
    return RateLimited(
        "too_many_attempts",
        zh=f"尝试次数过多，请在 {seconds} 秒后重试。忘记密码时，请管理员提供一次性密码链接。",
        en=f"Too many attempts; try again in {seconds} s. Who has forgotten his password asks an administrator for a one-time password link.",
        retry_after_s=seconds,
    )
