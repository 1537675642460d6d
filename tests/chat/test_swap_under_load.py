"""Questions that come while models are swapped, stopped, or break: none fails, each says which model answered."""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from qzbrain.brain import Brain, build
from qzbrain.chat.plan import Ask
from qzbrain.domain import Answer
from qzbrain.models.engines import keeper
from qzbrain.models.engines.manager import Manager, manager_lock
from qzbrain.models.engines.wishes import Swap, WishStore
from qzbrain.settings import Settings
from tests.chat.conftest import answer_of
from tests.running import wait_for
from tests.servers.stand_in_model import StandInModel

ASKING = 6


class House:
    """A brain with the models a (alive) and b, whose engines a manager keeps."""

    def __init__(self, settings: Settings, a: StandInModel, b: StandInModel) -> None:
        self.a, self.b = a, b
        self.brain: Brain = build(settings)
        self.store = WishStore(settings)
        self.me = self.brain.access.local_caller("zh")
        path = manager_lock(settings)
        path.parent.mkdir(parents=True)
        self._lock = path.open("ab")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=Manager(settings, drain_s=20).run, args=(self._stop.is_set,))
        self._thread.start()
        wait_for(lambda: self.status("a") == "ready", "a ready")

    def status(self, name: str) -> str:
        return next(one.status for one in self.brain.models.describe() if one.name == name)

    def ask(self, model: str) -> Answer:
        turn = self.brain.chat.begin(self.me, Ask("你好，请介绍一下", model=f"{model}@none", origin="api"))
        return answer_of(list(self.brain.chat.answer(turn)))

    def swap(self, *, beside: bool) -> None:
        made = Swap("b", ("a",), beside, began=time.time())
        self.store.change(lambda now: replace(now.started("b") if beside else now.swapped(made), swap=made))

    def close(self) -> None:
        self._stop.set()
        self._thread.join(40)
        self._lock.close()
        self.brain.close()


@pytest.fixture
def house(make_settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    monkeypatch.setattr(keeper, "PAUSES_S", (0.1, 0.2))
    a, b = StandInModel(tmp_path / "a", tokens=8, token_s=0.02), StandInModel(tmp_path / "b", tokens=8, token_s=0.02, start_s=1)
    models = {"a": a.settings(slots=2), "b": b.settings(slots=2, alive=False)}
    made = House(make_settings(models=models), a, b)
    yield made
    made.close()


def ask_through(house: House, model: str, done: Callable[[], bool]) -> list[Answer]:
    """The answers to questions that six people ask one after the other from now until a while after `done()`."""
    over = threading.Event()

    def person() -> list[Answer]:
        heard = []
        while not over.is_set():
            heard.append(house.ask(model))
        return heard

    with ThreadPoolExecutor(ASKING) as pool:
        asked = [pool.submit(person) for _ in range(ASKING)]
        try:
            wait_for(lambda: done() or any(one.done() for one in asked), "done", 30)
            time.sleep(0.5)
        finally:
            over.set()
        return [answer for one in asked for answer in one.result()]


@pytest.mark.parametrize("model", ["a", "auto"])
@pytest.mark.parametrize("beside", [True, False])
def test_no_question_fails_while_one_model_takes_the_place_of_another(house: House, model: str, beside: bool) -> None:
    threading.Timer(0.5, lambda: house.swap(beside=beside)).start()
    answers = ask_through(house, model, lambda: house.status("b") == "ready" and house.status("a") == "stopped")
    assert {one.model for one in answers} == {"a", "b"}
    assert {one.rung for one in answers} == {"model"}
    for one in answers:
        assert one.answer == "".join(f"{one.model}{n} " for n in range(8))  # whole, and from the model that it names
        assert one.model in one.rung_reason


@pytest.mark.parametrize("beside", [True, False])
def test_no_question_fails_when_a_swap_is_undone(house: House, beside: bool) -> None:
    house.b.behave(exit=1, says="out of memory", start_s=0.5)
    threading.Timer(0.3, lambda: house.swap(beside=beside)).start()
    answers = ask_through(house, "a", lambda: bool(house.b.starts()) and house.store.read().swap is None and house.status("a") == "ready")
    assert {(one.model, one.rung) for one in answers} == {("a", "model")}


def test_a_question_asked_while_an_engine_is_killed_is_answered_when_it_is_back(house: House) -> None:
    import os
    import signal

    house.a.behave(tokens=3)
    os.kill(house.a.starts()[0][0], signal.SIGKILL)
    answer = house.ask("a")
    assert (answer.rung, answer.answer) == ("model", "a0 a1 a2 ")
