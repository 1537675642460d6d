"""CSV and TSV: every record becomes one block of `header：value` lines, so that a passage is readable without its table.

The delimiter is the one under which most records have the same number of fields. A file that is no table is read as text.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from itertools import islice

from qzbrain.domain import ParsedDocument
from qzbrain.knowledge.parsers.base import ParseLimits, Source, TextBuilder
from qzbrain.knowledge.parsers.plain import read_lines
from qzbrain.knowledge.parsers.tables import Style, add_table, plain_rows

_DELIMITERS = (",", "\t", ";", "|")
_SHAPE_RECORDS = 50
_AS_RECORDS = Style(whole_chars=0, trusted=True)


def parse(source: Source, limits: ParseLimits) -> ParsedDocument:
    """Records as blocks of kind `table_row`, questions with their answers of kind `qa`. Raises ParseFailed: garbled, too_large."""
    text = source.text
    delimiter = table_shape(text[:200_000], trusted=True)
    if delimiter is None:
        return read_lines(text, name=source.name)
    builder = TextBuilder(limits)
    try:
        add_table(builder, plain_rows(_records(text, delimiter, limits.max_text_chars)), _AS_RECORDS)
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
