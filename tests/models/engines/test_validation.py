"""What is wrong with a model's configuration: each problem by its code, in both languages, with the key of config.toml and the next step."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qzbrain.models.engines.base import Device, Problem
from qzbrain.models.engines.validation import all_problems, examined_all, problems
from qzbrain.settings import Settings
from tests.local_engine import tiny_encoder
from tests.models.files.model_files import CHAT_TENSORS, F16, chat_metadata, gguf_bytes, write_folder, write_gguf
from tests.models.files.test_description import CHATGLM2, CPM9G, DEEPSEEK, QWEN_72B, XLM_R

GIB = 1 << 30
FOUR = tuple(Device(n, "NVIDIA A100-SXM4-80GB", 80 * GIB, 79 * GIB) for n in range(4))
MEMORY = (64 * GIB, 60 * GIB)
LLAMACPP = {"engine": "llamacpp", "path": "m.gguf", "context": 1024, "slots": 2, "devices": "none"}
VLLM = {"engine": "vllm", "path": "m", "context": 1024, "slots": 2, "devices": "0"}

HAN = re.compile("[\u4e00-\u9fff]")

Make = Callable[..., Settings]


@pytest.fixture
def make(tmp_path: Path, make_settings: Make) -> Make:
    """Settings over `tmp_path/root` with engines' environments in it, and the models given by name."""

    def made(**models: dict[str, Any]) -> Settings:
        for engine, package in (("vllm", "vllm-0.33.1"), ("sglang", "sglang-0.5.23"), ("local", "xllamacpp-1.0"), ("local", "ctranslate2-1.0")):
            site = tmp_path / f"root/.venv-{engine}/lib/python3.11/site-packages"
            (site / package.partition("-")[0]).mkdir(parents=True, exist_ok=True)
            (site / f"{package}.dist-info").mkdir(exist_ok=True)
            (tmp_path / f"root/.venv-{engine}/bin").mkdir(exist_ok=True)
            (tmp_path / f"root/.venv-{engine}/bin/python").touch()
        for table in models.values():
            if table["engine"] in ("llamacpp", "ctranslate2"):
                table.setdefault("environment", ".venv-local")
        return make_settings(current_dir=tmp_path / "root", models=models)

    return made


def found(settings: Settings, name: str = "m", *, devices: tuple[Device, ...] = FOUR, memory: tuple[int, int] = MEMORY, held: int = 0) -> dict[str, Problem]:
    told = problems(name, settings, devices=devices, memory=memory, held=held)
    for one in told:
        assert f"[models.{name}]" in one.zh and f"[models.{name}]" in one.en
        assert one.zh.endswith("。") or one.code == "environment_missing"  # which ends with a command to copy
        assert HAN.search(one.zh) and not HAN.search(one.en)
    assert len({one.code for one in told}) == len(told)
    return {one.code: one for one in told}


def errors(told: dict[str, Problem]) -> set[str]:
    return {code for code, one in told.items() if one.severity == "error"}


def test_a_good_configuration_has_no_problem(make: Make, tmp_path: Path) -> None:
    write_gguf(tmp_path / "root/m.gguf")
    write_folder(tmp_path / "root/pretrained_models/m")
    assert found(make(m=dict(LLAMACPP))) == {}
    assert found(make(m={**LLAMACPP, "devices": "0,1"})) == {}
    assert found(make(m=dict(VLLM))) == {}
    assert found(make(m={**VLLM, "engine": "sglang", "devices": "0,1"})) == {}


