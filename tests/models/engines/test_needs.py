"""The estimate of memory: its arithmetic, and against what a real llama.cpp takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
import urllib3

from qzbrain.models.catalog import E5_SMALL, all_models
from qzbrain.models.engines.needs import estimate, shown
from qzbrain.models.engines.on_demand import OnDemandEngines
from qzbrain.models.files.description import describe
from qzbrain.settings import Settings
from tests.local_engine import need_embedder, tiny_model
from tests.models.files.model_files import CHAT_BYTES, write_folder, write_gguf
from tests.models.files.test_description import DEEPSEEK, QWEN_72B, XLM_R

MIB = 1 << 20


def test_weights_and_cache_of_llama_cpp(tmp_path: Path) -> None:
    needs = estimate(describe(write_gguf(tmp_path / "m.gguf")), context=1000, slots=3, gpu=False)
    assert needs.weights == CHAT_BYTES
    assert needs.kv_cache == 4 * 2 * (32 + 32) * 2 * 1024 * 3  # llama.cpp makes whole blocks of 256
    assert needs.total == needs.weights + needs.kv_cache + needs.overhead
    assert 64 * MIB < needs.overhead < 100 * MIB


def test_gpus_add_their_own(tmp_path: Path) -> None:
    files = describe(write_gguf(tmp_path / "m.gguf"))
    one, two = (estimate(files, context=1024, slots=1, tensor_parallel=count) for count in (1, 2))
    assert (two.weights, two.kv_cache, two.overhead - one.overhead) == (one.weights, one.kv_cache, 512 * MIB)


def test_the_manuals_large_model(tmp_path: Path) -> None:
    needs = estimate(describe(write_folder(tmp_path / "m", QWEN_72B)), context=8192, slots=2, tensor_parallel=4)
    assert needs.kv_cache == 2 * 80 * 64 * 128 * 2 * 8192 * 2
    assert 4 * 2048 * MIB < needs.overhead < 4 * 4096 * MIB


def test_heads_are_kept_more_than_once_and_a_latent_cache_on_every_gpu(tmp_path: Path) -> None:
    shared, latent = describe(write_folder(tmp_path / "m")), describe(write_folder(tmp_path / "d", DEEPSEEK))
    once = estimate(shared, context=1024, slots=1).kv_cache
    assert [estimate(shared, context=1024, slots=1, tensor_parallel=count).kv_cache // once for count in (2, 4, 8)] == [1, 2, 4]
    assert estimate(latent, context=1024, slots=1, tensor_parallel=8).kv_cache == 8 * 61 * 576 * 2 * 1024


def test_an_embedder_has_no_cache_and_four_bytes_become_two(tmp_path: Path) -> None:
    needs = estimate(describe(write_folder(tmp_path / "m", XLM_R)), context=512, slots=8)
    assert (needs.weights, needs.kv_cache) == (6400, 0)


def resident(engines: OnDemandEngines, name: str) -> int:
    running = engines.running(name)
    assert running is not None
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{running.pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def call(engines: OnDemandEngines, name: str, route: str, body: dict[str, object]) -> None:
    url = engines.address(name, timeout_s=30)
    headers = {"content-type": "application/json", "authorization": f"Bearer {engines.key(name)}"}
    reply = urllib3.request("POST", f"{url}/{route}", body=orjson.dumps({"model": name, **body}), headers=headers, retries=False)
    assert reply.status == 200, reply.data


@pytest.mark.parametrize(("kind", "context", "slots"), [("e5", 512, 2), ("embedding", 512, 2), ("chat", 4096, 4)])
def test_a_real_engine_takes_no_more_and_not_much_less(make_settings: Callable[..., Settings], kind: str, context: int, slots: int) -> None:
    """After a call that fills its batch. Within 60 MiB and a third: a process's own share varies with its libraries."""
    need_embedder()
    model = all_models(make_settings())[E5_SMALL].model_copy(update={"context": context, "slots": slots})
    if kind != "e5":
        model = model.model_copy(update={"engine": "llamacpp", "kind": kind, "pooling": "mean" * (kind != "chat"), "path": str(tiny_model(kind))})
    settings = make_settings(models={"m": model})
    engines = OnDemandEngines(settings)
    try:
        if kind == "chat":
            call(engines, "m", "chat/completions", {"messages": [{"role": "user", "content": "a" * 3000}], "max_tokens": 4})
        else:
            call(engines, "m", "embeddings", {"input": ["罚款与许可" * ((context - 12) // 5)] * slots})
        real, needs = resident(engines, "m"), estimate(describe(Path(model.path)), context=context, slots=slots, kind=model.kind, gpu=False)
    finally:
        engines.close()
    print(f"{kind}: {needs.total / MIB:.0f} MiB estimated, {real / MIB:.0f} MiB seen")
    assert real < needs.total
    assert needs.total - real < 60 * MIB + real // 3


@pytest.mark.parametrize(("size", "text"), [(512 * MIB, "512 MiB"), (3 << 29, "1.5 GiB"), (0, "0 MiB")])
def test_sizes_for_a_reader(size: int, text: str) -> None:
    assert shown(size) == text
