"""What a model is, by the names that each family gives its figures; and what lies where a model should be and is none."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from qzbrain.models.files.description import ModelFiles, describe
from qzbrain.models.files.unreadable import ModelFilesUnreadable
from tests.local_engine import need_embedder, tiny_encoder, tiny_model
from tests.models.files.model_files import CHAT_BYTES, CHAT_TENSORS, ONE_TENSOR, chat_metadata, gguf_bytes, safetensors_bytes, write_folder, write_gguf

CHATGLM2 = {
    "model_type": "chatglm", "architectures": ["ChatGLMModel"], "num_layers": 28, "num_attention_heads": 32, "hidden_size": 4096, "kv_channels": 128,
    "multi_query_attention": True, "multi_query_group_num": 2, "ffn_hidden_size": 13696, "seq_length": 32768, "padded_vocab_size": 65024,
    "torch_dtype": "float16", "num_hidden_layers": None, "num_key_value_heads": None, "max_position_embeddings": None, "vocab_size": None,
}  # fmt: skip
QWEN_72B = {
    "model_type": "qwen", "architectures": ["QWenLMHeadModel"], "num_hidden_layers": 80, "num_attention_heads": 64, "hidden_size": 8192,
    "kv_channels": 128, "seq_length": 32768, "max_position_embeddings": 32768, "vocab_size": 152064, "bf16": True,
    "torch_dtype": None, "num_key_value_heads": None,
}  # fmt: skip
DEEPSEEK = {
    "model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"], "num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128,
    "kv_lora_rank": 512, "qk_rope_head_dim": 64, "v_head_dim": 128, "quantization_config": {"quant_method": "fp8"},
}  # fmt: skip
XLM_R = {
    "model_type": "xlm-roberta", "architectures": ["XLMRobertaModel"], "num_hidden_layers": 24, "num_attention_heads": 16, "num_key_value_heads": None,
    "hidden_size": 1024, "max_position_embeddings": 8194, "vocab_size": 250002, "torch_dtype": "float32",
}  # fmt: skip
CPM9G = {"dim_model": 4096, "num_heads": 32, "num_kv_heads": 8, "dim_head": 128, "num_layers": 48, "dim_ff": 14336, "vocab_size": 119696, "bf16": True}


def torch_file(path: Path, size: int = 100_000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data/0", bytes(size))
    return path


def refused(path: Path, **apart: Path) -> ModelFilesUnreadable:
    with pytest.raises(ModelFilesUnreadable) as told:
        describe(path, **apart)
    return told.value


def shape(files: ModelFiles) -> tuple[Any, ...]:
    return files.architecture, files.layers, files.heads, files.kv_heads, files.head_dim, files.kv_values, files.context, files.kind


def test_a_gguf_chat_model(tmp_path: Path) -> None:
    files = describe(write_gguf(tmp_path / "m.gguf"))
    assert shape(files) == ("qwen3", 4, 8, 2, 32, 4 * 2 * 64, 4096, "chat")
    assert (files.format, files.quantisation, files.weights_bytes, files.vocabulary, files.has_chat_template) == ("gguf", "Q4_K_M", CHAT_BYTES, 3, True)
    assert not describe(write_gguf(tmp_path / "n.gguf", chat_template=None)).has_chat_template
    assert describe(write_gguf(tmp_path / "o.gguf", "qwen")).first_qwen


@pytest.mark.parametrize(
    ("changes", "kv_values"),
    [
        ({"attention.key_length": 128, "attention.value_length": 64}, 4 * 2 * 192),
        ({"head_count_kv": [2, 0, 0, 1]}, 3 * 64),  # two layers without attention
        ({"full_attention_interval": 4}, 2 * 64),
        ({"head_count_kv": 1, "attention.key_length": 576, "attention.value_length": 512, "attention.key_length_mla": 192}, 4 * 576),
    ],
)
def test_the_cache_of_a_gguf_model(tmp_path: Path, changes: dict[str, Any], kv_values: int) -> None:
    assert describe(write_gguf(tmp_path / "m.gguf", **changes)).kv_values == kv_values


@pytest.mark.parametrize(
    ("name", "kind", "encoder"), [("chat", "chat", False), ("embedding", "embedding", True), ("rerank", "rerank", True), ("e5", "embedding", True)]
)
def test_what_real_files_are_for(name: str, kind: str, encoder: bool) -> None:
    files = describe(need_embedder() if name == "e5" else tiny_model(name))
    assert (files.kind, files.encoder, files.has_vocabulary) == (kind, encoder, True)
    assert (files.kv_values == 0) == encoder


def test_a_folder_for_ctranslate2() -> None:
    files = describe(need_embedder())
    assert (files.format, files.layers, files.heads, files.width, files.feed_forward, files.context) == ("ctranslate2", 12, 12, 384, 1536, 512)
    assert (files.quantisation, files.vocabulary) == ("INT8", 116_545) and 60e6 < files.parameters < 70e6 < 2 * files.weights_bytes


@pytest.mark.parametrize(
    ("content", "code", "said"),
    [
        (lambda whole: whole[:-1000], "incomplete", "breaks off"),
        (lambda whole: whole[:100], "incomplete", "breaks off"),
        (lambda whole: b"", "incomplete", "empty"),
        (lambda whole: b"\xff" * 3000, "not_a_model", "version"),
        (lambda whole: whole[:4] + b"\xff\xff" + whole[6:], "incomplete", "model of CTranslate2"),
        (lambda whole: whole.replace(b"TransformerEncoderSpec", b"TransformerDecoderSpec"), "wrong_format", "TransformerDecoderSpec"),
        (lambda whole: whole.replace(b"embeddings_0/weight\0", b"embeddings_9/weight\0"), "incomplete", "weights are missing"),
        (lambda whole: b"<html>" + whole, "not_a_model", "web page"),
        (lambda whole: b"version https://git-lfs.github.com/spec/v1", "incomplete", "git lfs pull"),
    ],
)
def test_a_folder_for_ctranslate2_that_cannot_be_used(tmp_path: Path, content: Callable[[bytes], bytes], code: str, said: str) -> None:
    folder = Path(shutil.copytree(tiny_encoder(), tmp_path / "m"))
    assert describe(folder).kind == "embedding"
    (folder / "model.bin").write_bytes(content((folder / "model.bin").read_bytes()))
    told = refused(folder)
    assert (told.code, said in told.en) == (code, True)


def test_a_folder_for_ctranslate2_without_its_vocabulary(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_encoder(), tmp_path / "m"))
    (folder / "sentencepiece.bpe.model").unlink()
    assert not describe(folder).has_vocabulary
    (folder / "vocabulary.json").unlink()
    assert refused(folder).code == "incomplete"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"general.type": "adapter"}, "LoRA"),
        ({"general.type": "mmproj"}, "language model"),
        ({"general.architecture": "clip"}, "language model"),
        (None, "vocabulary"),
    ],
)
def test_a_gguf_that_is_no_language_model(tmp_path: Path, changes: dict[str, Any] | None, said: str) -> None:
    (tmp_path / "m.gguf").write_bytes(gguf_bytes({**chat_metadata(), **(changes or {})}, CHAT_TENSORS if changes else {}))
    told = refused(tmp_path / "m.gguf")
    assert (told.code, said in told.en) == ("not_a_model", True)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, ("qwen2", 4, 8, 2, 32, 4 * 2 * 64, 32768, "chat")),
        (CHATGLM2, ("chatglm", 28, 32, 2, 128, 28 * 2 * 256, 32768, "chat")),
        (QWEN_72B, ("qwen", 80, 64, 64, 128, 80 * 64 * 256, 32768, "chat")),
        (DEEPSEEK, ("deepseek_v3", 61, 128, 128, 2, 61 * 576, 32768, "chat")),
        (XLM_R, ("xlm-roberta", 24, 16, 16, 64, 0, 8192, "embedding")),
        ({**XLM_R, "architectures": ["XLMRobertaForSequenceClassification"]}, ("xlm-roberta", 24, 16, 16, 64, 0, 8192, "rerank")),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}}, ("qwen2", 4, 8, 2, 32, 512, 131072, "chat")),
        ({"layer_types": ["linear_attention"] * 3 + ["full_attention"]}, ("qwen2", 4, 8, 2, 32, 128, 32768, "chat")),
        ({"text_config": {"num_hidden_layers": 2, "model_type": "qwen2_text"}}, ("qwen2_text", 2, 8, 2, 32, 256, 32768, "chat")),
    ],
)
def test_a_folders_figures(tmp_path: Path, config: dict[str, Any], expected: tuple[Any, ...]) -> None:
    files = describe(write_folder(tmp_path / "m", config))
    assert shape(files) == expected
    assert (files.format, files.weights_bytes, files.has_chat_template) == ("safetensors", 12_800, True)


def test_families_that_engines_treat_apart(tmp_path: Path) -> None:
    qwen, glm = describe(write_folder(tmp_path / "q", QWEN_72B, template=False)), describe(write_folder(tmp_path / "g", CHATGLM2))
    assert (qwen.first_qwen, qwen.chatglm, qwen.has_chat_template, qwen.quantisation) == (True, False, False, "BF16")
    assert (glm.first_qwen, glm.chatglm, glm.vocabulary) == (False, True, 65024)
    assert not describe(write_folder(tmp_path / "q2")).first_qwen
    assert describe(write_folder(tmp_path / "d", DEEPSEEK)).latent_cache


def test_quantisation_and_parameters(tmp_path: Path) -> None:
    packed = describe(write_folder(tmp_path / "a", {"quantization_config": {"quant_method": "awq", "bits": 4}}))
    assert (packed.quantisation, packed.parameters) == ("AWQ 4 bit", 0)
    plain = describe(write_folder(tmp_path / "b"))
    assert (plain.quantisation, plain.parameters) == ("BF16", 6400)
    folder = write_folder(tmp_path / "c", {"torch_dtype": "float32"}, weights=False)
    size = torch_file(folder / "pytorch_model.bin").stat().st_size
    binary = describe(folder)
    assert (binary.format, binary.weights_bytes, binary.parameters) == ("pytorch", size, size // 4)


def test_an_embedder_that_is_built_like_a_chat_model(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m")
    (folder / "modules.json").write_text("[]")
    files = describe(folder)
    assert (files.kind, files.encoder, files.pooled) == ("embedding", False, True)
    assert describe(write_folder(tmp_path / "Qwen3-Reranker-0.6B")).kind == "rerank"


def test_the_manuals_model_with_three_paths(tmp_path: Path) -> None:
    weights = torch_file(tmp_path / "w/cpm9g.pt")
    assert "config_path" in refused(weights).en
    (tmp_path / "c").mkdir()
    (tmp_path / "c/config.json").write_text(json.dumps(CPM9G))
    files = describe(weights, config_path=tmp_path / "c/config.json", vocabulary_path=tmp_path / "vocabs.txt")
    assert (files.format, files.layers, files.kv_values, files.has_vocabulary) == ("pt", 48, 48 * 8 * 256, True)
    assert describe(weights, config_path=tmp_path / "c").layers == 48
    (tmp_path / "w/config.json").write_text(json.dumps(CPM9G))
    assert describe(tmp_path / "w").format == "pt"


def test_what_lies_in_a_models_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter/adapter_config.json").write_text("{}")
    assert "merge_and_unload" in refused(tmp_path / "adapter").en
    write_gguf(tmp_path / "ggufs/x-Q4.gguf")
    told = refused(tmp_path / "ggufs")
    assert (told.code, str(tmp_path / "ggufs/x-Q4.gguf") in told.zh) == ("wrong_format", True)
    write_folder(tmp_path / "outer/inner")
    assert str(tmp_path / "outer/inner") in refused(tmp_path / "outer").en
    (tmp_path / "empty").mkdir()
    assert "config.json" in refused(tmp_path / "empty").en
    assert refused(tmp_path / "nowhere").code == "path_missing"
    (tmp_path / "text.gguf").write_text("hello")
    assert refused(tmp_path / "text.gguf").code == "not_a_model"


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"num_hidden_layers": -3}', '{"num_hidden_layers": "many"}', '{"num_hidden_layers": 1e999}', "\0" * 100]
)
def test_a_hostile_configuration_is_refused(tmp_path: Path, content: str) -> None:
    folder = write_folder(tmp_path / "m")
    (folder / "config.json").write_text(content)
    assert refused(folder).code in ("not_a_model", "incomplete")


@pytest.mark.parametrize(
    "config",
    [
        {"num_attention_heads": 0}, {"num_attention_heads": [1]}, {"architectures": "x", "model_type": 7}, {"rope_scaling": {"type": "yarn", "factor": "x"}},
        {"rope_scaling": {"type": "yarn", "factor": 1e300}}, {"layer_types": [1, 2]}, {"quantization_config": {"bits": "x"}}, {"text_config": {"a": 1}},
        {"torch_dtype": 3}, {"max_position_embeddings": -5},
    ],
)  # fmt: skip
def test_strange_values_do_no_harm(tmp_path: Path, config: dict[str, Any]) -> None:
    files = describe(write_folder(tmp_path / "m", config))
    assert files.layers == 4
    assert files.kv_values >= 0 and 0 <= files.context < 1 << 40


def test_several_shards_are_summed(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "m", weights=False)
    for number in (1, 2):
        (folder / f"model-0000{number}-of-00002.safetensors").write_bytes(safetensors_bytes(ONE_TENSOR))
    assert describe(folder).weights_bytes == 25_600
