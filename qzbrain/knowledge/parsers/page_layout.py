"""The lines of a page in the order in which a person reads them, whoever found them: a PDF's text layer or OCR. Pure.

Columns are found by their left edges: where lines that fill a column begin side by side with others, the page is read column after
column, down to the next line that runs across them. What stands side by side without filling columns (a form) is one line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

Box = tuple[float, float, float, float]
"""Left, bottom, right, top; y grows upwards."""

_COLUMN_ROWS = 4
_FILLS = 0.55
_DEEPEST = 4
_WIDE_CHARS = re.compile("[\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\u3000-\u303f\U00020000-\U0003ffff]")
_OPENS_ITEM = re.compile(r"[（(]?(?:\d{1,2}|[一二三四五六七八九十]{1,3}|[a-zA-Z])[)）、.．]|[•·●■◆\-*—]\s?")


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of text on one line. `size`: of its font. `inset`: number of what stands in its place instead of text (a table), or -1."""

    text: str
    left: float
    bottom: float
    right: float
    top: float
    size: float
    inset: int = -1

    @property
    def middle(self) -> float:
        """Half its height."""
        return (self.bottom + self.top) / 2


@dataclass(frozen=True, slots=True)
class Rule:
    """A ruled line: `at` across its direction, from `start` to `end` along it."""

    at: float
    start: float
    end: float


@dataclass(slots=True)
class Drawn:
    """What a page has besides text: lines without gaps, and the share of the page that pictures cover, 0 to 1."""

    across: list[Rule] = field(default_factory=list)
    upright: list[Rule] = field(default_factory=list)
    pictures: float = 0.0
    objects: int = 0


@dataclass(frozen=True, slots=True)
class PageLine:
    """A line: whether it begins a paragraph by its indent or the gap above it, whether it runs to the right edge, its edges, its size.

    `inset`: number of what stands in a line's place (a table), or -1.
    """

    text: str
    begins: bool
    full: bool
    left: float
    right: float
    bottom: float
    top: float
    size: float
    inset: int = -1


def is_wide(letter: str) -> bool:
    """Whether a character is Chinese (or Japanese, Korean) or its punctuation: such text has no blanks between words."""
    return letter > "\u2e7f" and _WIDE_CHARS.match(letter) is not None


def blank_between(left: str, right: str, gap: float, *, typed: bool) -> bool:
    """Whether a blank belongs between two characters `gap` heights apart; `typed`: the file has one there."""
    if is_wide(left) or is_wide(right):
        both = is_wide(left) and is_wide(right)
        return gap > (0.4 if both else 0.5) or (typed and (gap > 0.1 or not both))
    return gap > 0.15 or typed


def reading_order(runs: Sequence[Run]) -> list[PageLine]:
    """The lines of a page or of a part of it."""
    return [line for block in _blocks(list(runs), 0) for line in _lines(block)]


