"""Reading triples from files: CSV, TSV, JSON lines, a JSON array, GraphML; told apart by how the text begins. Row by row, with bounded memory.

Columns by their names (`rows`), in any order; a table without such a header has head, relation, tail in its first three. Bad rows are told by their number,
counted from 1 as editors do, and the rest is read: an open quotation mark costs its own row alone.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import orjson

from qzbrain.errors import ParseFailed
from qzbrain.graph.base import Fact
from qzbrain.graph.graphml import read_graphml
from qzbrain.graph.rows import BadRow, cells_of, fact, fact_of, field, fields_of
from qzbrain.text.decode import decode

LINE_CHARS = 1 << 20
"""A longer line is refused as a row, without being held whole."""
_CELL_CHARS = 1 << 16
_ARRAY_CHARS = 64 << 20
_SAMPLE_BYTES = 4 << 20
_AT_ONCE = 1 << 20
_HEAD_CHARS = 1 << 12
_PIECE_CHARS = 1 << 16
_MOST_REREAD = 1000
"""After so many rows with an open quotation mark, what such a mark swallows is not read again: each may swallow 64 KB."""
_AS_EXPORTED = ["head", "head_type", "relation", "tail", "tail_type"]
"""The header of our Cypher-ready CSV, in which backslashes are doubled."""
Found = tuple[int, Fact] | BadRow


@dataclass(frozen=True, slots=True)
class TextFile:
    """A text file's encoding and lines; `rows` tells how far reading it will go."""

    path: Path
    encoding: str
    rows: int

    @contextmanager
    def facts(self, name: str) -> Iterator[Iterator[Found]]:
        """What `read` finds in it. Raises ParseFailed."""
        with self.path.open(encoding=self.encoding, errors="replace", newline="") as stream:
            yield read_stream(stream, name)


def examined(path: Path) -> TextFile:
    """Tell a file's encoding: UTF-8 when all of it is, else what its beginning looks like. Raises ParseFailed `garbled`."""
    decoder, lines, unicode = codecs.getincrementaldecoder("utf-8")(), 1, True
    with path.open("rb") as stream:
        sample = stream.read(_SAMPLE_BYTES)
        piece = sample
        while piece:
            lines += piece.count(b"\n")
            if unicode:
                try:
                    decoder.decode(piece)
                except UnicodeDecodeError:
                    unicode = False
            piece = stream.read(_AT_ONCE)
    whole = sample if len(sample) < _SAMPLE_BYTES else sample[: sample.rfind(b"\n") + 1 or None]
    decoded = decode(whole if len(sample) < _SAMPLE_BYTES else whole[: len(whole) & ~1])
    encoding = "utf-8" if unicode and not decoded.encoding.startswith(("utf-16", "utf-32")) else decoded.encoding
    return TextFile(path, {"utf-8": "utf-8-sig"}.get(encoding, encoding), lines)


def read(text: str, name: str) -> Iterator[Found]:
    """Facts of a text, in its order, with their row numbers."""
    return read_stream(io.StringIO(text, newline=""), name)


def read_stream(stream: TextIO, name: str) -> Iterator[Found]:
    """As `read`. Raises ParseFailed for what is no such file at all."""
    start = stream.read(_HEAD_CHARS).lstrip("\ufeff \t\r\n")
    stream.seek(0)
    if start.startswith("<"):
        yield from read_graphml(_pieces(stream))
    elif start.startswith("[") and start[1:].lstrip()[:1] in ("", "{", "]"):
        yield from _read_array(stream)
    elif start.startswith("{") or name.lower().endswith((".jsonl", ".ndjson")):
        yield from _read_json_lines(_Lines(stream))
    else:
        yield from _read_table(_Lines(stream))


def _pieces(stream: TextIO) -> Iterator[str]:
    """A text that need not have lines, as it comes."""
    first = stream.read(_PIECE_CHARS).lstrip("\ufeff")
    while first and not first.strip():
        first = stream.read(_PIECE_CHARS)
    yield first
    while piece := stream.read(_PIECE_CHARS):
        yield piece


