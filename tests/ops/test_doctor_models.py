"""What the doctor says of models: files, needs, devices, engines; external ones are in test_doctor.py. GPUs are a stand-in's."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qzbrain.models.engines.on_demand import OnDemandEngines
from qzbrain.ops.doctor import examine
from qzbrain.ops.doctor_models import models
from qzbrain.ops.finding import Finding
from qzbrain.settings import Settings
from tests.local_engine import need_embedder, tiny_model
from tests.models.files.model_files import write_folder, write_gguf
from tests.models.files.test_description import QWEN_72B

LLAMACPP = {"engine": "llamacpp", "path": "m.gguf", "context": 1024, "slots": 2, "devices": "none", "environment": ".venv-local"}
VLLM = {"engine": "vllm", "path": "m", "context": 1024, "slots": 2, "devices": "0"}
GPUS = "0, NVIDIA A100-SXM4-80GB, 81920, 80000, 580.95.05, Disabled"

Make = Callable[..., Settings]


@pytest.fixture
def make(tmp_path: Path, make_settings: Make) -> Make:
    """Settings over `tmp_path/root`, with llama.cpp's and vLLM's environments, and the models given by name."""
    for engine, package in (("vllm", "vllm"), ("local", "xllamacpp")):
        site = tmp_path / f"root/.venv-{engine}/lib/python3.11/site-packages"
        (site / package).mkdir(parents=True)
        (site / f"{package}-0.33.0.dist-info").mkdir()
        (tmp_path / f"root/.venv-{engine}/bin").mkdir()
        (tmp_path / f"root/.venv-{engine}/bin/python").touch()
    return lambda **tables: make_settings(current_dir=tmp_path / "root", models=tables)


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts an nvidia-smi on PATH that answers every question with one text."""

    def put(text: str, code: int = 0) -> None:
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin/said").write_text(text)
        page = "echo 'CUDA Version: 13.0'"
        (tmp_path / "bin/nvidia-smi").write_text(f'#!/bin/sh\n[ "$1" ] || {{ {page}; exit 0; }}\ncat {tmp_path}/bin/said\nexit {code}\n')
        (tmp_path / "bin/nvidia-smi").chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    return put


def looked(settings: Settings) -> dict[str, Finding]:
    found = models(settings)
    assert {one.step for one in found} <= {5}
    assert len({one.id for one in found}) == len(found)
    return {one.id: one for one in found}


def statuses(settings: Settings) -> dict[str, str]:
    return {id: one.status for id, one in looked(settings).items()}


def test_without_models_answers_come_from_the_texts(make: Make) -> None:
    found = looked(make())
    assert found["models"].status == "skip"
    assert "docs/examples/config.toml" in found["models"].next[0]
    assert found["gpu"].status == "skip"


def test_a_good_local_model_with_what_it_is_and_takes(make: Make, tmp_path: Path) -> None:
    write_gguf(tmp_path / "root/m.gguf")
    found = looked(make(m=dict(LLAMACPP)))
    assert {id: one.status for id, one in found.items()} == {"gpu": "skip", "engine:llamacpp": "ok", "model:m": "ok"}
    for said in ("qwen3", "Q4_K_M", "m.gguf", "MiB", "GiB"):
        assert said in found["model:m"].evidence[0] and said in found["model:m"].evidence[1]
    assert "0.33.0" in found["engine:llamacpp"].evidence[1]


def test_a_model_on_a_gpu(make: Make, tmp_path: Path, smi: Callable[..., None]) -> None:
    smi(GPUS)
    write_folder(tmp_path / "root/m")
    found = looked(make(m=dict(VLLM)))
    assert {id: one.status for id, one in found.items()} == {"gpu": "ok", "engine:vllm": "ok", "model:m": "ok"}
    for said in ("580.95.05", "CUDA 13.0", "0 NVIDIA A100-SXM4-80GB", "78.1 GiB/80.0 GiB"):
        assert said in found["gpu"].evidence[1]
    assert "GPU 0: 78.1 GiB" in found["model:m"].evidence[0]


