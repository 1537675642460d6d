"""A whole brain with Redis and Celery as users start it: main.py, and run_celery.sh beside it."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import ROOT, RunningBrain, wait_for
from tests.servers.programs import end
from tests.servers.redis_server import RedisServer

SCRIPT = ["sh", str(ROOT / "run_celery.sh")]


def environment(**values: str) -> dict[str, str]:
    """As a user's who has activated the environment that runs this test."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**{k: v for k, v in os.environ.items() if not k.startswith("QZBRAIN_")}, "QZBRAIN_EMBEDDER": "none", **values, "PATH": path}


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis").start()
    yield server
    server.stop()


@pytest.fixture
def brain(tmp_path: Path, redis: RedisServer) -> Iterator[RunningBrain]:
    running = RunningBrain(tmp_path / "data")
    running.environment |= redis.environment
    yield running.start()
    if running.process is not None and running.process.poll() is None:
        running.stop()


def upload(brain: RunningBrain, name: str, text: str) -> str:
    body = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n{text}\r\n--b--\r\n'.encode()
    connection = http.client.HTTPConnection("127.0.0.1", brain.port, timeout=30)
    connection.request("POST", "/api/knowledge-bases/laws/documents", body, {"Content-Type": "multipart/form-data; boundary=b"})
    response = connection.getresponse()
    reply = json.loads(response.read())
    connection.close()
    assert response.status == 202, reply
    return str(reply["data"][0]["id"])


def answer(brain: RunningBrain, question: str) -> dict[str, Any]:
    status, reply = brain.call("POST", "/v1/chat/completions", {"model": "extractive@laws", "messages": [{"role": "user", "content": question}]})
    assert status == 200, reply
    return dict(reply)


def becomes_ready(brain: RunningBrain, document_id: str) -> None:
    wait_for(lambda: brain.call("GET", f"/api/documents/{document_id}")[1]["status"] == "ready", "read", 30)


@pytest.mark.servers
def test_from_upload_to_answer_with_both_of_the_manuals_commands(brain: RunningBrain, tmp_path: Path) -> None:
    assert "警告" in answer(brain, "行政处罚的种类有哪些？")["choices"][0]["message"]["content"]
    log = tmp_path / "second.log"
    with log.open("wb") as out:
        second = subprocess.Popen([*SCRIPT, "--loglevel", "INFO"], env=environment(**brain.environment), stdout=out, stderr=out, cwd="/")
    try:
        wait_for(lambda: b"worker_waits" in log.read_bytes(), "the second worker waits for the first", 20)
        becomes_ready(brain, upload(brain, "新规.txt", "青龙饲养须经麒麟署批准。"))
        reply = answer(brain, "青龙饲养须经谁批准？")
        assert "麒麟署" in reply["choices"][0]["message"]["content"]
        assert reply["citations"]
        worker = next(pid for pid, command in brain.processes().items() if command.endswith("-m qzbrain.worker"))
        os.kill(worker, signal.SIGKILL)
        becomes_ready(brain, upload(brain, "又一规.txt", "玄武饲养须经司天监批准。"))
        assert "司天监" in answer(brain, "玄武饲养须经谁批准？")["choices"][0]["message"]["content"]
        assert brain.status("/readyz") == 200
        assert brain.stop() == 0
        wait_for(lambda: b"worker_started" in log.read_bytes(), "the folder is the second worker's", 20)
        assert [pid for pid, command in brain.processes().items() if "reader_child" not in command] == [second.pid]
    finally:
        end(second)
    assert second.returncode == 0
    assert brain.processes() == {}


@pytest.mark.servers
def test_a_kill_of_the_supervisor_takes_the_celery_worker_along(brain: RunningBrain) -> None:
    brain.kill()
    wait_for(lambda: brain.processes() == {}, "nothing outlives the supervisor", 5)


@pytest.mark.servers
def test_celerys_own_command_starts_the_same_worker(redis: RedisServer, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    log = tmp_path / "worker.log"
    with log.open("wb") as out:
        command = [sys.executable, "-m", "celery", "-A", "qzbrain.worker:app"]
        given = environment(QZBRAIN_DATA=str(data), **redis.environment)
        worker = subprocess.Popen([*command, "worker"], env=given, stdout=out, stderr=out, cwd=ROOT)
    try:
        wait_for(lambda: b"worker_started" in log.read_bytes(), "it is this brain's worker", 20)

        def pong() -> bool:
            return "pong" in subprocess.run([*command, "inspect", "ping"], env=given, capture_output=True, text=True, cwd=ROOT, check=False).stdout

        wait_for(pong, "it answers", 30)
    finally:
        end(worker)
    assert worker.returncode == 0


def test_the_script_says_what_it_lacks(tmp_path: Path) -> None:
    done = subprocess.run(SCRIPT, env=environment(QZBRAIN_DATA=str(tmp_path), QZBRAIN_LANG="en"), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "REDIS_HOST" in done.stderr
    assert "docs/redis.md" in done.stderr


@pytest.mark.parametrize(("argument", "said"), [("--no-such-option", "--no-such-option"), ("--pool=threads", "solo")])
def test_arguments_that_cannot_be_are_refused(argument: str, said: str, tmp_path: Path) -> None:
    given = environment(QZBRAIN_DATA=str(tmp_path), REDIS_HOST="127.0.0.1", REDIS_PORT="1")
    done = subprocess.run([*SCRIPT, argument], env=given, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode not in (0, -9)
    assert said in done.stderr + done.stdout
    assert "Traceback" not in done.stderr or "SettingsInvalid" in done.stderr


@pytest.mark.skipif(shutil.which("dash") is None, reason="no dash")
def test_the_script_is_plain_sh() -> None:
    assert subprocess.run(["dash", "-n", SCRIPT[1]], check=False).returncode == 0
