"""Shared state on a real Redis that is killed, emptied, frozen or refuses; and processes that die with what they held."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from qzbrain.domain import new_id
from qzbrain.errors import Cancelled, RateLimited, Unavailable
from qzbrain.models.base import Cancellation
from qzbrain.settings import Settings
from qzbrain.storage import redis_gate, redis_link
from qzbrain.storage.gate import Load
from qzbrain.storage.redis_state import RedisState
from qzbrain.storage.shared import News
from tests.running import ROOT, stop_still, wait_for
from tests.servers.redis_server import RedisServer

pytestmark = pytest.mark.servers

CHILD = """
import sys, threading
from qzbrain.settings import Settings
from qzbrain.storage import redis_gate
redis_gate.LEASE_S = 2.0
from qzbrain.storage.redis_state import RedisState
state = RedisState(Settings(redis_host="127.0.0.1", redis_port=int(sys.argv[1]), redis_password=sys.argv[2]))
gate = state.gate(sys.argv[3], slots=2, queue=5)
tickets = [gate.enter("child") for _ in range(4)]
print(sum(x.admitted for x in tickets), flush=True)
threading.Event().wait()
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    running = RedisServer(tmp_path / "redis").start()
    yield running
    if running.process is not None:
        running.process.send_signal(signal.SIGCONT)
    running.stop()


@pytest.fixture
def make(server: RedisServer) -> Iterator[Callable[..., RedisState]]:
    made: list[RedisState] = []

    def one(**settings: Any) -> RedisState:
        made.append(RedisState(Settings(**{**server.settings, **settings})))
        return made[-1]

    yield one
    for state in made:
        state.close()


