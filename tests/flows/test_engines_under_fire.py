"""MySQL, Redis, the search server, the worker and the web process are killed (-9) and come back while files come in and questions are asked.

Nothing acknowledged is lost or doubled, everything is ready and found in the end, and every answer says what it stands on.
"""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.running import RunningBrain, wait_for
from tests.servers.mariadb import MariaDb
from tests.servers.redis_server import RedisServer
from tests.servers.search_server import SearchServer

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.timeout(300)]

FILES = ANSWERS = 200
PAUSE_S = 0.6
KB = "fire"
RUNGS = {"extractive", "passages", "refused"}
GONE = (OSError, http.client.HTTPException, ValueError)


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("engines")
    made = {"mysql": MariaDb(folder / "mysql"), "redis": RedisServer(folder / "redis"), "search": SearchServer("elasticsearch")}
    try:
        for server in made.values():
            server.start()
        yield made
    finally:
        made["mysql"].remove()
        made["redis"].stop()
        made["search"].close()


@pytest.fixture(scope="module")
def brain(engines: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBrain]:
    running = RunningBrain(tmp_path_factory.mktemp("brain") / "data")
    for server in engines.values():
        running.environment |= server.environment
    running.start()
    yield running
    assert running.stop() == 0
    assert running.processes() == {}


def text_of(n: int) -> str:
    return f"第{n}号仓库的管理员是编号{n * 7919 % 10007}的职员，独角兽{n}号存放在该仓库。"


def upload(brain: RunningBrain, n: int) -> str:
    """The document's id, asked for until it is acknowledged."""

    def once() -> str | None:
        try:
            status, reply = brain.call("POST", f"/api/knowledge-bases/{KB}/documents", {"name": f"{n}.txt", "text": text_of(n)})
        except GONE:
            return None
        if status == 202:
            return str(reply["data"][0]["id"])
        assert status in (429, 503), (status, reply)
        assert {"message", "type", "code", "param"} <= set(reply["error"]), reply
        return None

    return str(wait_for(once, f"upload {n}", timeout_s=120))


def ask(brain: RunningBrain, n: int) -> str:
    """What an answer stands on, or that it was honestly not given; asked once, and again only when the web process itself was killed."""
    body = {"model": f"extractive@{KB}", "messages": [{"role": "user", "content": f"第{n}号仓库的管理员是谁？"}]}
    while True:
        try:
            status, reply = brain.call("POST", "/v1/chat/completions", body)
            break
        except GONE:
            time.sleep(0.2)
    if status == 200:
        assert reply["rung"] in RUNGS and reply["rung_reason"], reply
        if reply["rung"] == "refused" and reply["degraded"]:
            assert reply["choices"][0]["message"]["content"]
        return str(reply["rung"])
    assert status in (429, 503), (status, reply)
    assert {"message", "type", "code", "param"} <= set(reply["error"]) and reply["error"]["message"], reply
    return str(reply["error"]["code"])


def kill(brain: RunningBrain, word: str) -> None:
    victims = [pid for pid, command in brain.processes().items() if word in command and "supervise" not in command]
    assert victims, brain.processes()
    for pid in victims:
        os.kill(pid, signal.SIGKILL)


def documents(brain: RunningBrain) -> dict[str, Any]:
    try:
        status, reply = brain.call("GET", f"/api/knowledge-bases/{KB}")
    except GONE:
        return {}
    return dict(reply["documents"]) if status == 200 else {}


def found(brain: RunningBrain, n: int) -> bool:
    status, reply = brain.call("POST", "/api/search", {"query": f"独角兽{n}号", "knowledge_bases": [KB], "top_k": 3})
    return status == 200 and not reply["degraded"] and bool(reply["hits"]) and reply["hits"][0]["text"] == text_of(n)


def test_everything_is_killed_once(brain: RunningBrain, engines: dict[str, Any]) -> None:
    assert brain.call("POST", "/api/knowledge-bases", {"name": KB})[0] == 201

    def again(name: str) -> Callable[[], None]:
        return lambda: (engines[name].kill(), engines[name].start())

    blows = [again("mysql"), again("redis"), again("search"), lambda: kill(brain, "worker"), lambda: kill(brain, "gunicorn"), again("search"), again("mysql")]
    done = threading.Event()

    def strike() -> None:
        for blow in blows:
            if done.wait(1.5):
                return
            blow()

    def spread(work: Callable[[RunningBrain, int], str]) -> Callable[[int], str]:
        return lambda n: (time.sleep(PAUSE_S), work(brain, n))[1]  # so that the blows fall among them

    striking = threading.Thread(target=strike)
    with ThreadPoolExecutor(4) as uploading, ThreadPoolExecutor(4) as asking:
        striking.start()
        uploads, answers = uploading.map(spread(upload), range(FILES)), asking.map(spread(ask), range(ANSWERS))
        acknowledged, labels = list(uploads), list(answers)
    striking.join(120)
    done.set()
    assert not striking.is_alive()
    assert len(set(acknowledged)) == FILES
    assert len(labels) == ANSWERS
    wait_for(lambda: documents(brain).get("ready") == FILES, f"all ready: {documents(brain)}", timeout_s=120)
    assert documents(brain) == {"total": FILES, "ready": FILES, "failed": 0, "pending": 0}
    assert brain.call("GET", f"/api/knowledge-bases/{KB}")[1]["chunks"] == FILES
    wait_for(lambda: found(brain, 0), "the search server has caught up", timeout_s=60)
    assert all(found(brain, n) for n in range(FILES))


def test_an_answer_says_that_search_is_away_and_comes_back(brain: RunningBrain, engines: dict[str, Any]) -> None:
    question = {"model": f"extractive@{KB}", "messages": [{"role": "user", "content": "第3号仓库的管理员是谁？"}]}
    engines["search"].kill()
    try:
        status, reply = brain.call("POST", "/v1/chat/completions", question)
        assert status == 200 and any(one["part"] == "lexical" for one in reply["degraded"]), reply
    finally:
        engines["search"].start()
    wait_for(lambda: found(brain, 3), "search is back", timeout_s=60)


def test_the_folder_holds_nothing_that_only_the_engines_should(brain: RunningBrain, engines: dict[str, Any]) -> None:
    left = {path.name for path in Path(brain.data).iterdir()}
    assert "brain.sqlite" not in left
