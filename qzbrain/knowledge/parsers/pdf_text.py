"""The characters of a PDF page as runs: stretches of one line, with their boxes, turned upright.

Blanks are told from the gaps between characters, not from what the file says: a Chinese text set with Latin digits has none around them
that anybody typed. Text that stands sideways is given apart; slanted text is a watermark and left out when there is other text.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from ctypes import byref
from dataclasses import dataclass
from math import atan2, pi
from typing import TYPE_CHECKING

from qzbrain.knowledge.parsers.page_layout import Box, Rule, Run, blank_between

if TYPE_CHECKING:
    from pypdfium2 import PdfTextPage

_BREAKS_RUN = 1.0
"""Gap, in ems, at which a run ends: as wide as a character, it parts columns."""
_SLANTED = 0.1
"""Quarter turns away from the nearest."""
SLANTED = -1
_HYPHENS = (0x02, 0xFFFE)
HYPHEN = "\x02"
"""A hyphen at the end of a line that may be no part of the word."""

Char = tuple[str, float, float, float, float, float, bool]
"""Character, left, bottom, right, top, size of its font, whether a blank stands before it."""


@dataclass(frozen=True, slots=True)
class Characters:
    """A page's characters by the quarter turn at which they stand (most first), how many there are, and how many mean nothing."""

    turns: list[tuple[int, list[Char]]]
    count: int
    unmapped: int


def characters(text_page: PdfTextPage) -> Characters:
    """All characters of a page. Raises MemoryError for a page without end."""
    from pypdfium2 import raw

    unicode_of, box_of, matrix_of, size_of = raw.FPDFText_GetUnicode, raw.FPDFText_GetLooseCharBox, raw.FPDFText_GetMatrix, raw.FPDFText_GetFontSize
    generated = raw.FPDFText_IsGenerated
    handle = text_page.raw  # the wrapper would be unwrapped at each of many calls
    count = max(raw.FPDFText_CountChars(handle), 0)
    turned: dict[int, list[Char]] = {}
    box, matrix = raw.FS_RECTF(), raw.FS_MATRIX()
    box_place, matrix_place = byref(box), byref(matrix)
    unmapped = total = high = turn = 0
    size = line_bottom = line_top = 0.0
    blank = False
    for index in range(count):
        code = unicode_of(handle, index)
        if code <= 0x20 or code in (0xA0, 0x3000, 0xFFFE):
            if code == 0 and generated(handle, index) != 1:
                unmapped, total = unmapped + 1, total + 1
            if code not in _HYPHENS:
                blank = blank or generated(handle, index) != 1
                continue
        total += 1
        if 0xD800 <= code < 0xDC00:
            high = code
            continue
        if 0xDC00 <= code < 0xE000:
            code, high = (0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00) if high else 0xFFFD), 0
        box_of(handle, index, box_place)
        left, bottom, right, top = box.left, box.bottom, box.right, box.top
        if not (-0.05 < bottom - line_bottom < 0.05 and -0.05 < top - line_top < 0.05):  # else it is as the one before: two calls saved
            matrix_of(handle, index, matrix_place)
            turn = _turn(matrix.a, matrix.b)
            size = size_of(handle, index) * ((matrix.c**2 + matrix.d**2) ** 0.5 or 1.0)
            line_bottom, line_top = bottom, top
        letter = HYPHEN if code in _HYPHENS else chr(code) if code < 0x110000 else "\ufffd"
        if turn:
            left, bottom, right, top = turned_box(turn, (left, bottom, right, top))
        turned.setdefault(turn, []).append((letter, left, bottom, right, top, size if size > 0 else max(top - bottom, 1.0), blank))
        blank = False
    if len(turned) > 1:
        turned.pop(SLANTED, None)
    return Characters(sorted(turned.items(), key=lambda item: -len(item[1])), total, unmapped)


def _turn(a: float, b: float) -> int:
    """Quarter turns of text with this matrix; SLANTED when it lies between them."""
    if a > 0 and b == 0:
        return 0
    quarters = atan2(b, a) / (pi / 2)
    turn = round(quarters)
    return SLANTED if abs(quarters - turn) > _SLANTED else turn % 4


def turned_box(turn: int, box: Box) -> Box:
    """A box as it lies when text that stands at `turn` quarter turns is read upright."""
    left, bottom, right, top = box
    if turn == 1:
        return bottom, -right, top, -left
    if turn == 2:
        return -right, -top, -left, -bottom
    if turn == 3:
        return -top, left, -bottom, right
    return box


def runs(chars: Sequence[Char], upright: Sequence[Rule]) -> list[Run]:
    """Characters that follow each other on a line; a rule between two of them parts them."""
    walls = sorted(upright, key=lambda rule: rule.at)
    return list(_runs(chars, walls, [rule.at for rule in walls]))


def _runs(chars: Sequence[Char], walls: Sequence[Rule], wall_places: Sequence[float]) -> Iterator[Run]:
    letters: list[str] = []
    left = right = bottom = top = size = 0.0
    for letter, start, low, end, high, font, blank in chars:
        if letters:
            gap, em = start - right, font if font < size else size
            same = -0.6 * em < gap < _BREAKS_RUN * em and (
                -0.3 * em < low - bottom < 0.3 * em or min(high, top) - max(low, bottom) > 0.5 * min(high - low, top - bottom)
            )
            if same and (gap > 0.15 * em or blank) and walls:
                same = not _walled(walls, wall_places, right, start, (low + high) / 2)
            if same:
                if (blank or gap > 0.1 * em) and blank_between(letters[-1], letter, gap / em, typed=blank):
                    letters.append(" ")
                letters.append(letter)
                right = end if end > right else right
                if low < bottom - 0.1 or high > top + 0.1 or font > size:
                    bottom, top, size = min(bottom, low), max(top, high), max(size, font)
                continue
            yield Run("".join(letters), left, bottom, right, top, size)
        letters, left, right, bottom, top, size = [letter], start, end, low, high, font
    if letters:
        yield Run("".join(letters), left, bottom, right, top, size)


def _walled(walls: Sequence[Rule], places: Sequence[float], left: float, right: float, y: float) -> bool:
    for wall in walls[bisect_left(places, left - 1.0):]:
        if wall.at > right + 1.0:
            return False
        if wall.start <= y <= wall.end:
            return True
    return False