def test_what_is_wrong_is_told_with_all_that_is_to_be_done(make: Make, tmp_path: Path, smi: Callable[..., None]) -> None:
    smi(GPUS)
    write_folder(tmp_path / "root/m", QWEN_72B, template=False)
    found = looked(make(m={**VLLM, "devices": "0,1"}))["model:m"]
    assert found.status == "fail"
    for said in ("GPU 1", "0.23", "--chat-template"):
        assert said in found.next[0] and said in found.next[1]
    write_folder(tmp_path / "root/m", template=False)
    assert looked(make(m=dict(VLLM)))["model:m"].status == "warn"
    assert looked(make(m={**VLLM, "path": "nowhere"}))["model:m"].status == "fail"


def test_gpus_that_cannot_be_seen(make: Make, tmp_path: Path, smi: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    write_folder(tmp_path / "root/m")
    smi("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", 9)
    found = looked(make(m=dict(VLLM)))
    assert (found["gpu"].status, found["model:m"].status) == ("fail", "fail")
    assert "modprobe" in found["gpu"].next[0]
    monkeypatch.setenv("PATH", str(tmp_path))
    found = looked(make(m=dict(VLLM)))
    assert found["gpu"].status == "fail"
    assert "nvidia-smi" in found["gpu"].evidence[1]


def test_an_engine_that_is_not_installed_is_told_once(make: Make, tmp_path: Path, smi: Callable[..., None]) -> None:
    smi(GPUS)
    write_folder(tmp_path / "root/m")
    sglang = {**VLLM, "engine": "sglang", "memory_limit": "20GiB"}
    found = looked(make(a=sglang, b=sglang, c={**VLLM, "memory_limit": "20GiB"}, d={**VLLM, "memory_limit": "9GiB", "environment": "other"}))
    assert {id: one.status for id, one in found.items() if id.startswith("engine")} == {"engine:sglang": "fail", "engine:vllm": "ok", "engine:vllm:d": "fail"}
    environment = tmp_path / "root/.venv-sglang"
    assert f"python3 -m venv {environment} && {environment}/bin/pip install" in found["engine:sglang"].next[0]
    assert found["model:a"].status == "ok"


def test_models_that_are_off_are_only_named(make: Make) -> None:
    assert statuses(make(m={**VLLM, "alive": False}))["model:m"] == "skip"


def test_titles_say_what_a_model_is_for(make: Make, tmp_path: Path) -> None:
    tables: dict[str, dict[str, Any]] = {kind: {**LLAMACPP, "kind": kind, "alive": False} for kind in ("chat", "embedding", "rerank")}
    found = looked(make(**tables))
    assert [found[f"model:{kind}"].title[1] for kind in tables] == ["language model chat", "embedding model embedding", "reranker rerank"]


def test_a_reranker_that_is_named_and_not_configured(make: Make) -> None:
    found = looked(make().model_copy(update={"qzbrain_reranker": "nobody"}))
    assert (found["reranker"].status, "nobody" in found["reranker"].evidence[0]) == ("fail", True)


def test_the_built_in_embedder_is_looked_at_where_it_is_used(make_settings: Make) -> None:
    need_embedder()
    assert statuses(make_settings(qzbrain_embedder="auto"))["model:multilingual-e5-small"] == "ok"
    assert "model:multilingual-e5-small" not in statuses(make_settings())


def test_a_running_engines_own_memory_is_not_missing(make_settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine with 10 MiB to spare: started it is well, asleep it would not find room."""
    need_embedder()
    table = {"engine": "llamacpp", "path": str(tiny_model("chat")), "context": 512, "slots": 1, "devices": "none"}
    settings = make_settings(models={"m": table})
    monkeypatch.setattr("qzbrain.models.engines.devices.machine_memory", lambda: (1 << 40, 50 << 20))
    assert statuses(settings)["model:m"] == "warn"
    engines = OnDemandEngines(settings)
    try:
        engines.address("m", timeout_s=30)
        assert statuses(settings)["model:m"] == "ok"
    finally:
        engines.close()


def test_the_doctor_has_them_in_step_5(make: Make, tmp_path: Path) -> None:
    write_gguf(tmp_path / "root/m.gguf")
    assert {"model:m", "engine:llamacpp", "gpu"} <= {one.id for one in examine(make(m=dict(LLAMACPP)), "zh", step=5)}
