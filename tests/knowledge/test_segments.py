"""At rest a worker brings indexes into few segments, and gives way to everything else."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from qzbrain import logs
from qzbrain.brain import Brain
from qzbrain.domain import AddedDocument, Caller
from qzbrain.errors import IndexUnavailable
from qzbrain.knowledge import segments
from qzbrain.knowledge.segments import AFTER_S, SegmentMerging
from qzbrain.retrieval.embedded import force_merge
from qzbrain.worker import Workplace
from tests.knowledge.conftest import texts_found
from tests.running import wait_for


class Told:
    """Stands where an index stands, and notes what it is told."""

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.shelves: list[str] = []
        self.niceness = 0
        self._meanwhile = meanwhile

    def merge_segments(self, kb_id: str) -> bool:
        self.shelves.append(kb_id)
        self.niceness = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        self._meanwhile()
        return True


@pytest.fixture
def kb_id(brain: Brain) -> str:
    return brain.knowledge.create(brain.access.local_caller(), name="laws").id


def test_once_in_every_rest(brain: Brain, kb_id: str) -> None:
    told = Told()
    merging = SegmentMerging(brain.db, lambda: told)  # type: ignore[arg-type,return-value]
    for since_s in (0.0, AFTER_S - 0.1):
        merging.rest(since_s)
    assert not merging.busy and not told.shelves
    for since_s in (AFTER_S, AFTER_S + 1, AFTER_S + 60):
        merging.rest(since_s)
        wait_for(lambda: not merging.busy, "an end", 10)
    assert told.shelves == [kb_id, f"{kb_id}.facts"] and told.niceness == 19
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) < 19, "only its own thread stands last in line"
    merging.rest(0.1)
    merging.rest(AFTER_S)
    wait_for(lambda: len(told.shelves) == 4, "another look, after other work", 10)
    merging.close()


def test_at_the_end_no_other_index_is_begun(brain: Brain, kb_id: str) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        go_on.wait(10)

    told = Told(wait)
    merging = SegmentMerging(brain.db, lambda: told)  # type: ignore[arg-type,return-value]
    merging.rest(AFTER_S)
    assert entered.wait(10) and merging.busy
    ended = threading.Thread(target=merging.close)
    ended.start()
    wait_for(merging._ending.is_set, "the end", 10)
    go_on.set()
    ended.join(10)
    assert not merging.busy and told.shelves == [kb_id]


@pytest.mark.parametrize("fault", [IndexUnavailable("index_busy", zh="忙", en="busy"), ZeroDivisionError()])
def test_a_fault_is_told_and_harms_nobody(
    brain: Brain, kb_id: str, fault: Exception, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    logs.configure("info", "test")
    monkeypatch.setattr(segments, "log", logs.get("segments"))  # a logger keeps the level at which another test used it first

    def fail() -> None:
        raise fault

    merging = SegmentMerging(brain.db, lambda: Told(fail))  # type: ignore[arg-type,return-value]
    merging.rest(AFTER_S)
    wait_for(lambda: not merging.busy, "an end", 10)
    assert capfd.readouterr().err.count("segments_not_merged") == 1


def test_a_worker_at_rest_merges_what_came_in_parts(
    brain: Brain, caller: Caller, add: Callable[..., AddedDocument], work: Callable[[], None], kb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(force_merge, "FEWEST", 3)
    for number in range(4):
        add(f"第{number}条 采购须经批准。", f"{number}.txt")
        work()
    kb_id = brain.access.resolve(caller, [kb])[0].id

    def parts() -> int:
        return len(force_merge.segments(next(brain.settings.index_path.glob(f"{kb_id}/*/"))))

    assert parts() == 4
    monkeypatch.setattr(segments, "AFTER_S", 0.2)
    workplace, busy = Workplace(brain), list[bool]()
    workplace.run(lambda: parts() == 1 and len(busy) > 3, idle=lambda _: busy.append(workplace._segments.busy))
    assert not any(busy), "who would start the process anew is not told of rest while an index is being written"
    assert len(texts_found(brain, caller, "采购批准")) == 4
