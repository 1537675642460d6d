"""The rows of a whole database as lines of JSON, whatever kind of database it is and of whatever revision: out, and into another.

    {"table": NAME, "columns": [...]}     then its rows, some to a line:
    [[...], [...], ...]                   bytes as {"b": BASE64}
    {"end": NAME, "rows": NUMBER}

Values are what the driver gives; what differs between databases (a text that one of them keeps as bytes) follows from the table that takes
them. Rows come in the order in which the database keeps them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, cast

import orjson
from sqlalchemy import Connection, inspect
from sqlalchemy.sql.sqltypes import _Binary

from qzbrain.storage.base import Kind
from qzbrain.storage.database import Database
from qzbrain.storage.tables import metadata

_ROWS, _BYTES = 1000, 1_000_000
_VERSION_TABLE = "alembic_version"

Progress = Callable[[str, int, int], None]
"""stage (rows, files, check, index), done, total"""


class BadRows(Exception):
    """The lines are not what `written` writes, or do not fit the tables."""


def tables_of(connection: Connection) -> list[str]:
    """The brain's tables in this database, each behind those that it refers to."""
    there = set(inspect(connection).get_table_names())
    return [str(table.name) for table in metadata.sorted_tables if table.name in there]


def counted(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    """How many rows each table has."""
    quote = connection.dialect.identifier_preparer.quote
    return {name: int(connection.exec_driver_sql(f"SELECT COUNT(*) FROM {quote(name)}").scalar() or 0) for name in names}  # noqa: S608  our own names


def written(connection: Connection, kind: Kind, write: Callable[[bytes], Any], progress: Progress) -> dict[str, int]:
    """Write all rows of a snapshot; returns how many of each table."""
    names = tables_of(connection)
    expected = counted(connection, names)
    done, total, rows = 0, sum(expected.values()), dict[str, int]()
    for name in names:
        columns = [str(column["name"]) for column in inspect(connection).get_columns(name)]
        write(_line({"table": name, "columns": columns}))
        rows[name] = 0
        for batch in _batches(_read(connection, kind, name, columns)):
            write(orjson.dumps(batch, default=_cell) + b"\n")
            rows[name] += len(batch)
            done += len(batch)
            progress("rows", done, max(done, total))
        write(_line({"end": name, "rows": rows[name]}))
    return rows


def _read(connection: Connection, kind: Kind, name: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Row by row, so that no more than a batch is in memory; through the driver itself, which is some times as fast."""
    quote = connection.dialect.identifier_preparer.quote
    how: tuple[Any, ...] = ()
    if kind == "mysql":
        from pymysql.cursors import SSCursor

        how = (SSCursor,)
    with closing(cast(Any, connection.connection.cursor(*how))) as cursor:
        cursor.execute(f"SELECT {', '.join(map(quote, columns))} FROM {quote(name)}")  # noqa: S608  our own names
        yield from cursor


def _batches(rows: Iterable[tuple[Any, ...]]) -> Iterator[list[tuple[Any, ...]]]:
    batch: list[tuple[Any, ...]] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += sum(len(x) for x in row if type(x) is str or type(x) is bytes)
        if len(batch) >= _ROWS or size >= _BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _cell(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | memoryview):
        return {"b": base64.b64encode(value).decode()}
    raise TypeError(type(value).__name__)


def _line(value: Any) -> bytes:
    return orjson.dumps(value) + b"\n"


def read(lines: Iterable[bytes]) -> Iterator[tuple[str, list[str], list[list[Any]]]]:
    """Table, columns and some of its rows, again and again; an empty table once without rows. Raises BadRows."""
    name, columns, rows, given = "", list[str](), 0, False
    for line in lines:
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as exc:
            raise BadRows(str(exc)) from exc
        if isinstance(value, list) and name and all(isinstance(x, list) and len(x) == len(columns) for x in value):
            rows += len(value)
            given = True
            yield name, columns, value
        elif isinstance(value, dict) and not name and isinstance(value.get("table"), str) and value["table"] in metadata.tables:
            name, columns, rows, given = value["table"], [str(x) for x in value["columns"]], 0, False
        elif isinstance(value, dict) and name and value == {"end": name, "rows": rows}:
            if not given:
                yield name, columns, []
            name = ""
        else:
            raise BadRows(line[:80].decode(errors="replace"))
    if name:
        raise BadRows(f"the rows of {name} break off")


def load(database: Database, lines: Iterable[bytes], expected: Mapping[str, int], progress: Progress) -> None:
    """Put rows into the empty tables of a database of the same revision, some at a time. Raises BadRows, and what the database raises."""
    done, total = 0, sum(expected.values())
    taken: dict[str, int] = {}
    target: _Target | None = None
    for name, columns, rows in read(lines):
        if target is None or target.name != name:
            target = _Target(database, name, columns)
        if rows:
            with database.write() as connection:
                connection.exec_driver_sql(target.statement, target.fitted(rows))
        taken[name] = taken.get(name, 0) + len(rows)
        done += len(rows)
        progress("rows", done, max(done, total))
    if taken != dict(expected):
        raise BadRows("the number of rows is not what the backup says")


class _Target:
    """A table that rows go into. What a new table holds already (the one row of `access_state`) is taken out."""

    def __init__(self, database: Database, name: str, columns: Sequence[str]) -> None:
        self.name = name
        with database.read() as connection:
            there = {str(column["name"]): column["type"] for column in inspect(connection).get_columns(name)}
            filled = counted(connection, [name])[name]
            quote = connection.dialect.identifier_preparer.quote
        if set(columns) != set(there):
            raise BadRows(f"the columns of {name}: {', '.join(sorted(set(columns) ^ set(there)))}")
        self._binary = [isinstance(there[column], _Binary) for column in columns]
        mark = "?" if database.kind == "sqlite" else "%s"
        self.statement = f"INSERT INTO {quote(name)} ({', '.join(map(quote, columns))}) VALUES ({', '.join([mark] * len(columns))})"  # noqa: S608
        if filled:
            with database.write() as connection:
                connection.exec_driver_sql(f"DELETE FROM {quote(name)}")  # noqa: S608  our own names

    def fitted(self, rows: list[list[Any]]) -> list[tuple[Any, ...]]:
        """As the table takes them. Raises BadRows."""
        for at, binary in enumerate(self._binary):
            if binary or any(type(row[at]) is dict for row in rows):
                for row in rows:
                    row[at] = _fitting(row[at], binary=binary)
        return [tuple(row) for row in rows]


def _fitting(value: Any, *, binary: bool) -> Any:
    if isinstance(value, dict):
        try:
            data = base64.b64decode(value["b"], validate=True)
            return data if binary else data.decode()
        except (KeyError, TypeError, binascii.Error, UnicodeDecodeError) as exc:
            raise BadRows(str(exc)) from exc
    return value.encode() if binary and isinstance(value, str) else value
