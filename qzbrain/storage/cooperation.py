"""Whether this process is one of greenlets, and how a blocking native call is made there without stopping them all."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


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
