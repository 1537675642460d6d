"""The whole brain under the supervisor: started, asked, killed piece by piece, stopped; nothing is left behind and nothing is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import ROOT, RunningBrain, wait_for

QUESTION = {"model": "extractive@laws", "messages": [{"role": "user", "content": "行政处罚的种类有哪些？"}]}


def ask(brain: RunningBrain) -> str:
    status, reply = brain.call("POST", "/v1/chat/completions", QUESTION)
    assert status == 200, reply
    assert reply["citations"]
    return str(reply["choices"][0]["message"]["content"])


def pids(brain: RunningBrain, word: str) -> set[int]:
    return {pid for pid, command in brain.processes().items() if word in command}


def test_the_first_questions_are_answered_from_the_sample(running_brain: RunningBrain) -> None:
    assert "警告" in ask(running_brain)
    when = {"model": "extractive@laws", "messages": [{"role": "user", "content": "一部法律自何时起施行？"}]}
    status, reply = running_brain.call("POST", "/v1/chat/completions", when)
    assert status == 200
    assert "施行" in reply["choices"][0]["message"]["content"]
    assert reply["citations"]


def test_the_code_folder_is_left_clean_and_the_data_folder_is_private(running_brain: RunningBrain) -> None:
    assert not (ROOT / "supervisord.log").exists()
    shown = [x for x in running_brain.data.rglob("*") if not x.is_symlink() and x.stat().st_mode & 0o077]
    assert shown == []


def test_a_second_start_on_the_same_data_says_who_is_there(running_brain: RunningBrain, tmp_path: Path) -> None:
    second = RunningBrain(running_brain.data)
    second.log = tmp_path / "second.log"
    assert second.launch().wait(30) == 1
    assert f"http://127.0.0.1:{running_brain.port}" in second.output()
    assert "QZBRAIN_DATA" in second.output()


def test_a_second_start_on_the_same_port_is_refused_before_anything_is_made(running_brain: RunningBrain, tmp_path: Path) -> None:
    second = RunningBrain(tmp_path / "other", port=running_brain.port)
    assert second.launch().wait(30) == 1
    assert "QZBRAIN_PORT" in second.output()
    assert not (tmp_path / "other" / "brain.sqlite").exists()


@pytest.mark.parametrize("word", ["qzbrain.worker", "gunicorn"])
def test_a_killed_process_comes_back_and_serves_within_ten_seconds(word: str, running_brain: RunningBrain) -> None:
    victims = pids(running_brain, word)
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: pids(running_brain, word) - victims and running_brain.status("/readyz") == 200, f"{word} is back", timeout_s=10)
    assert ask(running_brain)


@pytest.fixture
def own_brain(tmp_path: Path) -> Iterator[RunningBrain]:
    """A brain that a test may stop and kill."""
    brain = RunningBrain(tmp_path / "data")
    yield brain
    if brain.process is not None and brain.process.poll() is None:
        brain.kill()


def test_a_stop_ends_every_process_and_the_next_start_knows_everything(own_brain: RunningBrain) -> None:
    brain = own_brain.start()
    status, _ = brain.call("DELETE", "/api/knowledge-bases/laws")
    assert status == 204
    assert brain.call("POST", "/api/knowledge-bases", {"name": "mine"})[0] == 201
    assert brain.stop() == 0
    assert brain.processes() == {}
    brain.start()
    names = [x["name"] for x in brain.call("GET", "/api/knowledge-bases")[1]["data"]]
    assert names == ["mine"]
    brain.kill()
    wait_for(lambda: brain.processes() == {}, "nothing outlives the supervisor", timeout_s=5)
