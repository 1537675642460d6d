"""What storage promises: short exclusive writes, group commit, errors of the tree, and a hub that is never stalled."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from sqlalchemy import bindparam, insert, inspect, select, update
from sqlalchemy.exc import IntegrityError

from qzbrain.domain import new_id, utc_now
from qzbrain.errors import SettingsInvalid, StorageFull
from qzbrain.storage import migrate
from qzbrain.storage.database import Database, after_commit
from qzbrain.storage.tables import conversations, metadata


@pytest.fixture
def db(tmp_path: Path) -> Database:
    database = Database(tmp_path / "brain.sqlite")
    migrate.upgrade(database)
    return database


def conversation(**values: object) -> dict[str, object]:
    return {"id": new_id(), "owner": "local", "knowledge_bases": [], "created_at": utc_now(), "updated_at": utc_now(), **values}


def titles(db: Database) -> list[str]:
    return [row.title for row in db.rows(select(conversations.c.title).order_by(conversations.c.title))]


def test_migrations_give_the_schema_of_the_tables(db: Database) -> None:
    with db.read() as connection:
        inspector = inspect(connection)
        for table in metadata.tables.values():
            assert {c["name"] for c in inspector.get_columns(table.name)} == set(table.c.keys())
            assert {i["name"] for i in inspector.get_indexes(table.name)} == {i.name for i in table.indexes}
            assert set(inspector.get_pk_constraint(table.name)["constrained_columns"]) == {c.name for c in table.primary_key}
            assert {u["name"] for u in inspector.get_unique_constraints(table.name)} == {
                c.name for c in table.constraints if c.__visit_name__ == "unique_constraint"
            }


def test_a_second_upgrade_changes_nothing_and_a_newer_database_is_refused(db: Database) -> None:
    assert migrate.upgrade(db) is False
    with db.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SettingsInvalid) as refused:
        migrate.upgrade(db)
    assert "9999" in refused.value.en


def test_what_follows_a_commit_runs_after_it_and_outside_the_transaction(db: Database) -> None:
    seen: list[list[str]] = []
    with db.write() as connection:
        connection.execute(insert(conversations).values(conversation(title="a")))
        after_commit(connection, lambda: seen.append(titles(db)))
        assert seen == []
    assert seen == [["a"]]
    with db.write():
        pass
    assert seen == [["a"]], "once"


def test_what_follows_a_commit_does_not_run_after_a_rollback(db: Database) -> None:
    seen: list[int] = []
    with pytest.raises(RuntimeError), db.write() as connection:
        after_commit(connection, lambda: seen.append(1))
        raise RuntimeError
    with db.write():
        pass
    assert seen == []


def test_a_block_that_raises_leaves_nothing(db: Database) -> None:
    with pytest.raises(RuntimeError), db.write() as connection:
        connection.execute(insert(conversations), [conversation(title="half")])
        raise RuntimeError
    assert titles(db) == []


def test_a_durable_write_syncs_fully_and_the_next_one_does_not(db: Database) -> None:
    with db.write(durable=True) as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    with db.write() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1


def test_writers_of_many_threads_take_turns(db: Database) -> None:
    def add(name: str) -> None:
        for number in range(20):
            with db.write() as connection:
                connection.execute(insert(conversations), [conversation(title=f"{name}{number:02}")])

    threads = [threading.Thread(target=add, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(titles(db)) == 80


def test_submitted_rows_are_committed_when_wait_returns(db: Database) -> None:
    db.submit(insert(conversations), conversation(title="kept")).wait()
    other = sqlite3.connect(db.path)
    assert other.execute("SELECT title FROM conversations").fetchall() == [("kept",)]


def test_a_bad_submitted_row_raises_for_its_caller_alone(db: Database) -> None:
    twice = conversation(title="first")
    db.submit(insert(conversations), twice).wait()
    with pytest.raises(IntegrityError):
        db.submit(insert(conversations), twice).wait()
    db.submit(update(conversations).where(conversations.c.id == twice["id"]), {"title": "still there"}).wait()
    assert titles(db) == ["still there"]


def test_a_full_disk_is_a_clear_error_and_loses_nothing(db: Database) -> None:
    db.submit(insert(conversations), conversation(title="before")).wait()
    with db.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    with pytest.raises(StorageFull) as full, db.write() as connection:
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        for _ in range(200):
            connection.execute(insert(conversations), [conversation(title="x" * 250)])
    assert full.value.status == 503
    assert full.value.retry_after_s
    assert titles(db) == ["before"]
    with db.read() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


def run_under_gevent(body: str, folder: Path) -> str:
    """Run `body` in a fresh, patched process with `db` and `gevent` at hand; gives its standard output."""
    head = """
        from gevent import monkey; monkey.patch_all()
        import gevent, sqlite3, sys, time
        from pathlib import Path
        from sqlalchemy import insert, select
        from qzbrain.domain import new_id, utc_now
        from qzbrain.storage import migrate
        from qzbrain.storage.database import Database, after_commit
        from qzbrain.storage.tables import conversations
        db = Database(Path(sys.argv[1]) / "brain.sqlite"); migrate.upgrade(db)
        def row(**more):
            return {"id": new_id(), "owner": "local", "knowledge_bases": [], "created_at": utc_now(), "updated_at": utc_now(), **more}
    """
    code = textwrap.dedent(head) + textwrap.dedent(body)
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_a_writer_that_waits_for_another_process_does_not_stall_the_hub(tmp_path: Path) -> None:
    out = run_under_gevent(
        """
        other = sqlite3.connect(db.path, isolation_level=None); other.execute("BEGIN IMMEDIATE")
        longest = 0.0
        def beat():
            global longest
            while True:
                at = time.perf_counter(); gevent.sleep(0.01); longest = max(longest, time.perf_counter() - at)
        beating = gevent.spawn(beat)
        writing = gevent.spawn(lambda: db.submit(insert(conversations), row(title="waited")).wait())
        gevent.sleep(0.6)
        assert not writing.ready()
        other.execute("COMMIT")
        writing.get(timeout=20)
        print(longest)
        """,
        tmp_path,
    )
    assert float(out) < 0.4, "the hub stood still while a write waited for the lock"


def test_group_commit_shares_transactions_and_keeps_each_callers_error(tmp_path: Path) -> None:
    out = run_under_gevent(
        """
        commits = 0
        from sqlalchemy import event
        def count(_):
            global commits
            commits += 1
        event.listen(db.engine, "commit", count)
        same = row(title="twice")
        def one(number):
            try:
                db.submit(insert(conversations), same if number in (10, 20) else row(title=str(number))).wait()
                return "ok"
            except Exception as exc:
                return type(exc).__name__
        done = gevent.joinall([gevent.spawn(one, n) for n in range(200)], timeout=30)
        results = [g.value for g in done]
        print(results.count("ok"), results.count("IntegrityError"), len(db.rows(select(conversations.c.id))), commits < 400)
        first = [db.submit(insert(conversations), row(title=str(n))) for n in range(100)]
        before = commits
        for one in first: one.wait()
        print(commits - before <= 2)
        """,
        tmp_path,
    )
    assert out.split() == ["199", "1", "199", "True", "True"]


def test_a_prepared_question_gives_plain_tuples_of_what_is_committed_now(db: Database) -> None:
    ask = db.prepared(select(conversations.c.title).where(conversations.c.owner == "local", conversations.c.title >= bindparam("least")))
    assert ask(least="b") == []
    for title in "abc":
        db.submit(insert(conversations), conversation(title=title)).wait()
    assert sorted(ask(least="b")) == [("b",), ("c",)]
    assert ask(least="c") == [("c",)]
