"""Native calls that go at once: on threads of their own, here and outside the hub of a process of greenlets; what fails is raised, what cannot begin
is done one after the other.
"""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from qzbrain.storage import cooperation
from qzbrain.storage.cooperation import together


def test_all_have_ended_and_each_had_a_thread() -> None:
    """A barrier lets nobody through before all are there."""
    barrier, seen = threading.Barrier(3), set[int]()

    def call() -> None:
        barrier.wait(10)
        seen.add(threading.get_ident())

    together([call, call, call])
    assert len(seen) == 3 and threading.get_ident() in seen


def test_nothing_to_do() -> None:
    together([])


@pytest.mark.parametrize("failing", [0, 2])
def test_what_one_raises_is_raised_when_all_have_ended(failing: int) -> None:
    done: list[int] = []

    def call(number: int) -> None:
        if number == failing:
            raise OSError("unreadable")
        done.append(number)

    with pytest.raises(OSError, match="unreadable"):
        together([lambda number=number: call(number) for number in range(3)])  # type: ignore[misc]
    assert sorted(done) == [number for number in range(3) if number != failing]


def test_without_threads_they_go_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    native = cooperation._native

    def refused(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(cooperation, "_native", lambda name: refused if name == "start_new_thread" else native(name))
    done: list[int] = []
    together([lambda number=number: done.append(number) for number in range(3)])  # type: ignore[misc]
    assert sorted(done) == [0, 1, 2]


AMONG_GREENLETS = """
from gevent import monkey; monkey.patch_all()
import gevent, threading, numpy as np
from gevent.monkey import get_original
from qzbrain.retrieval.embedded import hamming
from qzbrain.storage.cooperation import offloader, together
native, ident, sleep = get_original("_thread", "get_native_id"), set(), get_original("time", "sleep")
hub = native()
def call():
    ident.add(native())
    sleep(.3)  # holds its thread
order = []
waiting = gevent.spawn(lambda: (offloader()(together, [call, call, call]), order.append("together")))
gevent.spawn(lambda: (gevent.sleep(.05), order.append("another request")))
waiting.join()
assert order == ["another request", "together"], order
assert len(ident) == 3 and hub not in ident, ident
hamming._PART_BYTES = 1000
bits = np.random.default_rng(3).integers(0, 1 << 64, (5000, 16), np.uint64)
found = offloader()(hamming.divided, hamming.fastest(), bits, bits[9])
assert np.array_equal(found, np.bitwise_count(bits ^ bits[9]).sum(axis=1))
print("well")
"""


def test_in_a_process_of_greenlets_others_go_on() -> None:
    done = subprocess.run([sys.executable, "-c", AMONG_GREENLETS], capture_output=True, text=True, timeout=60)
    assert done.stdout == "well\n", done.stderr[-2000:]
