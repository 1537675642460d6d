"""The doctor's look at a real MariaDB: what is well, and what it says to do about each thing that is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import text

from qzbrain.brain import build
from qzbrain.ops.doctor import Check, examine
from qzbrain.ops.doctor_mysql import RIGHTS, granted, too_wide
from qzbrain.settings import Settings
from tests.running import free_port
from tests.servers.mariadb import MariaDb

pytestmark = pytest.mark.servers


def by_id(settings: Settings) -> dict[str, Check]:
    return {check.id: check for check in examine(settings, "en")}


@pytest.fixture
def settings(mysql: dict[str, Any], make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(**mysql)


@pytest.fixture
def changed(mariadb: MariaDb) -> Iterator[Callable[[str, str], None]]:
    """Set a global variable of the shared server; it gets its value back."""
    before: dict[str, Any] = {}

    def change(name: str, value: str) -> None:
        before.setdefault(name, mariadb.run(f"SELECT @@GLOBAL.{name}")[0][0])
        mariadb.run(f"SET GLOBAL {name} = {value}")

    yield change
    for name, value in before.items():
        mariadb.run(f"SET GLOBAL {name} = {value}")


def test_before_the_first_start_nothing_fails(settings: Settings) -> None:
    checks = by_id(settings)
    assert not [x for x in checks.values() if x.status == "fail"]
    assert (checks["mysql"].status, checks["mysql_rights"].status, checks["revision"].status) == ("ok", "ok", "skip")
    assert settings.mysql_password not in str(checks)


def test_a_brain_on_mysql_passes(settings: Settings, changed: Callable[[str, str], None]) -> None:
    changed("max_allowed_packet", "67108864")
    build(settings).close()
    checks = by_id(settings)
    assert checks["mysql"].evidence.startswith(("MariaDB 1", "MySQL 8", "MySQL 9"))
    for name in ("mysql", "mysql_rights", "mysql_packet", "mysql_durability", "mysql_connections", "revision", "index", "queue"):
        assert checks[name].status == "ok", checks[name]
    assert "database" not in checks


def test_the_character_set_of_the_database_and_of_tables(mariadb: MariaDb, settings: Settings) -> None:
    build(settings).close()
    latin = by_id(settings)["mysql_charset"]
    assert latin.status == "warn"
    mariadb.run(latin.next.removeprefix("advised: "))
    assert by_id(settings)["mysql_charset"].status == "ok"
    mariadb.run(f"ALTER TABLE {settings.mysql_db}.jobs CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
    wrong = by_id(settings)["mysql_charset"]
    assert wrong.status == "fail"
    assert "jobs (utf8mb4_unicode_ci)" in wrong.evidence
    assert "db copy" in wrong.next


def test_a_right_that_is_missing_is_named_with_the_command(mariadb: MariaDb, settings: Settings) -> None:
    pattern = settings.mysql_db.replace("_", "\\_")
    mariadb.run(f"REVOKE INDEX, DELETE ON `{pattern}`.* FROM {mariadb.account}")
    missing = by_id(settings)["mysql_rights"]
    assert (missing.status, missing.evidence) == ("fail", "missing: DELETE, INDEX")
    mariadb.run(missing.next.partition("run: ")[2])
    assert by_id(settings)["mysql_rights"].status == "ok"


def test_rights_by_a_role_are_not_called_missing(mariadb: MariaDb, settings: Settings) -> None:
    pattern = settings.mysql_db.replace("_", "\\_")
    mariadb.run("CREATE ROLE brains")
    mariadb.run("CREATE USER member@'127.0.0.1' IDENTIFIED BY 'x'")
    try:
        mariadb.run(f"GRANT {', '.join(RIGHTS)} ON `{pattern}`.* TO brains")
        mariadb.run(f"GRANT SELECT ON `{pattern}`.* TO member@'127.0.0.1'")
        mariadb.run("GRANT brains TO member@'127.0.0.1'")
        found = by_id(settings.model_copy(update={"mysql_user": "member", "mysql_password": "x"}))["mysql_rights"]
        assert found.status == "warn"
        assert "role" in found.evidence
    finally:
        mariadb.run("DROP USER member@'127.0.0.1'")
        mariadb.run("DROP ROLE brains")


def test_needlessly_wide_rights_are_told_with_the_way_back(mariadb: MariaDb, settings: Settings) -> None:
    mariadb.run("CREATE USER wide@'127.0.0.1' IDENTIFIED BY 'x'")
    try:
        mariadb.run("GRANT ALL PRIVILEGES ON *.* TO wide@'127.0.0.1' WITH GRANT OPTION")
        wide = settings.model_copy(update={"mysql_user": "wide", "mysql_password": "x"})
        found = by_id(wide)["mysql_rights"]
        assert found.status == "warn"
        assert "SHUTDOWN" in found.evidence or "ALL PRIVILEGES" in found.evidence  # MySQL names each of them, MariaDB does not
        assert "ON *.*" in found.evidence and "GRANT OPTION" in found.evidence
        for command in found.next.partition("run: ")[2].rstrip(";").split("; "):
            mariadb.run(command)
        assert by_id(wide)["mysql_rights"].status == "ok"
    finally:
        mariadb.run("DROP USER wide@'127.0.0.1'")


def test_wrong_password_no_database_and_no_server(mariadb: MariaDb, settings: Settings) -> None:
    wrong = by_id(settings.model_copy(update={"mysql_password": "guess"}))["mysql"]
    assert wrong.status == "fail" and "MYSQL_PASSWORD" in wrong.next and "guess" not in str(wrong)
    missing = by_id(settings.model_copy(update={"mysql_db": "nowhere"}))["mysql"]
    assert missing.status == "fail" and "MYSQL_DB" in missing.next
    away = by_id(settings.model_copy(update={"mysql_port": free_port()}))
    assert away["mysql"].status == "fail" and "bind-address" in away["mysql"].next
    assert {away[x].status for x in ("revision", "index", "queue")} == {"skip"}


def test_settings_that_lose_or_refuse_data(settings: Settings, changed: Callable[[str, str], None]) -> None:
    changed("innodb_flush_log_at_trx_commit", "2")
    changed("max_allowed_packet", "1048576")
    changed("max_connections", "20")
    checks = by_id(settings)
    assert [checks[x].status for x in ("mysql_durability", "mysql_packet", "mysql_connections")] == ["warn"] * 3
    assert "SET GLOBAL max_allowed_packet = 67108864" in checks["mysql_packet"].next


def test_an_old_schema_is_found(settings: Settings) -> None:
    brain = build(settings)
    with brain.db.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    brain.close()
    found = by_id(settings)["revision"]
    assert (found.status, found.next) == ("fail", "qzbrain db upgrade")


@pytest.mark.parametrize(
    ("grant", "database", "covers"),
    [
        ("GRANT SELECT, INSERT ON `chatglm`.* TO `q`@`%`", "chatglm", True),
        ("GRANT SELECT, INSERT ON `chatglm`.* TO `q`@`%`", "chatglm2", False),
        ("GRANT SELECT, INSERT ON `test\\_database`.* TO `q`@`%`", "test_database", True),
        ("GRANT SELECT, INSERT ON `test\\_database`.* TO `q`@`%`", "testxdatabase", False),
        ("GRANT SELECT, INSERT ON `test_database`.* TO `q`@`%`", "testxdatabase", True),
        ("GRANT SELECT, INSERT ON `chat%`.* TO `q`@`%`", "chatglm", True),
        ("GRANT SELECT, INSERT ON `a``b`.* TO `q`@`%`", "a`b", True),
        ("GRANT SELECT, INSERT ON `chatglm`.`jobs` TO `q`@`%`", "chatglm", False),
        ("GRANT SELECT, INSERT ON *.* TO `q`@`%`", "chatglm", True),
        ("GRANT `role`@`%` TO `q`@`%`", "chatglm", False),
    ],
)
def test_grants_are_read_as_the_server_means_them(grant: str, database: str, covers: bool) -> None:
    assert granted([grant], database) == ({"SELECT", "INSERT"} if covers else set())


def test_only_what_reaches_beyond_the_database_is_too_wide() -> None:
    usual = ["GRANT USAGE ON *.* TO `q`@`%` IDENTIFIED BY PASSWORD '*A'", f"GRANT {', '.join(RIGHTS)} ON `chatglm`.* TO `q`@`%`"]
    assert too_wide(usual) == []
    assert too_wide([*usual, "GRANT SUPER ON *.* TO `q`@`%`"]) == ["SUPER ON *.*"]
    assert too_wide(["GRANT SELECT ON `chatglm`.* TO `q`@`%` WITH GRANT OPTION"]) == ["GRANT OPTION ON `chatglm`.*"]
