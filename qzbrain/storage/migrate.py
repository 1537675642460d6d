"""Bring the database to the newest schema. Alembic is imported only when there is something to do: a start must be quick."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect

from qzbrain.errors import SettingsInvalid
from qzbrain.storage.base import Kind
from qzbrain.storage.database import Database
from qzbrain.storage.tables import access_state, metadata

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0011"
FOLDER = Path(__file__).parent / "migrations"


def current_revision(database: Database) -> str | None:
    """The schema's revision in the database, None for an empty one."""
    with database.read() as connection:
        return _revision(connection)


def upgrade(database: Database) -> bool:
    """Migrate to HEAD; True when something changed. One process at a time, also of several hosts on one server.

    Raises SettingsInvalid when the database is newer than this program, or holds tables of other programs under our names.
    """
    if _is_current(current_revision(database)):
        return False
    from alembic import command

    config = _config()
    with database.write() as connection:
        if _revision(connection) is None and database.kind == "mysql":
            _clear_away_what_was_interrupted(connection, database.place)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
    return True


def schema(kind: Kind) -> list[str]:
    """The SQL statements that make an empty database one of HEAD, made from the migrations."""
    from alembic import command

    config, written = _config(), io.StringIO()
    config.output_buffer = written
    config.attributes["dialect"] = kind
    command.upgrade(config, "head", sql=True)
    lines = [line.rstrip() for line in written.getvalue().splitlines() if not line.startswith("-- ")]
    statements = "\n".join(lines).replace(")ENGINE", ") ENGINE").replace(" RETURNING version_num", "").split(";\n")
    return [x.strip() for x in statements if x.strip()]


def _is_current(revision: str | None) -> bool:
    if revision is not None and revision > HEAD:
        raise SettingsInvalid(
            zh=f"数据库的版本 {revision} 比本程序（{HEAD}）新。请使用更新的程序，或换一个数据目录。",
            en=f"The database is at revision {revision}, newer than this program ({HEAD}). Use the newer program, or another data folder.",
        )
    return revision == HEAD


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    row = connection.exec_driver_sql("SELECT version_num FROM alembic_version").first()
    return row[0] if row else None


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    return config


def _clear_away_what_was_interrupted(connection: Connection, place: str) -> None:
    """MySQL commits each table by itself: a first migration that was killed left some of them, all empty but for the row that `access_state`
    begins with. Others' tables are not touched."""
    there = set(inspect(connection).get_table_names())
    ours = [table for table in reversed(metadata.sorted_tables) if table.name in there]
    filled = [x.name for x in ours if not _as_made(connection, str(x.name))]
    if filled:
        raise SettingsInvalid(
            zh=f"数据库 {place} 中已有其他程序的表：{', '.join(filled)}。请换一个空数据库（MYSQL_DB）。",
            en=f"The database {place} holds tables of another program: {', '.join(filled)}. Take an empty database (MYSQL_DB).",
            param="mysql_db",
        )
    for table in ours:
        connection.exec_driver_sql(f"DROP TABLE {table.name}")


def _as_made(connection: Connection, table: str) -> bool:
    """Whether a table is as a migration makes it."""
    rows = connection.exec_driver_sql(f"SELECT * FROM {table} LIMIT 2").all()  # noqa: S608  our own names
    return not rows or (table == access_state.name and [tuple(row) for row in rows] == [(1, 1)])