class _Lines:
    """Lines of a stream, numbered from 1; one that is too long is empty, and noted. What was taken since `begin` can be put back."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._waiting = stream, list[str]()
        self._taken: list[str] = []
        self.number = 0
        self.too_long = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._waiting.pop() if self._waiting else self._read()
        if not line:
            raise StopIteration
        self.number += 1
        self._taken.append(line)
        return line

    def _read(self) -> str:
        line = self._stream.readline(LINE_CHARS)
        if self.number == 0:
            line = line.lstrip("\ufeff") or (line and "\n")
        if len(line) < LINE_CHARS or line.endswith(("\n", "\r")):
            return line
        while (more := self._stream.readline(LINE_CHARS)) and not more.endswith(("\n", "\r")):
            pass
        self.too_long = self.number + 1
        return "\n"

    def peek(self) -> str:
        """The first line with anything in it; nothing is taken."""
        taken = []
        for line in self:
            taken.append(line)
            if line.strip():
                break
        self.put_back(taken)
        return taken[-1] if taken else ""

    def begin(self) -> None:
        """A row begins here."""
        self._taken.clear()

    def put_back_rest(self) -> None:
        """Have all but the first line of this row come again."""
        self.put_back(self._taken[1:])

    def put_back(self, lines: list[str]) -> None:
        """Have the last lines come again."""
        self._waiting += reversed(lines)
        self.number -= len(lines)


def _read_json_lines(lines: _Lines) -> Iterator[Found]:
    for line in lines:
        lines.begin()
        if lines.too_long == lines.number:
            yield _too_long(lines.number)
        elif line.strip():
            yield _of_json(lines.number, line)


def _of_json(row: int, line: str) -> Found:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return BadRow(row, "不是有效的 JSON", "not valid JSON")
    return _of_object(row, value)


def _of_object(row: int, value: object) -> Found:
    if not isinstance(value, dict):
        return BadRow(row, "不是 JSON 对象", "not a JSON object")
    return fact_of(row, {field(str(key)): given for key, given in value.items()})


def _read_array(stream: TextIO) -> Iterator[Found]:
    """A JSON array, which has to be in memory whole; rows are its elements."""
    text = stream.read(_ARRAY_CHARS + 1).lstrip("\ufeff")
    if len(text) > _ARRAY_CHARS:
        raise ParseFailed(
            "array_too_large",
            zh="JSON 数组过大。请改为 JSON Lines：每行一个对象。",
            en="The JSON array is too large. Make it JSON lines: one object a line.",
        )
    try:
        values = orjson.loads(text)
    except orjson.JSONDecodeError as exc:
        raise ParseFailed("bad_json", zh=f"JSON 无法读取（第 {exc.lineno} 行）。", en=f"The JSON cannot be read (line {exc.lineno}).") from exc
    for row, value in enumerate(values, 1):
        yield _of_object(row, value)


def _read_table(lines: _Lines) -> Iterator[Found]:
    first = lines.peek()
    delimiter = max(("\t", ",", ";"), key=first.count)
    fields: list[str] | None = None
    rereads = 0
    for row, record in _records(lines, delimiter):
        if isinstance(record, BadRow):
            yield record
            if (rereads := rereads + 1) <= _MOST_REREAD:
                lines.put_back_rest()
        elif any(map(str.strip, record)):
            if fields is None:
                named = fields_of(record)
                fields = named or ["head", "relation", "tail"]
                escaped = [cell.strip().lower() for cell in record] == _AS_EXPORTED
                cells = cells_of(fields)
                if named:
                    continue
            if len(record) < 3:
                yield _too_few(row, len(record))
                continue
            if escaped:
                record = [cell.replace("\\\\", "\\") for cell in record]
            if len(record) < len(fields):
                yield fact_of(row, dict(zip(fields, record, strict=False)))
            else:
                yield fact(row, *cells([*record, None]))


def _records(lines: _Lines, delimiter: str) -> Iterator[tuple[int, list[str] | BadRow]]:
    csv.field_size_limit(_CELL_CHARS)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    for line in lines:
        begun = lines.number
        if '"' not in line and len(line) < _CELL_CHARS and lines.too_long < begun:  # nearly all, in half of the time
            lines.begin()
            yield begun, line.rstrip("\r\n").split(delimiter)
            continue
        lines.put_back([line])
        lines.begin()
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as exc:
            yield begun, _unreadable(begun, str(exc))
            continue
        if lines.too_long >= begun:
            yield begun, _too_long(begun)
        else:
            yield begun, record


def _unreadable(row: int, said: str) -> BadRow:
    if "field larger" in said or "unexpected end" in said:
        return BadRow(row, "引号没有闭合，或单元格过长", "a quotation mark is not closed, or a cell is too long")
    return BadRow(row, f"无法读取这一行：{said}", f"this row cannot be read: {said}")


def _too_long(row: int) -> BadRow:
    return BadRow(row, f"一行超过 {LINE_CHARS} 个字符", f"a line of more than {LINE_CHARS} characters")


def _too_few(row: int, columns: int) -> BadRow:
    return BadRow(row, f"只有 {columns} 列，至少需要 head、relation、tail 三列", f"{columns} columns; head, relation and tail are needed")


