"""Tables on a page: found by their rules, or by columns that stand clear of each other in line after line. Pure.

Rules that touch make a grid; where two neighbouring cells of it have no rule between them they are one merged cell. Between rules that
only run across (three-line tables) and in tables without any, columns are the stripes that the text leaves free.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from qzbrain.knowledge.parsers.headers import Cell
from qzbrain.knowledge.parsers.page_layout import Box, Rule, Run, joined, rows_of, text_of

_TOUCHING = 3.0
_MOST_CELLS = 6_000
_LEAST_ROWS = 3
_COLUMN_GAP = 0.9
"""Width of the free stripe between two columns, in heights of the text."""
_LONGEST_CELL = 16.0
"""Mean width of a cell, in heights of the text, from which columns without rules are columns of text."""


@dataclass(frozen=True, slots=True)
class PageTable:
    """A table's place and its rows of cells; a cell that spans rows or columns is written once."""

    box: Box
    rows: list[list[Cell]]
    columns: int


def tables(across: Sequence[Rule], upright: Sequence[Rule], runs: Sequence[Run]) -> tuple[list[PageTable], list[Run]]:
    """The tables of a page from the top, and the runs that are in none."""
    found: list[PageTable] = []
    rest = list(runs)
    lone: list[Rule] = []
    for lines, posts in _touching(across, upright):
        grid = _grid(lines, posts)
        if grid is None:
            lone += lines if len(posts) == 0 else []
            continue
        inside, outside = _parted(rest, (grid.xs[0], grid.ys[-1], grid.xs[-1], grid.ys[0]))
        table = _ruled(grid, inside)
        if table is not None:
            found.append(table)
            rest = outside
    for box, walls in _three_line(lone):
        inside, outside = _parted(rest, box)
        table = _by_stripes(rows_of(inside), walls)
        if table is not None:
            found.append(table)
            rest = outside
    for rows in _aligned(rest):
        table = _by_stripes(rows, [])
        if table is not None:
            found.append(table)
            taken = {id(run) for row in rows for run in row}
            rest = [run for run in rest if id(run) not in taken]
    return sorted(found, key=lambda table: -table.box[3]), rest


def _parted(runs: Sequence[Run], box: Box) -> tuple[list[Run], list[Run]]:
    inside: list[Run] = []
    outside: list[Run] = []
    for run in runs:
        centre = (run.left + run.right) / 2
        held = box[0] - 2 <= centre <= box[2] + 2 and box[1] - 1 <= run.middle <= box[3] + 1
        (inside if held else outside).append(run)
    return inside, outside


def _touching(across: Sequence[Rule], upright: Sequence[Rule]) -> list[tuple[list[Rule], list[Rule]]]:
    """Groups of rules that meet."""
    owner = list(range(len(across) + len(upright)))

    def root(index: int) -> int:
        while owner[index] != index:
            owner[index] = owner[owner[index]]
            index = owner[index]
        return index

    for first, line in enumerate(across):
        for second, post in enumerate(upright, len(across)):
            meets = line.start - _TOUCHING <= post.at <= line.end + _TOUCHING and post.start - _TOUCHING <= line.at <= post.end + _TOUCHING
            if meets:
                owner[root(first)] = root(second)
    groups: dict[int, tuple[list[Rule], list[Rule]]] = {}
    for index in range(len(owner)):
        lines, posts = groups.setdefault(root(index), ([], []))
        if index < len(across):
            lines.append(across[index])
        else:
            posts.append(upright[index - len(across)])
    return list(groups.values())


@dataclass(frozen=True, slots=True)
class _Grid:
    """Places of the columns' edges from the left and the rows' from the top, and the rules."""

    xs: list[float]
    ys: list[float]
    across: list[Rule]
    upright: list[Rule]

    def ruled_upright(self, x: float, y: float) -> bool:
        return any(abs(rule.at - x) <= _TOUCHING and rule.start - 1 <= y <= rule.end + 1 for rule in self.upright)

    def ruled_across(self, y: float, x: float) -> bool:
        return any(abs(rule.at - y) <= _TOUCHING and rule.start - 1 <= x <= rule.end + 1 for rule in self.across)


def _grid(across: list[Rule], upright: list[Rule]) -> _Grid | None:
    """The grid of rules that meet; sides that are not ruled are where the rules end. None for a frame, an underline, a drawing."""
    if len(across) < 2 or not upright:
        return None
    xs = _places([rule.at for rule in upright] + [rule.start for rule in across] + [rule.end for rule in across])
    ys = _places([rule.at for rule in across] + [rule.start for rule in upright] + [rule.end for rule in upright])[::-1]
    cells = (len(xs) - 1) * (len(ys) - 1)
    if len(xs) < 2 or len(ys) < 2 or not 2 <= cells <= _MOST_CELLS:
        return None
    return _Grid(xs, ys, across, upright)