def rows_of(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs side by side, from the top; each row from left to right."""
    rows: list[list[Run]] = []
    tops: list[tuple[float, float]] = []
    for run in sorted(runs, key=lambda run: -run.middle):
        if rows:
            bottom, top = tops[-1]
            overlap = min(top, run.top) - max(bottom, run.bottom)
            if overlap > 0.5 * min(top - bottom, run.top - run.bottom):
                rows[-1].append(run)
                if run.top - run.bottom > top - bottom:
                    tops[-1] = run.bottom, run.top
                continue
        rows.append([run])
        tops.append((run.bottom, run.top))
    for row in rows:
        row.sort(key=lambda run: run.left)
    return rows


def text_of(row: Sequence[Run]) -> str:
    """The text of runs side by side."""
    text = row[0].text
    for before, run in pairwise(row):
        gap = (run.left - before.right) / max(min(before.size, run.size), 1.0)
        text += (" " if blank_between(text[-1], run.text[0], gap, typed=False) else "") + run.text
    return text


def joined(lines: Sequence[str]) -> str:
    """One text of wrapped lines: blanks between Latin words, none in Chinese, hyphens at the ends of lines resolved."""
    text = ""
    for line in lines:
        if not text or not line:
            text += line
        elif text[-1] in "\x02-" and len(text) > 1 and text[-2].isalpha() and text[-2].islower() and line[0].islower() and line[0].isascii():
            text = text[:-1] + line
        elif text[-1] in "\x02-/":
            text = text.replace("\x02", "-") + line
        else:
            text += ("" if is_wide(text[-1]) or is_wide(line[0]) else " ") + line
    return text.replace("\x02", "-")


def _blocks(runs: list[Run], depth: int) -> Iterator[list[Run]]:
    """Parts that are read one after the other, each of a single column."""
    gutter = _gutter(runs) if depth < _DEEPEST else None
    if gutter is None:
        if runs:
            yield runs
        return
    together: list[Run] = []
    for parted, rows in _bands(runs, gutter):
        flat = [run for row in rows for run in row]
        if not parted:
            together += flat
            continue
        if together:
            yield from _blocks(together, depth + 1)
            together = []
        yield from _blocks([run for run in flat if run.right <= gutter + 1], depth + 1)
        yield from _blocks([run for run in flat if run.right > gutter + 1], depth + 1)
    if together:
        yield from _blocks(together, depth + 1)


def _gutter(runs: Sequence[Run]) -> float | None:
    """Where two columns part, if it is clear: the place with the most lines in columns on both sides of it."""
    if len(runs) < 2 * _COLUMN_ROWS:
        return None
    left, right = min(run.left for run in runs), max(run.right for run in runs)
    width = right - left
    edges: dict[int, int] = {}
    for run in runs:
        if left + 0.25 * width < run.left < left + 0.75 * width and run.right - run.left > 0.15 * width:
            edges[round(run.left / 3)] = edges.get(round(run.left / 3), 0) + 1
    best: tuple[int, float] | None = None
    for edge in sorted((edge for edge, lines in edges.items() if lines + edges.get(edge - 1, 0) + edges.get(edge + 1, 0) >= 3), key=lambda x: -edges[x])[:4]:
        gutter = edge * 3 - 3.0
        inside = sum(len(rows) for parted, rows in _bands(runs, gutter) if parted)
        if inside and (best is None or inside > best[0]):
            best = inside, gutter
    return best[1] if best else None


def _bands(runs: Sequence[Run], gutter: float) -> Iterator[tuple[bool, list[list[Run]]]]:
    """Rows from the top in groups: those that nothing crosses and that fill both columns, and the others."""
    band: list[list[Run]] = []
    for row in rows_of(runs):
        if any(run.left < gutter - 1 and run.right > gutter + 1 for run in row):
            if band:
                yield _fills_columns(band, gutter, runs), band
                band = []
            yield False, [row]
        else:
            band.append(row)
    if band:
        yield _fills_columns(band, gutter, runs), band


def _fills_columns(rows: Sequence[Sequence[Run]], gutter: float, runs: Sequence[Run]) -> bool:
    left, right = min(run.left for run in runs), max(run.right for run in runs)
    for on_left, width in ((True, gutter - left), (False, right - gutter)):
        lines = [[run for run in row if (run.right <= gutter + 1) is on_left] for row in rows]
        lengths = [line[-1].right - line[0].left for line in lines if line]
        if len(lengths) < _COLUMN_ROWS or median(lengths) < _FILLS * width:
            return False
    return True


def _lines(runs: Sequence[Run]) -> Iterator[PageLine]:
    """The lines of one column, insets among them; text beside an inset comes before it."""
    rows: list[list[Run]] = []
    for row in rows_of(runs):
        insets = [run for run in row if run.inset >= 0]
        beside = [run for run in row if run.inset < 0]
        rows += (rows_of(beside) if insets else [beside]) if beside else []
        rows += [[inset] for inset in insets]
    shape = _Shape([row for row in rows if row[0].inset < 0])
    before: PageLine | None = None
    rights = [max(run.right for run in row) for row in rows]
    for index, row in enumerate(rows):
        left, right, bottom, top = row[0].left, max(x.right for x in row), min(x.bottom for x in row), max(x.top for x in row)
        if row[0].inset >= 0:
            yield PageLine("", True, False, left, right, bottom, top, 0.0, row[0].inset)
            before = None
            continue
        text = text_of(row)
        size = max(row, key=lambda run: len(run.text)).size
        slack = 1.6 if is_wide(text[-1]) else 4.0
        near = max(rights[max(index - 2, 0) : index + 3])  # notes under a text may be wider than it
        full = right > min(shape.right, near) - slack * size and right - left > _FILLS * (shape.right - shape.left)
        before = PageLine(text, shape.begins(before, text, left, (bottom + top) / 2, size), full, left, right, bottom, top, size)
        yield before


class _Shape:
    """How the lines of a column usually lie: their margins and the distance from one to the next."""

    def __init__(self, rows: Sequence[Sequence[Run]]) -> None:
        lefts = [row[0].left for row in rows]
        rights = sorted(max(run.right for run in row) for row in rows)
        middles = [(min(x.bottom for x in row) + max(x.top for x in row)) / 2 for row in rows]
        self.left = min(lefts, default=0.0)
        self.right = 0.0 if not rights else rights[int(len(rights) * 0.9)] if len(rights) > 10 else rights[-1]
        self._leading = median([upper - lower for upper, lower in pairwise(middles)]) if len(middles) > 1 else 0.0
        size = rows[0][0].size if rows else 0.0
        self._at_margin = sum(left < self.left + 0.5 * size for left in lefts) > 0.3 * len(lefts)

    def begins(self, before: PageLine | None, text: str, left: float, middle: float, size: float) -> bool:
        """Whether a line begins a paragraph: by its indent, by the gap above it, by another size. The first of a column may go on."""
        if before is None:
            return left > self.left + 1.2 * size
        gap = (before.bottom + before.top) / 2 - middle
        if gap > max(1.45 * self._leading, 1.3 * size) or abs(before.size - size) > 0.12 * size:
            return True
        if left < self.left + 1.2 * size:
            return False
        hanging = before.full and before.left < left - 0.3 * size and _OPENS_ITEM.match(before.text) is not None
        goes_on = before.full and abs(before.left - left) < 0.3 * size and not self._at_margin
        return not hanging and not goes_on
