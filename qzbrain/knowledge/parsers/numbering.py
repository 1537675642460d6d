"""Automatic numbers of Word paragraphs (`第一条`, `一、`, `1.2`): the file holds only the counting rules, the reader sees the numbers.

Regulations and contracts are often numbered this way; without the numbers their articles could neither be found nor cited.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from qzbrain.text.numerals import chinese_numeral

W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_CHINESE = frozenset(("chineseCounting", "chineseCountingThousand", "taiwaneseCounting", "taiwaneseCountingThousand", "japaneseCounting", "ideographDigital"))
_SERIES = {"ideographTraditional": "甲乙丙丁戊己庚辛壬癸", "ideographZodiac": "子丑寅卯辰巳午未申酉戌亥"}
_LEGAL = frozenset(("chineseLegalSimplified", "ideographLegalTraditional", "japaneseLegal"))
_TO_LEGAL = str.maketrans("零一二三四五六七八九十百千", "零壹贰叁肆伍陆柒捌玖拾佰仟")
_ROMAN = ((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))
_TIGHT_ENDS = "、）)．"


@dataclass(frozen=True, slots=True)
class _Level:
    """One level of a list: first number, kind of numeral, text with %1 … %9 for the counters, what follows it, when it starts anew.

    `restart`: it starts anew after a paragraph of a level above this one (from 1; 0 never, -1 after any above it). `plain`: all numbers in digits.
    `style`: the paragraph style that stands for the level.
    """

    start: int
    numeral: str
    text: str
    tight: bool = False
    restart: int = -1
    plain: bool = False
    style: str = ""


def value(element: Any) -> str:
    """The `w:val` of an element, '' when it is missing."""
    return "" if element is None else element.get(f"{W}val") or ""


class Numbering:
    """Counts the numbered paragraphs of one document, in order."""

    def __init__(self, root: Any | None) -> None:
        """`root`: the w:numbering element, None when the document has no lists."""
        self._lists: dict[str, str] = {}
        self._levels: dict[str, dict[int, _Level]] = {}
        self._overrides: dict[str, dict[int, _Level | int]] = {}
        self._counters: dict[str, dict[int, int]] = {}
        self._begun: set[tuple[str, int]] = set()
        if root is None:
            return
        links: dict[str, str] = {}
        named: dict[str, str] = {}
        for abstract in root.iterchildren(f"{W}abstractNum"):
            key = abstract.get(f"{W}abstractNumId", "")
            self._levels[key] = {_integer(level.get(f"{W}ilvl")): _level(level) for level in abstract.iterchildren(f"{W}lvl")}
            named[value(abstract.find(f"{W}styleLink"))] = key
            links[key] = value(abstract.find(f"{W}numStyleLink"))
        for key, link in links.items():
            if link in named and link and not self._levels[key]:
                self._levels[key] = self._levels[named[link]]
        for number in root.iterchildren(f"{W}num"):
            key = number.get(f"{W}numId", "")
            self._lists[key] = value(number.find(f"{W}abstractNumId"))
            self._overrides[key] = dict(_overridden(number))

    def label(self, properties: Any | None, style: str = "", *, fallback: Any | None = None) -> str:
        """The number that Word shows before a paragraph with these w:numPr, with the blank after it; '' for bullets and none.

        `style`: the paragraph's, which may stand for a level; `fallback`: the w:numPr of its style, for what `properties` leave open.
        """
        if properties is None:
            return ""
        number = value(properties.find(f"{W}numId")) or (value(fallback.find(f"{W}numId")) if fallback is not None else "")
        levels = self._levels_of(number)
        depth = self._depth(properties, levels, style)
        if depth not in levels:
            return ""
        counters = self._counters.setdefault(self._lists[number], {})
        self._count(number, depth, levels, counters)
        level = levels[depth]
        text = level.text if level.numeral not in ("bullet", "none") else ""
        for upper in range(depth + 1):
            if upper in levels and f"%{upper + 1}" in text:
                numeral = "decimal" if level.plain else levels[upper].numeral
                text = text.replace(f"%{upper + 1}", _numeral(counters.get(upper, levels[upper].start), numeral))
        return text + ("" if not text or level.tight or text[-1] in _TIGHT_ENDS else " ")

    def _levels_of(self, number: str) -> dict[int, _Level]:
        levels = self._levels.get(self._lists.get(number, ""), {})
        changed = {depth: level for depth, level in self._overrides.get(number, {}).items() if isinstance(level, _Level)}
        return {**levels, **changed} if changed else levels

    def _depth(self, properties: Any, levels: dict[int, _Level], style: str) -> int:
        stated = properties.find(f"{W}ilvl")
        if stated is None and style:
            return next((depth for depth, level in levels.items() if level.style == style), 0)
        return _integer(value(stated))

    def _count(self, number: str, depth: int, levels: dict[int, _Level], counters: dict[int, int]) -> None:
        start = self._overrides.get(number, {}).get(depth)
        if isinstance(start, int) and (number, depth) not in self._begun:
            self._begun.add((number, depth))
            counters[depth] = start - 1
        counters[depth] = counters.get(depth, levels[depth].start - 1) + 1
        for deeper in [other for other in counters if other > depth]:
            restart = levels[deeper].restart if deeper in levels else -1
            if restart < 0 or depth < restart:
                del counters[deeper]


def _level(element: Any) -> _Level:
    start, numeral, text, suffix, restart = (value(element.find(f"{W}{name}")) for name in ("start", "numFmt", "lvlText", "suff", "lvlRestart"))
    legal = element.find(f"{W}isLgl")
    plain = legal is not None and value(legal) not in ("0", "false")
    return _Level(_integer(start, 1), numeral, text[:40], suffix == "nothing", _integer(restart, -1), plain, value(element.find(f"{W}pStyle")))


def _overridden(number: Any) -> Any:
    for override in number.iterchildren(f"{W}lvlOverride"):
        depth = _integer(override.get(f"{W}ilvl"))
        level, start = override.find(f"{W}lvl"), value(override.find(f"{W}startOverride"))
        if level is not None:
            yield depth, replace(_level(level), start=_integer(start, _level(level).start))
        elif start:
            yield depth, _integer(start, 1)


def _integer(text: str | None, default: int = 0) -> int:
    return int(text) if text and text.isdecimal() and len(text) < 6 else default


def _numeral(number: int, kind: str) -> str:
    if kind in _CHINESE and number < 10_000:
        return chinese_numeral(number)
    if kind in _LEGAL and number < 10_000:
        return chinese_numeral(number).translate(_TO_LEGAL)
    if kind in _SERIES and number > 0:
        return _SERIES[kind][(number - 1) % len(_SERIES[kind])]
    if kind in ("lowerLetter", "upperLetter") and number > 0:
        return chr((96 if kind == "lowerLetter" else 64) + (number - 1) % 26 + 1) * min((number - 1) // 26 + 1, 10)
    if kind in ("lowerRoman", "upperRoman") and 0 < number < 4000:
        return _roman(number) if kind == "upperRoman" else _roman(number).lower()
    if kind in ("decimalEnclosedCircle", "decimalEnclosedCircleChinese") and 0 < number <= 20:
        return chr(0x245F + number)
    if kind == "decimalZero":
        return f"{number:02}"
    if kind == "decimalFullWidth":
        return str(number).translate(str.maketrans("0123456789", "０１２３４５６７８９"))
    return str(number)


def _roman(number: int) -> str:
    text = ""
    for worth, letters in _ROMAN:
        text += letters * (number // worth)
        number %= worth
    return text
