"""The forward index: the terms that a chunk holds, text and context together, so that what it covers of a question is read and not searched.

Asked of the inverted index, which of thirty terms stand in a hundred chunks made tantivy go through all postings around each of them, which took as long as
BM25 over everything (2026-11-30, docs/benchmarks.md). Terms are kept as the 32-bit numbers that CRC-32 makes of them, each once, little-endian. Two terms of
one number are taken for one: with 100 terms in a chunk and 30 in a question, in one chunk of a million.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from sys import byteorder
from zlib import crc32

_LOW = (1 << 16) - 1


def numbered(terms: str) -> bytes:
    """These blank-separated terms as they are kept."""
    found = array("I", map(crc32, set(_bytes(terms).split())))
    if byteorder == "big":
        found.byteswap()
    return found.tobytes()


def _bytes(terms: str) -> bytes:
    return terms.encode("utf-8", "surrogatepass")


def covered(kept: Sequence[bytes], weights: Mapping[str, float]) -> list[float]:
    """Of each chunk, given by what is kept of it: the sum of the weights of the terms that it holds."""
    import numpy as np  # who never searches does without

    asked: dict[int, float] = {}
    for term, weight in weights.items():
        number = crc32(_bytes(term))
        asked[number] = asked.get(number, 0.0) + weight
    sought = np.array(sorted(asked), np.uint32)
    told = np.array([asked[number] for number in sought.tolist()])
    held = np.frombuffer(b"".join(kept), "<u4")
    maybe = np.zeros(_LOW + 1, np.bool_)
    maybe[sought & _LOW] = True
    places = np.nonzero(maybe[held & _LOW])[0]
    which = np.minimum(np.searchsorted(sought, held[places]), len(sought) - 1)
    same = sought[which] == held[places]
    chunks = np.repeat(np.arange(len(kept)), [len(one) // 4 for one in kept])
    sums: list[float] = np.bincount(chunks[places[same]], told[which[same]], len(kept)).tolist()
    return sums
