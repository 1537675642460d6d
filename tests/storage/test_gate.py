"""Slots and queue of a model: bounded, users in turn, always given back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from qzbrain.domain import Queued
from qzbrain.errors import Cancelled, EngineUnavailable, RateLimited
from qzbrain.models.base import Cancellation
from qzbrain.storage.gate import Gate, Load, Ticket


def eventually(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_a_free_slot_is_given_at_once() -> None:
    gate = Gate("m", slots=2, queue=0)
    first = gate.enter("a")
    assert list(first.wait(Cancellation(), 1)) == []
    gate.enter("a")
    with pytest.raises(RateLimited) as failure:
        gate.enter("a")
    assert failure.value.retry_after_s and failure.value.status == 429
    first.release()
    first.release()
    assert gate.load() == Load(1, 0)
    assert gate.enter("b").admitted


def test_users_take_turns() -> None:
    gate = Gate("m", slots=1, queue=10)
    running = gate.enter("x")
    waiting = [gate.enter(user) for user in ("a", "a", "a", "b", "c")]
    assert [gate.position(ticket) for ticket in waiting] == [1, 4, 5, 2, 3]
    order: list[int] = []
    current: Ticket = running
    for _ in waiting:
        current.release()
        current = next(ticket for i, ticket in enumerate(waiting) if ticket.admitted and i not in order)
        order.append(waiting.index(current))
    assert order == [0, 3, 4, 1, 2]


def test_who_waits_hears_of_his_place_and_is_admitted() -> None:
    gate = Gate("m", slots=1, queue=10)
    first, second = gate.enter("a"), gate.enter("b")
    heard: list[Queued] = []
    thread = threading.Thread(target=lambda: heard.extend(second.wait(Cancellation(), 10)))
    thread.start()
    eventually(lambda: second.ready is not None)
    first.release()
    thread.join(10)
    assert second.admitted
    assert [x.position for x in heard] in ([1], [])


def test_a_place_is_never_told_worse_when_others_take_their_turn_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qzbrain.storage.gate.NEWS_EVERY_S", 0.01)
    gate = Gate("m", slots=1, queue=10)
    running, first, second = (gate.enter("a") for _ in range(3))
    events = second.wait(Cancellation(), 10)
    assert next(events).position == 2
    other = gate.enter("b")
    assert gate.position(second) == 3

    def go_on() -> None:
        running.release()
        first.release()  # b is served now
        other.release()

    threading.Timer(0.2, go_on).start()
    assert [event.position for event in events] in ([1], [])
    assert second.admitted


def test_cancelling_while_waiting_frees_the_place() -> None:
    gate = Gate("m", slots=1, queue=1)
    gate.enter("a")
    cancellation = Cancellation()
    events = gate.enter("b").wait(cancellation, 10)
    assert next(events) == Queued(1, None)
    threading.Timer(0.05, cancellation.cancel).start()
    with pytest.raises(Cancelled):
        next(events)
    assert gate.load() == Load(1, 0)


def test_leaving_the_wait_frees_the_place() -> None:
    gate = Gate("m", slots=1, queue=1)
    gate.enter("a")
    events = gate.enter("b").wait(Cancellation(), 10)
    next(events)
    events.close()
    assert gate.load() == Load(1, 0)


def test_waiting_too_long_ends() -> None:
    gate = Gate("m", slots=1, queue=1)
    gate.enter("a")
    with pytest.raises(EngineUnavailable) as failure:
        list(gate.enter("b").wait(Cancellation(), 0.05))
    assert failure.value.code == "queue_timeout"
    assert gate.load() == Load(1, 0)


def test_the_wait_is_estimated_from_past_answers() -> None:
    gate = Gate("m", slots=2, queue=5)
    ticket = gate.enter("a")
    ticket.admitted_at -= 10
    ticket.release()
    assert gate.eta_s(2) == pytest.approx(10, abs=0.5)


def test_many_at_once_never_exceed_the_slots() -> None:
    gate, most, lock, done = Gate("m", slots=3, queue=100), [0], threading.Lock(), []

    def one(user: str) -> None:
        ticket = gate.enter(user)
        list(ticket.wait(Cancellation(), 20))
        with lock:
            most[0] = max(most[0], gate.load().in_use)
        time.sleep(0.002)
        ticket.release()
        done.append(user)

    threads = [threading.Thread(target=one, args=(f"u{i % 4}",)) for i in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert (len(done), most[0], gate.load()) == (40, 3, Load(0, 0))
