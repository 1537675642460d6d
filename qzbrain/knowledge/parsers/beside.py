"""Work on numbered parts of a document by two processes at a time: a copy of this one takes every other block of parts.

For libraries that are not safe for threads. The copy has the bounds of this process and ends with it. When it ends too early (a damaged part, no
memory) the rest is done here, so that what comes out is the same, later.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import queue
import signal
import struct
import sys
import threading
from collections.abc import Callable, Generator
from typing import BinaryIO, Generic, TypeVar

Result = TypeVar("Result")

_PR_SET_PDEATHSIG = 1
_BLOCK = 8
_LEAST_PARTS = 6 * _BLOCK
"""Fewer are done before a copy is of use."""
_AHEAD = 64
_LENGTH = struct.Struct("<Q")


def in_order(work: Callable[[int], Result], count: int) -> Generator[Result, None, None]:
    """`work(0)` to `work(count - 1)`. What it gives must be fit for pickling; it must not depend on the order in which parts are done."""
    if count < _LEAST_PARTS or sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2:
        for index in range(count):
            yield work(index)
        return
    other = _Copy(work, count)
    try:
        for number, begin in enumerate(range(0, count, _BLOCK)):
            results = other.next() if number % 2 else None
            for index in range(begin, min(begin + _BLOCK, count)):
                yield work(index) if results is None else results[index - begin]
    finally:
        other.end()


class _Copy(Generic[Result]):
    """The other process, and the thread that takes from it, so that it need not wait for us."""

    def __init__(self, work: Callable[[int], Result], count: int) -> None:
        ours, theirs = os.pipe()
        parent = os.getpid()
        self._process = os.fork()
        if self._process == 0:
            _serve(work, count, theirs, parent)
        os.close(theirs)
        self._done: queue.Queue[bytes | None] = queue.Queue(_AHEAD)
        self._pipe = os.fdopen(ours, "rb", buffering=1 << 20)
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()
        self._ended = False

    def next(self) -> list[Result] | None:
        """Its next block; None when there is none to be had any more."""
        if self._ended:
            return None
        block = self._done.get()
        self._ended = block is None
        return None if block is None else pickle.loads(block)  # noqa: S301 - of a process with our rights and no more

    def end(self) -> None:
        """It is gone when this returns."""
        os.kill(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        while self._thread.is_alive():
            try:
                self._done.get(timeout=0.05)
            except queue.Empty:
                continue
        self._pipe.close()

    def _take(self) -> None:
        while (block := _frame(self._pipe)) is not None:
            self._done.put(block)
        self._done.put(None)


def _serve(work: Callable[[int], object], count: int, pipe: int, parent: int) -> None:
    """In the copy: do every second block and end, whatever happens."""
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() == parent:
            with os.fdopen(pipe, "wb") as stream:
                for begin in range(_BLOCK, count, 2 * _BLOCK):
                    block = pickle.dumps([work(index) for index in range(begin, min(begin + _BLOCK, count))], protocol=pickle.HIGHEST_PROTOCOL)
                    stream.write(_LENGTH.pack(len(block)) + block)
                    stream.flush()
    finally:
        os._exit(0)


def _frame(stream: BinaryIO) -> bytes | None:
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    block = stream.read(length)
    return block if len(block) == length else None
