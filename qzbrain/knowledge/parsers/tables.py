"""Tables as records: a row says with every value which column it stands in, so that a passage is readable without its table.

Every format that has tables gives its rows here; what is a header is `headers`' to tell, what is a question and its answer `qa`'s.
A short table is kept as it stands, its header on top, for it stays whole in a chunk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from qzbrain.knowledge.parsers import qa
from qzbrain.knowledge.parsers.base import TextBuilder
from qzbrain.knowledge.parsers.headers import Cell, Header, Row, header_of

LONGEST_TITLE = 60
_EMPTY_LINES = re.compile(r"\n\s*\n")
"""A record holds none: they part it from the next."""
HEAD_ROWS = 60
"""Rows looked at to tell a header."""
WHOLE_CHARS = 200
"""A table of running text that is no longer than this keeps its form: it fits into a chunk of the default size."""


@dataclass(frozen=True, slots=True)
class Style:
    """How a table is written. `whole_chars`: up to this length it keeps its form; `trusted`: its first row is a header if it can be one.

    `title_level`: heading level of a title row above the header, 0 for a plain line. `page`: where it stands. `header`: that of the table
    which this one continues.
    """

    whole_chars: int = WHOLE_CHARS
    trusted: bool = False
    title_level: int = 0
    page: int | None = None
    header: Header | None = None


def covered(rows: Iterable[list[Cell]]) -> Iterator[Row]:
    """Rows by column: a cell that spans columns or rows stands in each of them as the same object."""
    reaching: dict[int, tuple[Cell, int]] = {}
    for cells in rows:
        row: Row = []
        below: dict[int, tuple[Cell, int]] = {}
        last = max(reaching, default=-1)
        waiting = iter(cells)
        while True:
            if len(row) in reaching:
                cell, left = reaching[len(row)]
            else:
                following = next(waiting, None)
                if following is None:
                    if len(row) > last:
                        break
                    row.append(None)
                    continue
                cell, left = following, following.rows
            if left > 1:
                below[len(row)] = cell, left - 1
            row.extend([cell] * cell.columns)
        reaching = below
        yield row


def add_table(builder: TextBuilder, rows: Iterable[Row], style: Style = Style()) -> Header | None:
    """Append a table, a block a row; gives the header that was found. Rows of any number are read as they come, the first HEAD_ROWS at once."""
    waiting = iter(rows)
    head = [row for row in islice(waiting, HEAD_ROWS) if _texts(row)]
    header = style.header or header_of(head, trusted=style.trusted)
    if len(head) < HEAD_ROWS and sum(len(text) + 3 for row in head for text in _texts(row)) <= style.whole_chars and not (header and header.qa):
        header = None
    elif header and header is not style.header:
        for index, title in enumerate(header.titles):
            named = index == 0 and "：" not in title and len(title) <= LONGEST_TITLE
            builder.add(title, page=style.page, heading_level=style.title_level if named else 0)
        head = head[header.rows :]
    first = True
    for row in chain(head, waiting):
        text = _record(header, row) if header else " | ".join(_texts(row))
        kind = "qa" if header and header.qa else "table_row"
        builder.add(text, page=style.page, kind=kind, gap=2 if first or header else 1)
        first = False
    return header


def _texts(row: Row) -> list[str]:
    """Each cell's text once."""
    return [cell.text for index, cell in enumerate(row) if cell is not None and cell.text and (not index or row[index - 1] is not cell)]


def _record(header: Header, row: Row) -> str:
    """`label：value` lines; a cell over the whole row is a line of its own, the header again is nothing."""
    cells = [(index, cell) for index, cell in enumerate(row) if cell is not None and cell.text and (not index or row[index - 1] is not cell)]
    if len(cells) == 1 and len(row) > 1 and all(cell is row[0] for cell in row):
        return cells[0][1].text
    labels = header.labels
    pairs = [(labels[index] if index < len(labels) else "", cell.text) for index, cell in cells]
    if len(pairs) > 1 and all(label in (value, f"{value}/{value}") for label, value in pairs):
        return ""
    text = qa.record(header.qa, pairs) if header.qa else "\n".join(labelled(label, value) for label, value in pairs)
    return _EMPTY_LINES.sub("\n", text) if "\n" in text else text


def labelled(label: str, value: str) -> str:
    """`列：值`, `column: value`; a value without a label, or that begins with its own, stands alone."""
    if label and value.startswith((f"{label}：", f"{label}:")):
        return value
    return f"{label}{': ' if label.isascii() else '：'}{value}" if label else value


def plain_rows(records: Iterable[Sequence[str]]) -> Iterator[Row]:
    """Rows of a table without merged cells."""
    for record in records:
        yield [Cell(text) if (text := value.strip()) else None for value in record]
