"""Segments of a vector store: immutable files of quantised vectors, mapped into memory and scanned whole.

Of each vector there are kept its signs, one bit a dimension, and its dimensions as 8-bit numbers with one scale, both of what is left after
the segment's mean is taken off: embeddings of one model share a large common part, which would eat up either. A question is compared with
all sign patterns (exact Hamming distance, Charikar, STOC 2002), the nearest are scored by the 8-bit numbers, and those that may be among the
best by the vectors themselves, as SQL holds them: what a search says of a passage does not depend on how passages lie in segments. The vectors
lie at the end of the file and are read, not mapped.

A pattern lies in two pieces, its first quarter (head) and the rest (tail). Of many rows all heads are compared, and tails only where the heads are
nearest: what a large scan waits for is memory.

    ids int64[n] | scales float32[n] | owners uint32[n] | mean float32[width] | heads uint64[n, h] | tails uint64[n, words - h] | rough int8[n, width]
    | documents S32[d] | levels uint8[d] | exact float16[n, width]

The level of a document that was given another one later stands in a file beside, which takes the place of the whole part.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qzbrain.retrieval.base import DEFAULT_LEVEL
from qzbrain.retrieval.embedded.hamming import Distances, Patterns
from qzbrain.retrieval.vectors import StoredVectors

_ALIGN = 64
_EXACT_ROWS = 512
_BLOCK = 1 << 16
_NO_COPIES_OF_THE_SIGN = ~(7 << 28)
_BIAS = np.float32(2.0 ** (127 - 15))
_MERGED_ROWS = 1 << 14
_WIDEN = 2
_WHOLE_ROWS = 1 << 16
"""Of so many rows whole patterns are compared; of more, tails of one in _SHARE, at most of _PER_CANDIDATE for each candidate. In what was measured
that missed none of the best ten, and up to a hundredth of the best hundred (bench/vectors.py, docs/benchmarks.md)."""
_SHARE = 8
_PER_CANDIDATE = 24
_SIGMAS = 4
_SAMPLED = 1 << 14
_SETTLED = 10_000
_OUTGROWN = 8
"""A mean of fewer vectors than _SETTLED is made anew when a merge brings more than _OUTGROWN times as many together."""

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Rows = NDArray[np.intp]
Levels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a segment's file holds, as the store's list names it. `mean_of`: of how many vectors its mean is."""

    name: str
    rows: int
    documents: int
    mean_of: int

    def offsets(self, width: int) -> list[int]:
        """Where each part begins, and the end."""
        sizes = (8, 4, 4)
        heads, tails = pieces_of(width)
        parts = [size * self.rows for size in sizes] + [4 * width, 8 * heads * self.rows, 8 * tails * self.rows]
        parts += [width * self.rows, 32 * self.documents, self.documents, 2 * width * self.rows]
        found = [0]
        for size in parts:
            found.append(-(-(found[-1] + size) // _ALIGN) * _ALIGN)
        return found


def words_of(width: int) -> int:
    """64-bit words of one sign pattern."""
    return -(-width // 64)


def pieces_of(width: int) -> tuple[int, int]:
    """Words of its head and of its tail."""
    words = words_of(width)
    heads = -(-words // 4)
    return heads, words - heads


def write(path: Path, name: str, rows: StoredVectors, *, like: Segment | None = None) -> Shape:
    """Quantise and write a segment of at least one row, through to the disk. `like`: take this segment's mean, so that both can be merged as they are."""
    exact: Halves = np.asarray(rows.vectors, np.float16)
    vectors = exact.astype(np.float32)
    mean = vectors.mean(axis=0, dtype=np.float64).astype(np.float32) if like is None else like.mean
    residuals = vectors - mean
    scales = (np.maximum(np.abs(residuals).max(axis=1), 1e-12) / np.float32(127)).astype(np.float32)
    rough = np.clip(np.rint(residuals / scales[:, None]), -127, 127).astype(np.int8)
    owners, levels = np.array(rows.document_ids, "S32"), levels_of(rows)
    signs, (heads, _) = _signs(residuals), pieces_of(vectors.shape[1])
    columns = _Columns(np.asarray(rows.chunk_ids, np.int64), scales, owners, levels, mean, [signs[:, :heads]], [signs[:, heads:]], [rough], [exact])
    return _write(path, name, columns, mean_of=len(vectors) if like is None else like.shape.mean_of)


def alike(parts: Sequence[Segment]) -> bool:
    """Whether these can be merged as they are. Otherwise their mean is made anew, for which all vectors are held in memory."""
    first, total = parts[0], sum(part.live for part in parts)
    outgrown = first.shape.mean_of < _SETTLED and total > _OUTGROWN * first.shape.mean_of
    return not outgrown and all(part.mean_key == first.mean_key for part in parts)


class LeftOff(Exception):
    """A merge was told not to go on."""


def merge(path: Path, name: str, parts: Sequence[Segment], goes_on: Callable[[], bool] = lambda: True) -> Shape:
    """Write the live rows of several segments, in their order, as one. A mean of few vectors is made anew when there are many more.

    `goes_on` is asked all the time: LeftOff when it says no.
    """
    rows = [part.all_rows() for part in parts]
    if not alike(parts):
        return write(path, name, _joined([part.stored(chosen) for part, chosen in zip(parts, rows, strict=True)]))

    def blocks(column: Callable[[Segment], NDArray[Any]]) -> Iterator[NDArray[Any]]:
        for part, chosen in zip(parts, rows, strict=True):
            for block in part.blocks(chosen, column(part)):
                if not goes_on():
                    raise LeftOff
                yield block

    first = parts[0]
    columns = _Columns(
        ids=np.concatenate([part.ids[chosen] for part, chosen in zip(parts, rows, strict=True)]),
        scales=np.concatenate([part.scales[chosen] for part, chosen in zip(parts, rows, strict=True)]),
        owners=np.concatenate([part.owners(chosen) for part, chosen in zip(parts, rows, strict=True)]),
        levels=np.concatenate([part.row_levels(chosen) for part, chosen in zip(parts, rows, strict=True)]),
        mean=first.mean,
        heads=blocks(lambda part: part.heads),
        tails=blocks(lambda part: part.tails),
        rough=blocks(lambda part: part.rough),
        exact=blocks(Segment.mapped_exact),
    )
    return _write(path, name, columns, mean_of=first.shape.mean_of)


@dataclass(frozen=True, slots=True)
class _Columns:
    """What a segment is written from; the large ones come block by block."""

    ids: NDArray[np.int64]
    scales: Floats
    owners: NDArray[np.bytes_]
    levels: Levels
    mean: Floats
    heads: Iterable[Patterns]
    tails: Iterable[Patterns]
    rough: Iterable[NDArray[np.int8]]
    exact: Iterable[Halves]


def _write(path: Path, name: str, columns: _Columns, *, mean_of: int) -> Shape:
    documents, owners = np.unique(columns.owners, return_inverse=True)
    levels = np.zeros(len(documents), np.uint8)
    np.maximum.at(levels, owners, columns.levels)
    shape = Shape(name, len(columns.ids), len(documents), mean_of)
    offsets = shape.offsets(len(columns.mean))
    small: list[NDArray[Any]] = [columns.ids, columns.scales, owners.astype(np.uint32), columns.mean]
    large: list[Iterable[NDArray[Any]]] = [columns.heads, columns.tails, columns.rough, [documents.astype("S32")], [levels], columns.exact]
    parts: list[Iterable[NDArray[Any]]] = [*([one] for one in small), *large]
    with path.open("wb") as file:
        for offset, part in zip(offsets, parts, strict=False):
            file.seek(offset)
            for block in part:
                file.write(np.ascontiguousarray(block).data)
        file.truncate(offsets[-1])
        file.flush()
        os.fsync(file.fileno())
    return shape


def levels_of(rows: StoredVectors) -> Levels:
    """The level of each row's document."""
    return np.array(rows.levels, np.uint8) if len(rows.levels) else np.full(len(rows.chunk_ids), DEFAULT_LEVEL, np.uint8)


def _signs(residuals: Floats) -> Patterns:
    """(rows, words): bit i of a pattern says that dimension i is positive."""
    packed = np.packbits(residuals > 0, axis=1, bitorder="little")
    padded = np.zeros((len(packed), 8 * words_of(residuals.shape[1])), np.uint8)
    padded[:, : packed.shape[1]] = packed
    return padded.view(np.uint64)


class Segment:
    """One file, mapped. `dead`: rows that no longer count, ascending. Immutable, safe for threads."""

    def __init__(self, path: Path, shape: Shape, width: int, dead: NDArray[np.int64], levels: Levels | None = None) -> None:
        """`levels`: of the documents now, None: as in the file. Raises OSError or ValueError when the file, or these, are not what `shape` says."""
        self.shape, self._width = shape, width
        self._bury(dead)
        offsets = shape.offsets(width)
        self._file = path.open("rb", buffering=0)
        size = os.fstat(self._file.fileno()).st_size
        if size != offsets[-1]:
            raise ValueError(f"{path}: {size} bytes instead of {offsets[-1]}")
        self._exact_at = offsets[9]
        whole = np.memmap(self._file, np.uint8, "r", shape=(self._exact_at,))

        def part(number: int, kind: Any, count: int) -> Any:
            size = np.dtype(kind).itemsize * count
            return np.asarray(whole[offsets[number] : offsets[number] + size]).view(kind)

        rows, (heads, tails) = shape.rows, pieces_of(width)
        self.ids: NDArray[np.int64] = part(0, np.int64, rows)
        self.scales: Floats = part(1, np.float32, rows)
        self._owners: NDArray[np.uint32] = part(2, np.uint32, rows)
        self.mean: Floats = part(3, np.float32, width)
        self.mean_key = self.mean.tobytes()
        """Equal for equal means."""
        self.heads: Patterns = part(4, np.uint64, heads * rows).reshape(rows, heads)
        self.tails: Patterns = part(5, np.uint64, tails * rows).reshape(rows, tails)
        self.rough: NDArray[np.int8] = part(6, np.int8, width * rows).reshape(rows, width)
        self._documents: NDArray[np.bytes_] = part(7, "S32", shape.documents)
        self.levels: Levels = part(8, np.uint8, shape.documents) if levels is None else levels
        if len(self.levels) != shape.documents:
            raise ValueError(f"{path}: {len(self.levels)} levels of {shape.documents} documents")

    @property
    def live(self) -> int:
        """Rows that count."""
        return self.shape.rows - len(self.dead)

    def rows_of(self, document_ids: Collection[str]) -> Rows:
        """Live rows of these documents, ascending."""
        ordinals = self._held(np.unique(np.array(list(document_ids), "S32")) if document_ids else np.array([], "S32"))[0]
        chosen = np.zeros(len(self._documents), np.bool_)
        chosen[ordinals] = True
        return self.alive(np.flatnonzero(chosen[self._owners])) if len(ordinals) else np.array([], np.intp)

    def up_to(self, max_level: int) -> Segment:
        """The same, with the rows of documents above this level as dead as those that are: so they take no place in any cut."""
        if not len(self.levels) or int(self.levels.max()) <= max_level:
            return self
        seen = copy(self)
        seen._bury(np.union1d(self.dead, np.flatnonzero((self.levels > max_level)[self._owners])).astype(np.int64))
        return seen

    def _bury(self, dead: NDArray[np.int64]) -> None:
        """`_gone`: the same, row by row; there may be as many as live."""
        self.dead = dead
        self._gone = np.zeros(self.shape.rows if len(dead) else 0, np.bool_)
        self._gone[dead] = True

    def with_levels(self, levels: Mapping[str, int]) -> Levels | None:
        """The levels of all documents when these have those; None when that is so already."""
        names = np.array(sorted(levels), "S32")
        ordinals, of = self._held(names)
        given = np.array([levels[bytes(names[at]).decode()] for at in of], np.uint8)
        if np.array_equal(self.levels[ordinals], given):
            return None
        found = self.levels.copy()
        found[ordinals] = given
        return found

    def _held(self, names: NDArray[np.bytes_]) -> tuple[Rows, Rows]:
        """Where those of these documents (ascending, no two alike) that are here stand, here and among the names."""
        at = np.searchsorted(self._documents, names)
        at[at == len(self._documents)] = 0
        there = np.flatnonzero(self._documents[at] == names)
        return at[there], there

    def rows_with(self, chunk_ids: NDArray[np.int64]) -> Rows:
        """Live rows of these chunks (ascending, no two alike), where there are any. Most segments hold none: chunks of one time have like ids."""
        within = chunk_ids[chunk_ids.searchsorted(self.ids[0]) : chunk_ids.searchsorted(self.ids[-1], "right")]
        at = self.ids.searchsorted(within)
        return self.alive(at[self.ids[at] == within])

    def alive(self, rows: Rows) -> Rows:
        """Those of these rows that count."""
        return rows[~self._gone[rows]] if len(self.dead) else rows

    def all_rows(self) -> Rows:
        """Every live row."""
        return np.delete(np.arange(self.shape.rows), self.dead)

    def by_heads(self, asked: Patterns, rows: Rows | None, distances_of: Distances) -> NDArray[Any]:
        """Distances of the heads of these rows, None for all, from that of a pattern; a row that does not count is farther than any."""
        found = distances_of(self.heads if rows is None else self.heads[rows], asked[: self.heads.shape[1]])
        if rows is None and len(self.dead):
            found[self._gone] = 64 * len(asked) + 1
        return found

    def by_tails(self, asked: Patterns, rows: Rows | None, distances_of: Distances) -> NDArray[Any]:
        """Distances of the tails of these rows, None for all."""
        count, words = self.tails.shape
        if not words:
            return np.zeros(count if rows is None else len(rows), np.uint16)
        return distances_of(self.tails if rows is None else np.take(self.tails, rows, axis=0), asked[-words:])

    def estimates(self, vector: Floats, rows: Rows) -> Floats:
        """Cosines of these rows by the 8-bit numbers, within `doubt`."""
        return _products(np.take(self.rough, rows, axis=0), vector) * self.scales[rows] + np.float32(self.mean @ vector)

    def doubt(self, rows: Rows) -> float:
        """How far estimates of these rows may be off: rounding errors are spread evenly over a step, and the question has unit length."""
        return _SIGMAS * float(self.scales[rows].max(initial=0)) / math.sqrt(12)

    def cosines(self, vector: Floats, rows: Rows) -> Floats:
        """Cosines of these rows, as exact as the vectors. They are read, not mapped: a page for each row would stay resident."""
        size, handle, start = 2 * self._width, self._file.fileno(), self._exact_at
        read = b"".join([os.pread(handle, size, start + row * size) for row in rows.tolist()])
        vectors = widened(np.frombuffer(read, np.float16).reshape(len(rows), self._width))
        return np.clip(_products(vectors, vector), -1, 1)

    def owners(self, rows: Rows) -> NDArray[np.bytes_]:
        """Document ids of these rows."""
        return self._documents[self._owners[rows]]

    # -- for merging

    def row_levels(self, rows: Rows) -> Levels:
        """Levels of these rows' documents."""
        return self.levels[self._owners[rows]]

    def mapped_exact(self) -> Halves:
        """The vectors of all rows, mapped for the moment."""
        return np.memmap(self._file, np.float16, "r", offset=self._exact_at, shape=(self.shape.rows, self._width))

    def blocks(self, rows: Rows, column: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """These rows of a column, some at a time."""
        for start in range(0, len(rows), _MERGED_ROWS):
            yield column[rows[start : start + _MERGED_ROWS]]

    def stored(self, rows: Rows) -> StoredVectors:
        """These rows as they came in."""
        owners = [one.decode() for one in self.owners(rows).tolist()]
        return StoredVectors(self.ids[rows].tolist(), owners, self.mapped_exact()[rows], self.row_levels(rows).tolist())


def nearest(parts: Sequence[Segment], vector: Floats, among: Sequence[Rows] | None, candidates: int, distances_of: Distances) -> list[Rows]:
    """Of each of these segments, which have one mean, the rows that may be nearest, ascending: of all together at least `candidates`, all of few.

    `among`: of each, these live rows only, ascending.
    """
    if (sum(part.live for part in parts) if among is None else sum(map(len, among))) <= max(_EXACT_ROWS, candidates):
        return [part.all_rows() for part in parts] if among is None else list(among)
    asked = _signs((vector - parts[0].mean)[None, :])[0]
    rows: list[Rows | None] = [None] * len(parts) if among is None else list(among)
    distances = [part.by_heads(asked, some, distances_of) for part, some in zip(parts, rows, strict=True)]
    live = sum(part.live for part in parts)
    if among is None and live > max(_WHOLE_ROWS, _PER_CANDIDATE * candidates):
        compared = max(_WIDEN * candidates, min(_PER_CANDIDATE * candidates, live // _SHARE))
        rows = list(_parted(_within(_joint(distances), compared), distances))
        distances = [one[some] for one, some in zip(distances, rows, strict=True)]
    for part, some, one in zip(parts, rows, distances, strict=True):
        one += part.by_tails(asked, some, distances_of).astype(one.dtype, copy=False)
    every = _joint(distances)
    near = _within(every, candidates)
    if len(near) > _WIDEN * candidates:
        near = np.sort(near[np.argpartition(every[near], candidates)[:candidates]])
    found = zip(parts, rows, _parted(near, distances), strict=True)
    # dead ones are the farthest, and in where hardly more than the candidates live
    return [part.alive(at if some is None else some[at]) for part, some, at in found]


def _joint(distances: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Of several segments, one behind the other."""
    return distances[0] if len(distances) == 1 else np.concatenate(distances, dtype=np.uint16, casting="unsafe")


def _parted(places: Rows, distances: Sequence[NDArray[Any]]) -> Iterator[Rows]:
    """Of each segment its own, of ascending places in the joint distances."""
    start = 0
    for one in distances:
        end = start + len(one)
        yield places[places.searchsorted(start) : places.searchsorted(end)] - start
        start = end


def _within(distances: NDArray[Any], candidates: int) -> Rows:
    """Positions of the smallest `candidates` distances, and of all that equal the largest of those; ascending. There are more than `candidates`.

    Some of them tell how far they will reach; only what lies within is counted. When they misled, all is counted.
    """
    sample = distances[:: max(1, len(distances) // _SAMPLED)]
    share = candidates * len(sample) / len(distances)
    guess = _reach(sample, min(len(sample), int(share + 4 * math.sqrt(share)) + 16))
    near = np.flatnonzero(distances <= guess)
    if len(near) < candidates:
        return np.flatnonzero(distances <= _reach(distances, candidates))
    found = distances[near]
    return near[found <= _reach(found, candidates)]


def _reach(distances: NDArray[Any], count: int) -> int:
    """The smallest distance within which `count` of them lie."""
    return int(np.searchsorted(np.cumsum(np.bincount(distances)), count))


def widened(halves: Halves) -> Floats:
    """The same finite numbers with 32 bits. numpy's own conversion is made for any processor, one number at a time: six times as long (2026-11-29).

    The sign goes to its place and exponent and fraction to theirs; multiplying puts the exponent's middle right, also of subnormal numbers.
    """
    bits = halves.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= _NO_COPIES_OF_THE_SIGN
    found = bits.view(np.float32)
    found *= _BIAS
    return found


def _products(rows: Floats | NDArray[np.int8], vector: Floats) -> Floats:
    """Of each row with the vector, on this thread. 8-bit numbers become floats some rows at a time, which stay in the core's own cache.

    `@` would wake BLAS's threads, which wait for each other by spinning: with all cores busy a search then took up to three times the CPU, and
    others lost 40% of theirs (2026-11-28). One row at a time is too little for that; `einsum` takes one and a half times as long (2026-11-29).
    """
    found = np.empty(len(rows), np.float32)
    step = max(1, _BLOCK // max(1, rows.shape[1]))
    for start in range(0, len(rows), step):
        np.vecdot(rows[start : start + step].astype(np.float32, copy=False), vector, out=found[start : start + step])
    return found


def _joined(parts: Sequence[StoredVectors]) -> StoredVectors:
    ids = [one for part in parts for one in part.chunk_ids]
    owners = [one for part in parts for one in part.document_ids]
    return StoredVectors(ids, owners, np.concatenate([part.vectors for part in parts]), np.concatenate([levels_of(part) for part in parts]).tolist())
