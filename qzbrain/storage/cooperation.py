"""Whether this process is one of greenlets, and how a blocking native call is made there without stopping them all; how calls go side by side."""

from __future__ import annotations

import _thread
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import cache
from typing import Any, TypeVar

Found = TypeVar("Found")
SIDE_BY_SIDE = 32


def cooperative() -> bool:
    """Whether gevent has patched the standard library of this process."""
    monkey = sys.modules.get("gevent.monkey")  # whoever patched has imported it; the worker need not
    return monkey is not None and bool(monkey.is_module_patched("socket"))


def offloader() -> Callable[..., Any]:
    """`call(function, *args)`: in the hub's native thread pool in a process of greenlets, else right here."""
    if not cooperative():
        return inline
    from gevent import get_hub

    def in_pool(function: Callable[..., Any], *args: Any) -> Any:
        return get_hub().threadpool.apply(function, args)

    return in_pool


def inline(function: Callable[..., Any], *args: Any) -> Any:
    """Call it here and now."""
    return function(*args)


def beside(call: Callable[[], Found]) -> Future[Found]:
    """Begin a call now, on a thread (a greenlet, where threads are such). It has its caller's context: log ids, span, notes of stages."""
    return _threads().submit(copy_context().run, call)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(SIDE_BY_SIDE, "beside")


def together(calls: Sequence[Callable[[], None]]) -> None:
    """Make these native calls at once, the first here and each of the others on a native thread of its own, also in a process of greenlets and outside
    its hub: they neither log nor wait for others. Returns when all have ended; raises what one of them raised.
    """
    failed: list[BaseException] = []
    ended = [_native("allocate_lock")() for _ in calls[1:]]

    def run(call: Callable[[], None], end: Any) -> None:
        try:
            call()
        except BaseException as exc:  # noqa: BLE001  raised again below, on the thread that waits for it
            failed.append(exc)
        finally:
            end.release()

    for call, end in zip(calls[1:], ended, strict=True):
        end.acquire()
        try:
            _native("start_new_thread")(run, (call, end))
        except RuntimeError:  # no more threads are to be had
            run(call, end)
    try:
        for call in calls[:1]:
            call()
    finally:
        for end in ended:
            end.acquire()
    if failed:
        raise failed[0]


def _native(name: str) -> Callable[..., Any]:
    """Of the module `_thread`, as it is without gevent."""
    monkey = sys.modules.get("gevent.monkey")
    found: Callable[..., Any] = getattr(_thread, name) if monkey is None else monkey.get_original("_thread", name)
    return found