def test_ctranslate2_and_its_folders(make: Make, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_encoder(), tmp_path / "root/m"))
    table = {"engine": "ctranslate2", "path": "m", "kind": "embedding", "context": 64, "pooling": "mean"}
    assert found(make(m=dict(table))) == {}
    assert found(make(m={**table, "devices": "none"})) == {}
    told = found(make(m={**table, "pooling": ""}))
    assert (set(told), errors(told)) == ({"pooling"}, set()) and '"cls"' in told["pooling"].zh
    told = found(make(m={**table, "devices": "0"}))
    assert (set(told), errors(told)) == ({"no_effect"}, set()) and "devices" in told["no_effect"].en
    assert errors(found(make(m={**table, "kind": "chat", "pooling": ""}))) == {"kind"}
    assert found(make(m={**table, "context": 8192}))["context"].en.endswith("Set context = 64.")
    (folder / "sentencepiece.bpe.model").unlink()
    told = found(make(m=dict(table)))
    assert errors(told) == {"incomplete"} and "sentencepiece.bpe.model" in told["incomplete"].zh


@pytest.mark.parametrize("engine", ["llamacpp", "vllm"])
def test_a_folder_for_ctranslate2_under_another_engine(make: Make, tmp_path: Path, engine: str) -> None:
    shutil.copytree(tiny_encoder(), tmp_path / "root/m")
    table = {"engine": engine, "path": "m", "kind": "embedding", "context": 64, "pooling": "mean", "devices": "0"}
    told = found(make(m=table))
    assert errors(told) == {"wrong_format"} and 'engine = "ctranslate2"' in told["wrong_format"].zh


def test_other_files_under_ctranslate2(make: Make, tmp_path: Path) -> None:
    table = {"engine": "ctranslate2", "path": "m", "kind": "embedding", "context": 64}
    write_folder(tmp_path / "root/m", XLM_R)
    told = found(make(m=dict(table)))
    assert errors(told) == {"wrong_format"}
    for said in ("ct2-transformers-converter", str(tmp_path / "root/m-int8"), "--copy_files sentencepiece.bpe.model"):
        assert said in told["wrong_format"].zh and said in told["wrong_format"].en
    write_gguf(tmp_path / "root/m.gguf")
    assert 'engine = "llamacpp"' in found(make(m={**table, "path": "m.gguf", "kind": "chat"}))["wrong_format"].en
    assert "environment_missing" in found(make(m={**table, "environment": "elsewhere"}))


def test_a_path_that_is_not_there_names_where_it_looked_and_what_is_near(make: Make, tmp_path: Path) -> None:
    write_gguf(tmp_path / "root/pretrained_models/Qwen3-4B-Q4_K_M.gguf")
    told = found(make(m={**LLAMACPP, "path": "qwen3-4b-q4_K_S.gguf"}))
    (one,) = told.values()
    assert one.code == "path_missing"
    for place in ("root/qwen3-4b", "root/pretrained_models/qwen3-4b", "data/models/qwen3-4b", "root/pretrained_models/Qwen3-4B-Q4_K_M.gguf"):
        assert str(tmp_path / place) in one.zh and str(tmp_path / place) in one.en
    assert set(found(make(m={**LLAMACPP, "path": "a/b/c.gguf"}))) == {"path_missing"}
    assert set(found(make(m={**LLAMACPP, "path": ""}))) == {"path_missing"}
    write_folder(tmp_path / "root/m")
    assert "vocabulary_path" in found(make(m={**VLLM, "vocabulary_path": "nowhere"}))["path_missing"].en
    assert "config_path" in found(make(m={**VLLM, "config_path": "nowhere"}))["path_missing"].en


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "incomplete", "git lfs pull"),
        (gguf_bytes(chat_metadata(), CHAT_TENSORS)[:-9000], "incomplete", "bytes"),
        (b"hello", "not_a_model", "GGUF"),
        (b"GGUF" + b"\xff" * 50, "not_a_model", "version"),
    ],
)
def test_files_that_cannot_be_used(make: Make, tmp_path: Path, content: bytes, code: str, said: str) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/m.gguf").write_bytes(content)
    told = found(make(m=dict(LLAMACPP)))
    assert errors(told) == set(told) == {code}
    assert said in told[code].en and "[models.m] path" in told[code].en


