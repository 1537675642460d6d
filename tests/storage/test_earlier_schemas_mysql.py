"""As `test_earlier_schemas`, on a real MariaDB, from some of the schemas: a server takes two seconds for what SQLite does in a tenth of one."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from sqlalchemy import Double, Float, Integer, Text, inspect
from sqlalchemy.sql.sqltypes import _Binary
from sqlalchemy.types import TypeEngine

from qzbrain.brain import build, database_of
from qzbrain.settings import Settings
from qzbrain.storage import migrate
from qzbrain.storage.files import FileStore
from qzbrain.storage.tables import metadata
from tests.cli.conftest import (
    Run,
    run,  # noqa: F401  the fixture
)
from tests.flows.backup_process import command
from tests.servers.cutting_proxy import CuttingProxy
from tests.servers.mariadb import MariaDb
from tests.storage.test_earlier_schemas import ORIGINAL, SHA256

pytestmark = pytest.mark.servers
BY_TYPE: list[tuple[type[TypeEngine[Any]], Any]] = [(_Binary, b"k\x00\xff"), (Integer, 1), (Double, 0.1 + 0.2), (Float, 1.5), (Text, "{}")]


def rows_of(settings: Settings) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables, as the server keeps them."""
    with closing(database_of(settings)) as database, database.read() as connection:
        names = inspect(connection).get_table_names()
        return {name: [dict(row._mapping) for row in connection.exec_driver_sql(f"SELECT * FROM {name}")] for name in names}


def old_brain(settings: Settings, revision: str) -> dict[str, list[dict[str, Any]]]:
    """A database as the program of that schema left it, with a row in every table."""
    FileStore(settings.data / "files").put(io.BytesIO(ORIGINAL), limit_bytes=1 << 20)
    with closing(database_of(settings)) as database:
        migrate.upgrade(database, to=revision)
        with database.write() as connection:
            there = set(inspect(connection).get_table_names())
            for table in metadata.sorted_tables:
                if table.name in there and table.name != "access_state":
                    columns = {column["name"]: column["type"] for column in inspect(connection).get_columns(table.name)}
                    values = [SHA256 if name == "sha256" else next((x for one, x in BY_TYPE if isinstance(kind, one)), "k") for name, kind in columns.items()]
                    connection.exec_driver_sql(f"INSERT INTO {table.name} VALUES ({','.join(['%s'] * len(values))})", tuple(values))
    return rows_of(settings)


@pytest.mark.parametrize("revision", ["0001", "0004", "0007"])
def test_an_upgrade_keeps_everything_and_can_be_undone(
    revision: str, make_settings: Callable[..., Settings], mysql: dict[str, Any], run: Run, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    settings = make_settings(**mysql)
    for name, value in mysql.items():
        monkeypatch.setenv(name.upper(), str(value))
    before = old_brain(settings, revision)
    build(settings).close()
    after = rows_of(settings)
    assert after["alembic_version"] == [{"version_num": migrate.HEAD}]
    for name, rows in before.items():
        if name != "alembic_version":
            assert [{key: row[key] for key in rows[0] if key in row} for row in after[name]] == rows, name
    (listed,) = run("backup", "list", "--json").json["backups"]
    assert (listed["revision"], listed["reason"], listed["files"]) == (revision, f"before-{migrate.HEAD}", 1)
    back = run("db", "downgrade", "--json")
    assert (back.code, back.json["revision"]) == (0, revision), back.err
    assert rows_of(settings) == {**before, **{name: [] for name in ("sessions", "links", "login_failures") if name in before}}


def test_an_upgrade_that_is_killed_is_not_taken_for_a_whole_database(
    make_settings: Callable[..., Settings], mysql: dict[str, Any], mariadb: MariaDb, run: Run, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    settings = make_settings(**mysql)
    before = old_brain(settings, "0010")
    proxy = CuttingProxy(mariadb.port)
    process = command(settings, "kb", "list", **{name.upper(): str(value) for name, value in {**mysql, "mysql_port": proxy.port}.items()})
    proxy.arm(b"CREATE TABLE user_groups", "after", process.kill)
    process.communicate(timeout=60)
    proxy.close()
    assert (process.returncode, proxy.cuts) == (-9, 1)
    for name, value in mysql.items():
        monkeypatch.setenv(name.upper(), str(value))
    (saved,) = run("backup", "list", "--json").json["backups"]
    told = run("db", "upgrade", "--json")
    assert (told.code, told.json["error"]["code"]) == (1, "restore_interrupted") and f"qzbrain restore {saved['id']}" in told.json["error"]["message"]
    assert run("restore", saved["id"], "--json").json["revision"] == migrate.HEAD
    assert rows_of(settings)["knowledge_bases"][0]["id"] == before["knowledge_bases"][0]["id"]
    assert run("db", "downgrade", "--json").json["backup"] == saved["id"], "no backup was made of the database in between"
    assert rows_of(settings) == before


def test_an_upgrade_that_fails_names_the_way_back(
    make_settings: Callable[..., Settings], mysql: dict[str, Any], mariadb: MariaDb, run: Run, monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    settings = make_settings(**mysql)
    before = old_brain(settings, "0010")
    mariadb.run(f"CREATE INDEX ix_documents_kb_id_level ON `{mysql['mysql_db']}`.documents (kb_id)")  # 0011 makes it, almost at its end
    for name, value in mysql.items():
        monkeypatch.setenv(name.upper(), str(value))
    told = run("db", "upgrade", "--json")
    assert (told.code, told.json["error"]["code"]) == (1, "upgrade_failed") and "qzbrain db downgrade" in told.json["error"]["message"]
    assert run("db", "downgrade", "--json").code == 0
    assert rows_of(settings) == before
    build(settings).close()


def test_what_another_host_upgrades_meanwhile_is_not_touched(
    make_settings: Callable[..., Settings], mysql: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its backup was made of a database in the middle of a change: it must not be what people are sent to."""
    settings = make_settings(**mysql)
    old_brain(settings, "0007")
    marks = list[str]()
    mark = migrate._mark
    monkeypatch.setattr(migrate, "_mark", lambda connection, backup: (marks.append(backup), mark(connection, backup)))

    @contextmanager
    def late(_revision: str) -> Iterator[str]:
        build(settings).close()
        yield "late"

    with closing(database_of(settings)) as database:
        assert migrate.upgrade(database, around=late)
        migrate.require_whole(database)
        assert migrate.current_revision(database) == migrate.HEAD
    assert len(marks) == 1 and marks != ["late"]