def _places(values: list[float]) -> list[float]:
    """Distinct places: those closer than rules touch are one."""
    places: list[float] = []
    for value in sorted(values):
        if not places or value - places[-1] > 2 * _TOUCHING:
            places.append(value)
    return places


def _ruled(grid: _Grid, runs: Sequence[Run]) -> PageTable | None:
    columns, count = len(grid.xs) - 1, len(grid.ys) - 1
    owner = _merged(grid, columns, count)
    held: dict[int, list[Run]] = {}
    for run in runs:
        row = next((i for i, (_, low) in enumerate(pairwise(grid.ys)) if run.middle >= low), count - 1)
        centre = (run.left + run.right) / 2
        column = next((i for i, (_, right) in enumerate(pairwise(grid.xs)) if centre <= right), columns - 1)
        held.setdefault(owner[row * columns + column], []).append(run)
    if len(held) < 2:
        return None
    spans: dict[int, tuple[int, int]] = {}
    for index, first in enumerate(owner):
        high, wide = spans.get(first, (1, 1))
        spans[first] = max(high, (index // columns) - (first // columns) + 1), max(wide, (index % columns) - (first % columns) + 1)
    written: list[list[Cell]] = []
    for first in range(0, count * columns, columns):
        begun = [index for index in range(first, first + columns) if owner[index] == index]
        written += _split([(held.get(index, []), Cell(_cell_text(held.get(index, ())), spans[index][1], spans[index][0])) for index in begun])
    return PageTable((grid.xs[0], grid.ys[-1], grid.xs[-1], grid.ys[0]), written, columns)


def _merged(grid: _Grid, columns: int, rows: int) -> list[int]:
    """For each cell of the grid the first cell of the rectangle that it is part of."""
    owner = [-1] * (rows * columns)
    for index in range(rows * columns):
        if owner[index] >= 0:
            continue
        row, column = divmod(index, columns)
        last = column
        while last + 1 < columns and owner[row * columns + last + 1] < 0 and not grid.ruled_upright(grid.xs[last + 1], (grid.ys[row] + grid.ys[row + 1]) / 2):
            last += 1
        low = row
        while low + 1 < rows and not any(
            grid.ruled_across(grid.ys[low + 1], (grid.xs[x] + grid.xs[x + 1]) / 2) or owner[(low + 1) * columns + x] >= 0 for x in range(column, last + 1)
        ):
            low += 1
        for y in range(row, low + 1):
            for x in range(column, last + 1):
                owner[y * columns + x] = index
    return owner


def _split(cells: list[tuple[list[Run], Cell]]) -> Iterator[list[Cell]]:
    """A row of a grid whose lines are rows of their own: three lines or more, level with each other in every cell."""
    lines = [rows_of(runs) for runs, _ in cells]
    count = len(lines[0]) if lines else 0
    level = (
        count >= _LEAST_ROWS and len(cells) > 1 and all(len(x) == count and cell.rows == 1 for x, (_, cell) in zip(lines, cells, strict=True))
        and all(abs(x[i][0].middle - lines[0][i][0].middle) < 0.4 * x[i][0].size for x in lines for i in range(count))
    )
    if not level:
        yield [cell for _, cell in cells]
        return
    for index in range(count):
        yield [Cell(text_of(x[index]), cell.columns) for x, (_, cell) in zip(lines, cells, strict=True)]


def _cell_text(runs: Sequence[Run]) -> str:
    return joined([text_of(row) for row in rows_of(runs)]) if runs else ""


def _three_line(rules: Sequence[Rule]) -> Iterator[tuple[Box, list[float]]]:
    """Places between rules of one length that lie above each other, with the heights of those rules."""
    waiting = sorted(rules, key=lambda rule: -rule.at)
    while waiting:
        top = waiting.pop(0)
        width = top.end - top.start
        same = [rule for rule in waiting if abs(rule.start - top.start) < 0.03 * width + 2 and abs(rule.end - top.end) < 0.03 * width + 2]
        if len(same) >= 2 or (same and width > 100):
            waiting = [rule for rule in waiting if rule not in same]
            yield (top.start, same[-1].at, top.end, top.at), [top.at, *(rule.at for rule in same)]


def _aligned(runs: Sequence[Run]) -> Iterator[list[list[Run]]]:
    """Lines one below the other of which each has several pieces far apart."""
    group: list[list[Run]] = []
    for row in rows_of(runs):
        size = row[0].size
        apart = sum(right.left - left.right > 1.5 * size for left, right in pairwise(row))
        near = not group or group[-1][0].middle - row[0].middle < 3.0 * max(size, group[-1][0].size)
        if apart and (near or not group):
            group.append(row)
            continue
        if len(group) >= _LEAST_ROWS:
            yield group
        group = [row] if apart else []
    if len(group) >= _LEAST_ROWS:
        yield group


def _by_stripes(lines: list[list[Run]], walls: Sequence[float]) -> PageTable | None:
    """A table of these lines, if the text leaves stripes free from top to bottom. `walls`: heights of rules between rows, none without."""
    if len(lines) < 2 + (not walls):
        return None
    runs = [run for line in lines for run in line]
    size = median(run.size for run in runs)
    stripes = _stripes(lines, size)
    if not stripes:
        return None
    placed = [_placed(line, stripes) for line in lines]
    several = sum(len(row) > 1 for row in placed)
    if several < (0.6 if walls else 0.9) * len(placed) or several < 2:
        return None
    widths = [(run.right - run.left) / size for run in runs]
    longest = _LONGEST_CELL if len(walls) < _LEAST_ROWS else 1.4 * _LONGEST_CELL  # a page's head and foot may be ruled too
    if sum(widths) / len(widths) > longest or (not walls and max(widths) > 2.5 * longest):
        return None
    rows = _wrapped(lines, placed, walls, size)
    columns = len(stripes) + 1
    if len(rows) < 2:
        return None
    cells = [[_spanning(row, first, columns) for first in _firsts(row, columns)] for row in rows]
    box = min(x.left for x in runs), min(x.bottom for x in runs), max(x.right for x in runs), max(x.top for x in runs)
    return PageTable(box, cells, columns)


def _stripes(lines: Sequence[Sequence[Run]], size: float) -> list[float]:
    """Middles of the stripes that (nearly) all lines leave free."""
    allowed = len(lines) // 8
    runs = [run for line in lines for run in line]
    edges = sorted([(run.left, 1) for run in runs] + [(run.right, -1) for run in runs], key=lambda edge: (edge[0], -edge[1]))
    stripes: list[float] = []
    covering, free = 0, None
    for place, step in edges:
        before = covering
        covering += step
        if before > allowed >= covering:
            free = place
        elif before <= allowed < covering and free is not None:
            if place - free >= _COLUMN_GAP * size:
                stripes.append((free + place) / 2)
            free = None
    return stripes


def _placed(line: Sequence[Run], stripes: Sequence[float]) -> dict[int, tuple[list[Run], int]]:
    """Runs by column, and the last column that they reach."""
    placed: dict[int, tuple[list[Run], int]] = {}
    for run in line:
        first = sum(stripe < run.left + 1 for stripe in stripes)
        last = max(sum(stripe < run.right - 1 for stripe in stripes), first)
        held, reach = placed.get(first, ([], last))
        placed[first] = [*held, run], max(reach, last)
    return placed


_Row = dict[int, tuple[list[str], int]]


def _wrapped(lines: Sequence[Sequence[Run]], placed: Sequence[dict[int, tuple[list[Run], int]]], walls: Sequence[float], size: float) -> list[_Row]:
    """Rows of lines: a line without a first cell, close under another and with nothing new, goes on with the row above."""
    rows: list[_Row] = []
    before = 0.0
    for line, cells in zip(lines, placed, strict=True):
        middle = line[0].middle
        walled = any(middle < wall < before for wall in walls)
        goes_on = rows and not walled and 0 not in cells and 0 in rows[-1] and before - middle < 1.6 * size and all(x in rows[-1] for x in cells) and (
            len(cells) < len(rows[-1]) / 2
        )
        if goes_on:
            for column, (runs, _) in cells.items():
                rows[-1][column][0].append(text_of(runs))
        else:
            rows.append({column: ([text_of(runs)], last) for column, (runs, last) in cells.items()})
        before = middle
    return rows


def _firsts(row: _Row, columns: int) -> list[int]:
    """Columns at which a cell of this row begins, empty ones too."""
    firsts: list[int] = []
    column = 0
    while column < columns:
        firsts.append(column)
        column = max(row[column][1], column) + 1 if column in row else column + 1
    return firsts


def _spanning(row: _Row, first: int, columns: int) -> Cell:
    texts, last = row.get(first, ([], first))
    return Cell(joined(texts), min(last, columns - 1) - first + 1)
