"""Rows brought into a table, passed over where they are there already; many in each statement, run by the driver itself.

A statement that inserts one row costs SQLite two to four times what the row does, and between two of them another thread of Python gets its turn
(640,000 rows of an import: 6.5 s one by one, 3.0 s in many at a time, 2026-11-28). MySQL's driver puts many rows into one statement by itself.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection, Table

_SIZES = (500, 50)
"""Rows of one statement: few sizes, so that the driver keeps each of them prepared. What is left over goes one by one. SQLite compares each parameter with all
others when it prepares a statement: of 2,000 rows of mentions 0.9 s, of 500 0.06 s; the rows themselves take as long in both (2026-11-29)."""


def insert_rows(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], same: Mapping[str, Any] | None = None) -> int:
    """Insert those of the rows that are not there, in their order; returns how many these are. `same`: further columns, with what all rows have in them."""
    fixed = same or {}
    if not rows:
        return 0
    if connection.dialect.name != "sqlite":
        sql = _one(connection.dialect.name, table, (*fixed, *columns))
        return int(connection.exec_driver_sql(sql, [(*fixed.values(), *row) for row in rows]).rowcount)
    inserted = 0
    for some in _pieces(rows, len(columns), len(fixed), connection):
        sql = _many(table, tuple(fixed), tuple(columns), len(some))
        inserted += int(connection.exec_driver_sql(sql, (*fixed.values(), *chain.from_iterable(some))).rowcount)
    return inserted


def insert_new(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]], same: Mapping[str, Any]) -> tuple[int, bool]:
    """As `insert_rows`, for a table with an `id`. Returns the highest id so far, and whether the rows now have the ids after it, one each, in their order.

    Where not (some were there, or the database numbers rows as it likes), new rows still have higher ids than that.
    """
    before = f"SELECT coalesce(max(id), 0) FROM {table.name}"  # noqa: S608 - a table of ours
    if connection.dialect.name != "sqlite":
        last = int(connection.exec_driver_sql(before).scalar_one())
        insert_rows(connection, table, columns, rows, same)
        return last, False
    given = f"SELECT max(coalesce((SELECT seq FROM sqlite_sequence WHERE name = ?), 0), ({before}))"  # noqa: S608 - no id comes twice, also after deletions
    last = int(connection.exec_driver_sql(given, (table.name,)).scalar_one())
    numbered = [(number, *row) for number, row in enumerate(rows, last + 1)]
    return last, insert_rows(connection, table, ("id", *columns), numbered, same) == len(numbered)


def _pieces(rows: Sequence[tuple[Any, ...]], width: int, fixed: int, connection: Connection) -> Iterator[Sequence[tuple[Any, ...]]]:
    driver: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    most = (driver.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) - fixed) // width
    start = 0
    for size in (*(one for one in _SIZES if one <= most), 1):
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size


@lru_cache(maxsize=256)
def _many(table: Table, fixed: tuple[str, ...], columns: tuple[str, ...], count: int) -> str:
    """For SQLite. The first parameters are those of the fixed columns, once."""
    names = ", ".join(f'"{name}"' for name in (*fixed, *columns))
    first = [f"?{number}" for number in range(1, len(fixed) + 1)]
    starts = range(len(fixed) + 1, len(fixed) + 1 + count * len(columns), len(columns))
    rows = ",".join(f"({','.join((*first, *(f'?{start + at}' for at in range(len(columns)))))})" for start in starts)
    return f"INSERT OR IGNORE INTO {table.name} ({names}) VALUES {rows}"  # noqa: S608 - names of ours, values as parameters


@lru_cache
def _one(dialect: str, table: Table, columns: tuple[str, ...]) -> str:
    """Values in the order of the columns, in the words of the driver."""
    mark, verb, quote = ("%s", "INSERT IGNORE", "`") if dialect == "mysql" else ("?", "INSERT OR IGNORE", '"')
    names = ", ".join(f"{quote}{name}{quote}" for name in columns)
    return f"{verb} INTO {table.name} ({names}) VALUES ({', '.join([mark] * len(columns))})"
