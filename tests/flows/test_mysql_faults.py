"""kill -9 of the database server and of the worker, in the middle of uploads and answers of a whole brain on MariaDB."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine import Engine
from tests.flows.mysql_brain import RULE, all_read, ask, running_on, upload, without_sample
from tests.running import RunningBrain, wait_for
from tests.servers.mariadb import MariaDb

pytestmark = pytest.mark.servers


@pytest.fixture
def own(tmp_path: Path) -> Iterator[MariaDb]:
    """A server of the test's own, to be killed and started again."""
    server = MariaDb(tmp_path / "own").start()
    yield server
    server.remove()


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
        without_sample(tmp_path / "data", own.settings)
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
    without_sample(tmp_path / "data", mysql)
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


def test_a_long_absence_is_told_and_then_over(tmp_path: Path, own: MariaDb) -> None:
    running = running_on(tmp_path / "data", own.settings)
    without_sample(tmp_path / "data", own.settings)
    running.start()
    try:
        assert running.call("POST", "/api/knowledge-bases", {"name": "rules"})[0] == 201
        assert upload(running, "rules", "a.txt", RULE.encode())[0] == 202
        wait_for(lambda: all_read(running, "rules"), "read")
        before = set(running.processes())
        own.kill()
        status, refused = upload(running, "rules", "b.txt", RULE.encode() * 2)
        assert (status, refused["error"]["code"]) == (503, "storage_away")
        started = time.monotonic()
        for path in ("/api/knowledge-bases", "/api/conversations", "/api/jobs"):
            status, refused = running.call("GET", path)
            assert (status, refused["error"]["code"]) == (503, "storage_away"), refused
        status, refused = ask(running, "采购由谁批准？")
        assert status == 503 and refused["error"]["message"]
        assert running.status("/readyz") == 503
        assert running.status("/healthz") == 200
        assert time.monotonic() - started < 10, "each of them waited again"
        own.start()
        assert upload(running, "rules", "b.txt", RULE.encode() * 2)[0] == 202
        counts = wait_for(lambda: all_read(running, "rules"), "read")
        assert (counts["total"], counts["ready"]) == (2, 2)
        assert running.status("/readyz") == 200
        assert set(running.processes()) >= before, "a process ended for want of its database"
    finally:
        running.stop()
