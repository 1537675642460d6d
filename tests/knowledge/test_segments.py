"""At rest a worker has indexes written in one that have grown in parts, and gives way to everything else."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest

from qzbrain import logs
from qzbrain.brain import Brain
from qzbrain.domain import AddedDocument, Caller
from qzbrain.errors import IndexUnavailable
from qzbrain.knowledge import segments
from qzbrain.knowledge.segments import AFTER_S, GIVE_UP_S, LOOK_EVERY_S, SETTLED_S, Gathering
from qzbrain.retrieval import vector_feeder
from qzbrain.retrieval.base import Parts
from qzbrain.retrieval.embedded import parts
from qzbrain.retrieval.space_rows import SpaceRows
from qzbrain.retrieval.spaces import Manifest
from qzbrain.worker import Workplace
from tests.knowledge.conftest import texts_found
from tests.running import wait_for

LONG_AGO_S = 1e6


class Told:
    """Stands where a feeder stands, and notes what it is told. `meanwhile` may ask whether to go on."""

    def __init__(self, meanwhile: Callable[[Callable[[], bool]], bool] = lambda _goes_on: True) -> None:
        self.shelves: list[str] = []
        self.looked: list[str] = []
        self.niceness = 0
        self.found: Parts | None = Parts(100_000, 9, LONG_AGO_S)
        self.vectors: dict[str, Parts] = {}
        self._meanwhile = meanwhile

    def parts(self, kb_id: str) -> Parts | None:
        self.looked.append(kb_id)
        return self.found

    def vector_parts(self, kb_id: str) -> dict[str, Parts]:
        return self.vectors

    def gather_vectors(self, space_id: str, goes_on: Callable[[], bool]) -> bool:
        return self.gather(space_id, goes_on)

    def gather(self, kb_id: str, goes_on: Callable[[], bool]) -> bool:
        self.shelves.append(kb_id)
        self.niceness = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        return self._meanwhile(goes_on)


class Time:
    """A clock that is set."""

    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def kb_id(brain: Brain) -> str:
    return brain.knowledge.create(brain.access.local_caller(), name="laws").id


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def make(brain: Brain, clock: Time) -> Callable[[Told], Gathering]:
    return lambda told: Gathering(brain.db, lambda: told, clock)  # type: ignore[arg-type,return-value]


def ended(gathering: Gathering) -> None:
    wait_for(lambda: not gathering.busy, "an end", 10)


def test_all_shelves_are_looked_at_now_and_then(make: Callable[[Told], Gathering], clock: Time, kb_id: str) -> None:
    told = Told()
    gathering = make(told)
    for since_s in (0.0, AFTER_S - 0.1):
        gathering.rest(since_s)
    assert not gathering.busy and not told.looked
    for since_s in (AFTER_S, AFTER_S + 1, AFTER_S + 20):
        gathering.rest(since_s)
        ended(gathering)
    assert told.shelves == told.looked == [kb_id, f"{kb_id}.facts"] and told.niceness == 19
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) < 19, "only its own thread stands last in line"
    told.found = None
    clock.now_s += LOOK_EVERY_S
    gathering.rest(60.0)
    ended(gathering)
    assert len(told.looked) == 4 and len(told.shelves) == 2, "where nothing is to be gained nothing is done"


def test_vectors_have_their_turn_after_words(make: Callable[[Told], Gathering], clock: Time, kb_id: str) -> None:
    told = Told()
    told.vectors = {"space": Parts(100_000, 5, 39.0), "other": Parts(100_000, 5, 41.0)}
    gathering = make(told)
    gathering.rest(AFTER_S)
    ended(gathering)
    assert told.shelves == [kb_id, f"{kb_id}.facts", "other"], "what has just been changed waits"


@pytest.mark.parametrize(("chunks", "wanted_s"), [(10_000, 13), (100_000, 40), (1_000_000, 310)])
def test_the_larger_an_index_the_longer_it_must_have_been_left_alone(
    make: Callable[[Told], Gathering], clock: Time, kb_id: str, chunks: int, wanted_s: float
) -> None:
    told = Told()
    gathering = make(told)
    for unchanged_s, times in ((SETTLED_S, 0), (wanted_s - 0.1, 0), (wanted_s + 0.1, 2)):
        told.found = Parts(chunks, 9, unchanged_s)
        gathering.rest(1000.0)
        ended(gathering)
        assert len(told.shelves) == times
        clock.now_s += LOOK_EVERY_S


def test_what_was_left_off_is_not_begun_again_soon(make: Callable[[Told], Gathering], clock: Time, kb_id: str) -> None:
    told = Told(lambda _goes_on: False)
    gathering = make(told)
    tried: list[float] = []
    for _ in range(40):
        clock.now_s += LOOK_EVERY_S
        gathering.rest(1000.0)
        ended(gathering)
        if len(told.shelves) > 2 * len(tried):
            tried.append(clock.now_s)
    waited = [int((after - before) / 40) for before, after in pairwise(tried)]
    assert waited == [2, 4, 8], "each time twice as long"


def test_it_waits_while_there_is_work_and_goes_on_after_it(make: Callable[[Told], Gathering], clock: Time, kb_id: str) -> None:
    entered, asked = threading.Event(), list[bool]()

    def gather(goes_on: Callable[[], bool]) -> bool:
        entered.set()
        gathering.rest(0.1)  # a job has come, and gone
        asked.append(goes_on())
        return True

    told = Told(gather)
    gathering = make(told)
    gathering.rest(AFTER_S)
    assert entered.wait(10)
    time.sleep(0.2)
    assert gathering.busy and not asked
    told._meanwhile = lambda _goes_on: True
    gathering.rest(AFTER_S - 0.1)
    time.sleep(0.2)
    assert not asked, "that is not rest enough"
    gathering.rest(AFTER_S)
    ended(gathering)
    assert asked == [True]


def test_silence_is_work(make: Callable[[Told], Gathering], clock: Time, kb_id: str) -> None:
    """While it does a job the worker tells nothing."""
    entered, asked = threading.Event(), list[bool]()

    def gather(goes_on: Callable[[], bool]) -> bool:
        clock.now_s += 2
        entered.set()
        asked.append(goes_on())
        return False

    gathering = make(Told(gather))
    gathering.rest(AFTER_S)
    assert entered.wait(10)
    time.sleep(0.2)
    assert not asked and gathering.busy
    clock.now_s += GIVE_UP_S
    wait_for(lambda: asked, "an end", 10)
    assert asked == [False], "it does not hold memory for ever"
    gathering.close()
    assert not gathering.busy


def test_at_the_end_it_leaves_off_and_no_other_is_begun(make: Callable[[Told], Gathering], kb_id: str) -> None:
    entered, asked = threading.Event(), list[bool]()

    def gather(goes_on: Callable[[], bool]) -> bool:
        entered.set()
        while goes_on():
            pass
        asked.append(False)
        return False

    told = Told(gather)
    gathering = make(told)
    gathering.rest(AFTER_S)
    assert entered.wait(10) and gathering.busy
    gathering.close()
    assert not gathering.busy and told.shelves == [kb_id] and asked == [False]


@pytest.mark.parametrize("fault", [IndexUnavailable("index_busy", zh="忙", en="busy"), ZeroDivisionError()])
def test_a_fault_is_told_and_harms_nobody(
    make: Callable[[Told], Gathering], kb_id: str, fault: Exception, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    logs.configure("info", "test")
    monkeypatch.setattr(segments, "log", logs.get("segments"))  # a logger keeps the level at which another test used it first

    def fail(_goes_on: Callable[[], bool]) -> bool:
        raise fault

    told = Told(fail)
    gathering = make(told)
    gathering.rest(AFTER_S)
    ended(gathering)
    assert told.shelves == [kb_id, f"{kb_id}.facts"], "the others have their turn"
    said = capfd.readouterr().err
    assert said.count("segments_not_gathered") >= 2 and (getattr(fault, "code", "ZeroDivisionError")) in said


# -- in a worker


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "FEWEST", 3)
    for name, value in {"AFTER_S": 0.2, "LOOK_EVERY_S": 1.0, "SETTLED_S": 0.0}.items():
        monkeypatch.setattr(segments, name, value)


@pytest.fixture
def in_parts(brain: Brain, caller: Caller, add: Callable[..., AddedDocument], work: Callable[[], None], kb: str) -> Callable[[], int]:
    """Four documents, each of which came by itself; how many segments there are."""
    for number in range(4):
        add(f"第{number}条 采购须经批准。", f"{number}.txt")
        work()
    folder = brain.settings.index_path / brain.access.resolve(caller, [kb])[0].id
    return lambda: len(parts.segments(folder / (folder / "current").read_text()))


def test_a_worker_at_rest_gathers_what_came_in_parts(brain: Brain, caller: Caller, in_parts: Callable[[], int], quickly: None) -> None:
    assert in_parts() == 4
    workplace, busy = Workplace(brain), list[bool]()
    workplace.run(lambda: in_parts() == 1 and len(busy) > 3, idle=lambda _: busy.append(workplace._gathering.busy))
    assert not any(busy), "who would start the process anew is not told of rest while an index is being written"
    assert len(texts_found(brain, caller, "采购批准")) == 4


def test_a_worker_that_is_only_asked_for_jobs_does_not(brain: Brain, in_parts: Callable[[], int], quickly: None) -> None:
    until = time.monotonic() + 2.5
    Workplace(brain).run(lambda: time.monotonic() > until)
    assert in_parts() == 4


@pytest.mark.parametrize("lane", ["_lane", "_extraction"])
def test_while_a_lane_works_there_is_no_rest(brain: Brain, in_parts: Callable[[], int], quickly: None, lane: str) -> None:
    workplace, until = Workplace(brain), time.monotonic() + 2.5
    workplace.__dict__[lane] = SimpleNamespace(busy=True, start=lambda: None, close=lambda: None, wake=lambda: None)
    workplace.run(lambda: time.monotonic() > until, idle=lambda _: None)
    assert in_parts() == 4


def test_a_document_that_comes_meanwhile_is_found(
    brain: Brain, caller: Caller, in_parts: Callable[[], int], quickly: None, add: Callable[..., AddedDocument], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes while the index is being written: that is left off, the document is indexed at once, and later all is gathered."""
    workplace, gather, came = Workplace(brain), brain.feeder.gather, list[float]()

    def slowly(kb_id: str, goes_on: Callable[[], bool]) -> bool:
        def asked() -> bool:
            if not came:
                came.append(time.monotonic())
                add("第九条 采购须经批准，另有规定的除外。", "9.txt")
                wait_for(lambda: len(texts_found(brain, caller, "采购批准")) == 5, "the document found", 20)
            return goes_on()

        return gather(kb_id, asked)

    monkeypatch.setattr(brain.feeder, "gather", slowly)
    workplace.run(lambda: bool(came) and in_parts() == 1, idle=lambda _: None)
    assert len(texts_found(brain, caller, "采购批准")) == 5


