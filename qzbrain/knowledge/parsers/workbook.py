"""Workbooks (xlsx, xlsm, xls, xlsb, ods): every visible sheet, every table of it, one record per row with its header.

Hidden sheets are left out: what their author hides is not shown to others. A sheet's name is a heading, so is the title above a table.
The older formats are read by python-calamine, which knows no number formats: their percentages are shares of one.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta
from itertools import chain, islice
from typing import Any

from qzbrain.domain import ParsedDocument
from qzbrain.errors import ParseFailed
from qzbrain.knowledge.parsers import refusals
from qzbrain.knowledge.parsers.archive import check_archive
from qzbrain.knowledge.parsers.base import ParseLimits, Source, TextBuilder
from qzbrain.knowledge.parsers.grid import Merge, Place, Sheet, SparseRow, continues, tables
from qzbrain.knowledge.parsers.headers import Header, Row
from qzbrain.knowledge.parsers.numbers_shown import moment_shown, number_shown
from qzbrain.knowledge.parsers.spreadsheet import Spreadsheet
from qzbrain.knowledge.parsers.tables import Style, add_table

_DEFAULT_NAME = re.compile(r"(?:Sheet|工作表|Table|表)\s*\d+", re.IGNORECASE)
_ERROR = re.compile(r"#(?:N/A|REF!|DIV/0!|VALUE!|NAME\?|NUM!|NULL!|GETTING_DATA|SPILL!|CALC!)|Err:\d+")
_ROWS_BETWEEN_REPORTS = 1000
_MIME = {
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "xls": "application/vnd.ms-excel",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
}


def parse(source: Source, limits: ParseLimits) -> ParsedDocument:
    """Records as blocks of kind `table_row` or `qa`. Raises ParseFailed: broken, bomb, encrypted, too_large."""
    kind = _kind(source, limits)
    builder = TextBuilder(limits)
    sheets = Spreadsheet(source.data, limits).sheets() if kind == "xlsx" else _older_sheets(source.data, kind)
    for sheet in sheets:
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


def _kind(source: Source, limits: ParseLimits) -> str:
    if not source.data.startswith(b"PK"):
        return "xls"
    names = check_archive(source.data, "xlsx", limits)
    return "ods" if "content.xml" in names else "xls" if "xl/workbook.bin" in names else "xlsx"


def _older_sheets(data: bytes, kind: str) -> Iterator[Sheet]:
    """An edge: python-calamine's own errors, and those of Rust, which are no Exception."""
    import python_calamine as calamine

    try:
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
        for listed in book.sheets_metadata:
            if listed.visible == calamine.SheetVisibleEnum.Visible and listed.typ == calamine.SheetTypeEnum.WorkSheet:
                yield _older_sheet(book.get_sheet_by_name(listed.name))
    except calamine.PasswordError as exc:
        raise refusals.encrypted(kind) from exc
    except (MemoryError, KeyboardInterrupt, SystemExit, GeneratorExit, ParseFailed):
        raise
    except BaseException as exc:
        raise refusals.broken(kind) from exc


def _older_sheet(sheet: Any) -> Sheet:
    top, left = sheet.start or (0, 0)
    merges = tuple(Merge(first[0], first[1], last[0], last[1]) for first, last in sheet.merged_cell_ranges or ())
    return Sheet(sheet.name, _older_rows(sheet, top, left), merges)


def _older_rows(sheet: Any, top: int, left: int) -> Iterator[SparseRow]:
    for number, row in enumerate(sheet.iter_rows()):
        yield number + top, [(column + left, text) for column, value in enumerate(row) if (text := _shown(value))]


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return "" if _ERROR.fullmatch(value) else value.strip()
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, (int, float)):
        return number_shown(repr(value))
    if isinstance(value, (datetime, date, time, timedelta)):
        return moment_shown(value)
    return str(value)
