"""Sessions: idle and absolute limits, tokens that are replaced, and what ends them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select

from qzbrain.auth.sessions import Sessions
from qzbrain.brain import Brain
from qzbrain.storage.tables import sessions
from tests.auth.conftest import Clock


@pytest.fixture
def kept(accounts_brain: Brain, clock: Clock) -> Sessions:
    return Sessions(accounts_brain.db, accounts_brain.settings, now=clock)


def test_nothing_in_the_database_opens_a_session(kept: Sessions, new, accounts_brain: Brain) -> None:
    token = kept.open(new("ann").id, address="::1", agent="test")
    (row,) = accounts_brain.db.rows(select(sessions))
    assert token not in row
    assert kept.caller(row.token, "zh", "") is None
    found = kept.caller(token, "zh", "::1")
    assert found is not None
    assert found.name == "ann"


def test_a_session_ends_when_nobody_uses_it(kept: Sessions, new, clock: Clock) -> None:
    who = new("ann")
    token = kept.open(who.id, address="", agent="")
    for _ in range(3):
        clock.now += 479 * 60
        if clock.now < 1_800_000_000 + 24 * 3600:
            found = kept.caller(token, "zh", "")
            assert found is not None
    clock.now += 481 * 60
    assert kept.caller(token, "zh", "") is None
    assert kept.alive([found.session_id]) == set()
    assert kept.of(who.id) == []


def test_a_session_ends_a_day_after_sign_in_however_it_is_used(kept: Sessions, new, clock: Clock) -> None:
    token = kept.open(new("ann").id, address="", agent="")
    for _ in range(23):
        clock.now += 3600
        found = kept.caller(token, "zh", "")
        assert found is not None
        kept.used(found.session_id)
    clock.now += 3601
    assert kept.caller(token, "zh", "") is None
    assert kept.alive([found.session_id]) == set()


def test_a_token_is_replaced_once_though_two_requests_come_together(kept: Sessions, new, clock: Clock) -> None:
    token = kept.open(new("ann").id, address="", agent="")
    assert kept.rotated(token) is None
    clock.now += 901
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda _: kept.rotated(token), range(8)))
    fresh = [one for one in given if one is not None]
    assert len(fresh) == 1
    assert kept.caller(token, "zh", "") is not None  # requests under way
    assert kept.caller(fresh[0], "zh", "") is not None
    assert kept.rotated(token) is None
    clock.now += 61
    assert kept.caller(token, "zh", "") is None
    assert kept.caller(fresh[0], "zh", "") is not None


def test_ending_sessions(kept: Sessions, new) -> None:
    who, other = new("ann"), new("bob")
    first, second, foreign = (kept.open(one.id, address="", agent="") for one in (who, who, other))
    ids = {token: kept.caller(token, "zh", "").session_id for token in (first, second, foreign)}  # type: ignore[union-attr]
    assert kept.alive(list(ids.values())) == set(ids.values())
    assert kept.close_all(who.id, but=ids[second]) == 1
    assert kept.alive(list(ids.values())) == {ids[second], ids[foreign]}
    kept.close(ids[second])
    assert kept.caller(second, "zh", "") is None
    assert kept.caller(foreign, "zh", "") is not None
