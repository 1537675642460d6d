"""Chat models whose engines this machine runs: started by the first question, asked again when they died, told as asleep or failed.

The engine is a stand-in that keeps to the launcher's contract (lock, state file, key, parent); llama.cpp itself is in engines/.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qzbrain.errors import EngineUnavailable
from qzbrain.models.base import Cancellation, ChatMessage, Generation
from qzbrain.models.engines.local import LocalEngines
from qzbrain.models.engines.on_demand import Running
from qzbrain.models.engines.reports import Report, ReportWriter
from qzbrain.models.engines.wishes import manager_lock
from qzbrain.models.registry import ModelRegistry
from qzbrain.settings import ModelSettings, Settings
from tests.running import ROOT, wait_for

STAND_IN = """#!{python}
import json, os, sys, threading
sys.path.insert(0, {root!r})
from pathlib import Path
from qzbrain.models.engines.launchers.local_serve import began
from tests.engine import Engine
state = Path(sys.argv[sys.argv.index("--state") + 1])
engine = Engine()
engine.script(["好"])
told = {{"pid": os.getpid(), "began": began(os.getpid()), "url": engine.base_url[:-3], "key": os.environ["QZBRAIN_ENGINE_KEY"]}}
state.with_suffix(".new").write_text(json.dumps(told))
state.with_suffix(".new").replace(state)
threading.Event().wait()
"""

Machine = Callable[[str], tuple[ModelRegistry, LocalEngines]]


@pytest.fixture
def machine(make_settings: Callable[..., Settings], tmp_path: Path) -> Iterator[Machine]:
    """A brain with one llama.cpp chat model `m`, whose environment's Python is this program."""
    made: list[LocalEngines] = []

    def make(program: str) -> tuple[ModelRegistry, LocalEngines]:
        python = tmp_path / "venv/bin/python"
        python.parent.mkdir(parents=True)
        python.write_text(program)
        python.chmod(0o755)
        (tmp_path / "m.gguf").write_bytes(b"GGUF")
        model = ModelSettings(engine="llamacpp", path=str(tmp_path / "m.gguf"), environment=str(tmp_path / "venv"), first_token_timeout_s=20)
        settings = make_settings(models={"m": model})
        made.append(LocalEngines(settings))
        return ModelRegistry(settings, made[0]), made[0]

    yield make
    for engines in made:
        engines.close()


def working() -> str:
    return STAND_IN.format(python=sys.executable, root=str(ROOT))


def ask(models: ModelRegistry) -> str:
    return "".join(x.text for x in models.chat_model("m").generate(Generation([ChatMessage("user", "x")]), Cancellation()))


def ended_between_two_questions(models: ModelRegistry, engines: LocalEngines, number: signal.Signals) -> None:
    """The engine gets this signal, and the question after it is answered by another one."""
    ask(models)
    before = engines.running("m")
    assert before is not None
    os.kill(before.pid, number)
    assert ask(models) == "好"
    after = engines.running("m")
    assert after is not None and after.pid != before.pid


def test_the_first_question_starts_the_engine(machine: Machine) -> None:
    models, engines = machine(working())
    state = models.describe()[0]
    assert (state.status, engines.running("m")) == ("ready", None)
    assert "asleep" in state.reason_en and "休眠" in state.reason_zh
    first = models.first_healthy()
    assert first is not None and first.name == "m"
    assert ask(models) == "好"
    assert engines.running("m") is not None
    assert models.describe()[0].reason_en == ""


def test_an_engine_that_was_killed_answers_the_next_question(machine: Machine) -> None:
    ended_between_two_questions(*machine(working()), signal.SIGKILL)


def test_a_killed_engine_whose_process_takes_its_time_to_die_is_waited_for(machine: Machine) -> None:
    slow = "\n".join([
        "import signal, time",
        "def die(*_):",
        "    engine.close()",
        "    time.sleep(1.5)",
        "    os._exit(1)",
        "signal.signal(signal.SIGTERM, die)",
        "threading.Event().wait()",
    ])  # fmt: skip
    ended_between_two_questions(*machine(working().replace("threading.Event().wait()", slow)), signal.SIGTERM)


def test_all_who_waited_for_an_engine_that_was_killed_are_answered_by_the_next_one(machine: Machine) -> None:
    first = "first = state.with_suffix('.first')\nif not first.exists():\n    first.touch()\n    engine.script(['坏'], first_delay_s=60)\n"
    models, engines = machine(working().replace("told = ", first + "told = "))
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(ask, models) for _ in range(6)]
        before = wait_for(lambda: engines.running("m"), "up", 20)
        time.sleep(1)
        os.kill(before.pid, signal.SIGKILL)
        assert [one.result(30) for one in asked] == ["好"] * 6


def test_an_engine_that_a_manager_keeps_is_left_to_it(
    machine: Machine, make_settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it dies between being seen and being asked: a manager sweeps away what is left of an engine, with what others start meanwhile."""
    _, engines = machine(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    settings = make_settings()
    ReportWriter(settings).tell("m", Report("ready"))
    seen = iter([Running(os.getpid(), "http://127.0.0.1:9", "")])
    monkeypatch.setattr(engines.children, "running", lambda _: next(seen, None))
    with manager_lock(settings).open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(EngineUnavailable) as failure:
            engines.address("m", timeout_s=0.5)
    assert "still starting" in failure.value.en
    assert not (tmp_path / "started").exists()


def test_an_engine_that_cannot_start_has_failed_and_auto_passes_it_over(machine: Machine) -> None:
    models, _ = machine("#!/bin/sh\necho out of memory >&2\nexit 3\n")
    with pytest.raises(EngineUnavailable) as failure:
        ask(models)
    assert "out of memory" in failure.value.en
    state = models.describe()[0]
    assert state.status == "failed" and "out of memory" in state.reason_en
    assert models.first_healthy() is None


def test_an_engine_that_is_called_just_when_it_falls_asleep_is_started_again(machine: Machine) -> None:
    falls_asleep = "once = state.with_suffix('.once')\nif not once.exists():\n    once.touch()\n    sys.exit(0)\n"
    models, _ = machine(working().replace("engine = Engine()", falls_asleep + "engine = Engine()"))
    assert ask(models) == "好"


def test_an_engine_that_only_ever_ends_is_told(machine: Machine) -> None:
    models, _ = machine("#!/bin/sh\necho bye\nexit 0\n")
    with pytest.raises(EngineUnavailable) as failure:
        ask(models)
    assert "bye" in failure.value.en
