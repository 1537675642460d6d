"""Revision 0002 on a database that has answers already."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import select

from qzbrain.storage import migrate
from qzbrain.storage.database import Database
from qzbrain.storage.tables import messages

ROWS = (
    "INSERT INTO conversations VALUES ('c', 'local', '', '', '[]', 'console', '2026', '2026')",
    "INSERT INTO messages (id, conversation_id, role, status, content, model, rung, rung_reason, details, rating, comment, created_at, position)"
    " VALUES ('m', 'c', 'assistant', 'running', '', '', '', '', '{}', '', '', '2026', 1)",
)


def test_answers_of_the_version_before_have_no_runner(tmp_path: Path) -> None:
    db = Database(tmp_path / "brain.sqlite")
    config = Config()
    config.set_main_option("script_location", str(migrate.FOLDER))
    with db.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for row in ROWS:
            connection.exec_driver_sql(row)
    assert migrate.current_revision(db) == "0001"
    assert migrate.upgrade(db) is True
    assert migrate.upgrade(db) is False
    (message,) = db.rows(select(messages.c.id, messages.c.runner, messages.c.status))
    assert tuple(message) == ("m", "", "running")
    db.close()
