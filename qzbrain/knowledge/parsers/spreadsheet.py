"""Reads xlsx from its XML, row by row: cells as people see them, merged ranges, which sheets are hidden.

python-calamine, which reads the older formats, gives neither number formats (25% is 0.25 to it) nor a sheet without holding all of its
area; here a sheet of a million rows takes the memory of one row. The package's sizes are checked before it is opened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import IO, Any

from qzbrain.knowledge.parsers import refusals
from qzbrain.knowledge.parsers.base import ParseLimits
from qzbrain.knowledge.parsers.grid import Merge, Sheet, SparseRow
from qzbrain.knowledge.parsers.numbers_shown import date_shown, format_kind, number_shown
from qzbrain.knowledge.parsers.ooxml import Package, local, streamed

_REFERENCE = re.compile(r"([A-Z]{1,3})(\d{1,7})")
_MERGE = re.compile(rb"<(?:\w{1,20}:)?mergeCell\s[^>]{0,200}?ref=[\"']([A-Z]{1,3}\d{1,7}):([A-Z]{1,3}\d{1,7})[\"']")
_END_OF_DATA = re.compile(rb"</(?:\w{1,20}:)?sheetData>|<(?:\w{1,20}:)?sheetData\s*/>")
_PIECE = 1 << 20
_MOST_MERGES = 200_000
_LAST_COLUMN = 16_384


class Spreadsheet:
    """An xlsx package. Raises ParseFailed: broken, bomb, encrypted, too_large."""

    def __init__(self, data: bytes, limits: ParseLimits) -> None:
        self._package = Package(data, "xlsx", limits)
        self._main = self._package.main
        book = self._package.xml(self._main)
        self._limit = limits.max_text_chars
        self._from_1904 = any(local(x) == "workbookPr" and x.get("date1904") in ("1", "true") for x in book)
        self._listed = list(book.iter("{*}sheet"))
        if not self._listed:
            raise refusals.broken("xlsx")
        self._strings = list(self._shared_strings())
        self._formats = self._cell_formats()

    def sheets(self) -> Iterator[Sheet]:
        """The visible work sheets in the order of their tabs."""
        targets = self._package.targets(self._main)
        for listed in self._listed:
            target = targets.get(next((value for key, value in listed.attrib.items() if key.endswith("}id")), ""))
            if listed.get("state", "visible") != "visible" or target is None or target.kind != "worksheet" or target.part not in self._package:
                continue
            yield Sheet(listed.get("name", ""), self._rows(target.part), self._merges(target.part))

    def _shared_strings(self) -> Iterator[str]:
        part = self._package.related(self._main, "sharedStrings")
        length = 0
        if part is not None:
            with self._package.open(part) as stream:
                for item in streamed(stream, "si", "xlsx"):
                    text = _text(item)
                    length += len(text)
                    if length > self._limit:
                        raise refusals.too_large(self._limit)
                    yield text

    def _cell_formats(self) -> list[str]:
        """By style number: how a number of it is shown (see format_kind)."""
        part = self._package.related(self._main, "styles")
        if part is None:
            return []
        styles = self._package.xml(part)
        codes = {x.get("numFmtId", ""): x.get("formatCode", "") for x in styles.iter("{*}numFmt")}
        cells = next(styles.iter("{*}cellXfs"), ())
        return [format_kind(x.get("numFmtId", "0"), codes.get(x.get("numFmtId", "0"), "")) for x in cells]

    def _rows(self, part: str) -> Iterator[SparseRow]:
        number = -1
        with self._package.open(part) as stream:
            for row in streamed(stream, "row", "xlsx"):
                stated = row.get("r", "")
                number = int(stated) - 1 if stated.isdecimal() and len(stated) < 8 else number + 1
                column, cells = -1, []
                for cell in row:
                    match = _REFERENCE.fullmatch(cell.get("r") or "")
                    column = column_number(match[1]) if match else column + 1
                    if column < _LAST_COLUMN and (text := self._shown(cell).strip()):
                        cells.append((column, text))
                yield number, cells

    def _shown(self, cell: Any) -> str:
        """The cell's text as people see it; what a formula last gave; '' for errors, which say nothing."""
        kind = cell.get("t", "n")
        if kind == "inlineStr":
            return _text(cell)
        raw = next((x.text or "" for x in cell if x.tag.endswith("}v")), "")
        if not raw or kind == "e":
            return ""
        if kind == "s":
            return self._strings[int(raw)] if raw.isdecimal() and int(raw) < len(self._strings) else ""
        if kind == "b":
            return "TRUE" if raw == "1" else "FALSE"
        if kind == "d":
            return raw.replace("T", " ").removesuffix(" 00:00:00")
        if kind != "n":
            return raw
        style = cell.get("s", "0")
        shown = self._formats[int(style)] if style.isdecimal() and int(style) < len(self._formats) else ""
        return date_shown(raw, shown, from_1904=self._from_1904) or number_shown(raw, shown)

    def _merges(self, part: str) -> tuple[Merge, ...]:
        """They stand behind the rows, so the part is run through once for them, unparsed."""
        with self._package.open(part) as stream:
            tail = _after_data(stream, self._limit)
        found = []
        for match in _MERGE.finditer(tail):
            (top, left), (bottom, right) = (_position(x.decode()) for x in match.groups())
            found.append(Merge(top, left, bottom, right))
            if len(found) >= _MOST_MERGES:
                break
        return tuple(found)


@lru_cache(maxsize=1024)
def column_number(letters: str) -> int:
    """`A` is 0, `AA` 26."""
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number - 1


def _position(reference: str) -> tuple[int, int]:
    match = _REFERENCE.fullmatch(reference)
    return (int(match[2]) - 1, column_number(match[1])) if match else (0, 0)


def _after_data(stream: IO[bytes], limit: int) -> bytes:
    before = b""
    while piece := stream.read(_PIECE):
        window = before + piece
        if end := _END_OF_DATA.search(window):
            return window[end.end() :] + stream.read(limit)
        before = window[-64:]
    return b""


def _text(element: Any) -> str:
    """The runs of a string, without its phonetic guide."""
    parts = []
    for node in element.iter("{*}t"):
        parent = node.getparent()
        if parent is None or local(parent) != "rPh":
            parts.append(node.text or "")
    return _unescaped("".join(parts))


def _unescaped(text: str) -> str:
    """`_x000D_` is how a control character is written."""
    return re.sub(r"_x([0-9A-Fa-f]{4})_", lambda match: "\n" if int(match[1], 16) in (10, 13) else "", text) if "_x" in text else text
