"""What the tiny BERT models of tiny_models.py give, computed with numpy alone: `python tiny_reference.py MODEL.gguf < TEXTS.json > VECTORS.json`

After the papers (BERT, Devlin et al. 2019), not after llama.cpp. A text is characters, whatever is unknown [UNK]; `question TAB passage` is a pair.
"""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import gguf
import numpy as np

HEADS = 4
UNKNOWN, BEGIN, SEPARATOR = 1, 2, 3


class Bert:
    """One model's tensors by name, float32."""

    def __init__(self, path: str) -> None:
        reader = gguf.GGUFReader(path)
        self.tensors = {one.name: np.asarray(one.data, np.float32).reshape([int(n) for n in reversed(one.shape)]) for one in reader.tensors}
        field = reader.fields["tokenizer.ggml.tokens"]
        self.words = {bytes(field.parts[at]).decode(): number for number, at in enumerate(field.data)}

    def tokens(self, text: str) -> list[int]:
        """A Chinese character is a word; of an English one only its first letter has the word mark."""
        found = []
        for word in "".join(f" {one} " if ord(one) > 0x2E7F else one for one in text.lower()).split():
            found += [self.words.get(("\u2581" if n == 0 else "") + one, UNKNOWN) for n, one in enumerate(word)]
        return found

    def states(self, ids: list[int]) -> Any:
        """(tokens, width) after the last layer."""
        t = self.tensors
        x = t["token_embd.weight"][ids] + t["position_embd.weight"][: len(ids)] + t["token_types.weight"][0]
        x = self._norm(x, "token_embd_norm")
        for layer in range(sum(name.endswith("attn_q.weight") for name in t)):
            b = f"blk.{layer}."
            x = self._norm(x + self._linear(self._attention(x, b), b + "attn_output"), b + "attn_output_norm")
            x = self._norm(x + self._linear(_gelu(self._linear(x, b + "ffn_up")), b + "ffn_down"), b + "layer_output_norm")
        return x

    def embedding(self, text: str) -> Any:
        """Mean of all tokens, unit length."""
        mean = self.states([BEGIN, *self.tokens(text), SEPARATOR]).mean(axis=0)
        return mean / np.linalg.norm(mean)

    def score(self, pair: str) -> Any:
        """The classifier over the first token."""
        question, _, passage = pair.partition("\t")
        first = self.states([BEGIN, *self.tokens(question), SEPARATOR, *self.tokens(passage), SEPARATOR])[:1]
        return self._linear(np.tanh(self._linear(first, "cls")), "cls.output")[0]

    def _linear(self, x: Any, name: str) -> Any:
        return x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]

    def _norm(self, x: Any, name: str) -> Any:
        middle = x - x.mean(axis=-1, keepdims=True)
        return middle / np.sqrt((middle**2).mean(axis=-1, keepdims=True) + 1e-12) * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]

    def _attention(self, x: Any, block: str) -> Any:
        q, k, v = (self._linear(x, f"{block}attn_{one}").reshape(len(x), HEADS, -1).transpose(1, 0, 2) for one in "qkv")
        weights = np.exp(q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1]))
        weights /= weights.sum(axis=-1, keepdims=True)
        return (weights @ v).transpose(1, 0, 2).reshape(len(x), -1)


def _gelu(x: Any) -> Any:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


if __name__ == "__main__":
    model = Bert(sys.argv[1])
    make = model.score if "cls.weight" in model.tensors else model.embedding
    json.dump([make(text).tolist() for text in json.load(sys.stdin)], sys.stdout)
