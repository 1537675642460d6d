"""Bring the database to the newest schema. Alembic is imported only when there is something to do: a start must be quick."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from qzbrain.errors import SettingsInvalid
from qzbrain.storage.base import Kind
from qzbrain.storage.database import Database
from qzbrain.storage.tables import access_state, metadata

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0011"
FOLDER = Path(__file__).parent / "migrations"
RESTORING = "qzbrain_restoring"
"""The table that marks a server's database while a backup is put into it, or an upgrade changes it."""
Around = Callable[[str], AbstractContextManager[str | None]]


def current_revision(database: Database) -> str | None:
    """The schema's revision in the database, None for an empty one."""
    with database.read() as connection:
        return _revision(connection)


def upgrade(database: Database, *, to: str = HEAD, around: Around = lambda _revision: nullcontext()) -> bool:
    """Migrate to HEAD, or to an earlier revision; True when something changed. One process at a time, also of several hosts on one server.

    `around`: entered before a database that is there already is changed, with its revision; gives the backup of it, if there is one. A server's database
    is marked with that meanwhile, as by `restoring`. Raises SettingsInvalid when the database is newer than this program, or holds tables of other
    programs under our names, and `upgrade_failed`.
    """
    found = current_revision(database)
    if _is_current(found) or found == to:
        return False
    from alembic import command

    config = _config()
    with nullcontext() if found is None else around(found) as backup:
        marked = database.kind == "mysql" and backup is not None
        try:
            with database.write() as connection:
                now = _revision(connection)
                if _is_current(now) or now == to:
                    return True  # another host has done it while `around` was at work
                if now is None and database.kind == "mysql":
                    _clear_away_what_was_interrupted(connection, database.place)
                if marked:
                    _mark(connection, str(backup))
                    connection.exec_driver_sql("COMMIT")
                config.attributes["connection"] = connection
                command.upgrade(config, to)
                if marked:
                    connection.exec_driver_sql(f"DROP TABLE {RESTORING}")
        except DBAPIError as exc:
            raise _failed(database.place, str(exc.orig), backup if marked else None) from exc
    return True


def revision_of(connection: Connection) -> str | None:
    """As `current_revision`, by a connection."""
    return _revision(connection)


@contextmanager
def restoring(database: Database, backup: str) -> Iterator[None]:
    """Mark a server's database as one that a backup is being put into, for as long as the block runs: MySQL commits each table by itself. When the
    block raises, or its process is killed, the mark stays, and `require_whole` refuses the database."""
    with database.write() as connection:
        _mark(connection, backup)
    yield
    with database.write() as connection:
        connection.exec_driver_sql(f"DROP TABLE {RESTORING}")


def interrupted(connection: Connection) -> str | None:
    """The backup that was being put into this database when that broke off, or that holds what was there before an upgrade that did; None in a whole one."""
    if not inspect(connection).has_table(RESTORING):
        return None
    row = connection.exec_driver_sql(f"SELECT backup FROM {RESTORING}").first()  # noqa: S608  our own name
    return row[0] if row else None


def require_whole(database: Database) -> None:
    """Raises SettingsInvalid (`restore_interrupted`)."""
    if database.kind != "mysql":
        return  # a file takes its place whole
    with database.read() as connection:
        if interrupted(connection) is None:
            return
    with database.write() as connection:  # another host may be upgrading it just now
        backup = interrupted(connection)
    if backup is not None:
        raise SettingsInvalid(
            "restore_interrupted",
            zh=f"数据库 {database.place} 的恢复或升级被中断，其中数据不完整。请运行 qzbrain restore {backup}。",
            en=f"A restore or an upgrade of the database {database.place} was interrupted; what is in it is not whole. Run: qzbrain restore {backup}",
        )


def clear(database: Database) -> None:
    """Drop all our tables, whatever is in them; others' are not touched."""
    with database.write() as connection:
        there = set(inspect(connection).get_table_names())
        for table in [*(str(x.name) for x in reversed(metadata.sorted_tables)), "alembic_version"]:
            if table in there:
                connection.exec_driver_sql(f"DROP TABLE {table}")


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


def _mark(connection: Connection, backup: str) -> None:
    connection.exec_driver_sql(f"CREATE TABLE IF NOT EXISTS {RESTORING} (backup VARCHAR(255) NOT NULL)")
    connection.exec_driver_sql(f"DELETE FROM {RESTORING}")  # noqa: S608  our own name
    connection.execute(text(f"INSERT INTO {RESTORING} (backup) VALUES (:backup)"), {"backup": backup})  # noqa: S608


def _failed(place: str, reason: str, backup: str | None) -> SettingsInvalid:
    """`backup`: of what was there before, where it is not there any more."""
    zh, en = "没有改动任何内容。请先使用旧版本程序", "Nothing was changed. Use the older program meanwhile"
    if backup is not None:
        zh = f"升级前的内容在备份 {backup} 中。请先运行 qzbrain db downgrade，再使用旧版本程序"
        en = f"What was there before is in the backup {backup}. Run qzbrain db downgrade and use the older program meanwhile"
    return SettingsInvalid(
        "upgrade_failed",
        zh=f"数据库 {place} 升级到 {HEAD} 失败：{reason}。{zh}，并反馈此问题。",
        en=f"The upgrade of the database {place} to {HEAD} failed: {reason}. {en}, and please report this.",
    )


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
