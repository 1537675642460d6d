"""Tiny models made on the spot: chat, embedding and reranking, with random weights, for a real llama.cpp. `python tiny_models.py FOLDER`

Run by the Python of the engine's environment (gguf, numpy). Words mean nothing to them, but all the machinery is real: tokens, context,
slots, pooling. Vocabularies are made without training: bytes for chat; single characters for the others, whatever is not among them [UNK].
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np

WIDTH, LAYERS, HEADS, FEED_FORWARD = 64, 2, 4, 128
CHAT_CONTEXT, BERT_CONTEXT = 4096, 512
TEMPLATE = (
    "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\n'}}{% endif %}"
)


def chat(path: Path) -> None:
    """Qwen3's architecture over bytes."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens = [*special, *_byte_characters()]
    random = np.random.default_rng(0)
    key_heads, head = 2, WIDTH // HEADS
    writer = gguf.GGUFWriter(path, "qwen3")
    writer.add_name("tiny-chat")
    writer.add_context_length(CHAT_CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(key_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e4)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if one in special else gguf.TokenType.NORMAL for one in tokens])
    writer.add_token_merges(["e r"])  # llama.cpp wants a list; one merge of two bytes whose result is no token does nothing
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    writer.add_tensor("token_embd.weight", _matrix(random, len(tokens), WIDTH))
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for layer in range(LAYERS):
        shapes = {
            "attn_q": (HEADS * head, WIDTH), "attn_k": (key_heads * head, WIDTH), "attn_v": (key_heads * head, WIDTH), "attn_output": (WIDTH, HEADS * head),
            "ffn_gate": (FEED_FORWARD, WIDTH), "ffn_up": (FEED_FORWARD, WIDTH), "ffn_down": (WIDTH, FEED_FORWARD),
        }  # fmt: skip
        for name, shape in shapes.items():
            writer.add_tensor(f"blk.{layer}.{name}.weight", _matrix(random, *shape))
        for name, size in {"attn_norm": WIDTH, "ffn_norm": WIDTH, "attn_q_norm": head, "attn_k_norm": head}.items():
            writer.add_tensor(f"blk.{layer}.{name}.weight", np.ones(size, np.float32))
    _finish(writer)


def _byte_characters() -> list[str]:
    """The 256 characters that stand for bytes in GPT-2's vocabulary."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [one for one in range(256) if one not in printable]
    shown = {**{one: chr(one) for one in printable}, **{one: chr(256 + n) for n, one in enumerate(others)}}
    return [shown[one] for one in range(256)]


def bert(path: Path, *, rerank: bool) -> None:
    """A BERT: mean pooling, or a classifier's score."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    characters = [chr(one) for one in (*range(33, 127), *range(0x4E00, 0x9FA6))]
    tokens = [*special, *("\u2581" + one for one in characters), *(one for one in characters if ord(one) < 127)]
    random = np.random.default_rng(2 if rerank else 1)
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_name("tiny-rerank" if rerank else "tiny-embedding")
    writer.add_context_length(BERT_CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.RANK if rerank else gguf.PoolingType.MEAN)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_tokenizer_model("bert")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_types([gguf.TokenType.CONTROL if one in special else gguf.TokenType.NORMAL for one in tokens])
    writer.add_token_type_count(2)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(3)
    writer.add_sep_token_id(3)
    writer.add_unk_token_id(1)
    writer.add_pad_token_id(0)
    writer.add_mask_token_id(4)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)
    writer.add_add_sep_token(True)
    writer.add_tensor("token_embd.weight", _matrix(random, len(tokens), WIDTH))
    writer.add_tensor("position_embd.weight", _matrix(random, BERT_CONTEXT, WIDTH).astype(np.float32))
    writer.add_tensor("token_types.weight", _matrix(random, 2, WIDTH).astype(np.float32))
    _add_norm(writer, "token_embd_norm")
    for layer in range(LAYERS):
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            _add_linear(writer, random, f"blk.{layer}.{name}", WIDTH, WIDTH)
        _add_linear(writer, random, f"blk.{layer}.ffn_up", FEED_FORWARD, WIDTH)
        _add_linear(writer, random, f"blk.{layer}.ffn_down", WIDTH, FEED_FORWARD)
        _add_norm(writer, f"blk.{layer}.attn_output_norm")
        _add_norm(writer, f"blk.{layer}.layer_output_norm")
    if rerank:
        _add_linear(writer, random, "cls", WIDTH, WIDTH)
        _add_linear(writer, random, "cls.output", 1, WIDTH)
    _finish(writer)


def _matrix(random: Any, *shape: int) -> Any:
    return (random.standard_normal(shape) * 0.05).astype(np.float16)


def _add_norm(writer: Any, name: str) -> None:
    writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
    writer.add_tensor(f"{name}.bias", np.zeros(WIDTH, np.float32))


def _add_linear(writer: Any, random: Any, name: str, rows: int, columns: int) -> None:
    writer.add_tensor(f"{name}.weight", _matrix(random, rows, columns))
    writer.add_tensor(f"{name}.bias", np.zeros(rows, np.float32))


def _finish(writer: Any) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    chat(folder / "chat.gguf")
    bert(folder / "embedding.gguf", rerank=False)
    bert(folder / "rerank.gguf", rerank=True)
