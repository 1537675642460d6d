"""Vectors are copied with the rest, byte by byte, and a copy that broke off in the middle of them goes on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from sqlalchemy import delete, insert, select

from qzbrain.ops import copying
from qzbrain.settings import Settings
from qzbrain.storage import migrate
from qzbrain.storage.database import Database
from qzbrain.storage.tables import vectors


def test_vectors_are_copied_and_an_interrupted_copy_goes_on(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    rows = [
        {"space_id": space, "chunk_id": chunk, "document_id": "d", "vector": bytes([chunk % 256, 0, 255, 128]) * 4}
        for space in ("a", "b", "c")
        for chunk in range(1, 700)
    ]
    source, target = tmp_path / "from" / "a.db", tmp_path / "to" / "b.db"
    for path in (source, target):
        path.parent.mkdir()
    with closing(Database(source)) as database:
        migrate.upgrade(database)
        with database.write() as connection:
            connection.execute(insert(vectors), rows)
    settings = make_settings()
    sides = copying.side(f"sqlite:{source}", settings), copying.side(f"sqlite:{target}", settings)
    assert copying.copy(*sides).tables["vectors"] == len(rows)
    with closing(Database(target)) as database, database.write() as connection:
        connection.execute(delete(vectors).where((vectors.c.space_id == "c") | ((vectors.c.space_id == "b") & (vectors.c.chunk_id > 300))))
    copying.copy(*sides, resume=True)
    with closing(Database(target)) as database:
        found = [dict(row._mapping) for row in database.rows(select(vectors).order_by(vectors.c.space_id, vectors.c.chunk_id))]
    assert found == rows
