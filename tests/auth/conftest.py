"""A brain with accounts, cheap passwords, and a clock that tests turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from qzbrain.auth.passwords import Cost, Passwords
from qzbrain.brain import Brain, build
from qzbrain.domain import Caller, Level, Role
from qzbrain.settings import Settings

GOOD = "vier graue Kraniche"
CHEAP = Cost(memory_kib=64, passes=1)


class Clock:
    """Seconds since 1970, as long as nobody turns it."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts_brain(make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> Iterator[Brain]:
    """With accounts on and nobody in it."""
    monkeypatch.setattr("qzbrain.auth.accounts.Passwords", lambda: Passwords(CHEAP))
    made = build(make_settings(qzbrain_accounts="on"))
    yield made
    made.close()


@pytest.fixture
def new(accounts_brain: Brain) -> Callable[..., Caller]:
    """Makes a user with the password GOOD, as who is at the server's command line; gives him as a caller."""

    def make(name: str, role: Role = "reader", clearance: Level = "internal", **given: object) -> Caller:
        local = accounts_brain.access.local_caller()
        made = accounts_brain.accounts.users.create(local, name=name, password=GOOD, role=role, clearance=clearance, **given)  # type: ignore[arg-type]
        return Caller(made.id, made.username)

    return make
