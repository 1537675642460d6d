"""The command line of a model under CTranslate2, which `local_serve.py` starts in the engine's environment. Pure."""

from __future__ import annotations

from pathlib import Path

from qzbrain.models.engines.base import EngineCommand
from qzbrain.models.engines.llamacpp import LAUNCHER
from qzbrain.settings import ModelSettings


def command(name: str, model: ModelSettings, *, path: Path, python: Path, state: Path, key: str) -> EngineCommand:
    """`state`: where the launcher tells that it listens. On the CPU alone; as many texts at once as there are threads."""
    argv = [
        str(python), str(LAUNCHER), "--model", str(path), "--alias", model.model or name, "--ctx", str(model.context), "--parallel", "1",
        "--mode", model.kind, "--state", str(state),
    ]  # fmt: skip
    if model.threads:
        argv += ["--threads", str(model.threads)]
    if model.pooling:
        argv += ["--pooling", model.pooling]
    if model.memory_limit_bytes:
        argv += ["--memory-limit", str(model.memory_limit_bytes)]
    if model.on_demand:
        argv += ["--sleep-after", f"{model.sleep_after_s:g}"]
    environment: dict[str, str | None] = {"QZBRAIN_ENGINE_KEY": key, "PYTHONPATH": None, "PYTHONHOME": None}
    return EngineCommand((*argv, *model.arguments), environment)
