"""Tables with merged cells, row by row: what a merged cell says holds for every row that it spans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell's text on one line; how many columns and rows it spans."""

    text: str
    columns: int = 1
    rows: int = 1


def filled_rows(rows: Iterable[list[Cell]]) -> Iterator[list[str]]:
    """Texts of each row from left to right, with cells that reach in from rows above at their columns; empty rows are left out."""
    reaching: dict[int, tuple[Cell, int]] = {}
    for cells in rows:
        texts: list[str] = []
        below: dict[int, tuple[Cell, int]] = {}
        column, last = 0, max(reaching, default=-1)
        waiting = iter(cells)
        while True:
            if column in reaching:
                cell, left = reaching.pop(column)
            else:
                following = next(waiting, None)
                if following is None:
                    if column >= last:
                        break
                    column += 1
                    continue
                cell, left = following, following.rows
            if cell.text:
                texts.append(cell.text)
            if left > 1:
                below[column] = cell, left - 1
            column += cell.columns
        reaching = below
        if texts:
            yield texts
