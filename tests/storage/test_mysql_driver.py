"""What is MySQL's own: lost connections, a server that is away, refusals, packets, TLS. See also contracts/test_database.py."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy import insert, select, text, update
from sqlalchemy.exc import IntegrityError

from qzbrain.brain import database_of
from qzbrain.domain import new_id, utc_now
from qzbrain.errors import InvalidRequest, PayloadTooLarge, SettingsInvalid, StorageAway, StorageBusy, StorageInDoubt
from qzbrain.settings import Settings
from qzbrain.storage import migrate
from qzbrain.storage.database import Database
from qzbrain.storage.mysql import MysqlDriver, lock_name
from qzbrain.storage.mysql_session import Server
from qzbrain.storage.tables import conversations, messages, metadata
from tests.authority import Authority
from tests.running import free_port
from tests.servers.cutting_proxy import CuttingProxy
from tests.servers.mariadb import MariaDb

pytestmark = pytest.mark.servers


@pytest.fixture
def settings(mysql: dict[str, Any], make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(**mysql)


@pytest.fixture
def db(settings: Settings) -> Iterator[Database]:
    database = database_of(settings)
    migrate.upgrade(database)
    yield database
    database.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[MariaDb]:
    """A server of the test's own, to be killed and started again."""
    server = MariaDb(tmp_path / "own").start()
    yield server
    server.remove()


def conversation(**values: object) -> dict[str, Any]:
    return {"id": new_id(), "owner": "local", "knowledge_bases": [], "created_at": utc_now(), "updated_at": utc_now(), **values}


def titles(db: Database) -> list[str]:
    return [row.title for row in db.rows(select(conversations.c.title).order_by(conversations.c.title))]


def add(db: Database, **values: object) -> None:
    with db.write() as connection:
        connection.execute(insert(conversations), [conversation(**values)])


# -- lost connections


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_restart_between_calls_is_not_noticed(own: MariaDb, make_settings: Callable[..., Settings], how: str) -> None:
    db = database_of(make_settings(**own.settings))
    migrate.upgrade(db)
    add(db, title="before")
    ask = db.prepared(select(conversations.c.title))

    def use_at_once() -> list[Any]:
        """Several connections, so that the pool holds several dead ones afterwards."""
        found: list[Any] = []
        threads = [threading.Thread(target=lambda: found.append(titles(db))) for _ in range(6)]
        for one in threads:
            one.start()
        for one in threads:
            one.join(30)
        return found

    for use in (lambda: titles(db), lambda: ask(), lambda: add(db, title="after"), use_at_once, lambda: _read(db)):
        use_at_once()
        getattr(own, how)()
        own.start()
        use()
    assert titles(db) == ["after", "before"]
    db.close()


def _read(db: Database) -> int:
    with db.read() as connection:
        return len(connection.execute(select(conversations)).all())


def test_calls_wait_while_the_server_restarts(own: MariaDb, make_settings: Callable[..., Settings]) -> None:
    db = database_of(make_settings(**own.settings))
    migrate.upgrade(db)
    own.kill()
    done: list[str] = []
    writing = threading.Thread(target=lambda: (add(db, title="waited"), done.append("written")))
    reading = threading.Thread(target=lambda: (db.rows(select(conversations.c.id)), done.append("read")))
    for one in (writing, reading):
        one.start()
    own.start()
    for one in (writing, reading):
        one.join(20)
    assert sorted(done) == ["read", "written"]
    assert titles(db) == ["waited"]
    db.close()


def test_a_server_that_stays_away_is_waited_for_once(own: MariaDb, make_settings: Callable[..., Settings]) -> None:
    db = Database(MysqlDriver(Server.of(make_settings(**own.settings)), patience_s=1.0))
    migrate.upgrade(db)
    own.kill()
    started = time.monotonic()
    with pytest.raises(StorageAway) as away:
        titles(db)
    assert time.monotonic() - started >= 1.0
    assert (away.value.status, away.value.code) == (503, "storage_away")
    assert away.value.retry_after_s
    started = time.monotonic()
    for call in (lambda: titles(db), lambda: add(db), lambda: db.submit(insert(conversations), conversation()).wait()):
        with pytest.raises(StorageAway):
            call()
    assert time.monotonic() - started < 1.0, "each call waited again"
    own.start()
    add(db, title="back")
    assert titles(db) == ["back"]
    db.close()