def test_shards_that_are_missing(make: Make, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "root/m", weights=False)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-00001-of-00001.safetensors"}}))
    assert "model-00001-of-00001.safetensors" in found(make(m=dict(VLLM)))["incomplete"].zh


def test_formats_and_engines(make: Make, tmp_path: Path) -> None:
    write_folder(tmp_path / "root/m")
    told = found(make(m={**LLAMACPP, "path": "m"}))
    assert errors(told) == {"wrong_format"}
    assert f"convert_hf_to_gguf.py {tmp_path / 'root/m'} --outfile {tmp_path / 'root/m.gguf'}" in told["wrong_format"].zh
    write_gguf(tmp_path / "root/m.gguf")
    assert found(make(m={**VLLM, "path": "m.gguf"}))["wrong_format"].severity == "warning"
    for part, metadata in ((1, chat_metadata()), (2, {"split.no": 1})):
        (tmp_path / f"root/s-0000{part}-of-00002.gguf").write_bytes(gguf_bytes(metadata, {f"t{part}": ((256, 2), F16)}))
    assert errors(found(make(m={**VLLM, "path": "s-00001-of-00002.gguf"}))) == {"wrong_format"}


def test_devices(make: Make, tmp_path: Path) -> None:
    write_folder(tmp_path / "root/m")
    write_gguf(tmp_path / "root/m.gguf")
    told = found(make(m={**VLLM, "devices": "0,3"}), devices=FOUR[:2])
    assert errors(told) == {"device_missing"}
    assert "GPU 3" in told["device_missing"].en and "0, 1" in told["device_missing"].zh
    assert errors(found(make(m=dict(VLLM)), devices=())) == {"no_devices"}
    assert set(found(make(m={**VLLM, "devices": "none"}))) == {"no_devices"}
    assert errors(found(make(m={**VLLM, "devices": ""}))) == {"no_devices"}
    assert errors(found(make(m={**LLAMACPP, "devices": "GPU-3f"}))) == {"device_invalid"}
    assert found(make(m=dict(LLAMACPP)), devices=()) == {}
    settings = make(m={**LLAMACPP, "devices": ""}).model_copy(update={"cuda_visible_devices": "7"})
    assert errors(found(settings)) == {"device_missing"}


@pytest.mark.parametrize(
    ("config", "devices", "fits"),
    [
        ({}, "0,1", True), ({}, "0,1,2", False), ({}, "0,1,2,3", True),  # 8 heads, 2 of keys and values
        ({"num_attention_heads": 6, "num_key_value_heads": 6}, "0,1,2,3", False), ({"num_key_value_heads": 3, "num_attention_heads": 12}, "0,1", False),
        (DEEPSEEK, "0,1,2,3", True),
    ],
)  # fmt: skip
def test_heads_that_gpus_cannot_share(make: Make, tmp_path: Path, config: dict[str, Any], devices: str, fits: bool) -> None:
    write_folder(tmp_path / "root/m", config)
    assert errors(found(make(m={**VLLM, "devices": devices}))) == (set() if fits else {"tensor_parallel"})


