"""Models that `qzbrain model pull` knows by name: where their file lies, how large it is, its hash, its licence, and how it is configured.

Sizes and hashes are those of the files at the named revisions on Hugging Face, as several public projects that pin them agree (looked up 2026-11-28).
A file that comes with another hash, from whichever hub, is not kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class KnownModel:
    """`revision`: of Hugging Face; ModelScope has the file on `master`. `memory_mb`: with the configuration given here. `settings`: for `[models.NAME]`."""

    name: str
    kind: Literal["chat", "embedding", "rerank"]
    repository: str
    revision: str
    file: str
    size_bytes: int
    sha256: str
    licence: str
    memory_mb: int
    zh: str
    en: str
    settings: Mapping[str, Any] = field(default_factory=dict)


_CHAT: Mapping[str, Any] = {"engine": "llamacpp", "on_demand": True, "context": 8192, "slots": 2}
_PASSAGES: Mapping[str, Any] = {"engine": "llamacpp", "on_demand": True, "context": 1024, "slots": 2}
_QWEN_QUERY = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"

MODELS: tuple[KnownModel, ...] = (
    KnownModel(
        "Qwen3-0.6B", "chat", "Qwen/Qwen3-0.6B-GGUF", "23749fefcc72300e3a2ad315e1317431b06b590a", "Qwen3-0.6B-Q8_0.gguf",
        639_446_688, "9465e63a22add5354d9bb4b99e90117043c7124007664907259bd16d043bb031", "Apache-2.0", 2600,
        "最小的对话模型，用于试用和很弱的机器", "the smallest chat model: for trying things, and for weak machines", _CHAT,
    ),
    KnownModel(
        "Qwen3-1.7B", "chat", "Qwen/Qwen3-1.7B-GGUF", "90862c4b9d2787eaed51d12237eafdfe7c5f6077", "Qwen3-1.7B-Q8_0.gguf",
        1_834_426_016, "061b54daade076b5d3362dac252678d17da8c68f07560be70818cace6590cb1a", "Apache-2.0", 3900,
        "较小的对话模型，4 核以上的机器可用", "a small chat model, usable on four cores and more", _CHAT,
    ),
    KnownModel(
        "Qwen3-4B", "chat", "Qwen/Qwen3-4B-GGUF", "bc640142c66e1fdd12af0bd68f40445458f3869b", "Qwen3-4B-Q4_K_M.gguf",
        2_497_280_256, "7485fe6f11af29433bc51cab58009521f205840f5b4ae3a32fa7f92e8534fdf5", "Apache-2.0", 5100,
        "质量与速度均衡的对话模型", "a chat model that balances quality and speed", _CHAT,
    ),
    KnownModel(
        "Qwen3-8B", "chat", "Qwen/Qwen3-8B-GGUF", "7c41481f57cb95916b40956ab2f0b139b296d974", "Qwen3-8B-Q4_K_M.gguf",
        5_027_783_488, "d98cdcbd03e17ce47681435b5150e34c1417f50b5c0019dd560e4882c5745785", "Apache-2.0", 7600,
        "较好的对话模型，建议使用 GPU", "a better chat model; a GPU is advised", _CHAT,
    ),
    KnownModel(
        "Qwen3-Embedding-0.6B", "embedding", "Qwen/Qwen3-Embedding-0.6B-GGUF", "370f27d7550e0def9b39c1f16d3fbaa13aa67728",
        "Qwen3-Embedding-0.6B-Q8_0.gguf", 639_150_592, "06507c7b42688469c4e7298b0a1e16deff06caf291cf0a5b278c308249c3e439", "Apache-2.0", 1600,
        "多语言向量模型，1024 维", "a multilingual embedder, 1024 wide", {**_PASSAGES, "pooling": "last", "query_prefix": _QWEN_QUERY},
    ),
    KnownModel(
        "bge-m3", "embedding", "gpustack/bge-m3-GGUF", "2d48f1737679ad900d5c26c5aad5410e9c70fdca", "bge-m3-Q8_0.gguf",
        634_553_760, "950f4a8e5e19477a6d3c26d2f162233c20002c601f75e4b002e3239997821167", "MIT", 1800,
        "多语言向量模型，1024 维", "a multilingual embedder, 1024 wide", {**_PASSAGES, "pooling": "cls"},
    ),
    KnownModel(
        "Qwen3-Reranker-0.6B", "rerank", "ggml-org/Qwen3-Reranker-0.6B-Q8_0-GGUF", "a02f48bb4f057028298c21fa033da2b30d7742d5",
        "qwen3-reranker-0.6b-q8_0.gguf", 639_153_184, "22c9979ce4fbcdc5acdc310c6641c32797eff1aa980b8f7a2db8a8ea23429a48", "Apache-2.0", 1600,
        "重排模型；在 CPU 上每次提问需数秒", "a reranker; on a CPU some seconds a question", _PASSAGES,
    ),
)  # fmt: skip


def known(name: str) -> KnownModel | None:
    """The model of this name, whatever the case of its letters."""
    return next((one for one in MODELS if one.name.lower() == name.lower()), None)


def of_file(sha256: str) -> KnownModel | None:
    """The model whose file has this hash."""
    return next((one for one in MODELS if one.sha256 == sha256), None)