def test_a_write_that_loses_its_connection_half_way_keeps_nothing(mariadb: MariaDb, db: Database) -> None:
    with pytest.raises(StorageAway) as lost, db.write() as connection:
        connection.execute(insert(conversations), [conversation(title="half")])
        mariadb.run(f"KILL {connection.exec_driver_sql('SELECT CONNECTION_ID()').scalar()}")
        connection.execute(insert(conversations), [conversation(title="rest")])
    assert not isinstance(lost.value, StorageInDoubt)
    assert titles(db) == []
    add(db, title="next")
    assert titles(db) == ["next"]


@pytest.fixture
def through_proxy(mariadb: MariaDb, db: Database, settings: Settings) -> Iterator[tuple[CuttingProxy, Database]]:
    """The same database through a line that can be cut."""
    proxy = CuttingProxy(mariadb.port)
    there = database_of(settings.model_copy(update={"mysql_port": proxy.port}))
    yield proxy, there
    there.close()
    proxy.close()


@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_commit_that_is_cut_off_is_told_as_being_in_doubt(
    through_proxy: tuple[CuttingProxy, Database], db: Database, cut: Literal["before", "after"]
) -> None:
    proxy, there = through_proxy
    titles(there)
    proxy.arm(b"COMMIT", cut)
    with pytest.raises(StorageInDoubt):
        add(there, title="perhaps")
    assert proxy.cuts == 1
    add(there, title="sure")  # waits for the lock, so the outcome is decided
    assert titles(db) == (["perhaps", "sure"] if cut == "after" else ["sure"])


@pytest.mark.parametrize("mark", [b"COMMIT", b"INSERT", b"UPDATE", b"GET_LOCK", b"BEGIN", b"RELEASE"])
@pytest.mark.parametrize("cut", ["before", "after"])
def test_a_submitted_row_is_committed_once_wherever_the_line_is_cut(
    through_proxy: tuple[CuttingProxy, Database], db: Database, mark: bytes, cut: Literal["before", "after"]
) -> None:
    proxy, there = through_proxy
    made = conversation(title="first")
    proxy.arm(mark, cut)
    there.submit(insert(conversations), made).wait()
    there.submit(update(conversations).where(conversations.c.id == made["id"]), {"title": "second"}).wait()
    there.submit(insert(messages), _message(made["id"])).wait()
    assert proxy.cuts == 1
    assert titles(db) == ["second"]
    assert len(db.rows(select(messages.c.id))) == 1
    with pytest.raises(IntegrityError):
        there.submit(insert(conversations), made).wait()  # a real duplicate is told


def _message(conversation_id: str) -> dict[str, Any]:
    common = {"role": "user", "status": "complete", "details": {}, "created_at": utc_now(), "position": 0}
    return {"id": new_id(), "conversation_id": conversation_id, **common}


@pytest.mark.parametrize("cut", ["before", "after"])
@pytest.mark.parametrize("mark", [b"SELECT", b"START", b"DO 0"])
def test_look_ups_are_repeated(through_proxy: tuple[CuttingProxy, Database], db: Database, mark: bytes, cut: Literal["before", "after"]) -> None:
    proxy, there = through_proxy
    add(db, title="one")
    assert titles(there) == ["one"]
    proxy.arm(mark, cut)
    if mark == b"SELECT":
        assert titles(there) == ["one"]
    elif mark == b"DO 0":
        assert _read(there) == 1
    else:
        with pytest.raises(StorageAway), there.snapshot():
            pass
    assert proxy.cuts == 1
    assert titles(there) == ["one"]


# -- others on the same server


def test_a_lock_that_another_program_holds_is_waited_for_and_then_told(mariadb: MariaDb, db: Database, settings: Settings) -> None:
    made = conversation(title="held")
    db.submit(insert(conversations), made).wait()
    before = mariadb.run("SELECT @@GLOBAL.innodb_lock_wait_timeout")[0][0]
    mariadb.run("SET GLOBAL innodb_lock_wait_timeout = 1")
    try:
        with closing(mariadb.root(database=settings.mysql_db)) as root, root.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT * FROM conversations FOR UPDATE")
            there = database_of(settings)  # its sessions have the short time-out
            with pytest.raises(StorageBusy), there.write() as connection:
                connection.execute(update(conversations).values(title="other"))
            threading.Timer(1.5, root.rollback).start()
            there.submit(update(conversations).where(conversations.c.id == made["id"]), {"title": "changed"}).wait()
            there.close()
    finally:
        mariadb.run(f"SET GLOBAL innodb_lock_wait_timeout = {before}")
    assert titles(db) == ["changed"]


