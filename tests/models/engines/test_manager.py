"""The engine manager: engines kept up, proved by a real call, ended without breaking answers off, swapped, and never left behind.

The engine is a stand-in for vLLM and SGLang that keeps to their command lines and protocol; the launcher, the processes and the calls are real.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qzbrain.errors import EngineUnavailable
from qzbrain.models.base import Cancellation, ChatMessage, Generation
from qzbrain.models.engines import keeper, processes
from qzbrain.models.engines.launching import state_path
from qzbrain.models.engines.local import LocalEngines
from qzbrain.models.engines.manager import Manager, is_needed, manager_lock
from qzbrain.models.engines.wishes import Swap, WishStore, manager_runs
from qzbrain.models.registry import ModelRegistry
from qzbrain.settings import ModelSettings, Settings
from tests.running import ROOT, wait_for
from tests.servers.stand_in_model import StandInModel

SHORT = (0.1, 0.2, 0.3)


class Managed:
    """A manager in a thread of this process, and the models as the web process sees them."""

    def __init__(self, settings: Settings) -> None:
        import fcntl

        self.settings = settings
        self.store = WishStore(settings)
        self.engines = LocalEngines(settings)
        self.models = ModelRegistry(settings, self.engines)
        path = manager_lock(settings)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = path.open("ab")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._stop = threading.Event()
        self.changed: list[Settings] = []
        manager = Manager(settings, drain_s=20, changed=lambda: self.changed.pop() if self.changed else None)
        self._thread = threading.Thread(target=manager.run, args=(self._stop.is_set,))
        self._thread.start()

    def state(self, name: str) -> str:
        return next(one.status for one in self.models.describe() if one.name == name)

    def reason(self, name: str) -> str:
        return next(one.reason_en for one in self.models.describe() if one.name == name)

    def becomes(self, name: str, state: str, timeout_s: float = 20) -> None:
        wait_for(lambda: self.state(name) == state, f"{name} {state}: {self.state(name)} {self.reason(name)}", timeout_s)

    def ask(self, name: str) -> str:
        generation = Generation([ChatMessage("user", "x")])
        return "".join(piece.text for piece in self.models.chat_model(name).generate(generation, Cancellation()))

    def close(self) -> None:
        self._stop.set()
        self._thread.join(40)
        assert not self._thread.is_alive()
        self._lock.close()
        self.engines.close()


Manage = Callable[..., Managed]


@pytest.fixture
def manage(make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> Iterator[Manage]:
    """Start a manager for some models; at the end nothing of an engine is left."""
    made: list[Managed] = []
    monkeypatch.setattr(keeper, "PAUSES_S", SHORT)

    def begin(**models: ModelSettings) -> Managed:
        made.append(Managed(make_settings(models=models)))
        return made[-1]

    yield begin
    for one in made:
        one.close()
        for name in one.settings.models:
            assert processes.of_engine(state_path(one.settings, name)) == []


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_an_engine_that_is_alive_is_started_and_answers(manage: Manage, tmp_path: Path, engine: str) -> None:
    model = StandInModel(tmp_path / "m")
    managed = manage(m=model.settings(engine), off=StandInModel(tmp_path / "off").settings(alive=False))
    managed.becomes("m", "ready")
    assert managed.ask("m").startswith("m0 m1 ")
    assert managed.state("off") == "stopped" and not (tmp_path / "off" / "starts").exists()
    told = json.loads((model.folder / "environment.json").read_text())
    assert told["HF_HUB_OFFLINE"] == "1" and "PYTHONPATH" not in told
    assert managed.engines.running("m").key not in Path(f"/proc/{model.starts()[0][0]}/cmdline").read_text()  # type: ignore[union-attr]


def test_health_alone_does_not_make_an_engine_ready(manage: Manage, tmp_path: Path) -> None:
    model = StandInModel(tmp_path / "m", lies=True)
    managed = manage(m=model.settings())
    managed.becomes("m", "failed")
    assert "CUDA error: out of memory" in managed.reason("m")
    assert managed.models.first_healthy() is None
    with pytest.raises(EngineUnavailable):
        managed.ask("m")
    model.behave()
    managed.becomes("m", "ready")


def test_an_engine_that_gives_nothing_is_not_ready(manage: Manage, tmp_path: Path) -> None:
    managed = manage(m=StandInModel(tmp_path / "m", empty=True).settings())
    managed.becomes("m", "failed")
    assert "gave nothing" in managed.reason("m")


def test_an_engine_that_turns_to_lying_is_found_out_by_a_failed_answer_and_started_again(manage: Manage, tmp_path: Path) -> None:
    model = StandInModel(tmp_path / "m")
    managed = manage(m=model.settings())
    managed.becomes("m", "ready")
    model.behave(lies=True)
    with pytest.raises(EngineUnavailable):
        managed.ask("m")
    wait_for(lambda: len(model.starts()) > 1, "started again")
    model.behave()
    managed.becomes("m", "ready")
    assert managed.ask("m")


@pytest.mark.parametrize("victim", ["engine", "launcher"])
def test_killed_it_is_back_and_nothing_of_the_old_one_lingers(manage: Manage, tmp_path: Path, victim: str) -> None:
    model = StandInModel(tmp_path / "m", grandchild=True)
    managed = manage(m=model.settings())
    managed.becomes("m", "ready")
    engine, grandchild = model.starts()[0][0], int((model.folder / "grandchild.pid").read_text())
    running = managed.engines.running("m")
    assert running is not None
    killed = time.monotonic()
    os.kill(engine if victim == "engine" else running.pid, signal.SIGKILL)
    wait_for(lambda: len(model.starts()) == 2 and managed.state("m") == "ready", "back", 10)
    assert time.monotonic() - killed < 6
    assert processes.has_ended(engine) and processes.has_ended(grandchild)
    assert managed.ask("m")
    assert next(one.restarts for one in managed.models.describe() if one.name == "m") == 1


def test_crash_loops_are_slowed_down_told_and_given_up_until_somebody_asks(manage: Manage, tmp_path: Path) -> None:
    model = StandInModel(tmp_path / "m", exit=1, says="ValueError: no room for the KV cache")
    managed = manage(m=model.settings())
    wait_for(lambda: len(model.starts()) == keeper.GIVE_UP, "given up")
    managed.becomes("m", "failed")
    assert "no room for the KV cache" in managed.reason("m")
    times = [at for _, at in model.starts()]
    assert times[3] - times[2] >= SHORT[2]
    time.sleep(3 * SHORT[-1])
    assert len(model.starts()) == keeper.GIVE_UP
    model.behave()
    managed.store.change(lambda now: now.started("m"))
    managed.becomes("m", "ready")


def test_a_stop_lets_running_answers_end_and_takes_no_new_ones(manage: Manage, tmp_path: Path) -> None:
    model = StandInModel(tmp_path / "m", tokens=20, token_s=0.1, grandchild=True)
    managed = manage(m=model.settings())
    managed.becomes("m", "ready")
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(managed.ask("m")))
    asking.start()
    wait_for(lambda: processes.of_engine(state_path(managed.settings, "m")), "up")
    time.sleep(0.4)
    managed.store.change(lambda now: now.stopped("m"))
    managed.becomes("m", "draining")
    with pytest.raises(EngineUnavailable):
        managed.ask("m")
    managed.becomes("m", "stopped")
    asking.join()
    assert answers == ["".join(f"m{n} " for n in range(20))]
    assert processes.has_ended(int((model.folder / "grandchild.pid").read_text()))


def test_what_was_asked_for_outlives_a_restart(manage: Manage, tmp_path: Path) -> None:
    models = {"a": StandInModel(tmp_path / "a").settings(), "b": StandInModel(tmp_path / "b").settings(alive=False)}
    first = manage(**models)
    first.becomes("a", "ready")
    first.store.change(lambda now: now.stopped("a").started("b"))
    first.becomes("b", "ready")
    first.becomes("a", "stopped")
    first.close()
    assert is_needed(first.settings)
    second = Managed(first.settings)
    try:
        second.becomes("b", "ready")
        assert second.state("a") == "stopped"
        assert second.models.names() == ["auto", "b", "extractive"]
    finally:
        second.close()


def begin_swap(managed: Managed, *, beside: bool) -> None:
    from dataclasses import replace

    swap = Swap("b", ("a",), beside, began=time.time())
    managed.store.change(lambda now: replace(now.started("b") if beside else now.swapped(swap), swap=swap))


@pytest.mark.parametrize("beside", [True, False])
def test_a_swap_puts_one_in_the_place_of_the_other(manage: Manage, tmp_path: Path, beside: bool) -> None:
    old, new = StandInModel(tmp_path / "a", tokens=5, token_s=0.05), StandInModel(tmp_path / "b", start_s=0.5)
    managed = manage(a=old.settings(), b=new.settings(alive=False))
    managed.becomes("a", "ready")
    begin_swap(managed, beside=beside)
    heard = set()
    end = time.monotonic() + 20
    while managed.store.read().swap is not None and time.monotonic() < end:
        heard.add(managed.ask("a")[0])
    managed.becomes("a", "stopped")
    assert managed.state("b") == "ready"
    assert managed.ask("a").startswith("b0 ")  # whoever names the old one is answered by the new one
    assert next(one.answered_by for one in managed.models.describe() if one.name == "a") == "b"
    assert heard == ({"a", "b"} if beside else {"b"}) or (beside and heard == {"a"})
    overlap = old.starts()[0][1] < new.starts()[0][1]
    assert overlap
    managed.store.change(lambda now: now.started("a"))
    managed.becomes("a", "ready")
    assert managed.ask("a").startswith("a0 ")


@pytest.mark.parametrize("beside", [True, False])
def test_a_swap_to_an_engine_that_does_not_start_is_undone(manage: Manage, tmp_path: Path, beside: bool) -> None:
    old, new = StandInModel(tmp_path / "a"), StandInModel(tmp_path / "b", exit=1, says="torch.OutOfMemoryError")
    managed = manage(a=old.settings(), b=new.settings(alive=False))
    managed.becomes("a", "ready")
    begin_swap(managed, beside=beside)
    wait_for(lambda: managed.store.read().swap is None, "over")
    managed.becomes("a", "ready")
    managed.becomes("b", "stopped")
    assert "torch.OutOfMemoryError" in managed.reason("b")
    assert managed.ask("a").startswith("a0 ")
    assert len(old.starts()) == (1 if beside else 2)


def test_old_engines_end_before_the_new_one_starts_where_memory_is_short(manage: Manage, tmp_path: Path) -> None:
    old, new = StandInModel(tmp_path / "a"), StandInModel(tmp_path / "b")
    managed = manage(a=old.settings(), b=new.settings(alive=False))
    managed.becomes("a", "ready")
    begin_swap(managed, beside=False)
    wait_for(lambda: new.starts(), "the new one starts")
    assert processes.has_ended(old.starts()[0][0])
    managed.becomes("b", "ready")


def test_a_question_waits_while_the_new_engine_starts(manage: Manage, tmp_path: Path) -> None:
    managed = manage(a=StandInModel(tmp_path / "a").settings(), b=StandInModel(tmp_path / "b", start_s=2).settings(alive=False, first_token_timeout_s=1))
    managed.becomes("a", "ready")
    begin_swap(managed, beside=False)
    healthy = managed.models.first_healthy()
    assert healthy is not None and healthy.name == "b"
    assert healthy.starting_s()[0] > 0
    assert managed.ask("a").startswith("b0 ")


def test_engines_end_with_a_manager_that_is_killed_and_come_back_with_the_next(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    model = StandInModel(tmp_path / "m", grandchild=True)
    settings = make_settings()
    config = tmp_path / "config.toml"
    config.write_text(
        "[models.m]\nengine = 'vllm'\ndevices = 'none'\n"
        f"path = {json.dumps(str(model.folder))}\ncommand = {json.dumps(list(model.settings().command))}\n",
        encoding="utf-8",
    )
    environment = {**os.environ, "QZBRAIN_DATA": str(settings.data), "QZBRAIN_CONFIG": str(config)}

    def started() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-m", "qzbrain.models.engines.manager"], env=environment, cwd=ROOT)

    first = started()
    second: subprocess.Popen[bytes] | None = None
    try:
        state = state_path(settings, "m")
        wait_for(lambda: state.exists(), "up")
        assert manager_runs(settings)
        engine, grandchild = model.starts()[0][0], int((model.folder / "grandchild.pid").read_text())
        first.kill()
        first.wait(10)
        wait_for(lambda: processes.has_ended(engine), "ended with its manager", 15)
        second = started()
        wait_for(lambda: len(model.starts()) == 2 and state.exists(), "back")
        assert processes.has_ended(grandchild)
        second.terminate()
        assert second.wait(40) == 0
        assert processes.of_engine(state) == []
    finally:
        for one in (first, second):
            if one is not None and one.poll() is None:
                one.kill()


def test_models_are_added_changed_and_removed_while_the_others_run_on(manage: Manage, make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    kept, other, late = StandInModel(tmp_path / "a"), StandInModel(tmp_path / "b"), StandInModel(tmp_path / "c")
    before = {"a": kept.settings(), "b": other.settings()}
    managed = manage(**before)
    managed.becomes("a", "ready")
    managed.becomes("b", "ready")
    managed.changed.append(make_settings(models={"a": before["a"], "b": other.settings(context=1024), "c": late.settings()}))
    wait_for(lambda: len(other.starts()) == 2 and late.starts(), "b anew and c")
    wait_for(lambda: managed.engines.running("b"), "b up")
    managed.changed.append(make_settings(models={"a": before["a"]}))
    wait_for(lambda: processes.has_ended(other.starts()[1][0]) and processes.has_ended(late.starts()[0][0]), "b and c ended")
    assert len(kept.starts()) == 1 and managed.ask("a")


def test_a_list_of_wishes_that_cannot_be_read_is_as_the_configuration_says(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    settings = make_settings(models={"m": StandInModel(tmp_path / "m").settings()})
    settings.data.mkdir(parents=True)
    (settings.data / "engines.json").write_text('{"wanted": [')
    assert is_needed(settings)
    assert WishStore(settings).change(lambda now: now.stopped("m")).wanted == {"m": "stopped"}
    assert not is_needed(settings)
