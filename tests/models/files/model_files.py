"""Model files written by hand, after the formats' descriptions: GGUF, safetensors, and Hugging Face's folders. Not by the reader's own constants."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

UINT32, FLOAT32, BOOL, STRING, ARRAY, UINT64, INT32 = 4, 6, 7, 8, 9, 10, 5
F32, F16, Q4_K, Q8_0 = 0, 1, 12, 8
BYTES = {F32: (1, 4), F16: (1, 2), Q4_K: (256, 144), Q8_0: (32, 34)}


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def value_bytes(value: Any) -> bytes:
    """Type and value as GGUF keeps them."""
    match value:
        case bool():
            return struct.pack("<I?", BOOL, value)
        case int():
            return struct.pack("<II", UINT32, value)
        case float():
            return struct.pack("<If", FLOAT32, value)
        case str():
            return struct.pack("<I", STRING) + text(value)
        case [str(), *_]:
            return struct.pack("<IIQ", ARRAY, STRING, len(value)) + b"".join(text(one) for one in value)
        case _:
            return struct.pack(f"<IIQ{len(value)}i", ARRAY, INT32, len(value), *value)


def gguf_bytes(metadata: dict[str, Any], tensors: dict[str, tuple[tuple[int, ...], int]], *, version: int = 3, weights: bool = True) -> bytes:
    """A file; its weights are zeros. `tensors`: shape and type by name."""
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    out += b"".join(text(key) + value_bytes(value) for key, value in metadata.items())
    offset = 0
    for name, (shape, kind) in tensors.items():
        elements = 1
        for one in shape:
            elements *= one
        out += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)
        block, size = BYTES[kind]
        offset += -(-(elements // block * size) // 32) * 32
    return out + bytes(-len(out) % 32) + (bytes(offset) if weights else b"")


def chat_metadata(architecture: str = "qwen3", **changes: Any) -> dict[str, Any]:
    """A small chat model; `changes` by the key's end, with None for one that is left out."""
    name = architecture
    values: dict[str, Any] = {
        "general.architecture": name, "general.name": "small", "general.file_type": 15, f"{name}.context_length": 4096, f"{name}.embedding_length": 256,
        f"{name}.block_count": 4, f"{name}.feed_forward_length": 1024, f"{name}.attention.head_count": 8, f"{name}.attention.head_count_kv": 2,
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.tokens": ["a", "b", "c"], "tokenizer.chat_template": "{{ messages }}",
    }  # fmt: skip
    for key, value in changes.items():
        full = next((one for one in values if one.rpartition(".")[2] == key), f"{name}.{key}")
        values[full] = value
    return {key: value for key, value in values.items() if value is not None}


CHAT_TENSORS = {"token_embd.weight": ((256, 300), Q4_K), "blk.0.attn_q.weight": ((256, 256), F16), "output_norm.weight": ((256,), F32)}
CHAT_BYTES = 300 * 144 + 256 * 256 * 2 + 256 * 4


def write_gguf(path: Path, architecture: str = "qwen3", **changes: Any) -> Path:
    """A whole small chat model."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gguf_bytes(chat_metadata(architecture, **changes), CHAT_TENSORS))
    return path


def safetensors_bytes(tensors: dict[str, tuple[str, tuple[int, ...], int]], *, weights: bool = True) -> bytes:
    """`tensors`: type, shape and bytes by name."""
    described: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape, size) in tensors.items():
        described[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    header = json.dumps(described).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + (bytes(end) if weights else b"")


ONE_TENSOR = {"model.embed_tokens.weight": ("BF16", (100, 64), 12_800)}
QWEN2 = {
    "model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "num_hidden_layers": 4, "num_attention_heads": 8, "num_key_value_heads": 2,
    "hidden_size": 256, "intermediate_size": 1024, "max_position_embeddings": 32768, "vocab_size": 1000, "torch_dtype": "bfloat16",
}  # fmt: skip


def write_folder(folder: Path, config: dict[str, Any] | None = None, *, weights: bool = True, template: bool = True) -> Path:
    """A whole folder with one file of weights; `config` is laid over Qwen2's, None leaves a key out."""
    folder.mkdir(parents=True, exist_ok=True)
    values = {key: value for key, value in {**QWEN2, **(config or {})}.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(values))
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"} if template else {}))
    if weights:
        (folder / "model.safetensors").write_bytes(safetensors_bytes(ONE_TENSOR))
    return folder
