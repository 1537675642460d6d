"""The built-in embedder under llama.cpp, for real: started by the first call, shared, asleep when nobody calls, gone with who started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest
import urllib3

from qzbrain.errors import EngineUnavailable
from qzbrain.models.catalog import E5_SMALL, all_models
from qzbrain.models.embedders import HttpEmbedder
from qzbrain.models.engines.on_demand import OnDemandEngines
from qzbrain.settings import ModelSettings, Settings
from tests.local_engine import local_python, need_embedder
from tests.running import ROOT, wait_for

START_S = 30.0


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    need_embedder()
    return make_settings(qzbrain_embedder="auto")


@pytest.fixture
def engines(settings: Settings) -> Iterator[OnDemandEngines]:
    engines = OnDemandEngines(settings)
    yield engines
    engines.close()


def of(settings: Settings, **changes: object) -> OnDemandEngines:
    """One with another model under the name `m`."""
    model = all_models(settings)[E5_SMALL].model_copy(update=changes)
    return OnDemandEngines(settings.model_copy(update={"models": {"m": model}}))


def embed(engines: OnDemandEngines, name: str, key: str | None = None) -> tuple[int, int]:
    """HTTP status and width."""
    url = engines.address(name, timeout_s=START_S)
    headers = {"content-type": "application/json", "authorization": f"Bearer {engines.key(name) if key is None else key}"}
    reply = urllib3.request("POST", f"{url}/embeddings", body=orjson.dumps({"model": name, "input": "query: 罚款"}), headers=headers, retries=False)
    return reply.status, len(reply.json()["data"][0]["embedding"]) if reply.status == 200 else 0


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True


def test_the_first_call_starts_it_and_others_share_it(engines: OnDemandEngines, settings: Settings) -> None:
    assert engines.running(E5_SMALL) is None
    assert embed(engines, E5_SMALL) == (200, 384)
    first = engines.running(E5_SMALL)
    other = OnDemandEngines(settings)  # as another process sees it
    assert embed(other, E5_SMALL) == (200, 384)
    assert first is not None and other.running(E5_SMALL) == first
    other.close()
    assert embed(engines, E5_SMALL) == (200, 384)


def test_of_many_that_start_it_at_once_one_does(settings: Settings) -> None:
    several = [OnDemandEngines(settings) for _ in range(4)]
    try:
        with ThreadPoolExecutor(4) as pool:
            addresses = set(pool.map(lambda one: one.address(E5_SMALL, timeout_s=START_S), several))
        assert len(addresses) == 1
    finally:
        for one in several:
            one.close()


def test_its_key_is_wanted_and_kept_from_others(engines: OnDemandEngines, settings: Settings) -> None:
    assert embed(engines, E5_SMALL, key="wrong")[0] == 401
    state = settings.data / "run" / "engines" / f"{E5_SMALL}.json"
    assert state.stat().st_mode & 0o077 == 0
    running = engines.running(E5_SMALL)
    assert running is not None
    assert running.key.encode() not in Path(f"/proc/{running.pid}/cmdline").read_bytes()


def test_killed_it_is_started_again_by_the_next_call(engines: OnDemandEngines) -> None:
    assert embed(engines, E5_SMALL) == (200, 384)
    running = engines.running(E5_SMALL)
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    wait_for(lambda: is_gone(running.pid), "killed")
    started = time.monotonic()
    assert embed(engines, E5_SMALL) == (200, 384)
    assert time.monotonic() - started < 6
    again = engines.running(E5_SMALL)
    assert again is not None and again.pid != running.pid


def test_it_sleeps_when_nobody_calls_and_wakes(settings: Settings) -> None:
    engines = of(settings, sleep_after_s=1.0)
    try:
        assert embed(engines, "m") == (200, 384)
        running = engines.running("m")
        assert running is not None
        wait_for(lambda: is_gone(running.pid), "asleep", 20)
        assert engines.running("m") is None
        assert embed(engines, "m") == (200, 384)
    finally:
        engines.close()


def begins_with(settings: Settings, folder: Path, script: str) -> OnDemandEngines:
    """One whose engine is started by a Python that does this first."""
    python = folder / "venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\n{script}\nexec {local_python()} "$@"\n')
    python.chmod(0o755)
    return of(settings, environment=str(folder / "venv"))


def asks(engines: OnDemandEngines, settings: Settings, question: str) -> tuple[int, ...]:
    """The shape of its vector."""
    shape: tuple[int, ...] = HttpEmbedder("m", all_models(settings)[E5_SMALL], engines).embed_query(question, timeout_s=1.5).shape
    return shape


def test_a_question_that_wakes_an_engine_waits_for_it_beside_its_own_time(settings: Settings, tmp_path: Path) -> None:
    engines = begins_with(settings, tmp_path, "sleep 2")
    try:
        assert asks(engines, settings, "罚款") == (384,)
    finally:
        engines.close()


def test_an_engine_that_never_comes_up_is_waited_for_once(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qzbrain.models.embedders._WAKE_S", 2.0)
    engines = begins_with(settings, tmp_path, "exec sleep 600")
    try:
        started = time.monotonic()
        with pytest.raises(EngineUnavailable, match="not up within 2 s"):
            asks(engines, settings, "罚款")
        first = time.monotonic()
        with pytest.raises(EngineUnavailable, match="not up within 2 s"):
            asks(engines, settings, "赔偿")
        assert first - started >= 2 > time.monotonic() - first
    finally:
        engines.close()


def test_a_question_to_one_that_is_just_falling_asleep_waits_for_the_next(settings: Settings) -> None:
    engines = of(settings)
    try:
        assert embed(engines, "m") == (200, 384)
        time.sleep(4)  # its start is longer ago than a start may take
        (settings.data / "run/engines/m.json").unlink()  # what it does first; it is gone within a second
        engines.wake("m", timeout_s=4)
        assert embed(engines, "m") == (200, 384)
    finally:
        engines.close()


def test_a_failed_start_is_told_at_once_and_tried_again(settings: Settings, tmp_path: Path) -> None:
    engines = begins_with(settings, tmp_path, "")
    python = tmp_path / "venv/bin/python"
    works = python.read_text()
    python.write_text("#!/bin/sh\necho no room >&2\nexit 1\n")
    try:
        with pytest.raises(EngineUnavailable, match="no room"):
            asks(engines, settings, "罚款")
        python.write_text(works)
        assert asks(engines, settings, "罚款") == (384,)
    finally:
        engines.close()


def test_it_is_gone_with_the_process_that_started_it(settings: Settings) -> None:
    program = (
        "import sys; from pathlib import Path; from qzbrain.models.engines.on_demand import OnDemandEngines; from qzbrain.settings import Settings;"
        "OnDemandEngines(Settings(qzbrain_data=Path(sys.argv[1]))).address(sys.argv[2], timeout_s=30); print('up', flush=True); sys.stdin.read()"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", program, str(settings.data), E5_SMALL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert starter.stdout is not None
    engines = OnDemandEngines(settings)
    try:
        assert starter.stdout.readline() == "up\n"
        running = engines.running(E5_SMALL)
        assert running is not None
        starter.kill()
        starter.wait(10)
        wait_for(lambda: is_gone(running.pid), "gone with its starter", 10)
        assert embed(engines, E5_SMALL) == (200, 384)
    finally:
        starter.kill()
        starter.communicate()
        engines.close()


def test_a_file_that_is_no_model_is_told_with_what_the_engine_said(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" + bytes(1000))
    engines = of(settings, path=str(tmp_path / "broken.gguf"))
    with pytest.raises(EngineUnavailable) as refused:
        engines.address("m", timeout_s=START_S)
    assert "ended" in refused.value.en
    engines.close()


@pytest.mark.parametrize("path", ["nowhere.gguf"])
def test_a_missing_file_is_told(settings: Settings, path: str) -> None:
    with pytest.raises(EngineUnavailable) as refused:
        of(settings, path=path).address("m", timeout_s=1)
    assert "nowhere.gguf" in refused.value.en


def test_an_environment_without_the_engine_is_told(settings: Settings, tmp_path: Path) -> None:
    python = tmp_path / "venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\necho no xllamacpp here >&2\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(EngineUnavailable) as refused:
        of(settings, environment=str(tmp_path / "venv")).address("m", timeout_s=START_S)
    assert "no xllamacpp here" in refused.value.en


def test_what_is_not_on_demand_is_not_started_here(settings: Settings) -> None:
    external = ModelSettings.model_validate({"engine": "external", "base_url": "http://127.0.0.1:1/v1", "kind": "embedding"})
    engines = OnDemandEngines(settings.model_copy(update={"models": {"m": external}}))
    with pytest.raises(EngineUnavailable):
        engines.address("m", timeout_s=1)
