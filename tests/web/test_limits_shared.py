"""Bounds of a user hold over all web processes together, by Redis."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from qzbrain.brain import Brain
from qzbrain.chat.places import Places
from qzbrain.domain import Caller
from qzbrain.errors import RateLimited
from qzbrain.settings import Settings
from qzbrain.storage.redis_state import RedisState
from qzbrain.web.limits import Limits
from tests.running import wait_for
from tests.servers.redis_server import RedisServer

pytestmark = pytest.mark.servers


def test_two_processes_count_together(tmp_path_factory: pytest.TempPathFactory, make_settings: Callable[..., Settings]) -> None:
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    given: dict[str, Any] = {name.lower(): value for name, value in server.environment.items()}
    settings = make_settings(requests_per_minute=5, **given)
    states = [RedisState(settings) for _ in range(2)]
    try:
        wait_for(lambda: all(state.connected for state in states), "connected")
        who, other = Caller("a", "a"), Caller("b", "b")
        limits = [Limits(cast(Brain, SimpleNamespace(settings=settings, shared=state))) for state in states]
        for i in range(5):
            limits[i % 2].require(who)
        for one in limits:
            with pytest.raises(RateLimited):
                one.require(who)
            one.require(other)
        places = [Places(state, most=2) for state in states]
        held = [one.take(who) for one in places]
        for one in places:
            with pytest.raises(RateLimited, match="too_many_answers"):
                one.take(who)
            one.take(other)()
        held[0]()
        again = places[1].take(who)  # what the other process gave back
        with pytest.raises(RateLimited):
            places[0].take(who)
        again()
        held[1]()
    finally:
        for state in states:
            state.close()
        server.stop()
