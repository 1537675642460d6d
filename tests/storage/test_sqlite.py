"""What is SQLite's own: how far a commit is synced, a full disk, and a hub that a lock never stalls. See also contracts/test_database.py."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from qzbrain.domain import new_id, utc_now
from qzbrain.errors import StorageFull
from qzbrain.storage import migrate
from qzbrain.storage.database import Database
from qzbrain.storage.tables import conversations


@pytest.fixture
def db(tmp_path: Path) -> Database:
    database = Database(tmp_path / "brain.sqlite")
    migrate.upgrade(database)
    return database


def conversation(**values: object) -> dict[str, object]:
    return {"id": new_id(), "owner": "local", "knowledge_bases": [], "created_at": utc_now(), "updated_at": utc_now(), **values}


def titles(db: Database) -> list[str]:
    return [row.title for row in db.rows(select(conversations.c.title).order_by(conversations.c.title))]


def test_a_durable_write_syncs_fully_and_the_next_one_does_not(db: Database) -> None:
    with db.write(durable=True) as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    with db.write() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1


def test_submitted_rows_are_committed_when_wait_returns(db: Database) -> None:
    db.submit(insert(conversations), conversation(title="kept")).wait()
    other = sqlite3.connect(db.place)
    assert other.execute("SELECT title FROM conversations").fetchall() == [("kept",)]


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
        other = sqlite3.connect(db.place, isolation_level=None); other.execute("BEGIN IMMEDIATE")
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
