"""How glibc's malloc keeps memory in a process that takes in documents; elsewhere nothing happens."""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8


def use_one() -> None:
    """Have all threads share one arena: with one for each, an ingest of 27,000 chunks peaked at 225 instead of 161 MB (2026-11-24)."""
    mallopt = _libc("mallopt")
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Hand free pages inside the heap back to the system: what one batch held lies between what stays, and the next batch is not of its shape."""
    trim = _libc("malloc_trim")
    if trim is not None:
        trim(0)


def _libc(name: str) -> ctypes._NamedFuncPointer | None:
    return getattr(ctypes.CDLL(None), name, None)
