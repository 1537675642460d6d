"""What the installer writes on standard error: lines in both languages, and how far long work is. Standard library only."""

from __future__ import annotations

import sys
from collections.abc import Callable

_STEPS = 20


def say(zh: str, en: str) -> None:
    """A line for whoever waits."""
    sys.stderr.write(f"qzbrain: {zh} · {en}\n")
    sys.stderr.flush()


def progress(zh: str, en: str) -> Callable[[int, int], None]:
    """Says what begins, then shows how far it is where standard error is a terminal."""
    say(zh, en)
    shown = -1

    def tell(done: int, total: int) -> None:
        nonlocal shown
        step = _STEPS * done // total if total else _STEPS
        if sys.stderr.isatty() and step > shown:
            shown = step
            end = "\n" if step == _STEPS else ""
            sys.stderr.write(f"\r  [{'#' * step}{'.' * (_STEPS - step)}] {done / 1e6:,.0f} / {total / 1e6:,.0f} MB{end}")
            sys.stderr.flush()

    return tell
