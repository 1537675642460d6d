"""The tiny embedding model computed by numpy from its own file: what llama.cpp must give. `python tiny_reference.py MODEL.gguf TEXT…` prints JSON.

Texts of Han characters only: each is a token of its own. BERT as published (Devlin et al., 2019): post-norm, GELU, mean over all tokens, unit length.
"""

from __future__ import annotations

import json
import math
import sys

import gguf
import numpy as np

HEADS = 4


def main() -> None:
    reader = gguf.GGUFReader(sys.argv[1])
    weights = {one.name: np.asarray(one.data, np.float64).reshape(tuple(int(n) for n in reversed(one.shape))) for one in reader.tensors}
    field = reader.fields["tokenizer.ggml.tokens"]
    number = {bytes(field.parts[part]).decode(): n for n, part in enumerate(field.data)}
    print(json.dumps([embed(weights, [2, *(number["\u2581" + one] for one in text), 3]).tolist() for text in sys.argv[2:]]))


def embed(w: dict[str, np.ndarray], tokens: list[int]) -> np.ndarray:
    x = w["token_embd.weight"][tokens] + w["position_embd.weight"][: len(tokens)] + w["token_types.weight"][0]
    x = norm(w, "token_embd_norm", x)
    layer = 0
    while f"blk.{layer}.attn_q.weight" in w:
        name = f"blk.{layer}"
        x = norm(w, f"{name}.attn_output_norm", x + attention(w, name, x))
        hidden = linear(w, f"{name}.ffn_up", x)
        hidden = hidden * 0.5 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
        x = norm(w, f"{name}.layer_output_norm", x + linear(w, f"{name}.ffn_down", hidden))
        layer += 1
    mean = x.mean(axis=0)
    return mean / np.linalg.norm(mean)


def attention(w: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    q, k, v = (linear(w, f"{name}.attn_{one}", x).reshape(len(x), HEADS, -1).transpose(1, 0, 2) for one in "qkv")
    scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed = (scores / scores.sum(axis=-1, keepdims=True)) @ v
    return linear(w, f"{name}.attn_output", mixed.transpose(1, 0, 2).reshape(len(x), -1))


def linear(w: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0)


def norm(w: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-12) * w[f"{name}.weight"] + w[f"{name}.bias"]


if __name__ == "__main__":
    main()