def large(path: Path, gib: float, **changes: Any) -> Path:
    """A GGUF of many GiB that takes no room on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = gguf_bytes(chat_metadata(**changes), {"t": ((1024, int(gib * GIB / 2048)), F16)}, weights=False)
    path.write_bytes(header)
    with path.open("r+b") as file:
        file.truncate(len(header) + int(gib * GIB))
    return path


def test_memory_is_an_error_when_weights_alone_are_too_large(make: Make, tmp_path: Path) -> None:
    large(tmp_path / "root/m.gguf", 70)
    told = found(make(m=dict(LLAMACPP)))
    assert errors(told) == {"memory"}
    assert "70.0 GiB" in told["memory"].en and "64.0 GiB" in told["memory"].zh
    assert found(make(m={**LLAMACPP, "devices": "0"})) == {}
    small = tuple(Device(n, "RTX", 24 * GIB, 23 * GIB) for n in range(4))
    assert errors(found(make(m={**LLAMACPP, "devices": "0,1"}), devices=small)) == {"memory"}
    assert found(make(m={**LLAMACPP, "devices": "0,1,2,3"}), devices=small) == {}


def test_memory_is_a_warning_when_only_the_estimate_is_too_large(make: Make, tmp_path: Path) -> None:
    large(tmp_path / "root/m.gguf", 20, block_count=64, head_count_kv=8, **{"attention.key_length": 128, "context_length": 40960})
    one_slot = 64 * 8 * 256 * 2 * 8192  # 2 GiB
    told = found(make(m={**LLAMACPP, "context": 8192, "slots": 32}))
    assert (set(told), errors(told)) == ({"memory"}, set())
    fitting = int(told["memory"].en.partition("Set slots = ")[2].partition(",")[0])
    assert (64 - 20) * GIB // one_slot - 2 <= fitting <= (64 - 20) * GIB // one_slot
    assert found(make(m={**LLAMACPP, "context": 8192, "slots": fitting}), memory=(64 * GIB, 64 * GIB)) == {}
    assert "memory" in found(make(m={**LLAMACPP, "context": 8192, "slots": fitting + 1}), memory=(64 * GIB, 64 * GIB))
    told = found(make(m={**LLAMACPP, "context": 32768, "slots": 8}), memory=(24 * GIB, 24 * GIB))
    assert "slots = 1 and context = " in told["memory"].en


def test_what_is_free_now_counts_and_what_its_own_engine_holds_is_free(make: Make, tmp_path: Path) -> None:
    large(tmp_path / "root/m.gguf", 20)
    busy = (Device(0, "RTX", 24 * GIB, 2 * GIB),)
    settings = make(m={**LLAMACPP, "devices": "0"})
    told = found(settings, devices=busy)
    assert (set(told), errors(told)) == ({"memory"}, set())
    assert "free now" in told["memory"].en
    assert found(settings, devices=busy, held=21 * GIB) == {}


def test_a_devices_memory_that_nobody_knows_is_not_held_against_a_model(make: Make, tmp_path: Path) -> None:
    large(tmp_path / "root/m.gguf", 200)
    assert found(make(m={**LLAMACPP, "devices": "0"}), devices=(Device(0, "NVIDIA GB10", 0, 0),)) == {}
    assert found(make(m=dict(LLAMACPP)), memory=(0, 0)) == {}


def test_the_models_own_bound(make: Make, tmp_path: Path) -> None:
    large(tmp_path / "root/m.gguf", 20)
    assert errors(found(make(m={**LLAMACPP, "devices": "0", "memory_limit": "10GiB"}))) == {"memory"}
    told = found(make(m={**LLAMACPP, "devices": "0", "memory_limit": "20550MiB"}))
    assert (set(told), errors(told)) == ({"memory"}, set())
    assert found(make(m={**LLAMACPP, "devices": "0", "memory_limit": "50GiB"})) == {}
    told = found(make(m={**LLAMACPP, "devices": "0", "memory_limit": "90GiB"}))
    assert (set(told), errors(told)) == ({"memory_limit"}, set())


def together(settings: Settings, devices: tuple[Device, ...] = FOUR) -> dict[str, set[tuple[str, str]]]:
    told = examined_all(settings, devices=devices, memory=MEMORY)
    return {name: {(one.code, one.severity) for one in examined.problems} for name, examined in told.items() if examined.problems}


def test_two_that_are_alive_share_a_device(make: Make, tmp_path: Path) -> None:
    for name, gib in (("a", 50), ("b", 50), ("c", 29)):
        large(tmp_path / f"root/{name}.gguf", gib)
    tables = {name: {**LLAMACPP, "path": f"{name}.gguf", "devices": "0"} for name in "abc"}
    assert together(make(a=tables["a"], b=tables["b"])) == {"b": {("memory_shared", "error")}}
    assert together(make(a=tables["a"], c=tables["c"])) == {"c": {("memory_shared", "warning")}}
    assert together(make(a=tables["a"], b={**tables["b"], "devices": "1"})) == {}
    assert together(make(a=tables["a"], b={**tables["b"], "alive": False})) == {}
    cpu = {name: {**table, "devices": "none"} for name, table in tables.items()}
    assert together(make(a=cpu["a"], b=cpu["b"])) == {"b": {("memory_shared", "error")}}


def test_an_engine_without_a_bound_takes_the_device_from_others(make: Make, tmp_path: Path) -> None:
    write_folder(tmp_path / "root/m")
    assert together(make(a={**VLLM, "memory_limit": "20GiB"}, b=dict(VLLM))) == {"b": {("memory_shared", "warning")}}
    assert together(make(a={**VLLM, "memory_limit": "20GiB"}, b={**VLLM, "memory_limit": "20GiB"})) == {}


def test_all_problems_asks_this_machine(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gguf(tmp_path / "root/m.gguf")
    monkeypatch.setenv("PATH", str(tmp_path))
    external = {"engine": "external", "base_url": "http://127.0.0.1:1/v1"}
    told = all_problems(make(m=dict(LLAMACPP), off={**LLAMACPP, "alive": False}, away=external, gpu={**LLAMACPP, "devices": "0"}))
    told.pop("multilingual-e5-small", None)  # where the set-up has installed it
    assert {name: [one.code for one in found] for name, found in told.items()} == {"m": [], "gpu": ["no_devices"]}
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho Failed to initialize NVML: Driver/library version mismatch\nexit 18\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    assert [one.code for one in all_problems(make(gpu={**LLAMACPP, "devices": "0"}))["gpu"]] == ["driver", "no_devices"]


def test_first_generation_qwen_by_the_engine_that_is_installed(make: Make, tmp_path: Path) -> None:
    write_folder(tmp_path / "root/m", QWEN_72B)
    settings = make(m=dict(VLLM))
    told = found(settings)
    assert errors(told) == {"engine_dropped"}
    for said in ("0.23", "0.33.1", 'engine = "sglang"', "convert_hf_to_gguf.py"):
        assert said in told["engine_dropped"].zh and said in told["engine_dropped"].en
    assert found(make(m={**VLLM, "engine": "sglang"})) == {}
    site = tmp_path / "root/.venv-vllm/lib/python3.11/site-packages"
    (site / "vllm-0.33.1.dist-info").rename(site / "vllm-0.23.4.dist-info")
    assert found(settings) == {}
    own = {**VLLM, "command": ["sh", "-c", "old-vllm"]}
    assert found(make(m=own))["engine_dropped"].severity == "warning"


def test_chatglm_is_warned_of(make: Make, tmp_path: Path) -> None:
    write_folder(tmp_path / "root/m", CHATGLM2)
    told = found(make(m=dict(VLLM)))
    assert (set(told), errors(told)) == ({"engine_dropped"}, set())
    assert "transformers<5" in told["engine_dropped"].zh


@pytest.mark.parametrize("engine", ["llamacpp", "vllm"])
def test_the_manuals_nine_needs_conversion(make: Make, tmp_path: Path, engine: str) -> None:
    (tmp_path / "root/nine").mkdir(parents=True)
    with zipfile.ZipFile(tmp_path / "root/nine/cpm9g.pt", "w") as archive:
        archive.writestr("archive/data/0", bytes(1000))
    (tmp_path / "root/nine/config.json").write_text(json.dumps(CPM9G))
    (tmp_path / "root/nine/vocabs.txt").write_text("a\n")
    table = {"engine": engine, "path": "nine/cpm9g.pt", "config_path": "nine/config.json", "vocabulary_path": "nine/vocabs.txt", "devices": "0"}
    told = found(make(m=table))
    assert errors(told) == set(told) == {"needs_conversion"}
    for said in ("safetensors", "convert_hf_to_gguf.py", "docs/examples/config.toml", "tokenizer.model"):
        assert said in told["needs_conversion"].zh and said in told["needs_conversion"].en


def test_environments(make: Make, tmp_path: Path) -> None:
    write_folder(tmp_path / "root/m")
    settings = make(m=dict(VLLM))
    environment = tmp_path / "root/.venv-vllm"
    (environment / "lib/python3.11/site-packages/vllm").rmdir()
    assert found(settings)["environment_missing"].en.endswith(f"Run: {environment}/bin/pip install vllm")
    (environment / "bin/python").unlink()
    told = found(settings)["environment_missing"]
    assert f"python3 -m venv {environment} && {environment}/bin/pip install vllm" in told.en
    assert errors({"environment_missing": told}) == {"environment_missing"}
    assert found(make(m={**VLLM, "environment": "elsewhere"}))["environment_missing"].en.count("elsewhere") >= 2
    assert "no-such" in found(make(m={**VLLM, "command": ["/opt/no-such/vllm", "serve"]}))["environment_missing"].zh
    assert "environment_missing" not in found(make(m={**VLLM, "command": ["sh"]}))


def test_kinds(make: Make, tmp_path: Path) -> None:
    write_folder(tmp_path / "root/m", XLM_R)
    assert errors(found(make(m=dict(VLLM)))) == {"kind"}
    assert found(make(m={**VLLM, "kind": "embedding"})) == {}
    write_folder(tmp_path / "root/m")
    told = found(make(m={**VLLM, "kind": "embedding"}))
    assert (set(told), errors(told)) == ({"kind"}, set())


def test_template_context_tokeniser_and_pooling(make: Make, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "root/m", template=False)
    told = found(make(m={**VLLM, "context": 40000}))
    assert (set(told), errors(told)) == ({"no_chat_template", "context"}, set())
    assert "context = 32768" in told["context"].zh
    assert found(make(m={**VLLM, "arguments": ["--chat-template", "x.jinja"]})) == {}
    (folder / "tokenizer_config.json").unlink()
    assert errors(found(make(m=dict(VLLM)))) == {"incomplete"}
    write_gguf(tmp_path / "root/m.gguf", chat_template=None)
    assert set(found(make(m=dict(LLAMACPP)))) == {"no_chat_template"}
    write_gguf(tmp_path / "root/embedding.gguf")
    embedder = {**LLAMACPP, "path": "embedding.gguf", "kind": "embedding"}
    assert errors(found(make(m=dict(embedder)))) == {"pooling"}
    assert found(make(m={**embedder, "pooling": "last"})) == {}


@pytest.mark.parametrize(
    ("table", "code", "severity"),
    [
        ({**VLLM, "on_demand": True}, "on_demand", "error"),
        ({**VLLM, "base_url": "http://x/v1"}, "base_url", "warning"),
        ({"engine": "external", "base_url": "http://x/v1", "path": "m"}, "path", "warning"),
        ({"engine": "external", "base_url": "http://x/v1", "memory_limit": "1GiB"}, "memory_limit", "warning"),
        ({**VLLM, "pooling": "mean"}, "no_effect", "warning"),
        ({**LLAMACPP, "command": ["x"], "path": "m.gguf"}, "no_effect", "warning"),
    ],
)
def test_keys_that_do_not_go_with_the_engine(make: Make, tmp_path: Path, table: dict[str, Any], code: str, severity: str) -> None:
    write_folder(tmp_path / "root/m")
    write_gguf(tmp_path / "root/m.gguf")
    told = found(make(m=dict(table)))
    assert {name: one.severity for name, one in told.items()} == {code: severity}
