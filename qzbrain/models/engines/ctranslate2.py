"""The command line of a model under CTranslate2, which `local_serve.py` starts in the engine's environment. Pure."""

from __future__ import annotations

from pathlib import Path

from qzbrain.models.engines.base import EngineCommand
from qzbrain.models.engines.llamacpp import launched
from qzbrain.settings import ModelSettings


def command(name: str, model: ModelSettings, *, path: Path, python: Path, state: Path, key: str) -> EngineCommand:
    """`state`: where the launcher tells that it listens. On the CPU alone; as many texts at once as there are threads."""
    argv = launched(name, model, path=path, python=python, state=state, slots=1, cpu=True)
    environment: dict[str, str | None] = {"QZBRAIN_ENGINE_KEY": key, "PYTHONPATH": None, "PYTHONHOME": None}
    return EngineCommand((*argv, *model.arguments), environment)
