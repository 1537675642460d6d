"""A whole brain on a real MariaDB, as users start it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qzbrain.brain import build
from qzbrain.ops import sample
from qzbrain.settings import Settings
from tests.flows.mysql_brain import RULE, all_read, ask, running_on, upload, without_sample
from tests.running import free_port, wait_for
from tests.servers.mariadb import MariaDb

pytestmark = pytest.mark.servers


def test_from_the_first_start_to_the_next(tmp_path: Path, mysql: dict[str, Any], mariadb: MariaDb) -> None:
    running = running_on(tmp_path / "data", mysql).start()
    try:
        status, answer = ask(running, "行政处罚的种类有哪些？", "auto@laws")
        assert status == 200 and "警告" in answer["choices"][0]["message"]["content"]
        assert running.call("POST", "/api/knowledge-bases", {"name": "规章🍣"})[0] == 400
        assert running.call("POST", "/api/knowledge-bases", {"name": "rules"})[0] == 201
        assert running.call("POST", "/api/knowledge-bases", {"name": "rules"})[0] == 409
        assert running.call("POST", "/api/knowledge-bases", {"name": "Rules"})[0] == 201, "names differ by case, as on SQLite"
        status, added = upload(running, "rules", "采购.txt", RULE.encode())
        assert status in (200, 201, 202), added
        document_id = added["data"][0]["id"]
        wait_for(lambda: all_read(running, "rules"), "read")
        status, again = upload(running, "rules", "采购.txt", RULE.encode())
        assert again["data"][0]["id"] == document_id and again["data"][0]["duplicate"]
        status, found = running.call("POST", "/api/search", {"query": "五十万元以上的采购由谁批准", "knowledge_bases": ["rules"]})
        assert status == 200 and found["hits"][0]["document_id"] == document_id
        status, conversation = running.call("POST", "/api/conversations", {"title": "采购🍣", "knowledge_bases": ["rules"]})
        status, answer = running.call("POST", f"/api/conversations/{conversation['id']}/messages", {"content": "五十万元以上的采购由谁批准？"})
        assert status == 200, answer
        assert running.call("DELETE", f"/api/documents/{document_id}")[0] in (200, 204)
        assert running.call("POST", "/api/search", {"query": "采购由谁批准", "knowledge_bases": ["rules"]})[1]["hits"] == []
        assert running.call("DELETE", "/api/knowledge-bases/laws")[0] in (200, 204)
        assert running.status("/readyz") == 200
    finally:
        running.stop()
    assert not list((tmp_path / "data").glob("*.sqlite*"))
    assert mariadb.run(f"SELECT COUNT(*) FROM `{mysql['mysql_db']}`.conversations WHERE title = %s", "采购🍣") == [(1,)]
    running.start()
    try:
        assert running.call("GET", f"/api/conversations/{conversation['id']}")[1]["title"] == "采购🍣"
        assert running.call("GET", "/api/knowledge-bases/laws")[0] == 404, "deleted laws do not come back"
    finally:
        running.stop()
    log = "".join(x.read_text(encoding="utf-8") for x in (tmp_path / "data" / "logs").glob("*.log"))
    assert mysql["mysql_password"] not in log + running.output()
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("first", "change", "said"),
    [
        (True, {"mysql_password": "wrong"}, ("MYSQL_PASSWORD", "docs/mysql.md")),
        (False, {"mysql_password": "wrong"}, ("MYSQL_PASSWORD", "docs/mysql.md")),
        (True, {"mysql_db": "nowhere"}, ("nowhere", "MYSQL_DB")),
        (False, {"mysql_db": "nowhere"}, ("nowhere", "MYSQL_DB")),
        (False, {"mysql_port": "away"}, ("数据库服务器", "cannot be reached")),
    ],
)
def test_a_server_that_cannot_be_used_is_told_at_the_start(
    tmp_path: Path, mysql: dict[str, Any], first: bool, change: dict[str, Any], said: tuple[str, ...]
) -> None:
    given = {**mysql, **{name: free_port() if value == "away" else value for name, value in change.items()}}
    running = running_on(tmp_path / "data", given)
    if not first:
        without_sample(tmp_path / "data", given)
    process = running.launch()
    assert process.wait(40) == 1
    assert all(word in running.output() for word in said), running.output()
    assert "Traceback" not in running.output()


def test_the_test_database_is_another_one(tmp_path: Path, mysql: dict[str, Any], mariadb: MariaDb, make_settings: Callable[..., Settings]) -> None:
    mariadb.drop_database("test_database")
    mariadb.create_database("test_database")
    brain = build(make_settings(**mysql, qzbrain_env="test"))
    brain.knowledge.create(brain.access.local_caller(), name="only-here")
    brain.close()
    assert mariadb.run("SELECT name FROM test_database.knowledge_bases") == [("only-here",)]
    assert mariadb.run("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = %s", mysql["mysql_db"]) == [(0,)]


def test_a_database_that_has_had_its_start_gets_no_sample(mysql: dict[str, Any], make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    settings = make_settings(**mysql)
    brain = build(settings)
    brain.knowledge.create(brain.access.local_caller(), name="mine")
    brain.close()
    assert sample.needed(settings)
    settings.data.mkdir(exist_ok=True)
    sample.add(settings)
    brain = build(settings)
    assert [x.name for x in brain.access.resolve(brain.access.local_caller())] == ["mine"]
    brain.close()
    assert not sample.needed(settings)


def test_the_embedded_brain_does_not_touch_the_driver(tmp_path: Path) -> None:
    """Embedded stays lean: nothing of MySQL is imported, and the database is a file."""
    code = (
        "import sys; from qzbrain.brain import build; from qzbrain.settings import Settings; from pathlib import Path\n"
        "build(Settings(qzbrain_data=Path(sys.argv[1]))).close(); print([x for x in sys.modules if 'mysql' in x])"
    )
    for _ in range(2):  # the first start migrates, and Alembic knows all dialects
        done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
    assert sqlite3.connect(tmp_path / "brain.sqlite").execute("SELECT version_num FROM alembic_version").fetchone()
