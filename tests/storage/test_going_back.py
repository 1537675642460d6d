"""Going back through the revisions, and up again."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import func, insert, inspect, select

from qzbrain.storage import migrate
from qzbrain.storage.database import Database
from qzbrain.storage.tables import document_texts, documents, knowledge_bases, metadata, outbox

BASE = {"id": "k", "name": "kb", "chunk_chars": 250, "overlap_chars": 50, "manifest": {}, "created_at": "2026"}
DOCUMENT = {"kb_id": "k", "name": "a", "status": "ready", "sha256": "", "size_bytes": 1, "created_at": "2026"}
ROWS = (
    insert(knowledge_bases).values(BASE),
    insert(documents).values({**DOCUMENT, "id": "t", "identity": "t"}),
    insert(documents).values({**DOCUMENT, "id": "f", "identity": "f", "kind": "facts"}),
    insert(document_texts).values({"document_id": "f", "text": "told"}),
    insert(outbox).values({"kb_id": "k", "document_id": "t", "op": "put"}),
    insert(outbox).values({"kb_id": "k.facts", "document_id": "f", "op": "put"}),
)


@pytest.fixture
def db(tmp_path: Path) -> Database:
    database = Database(tmp_path / "brain.sqlite")
    migrate.upgrade(database)
    return database


def going_back(database: Database, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrate.FOLDER))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def test_each_revision_can_be_left_and_taken_again(db: Database) -> None:
    for revision in range(int(migrate.HEAD) - 1, 0, -1):
        going_back(db, f"{revision:04}")
        assert migrate.current_revision(db) == f"{revision:04}"
    assert migrate.upgrade(db) is True
    with db.read() as connection:
        assert set(metadata.tables) <= set(inspect(connection).get_table_names())
    db.close()


def test_told_facts_go_and_texts_stay(db: Database) -> None:
    with db.write() as connection:
        for row in ROWS:
            connection.execute(row)
    going_back(db, "0005")
    assert migrate.upgrade(db) is True
    assert [row.id for row in db.rows(select(documents.c.id))] == ["t"]
    assert db.rows(select(func.count()).select_from(outbox).where(outbox.c.kb_id == "k"))[0][0] == 1
    assert db.rows(select(func.count()).select_from(outbox))[0][0] == 1
    db.close()
