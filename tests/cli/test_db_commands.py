"""`qzbrain db …` on a real MariaDB: chatglm.sql against db upgrade, and moving a brain there and back."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select, update

from qzbrain.brain import build, database_of
from qzbrain.domain import new_id, utc_now
from qzbrain.errors import Conflict, PayloadTooLarge
from qzbrain.ops import copying
from qzbrain.ops.start import prepare_folders, take_lock
from qzbrain.settings import Settings
from qzbrain.storage import migrate
from qzbrain.storage.database import Database
from qzbrain.storage.tables import document_texts, documents, metadata, outbox
from qzbrain.worker import work_inline
from tests.cli.conftest import Run
from tests.running import ROOT
from tests.servers.mariadb import MariaDb
from tests.servers.programs import need

EVERYTHING_OF = {
    "columns": "table_name, column_name, ordinal_position, column_default, is_nullable, column_type, character_set_name, collation_name, extra",
    "statistics": "table_name, index_name, non_unique, seq_in_index, column_name, collation, sub_part, index_type",
    "table_constraints": "table_name, constraint_name, constraint_type",
    "key_column_usage": "table_name, constraint_name, column_name, ordinal_position, referenced_table_name, referenced_column_name",
    "referential_constraints": "table_name, constraint_name, unique_constraint_name, update_rule, delete_rule, referenced_table_name",
    "tables": "table_name, engine, row_format, table_collation",
    "check_constraints": "constraint_name, check_clause",
}


def test_the_file_is_what_the_command_prints(run: Run) -> None:
    assert (ROOT / "chatglm.sql").read_text(encoding="utf-8") == run("db", "schema", "--dialect", "mysql").out, "run: make docs"


def test_the_schema_of_sqlite_makes_a_database_of_the_newest_revision(run: Run, tmp_path: Path) -> None:
    script = run("db", "schema", "--dialect", "sqlite").out
    with closing(sqlite3.connect(tmp_path / "made.sqlite")) as made:
        made.executescript(script)
    database = Database(tmp_path / "made.sqlite")
    assert migrate.upgrade(database) is False
    database.close()


@pytest.mark.servers
def test_sourcing_the_file_gives_what_an_upgrade_gives(mariadb: MariaDb, mysql: dict[str, Any], make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(**mysql)
    database = database_of(settings)
    assert migrate.upgrade(database)
    upgraded = everything(mariadb, settings.mysql_db)
    database.close()
    mariadb.drop_database(settings.mysql_db)
    mariadb.create_database(settings.mysql_db)
    client = need("mariadb", "mariadb-client")
    command = [client, "--no-defaults", f"--socket={mariadb.socket}", "--user=root", "-e", f"source {ROOT}/chatglm.sql", settings.mysql_db]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    sourced = everything(mariadb, settings.mysql_db)
    assert sourced == upgraded
    assert {row[-1] for row in sourced["tables"]} == {"utf8mb4_bin"}
    assert len(sourced["tables"]) == len(metadata.tables) + 1
    assert migrate.upgrade(database) is False, "the file brings the revision along"
    database.close()


def everything(server: MariaDb, database: str) -> dict[str, list[tuple[Any, ...]]]:
    """What information_schema tells of a database."""
    return {
        name: sorted(server.run(f"SELECT {columns} FROM information_schema.{name} WHERE {_schema_of(name)} = %s", database), key=repr)
        for name, columns in EVERYTHING_OF.items()
    }


def _schema_of(name: str) -> str:
    return "constraint_schema" if "constraint" in name else "table_schema"


# -- moving


def fill(settings: Settings, *, number: int = 3) -> None:
    """A brain with documents, an answer and a failed one, whose numbers have gaps at the end."""
    from qzbrain.chat.service import Ask

    brain = build(settings)
    caller = brain.access.local_caller("zh")
    brain.knowledge.create(caller, name="规章", description="🍣")
    for n in range(number):
        brain.knowledge.add_text(caller, "规章", f"制度{n}.txt", f"第{n}条 采购金额超过五十万元的，须经董事会批准。🍣\n" * 30, external_id=f"e{n} ")
    work_inline(brain, lambda: not brain.knowledge.jobs(caller, status="pending").data and not brain.knowledge.jobs(caller, status="running").data)
    brain.knowledge.delete_document(caller, brain.knowledge.documents(caller, "规章").data[-1].id)
    work_inline(brain, lambda: not brain.knowledge.jobs(caller, status="pending").data and not brain.knowledge.jobs(caller, status="running").data)
    list(brain.chat.answer(brain.chat.begin(caller, Ask(message="五十万元以上的采购由谁批准？"))))
    brain.close()


def rows_of(settings: Settings) -> dict[str, list[tuple[Any, ...]]]:
    database = database_of(settings)
    found = {table.name: [tuple(row) for row in database.rows(select(table).order_by(*table.primary_key))] for table in metadata.sorted_tables}
    database.close()
    return found


def next_numbers(settings: Settings) -> int:
    database = database_of(settings)
    with database.write() as connection:
        connection.execute(insert(outbox).values(kb_id="x", op="put", document_id=""))
        given = connection.execute(select(func.max(outbox.c.seq))).scalar()
        connection.execute(delete(outbox).where(outbox.c.kb_id == "x"))
    database.close()
    return int(given or 0)


def environment(run_settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in run_settings.items():
        monkeypatch.setenv(name.upper(), str(value))


@pytest.mark.servers
def test_a_brain_moves_to_mysql_and_back(
    run: Run, mysql: dict[str, Any], make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    embedded = make_settings()
    fill(embedded)
    before, following = rows_of(embedded), next_numbers(embedded)
    environment(mysql, monkeypatch)
    done = run("db", "copy", "--from", f"sqlite:{embedded.database_path}", "--to", "mysql", "--json")
    assert done.code == 0, done.err
    assert done.json["tables"] == {name: len(rows) for name, rows in before.items()}
    assert done.json["rows"] == sum(map(len, before.values())) > 10
    moved = make_settings(**mysql)
    assert rows_of(moved) == before
    assert next_numbers(moved) > following, "a number must not be given twice: the search index knows rows by it"

    brain = build(moved)  # the same data folder: its index fits
    caller = brain.access.local_caller("zh")
    from qzbrain.retrieval.hybrid import SearchQuery

    found = brain.retriever.search(SearchQuery("采购由谁批准"), brain.access.scope(caller))
    assert found.hits and found.hits[0].document.startswith("制度")
    assert not found.degraded
    brain.close()

    back = run("db", "copy", "--from", "mysql", "--to", f"sqlite:{tmp_path}/other/back.sqlite", "--json")
    assert back.code == 0, back.err
    assert back.json["checksums"] == {**done.json["checksums"], "outbox": back.json["checksums"]["outbox"]}
    returned = make_settings(qzbrain_data=tmp_path / "other")
    (tmp_path / "other" / "back.sqlite").rename(returned.database_path)
    assert rows_of(returned) == before


@pytest.mark.servers
def test_a_copy_is_refused_where_it_would_do_harm(
    run: Run, mysql: dict[str, Any], make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = make_settings()
    fill(settings, number=1)
    assert run("db", "copy", "--from", "sqlite", "--to", "mysql", "--json").code == 2, "MYSQL_HOST is not set"
    environment(mysql, monkeypatch)
    for wrong in ("postgres", "sqlite:", ""):
        assert run("db", "copy", "--from", wrong, "--to", "mysql").code == 2
    assert run("db", "copy", "--from", "mysql", "--to", "mysql", "--json").json["error"]["code"] == "same_database"
    missing = run("db", "copy", "--from", f"sqlite:{settings.data}/nothing.sqlite", "--to", "mysql", "--json")
    assert (missing.code, missing.json["error"]["code"]) == (1, "no_database")
    assert not (settings.data / "nothing.sqlite").exists()

    prepare_folders(settings)
    lock = take_lock(settings)
    running = run("db", "copy", "--from", "sqlite", "--to", "mysql", "--json")
    assert (running.code, running.json["error"]["code"]) == (1, "already_running")
    os.close(lock)

    elsewhere = database_of(make_settings(**mysql))
    migrate.upgrade(elsewhere)  # a session of another brain
    used = run("db", "copy", "--from", "sqlite", "--to", "mysql", "--json")
    assert (used.code, used.json["error"]["code"]) == (1, "already_running")
    elsewhere.close()

    assert run("db", "copy", "--from", "sqlite", "--to", "mysql").code == 0
    again = run("db", "copy", "--from", "sqlite", "--to", "mysql", "--json")
    assert (again.code, again.json["error"]["code"]) == (1, "target_not_empty")


@pytest.mark.servers
def test_an_interrupted_copy_goes_on_and_a_wrong_one_is_found(mysql: dict[str, Any], make_settings: Callable[..., Settings]) -> None:
    embedded = make_settings()
    fill(embedded)
    moved = make_settings(**mysql)

    class Interrupted(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done > total // 6:
            raise Interrupted

    with pytest.raises(Interrupted):
        copying.copy(copying.side("sqlite", embedded), copying.side("mysql", moved), progress=stop)
    assert 0 < sum(map(len, rows_of(moved).values())) < sum(map(len, rows_of(embedded).values()))
    seen: list[tuple[int, int]] = []
    done = copying.copy(copying.side("sqlite", embedded), copying.side("mysql", moved), resume=True, progress=lambda n, total: seen.append((n, total)))
    assert rows_of(moved) == rows_of(embedded)
    assert seen[-1] == (2 * done.rows, 2 * done.rows)

    database = database_of(moved)
    with database.write() as connection:
        connection.execute(update(documents).values(title="不同"))
    database.close()
    with pytest.raises(Conflict) as differs:
        copying.copy(copying.side("sqlite", embedded), copying.side("mysql", moved), resume=True)
    assert differs.value.code == "copy_differs"


@pytest.mark.servers
def test_a_text_that_the_server_does_not_take_stops_the_copy_with_what_to_do(
    mariadb: MariaDb, mysql: dict[str, Any], make_settings: Callable[..., Settings]
) -> None:
    embedded = make_settings()
    fill(embedded, number=1)
    database = database_of(embedded)
    kb = database.rows(select(documents.c.kb_id))
    row = {"id": new_id(), "identity": "x", "name": "x", "status": "ready", "sha256": "", "size_bytes": 0, "created_at": utc_now()}
    with database.write() as connection:
        from qzbrain.storage.tables import knowledge_bases

        kb_id = kb[0].kb_id if kb else connection.execute(select(knowledge_bases.c.id)).scalar()
        connection.execute(insert(documents).values(kb_id=kb_id, **row))
        connection.execute(insert(document_texts).values(document_id=row["id"], text="长" * 6_000_000))
    database.close()
    with pytest.raises(PayloadTooLarge) as refused:
        copying.copy(copying.side("sqlite", embedded), copying.side("mysql", make_settings(**mysql)))
    assert "max_allowed_packet" in refused.value.en
    mariadb.run("SET GLOBAL max_allowed_packet = 67108864")
    try:
        copying.copy(copying.side("sqlite", embedded), copying.side("mysql", make_settings(**mysql)), resume=True)
    finally:
        mariadb.run("SET GLOBAL max_allowed_packet = 16777216")
    assert rows_of(make_settings(**mysql)) == rows_of(embedded)
