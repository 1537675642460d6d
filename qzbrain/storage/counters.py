"""The numbers that tables give to their rows, never twice. A copy must go on where the original is: the search index knows rows by them."""

from __future__ import annotations

import re

from sqlalchemy import Connection

from qzbrain.storage.base import Kind

COUNTED = ("chunks", "outbox")
"""Tables that number their rows."""


def last_number(connection: Connection, kind: Kind, table: str) -> int:
    """The highest number that a table has given so far, 0 for none; its row may be gone."""
    if kind == "sqlite":
        given = connection.exec_driver_sql("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).scalar()
        return int(given or 0)
    made = connection.exec_driver_sql(f"SHOW CREATE TABLE {table}").one()[1]
    following = re.search(r"\bAUTO_INCREMENT=(\d+)", made)
    return int(following[1]) - 1 if following else 0


def go_on_after(connection: Connection, kind: Kind, table: str, number: int) -> None:
    """Give higher numbers than this one from now on."""
    if kind == "mysql":
        connection.exec_driver_sql(f"ALTER TABLE {table} AUTO_INCREMENT = {number + 1}")
        return
    known = connection.exec_driver_sql("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = ?", (number, table)).rowcount
    if not known:
        connection.exec_driver_sql("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (table, number))
