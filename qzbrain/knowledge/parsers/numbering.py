"""Automatic numbers of Word paragraphs (`第一条`, `一、`, `1.2`): the file holds only the counting rules, the reader sees the numbers.

Regulations and contracts are often numbered this way; without the numbers their articles could neither be found nor cited.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qzbrain.text.numerals import chinese_numeral

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_CHINESE = frozenset(("chineseCounting", "chineseCountingThousand", "taiwaneseCounting", "taiwaneseCountingThousand", "japaneseCounting", "ideographDigital"))
_TIGHT_ENDS = "、）)．"


@dataclass(frozen=True, slots=True)
class _Level:
    """One level of a list: first number, kind of numeral, text with %1 … %9 for the counters."""

    start: int
    numeral: str
    text: str


def value(element: Any) -> str:
    """The `w:val` of an element, '' when it is missing."""
    return "" if element is None else element.get(f"{W}val") or ""


class Numbering:
    """Counts the numbered paragraphs of one document, in order."""

    def __init__(self, root: Any | None) -> None:
        """`root`: the w:numbering element, None when the document has no lists."""
        self._lists: dict[str, str] = {}
        self._levels: dict[str, dict[int, _Level]] = {}
        self._counters: dict[str, dict[int, int]] = {}
        if root is None:
            return
        for abstract in root.iterchildren(f"{W}abstractNum"):
            levels = (((_integer(level.get(f"{W}ilvl")), _level(level))) for level in abstract.iterchildren(f"{W}lvl"))
            self._levels[abstract.get(f"{W}abstractNumId", "")] = dict(levels)
        for number in root.iterchildren(f"{W}num"):
            self._lists[number.get(f"{W}numId", "")] = value(number.find(f"{W}abstractNumId"))

    def label(self, properties: Any | None) -> str:
        """The number that Word shows before a paragraph with these w:numPr, with the blank after it; '' for bullets and none."""
        if properties is None:
            return ""
        abstract = self._lists.get(value(properties.find(f"{W}numId")), "")
        depth = _integer(value(properties.find(f"{W}ilvl")))
        levels = self._levels.get(abstract, {})
        if depth not in levels:
            return ""
        counters = self._counters.setdefault(abstract, {})
        counters[depth] = counters.get(depth, levels[depth].start - 1) + 1
        for deeper in [other for other in counters if other > depth]:
            del counters[deeper]
        text = levels[depth].text if levels[depth].numeral not in ("bullet", "none") else ""
        for upper in range(depth + 1):
            if upper in levels:
                text = text.replace(f"%{upper + 1}", _numeral(counters.get(upper, levels[upper].start), levels[upper].numeral))
        return text + ("" if not text or text[-1] in _TIGHT_ENDS else " ")


def _level(element: Any) -> _Level:
    start, numeral, text = (value(element.find(f"{W}{name}")) for name in ("start", "numFmt", "lvlText"))
    return _Level(_integer(start, 1), numeral, text[:40])


def _integer(text: str | None, default: int = 0) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 6 else default


def _numeral(number: int, kind: str) -> str:
    if kind in _CHINESE and number < 10_000:
        return chinese_numeral(number)
    if kind in ("lowerLetter", "upperLetter") and 0 < number <= 26:
        return chr((96 if kind == "lowerLetter" else 64) + number)
    return str(number)
