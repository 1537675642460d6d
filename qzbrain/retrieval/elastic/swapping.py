"""Searches that meet a swap: the index that the alias named a moment ago is removed while they run on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from qzbrain.errors import IndexUnavailable

T = TypeVar("T")

_PAUSE_S = 0.05


def through_a_swap(search: Callable[[], T]) -> T:
    """Search, once more after a moment when the index is not there: the alias names the next one by then. Raises IndexUnavailable."""
    try:
        return search()
    except IndexUnavailable as exc:
        if exc.code != "search_red":
            raise
    time.sleep(_PAUSE_S)
    return search()
