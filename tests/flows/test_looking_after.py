"""Looking after a running brain: its processes shown, stopped and restarted by command; a stop lets running answers end, within its limit."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qzbrain.ops.supervised import Process, Processes
from qzbrain.settings import Settings
from tests.engine import Engine
from tests.running import ROOT, RunningBrain, wait_for


def with_model(folder: Path, engine: Engine, more: str = "") -> RunningBrain:
    """Not started; without the sample, which takes a while."""
    brain = RunningBrain(folder / "data", f'{more}[models.scripted]\nengine = "external"\nbase_url = "{engine.base_url}"\n')
    (brain.data / "brain.sample").write_text("added", encoding="utf-8")
    return brain


def command(brain: RunningBrain, *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, what --json gave, and what a person is told."""
    run = [sys.executable, "-m", "qzbrain.cli", *arguments, "--json"]
    done = subprocess.run(run, cwd=ROOT, env=brain.environment, capture_output=True, text=True, timeout=60)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def looked_at(brain: RunningBrain) -> Processes:
    """What the commands use, without a process for each."""
    return Processes(Settings(qzbrain_data=brain.data, qzbrain_port=brain.port))


def processes(brain: RunningBrain) -> dict[str, Process]:
    return {one.name: one for one in looked_at(brain).look()}


@pytest.mark.timeout(300)  # a dozen commands and four starts: 72 s beside other tests
def test_processes_are_shown_stopped_and_restarted(tmp_path: Path) -> None:
    with Engine() as engine:
        brain = with_model(tmp_path, engine)
        assert command(brain, "status")[0] == 3
        code, told, _ = command(brain, "stop")
        assert code == 1 and "./run.sh" in told["error"]["message"]
        brain.start()
        try:
            look(brain)
            one_by_one(brain)
            all_at_once(brain)
        finally:
            code = command(brain, "stop")[0]
        assert code == 0
        assert brain.process is not None and brain.process.wait(5) == 0
        assert brain.processes() == {}
        assert command(brain, "status")[0] == 3


def look(brain: RunningBrain) -> None:
    code, told, _ = command(brain, "status")
    assert brain.process is not None
    assert (code, told["pid"], told["url"]) == (0, brain.process.pid, f"http://127.0.0.1:{brain.port}")
    by_name = {one["name"]: one for one in told["processes"]}
    assert {name: (one["state"], one["needed"]) for name, one in by_name.items()} == {
        "web": ("running", True), "worker": ("running", True), "engines": ("stopped", False), "graph": ("stopped", False),
    }  # fmt: skip
    assert {by_name["web"]["pid"], by_name["worker"]["pid"]} <= set(brain.processes())
    assert all(Path(by_name[name]["log"]).exists() for name in ("web", "worker"))
    os.kill(by_name["worker"]["pid"], signal.SIGKILL)
    wait_for(lambda: (now := processes(brain)["worker"]).restarts == 1 and now.well, "one restart is told", 15)
    assert processes(brain)["web"].restarts == 0
    text = subprocess.run([sys.executable, "-m", "qzbrain.cli", "status"], cwd=ROOT, env=brain.environment, capture_output=True, text=True, timeout=60)
    assert "不需要" in text.stdout and "worker.log" in text.stdout


def one_by_one(brain: RunningBrain) -> None:
    looked_at(brain).stop("worker")
    assert command(brain, "status")[0] == 1  # it is meant to run
    assert processes(brain)["worker"].state == "stopped"
    looked_at(brain).stop("worker")  # it is as wanted
    looked_at(brain).restart("worker")
    assert processes(brain)["worker"].well
    code, told, _ = command(brain, "restart", "wrong")
    assert code == 2 and "engines" in told["error"]["message"]


def all_at_once(brain: RunningBrain) -> None:
    """The settings are read anew, under the same process id."""
    before = processes(brain)["web"].pid
    file = brain.data / "config.toml"
    file.write_text(f'qzbrain_graph_service = "on"\nqzbrain_graph_port = {free_port()}\n{file.read_text()}')
    assert command(brain, "restart")[0] == 0
    assert brain.process is not None and brain.process.poll() is None
    assert brain.status("/readyz") == 200
    now = processes(brain)
    assert now["web"].pid != before and now["graph"].state == "running" and now["web"].restarts == 0


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as made:
        yield made


def ask(brain: RunningBrain) -> http.client.HTTPResponse:
    """A streamed answer, begun."""
    connection = http.client.HTTPConnection("127.0.0.1", brain.port, timeout=30)
    question = {"model": "scripted@none", "stream": True, "messages": [{"role": "user", "content": "你好"}]}
    connection.request("POST", "/v1/chat/completions", json.dumps(question), {"Content-Type": "application/json"})
    response = connection.getresponse()
    assert response.status == 200
    while "字" not in response.readline().decode():
        pass
    return response


def refused(brain: RunningBrain) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", brain.port)) != 0


def test_a_stop_lets_a_streamed_answer_end_and_takes_no_new_requests(engine: Engine, tmp_path: Path) -> None:
    brain = with_model(tmp_path, engine).start()
    engine.script(["字"] * 40, delay_s=0.1)
    answer = ask(brain)
    assert brain.process is not None
    brain.process.terminate()
    wait_for(lambda: refused(brain), "no new connections", 3)
    assert engine.active == 1  # the answer is still on its way
    text = answer.read().decode()
    assert text.count("字") == 39 and text.rstrip().endswith("data: [DONE]")
    assert '"finish_reason":"stop"' in text
    assert brain.process.wait(10) == 0


def test_an_answer_that_outlasts_the_limit_is_cut_off_within_it(engine: Engine, tmp_path: Path) -> None:
    brain = with_model(tmp_path, engine, "stop_wait_s = 1\n").start()
    engine.script(["字"] * 600, delay_s=0.1)
    answer = ask(brain)
    assert brain.process is not None
    brain.process.terminate()
    began = time.monotonic()
    assert brain.process.wait(15) == 0
    assert time.monotonic() - began < 8  # and not a minute
    assert "[DONE]" not in read_what_comes(answer)
    wait_for(lambda: engine.cancelled, "the engine is free", 5)


def read_what_comes(answer: http.client.HTTPResponse) -> str:
    """All of it, though it breaks off."""
    try:
        return answer.read().decode()
    except http.client.IncompleteRead as exc:
        return exc.partial.decode(errors="replace")
    except OSError:
        return ""
