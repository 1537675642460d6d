"""Whether this process is one of greenlets, and how a blocking native call is made there without stopping them all; how two calls go side by side."""

from __future__ import annotations

import sys
from collections.abc import Callable
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
