"""The command line of llama.cpp's server, which `local_serve.py` starts in the engine's environment. Pure."""

from __future__ import annotations

from pathlib import Path

from qzbrain.models.engines.base import EngineCommand
from qzbrain.settings import ModelSettings

LAUNCHER = Path(__file__).parent / "launchers" / "local_serve.py"
ALL_LAYERS = 999
SPINS = "20000"
"""How often llama.cpp's threads look for each other before they sleep. Without a bound, with all cores busy, one text takes four times as long
(2026-11-22). With 2,000 a thread is asleep before the other one has woken up: a short question after a pause took 30 to 40 ms instead of 10 to 15
(2026-11-29)."""


def launched(name: str, model: ModelSettings, *, path: Path, python: Path, state: Path, slots: int, cpu: bool) -> list[str]:
    """What the launcher is told of any model. `slots`: texts that share the context; `cpu`: `memory_limit` is of the machine's memory."""
    argv = [
        str(python), str(LAUNCHER), "--model", str(path), "--alias", model.model or name, "--ctx", str(model.context * slots),
        "--parallel", str(slots), "--mode", model.kind, "--state", str(state),
    ]  # fmt: skip
    if model.threads:
        argv += ["--threads", str(model.threads)]
    if model.pooling:
        argv += ["--pooling", model.pooling]
    if model.memory_limit_bytes and cpu:
        argv += ["--memory-limit", str(model.memory_limit_bytes)]
    if model.on_demand:
        argv += ["--sleep-after", f"{model.sleep_after_s:g}"]
    return argv


def command(name: str, model: ModelSettings, *, path: Path, python: Path, state: Path, key: str, devices: str) -> EngineCommand:
    """`state`: where the launcher tells that it listens. `devices`: GPUs by number, '' for none.

    llama.cpp splits its context across slots, so it is asked for all of them together.
    """
    argv = launched(name, model, path=path, python=python, state=state, slots=model.slots, cpu=not devices)
    if devices:
        argv += ["--ngl", str(ALL_LAYERS)]
    environment: dict[str, str | None] = {
        "QZBRAIN_ENGINE_KEY": key,
        "GOMP_SPINCOUNT": SPINS,
        "CUDA_VISIBLE_DEVICES": devices,
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # the numbers that nvidia-smi shows
        "PYTHONPATH": None,
        "PYTHONHOME": None,
    }
    return EngineCommand((*argv, *model.arguments), environment)
