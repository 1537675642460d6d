"""Work shared with a copy of this process: the same results in the same order, whatever becomes of the copy."""

from __future__ import annotations

import os
import signal
import threading
from itertools import islice
from pathlib import Path

import pytest

from qzbrain.knowledge.parsers.beside import in_order

two_cores = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core")


def children() -> list[str]:
    return [x for task in Path("/proc/self/task").iterdir() for x in (task / "children").read_text().split()]


@pytest.mark.parametrize("count", [0, 1, 47, 48, 49, 61, 200])
def test_results_come_in_order(count: int) -> None:
    before = children()
    assert list(in_order(lambda index: index * index, count)) == [index * index for index in range(count)]
    assert children() == before


@two_cores
def test_two_processes_share_the_work() -> None:
    assert len(set(in_order(lambda _: os.getpid(), 200))) == 2


@two_cores
@pytest.mark.parametrize("deadly", [8, 40, 199])
def test_what_a_dead_copy_left_is_done_here(deadly: int) -> None:
    ours = os.getpid()

    def work(index: int) -> int:
        if index == deadly and os.getpid() != ours:
            os.kill(os.getpid(), signal.SIGKILL)
        return index

    assert list(in_order(work, 200)) == list(range(200))


def test_an_error_of_the_work_is_raised() -> None:
    def work(index: int) -> int:
        if index == 60:
            raise ValueError("sixty")
        return index

    before = children()
    with pytest.raises(ValueError, match="sixty"):
        list(in_order(work, 200))
    assert children() == before


def test_nothing_is_left_of_work_that_nobody_waits_for() -> None:
    before, threads = children(), threading.active_count()
    found = in_order(lambda index: "x" * 100_000 + str(index), 2000)
    assert len(list(islice(found, 3))) == 3
    found.close()
    assert children() == before
    assert threading.active_count() == threads
