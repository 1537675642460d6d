"""Slots, turns and places over real HTTP and Socket.IO, in one web process and in two that share a Redis; `bench/admission.py` is the same for a minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench import admission
from tests.engine import Engine
from tests.servers.redis_server import RedisServer
from tests.web.web_process import WebProcess, eventually

CLIENTS, SECONDS = 6, 4.0


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with Engine() as running:
        yield running


@pytest.fixture(scope="module", params=[False, pytest.param(True, marks=pytest.mark.servers)], ids=["one", "redis"])
def web(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Iterator[tuple[WebProcess, bool]]:
    """The web process, and whether it is two of them with a Redis."""
    folder: Path = tmp_path_factory.mktemp("admission")
    server = RedisServer(folder / "redis").start() if request.param else None
    settings = {**server.environment, "WEB_WORKERS": "2"} if server is not None else {}
    process = WebProcess(folder, admission.configuration(engine), settings=settings)
    try:
        yield process.start(), request.param
    finally:
        process.stop()
        if server is not None:
            server.stop()


def test_users_take_turns_and_are_told_true_places(web: tuple[WebProcess, bool], engine: Engine) -> None:
    process, redis = web
    engine.script(admission.TEXTS, delay_s=0.02, first_delay_s=0.05)
    began = time.monotonic()
    questions, until = admission.ask_for(process.port, users=3, clients=CLIENTS, seconds=SECONDS)
    told = admission.truth(questions, admission.served_at(engine, began), lag_s=admission.LAG_S[redis])
    assert admission.broken(questions) == []
    assert told.notices > 0
    assert (told.wrong, told.grown, told.overtaken) == (0, 0, 0), told
    shares = admission.shares(questions, until)
    assert len(shares) == 3 and max(shares.values()) - min(shares.values()) < 0.2, shares
    eventually(lambda: admission.load_of(process.call) == (0, 0))


def test_a_user_with_many_clients_gets_no_more_than_one_with_few(web: tuple[WebProcess, bool], engine: Engine) -> None:
    process, _ = web
    hold, slots = threading.Event(), admission.SLOTS
    engine.script(admission.TEXTS, hold=hold, delay_s=0.02)
    questions = [admission.Question(3_000_000 + n, "few" if n >= 16 else "many", "v1") for n in range(18)]
    with ThreadPoolExecutor(len(questions)) as pool:
        asked = []
        for number, one in enumerate(questions, 1):
            asked.append(pool.submit(admission.Asker(process.port, one.via, f"{admission.MODEL}@none").ask, one))
            eventually(lambda n=number: admission.load_of(process.call) == (min(n, slots), max(0, n - slots)))
        began = time.monotonic()
        hold.set()
        answered = [one.result() for one in asked]
    assert admission.broken(answered) == []
    served = admission.served_at(engine, began)  # after the first four: many, few, many, few, and the rest of the many
    order = sorted((number for number in served), key=served.__getitem__)
    assert max(order.index(number) for number in (3_000_016, 3_000_017)) < 4 + slots
    eventually(lambda: admission.load_of(process.call) == (0, 0))


def test_clients_that_leave_at_any_stage_leave_no_slot_behind(web: tuple[WebProcess, bool], engine: Engine) -> None:
    process, _ = web
    engine.script(admission.TEXTS, delay_s=0.02, first_delay_s=0.1)
    left = admission.leave(process.port, number=40, clients=12)
    assert admission.broken(left) == []
    assert sum(one.left for one in left) > 20
    eventually(lambda: admission.load_of(process.call) == (0, 0) and engine.active == 0, within_s=30)
    assert admission.full_load_runs(process.port, engine, process.call)
    eventually(lambda: admission.load_of(process.call) == (0, 0))
