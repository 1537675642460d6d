"""Bring the database to the newest schema. Alembic is imported only when there is something to do: a start must be quick."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import inspect

from qzbrain.errors import SettingsInvalid
from qzbrain.storage.database import Database

HEAD = "0002"
FOLDER = Path(__file__).parent / "migrations"


def current_revision(database: Database) -> str | None:
    """The schema's revision in the database, None for an empty one."""
    with database.read() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        row = connection.exec_driver_sql("SELECT version_num FROM alembic_version").first()
    return row[0] if row else None


def upgrade(database: Database) -> bool:
    """Migrate to HEAD; True when something changed. Raises SettingsInvalid when the database is newer than this program."""
    revision = current_revision(database)
    if revision == HEAD:
        return False
    if revision is not None and revision > HEAD:
        raise SettingsInvalid(
            zh=f"数据库的版本 {revision} 比本程序（{HEAD}）新。请使用更新的程序，或换一个数据目录。",
            en=f"The database is at revision {revision}, newer than this program ({HEAD}). Use the newer program, or another data folder.",
        )
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return True