def test_a_worker_at_rest_puts_vectors_together(
    brain: Brain, caller: Caller, kb: str, add: Callable[..., AddedDocument], work: Callable[[], None], quickly: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_feeder, "_WORTH_LOOKING", 0)
    for number in range(10):
        add(f"第{number}条 采购须经批准。", f"{number}.txt")
    work()
    rows, kb_id = SpaceRows(brain.db), brain.access.resolve(caller, [kb])[0].id
    space = rows.begin(kb_id, "some", 8, Manifest())
    vectors = np.eye(10, 8, dtype=np.float32)
    vectors[8:, :2] = 0.6, 0.8
    for count in (6, 3, 1):
        found = rows.next_chunks(space, count)
        grown = rows.add(space, found, vectors[:count])
        assert grown is not None and len(found) == count
        space, vectors = grown, vectors[count:]
        brain.vector_feeder.bring(space)
    store = brain.vectors
    asked = np.eye(1, 8, dtype=np.float32)[0]
    before = store.search(space.id, asked, top_k=10)
    assert store.parts(space.id) is not None and len(before) == 10
    until = time.monotonic() + 30
    Workplace(brain).run(lambda: store.parts(space.id) is None or time.monotonic() > until, idle=lambda _: None)
    assert store.parts(space.id) is None and store.search(space.id, asked, top_k=10) == before


def test_of_a_small_brain_no_store_is_opened_to_look(brain: Brain, kb_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker of a small brain would load numpy for it."""
    SpaceRows(brain.db).begin(kb_id, "some", 8, Manifest())
    monkeypatch.setattr(brain.vector_feeder, "_store", lambda: pytest.fail("opened"))
    assert brain.feeder.vector_parts(kb_id) == {}
