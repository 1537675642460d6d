"""A sheet cut into its tables: rows apart by empty ones, tables beside each other apart by empty columns, merged cells filled. Pure.

Rows come and go as a stream; of a sheet no more is held than a table's first rows, save where tables stand side by side.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import NamedTuple

from qzbrain.knowledge.parsers.headers import Cell, Header, Row, is_number
from qzbrain.knowledge.parsers.tables import HEAD_ROWS

SparseRow = tuple[int, list[tuple[int, str]]]
"""Row number from 0, and column from 0 with text for each cell that holds one."""
_LARGEST_MERGE = 100_000


class Merge(NamedTuple):
    """A merged range, ends included, from 0."""

    top: int
    left: int
    bottom: int
    right: int


class Place(NamedTuple):
    """Where a table stands: its columns, and how many empty rows are above it; 0 for one that stands beside another."""

    left: int
    right: int
    gap: int


@dataclass(frozen=True, slots=True)
class Sheet:
    """A sheet's name, its rows from top to bottom, its merged ranges."""

    name: str
    rows: Iterable[SparseRow]
    merges: tuple[Merge, ...] = ()


def filled(sheet: Sheet) -> Iterator[tuple[int, dict[int, Cell]]]:
    """Rows by number with merged cells in each place that they cover; rows that hold nothing are left out."""
    starting: dict[int, list[Merge]] = defaultdict(list)
    for merge in sheet.merges:
        if (merge.bottom - merge.top + 1) * (merge.right - merge.left + 1) <= _LARGEST_MERGE:
            starting[merge.top].append(merge)
    reaching: dict[int, tuple[Merge, Cell]] = {}  # by left column: of merges over each other, which no program writes, the last
    for number, texts in _with_bare_rows(sheet.rows, reaching):
        cells = {column: Cell(text) for column, text in texts}
        for left in [left for left, (merge, _) in reaching.items() if merge.bottom < number]:
            del reaching[left]
        for merge, cell in reaching.values():
            cells.update(dict.fromkeys(range(merge.left, merge.right + 1), cell))
        for merge in starting.pop(number, ()):
            if merge.left in cells:
                cells.update(dict.fromkeys(range(merge.left, merge.right + 1), cells[merge.left]))
                reaching[merge.left] = merge, cells[merge.left]
        if cells:
            yield number, cells


def _with_bare_rows(rows: Iterable[SparseRow], reaching: dict[int, tuple[Merge, Cell]]) -> Iterator[SparseRow]:
    """The rows; also those that the file leaves out and a merged cell covers."""
    last = -1
    for number, texts in rows:
        while last + 1 < number and any(merge.bottom > last for merge, _ in reaching.values()):
            last += 1
            yield last, []
        if number > last:
            last = number
            yield number, texts


def tables(sheet: Sheet) -> Iterator[tuple[Place, Iterator[Row]]]:
    """Each table's rows, to be read in order, one table after the other."""
    rows = filled(sheet)
    following = next(rows, None)
    last = -2
    while following is not None:
        run = _Run(rows, following)
        head = list(islice(run, HEAD_ROWS))
        yield from _side_by_side(head, run, gap=following[0] - last - 1)
        for _ in run:
            pass
        following, last = run.following, run.last


class _Run:
    """Rows up to the next empty one; `following` is the row that comes after them."""

    def __init__(self, rows: Iterator[tuple[int, dict[int, Cell]]], first: tuple[int, dict[int, Cell]]) -> None:
        self._rows = rows
        self.following: tuple[int, dict[int, Cell]] | None = first
        self.last = first[0] - 1

    def __iter__(self) -> Iterator[dict[int, Cell]]:
        while self.following is not None and self.following[0] == self.last + 1:
            self.last, cells = self.following
            self.following = next(self._rows, None)
            yield cells


def _side_by_side(head: list[dict[int, Cell]], rest: Iterable[dict[int, Cell]], *, gap: int) -> Iterator[tuple[Place, Iterator[Row]]]:
    parts = _column_ranges(head)
    if len(parts) > 1:
        head += rest
        parts = _column_ranges(head)
    if len(parts) < 2:
        left, right = min(map(min, head)), max(map(max, head))
        yield Place(left, right, gap), (_row(cells, left, max(right, *cells)) for cells in chain(head, rest))
        return
    for left, right in parts:
        yield Place(left, right, 0), (row for cells in head if any(row := _row(cells, left, right)))


def _row(cells: dict[int, Cell], left: int, right: int) -> Row:
    return [cells.get(column) for column in range(left, right + 1)]


def _column_ranges(head: list[dict[int, Cell]]) -> list[tuple[int, int]]:
    """Tables beside each other: at least two columns each, an empty column between them."""
    used = sorted(set().union(*head))
    ranges = [[used[0], used[0]]]
    for column in used[1:]:
        if column > ranges[-1][1] + 1:
            ranges.append([column, column])
        ranges[-1][1] = column
    return [(left, right) for left, right in ranges] if all(right > left for left, right in ranges) else [(used[0], used[-1])]


def continues(header: Header, top: Row, body: Row) -> bool:
    """Whether a table goes on after an empty row: as wide as before, with values where values stood."""
    if len(top) != len(body) or len(top) != len(header.labels):
        return False
    shape = [[cell is not None and is_number(cell.text) for cell in row] for row in (top, body)]
    return shape[0] == shape[1] and all((a is None) == (b is None) or any(shape[1]) for a, b in zip(top, body, strict=True))
