"""The graph service as people run it: `qzbrain graph-service` and a brain whose GRAPH_URL names it, before, during and after a kill -9."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import ROOT, RunningBrain, free_port, stop_still, wait_for

LAW = "中华人民共和国行政处罚法"
QUESTION = "行政处罚法第九条规定的行政处罚种类"


class GraphService:
    """`qzbrain graph-service` over the data of a brain."""

    def __init__(self, brain: RunningBrain, *options: str, **settings: str) -> None:
        self.port, self._options = free_port(), options
        self._environment = {**brain.environment, "GRAPH_URL": "http://127.0.0.1:1", **settings}  # its own GRAPH_URL is not its business
        self.log = brain.data.parent / f"graph-{self.port}.log"
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self) -> subprocess.Popen[bytes]:
        """Start without waiting."""
        command = [sys.executable, "-m", "qzbrain.cli", "graph-service", "--port", str(self.port), *self._options]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(command, cwd=ROOT, env=self._environment, stdout=out, stderr=out)
        return self.process

    def start(self) -> GraphService:
        """Start and wait until it answers."""
        process = self.launch()
        wait_for(lambda: process.poll() is not None or self.status("/healthz") == 200, "the graph service answers", 20)
        assert process.poll() is None, self.log.read_text()
        return self

    def kill(self) -> None:
        """kill -9; its worker ends with it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(20)

    def call(self, method: str, path: str, payload: Any = None, **headers: str) -> tuple[int, Any]:
        """A JSON request; status and reply."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, None if payload is None else json.dumps(payload), {"Content-Type": "application/json", **headers})
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def status(self, path: str) -> int:
        """0 when nobody answers."""
        try:
            return self.call("GET", path)[0]
        except OSError:
            return 0


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningBrain, GraphService]]:
    """A brain with its sample laws, and the service that it asks."""
    brain = RunningBrain(tmp_path_factory.mktemp("graph") / "data")
    service = GraphService(brain)
    brain.environment["GRAPH_URL"] = f"http://127.0.0.1:{service.port}/chat-process-txt"
    try:
        brain.start()  # without it: nothing that a brain needs to start
        assert brain.call("GET", "/readyz")[1]["checks"]["graph"].startswith("degraded: graph_unavailable")
        service.start()
        wait_for(lambda: brain.call("GET", "/readyz")[1]["checks"]["graph"] == "ok", "found by itself", 40)
        wait_for(lambda: not [job for job in brain.call("GET", "/api/jobs?limit=200")[1]["data"] if job["status"] in ("pending", "running")], "all is read", 90)
        yield brain, service
    finally:
        brain.stop()
        service.stop()


def search(brain: RunningBrain) -> tuple[float, dict[str, Any]]:
    begun = time.perf_counter()
    status, found = brain.call("POST", "/api/search", {"query": QUESTION, "top_k": 10})
    assert status == 200
    return time.perf_counter() - begun, found


def parts(found: dict[str, Any]) -> list[str]:
    return [one["part"] for one in found["degraded"]]


def test_it_answers_alone(pair: tuple[RunningBrain, GraphService]) -> None:
    _, service = pair
    status, told = service.call("POST", "/chat-process-txt", {"text": f"《{LAW}》有哪些章？", "kb_ids": ["laws"]})
    assert (status, told["code"]) == (200, 0)
    assert told["version"] > 0 and told["triples"]
    status, found = service.call("GET", "/api/graph/laws/search?q=" + "%E8%A1%8C%E6%94%BF%E5%A4%84%E7%BD%9A%E6%B3%95")
    assert status == 200 and found["data"]
    assert service.call("POST", "/api/graph/laws/import", {})[0] == 404
    assert service.call("POST", "/api/graph/laws/merge", {"keep": "1", "merge": ["2"]})[0] == 404
    wait_for(lambda: '"graphs_read_ahead"' in service.log.read_text(), "graphs are read before anybody asks", 20)
    assert service.call("GET", "/readyz")[1] == {"status": "ready", "checks": {"database": "ok"}}


def test_web_gives_what_it_says(pair: tuple[RunningBrain, GraphService]) -> None:
    brain, service = pair
    asked = {"text": f"《{LAW}》有哪些章？", "kb_ids": ["laws"]}
    there, here = service.call("POST", "/chat-process-txt", asked)[1], brain.call("POST", "/chat-process-txt", asked)[1]
    assert {**there, "took_ms": 0} == {**here, "took_ms": 0}
    entity = there["entities"][0]["id"]
    for path in (f"entities/{entity}", f"neighbors?id={entity}&depth=2", "overview", "stats"):
        assert service.call("GET", f"/api/graph/laws/{path}") == brain.call("GET", f"/api/graph/laws/{path}")
    assert service.call("GET", "/api/graph/laws/entities/1") == brain.call("GET", "/api/graph/laws/entities/1")


def test_searches_and_answers_go_on_while_it_is_killed_and_it_comes_back(pair: tuple[RunningBrain, GraphService]) -> None:
    brain, service = pair
    _, before = search(brain)
    assert parts(before) == [] and any("graph" in hit["sources"] for hit in before["hits"])
    service.kill()
    took_s, without = search(brain)
    assert took_s < 2.5 and parts(without) == ["graph"] and without["hits"]
    for _ in range(3):
        took_s, without = search(brain)
        assert took_s < 0.5 and parts(without) == ["graph"]
    begun = time.perf_counter()
    status, answer = brain.call("POST", "/v1/chat/completions", {"model": "auto@laws", "messages": [{"role": "user", "content": QUESTION}]})
    assert status == 200 and time.perf_counter() - begun < 5
    assert "行政处罚" in answer["choices"][0]["message"]["content"]
    assert parts(answer) == ["graph"]
    assert brain.call("GET", "/api/graph/laws/overview")[0] == 503
    ready, checks = brain.call("GET", "/readyz")
    assert ready == 200 and checks["checks"]["graph"].startswith("degraded: graph_unavailable")
    service.start()
    wait_for(lambda: parts(search(brain)[1]) == [], "back", 40)
    assert [hit["chunk_id"] for hit in search(brain)[1]["hits"]] == [hit["chunk_id"] for hit in before["hits"]]


def test_a_service_that_hangs_delays_one_search_by_two_seconds(pair: tuple[RunningBrain, GraphService]) -> None:
    brain, service = pair
    wait_for(lambda: parts(search(brain)[1]) == [], "as before", 40)
    assert service.process is not None
    pids = [int(pid) for pid in Path(f"/proc/{service.process.pid}/task/{service.process.pid}/children").read_text().split()]
    for pid in pids:
        stop_still(pid)
    try:
        took_s, found = search(brain)
        assert 1.9 < took_s < 3 and parts(found) == ["graph"] and found["hits"]
        took: list[float] = []
        while sum(took) < 4:  # trials go on meanwhile, and nobody waits for them
            took_s, found = search(brain)
            took.append(took_s + 0.1)
            assert took_s < 0.5 and parts(found) == ["graph"]
            time.sleep(0.1)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    wait_for(lambda: parts(search(brain)[1]) == [], "back", 40)


def test_it_stops_when_told_and_leaves_nothing(pair: tuple[RunningBrain, GraphService]) -> None:
    brain, _ = pair
    other = GraphService(brain).start()
    assert other.process is not None
    children = Path(f"/proc/{other.process.pid}/task/{other.process.pid}/children").read_text().split()
    assert children
    begun = time.perf_counter()
    assert other.stop() == 0
    assert time.perf_counter() - begun < 5
    assert not [pid for pid in children if Path(f"/proc/{pid}/cmdline").exists() and b"graph_server" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.parametrize(("settings", "options", "word"), [({}, ("--host", "0.0.0.0"), "GRAPH_TOKEN"), ({"GRAPH_TOKEN": "short"}, (), "graph_token")])
def test_it_is_not_open_to_others_without_a_secret(
    pair: tuple[RunningBrain, GraphService], settings: dict[str, str], options: tuple[str, ...], word: str
) -> None:
    other = GraphService(pair[0], *options, **settings)
    assert other.launch().wait(20) == 1
    told = other.log.read_text()
    assert word in told and "short" not in told


def test_with_a_secret_it_listens_to_others(pair: tuple[RunningBrain, GraphService]) -> None:
    secret = "a-long-secret-for-this-test"
    other = GraphService(pair[0], "--host", "0.0.0.0", GRAPH_TOKEN=secret).start()
    try:
        assert other.call("POST", "/chat-process-txt", {"text": "x"})[0] == 401
        assert other.call("POST", "/chat-process-txt", {"text": "x"}, Authorization=f"Bearer {secret}")[0] == 200
        assert secret not in other.log.read_text()
    finally:
        other.stop()


def test_a_port_that_is_taken_is_told(pair: tuple[RunningBrain, GraphService]) -> None:
    brain, service = pair
    other = GraphService(brain)
    other.port = service.port
    assert other.launch().wait(20) == 1
    assert "QZBRAIN_GRAPH_PORT" in other.log.read_text()


def test_the_supervisor_runs_it_where_the_settings_say_so(tmp_path: Path) -> None:
    brain = RunningBrain(tmp_path / "data")
    port = free_port()
    brain.environment |= {"QZBRAIN_GRAPH_SERVICE": "on", "QZBRAIN_GRAPH_PORT": str(port)}
    brain.start()
    try:
        wait_for(lambda: brain.call("GET", "/readyz")[1]["checks"]["graph"] == "ok", "web asks it", 20)

        def running() -> set[int]:
            return {pid for pid, line in brain.processes().items() if "graph_server" in line}

        before = running()
        assert len(before) == 2
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: running() and not running() & before, "started again", 10)
        wait_for(lambda: brain.call("POST", "/chat-process-txt", {"text": "行政处罚法"})[0] == 200, "answered again", 40)
    finally:
        assert brain.stop() == 0
    assert not brain.processes()
