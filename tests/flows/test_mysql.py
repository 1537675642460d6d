"""A whole brain on a real MariaDB, as users start it: from the first start to a server that is killed in the middle of uploads and answers."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qzbrain.brain import build
from qzbrain.ops import sample
from qzbrain.settings import Settings
from tests.engine import Engine
from tests.running import RunningBrain, free_port, wait_for
from tests.servers.mariadb import MariaDb

pytestmark = pytest.mark.servers
RULE = "采购金额超过五十万元的，须经董事会批准🍣。采购金额不超过五十万元的，由总经理批准。"


@pytest.fixture
def own(tmp_path: Path) -> Iterator[MariaDb]:
    """A server of the test's own, to be killed and started again."""
    server = MariaDb(tmp_path / "own").start()
    yield server
    server.remove()


def running_on(data: Path, settings: dict[str, Any], config: str = "", **more: str) -> RunningBrain:
    """A brain, not started yet, whose database is on that server."""
    running = RunningBrain(data, config)
    running.environment |= {name.upper(): str(value) for name, value in settings.items()} | more
    return running


def upload(running: RunningBrain, kb: str, name: str, data: bytes) -> tuple[int, Any]:
    """One file by multipart; status and reply."""
    mark = uuid.uuid4().hex
    head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: text/plain\r\n\r\n'
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)
    try:
        body = head.encode() + data + f"\r\n--{mark}--\r\n".encode()
        connection.request("POST", f"/api/knowledge-bases/{kb}/documents", body, {"Content-Type": f"multipart/form-data; boundary={mark}"})
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def all_read(running: RunningBrain, kb: str) -> dict[str, int] | None:
    """The counts of a knowledge base's documents when none is left to read."""
    status, found = running.call("GET", f"/api/knowledge-bases/{kb}")
    return found["documents"] if status == 200 and found["documents"]["pending"] == 0 else None


def ask(running: RunningBrain, question: str, model: str = "auto") -> tuple[int, Any]:
    """One plain answer."""
    return running.call("POST", "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": question}]})


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
        sample._mark(Settings(qzbrain_data=tmp_path / "data", **given)).write_text("added", encoding="utf-8")
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


class Uploads(threading.Thread):
    """Uploads one file after the other, each again until it is acknowledged; `ids` of the acknowledged ones by name."""

    def __init__(self, running: RunningBrain, number: int) -> None:
        super().__init__(daemon=True)
        self._running, self._number = running, number
        self.ids: dict[str, str] = {}
        self.refused: list[int] = []
        self.wrong: list[Any] = []

    def run(self) -> None:
        for n in range(self._number):
            name, data = f"{n}.txt", f"第{n}号规定：{RULE}\n".encode() * 40
            until = time.monotonic() + 60
            while time.monotonic() < until:
                try:
                    status, reply = upload(self._running, "rules", name, data)
                except (OSError, http.client.HTTPException, ValueError) as exc:
                    self.wrong.append(exc)
                    continue
                if status < 300:
                    self.ids[name] = reply["data"][0]["id"]
                    break
                self.refused.append(status)
                if status != 503:
                    self.wrong.append(reply)
                time.sleep(0.1)


def test_a_server_that_is_killed_and_started_again_loses_nothing(tmp_path: Path, own: MariaDb) -> None:
    with Engine() as engine:
        config = f'[models.scripted]\nengine = "external"\nbase_url = "{engine.base_url}"\n'
        running = running_on(tmp_path / "data", own.settings, config)
        sample._mark(Settings(qzbrain_data=tmp_path / "data", **own.settings)).write_text("added", encoding="utf-8")
        running.start()
        try:
            assert running.call("POST", "/api/knowledge-bases", {"name": "rules"})[0] == 201
            engine.script(["字"] * 60, delay_s=0.1)
            answers: list[tuple[int, Any]] = []
            asking = [threading.Thread(target=lambda: answers.append(ask(running, "你好", "scripted@none")), daemon=True) for _ in range(4)]
            uploads = Uploads(running, 40)
            for one in (*asking, uploads):
                one.start()
            for round_ in range(3):
                wait_for(lambda seen=round_: len(uploads.ids) >= 4 + 10 * seen, "uploads go on")
                own.kill()
                own.start()
            uploads.join(90)
            for one in asking:
                one.join(60)
            counts = wait_for(lambda: all_read(running, "rules"), "all read", 90)
            assert len(set(uploads.ids.values())) == 40
            assert uploads.wrong == []
            assert counts == {"total": 40, "ready": 40, "failed": 0, "pending": 0}
            assert [(status, reply["choices"][0]["message"]["content"]) for status, reply in answers] == [(200, "字" * 60)] * 4
            stored = own.run("SELECT status, content FROM chatglm.messages WHERE role = 'assistant'")
            assert stored == [("complete", "字" * 60)] * 4
            status, found = running.call("POST", "/api/search", {"query": "第7号规定由谁批准", "knowledge_bases": ["rules"]})
            assert status == 200 and found["hits"]
            assert running.status("/readyz") == 200
        finally:
            running.stop()
        assert own.run("SELECT COUNT(*) FROM chatglm.outbox") == [(0,)]
        assert own.run("SELECT DISTINCT status FROM chatglm.jobs") == [("done",)]


def test_a_worker_that_is_killed_on_mysql_loses_nothing(tmp_path: Path, mysql: dict[str, Any], mariadb: MariaDb) -> None:
    running = running_on(tmp_path / "data", mysql)
    sample._mark(Settings(qzbrain_data=tmp_path / "data", **mysql)).write_text("added", encoding="utf-8")
    running.start()
    try:
        assert running.call("POST", "/api/knowledge-bases", {"name": "rules"})[0] == 201
        uploads = Uploads(running, 30)
        uploads.start()
        for round_ in range(3):
            wait_for(lambda seen=round_: len(uploads.ids) >= 4 + 8 * seen, "uploads go on")
            workers = wait_for(lambda: [pid for pid, command in running.processes().items() if "qzbrain.worker" in command], "worker")
            os.kill(workers[0], signal.SIGKILL)
        uploads.join(60)
        counts = wait_for(lambda: all_read(running, "rules"), "all read", 60)
        assert (len(set(uploads.ids.values())), uploads.wrong) == (30, [])
        assert counts == {"total": 30, "ready": 30, "failed": 0, "pending": 0}
    finally:
        running.stop()


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
