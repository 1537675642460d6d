"""Entries in files: xlsx, xls, csv, jsonl read; xlsx, csv, jsonl written. What is written is read again as it was. Knows rows, not the database.

Columns are known by their names, Chinese or English, in any order. Several variants stand in one cell, one a line, or parted by `|`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from qzbrain.errors import InvalidRequest, ParseFailed
from qzbrain.knowledge.entries.entry import Entry
from qzbrain.knowledge.entries.sheet_rows import sheets
from qzbrain.text.decode import decode

Format = Literal["xlsx", "csv", "jsonl"]
MIME: dict[Format, str] = {
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "csv": "text/csv", "jsonl": "application/x-ndjson",
}  # fmt: skip
COLUMNS = ("question", "variants", "negatives", "answer", "source", "valid_from", "valid_until", "level", "status", "author")
MOST_ROWS = 200_000
CELL_CHARS = 32_767
"""Longest text that a cell of a spreadsheet holds."""
_NAMES = {
    "question": ("question", "问题", "标准问题", "标准问", "提问", "问", "q"),
    "answer": ("answer", "答案", "回答", "标准答案", "回复", "答", "内容", "a", "text"),
    "variants": ("variants", "variant", "相似问", "相似问题", "相似问法", "变体", "扩展问", "同义问"),
    "negatives": ("negatives", "negative", "反例", "不适用", "不适用问题", "负例"),
    "source": ("source", "来源", "出处", "依据"),
    "valid_from": ("valid_from", "生效", "生效日期", "生效时间", "开始日期"),
    "valid_until": ("valid_until", "失效", "失效日期", "失效时间", "截止日期", "有效期至"),
    "level": ("level", "密级"),
    "status": ("status", "状态"),
    "author": ("author", "作者", "编写人"),
}
_FIELD = {name: field for field, names in _NAMES.items() for name in names}
_LISTED = re.compile(r"\s*(?:\n|\||；(?=\S))\s*")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a file, as a spreadsheet or an editor numbers it. Lists are lists; what is not there is left out."""

    number: int
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read at all."""

    number: int
    zh: str
    en: str


def read(data: bytes, name: str) -> Iterator[Row | BadRow]:
    """Rows of a file, by its content. Raises InvalidRequest for one that is no such file or names no column for answers."""
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        yield from _table(_sheet_rows(data))
        return
    try:
        text = decode(data).text
    except ParseFailed as exc:
        raise InvalidRequest("unreadable_file", zh=exc.zh, en=exc.en, param="file") from exc
    if text.lstrip()[:1] == "{" or name.lower().endswith((".jsonl", ".ndjson")):
        yield from _lines(text)
    else:
        yield from _table(_csv_rows(text))


def write(entries: Iterable[Entry], form: Format) -> bytes:
    """The entries as a file."""
    rows = (_row(entry) for entry in entries)
    if form == "jsonl":
        return b"".join(orjson.dumps(row) + b"\n" for row in rows)
    return _write_xlsx(rows) if form == "xlsx" else _write_csv(rows)


def _row(entry: Entry) -> dict[str, Any]:
    return {**entry.fields.content(), "status": entry.status, "author": entry.author}


def _cells(row: Mapping[str, Any]) -> list[str]:
    found = []
    for column in COLUMNS:
        value = row.get(column)
        found.append("\n".join(value) if isinstance(value, list) else value or "")
    return found


def _write_csv(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """With a byte order mark, which Excel needs. A cell that a spreadsheet would take for a formula begins with an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([f"'{cell}" if cell.startswith(_FORMULA) or cell.startswith("'") else cell for cell in _cells(row)])
    return ("\ufeff" + out.getvalue()).encode("utf-8", "replace")


