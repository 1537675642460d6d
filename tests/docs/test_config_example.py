"""docs/examples/config.toml: accepted as it stands and with all that it offers switched on, with the manual's models in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qzbrain.models.engines.validation import problems
from qzbrain.settings import Settings, load_settings
from tests.running import ROOT

EXAMPLE = ROOT / "docs" / "examples" / "config.toml"
MANUAL = {"qzbrain", "qzbrain3", "chatglm2", "cpm9g", "qwen", "llama"}


def loaded(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (tmp_path / "config.toml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("QZBRAIN_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("CURRENT_DIR", str(tmp_path))
    return load_settings()


def test_as_it_stands_it_has_the_manuals_models_two_of_them_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = loaded(EXAMPLE.read_text(encoding="utf-8"), tmp_path, monkeypatch).models
    assert set(models) == MANUAL
    assert {name for name, model in models.items() if model.alive} == {"qzbrain", "qwen"}
    nine = models["cpm9g"]
    assert nine.path and nine.config_path and nine.vocabulary_path
    assert (nine.memory_limit_bytes, models["qwen"].devices) == (50 << 30, "0,1,2,3")


def test_with_everything_switched_on_it_is_accepted_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(re.sub(r"^#(?=[\[a-z])", "", EXAMPLE.read_text(encoding="utf-8"), flags=re.MULTILINE), tmp_path, monkeypatch)
    kinds = {name: model.kind for name, model in settings.models.items()}
    assert {"m3e-large", "bge-m3", "Qwen3-Embedding-0.6B"} <= {name for name, kind in kinds.items() if kind == "embedding"}
    assert [name for name, kind in kinds.items() if kind == "rerank"] == ["Qwen3-Reranker-0.6B"]
    assert sum(model.kind == "embedding" and model.alive for model in settings.models.values()) == 1
    for name in settings.models:
        told = {one.code for one in problems(name, settings, devices=(), memory=(0, 0))}
        assert told <= {"path_missing", "environment_missing", "no_devices"}, (name, told)  # nothing but what this machine lacks
