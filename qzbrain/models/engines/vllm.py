"""The command line of vLLM's server. Pure. Flags as of vLLM 0.33 (checked against its own parser, 2026-11-28)."""

from __future__ import annotations

from pathlib import Path

from qzbrain.models.engines.base import PORT, EngineCommand
from qzbrain.models.engines.offline import OFFLINE
from qzbrain.settings import ModelSettings

QUEUE = 16
"""Requests that it may keep waiting itself before it answers 503: the brain's own queue is the fair one."""


def command(
    name: str, model: ModelSettings, *, path: Path, environment: Path, key: str, devices: str, parts: dict[str, Path], device_bytes: int = 0
) -> EngineCommand:
    """`devices`: GPUs by number, '' for the CPU. `parts`: `config` and `vocabulary` where they lie apart. `device_bytes`: memory of the smallest device.

    The key comes in the environment, where other users of the machine do not see it. A memory limit is a share of each device's memory there.
    """
    program = model.command or (str(environment / "bin" / "vllm"), "serve")
    argv = [
        *program, str(path), "--host", "127.0.0.1", "--port", PORT, "--served-model-name", model.model or name,
        "--max-model-len", str(model.context), "--max-num-seqs", str(model.slots), "--max-num-queued-reqs", str(QUEUE),
    ]  # fmt: skip
    count = len(devices.split(",")) if devices else 0
    if count > 1:
        argv += ["--tensor-parallel-size", str(count)]
    if model.memory_limit_bytes and device_bytes:
        argv += ["--gpu-memory-utilization", share(model.memory_limit_bytes, device_bytes)]
    if model.kind != "chat":
        argv += ["--runner", "pooling"]
    if "config" in parts:
        argv += ["--hf-config-path", str(parts["config"])]
    if "vocabulary" in parts:
        argv += ["--tokenizer", str(parts["vocabulary"])]
    return EngineCommand(
        (*argv, *model.arguments),
        {**OFFLINE, "VLLM_API_KEY": key, "VLLM_NO_USAGE_STATS": "1", "CUDA_VISIBLE_DEVICES": devices, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"},
        health="/health",
    )


def share(limit_bytes: int, device_bytes: int) -> str:
    """The limit as a part of a device's memory, rounded down to a thousandth, never above .98."""
    return f"{min(0.98, int(1000 * limit_bytes / device_bytes) / 1000):g}"