def _write_xlsx(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """Every cell a text, never a formula or a link. A longer text than a cell holds goes on in the next row, which has that cell alone."""
    from xlsxwriter import Workbook

    out = io.BytesIO()
    book = Workbook(out, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False})
    sheet = book.add_worksheet("entries")
    wrapped = book.add_format({"text_wrap": True, "valign": "top"})
    sheet.set_column(0, len(COLUMNS) - 1, 24, wrapped)
    sheet.freeze_panes(1, 0)
    for column, name in enumerate(COLUMNS):
        sheet.write_string(0, column, name)
    at = 0
    for row in rows:
        at += 1
        pieces = [[cell[n : n + CELL_CHARS] for n in range(0, len(cell), CELL_CHARS)] for cell in _cells(row)]
        for number in range(max(1, *map(len, pieces))):
            for column, some in enumerate(pieces):
                if number < len(some):
                    sheet.write_string(at + number, column, some[number])
        at += max(1, *map(len, pieces)) - 1
    book.close()
    return out.getvalue()


def _lines(text: str) -> Iterator[Row | BadRow]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            yield BadRow(number, "不是有效的 JSON", "not valid JSON")
            continue
        if not isinstance(value, dict):
            yield BadRow(number, "不是 JSON 对象", "not a JSON object")
            continue
        fields = _fields([str(key) for key in value])
        yield _listed(Row(number, {field: given for field, given in zip(fields, value.values(), strict=True) if field and given is not None}))


def _csv_rows(text: str) -> Iterator[tuple[int, list[str]]]:
    first = text.lstrip("\n").split("\n", 1)[0]
    csv.field_size_limit(max(len(text), 1024))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(("\t", ",", ";"), key=first.count))
    number = 1
    try:
        for record in reader:
            yield number, [cell[1:] if cell[:1] == "'" and cell[1:2] in (*_FORMULA, "'") else cell for cell in record]
            number = reader.line_num + 1
    except csv.Error as exc:
        raise InvalidRequest(
            "unreadable_file", zh=f"第 {number} 行无法读取：{exc}。", en=f"Row {number} cannot be read: {exc}.", param="file"
        ) from exc


def _sheet_rows(data: bytes) -> Iterator[tuple[int, list[str]]]:
    """Of the first sheet that names a column for answers."""
    found = sheets(data)
    chosen = next((rows for rows in found if any("answer" in _fields(row) for _, row in rows[:20])), found[0] if found else [])
    yield from chosen


def _fields(record: Sequence[str]) -> list[str]:
    """The field of each column, '' for others. `q` and `a` are columns only together."""
    names = [cell.strip().lower() for cell in record]
    both = {"q", "a"} <= set(names)
    return [_FIELD.get(name, "") if both or name not in ("q", "a") else "" for name in names]


def _table(rows: Iterable[tuple[int, list[str]]]) -> Iterator[Row | BadRow]:
    """Rows under the header; one with nothing but a longer answer goes on with the row before."""
    fields: list[str] | None = None
    held: Row | None = None
    for number, record in rows:
        if not any(cell.strip() for cell in record):
            continue
        if fields is None:
            if "answer" not in _fields(record):
                if number > 20:
                    break
                continue
            fields = _fields(record)
            continue
        values = {field: cell for field, cell in zip(fields, record, strict=False) if field and cell.strip()}
        if held is not None and len(values) == 1 and _goes_on(held, values):
            (field, more), = values.items()
            held = Row(held.number, {**held.values, field: held.values[field] + more})
            continue
        if held is not None:
            yield _listed(held)
        held = Row(number, values)
    if held is not None:
        yield _listed(held)
    if fields is None:
        raise InvalidRequest(
            "no_answer_column",
            zh="没有找到“答案”列。请在第一行写明列名，例如：问题、相似问、答案、来源。",
            en="There is no column for answers. Name the columns in the first row, for example: question, variants, answer, source.",
            param="file",
        )


def _goes_on(held: Row, values: Mapping[str, str]) -> bool:
    field = next(iter(values))
    return len(str(held.values.get(field, ""))) >= CELL_CHARS and len(str(held.values[field])) % CELL_CHARS == 0


def _listed(row: Row) -> Row:
    values = {
        field: [one for one in _LISTED.split(value) if one] if field in ("variants", "negatives") and isinstance(value, str) else value
        for field, value in row.values.items()
    }
    return Row(row.number, values)