def test_two_databases_of_one_server_do_not_wait_for_each_other(mariadb: MariaDb, db: Database, make_settings: Callable[..., Settings]) -> None:
    mariadb.drop_database("test_database")
    mariadb.create_database("test_database")
    other = database_of(make_settings(**mariadb.settings, qzbrain_env="test"))
    migrate.upgrade(other)
    assert other.place.endswith("/test_database")
    started = time.monotonic()
    with db.write():
        add(other, title="test")
    assert time.monotonic() - started < 5
    assert (titles(db), titles(other)) == ([], ["test"])
    other.close()


def test_greenlets_do_not_queue_behind_each_other(db: Database, settings: Settings) -> None:
    body = """
        from gevent import monkey; monkey.patch_all()
        import gevent, sys, time
        from sqlalchemy import text
        from qzbrain.settings import Settings
        from qzbrain.brain import database_of
        db = database_of(Settings.model_validate_json(sys.stdin.read()))
        def slow():
            return db.rows(text("SELECT SLEEP(0.5)"))
        gevent.joinall([gevent.spawn(slow) for _ in range(48)])
        started = time.monotonic()
        gevent.joinall([gevent.spawn(slow) for _ in range(48)], raise_error=True)
        print(time.monotonic() - started)
    """
    given = settings.model_dump_json(exclude={"models"})
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(body)], input=given, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert float(done.stdout) < 5, "24 s would be one after the other"


def test_a_greenlet_that_is_killed_in_the_driver_holds_no_lock_and_no_session(mariadb: MariaDb, db: Database, settings: Settings) -> None:
    body = """
        from gevent import monkey; monkey.patch_all()
        import gevent, sys, time
        from sqlalchemy import text
        from qzbrain.settings import Settings
        from qzbrain.brain import database_of
        db = database_of(Settings.model_validate_json(sys.stdin.read()))
        def writes(statement):
            with db.write() as connection:
                connection.execute(text(statement))
        writes("SELECT 1")
        holder = gevent.spawn(writes, "SELECT SLEEP(1.5)")
        waiter = gevent.spawn(db.rows, text("SELECT SLEEP(5)"))
        gevent.sleep(0.3)
        gevent.killall([holder, waiter])
        writes("SELECT 1")
        print(db.engine.pool.checkedout(), db.rows(text("SELECT 7"))[0][0])
    """
    given = settings.model_dump_json(exclude={"models"})
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(body)], input=given, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["0", "7"]


# -- refusals


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"mysql_password": "wrong"}, "mysql_password"),
        ({"mysql_user": "nobody"}, "mysql_password"),
        ({"mysql_db": "nowhere"}, "mysql_db"),
        ({"mysql_ssl_ca": "/nowhere.pem"}, "mysql_ssl_ca"),
        ({"mysql_ssl_ca": __file__}, "mysql_ssl_ca"),
    ],
)
def test_what_the_server_refuses_is_told_at_once_with_the_way_out(settings: Settings, change: dict[str, str], param: str) -> None:
    db = database_of(settings.model_copy(update=change))
    started = time.monotonic()
    with pytest.raises(SettingsInvalid) as refused:
        migrate.upgrade(db)
    assert time.monotonic() - started < 3
    assert refused.value.param == param
    assert param.upper() in refused.value.zh and param.upper() in refused.value.en
    assert settings.mysql_password not in str(refused.value)
    db.close()


def test_a_missing_right_is_told(mariadb: MariaDb, make_settings: Callable[..., Settings]) -> None:
    mariadb.create_database("poor", rights="SELECT, CREATE")
    try:
        db = database_of(make_settings(**{**mariadb.settings, "mysql_db": "poor"}))
        with pytest.raises(SettingsInvalid) as refused:
            migrate.upgrade(db)
        assert "doctor" in refused.value.en
        db.close()
    finally:
        mariadb.drop_database("poor")


@pytest.mark.parametrize("name", ["a-b", "ünïcode 启智", "x'y\"z", "%s%(a)s", "sel`ect", "n" * 64])
def test_any_database_name_will_do(mariadb: MariaDb, make_settings: Callable[..., Settings], name: str) -> None:
    quoted = name.replace("`", "``")
    mariadb.run(f"CREATE DATABASE `{quoted}`")
    mariadb.run(f"GRANT ALL ON `{quoted.replace('_', chr(92) + '_').replace('%', chr(92) + '%')}`.* TO {mariadb.account}")
    try:
        db = database_of(make_settings(**{**mariadb.settings, "mysql_db": name}))
        migrate.upgrade(db)
        add(db, title="kept")
        assert titles(db) == ["kept"]
        db.close()
    finally:
        mariadb.drop_database(quoted)


