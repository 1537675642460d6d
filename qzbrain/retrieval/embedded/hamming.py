"""Hamming distances of one sign pattern from many, by faiss where it is installed, else by numpy.

Both are exact and on one thread, so a search finds the same in the same order with either, and several searches share the cores as they come.
Of faiss only its kernel is used, on memory that is ours: an index of faiss's own would hold a second copy of everything, and the functions of faiss
that would start OpenMP threads (which spin, and take the cores from other work) are not called. Knows nothing of segments.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

Patterns = NDArray[np.uint64]
Distances = Callable[[Patterns, Patterns], NDArray[Any]]
"""(rows, words) contiguous, (words,) -> (rows,), an integer type. Called outside the hub: neither logs nor locks nor imports."""

_BLOCK_WORDS = 1 << 16
"""At a time: what is in between stays in the core's own cache."""
_BLOCKS = 4
_TOGETHER = 3
"""Words whose bits are counted in one byte, which 192 still fits into."""


@cache
def fastest() -> Distances:
    """faiss's where it can be loaded (45 ms, 16 MB), else numpy's. Call it first on the hub: an import takes locks."""
    return by_faiss() or by_numpy


def chosen() -> str:
    """What `fastest` is, with its version, for people to read: `faiss 1.15.1`."""
    if fastest() is by_numpy:
        return f"numpy {np.__version__}"
    return f"faiss {import_module('faiss').__version__}"


def by_faiss() -> Distances | None:
    """faiss's kernel, which uses what the CPU has (AVX2, AVX-512 VPOPCNT, NEON); None where faiss is missing or cannot be loaded here."""
    try:
        faiss: Any = import_module("faiss")  # what it offers is put together when it is loaded: no type checker sees it
    except (ImportError, OSError, SystemExit):  # its loader exits when it finds no library for this CPU
        return None
    pointer, hammings = faiss.swig_ptr, faiss.hammings

    def distances(bits: Patterns, asked: Patterns) -> NDArray[np.int32]:
        found = np.empty(len(bits), np.int32)
        if len(bits):
            patterns = np.ascontiguousarray(bits).view(np.uint8)
            hammings(pointer(asked.view(np.uint8)), pointer(patterns), 1, len(bits), patterns.shape[1], pointer(found))
        return found

    return distances


def by_numpy(bits: Patterns, asked: Patterns) -> NDArray[np.uint16]:
    """Block by block: the question repeated, the differing bits of each word, and, of some blocks together, their sums over rows."""
    rows, words = bits.shape
    found = np.empty(rows, np.uint16)
    step = max(1, min(rows, _BLOCK_WORDS // words))
    repeated, flat = np.tile(asked, step), bits.reshape(-1)
    differing, counts = np.empty_like(repeated), np.empty(_BLOCKS * len(repeated), np.uint8)
    for start in range(0, rows, _BLOCKS * step):
        end = min(rows, start + _BLOCKS * step)
        for first in range(start, end, step):
            last = min(end, first + step)
            size = (last - first) * words
            np.bitwise_xor(flat[first * words : last * words], repeated[:size], out=differing[:size])
            np.bitwise_count(differing[:size], out=counts[(first - start) * words : (last - start) * words])
        _row_sums(counts[: (end - start) * words].reshape(-1, words), found[start:end])
    return found


def _row_sums(counts: NDArray[np.uint8], found: NDArray[np.uint16]) -> None:
    """Sums of rows of bytes, each at most 64. As many bytes as can be are added at once, as lanes of one number: `sum(axis=1)` takes ten times as long."""
    size = next(size for size in (8, 4, 2, 1) if counts.shape[1] % size == 0)
    kind = np.dtype(f"u{size}").type
    lanes = counts.view(kind)
    mask, ones = kind(sum(255 << at for at in range(0, 8 * size, 16))), kind(sum(1 << at for at in range(0, 8 * size, 16)))
    found[:] = 0
    for first in range(0, lanes.shape[1], _TOGETHER):
        total = lanes[:, first].copy()
        for column in range(first + 1, min(first + _TOGETHER, lanes.shape[1])):
            total += lanes[:, column]
        if size > 1:  # from lanes of 8 bits to lanes of 16
            odd = total >> kind(8)
            odd &= mask
            total &= mask
            total += odd
        if size > 2:  # the highest lane of the product is the sum of all
            total *= ones
            total >>= kind(8 * size - 16)
        np.add(found, total, out=found, casting="unsafe")
