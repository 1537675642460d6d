"""The segments of an index, and how one is written so that it ends in a single segment: a search in one takes a third less time than in eight.

tantivy's Python interface has no call that merges. Its writer merges by LogMergePolicy alone: after every commit and every merge it puts segments
into levels by the logarithm of their chunks (those below 10,000 count as 10,000; a level spans a factor of 1.68), and a level of eight or more
becomes one segment. So 8, 64 or 512 commits of nearly the same size end in one: eight of them become one, eight of those again. What eight make must not
fall into the level of the eight, or they would be merged too early, and in another number.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path

import orjson

from qzbrain.retrieval.base import Parts
from qzbrain.retrieval.embedded.folder import META, read_number, stamp, write_number

FEWEST = 10_000
"""An index of fewer chunks is quick in any number of segments."""
MOST_IN_ONE = 0.7
"""With this share written together it is left as it is: so an index that grows is written anew each time that it has grown by nearly half."""
BUILT = "built"
"""A file: how many chunks the generation was built with."""
_AT_ONCE = 2_000
"""Chunks that go into one commit, whatever their size: the writer's heap holds them."""
_MOST_IN_COMMIT = 17_000
"""About what eight of the smallest make, which must be more than a level above 10,000: 16,818. 4 KB of heap for a chunk of 120 characters (2026-11-29)."""
_LEVEL = 8


def commits(chunks: int) -> list[int]:
    """How many chunks are in when each commit but the last is made; the last takes all that come.

    Each is a little smaller than the one before, and so are eight of them than the eight before: tantivy takes the larger ones first, so chunks lie in the
    order in which they came, and where several have the same score the same ones are found, whoever builds the index.
    """
    parts = 1
    while chunks > _AT_ONCE and (parts == 1 or chunks / parts > _MOST_IN_COMMIT):
        parts *= _LEVEL
    more = [_later(n, parts) for n in range(parts)]
    least, left = divmod(chunks - sum(more), parts)
    return list(accumulate(least + more[n] + (n < left) for n in range(parts)))[:-1]


def _later(number: int, parts: int) -> int:
    """How many of eight come after it, of its eight after that, and so on."""
    found = 0
    while parts > 1:
        found, number, parts = found + _LEVEL - 1 - number % _LEVEL, number // _LEVEL, parts // _LEVEL
    return found


def segments(generation: Path) -> list[int]:
    """Entries of each segment, deleted ones among them, as tantivy's own list has them. Raises OSError, ValueError."""
    return [int(one["max_doc"]) for one in orjson.loads((generation / META).read_bytes())["segments"]]


def note_built(generation: Path, chunks: int) -> None:
    """Remember that so many chunks were written together: to do it again would change nothing, however many segments it came to."""
    write_number(generation / BUILT, chunks)


def parts(generation: Path, now: float) -> Parts | None:
    """See `SearchIndex.parts`. `now`: seconds since 1970."""
    seen = stamp(generation / META)
    try:
        sizes = segments(generation)
    except (OSError, ValueError):
        return None
    return None if seen is None else scattered(sizes, now - seen[1] / 1e9, together=read_number(generation / BUILT))


def scattered(sizes: Sequence[int], unchanged_s: float, *, together: int = 0) -> Parts | None:
    """What of segments of these sizes is worth putting together. `together`: so many were once, whatever they lie in now."""
    total = sum(sizes)
    if len(sizes) <= 2 or total < FEWEST or max(together, *sizes) >= MOST_IN_ONE * total:
        return None
    return Parts(total, len(sizes), abs(unchanged_s))