def test_lock_names_fit_and_differ() -> None:
    names = ["chatglm", "test_database", "启" * 64, "启" * 63 + "智", "n" * 64]
    assert lock_name("chatglm") == "qzbrain.chatglm"
    assert len({lock_name(x) for x in names}) == len(names)
    assert all(len(lock_name(x)) <= 64 and lock_name(x).isascii() for x in names)


# -- values


def test_what_does_not_fit_into_a_column_is_a_bad_request(db: Database) -> None:
    with pytest.raises(InvalidRequest):
        add(db, title="长" * 256)
    assert titles(db) == []


def test_a_text_over_the_packet_size_is_refused_before_it_is_sent(mariadb: MariaDb, db: Database) -> None:
    made = conversation()
    db.submit(insert(conversations), made).wait()
    with pytest.raises(PayloadTooLarge) as refused:
        db.submit(insert(messages), {**_message(made["id"]), "content": "长" * 6_000_000}).wait()
    assert refused.value.code == "too_large"
    db.submit(insert(messages), {**_message(made["id"]), "content": "长" * 5_000_000}).wait()
    assert [len(x.content) for x in db.rows(select(messages.c.content))] == [5_000_000]


# -- the schema


def test_a_first_upgrade_that_was_killed_is_begun_anew(mariadb: MariaDb, db: Database, settings: Settings) -> None:
    schema = mariadb.run("SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = %s", settings.mysql_db)
    mariadb.run(f"DROP TABLE {settings.mysql_db}.document_texts")
    mariadb.run(f"DELETE FROM {settings.mysql_db}.alembic_version")
    assert migrate.upgrade(db) is True
    assert mariadb.run("SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = %s", settings.mysql_db) == schema
    add(db, title="kept")


def test_tables_of_another_program_are_not_touched(mariadb: MariaDb, make_settings: Callable[..., Settings]) -> None:
    mariadb.create_database("shared")
    try:
        mariadb.run("CREATE TABLE shared.jobs (id INT)")
        mariadb.run("INSERT INTO shared.jobs VALUES (7)")
        db = database_of(make_settings(**{**mariadb.settings, "mysql_db": "shared"}))
        with pytest.raises(SettingsInvalid) as refused:
            migrate.upgrade(db)
        assert "jobs" in refused.value.en
        assert mariadb.run("SELECT id FROM shared.jobs") == [(7,)]
        db.close()
    finally:
        mariadb.drop_database("shared")


def test_every_table_is_innodb_in_the_brains_collation(mariadb: MariaDb, db: Database, settings: Settings) -> None:
    found = mariadb.run("SELECT table_name, engine, table_collation FROM information_schema.tables WHERE table_schema = %s", settings.mysql_db)
    assert {row[0] for row in found} == {*metadata.tables, "alembic_version"}
    assert {row[1:] for row in found} == {("InnoDB", "utf8mb4_bin")}


# -- TLS


def test_tls_with_a_ca_of_ones_own(tmp_path: Path, make_settings: Callable[..., Settings]) -> None:
    authority, stranger = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
    authority.context("IP:127.0.0.1")  # leaves the server's certificate and key in the folder
    folder = tmp_path / "ca"
    arguments = (f"--ssl-cert={folder / 'engine.pem'}", f"--ssl-key={folder / 'engine.key'}", "--require-secure-transport=ON")
    server = MariaDb(tmp_path / "tls", arguments=arguments).start()
    try:
        for trust in ({"mysql_ssl_ca": str(authority.file)}, {}):  # without a CA: encrypted, because the server can, and not verified
            db = database_of(make_settings(**server.settings, **trust))
            migrate.upgrade(db)
            assert db.rows(text("SHOW STATUS LIKE 'Ssl_cipher'"))[0][1]
            db.close()
        refused_by = database_of(make_settings(**server.settings, mysql_ssl_ca=str(stranger.file)))
        started = time.monotonic()
        with pytest.raises(SettingsInvalid) as refused:
            titles(refused_by)
        assert refused.value.param == "mysql_ssl_ca"
        assert time.monotonic() - started < 3
        refused_by.close()
    finally:
        server.remove()


def test_a_port_where_nobody_listens_is_waited_for_and_told(make_settings: Callable[..., Settings]) -> None:
    db = Database(MysqlDriver(Server.of(make_settings(mysql_host="127.0.0.1", mysql_port=free_port())), patience_s=0.3))
    with pytest.raises(StorageAway):
        migrate.upgrade(db)
