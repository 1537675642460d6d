"""What of a document is kept whole when it is cut: tables, rows, code, list items, pairs of question and answer. Pure, linear."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from qzbrain.domain import Block, ParsedDocument

Span = tuple[int, int]
_RUNS = frozenset({"table_row", "code"})
_LONGEST_HEADER = 200


@dataclass(slots=True)
class Shapes:
    """`whole`: spans that are not torn where they fit; `pairs`: those that stand alone. Both in order."""

    whole: list[Span] = field(default_factory=list)
    pairs: list[Span] = field(default_factory=list)
    _tables: list[tuple[int, int, str]] = field(default_factory=list)

    def header_at(self, offset: int) -> str:
        """The header of the table whose rows, but not the header itself, stand at `offset`; '' elsewhere."""
        index = bisect_right(self._tables, offset, key=lambda table: table[0]) - 1
        return self._tables[index][2] if index >= 0 and offset < self._tables[index][1] else ""

    def add_table(self, first_row: int, end: int, header: str) -> None:
        """A table too long for one chunk."""
        self._tables.append((first_row, end, header))


def shapes_of(parsed: ParsedDocument, chunk_chars: int) -> Shapes:
    """A table, or a piece of code, is one span where it fits into a chunk, else one a row or line."""
    found = Shapes()
    for kind, blocks in _runs(parsed):
        fits = blocks[-1].end - blocks[0].start <= chunk_chars
        if kind == "qa":
            found.pairs += [(block.start, block.end) for block in blocks]
        elif kind in _RUNS and fits:
            found.whole.append((blocks[0].start, blocks[-1].end))
        elif kind in _RUNS or kind == "list_item":
            found.whole += [(block.start, block.end) for block in blocks]
        if kind == "table_row" and not fits and (header := _header(parsed.text, blocks)):
            found.add_table(blocks[1].start, blocks[-1].end, header)
    return found


def _runs(parsed: ParsedDocument) -> list[tuple[str, list[Block]]]:
    """Blocks of one kind that follow each other with nothing but blanks between them, on one page line after line."""
    runs: list[tuple[str, list[Block]]] = []
    for block in parsed.blocks:
        last = runs[-1][1][-1] if runs else None
        if last is not None and last.kind == block.kind and block.kind in _RUNS and parsed.text[last.end:block.start].count("\n") <= 1:
            runs[-1][1].append(block)
        else:
            runs.append((block.kind, [block]))
    return runs


def _header(text: str, rows: Sequence[Block]) -> str:
    """The cells of the first row; '' where it is no header: one cell, too long, or rows that name their columns themselves."""
    if len(rows) < 2:
        return ""
    cells = [cell.strip() for cell in text[rows[0].start:rows[0].end].strip().strip("|").split("|")]
    header = " | ".join(cell for cell in cells if cell)
    if sum(bool(cell) for cell in cells) < 2 or len(header) > _LONGEST_HEADER:
        return ""
    return header
