"""What a GGUF file says of its model, in the names that llama.cpp's converter writes (gguf-py, constants.py)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from qzbrain.models.files import gguf
from qzbrain.models.files.base import ModelFiles, guessed_kind
from qzbrain.models.files.gguf import GgufHeader
from qzbrain.models.files.unreadable import ModelFilesUnreadable

_RANK = 4
_ENCODERS = ("bert", "nomic-bert", "nomic-bert-moe", "neo-bert", "jina-bert-v2", "jina-bert-v3", "modern-bert", "eurobert", "gemma-embedding", "t5encoder")
_PROJECTORS = ("clip",)
FILE_TYPES: Mapping[int, str] = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S",
    15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S",
    25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0",
    38: "MXFP4_MOE", 39: "NVFP4", 40: "Q1_0",
}  # fmt: skip
"""`general.file_type`: how most of the weights are kept."""


def describe(path: Path) -> ModelFiles:
    """See `description.describe`. `path`: the file, or the first part of a split one."""
    header = gguf.read_model(path)
    name = header.text("general.architecture")
    _refuse_parts(path, header, name)
    heads, kv_heads = header.number(f"{name}.attention.head_count"), header.number(f"{name}.attention.head_count_kv")
    width, layers = header.number(f"{name}.embedding_length"), header.number(f"{name}.block_count")
    kv_heads = kv_heads or heads
    head_dim = header.number(f"{name}.attention.key_length") or (width // heads if heads else 0)
    latent = f"{name}.attention.key_length_mla" in header.metadata
    pooling, encoder = header.number(f"{name}.pooling_type"), name in _ENCODERS
    return ModelFiles(
        path=path,
        format="gguf",
        architecture=name,
        classes=(),
        weights_bytes=header.weights_bytes,
        parameters=header.parameters,
        quantisation=_quantisation(header),
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        kv_values=0 if encoder else _kv_values(header, name, layers, kv_heads, head_dim, latent=latent),
        latent_cache=latent,
        width=width,
        feed_forward=header.number(f"{name}.feed_forward_length"),
        context=header.number(f"{name}.context_length"),
        vocabulary=header.lengths.get("tokenizer.ggml.tokens", 0) or header.number(f"{name}.vocab_size"),
        kind=guessed_kind(
            path.name, header.text("general.name"), classifier=pooling == _RANK or "cls.output.weight" in header.tensors, pooled=pooling > 0, encoder=encoder
        ),
        encoder=encoder,
        pooled=pooling > 0,
        has_chat_template=bool(header.text("tokenizer.chat_template")),
        has_vocabulary="tokenizer.ggml.tokens" in header.lengths or bool(header.text("tokenizer.ggml.model")),
    )


def _kv_values(header: GgufHeader, name: str, layers: int, kv_heads: int, head_dim: int, *, latent: bool) -> int:
    """Keys and values of one token. With a latent cache the values are a part of the keys. A layer without heads (a recurrent one) keeps none."""
    value_dim = 0 if latent else header.number(f"{name}.attention.value_length") or head_dim
    heads = header.numbers(f"{name}.attention.head_count_kv")
    if len(heads) > 1:
        return sum(max(0, one) for one in heads[:layers]) * (head_dim + value_dim)
    every = header.number(f"{name}.full_attention_interval")
    return (layers // every if every > 1 else layers) * kv_heads * (head_dim + value_dim)


def _quantisation(header: GgufHeader) -> str:
    """As the file calls it; else the type that most bytes have."""
    if "general.file_type" in header.metadata and (named := FILE_TYPES.get(header.number("general.file_type"))):
        return named
    return max(header.bytes_of_type, key=lambda one: header.bytes_of_type[one], default="")


def _refuse_parts(path: Path, header: GgufHeader, architecture: str) -> None:
    """GGUF files that go with a model and are none."""
    kind = header.text("general.type")
    if kind == "adapter":
        raise ModelFilesUnreadable(
            "not_a_model",
            zh=f"{path} 是 LoRA 适配器，不是完整模型。请把它合并进基座模型后再转换为 GGUF。",
            en=f"{path} is a LoRA adapter, not a whole model. Merge it into its base model and convert that to GGUF.",
        )
    if kind in ("mmproj", "imatrix") or architecture in _PROJECTORS:
        raise ModelFilesUnreadable(
            "not_a_model",
            zh=f"{path} 是模型的附件（{kind or architecture}），不是语言模型本身。请把 path 改为语言模型的 GGUF 文件。",
            en=f"{path} goes with a model ({kind or architecture}) and is not the language model. Set path to the language model's GGUF file.",
        )
    if not architecture or not header.tensors:
        raise ModelFilesUnreadable(
            "not_a_model",
            zh=f"{path} 没有模型架构或权重（可能只含词表）。请换用完整的 GGUF 文件。",
            en=f"{path} names no architecture or has no weights (a vocabulary alone?). Use the whole GGUF file.",
        )
