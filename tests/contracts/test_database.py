"""What a database promises (see qzbrain/storage/database.py), the same on SQLite and on a real MariaDB."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import bindparam, delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from qzbrain.brain import database_of
from qzbrain.domain import new_id, utc_now
from qzbrain.errors import BrainError, InvalidRequest, SettingsInvalid
from qzbrain.settings import Settings
from qzbrain.storage import migrate
from qzbrain.storage.counters import COUNTED, go_on_after, last_number
from qzbrain.storage.database import Database, after_commit
from qzbrain.storage.tables import chunks, conversations, document_texts, documents, jobs, knowledge_bases, messages, metadata, outbox

EMOJI, OTHER_EMOJI = "🍣", "🍺"  # equal under MySQL's older collations


@dataclass(frozen=True)
class Place:
    """Where a test's database is: to be opened again, here or in another process."""

    settings: Settings

    def open(self) -> Database:
        return database_of(self.settings)

    @property
    def environment(self) -> dict[str, str]:
        given = self.settings.model_dump(include={"qzbrain_data", "mysql_host", "mysql_port", "mysql_user", "mysql_password", "mysql_db"})
        return {**os.environ, **{name.upper(): str(value) for name, value in given.items()}}


@pytest.fixture(params=["sqlite", pytest.param("mysql", marks=pytest.mark.servers)])
def place(request: pytest.FixtureRequest, make_settings: Callable[..., Settings]) -> Place:
    return Place(make_settings(**request.getfixturevalue("mysql")) if request.param == "mysql" else make_settings())


@pytest.fixture
def db(place: Place) -> Iterator[Database]:
    database = place.open()
    migrate.upgrade(database)
    yield database
    database.close()


def conversation(**values: object) -> dict[str, Any]:
    return {"id": new_id(), "owner": "local", "knowledge_bases": [], "created_at": utc_now(), "updated_at": utc_now(), **values}


def message(conversation_id: str, **values: object) -> dict[str, Any]:
    common = {"role": "user", "status": "complete", "details": {}, "created_at": utc_now(), "position": 0}
    return {"id": new_id(), "conversation_id": conversation_id, **common, **values}


def base(**values: object) -> dict[str, Any]:
    return {"id": new_id(), "name": new_id(), "chunk_chars": 250, "overlap_chars": 50, "manifest": {}, "created_at": utc_now(), **values}


def document(kb_id: str, **values: object) -> dict[str, Any]:
    return {
        "id": new_id(), "kb_id": kb_id, "identity": new_id(), "name": "a.txt", "status": "pending", "sha256": "", "size_bytes": 0,
        "created_at": utc_now(), **values,
    }  # fmt: skip


def add(db: Database, table: Any, *rows: dict[str, Any]) -> None:
    with db.write() as connection:
        connection.execute(insert(table), list(rows))


def titles(db: Database) -> list[str]:
    return [row.title for row in db.rows(select(conversations.c.title).order_by(conversations.c.title))]


