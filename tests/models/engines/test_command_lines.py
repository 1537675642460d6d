"""The command lines of the engines, word for word. Flags were checked against vLLM 0.33's and SGLang 0.5.23's own parsers (2026-11-28)."""

from __future__ import annotations

from pathlib import Path

from qzbrain.models.engines import ctranslate2, llamacpp, sglang, vllm
from qzbrain.settings import ModelSettings

GIB = 1 << 30
MODEL = Path("/models/Qwen3-8B")
ENVIRONMENT = Path("/opt/venv")


def made(**fields: object) -> ModelSettings:
    return ModelSettings.model_validate({"path": str(MODEL), "context": 32768, "slots": 8, **fields})


def test_vllm_on_two_gpus_with_a_limit() -> None:
    command = vllm.command(
        "qwen", made(engine="vllm", memory_limit="50GiB", arguments=["--enforce-eager"]), path=MODEL, environment=ENVIRONMENT, key="k", devices="0,1",
        parts={"vocabulary": Path("/models/tok"), "config": Path("/models/conf")}, device_bytes=80 * GIB,
    )  # fmt: skip
    assert " ".join(command.argv) == (
        "/opt/venv/bin/vllm serve /models/Qwen3-8B --host 127.0.0.1 --port {port} --served-model-name qwen --max-model-len 32768 --max-num-seqs 8 "
        "--max-num-queued-reqs 16 --tensor-parallel-size 2 --gpu-memory-utilization 0.625 --hf-config-path /models/conf --tokenizer /models/tok "
        "--enforce-eager"
    )
    assert command.environment == {
        "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1", "PYTHONPATH": None, "PYTHONHOME": None,
        "VIRTUAL_ENV": None, "VLLM_API_KEY": "k", "VLLM_NO_USAGE_STATS": "1", "CUDA_VISIBLE_DEVICES": "0,1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }  # fmt: skip
    assert command.health == "/health"
    assert "k" not in command.argv


def test_vllm_for_vectors_with_a_command_of_ones_own() -> None:
    model = made(engine="vllm", kind="embedding", model="bge", command=["/opt/run-vllm", "serve"], context=8192)
    command = vllm.command("vectors", model, path=MODEL, environment=ENVIRONMENT, key="k", devices="3", parts={})
    assert " ".join(command.argv) == (
        "/opt/run-vllm serve /models/Qwen3-8B --host 127.0.0.1 --port {port} --served-model-name bge --max-model-len 8192 --max-num-seqs 8 "
        "--max-num-queued-reqs 16 --runner pooling"
    )
    assert command.environment["CUDA_VISIBLE_DEVICES"] == "3"


def test_sglang_on_four_gpus_with_a_limit() -> None:
    model = made(engine="sglang", memory_limit=72 * GIB)
    secrets = Path("/data/run/engines/qwen.key.yaml")
    command = sglang.command(
        "qwen", model, path=MODEL, environment=ENVIRONMENT, key="k", devices="0,1,2,3", parts={"vocabulary": Path("/t")}, secrets=secrets,
        device_bytes=80 * GIB,
    )  # fmt: skip
    assert " ".join(command.argv) == (
        "/opt/venv/bin/python -m sglang.launch_server --model-path /models/Qwen3-8B --host 127.0.0.1 --port {port} --served-model-name qwen "
        "--context-length 32768 --max-running-requests 8 --max-queued-requests 16 --enable-metrics --config /data/run/engines/qwen.key.yaml "
        "--tp-size 4 --mem-fraction-static 0.9 --tokenizer-path /t"
    )
    assert command.files == {secrets: 'api-key: "k"\n'}


def test_sglang_for_vectors_on_the_cpu() -> None:
    command = sglang.command(
        "vectors", made(engine="sglang", kind="embedding"), path=MODEL, environment=ENVIRONMENT, key="k", devices="", parts={}, secrets=Path("/s")
    )
    assert " ".join(command.argv).endswith("--config /s --device cpu --is-embedding")
    assert command.environment["CUDA_VISIBLE_DEVICES"] == ""


def test_llamacpp_on_the_cpu_and_on_a_gpu() -> None:
    model = made(engine="llamacpp", threads=4, memory_limit="2GiB", context=4096, slots=4)
    fields = {"path": Path("/m.gguf"), "python": Path("/venv/bin/python"), "state": Path("/s.json"), "key": "k"}
    cpu = llamacpp.command("small", model, devices="", **fields)  # type: ignore[arg-type]
    assert " ".join(cpu.argv[2:]) == (
        "--model /m.gguf --alias small --ctx 16384 --parallel 4 --mode chat --state /s.json --threads 4 --memory-limit 2147483648"
    )
    assert cpu.argv[:2] == ("/venv/bin/python", str(llamacpp.LAUNCHER))
    gpu = llamacpp.command("small", model, devices="1", **fields)  # type: ignore[arg-type]
    assert " ".join(gpu.argv[2:]).endswith("--threads 4 --ngl 999")
    assert gpu.environment["CUDA_VISIBLE_DEVICES"] == "1"


def test_ctranslate2_has_the_cpu_alone() -> None:
    table = {"kind": "embedding", "threads": 4, "context": 512, "pooling": "mean", "on_demand": True, "sleep_after_s": 60, "memory_limit": "1GiB"}
    model = made(engine="ctranslate2", devices="0", **table)
    command = ctranslate2.command("e5", model, path=Path("/m"), python=Path("/venv/bin/python"), state=Path("/s.json"), key="k")
    assert command.argv[:2] == ("/venv/bin/python", str(llamacpp.LAUNCHER))
    assert " ".join(command.argv[2:]) == (
        "--model /m --alias e5 --ctx 512 --parallel 1 --mode embedding --state /s.json --threads 4 --pooling mean --memory-limit 1073741824 --sleep-after 60"
    )
    assert "k" not in " ".join(command.argv).split() and command.environment["QZBRAIN_ENGINE_KEY"] == "k"


def test_a_share_of_memory_is_rounded_down_and_leaves_some() -> None:
    assert vllm.share(50 * GIB, 79 * GIB) == "0.632"
    assert vllm.share(100 * GIB, 79 * GIB) == "0.98"
