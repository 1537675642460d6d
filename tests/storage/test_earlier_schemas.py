"""A database of every earlier schema, with rows in every table: backed up by the upgrade, all there after it, and back again for the older program."""

from __future__ import annotations

import hashlib
import io
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from qzbrain.brain import build
from qzbrain.errors import SettingsInvalid
from qzbrain.settings import Settings
from qzbrain.storage import migrate
from qzbrain.storage.database import Database
from qzbrain.storage.files import FileStore
from qzbrain.storage.tables import metadata
from tests.cli.conftest import (
    Run,
    run,  # noqa: F401  the fixture
)

ORIGINAL = "第一条 采购须经批准。🍣".encode()
SHA256 = hashlib.sha256(ORIGINAL).hexdigest()
BY_TYPE: dict[str, Any] = {"JSON": "{}", "BLOB": b"\x00\xff\x01\x80" * 8, "INTEGER": 1, "BIGINT": 1, "FLOAT": 1.5, "DOUBLE": 0.1 + 0.2, "DOUBLE PRECISION": 1.5}


def rows_of(path: Path) -> dict[str, list[dict[str, Any]]]:
    """All rows of all tables, as SQLite keeps them."""
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        names = [x[0] for x in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")]
        return {name: [dict(row) for row in database.execute(f"SELECT * FROM {name}")] for name in names}


def old_brain(settings: Settings, revision: str) -> dict[str, list[dict[str, Any]]]:
    """A data folder as the program of that schema left it, with a row in every table."""
    with closing(Database(settings.database_path)) as database:
        migrate.upgrade(database, to=revision)
    FileStore(settings.data / "files").put(io.BytesIO(ORIGINAL), limit_bytes=1 << 20)
    with closing(sqlite3.connect(settings.database_path, isolation_level=None)) as database:
        there = {x[0] for x in database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")}
        assert there - {"alembic_version"} <= set(metadata.tables), "a backup would leave this table out"
        for table in metadata.sorted_tables:
            if table.name in there and table.name != "access_state":
                columns = list(database.execute(f"PRAGMA table_info({table.name})"))
                values = [SHA256 if name == "sha256" else BY_TYPE.get(kind.split("(")[0].upper(), "k") for _, name, kind, *_ in columns]
                database.execute(f"INSERT INTO {table.name} VALUES ({','.join('?' * len(values))})", values)
    return rows_of(settings.database_path)


@pytest.mark.parametrize("revision", [f"{number:04}" for number in range(1, int(migrate.HEAD))])
def test_an_upgrade_keeps_everything_and_can_be_undone(
    revision: str, make_settings: Callable[..., Settings], run: Run, capfd: pytest.CaptureFixture[str]  # noqa: F811
) -> None:
    settings = make_settings()
    before = old_brain(settings, revision)
    assert all(rows for rows in before.values())
    build(settings).close()
    assert f"-before-{migrate.HEAD}-" in capfd.readouterr().err
    after = rows_of(settings.database_path)
    assert after["alembic_version"] == [{"version_num": migrate.HEAD}]
    for name, rows in before.items():
        if name != "alembic_version":
            assert [{key: row[key] for key in rows[0] if key in row} for row in after[name]] == rows, name
    build(settings).close()
    assert "-before-" not in capfd.readouterr().err, "once is enough"

    (listed,) = run("backup", "list", "--json").json["backups"]
    assert (listed["revision"], listed["reason"], listed["files"]) == (revision, f"before-{migrate.HEAD}", 1)
    (settings.data / "files" / SHA256[:2] / SHA256).unlink()
    back = run("db", "downgrade", "--json")
    assert back.code == 0, back.err
    assert back.json["revision"] == revision
    assert rows_of(settings.database_path) == {**before, **{name: [] for name in ("sessions", "links", "login_failures") if name in before}}
    assert (settings.data / "files" / SHA256[:2] / SHA256).read_bytes() == ORIGINAL
    assert not settings.index_path.exists(), "an older program builds its own"

    build(settings).close()  # and up again
    assert rows_of(settings.database_path)["knowledge_bases"] == after["knowledge_bases"]


def test_an_upgrade_that_cannot_be_backed_up_does_not_begin(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "other.txt").write_text("x")
    settings = make_settings(backup_dir=str(tmp_path / "taken"))
    before = old_brain(settings, "0010")
    with pytest.raises(SettingsInvalid) as refused:
        build(settings)
    assert refused.value.code == "not_backed_up" and "BACKUP_BEFORE_UPGRADE" in refused.value.zh
    assert rows_of(settings.database_path) == before
    build(settings.model_copy(update={"backup_before_upgrade": "off"})).close()
    assert rows_of(settings.database_path)["alembic_version"] == [{"version_num": migrate.HEAD}]
    assert [x.name for x in (tmp_path / "taken").iterdir()] == ["other.txt"]


def test_an_upgrade_that_fails_is_told_and_has_changed_nothing(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    old_brain(settings, "0003")
    with closing(sqlite3.connect(settings.database_path)) as database, database:
        database.execute("DROP INDEX ix_documents_kb_id_status_chunks")  # 0004 drops it
    before = rows_of(settings.database_path)
    with pytest.raises(SettingsInvalid) as refused:
        build(settings)
    assert refused.value.code == "upgrade_failed" and "ix_documents_kb_id_status_chunks" in refused.value.en
    assert rows_of(settings.database_path) == before


def test_a_brain_without_data_is_not_backed_up(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    with closing(Database(settings.database_path)) as database:
        migrate.upgrade(database, to="0010")
    build(settings).close()
    assert not settings.backup_folder.exists()


def test_without_such_a_backup_there_is_no_way_back(run: Run) -> None:  # noqa: F811
    assert run("kb", "create", "x").code == 0
    refused = run("db", "downgrade", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "no_backups")
    assert run("backup").code == 0
    refused = run("db", "downgrade", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "no_downgrade")
