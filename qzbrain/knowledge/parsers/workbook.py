"""Workbooks (xlsx, xlsm, xls, xlsb, ods): every visible sheet, every table of it, one record per row with its header.

Hidden sheets are left out: what their author hides is not shown to others. A sheet's name is a heading, so is the title above a table.
The older formats are read by python-calamine (see old_sheets), which knows no number formats: their percentages are shares of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from qzbrain.domain import ParsedDocument
from qzbrain.knowledge.parsers.archive import check_archive
from qzbrain.knowledge.parsers.base import ParseLimits, Source, TextBuilder
from qzbrain.knowledge.parsers.grid import Place, Sheet, SparseRow, continues, tables
from qzbrain.knowledge.parsers.headers import Header, Row
from qzbrain.knowledge.parsers.old_sheets import old_sheets
from qzbrain.knowledge.parsers.spreadsheet import Spreadsheet
from qzbrain.knowledge.parsers.tables import Style, add_table

_DEFAULT_NAME = re.compile(r"(?:Sheet|工作表|Table|表)\s*\d+", re.IGNORECASE)
_ROWS_BETWEEN_REPORTS = 1000
_MIME = {
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "xls": "application/vnd.ms-excel",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
}


def parse(source: Source, limits: ParseLimits) -> ParsedDocument:
    """Records as blocks of kind `table_row` or `qa`. Raises ParseFailed: broken, bomb, encrypted, too_large."""
    kind = _kind(source.data, limits)
    builder = TextBuilder(limits)
    for sheet in visible_sheets(source.data, limits):
        mark = _Heading(builder, sheet.name)
        counted = Sheet(sheet.name, _counted(sheet.rows, source), sheet.merges)
        header: Header | None = None
        last, before = Row(), Place(0, 0, 0)
        for place, table in tables(counted):
            head = list(islice(table, 1))
            mark.set()
            beneath = place.gap == 1 and (place.left, place.right) == (before.left, before.right)
            going_on = beneath and header is not None and bool(head) and continues(header, head[0], last)
            rows = _Last(chain(head, table))
            header = add_table(builder, rows, Style(whole_chars=0, title_level=2, header=header if going_on else None))
            last, before = rows.row, place
    return ParsedDocument(builder.text(), tuple(builder.blocks), source.stem, _MIME[kind])


def visible_sheets(data: bytes, limits: ParseLimits) -> Iterator[Sheet]:
    """The sheets of a workbook of any of these formats, each to be read before the next is asked for. Raises ParseFailed as `parse` does."""
    kind = _kind(data, limits)
    yield from Spreadsheet(data, limits).sheets() if kind == "xlsx" else old_sheets(data, kind)


class _Heading:
    """A sheet's name, written once there is something under it; a name that the program gave is none."""

    def __init__(self, builder: TextBuilder, name: str) -> None:
        self._builder, self._name = builder, "" if _DEFAULT_NAME.fullmatch(name.strip()) else name

    def set(self) -> None:
        self._builder.add(self._name, heading_level=1)
        self._name = ""


class _Last:
    """Passes rows on and keeps the last."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows, self.row = rows, Row()

    def __iter__(self) -> Iterator[Row]:
        for row in self._rows:
            self.row = row
            yield row


def _counted(rows: Iterable[SparseRow], source: Source) -> Iterator[SparseRow]:
    """Tells how far it is; how many rows there are nobody knows before the last."""
    for row in rows:
        if row[0] % _ROWS_BETWEEN_REPORTS == _ROWS_BETWEEN_REPORTS - 1:
            source.progress(row[0] + 1, row[0] + 1, "rows")
        yield row


def _kind(data: bytes, limits: ParseLimits) -> str:
    if not data.startswith(b"PK"):
        return "xls"
    names = check_archive(data, "xlsx", limits)
    return "ods" if "content.xml" in names else "xls" if "xl/workbook.bin" in names else "xlsx"
