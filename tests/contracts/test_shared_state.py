"""What every shared state promises (see qzbrain/storage/shared.py). A new one adds its harness to STATES; the tests stay as they are.

Each test has two states of one brain, as two web processes have them; the in-process one is both.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from qzbrain.domain import Queued, new_id
from qzbrain.errors import Cancelled, EngineUnavailable, RateLimited
from qzbrain.models.base import Cancellation
from qzbrain.settings import Settings
from qzbrain.storage.gate import Gate, Load, Ticket
from qzbrain.storage.local_state import LocalState
from qzbrain.storage.shared import News, SharedState
from tests.servers.redis_server import RedisServer

Pair = tuple[SharedState, SharedState]


@contextmanager
def local(_server: Any) -> Iterator[Pair]:
    """One process is alone."""
    state = LocalState()
    yield state, state
    state.close()


@contextmanager
def in_redis(server: Callable[[], RedisServer]) -> Iterator[Pair]:
    """Two processes with a connection each."""
    from qzbrain.storage.redis_state import RedisState

    settings = Settings(**server().settings)
    states = RedisState(settings), RedisState(settings)
    yield states
    for state in states:
        state.close()


STATES: dict[str, Callable[[Any], Any]] = {"local": local, "redis": in_redis}


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], RedisServer]]:
    """Started when it is first needed."""
    started: list[RedisServer] = []

    def get() -> RedisServer:
        if not started:
            folder: Path = tmp_path_factory.mktemp("redis")
            started.append(RedisServer(folder).start())
        return started[0]

    yield get
    for one in started:
        one.stop()


@pytest.fixture
def rarely(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looks by himself; only what is told is heard."""
    from qzbrain.storage import gate, redis_state

    for module in (gate, redis_state):
        monkeypatch.setattr(module, "NEWS_EVERY_S", 60.0)


@pytest.fixture(params=["local", pytest.param("redis", marks=pytest.mark.servers)])
def states(request: pytest.FixtureRequest, redis_server: Callable[[], RedisServer]) -> Iterator[Pair]:
    with STATES[request.param](redis_server) as pair:
        yield pair


@pytest.fixture
def gates(states: Pair) -> Callable[..., tuple[Gate, Gate]]:
    """Makes the gate of one model, as both processes see it."""
    name = f"m-{new_id()}"

    def make(*, slots: int, queue: int) -> tuple[Gate, Gate]:
        one, other = (state.gate(name, slots=slots, queue=queue) for state in states)
        return one, other

    return make


def eventually(true: Callable[[], Any], *, within_s: float = 10) -> Any:
    end = time.monotonic() + within_s
    while not (value := true()):
        assert time.monotonic() < end
        time.sleep(0.002)
    return value