def in_process(place: Place, body: str, *, patched: bool = False) -> subprocess.Popen[str]:
    """Run `body` in another process, with `db` and the tables at hand."""
    head = ("from gevent import monkey; monkey.patch_all()\nimport gevent\n" if patched else "") + textwrap.dedent(
        """
        import sys, time
        from sqlalchemy import event, func, insert, select, update
        from qzbrain.brain import database_of
        from qzbrain.domain import new_id, utc_now
        from qzbrain.settings import load_settings
        from qzbrain.storage.tables import conversations, messages, outbox
        db = database_of(load_settings())
        def row(**more):
            return {"id": new_id(), "owner": "local", "knowledge_bases": [], "created_at": utc_now(), "updated_at": utc_now(), **more}
        """
    )
    command = [sys.executable, "-c", head + textwrap.dedent(body)]
    return subprocess.Popen(command, env=place.environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def output(process: subprocess.Popen[str], said: str = "") -> str:
    out, err = process.communicate(said, timeout=60)
    assert process.returncode == 0, err[-3000:]
    return out.strip()


class TestDatabase:
    # -- transactions

    def test_a_block_that_raises_leaves_nothing(self, db: Database) -> None:
        with pytest.raises(ZeroDivisionError), db.write() as connection:
            connection.execute(insert(conversations), [conversation(title="half")])
            raise ZeroDivisionError
        assert titles(db) == []

    def test_what_follows_a_commit_runs_after_it_and_outside_the_transaction(self, db: Database) -> None:
        seen: list[int] = []
        with db.write() as connection:
            connection.execute(insert(conversations).values(conversation(title="a")))
            after_commit(connection, lambda: seen.append(len(db.rows(select(conversations.c.id)))))
            assert seen == []
        assert seen == [1]
        with db.write():
            pass
        assert seen == [1], "once"

    def test_what_follows_a_commit_does_not_run_after_a_rollback(self, db: Database) -> None:
        seen: list[int] = []
        with pytest.raises(RuntimeError), db.write() as connection:
            after_commit(connection, lambda: seen.append(1))
            raise RuntimeError
        with db.write():
            pass
        assert seen == []

    def test_what_is_written_is_seen_by_others_after_the_block_only(self, place: Place, db: Database) -> None:
        other = place.open()
        with db.write(durable=True) as connection:
            connection.execute(insert(conversations), [conversation(title="mine")])
            assert titles(other) == []
            assert connection.execute(select(func.count()).select_from(conversations)).scalar() == 1
        assert titles(other) == ["mine"]
        other.close()

    def test_a_snapshot_sees_one_moment_and_reads_see_now(self, db: Database) -> None:
        count = select(func.count()).select_from(conversations)
        with db.snapshot() as frozen, db.read() as reading:
            assert frozen.execute(count).scalar() == reading.execute(count).scalar() == 0
            add(db, conversations, conversation(title="later"))
            assert (frozen.execute(count).scalar(), reading.execute(count).scalar()) == (0, 1)

    def test_writers_of_many_threads_take_turns(self, db: Database) -> None:
        counter = conversation(title="0")
        add(db, conversations, counter)

        def count(_: int) -> None:
            for _ in range(15):
                with db.write() as connection:
                    now = int(connection.execute(select(conversations.c.title)).scalar() or 0)
                    connection.execute(update(conversations).values(title=str(now + 1)))

        threads = [threading.Thread(target=count, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert titles(db) == ["60"]

    def test_one_writer_at_a_time_across_processes_and_numbers_are_committed_in_order(self, place: Place, db: Database) -> None:
        """Each reads the last number, waits, and adds a row that names it: two that overlapped would name the same one."""
        body = """
            for _ in range(25):
                with db.write() as connection:
                    last = connection.execute(select(func.max(outbox.c.seq))).scalar() or 0
                    time.sleep(0.002)
                    connection.execute(insert(outbox).values(kb_id="k", op="put", document_id=str(last)))
        """
        for process in [in_process(place, body) for _ in range(3)]:
            output(process)
        rows = db.rows(select(outbox.c.seq, outbox.c.document_id).order_by(outbox.c.seq))
        assert len(rows) == 75
        assert [int(x.document_id) for x in rows] == [0, *(x.seq for x in rows[:-1])]

    def test_a_writer_that_is_killed_leaves_nothing_and_holds_up_nobody(self, place: Place, db: Database) -> None:
        body = """
            with db.write() as connection:
                connection.execute(insert(conversations), [row(title="half")])
                print("inside", flush=True)
                sys.stdin.read()
        """
        process = in_process(place, body)
        assert process.stdout is not None
        assert process.stdout.readline() == "inside\n"
        process.kill()
        process.communicate(timeout=10)
        started = time.monotonic()
        add(db, conversations, conversation(title="next"))
        assert titles(db) == ["next"]
        assert time.monotonic() - started < 5

    # -- group commit

    def test_submitted_rows_are_committed_when_wait_returns(self, place: Place, db: Database) -> None:
        db.submit(insert(conversations), conversation(title="kept")).wait()
        other = place.open()
        assert titles(other) == ["kept"]
        other.close()

    def test_a_bad_submitted_row_raises_for_its_caller_alone(self, db: Database) -> None:
        twice = conversation(title="first")
        db.submit(insert(conversations), twice).wait()
        with pytest.raises(IntegrityError):
            db.submit(insert(conversations), twice).wait()
        db.submit(update(conversations).where(conversations.c.id == twice["id"]), {"title": "still there"}).wait()
        assert titles(db) == ["still there"]

    def test_group_commit_shares_transactions_and_keeps_each_callers_error(self, place: Place, db: Database) -> None:
        body = """
            commits = 0
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
            done = gevent.joinall([gevent.spawn(one, n) for n in range(100)], timeout=30)
            results = [g.value for g in done]
            print(results.count("ok"), results.count("IntegrityError"), len(db.rows(select(conversations.c.id))))
            first = [db.submit(insert(conversations), row(title=str(n))) for n in range(100)]
            before = commits
            for one in first: one.wait()
            print(commits - before <= 2)
            made = row(title="of a turn")
            late = {"id": new_id(), "conversation_id": made["id"], "role": "user", "status": "complete", "details": {}, "created_at": "", "position": 0}
            for one in [db.submit(insert(messages), late), db.submit(insert(conversations), made)]: one.wait()
            print("parents first")
        """
        assert output(in_process(place, body, patched=True)).split("\n") == ["99 1 99", "True", "parents first"]

    def test_a_write_that_waits_for_another_process_does_not_stall_the_hub(self, place: Place, db: Database) -> None:
        body = """
            longest = 0.0
            def beat():
                global longest
                while True:
                    at = time.perf_counter(); gevent.sleep(0.01); longest = max(longest, time.perf_counter() - at)
            db.rows(select(conversations.c.id))
            gevent.spawn(beat)
            writing = gevent.spawn(lambda: db.submit(insert(conversations), row(title="waited")).wait())
            gevent.sleep(0.6)
            print("waits", not writing.ready(), longest < 0.4, flush=True)
            writing.get(timeout=20)
        """
        with db.write():
            process = in_process(place, body, patched=True)
            assert process.stdout is not None
            assert process.stdout.readline() == "waits True True\n"
        output(process)
        assert titles(db) == ["waited"]

    # -- values

    def test_texts_and_json_come_back_as_they_were(self, db: Database) -> None:
        hard = f"{EMOJI}𠀀 \x00 ' \" \\ % %s :x ? \u200b é é \r\n\t \\' ;--"
        nested = {"z": [1, 2.5, None, True], "a": {"名": hard}, "": []}
        made = conversation(title=hard[:60], knowledge_bases=[hard])
        add(db, conversations, made)
        add(db, messages, message(made["id"], content=hard, details=nested))
        (row,) = db.rows(select(conversations))
        assert (row.title, row.knowledge_bases) == (hard[:60], [hard])
        (row,) = db.rows(select(messages))
        assert (row.content, list(row.details), row.details) == (hard, list(nested), nested)
        assert db.rows(select(messages.c.id).where(messages.c.content == hard))

    def test_json_null_and_no_value(self, db: Database) -> None:
        common = {"kind": "k", "payload": {}, "status": "done", "created_at": utc_now(), "updated_at": utc_now()}
        add(db, jobs, {"id": "with", "result": None, **common}, {"id": "data", "result": {"rows": 1}, **common})
        assert {row.id: row.result for row in db.rows(select(jobs.c.id, jobs.c.result))} == {"with": None, "data": {"rows": 1}}

    def test_floats_and_large_numbers_are_exact(self, db: Database) -> None:
        at = 1_764_300_000.123456
        common = {"kind": "k", "payload": {}, "status": "done", "created_at": utc_now(), "updated_at": utc_now()}
        add(db, jobs, {"id": "j", "run_after": at, "lease_until": at + 0.1, "progress_total": 10_000_000_000, **common})
        (row,) = db.rows(select(jobs))
        assert (row.run_after, row.lease_until, row.progress_total) == (at, at + 0.1, 10_000_000_000)
        assert db.rows(select(jobs.c.id).where(jobs.c.run_after <= at))
        assert not db.rows(select(jobs.c.id).where(jobs.c.run_after < at))

    def test_sums_and_counts_are_plain_integers(self, db: Database) -> None:
        kb = base()
        add(db, knowledge_bases, kb)
        add(db, documents, document(kb["id"], chunks=3), document(kb["id"], chunks=4))
        (row,) = db.rows(select(func.sum(documents.c.chunks).label("total"), func.count().label("number")).select_from(documents))
        assert [(type(x), x) for x in row] == [(int, 7), (int, 2)]

    @pytest.mark.parametrize("pair", [("a", "A"), ("e", "é"), (EMOJI, OTHER_EMOJI), ("ß", "ss"), ("か", "が"), ("１", "1")])
    def test_names_are_the_same_only_when_they_are(self, db: Database, pair: tuple[str, str]) -> None:
        one, other = (base(name=name) for name in pair)
        add(db, knowledge_bases, one, other)
        assert [row.id for row in db.rows(select(knowledge_bases.c.id).where(knowledge_bases.c.name == pair[1]))] == [other["id"]]
        with pytest.raises(IntegrityError):
            add(db, knowledge_bases, base(name=pair[0]))

    def test_identities_differ_even_by_a_blank_at_the_end(self, db: Database) -> None:
        kb = base()
        add(db, knowledge_bases, kb)
        identities = ["ext:a", "ext:a ", "ext:A", f"ext:{EMOJI}", f"ext:{OTHER_EMOJI}", "ext:" + "编" * 255]
        add(db, documents, *(document(kb["id"], identity=x) for x in identities))
        for identity in identities:
            assert [x.identity for x in db.rows(select(documents.c.identity).where(documents.c.identity.in_([identity])))] == [identity]
        with pytest.raises(IntegrityError):
            add(db, documents, document(kb["id"], identity="ext:a "))

    def test_order_is_by_code_point(self, db: Database) -> None:
        names = ["Z", "a", "é", "中", "龙", EMOJI, "z", "A", "~", "_", "1"]
        add(db, conversations, *(conversation(title=x) for x in names))
        assert titles(db) == sorted(names)

    def test_a_long_text_comes_back_and_can_be_cut_by_characters(self, db: Database) -> None:
        kb = base()
        add(db, knowledge_bases, kb)
        made = document(kb["id"])
        add(db, documents, made)
        long = "".join(f"第{n}条 采购🍣。\n" for n in range(200_000))
        add(db, document_texts, {"document_id": made["id"], "text": long})
        assert db.rows(select(document_texts.c.text))[0].text == long
        cut = select(func.substr(document_texts.c.text, bindparam("first"), bindparam("length")))
        assert db.rows(cut, {"first": 1_000_001, "length": 50})[0][0] == long[1_000_000:1_000_050]

    def test_numbers_of_rows_are_never_given_twice(self, place: Place, db: Database) -> None:
        row = {"kb_id": "k", "op": "put", "document_id": "d"}
        add(db, outbox, row, row, row)
        with db.write() as connection:
            connection.execute(delete(outbox))
        db.close()
        add(db, outbox, row)
        assert [x.seq for x in db.rows(select(outbox.c.seq))] == [4]

    def test_numbers_go_on_where_another_database_was(self, db: Database) -> None:
        with db.write() as connection:
            for name in COUNTED:
                go_on_after(connection, db.kind, name, 41)
        add(db, outbox, {"kb_id": "k", "op": "put", "document_id": "d"})
        assert [x.seq for x in db.rows(select(outbox.c.seq))] == [42]
        with db.read() as connection:
            assert [last_number(connection, db.kind, name) for name in COUNTED] == [41, 42]

    def test_rows_that_stay_the_same_count_as_found(self, db: Database) -> None:
        add(db, conversations, conversation(title="same"))
        with db.write() as connection:
            assert connection.execute(update(conversations).values(title="same")).rowcount == 1

    # -- look-ups

    def test_a_prepared_question_gives_plain_tuples_of_what_is_committed_now(self, db: Database) -> None:
        ask = db.prepared(select(conversations.c.title).where(conversations.c.owner == "local", conversations.c.title >= bindparam("least")))
        assert ask(least="b") == []
        for title in "abc":
            db.submit(insert(conversations), conversation(title=title)).wait()
        assert sorted(ask(least="b")) == [("b",), ("c",)]
        assert ask(least="c") == [("c",)]

    def test_many_read_at_once(self, db: Database) -> None:
        add(db, conversations, conversation(title="one"))
        found: list[list[str]] = []
        threads = [threading.Thread(target=lambda: found.append(titles(db))) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert found == [["one"]] * 40

    # -- errors

    def test_foreign_keys_hold(self, db: Database) -> None:
        with pytest.raises(IntegrityError):
            add(db, messages, message("nobody", content="x"))
        made = conversation()
        add(db, conversations, made)
        add(db, messages, message(made["id"]))
        with pytest.raises(IntegrityError), db.write() as connection:
            connection.execute(delete(conversations))

    @pytest.mark.parametrize("broken", ["\ud800", "a\udcff", "\udfff"])
    def test_half_a_character_is_a_bad_request_wherever_it_stands(self, db: Database, broken: str) -> None:
        made = conversation()
        add(db, conversations, made)
        with pytest.raises(InvalidRequest):
            add(db, conversations, conversation(title=broken))
        with pytest.raises(InvalidRequest):
            db.rows(select(conversations).where(conversations.c.title == broken))
        with pytest.raises(InvalidRequest):
            db.submit(insert(messages), message(made["id"], content=broken)).wait()
        with pytest.raises(BrainError):
            db.submit(insert(messages), message(made["id"], details={"x": broken})).wait()
        assert titles(db) == [""]

    # -- the schema

    def test_a_second_upgrade_changes_nothing_and_a_newer_database_is_refused(self, db: Database) -> None:
        assert migrate.upgrade(db) is False
        with db.write() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        with pytest.raises(SettingsInvalid) as refused:
            migrate.upgrade(db)
        assert "9999" in refused.value.en

    def test_migrations_give_the_schema_of_the_tables(self, db: Database) -> None:
        from sqlalchemy import inspect

        with db.read() as connection:
            inspector = inspect(connection)
            for table in metadata.tables.values():
                columns = {c["name"]: c for c in inspector.get_columns(table.name)}
                assert set(columns) == set(table.c.keys())
                assert {name for name, c in columns.items() if c["nullable"]} == {c.name for c in table.c if c.nullable}
                there = {i["name"] for i in inspector.get_indexes(table.name) if not i["unique"]}
                assert there - {x["name"] for x in inspector.get_foreign_keys(table.name)} == {i.name for i in table.indexes}
                assert set(inspector.get_pk_constraint(table.name)["constrained_columns"]) == {c.name for c in table.primary_key}
                unique = {c.name for c in table.constraints if c.__visit_name__ == "unique_constraint"}
                assert {u["name"] for u in inspector.get_unique_constraints(table.name)} == unique
                assert {f["referred_table"] for f in inspector.get_foreign_keys(table.name)} == {f.column.table.name for f in table.foreign_keys}

    def test_upgrades_of_several_processes_at_once_give_one_schema(self, place: Place) -> None:
        body = """
            from qzbrain.storage import migrate
            migrate.upgrade(db)
            print(migrate.current_revision(db))
        """
        assert {output(process) for process in [in_process(place, body) for _ in range(3)]} == {migrate.HEAD}

    def test_chunks_can_be_written_by_the_thousand(self, db: Database) -> None:
        kb = base()
        add(db, knowledge_bases, kb)
        made = document(kb["id"])
        add(db, documents, made)
        common = {"document_id": made["id"], "kb_id": kb["id"], "start": 0, "end": 250, "heading_path": "[]", "reference": ""}
        add(db, chunks, *({**common, "ordinal": n, "text": "采购金额超过五十万元的，须经董事会批准。" * 12} for n in range(5000)))
        rows = db.rows(select(chunks.c.id).order_by(chunks.c.ordinal))
        assert [x.id for x in rows] == sorted(x.id for x in rows)
        assert len(rows) == 5000
