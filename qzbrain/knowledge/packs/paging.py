"""Rows of a table by pages, in the order of their keys: memory stays at a page, and each page costs what it holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Column, Connection, Row, Select, and_, or_

PAGE = 500


def paged(connection: Connection, query: Select[Any], keys: Sequence[Column[Any]], *, size: int = PAGE) -> Iterator[Sequence[Row[Any]]]:
    """All rows by pages, in the order of one or two key columns."""
    last: Row[Any] | None = None
    while True:
        page = query.order_by(*keys).limit(size)
        if last is not None:
            values = [getattr(last, key.name) for key in keys]
            after = keys[0] > values[0]
            if len(keys) > 1:
                after = or_(after, and_(keys[0] == values[0], keys[1] > values[1]))
            page = page.where(after)
        rows = connection.execute(page).all()
        if not rows:
            return
        yield rows
        last = rows[-1]
