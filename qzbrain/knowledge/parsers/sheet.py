"""CSV and TSV: every record becomes one block of `header：value` lines, so that a passage is readable without its table.

The delimiter is the one under which most records have the same number of fields. A file that is no table is read as text.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice

from qzbrain.domain import ParsedDocument
from qzbrain.knowledge.parsers.base import ParseLimits, Source, TextBuilder
from qzbrain.knowledge.parsers.plain import read_lines

_DELIMITERS = (",", "\t", ";", "|")
_SHAPE_RECORDS = 50
_HEADER_CHARS = 40


def parse(source: Source, limits: ParseLimits) -> ParsedDocument:
    """Records as blocks of kind `table_row`. Raises ParseFailed: garbled, too_large."""
    text = source.text
    delimiter = table_shape(text[:200_000], trusted=True)
    if delimiter is None:
        return read_lines(text, name=source.name)
    builder = TextBuilder(limits)
    try:
        records = _records(text, delimiter, limits.max_text_chars)
        header = next(records)
        if not _is_header(header):
            builder.add(_line(header), kind="table_row")
            header = []
        for record in records:
            builder.add(_labelled(header, record) if header else _line(record), kind="table_row")
        if header and not builder:
            builder.add(_line(header), kind="table_row")
    except csv.Error:
        return read_lines(text, name=source.name)
    return ParsedDocument(builder.text(), tuple(builder.blocks), source.stem, "text/csv")


def table_shape(sample: str, *, trusted: bool) -> str | None:
    """The delimiter of a table, None when the text is none. `trusted`: the name says csv, so two columns and few records will do."""
    best: tuple[float, int, str] | None = None
    for delimiter in _DELIMITERS:
        try:
            widths = [len(record) for record in islice(_records(sample, delimiter, len(sample) + 1), _SHAPE_RECORDS)]
        except csv.Error:
            continue
        if not widths:
            continue
        width, count = Counter(widths).most_common(1)[0]
        share = count / len(widths)
        enough = width >= 2 and share >= 0.8 if trusted else width >= 3 and share == 1.0 and len(widths) >= 5
        if enough and (best is None or (share, width) > best[:2]):
            best = share, width, delimiter
    return best[2] if best else None


def _records(text: str, delimiter: str, field_chars: int) -> Iterator[list[str]]:
    """Records that are not empty; csv.Error when the quoting is broken beyond reading."""
    csv.field_size_limit(max(field_chars, 1024))
    for record in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter):
        if any(cell.strip() for cell in record):
            yield record


def _is_header(record: Sequence[str]) -> bool:
    cells = [cell.strip() for cell in record]
    return all(0 < len(cell) <= _HEADER_CHARS and "\n" not in cell and not cell[0].isdigit() for cell in cells) and len(set(cells)) == len(cells)


def _labelled(header: Sequence[str], record: Sequence[str]) -> str:
    lines = []
    for column, cell in enumerate(record):
        if value := cell.strip():
            label = header[column].strip() if column < len(header) else ""
            lines.append(f"{label}{': ' if label.isascii() else '：'}{value}" if label else value)
    return "\n".join(lines)


def _line(record: Sequence[str]) -> str:
    return " | ".join(cell.strip() for cell in record if cell.strip())
