"""What is known of a model by its files. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["chat", "embedding", "rerank"]


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """A model as its files describe it. 0 and '' stand for what they do not tell.

    `format`: `pt` is a bare PyTorch state, which no engine takes. `architecture`: GGUF's `general.architecture`, or config.json's `model_type`;
    `classes`: its `architectures`. `kv_values`: numbers that one token leaves in the cache, over all layers; sliding windows are not taken off.
    `latent_cache`: they are one compressed vector a layer for all heads (DeepSeek's MLA), which GPUs cannot share out. `feed_forward`, `width`: of a
    layer. `encoder`: it reads texts and cannot write one. `pooled`: the files say how one vector is made
    of a text. `kind`: what it seems to be made for.
    """

    path: Path
    format: Literal["gguf", "ctranslate2", "safetensors", "pytorch", "pt"]
    architecture: str
    classes: tuple[str, ...]
    weights_bytes: int
    parameters: int
    quantisation: str
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    kv_values: int
    latent_cache: bool
    width: int
    feed_forward: int
    context: int
    vocabulary: int
    kind: Kind
    encoder: bool
    pooled: bool
    has_chat_template: bool
    has_vocabulary: bool

    @property
    def first_qwen(self) -> bool:
        """Qwen's first generation (Qwen-7B, Qwen-72B-Chat): code of its own, and no template in its files."""
        return self.architecture.lower() == "qwen" or "QWenLMHeadModel" in self.classes

    @property
    def chatglm(self) -> bool:
        """ChatGLM-6B to ChatGLM3-6B (and GLM-4-9B in their layout): code of their own for the tokeniser."""
        return self.architecture == "chatglm" or any(name.startswith("ChatGLM") for name in self.classes)


def guessed_kind(*names: str, classifier: bool, pooled: bool, encoder: bool) -> Kind:
    """What a model is for. `names`: its own, its file's; `classifier`: it ends in a score; `pooled`: its files say how a vector is made."""
    said = " ".join(names).lower()
    if classifier or "rerank" in said:
        return "rerank"
    return "embedding" if pooled or encoder or "embedding" in said else "chat"