class TestSharedState:
    def test_free_slots_are_given_at_once_and_then_nothing(self, gates: Any) -> None:
        one, other = gates(slots=2, queue=0)
        first = one.enter("a")
        assert list(first.wait(Cancellation(), 1)) == []
        assert other.enter("a").admitted
        for gate in (one, other):
            with pytest.raises(RateLimited) as failure:
                gate.enter("a")
            assert failure.value.retry_after_s and failure.value.status == 429
        first.release()
        first.release()
        assert one.load() == other.load() == Load(1, 0)
        assert other.enter("b").admitted

    def test_users_take_turns_wherever_they_ask(self, gates: Any) -> None:
        one, other = gates(slots=1, queue=10)
        current: Ticket = one.enter("x")
        waiting = [(gate, gate.enter(user)) for gate, user in ((one, "a"), (one, "a"), (other, "a"), (other, "b"), (one, "c"))]
        eventually(lambda: [gate.position(ticket) for gate, ticket in waiting] == [1, 4, 5, 2, 3])
        order: list[int] = []
        for _ in waiting:
            current.release()
            order.append(eventually(lambda: [i for i, (_, ticket) in enumerate(waiting) if ticket.admitted and i not in order])[0])
            current = waiting[order[-1]][1]
        assert order == [0, 3, 4, 1, 2]
        current.release()
        assert other.load() == Load(0, 0)

    def test_who_waits_hears_of_his_place_and_is_admitted(self, gates: Any) -> None:
        one, other = gates(slots=1, queue=10)
        first, between, last = one.enter("a"), one.enter("b"), other.enter("c")
        heard: list[Queued] = []
        thread = threading.Thread(target=lambda: heard.extend(last.wait(Cancellation(), 10)))
        thread.start()
        eventually(lambda: heard)
        between.release()
        eventually(lambda: len(heard) > 1)
        first.release()
        thread.join(10)
        assert last.admitted
        assert [x.position for x in heard] == [2, 1]

    def test_who_is_admitted_is_told_wherever_he_waits(self, rarely: None, gates: Any) -> None:
        one, other = gates(slots=1, queue=10)
        first, here, there = one.enter("a"), one.enter("b"), other.enter("c")
        began = time.monotonic()
        first.release()
        list(here.wait(Cancellation(), 20))
        here.release()
        list(there.wait(Cancellation(), 20))
        assert time.monotonic() - began < 10
        there.release()

    def test_the_queue_is_bounded_over_all(self, gates: Any) -> None:
        one, other = gates(slots=1, queue=2)
        held, places = one.enter("a"), [one.enter("a"), other.enter("b")]
        for gate in (one, other):
            with pytest.raises(RateLimited):
                gate.enter("c")
        places[1].release()
        assert not one.enter("c").admitted
        assert other.load() == Load(1, 2)
        held.release()

    def test_a_stop_or_leaving_or_a_time_out_frees_the_place(self, gates: Any) -> None:
        one, other = gates(slots=1, queue=1)
        one.enter("a")
        cancellation = Cancellation()
        events = other.enter("b").wait(cancellation, 10)
        assert next(events) == Queued(1, None)
        threading.Timer(0.05, cancellation.cancel).start()
        with pytest.raises(Cancelled):
            next(events)
        events = one.enter("b").wait(Cancellation(), 10)
        next(events)
        events.close()
        with pytest.raises(EngineUnavailable) as failure:
            list(other.enter("b").wait(Cancellation(), 0.05))
        assert failure.value.code == "queue_timeout"
        assert one.load() == other.load() == Load(1, 0)

    def test_many_at_once_never_exceed_the_slots_and_none_is_lost_by_stops(self, gates: Any, states: Pair) -> None:
        both = gates(slots=3, queue=100)
        lock, inside, most, ended = threading.Lock(), [0], [0], []
        chance = random.Random(7)
        plans = [(chance.choice(both), chance.random() < 0.4, chance.random() * 0.02) for _ in range(80)]

        def one(number: int) -> None:
            gate, stops, pause_s = plans[number]
            ticket, cancellation = gate.enter(f"u{number % 5}"), Cancellation()
            timer = threading.Timer(pause_s, cancellation.cancel)
            if stops:
                timer.start()
            try:
                for _ in ticket.wait(cancellation, 30):
                    pass
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                time.sleep(0.002)
                with lock:
                    inside[0] -= 1
            except Cancelled:
                pass
            finally:
                ticket.release()
            ended.append(number)

        threads = [threading.Thread(target=one, args=(number,)) for number in range(80)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert (len(ended), most[0]) == (80, 3)
        assert both[0].load() == both[1].load() == Load(0, 0)
        tickets = [both[0].enter("x") for _ in range(3)]
        assert all(ticket.admitted for ticket in tickets)

    def test_sixty_clients_of_three_users_on_four_slots_share_them_evenly(self, gates: Any) -> None:
        """Each client asks again when it has been answered; 200 times one that waits or is being answered disappears instead."""
        both, chance = gates(slots=4, queue=60), random.Random(11)
        tickets: list[tuple[str, Gate, Ticket]] = []
        served = {"few": 0, "some": 0, "many": 0}

        def ask(user: str) -> None:
            gate = chance.choice(both)
            tickets.append((user, gate, gate.enter(user)))

        def leave(one: tuple[str, Gate, Ticket]) -> None:
            tickets.remove(one)
            one[2].release()
            ask(one[0])

        for user in ["few"] * 10 + ["some"] * 20 + ["many"] * 30:
            ask(user)
        eventually(lambda: sorted(gate.position(x) for _, gate, x in tickets if not x.admitted) == list(range(1, 57)))
        first = next(one for one in tickets if not one[2].admitted and one[1].position(one[2]) == 1)
        leave(next(one for one in tickets if one[2].admitted))
        eventually(lambda: first[2].admitted)
        for turn in range(600):
            answered = eventually(lambda: [one for one in tickets if one[2].admitted] if both[0].load() == Load(4, 56) else [])[0]
            served[answered[0]] += 1
            leave(answered)
            if turn % 3 == 0:
                leave(chance.choice(tickets))
        assert all(abs(count - 200) <= 20 for count in served.values()), served
        for _, _, ticket in tickets:
            ticket.release()
        eventually(lambda: both[0].load() == both[1].load() == Load(0, 0))

    def test_the_wait_is_estimated_from_past_answers(self, gates: Any) -> None:
        one, other = gates(slots=1, queue=5)
        ticket = one.enter("a")
        ticket.admitted_at -= 10
        ticket.release()
        held, waiting = other.enter("a"), other.enter("b")
        assert next(waiting.wait(Cancellation(), 5)) == Queued(1, pytest.approx(10, abs=0.5))
        held.release()

    def test_each_model_has_its_own_gate(self, states: Pair) -> None:
        one, other = states
        name, unused = f"m-{new_id()}", f"n-{new_id()}"
        assert one.load(name) == other.load(name) == Load(0, 0)
        assert one.gate(name, slots=1, queue=1) is one.gate(name, slots=1, queue=1)
        one.gate(name, slots=1, queue=1).enter("a")
        assert (other.load(name), other.load(unused)) == (Load(1, 0), Load(0, 0))

    def test_a_rate_is_limited_over_all_within_any_window(self, states: Pair) -> None:
        one, other = states
        key, window_s = new_id(), 0.6
        began = time.monotonic()
        assert [state.take(key, limit=3, window_s=window_s) for state in (one, other, one)] == [0, 0, 0]
        for state in (one, other, one):  # what is refused does not count
            assert 0 < state.take(key, limit=3, window_s=window_s) <= window_s
        assert other.take(new_id(), limit=3, window_s=window_s) == 0
        eventually(lambda: other.take(key, limit=3, window_s=window_s) == 0)
        assert window_s - 0.01 < time.monotonic() - began < window_s + 2

    def test_news_reach_all_and_no_closed_subscriber(self, states: Pair) -> None:
        one, other = states
        heard: dict[str, list[News]] = {"one": [], "other": [], "closed": []}
        one.subscribe(heard["one"].append)
        other.subscribe(heard["other"].append)
        leave = other.subscribe(heard["closed"].append)
        first, second = News("stop", message_id=new_id()), News("ended", message_id=new_id(), conversation_id="c")
        eventually(lambda: one.publish(first) or all(heard.values()))  # a connection that is just being made may miss some
        leave()
        known = len(heard["closed"])
        one.publish(second)
        eventually(lambda: second in heard["one"] and second in heard["other"])
        assert len(heard["closed"]) == known
        assert second not in heard["closed"]
