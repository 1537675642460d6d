"""A whole brain with two local models under real llama.cpp: started with it, swapped under load, stopped, killed, and gone with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.local_engine import need_embedder, tiny_model
from tests.running import ROOT, RunningBrain, wait_for

CONFIG = """
[models.a]
engine = "llamacpp"
path = {path}
context = 1024
slots = 2

[models.b]
engine = "llamacpp"
path = {path}
alive = false
context = 1024
slots = 2

[models.c]
engine = "llamacpp"
path = "nowhere.gguf"
alive = false
"""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBrain]:
    need_embedder()
    path = json.dumps(str(tiny_model("chat")))
    running = RunningBrain(tmp_path_factory.mktemp("engines") / "data", CONFIG.format(path=path)).start()
    yield running
    running.stop()
    assert running.processes() == {}  # an engine's environment names the data folder too


def models(house: RunningBrain) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in house.call("GET", "/api/models")[1]["data"]}


def becomes(house: RunningBrain, name: str, status: str) -> None:
    wait_for(lambda: models(house)[name]["status"] == status, f"{name} {status}: {models(house)[name]}", 30)


def ask(house: RunningBrain, model: str) -> tuple[int, dict[str, Any]]:
    """With the likeliest words, which are always the same: of others a model of random weights sometimes says none."""
    asked = {"model": model, "messages": [{"role": "user", "content": "你好"}], "max_tokens": 24, "temperature": 0}
    return house.call("POST", "/v1/chat/completions", asked)


def command(house: RunningBrain, *arguments: str) -> tuple[int, Any, str]:
    """Exit code, what --json gave, and standard error."""
    run = subprocess.run(
        [sys.executable, "-m", "qzbrain.cli", "model", *arguments, "--json"], env=house.environment, cwd=ROOT, capture_output=True, text=True, timeout=90
    )
    return run.returncode, json.loads(run.stdout) if run.stdout else None, run.stderr


def engine_pid(house: RunningBrain, name: str) -> int:
    return int(json.loads((house.data / "run/engines" / f"{name}.json").read_text())["pid"])


def test_a_model_that_is_alive_is_up_with_the_brain(house: RunningBrain) -> None:
    becomes(house, "a", "ready")
    shown = models(house)["a"]
    assert (shown["local"], shown["asleep"], shown["slots"], shown["context"]) == (True, False, 2, 1024)
    assert models(house)["b"]["status"] == "stopped"
    status, answer = ask(house, "a@none")
    assert (status, answer["rung"], answer["model"]) == (200, "model", "a@none")
    assert answer["usage"]["completion_tokens"] > 0
    assert house.call("POST", "/api/models/a/probe")[1]["ok"] is True


def test_the_doctor_tells_that_it_is_up(house: RunningBrain) -> None:
    becomes(house, "a", "ready")
    checks = {one["id"]: one for one in house.call("GET", "/api/system/doctor")[1]["checks"]}
    assert checks["running:a"]["status"] == "ok" and "running:b" not in checks
    assert checks["model:a"]["status"] in ("ok", "warn")


def test_killed_it_is_back_within_six_seconds(house: RunningBrain) -> None:
    becomes(house, "a", "ready")
    before = engine_pid(house, "a")
    os.kill(before, signal.SIGKILL)
    killed = time.monotonic()
    status, answer = ask(house, "a@none")
    assert (status, answer.get("rung")) == (200, "model"), answer
    assert time.monotonic() - killed < 6
    assert engine_pid(house, "a") != before


def test_a_swap_under_load_fails_no_question(house: RunningBrain) -> None:
    becomes(house, "a", "ready")
    over = threading.Event()

    def person(model: str) -> list[tuple[int, dict[str, Any]]]:
        heard = []
        while not over.is_set():
            heard.append(ask(house, model))
        return heard

    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(person, model) for model in ("a@none", "auto@none", "a@none", "auto@none", "a@laws", "auto@laws")]
        try:
            time.sleep(0.5)
            status, shown = house.call("POST", "/api/models/b/swap")
            assert status == 202, shown
            becomes(house, "b", "ready")
            becomes(house, "a", "stopped")
            time.sleep(0.5)
        finally:
            over.set()
        answers = [answer for one in asked for answer in one.result()]
    assert {status for status, _ in answers} == {200}
    assert [(answer["model"], answer["rung_reason"], answer["degraded"]) for _, answer in answers if answer["rung"] != "model"] == []
    assert models(house)["a"]["answered_by"] == "b"
    assert ask(house, "a@none")[1]["rung_reason"].count("b")


def test_the_command_does_what_the_page_does(house: RunningBrain) -> None:
    code, shown, _ = command(house, "start", "a")
    assert (code, shown["status"]) == (0, "ready")
    code, shown, _ = command(house, "stop", "b")
    assert (code, shown["status"]) == (0, "stopped")
    code, shown, _ = command(house, "list")
    assert {one["name"]: one["status"] for one in shown["data"]} == {"a": "ready", "b": "stopped", "c": "stopped", "extractive": "ready"}
    code, shown, _ = command(house, "probe", "a")
    assert (code, shown["ok"]) == (0, True) and shown["took_ms"] > 0
    code, shown, _ = command(house, "probe", "b")
    assert (code, shown["ok"]) == (1, False) and "qzbrain model start b" in shown["reason"]
    code, shown, _ = command(house, "swap", "b", "--replace", "a")
    assert (code, shown["status"]) == (0, "ready")
    code, shown, _ = command(house, "swap", "a")
    assert (code, shown["status"]) == (0, "ready")
    becomes(house, "b", "stopped")


def test_what_cannot_be_is_refused_with_the_way_out(house: RunningBrain) -> None:
    status, body = house.call("POST", "/api/models/c/start")
    assert (status, body["error"]["code"]) == (409, "model_path_missing") and "nowhere.gguf" in body["error"]["message"]
    assert house.call("POST", "/api/models/extractive/stop")[0] == 409
    assert house.call("POST", "/api/models/extractive/probe")[1]["ok"] is True
    assert house.call("POST", "/api/models/nobody/start")[0] == 404
    assert house.call("POST", "/api/models/a/swap", {"replace": ["a"]})[0] == 409
    assert house.call("POST", "/api/models/a/swap", {"instead": ["b"]})[0] == 400
    code, _, _ = command(house, "start", "nobody")
    assert code == 1


def test_a_stopped_model_stays_stopped_when_the_brain_is_started_again(house: RunningBrain) -> None:
    becomes(house, "a", "ready")
    house.call("POST", "/api/models/a/stop")
    becomes(house, "a", "stopped")
    answer = ask(house, "auto@laws")[1]
    assert answer["rung"] in ("extractive", "refused")
    status, answer = ask(house, "a@none")
    assert status == 503 and "qzbrain model start a" in answer["error"]["message"]
    house.stop()
    assert house.processes() == {}
    house.start()
    assert models(house)["a"]["status"] == "stopped"
    assert not any("manager" in line for line in house.processes().values())  # nothing to manage, so it is not there
    house.call("POST", "/api/models/b/start")
    becomes(house, "b", "ready")
    assert any("manager" in line for line in house.processes().values())


def test_a_model_that_is_brought_in_is_there_without_a_restart(house: RunningBrain) -> None:
    supervisor = house.process
    code, shown, said = command(house, "import", str(tiny_model("chat")), "--name", "brought")
    assert (code, shown["reloaded"], shown["started"]) == (0, True, True), said
    wait_for(lambda: "brought" in models(house), "known", 20)
    status, answer = ask(house, "brought@none")
    assert (status, answer["rung"]) == (200, "model"), answer
    assert house.process is supervisor and models(house)["b"]["status"] == "ready"


def test_engines_end_with_a_supervisor_that_is_killed(house: RunningBrain) -> None:
    becomes(house, "b", "ready")
    house.kill()
    wait_for(lambda: house.processes() == {}, f"all gone: {house.processes()}", 20)
    house.start()
    becomes(house, "b", "ready")


def test_the_log_of_the_manager_tells_what_happened(house: RunningBrain) -> None:
    events = [json.loads(line)["event"] for line in Path(house.data / "logs/engines.log").read_text().splitlines() if line.startswith("{")]
    assert {"engine_manager_started", "engine_ready", "swap_done"} <= set(events)
