"""What config.json says of a model, under the many names that its authors gave the same things. Pure: takes what was read, trusts nothing of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Config = Mapping[str, Any]
_LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers")
_HEADS = ("num_attention_heads", "num_heads", "n_head", "n_heads")
_WIDTH = ("hidden_size", "dim_model", "n_embd", "d_model")
_FEED_FORWARD = ("intermediate_size", "ffn_hidden_size", "dim_ff", "n_inner")
_HEAD_DIM = ("head_dim", "kv_channels", "dim_head")
_CONTEXT = ("max_position_embeddings", "seq_length", "n_positions", "max_sequence_length", "max_length")
_VOCABULARY = ("vocab_size", "padded_vocab_size")
_INNER = ("text_config", "llm_config", "language_config", "thinker_config")
_STRETCHED = ("yarn", "linear", "dynamic")
_BITS = {"float32": "F32", "float16": "F16", "bfloat16": "BF16"}
_POSITION_OFFSET = {"roberta": 2, "xlm-roberta": 2, "camembert": 2}
"""Positions that these give to padding: a table of 514 is for texts of 512."""


def language_part(config: Config) -> Config:
    """Of a model that sees or hears as well: what concerns its language, under the whole."""
    inner = next((config[name] for name in _INNER if isinstance(config.get(name), dict)), None)
    return {**config, **{key: value for key, value in inner.items() if value is not None}} if inner else config


def number(config: Config, *names: str) -> int:
    """The first of these names that holds a positive number; 0 when none does."""
    for name in names:
        value = config.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < 1 << 62:
            return int(value)
    return 0


def text(config: Config, *names: str) -> str:
    """The first of these names that holds a text; '' when none does."""
    return next((value for name in names if isinstance(value := config.get(name), str) and value), "")


def texts(config: Config, name: str) -> tuple[str, ...]:
    """A list of texts; () for anything else."""
    value = config.get(name)
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def layers(config: Config) -> int:
    """Its layers."""
    return number(config, *_LAYERS)


def heads(config: Config) -> int:
    """Attention heads of a layer."""
    return number(config, *_HEADS)


def width(config: Config) -> int:
    """Its hidden size."""
    return number(config, *_WIDTH)


def feed_forward(config: Config) -> int:
    """Width of the layer's feed-forward part."""
    return number(config, *_FEED_FORWARD)


def vocabulary(config: Config) -> int:
    """Number of tokens."""
    return number(config, *_VOCABULARY)


def kv_heads(config: Config) -> int:
    """Heads of keys and values: fewer than attention heads where they share (GQA, MQA)."""
    if config.get("multi_query_attention") is True:
        return number(config, "multi_query_group_num") or 1
    if config.get("multi_query") is True and not config.get("new_decoder_architecture"):
        return 1
    return number(config, "num_key_value_heads", "num_kv_heads") or heads(config)


def head_dim(config: Config) -> int:
    """Numbers of one key."""
    return number(config, *_HEAD_DIM) or (width(config) // heads(config) if heads(config) else 0)


def is_latent(config: Config) -> bool:
    """Whether keys and values are kept as one compressed vector (MLA)."""
    return number(config, "kv_lora_rank") > 0


def kv_values(config: Config) -> int:
    """Numbers that a token leaves in the cache, over all layers that have attention."""
    kinds = texts(config, "layer_types")
    every = number(config, "full_attention_interval")
    with_attention = sum("linear" not in kind and "recurrent" not in kind and kind != "conv" for kind in kinds)
    if not kinds:
        with_attention = layers(config) // every if every > 1 else layers(config)
    if is_latent(config):
        return with_attention * (number(config, "kv_lora_rank") + number(config, "qk_rope_head_dim"))
    return with_attention * kv_heads(config) * (head_dim(config) + (number(config, "v_head_dim") or head_dim(config)))


def context(config: Config) -> int:
    """Longest text in tokens, stretched positions (YaRN) counted."""
    longest = number(config, *_CONTEXT)
    longest -= _POSITION_OFFSET.get(text(config, "model_type"), 0) if longest > 2 else 0
    scaling = config.get("rope_scaling") or config.get("rope_parameters")
    if not isinstance(scaling, dict) or text(scaling, "rope_type", "type") not in _STRETCHED:
        return longest
    factor = scaling.get("factor")
    original = number(scaling, "original_max_position_embeddings") or longest
    return max(longest, int(original * factor)) if isinstance(factor, (int, float)) and 1 <= factor <= 1000 else longest


def quantisation(config: Config) -> str:
    """`BF16`, or the method where weights are packed: `AWQ 4 bit`; '' when it is not said."""
    packed = config.get("quantization_config")
    if isinstance(packed, dict):
        bits = number(packed, "bits", "w_bit")
        return f"{text(packed, 'quant_method').upper() or '?'}{f' {bits} bit' if bits else ''}"
    kept = text(config, "torch_dtype", "dtype")
    if not kept and (config.get("bf16") is True or config.get("fp16") is True):
        kept = "bfloat16" if config.get("bf16") is True else "float16"
    return _BITS.get(kept.removeprefix("torch."), kept)
