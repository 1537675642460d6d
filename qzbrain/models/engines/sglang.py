"""The command line of SGLang's server. Pure. Flags as of SGLang 0.5.23 (checked against its own server arguments, 2026-11-28)."""

from __future__ import annotations

from pathlib import Path

from qzbrain.models.engines.base import PORT, EngineCommand
from qzbrain.models.engines.offline import OFFLINE
from qzbrain.models.engines.vllm import QUEUE, share
from qzbrain.settings import ModelSettings


def command(
    name: str,
    model: ModelSettings,
    *,
    path: Path,
    environment: Path,
    key: str,
    devices: str,
    parts: dict[str, Path],
    secrets: Path,
    device_bytes: int = 0,
) -> EngineCommand:
    """As `vllm.command`. SGLang takes its key from the command line or a configuration file only: `secrets` is that file.

    A reranker is not told `--is-embedding`: SGLang's rerank route wants a generating model for Qwen3-Reranker and finds out about cross-encoders itself.
    A configuration that lies apart cannot be named; `validation.py` refuses it.
    """
    program = model.command or (str(environment / "bin" / "python"), "-m", "sglang.launch_server")
    argv = [
        *program, "--model-path", str(path), "--host", "127.0.0.1", "--port", PORT, "--served-model-name", model.model or name,
        "--context-length", str(model.context), "--max-running-requests", str(model.slots), "--max-queued-requests", str(QUEUE),
        "--enable-metrics", "--config", str(secrets),
    ]  # fmt: skip
    count = len(devices.split(",")) if devices else 0
    argv += ["--tp-size", str(count)] if count > 1 else []
    argv += ["--device", "cpu"] if not devices else []
    if model.memory_limit_bytes and device_bytes:
        argv += ["--mem-fraction-static", share(model.memory_limit_bytes, device_bytes)]
    if model.kind == "embedding":
        argv += ["--is-embedding"]
    if "vocabulary" in parts:
        argv += ["--tokenizer-path", str(parts["vocabulary"])]
    environment_variables = {**OFFLINE, "CUDA_VISIBLE_DEVICES": devices, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    return EngineCommand((*argv, *model.arguments), environment_variables, files={secrets: f'api-key: "{key}"\n'}, health="/health")