class Said:
    """What is logged, in the place of the logger."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def warning(self, event: str, **_fields: object) -> None:
        self.events.append(event)

    info = exception = warning


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Said:
    recorder = Said()
    monkeypatch.setattr(redis_link, "log", recorder)
    return recorder


def raw(server: RedisServer) -> Any:
    return redis.Redis(port=server.port, password=server.password)


def test_what_a_killed_process_held_is_free_again(server: RedisServer, make: Any) -> None:
    name, state = f"m-{new_id()}", make()
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(server.port), server.password, name], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stdout.readline() == b"2\n"
    mine = state.gate(name, slots=2, queue=5).enter("me")
    assert not mine.admitted
    assert state.load(name) == Load(2, 3)
    time.sleep(2.5)  # longer than its lease: a living process extends it
    assert state.load(name) == Load(2, 3)
    child.kill()
    child.wait()
    list(mine.wait(Cancellation(), 10))
    assert mine.admitted
    wait_for(lambda: state.load(name) == Load(1, 0), "its places are free too", 10)
    assert redis_gate.LEASE_S < 15


def test_without_redis_each_goes_on_alone_and_they_agree_again_when_it_is_back(server: RedisServer, make: Any) -> None:
    name, one, other = f"m-{new_id()}", make(), make()
    held, waiting = one.gate(name, slots=1, queue=2).enter("a"), other.gate(name, slots=1, queue=2).enter("b")
    assert (held.admitted, waiting.admitted) == (True, False)
    server.kill()
    list(waiting.wait(Cancellation(), 10))  # nobody else holds a slot as far as this process knows
    late = one.gate(name, slots=1, queue=2).enter("c")
    assert not late.admitted  # this process knows its own
    with pytest.raises(Unavailable) as failure:
        one.publish(News("stop", message_id="x"))
    assert failure.value.retry_after_s
    assert one.take("k", limit=1, window_s=60) == 0
    assert one.take("k", limit=1, window_s=60) > 0
    server.start()
    wait_for(lambda: one.load(name) == other.load(name) == Load(2, 1), "Redis knows what goes on", 10)
    held.release()
    assert not late.admitted  # the other one's answer goes on, and there is one slot
    waiting.release()
    list(late.wait(Cancellation(), 10))
    late.release()
    assert other.load(name) == Load(0, 0)
    heard: list[News] = []
    other.subscribe(heard.append)
    wait_for(lambda: one.publish(News("ended", message_id="x")) or heard, "news again", 10)


def test_a_redis_that_was_emptied_learns_again_who_holds_and_who_waits(server: RedisServer, make: Any) -> None:
    name, one, other = f"m-{new_id()}", make(), make()
    gates = [state.gate(name, slots=1, queue=5) for state in (one, other)]
    held = gates[0].enter("a")
    waiting = [gates[0].enter("b"), gates[0].enter("b"), gates[1].enter("c")]
    raw(server).flushall()
    wait_for(lambda: one.load(name) == Load(1, 3), "all are known again", 10)
    assert not any(ticket.admitted for ticket in waiting)
    for _ in range(3):
        held.release()
        held = wait_for(lambda: next((ticket for ticket in waiting if ticket.admitted and not ticket.over), None), "the next one", 10)
    held.release()
    assert one.load(name) == other.load(name) == Load(0, 0)


def test_a_redis_that_hangs_costs_two_seconds_once(server: RedisServer, make: Any) -> None:
    name, state = f"m-{new_id()}", make()
    state.gate(name, slots=9, queue=0).enter("a")
    assert server.process is not None
    stop_still(server.process.pid)
    began = time.monotonic()
    assert state.gate(name, slots=9, queue=0).enter("a").admitted
    assert time.monotonic() - began < 3.5
    began = time.monotonic()
    for _ in range(5):
        state.gate(name, slots=9, queue=0).enter("a")
    assert time.monotonic() - began < 1.9, "none of them waited again"
    server.process.send_signal(signal.SIGCONT)
    wait_for(lambda: raw(server).zcard(f"qzbrain:production:0:gate:{name}:held") == 7, "agreed again", 10)


def test_a_rush_waits_its_turn_and_does_not_wait_for_a_redis_that_hangs(server: RedisServer, make: Any, said: Said) -> None:
    name, state = f"m-{new_id()}", make()
    gate = state.gate(name, slots=400, queue=0)

    def rush() -> float:
        threads = [threading.Thread(target=gate.enter, args=("a",)) for _ in range(200)]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.monotonic() - began

    rush()
    assert state.load(name) == Load(200, 0)
    assert said.events == []
    assert server.process is not None
    stop_still(server.process.pid)
    assert rush() < 4.5
    assert said.events == ["redis_away"]
    server.process.send_signal(signal.SIGCONT)
    wait_for(lambda: state.connected and state.load(name) == Load(400, 0), "agreed again", 10)


def test_a_redis_that_refuses_is_said_once_and_the_brain_goes_on(server: RedisServer, make: Any, said: Said) -> None:
    state = make(redis_password="wrong")
    gate = state.gate("m", slots=1, queue=0)
    ticket = gate.enter("a")
    assert ticket.admitted
    with pytest.raises(RateLimited):
        gate.enter("b")
    wait_for(lambda: not state.connected, "noticed", 5)
    time.sleep(2.2)  # two more tries
    assert said.events == ["redis_away"]


def test_a_redis_that_does_not_let_us_listen_is_no_redis(server: RedisServer, make: Any, said: Said) -> None:
    raw(server).execute_command("ACL", "SETUSER", "default", "-subscribe")
    state = make()
    wait_for(lambda: not state.connected, "noticed", 5)
    time.sleep(2.2)
    assert said.events == ["redis_away"]
    assert state.gate("m", slots=1, queue=0).enter("a").admitted
    raw(server).execute_command("ACL", "SETUSER", "default", "+subscribe")
    wait_for(lambda: state.connected and state.load("m") == Load(1, 0), "agreed", 10)


def test_the_rights_that_the_documentation_names_are_enough(server: RedisServer, make: Any) -> None:
    rights = re.search(r"^    ACL SETUSER (default .*)$", (ROOT / "docs" / "several_workers.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert rights
    raw(server).execute_command("ACL", "SETUSER", *rights.group(1).split())
    name, one, other = f"m-{new_id()}", make(), make()
    held, waiting = one.gate(name, slots=1, queue=1).enter("a"), other.gate(name, slots=1, queue=1).enter("b")
    held.release()
    list(waiting.wait(Cancellation(), 5))
    assert one.take("k", limit=1, window_s=60) == 0
    assert other.take("k", limit=1, window_s=60) > 0
    heard: list[News] = []
    other.subscribe(heard.append)
    wait_for(lambda: one.publish(News("stop", message_id="x")) or heard, "heard", 10)
    time.sleep(1.2)  # one round of leases
    assert one.connected and other.connected


def test_a_redis_that_only_reads_counts_as_away_until_it_writes_again(server: RedisServer, make: Any) -> None:
    name, state = f"m-{new_id()}", make()
    gate = state.gate(name, slots=1, queue=5)
    gate.enter("a")
    raw(server).replicaof("127.0.0.1", "1")
    gate.enter("b")
    wait_for(lambda: not state.connected, "noticed", 5)
    assert gate.position(gate.enter("c")) == 2
    raw(server).replicaof("no", "one")
    wait_for(lambda: state.load(name) == Load(1, 2), "agreed again", 10)


def test_one_subscriber_that_fails_does_not_end_the_listening(make: Any) -> None:
    one, other = make(), make()
    heard: list[News] = []
    one.subscribe(lambda _news: 1 / 0)
    leave = one.subscribe(heard.append)
    leave()
    other.subscribe(heard.append)
    wait_for(lambda: one.publish(News("stop", message_id="x")) or heard, "heard", 10)
    gate = one.gate(f"m-{new_id()}", slots=1, queue=1)
    held, waiting = gate.enter("a"), gate.enter("b")
    held.release()
    list(waiting.wait(Cancellation(), 0.5))


def test_brains_in_other_databases_of_one_redis_do_not_meet(make: Any) -> None:
    one, other, test = make(), make(redis_db=3), make(qzbrain_env="test")
    heard: list[News] = []
    for state in (other, test):
        state.subscribe(heard.append)
        state.gate("m", slots=1, queue=0).enter("a")
    assert one.gate("m", slots=1, queue=0).enter("a").admitted
    own: list[News] = []
    one.subscribe(own.append)
    wait_for(lambda: one.publish(News("stop", message_id="x")) or own, "heard", 10)
    assert heard == []


def test_redis_dying_again_and_again_leaves_no_slot_taken_and_nobody_waiting(server: RedisServer, make: Any) -> None:
    name, states, end, served = f"m-{new_id()}", (make(), make()), threading.Event(), [0] * 16

    def asker(number: int) -> None:
        gate, chance = states[number % 2].gate(name, slots=3, queue=50), random.Random(number)
        while not end.is_set():
            ticket, cancellation = gate.enter(f"u{number % 5}"), Cancellation()
            if chance.random() < 0.3:
                threading.Timer(chance.random() * 0.05, cancellation.cancel).start()
            try:
                for _ in ticket.wait(cancellation, 20):
                    pass
                time.sleep(chance.random() * 0.02)
                served[number] += 1
            except Cancelled:
                pass
            finally:
                ticket.release()

    threads = [threading.Thread(target=asker, args=(number,)) for number in range(len(served))]
    for thread in threads:
        thread.start()
    for _ in range(2):
        known = sum(served)
        wait_for(lambda: sum(served) > known + 20, "answers", 10)  # noqa: B023
        server.kill()
        known = sum(served)
        wait_for(lambda: sum(served) > known + 20, "answers without Redis", 10)  # noqa: B023
        server.start()
        wait_for(lambda: all(state.connected for state in states), "Redis is used again", 10)
    end.set()
    for thread in threads:
        thread.join(20)
    assert not any(thread.is_alive() for thread in threads)
    wait_for(lambda: [state.load(name) for state in states] == [Load(0, 0)] * 2, "all is free", redis_gate.LEASE_S + 2)
