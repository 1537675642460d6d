"""What a folder for CTranslate2 says: the names and sizes in `model.bin`, and the files beside it. Its weights are not read."""

from __future__ import annotations

import math
import os
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from qzbrain.models.files.base import ModelFiles
from qzbrain.models.files.unreadable import ModelFilesUnreadable, broken, head_of, incomplete, refuse_what_is_no_weights, unopened

WEIGHTS = "model.bin"
PIECES = "sentencepiece.bpe.model"
_ENCODER = "TransformerEncoderSpec"
_VERSIONS = range(5, 7)
_MOST_VARIABLES, _MOST_DIMENSIONS = 100_000, 8
_LAYER = re.compile(r"encoder/layer_(\d+)/")
_WORDS, _POSITIONS, _UP, _HEADS = (
    "encoder/embeddings_0/weight",
    "encoder/position_encodings/encodings",
    "encoder/layer_0/ffn/linear_0/weight",
    "encoder/num_heads",
)
_TYPES = {0: "F32", 1: "INT8", 2: "INT16", 4: "F16", 5: "BF16"}


def is_one(folder: Path) -> bool:
    """Whether a folder is meant for CTranslate2: nobody else calls its weights so."""
    return (folder / WEIGHTS).is_file()


def describe(folder: Path) -> ModelFiles:
    """See `description.describe`. Raises ModelFilesUnreadable; of CTranslate2's models only encoders can be used."""
    path = folder / WEIGHTS
    refuse_what_is_no_weights(path, head_of(path))
    try:
        with path.open("rb") as file:
            kind, found = _read(path, file)
    except OSError as exc:
        raise unopened(path, exc) from exc
    if kind != _ENCODER:
        raise ModelFilesUnreadable(
            "wrong_format",
            zh=f"{path} 是 CTranslate2 的 {kind or '未知'} 模型；这里只能用其编码器（{_ENCODER}，即向量模型）。请换用 GGUF 或 safetensors 格式。",
            en=f"{path} is a model of CTranslate2 of the kind {kind or 'unknown'}; only its encoders ({_ENCODER}: embedding models) can be used here. "
            "Take the model as GGUF or safetensors.",
        )
    layers = {int(match[1]) for name in found if (match := _LAYER.match(name))}
    if _WORDS not in found or not layers or not any((folder / f"vocabulary.{one}").is_file() for one in ("json", "txt")):
        raise incomplete(folder, zh="缺少 vocabulary.json，或权重不全", en="vocabulary.json or some of the weights are missing")
    (vocabulary, width), type_of, _ = found[_WORDS] if len(found[_WORDS][0]) == 2 else ((0, 0), 0, 0)
    return ModelFiles(
        path=folder,
        format="ctranslate2",
        architecture="bert",
        classes=(kind,),
        weights_bytes=path.stat().st_size,
        parameters=sum(math.prod(shape) for name, (shape, _, _) in found.items() if not name.endswith("_scale")),
        quantisation=_TYPES.get(type_of, ""),
        layers=len(layers),
        heads=found[_HEADS][2] if _HEADS in found else 0,
        kv_heads=0,
        head_dim=0,
        kv_values=0,
        latent_cache=False,
        width=width,
        feed_forward=(found[_UP][0] or (0,))[0] if _UP in found else 0,
        context=(found[_POSITIONS][0] or (0,))[0] if _POSITIONS in found else 0,
        vocabulary=vocabulary,
        kind="embedding",
        encoder=True,
        pooled=False,
        has_chat_template=False,
        has_vocabulary=(folder / PIECES).is_file(),
    )


def _read(path: Path, file: BinaryIO) -> tuple[str, dict[str, tuple[tuple[int, ...], int, int]]]:
    """The model's kind; and shape, type, and (of single whole numbers) value of each variable."""
    size = os.fstat(file.fileno()).st_size
    with suppress(struct.error, UnicodeDecodeError):
        (version,) = _take(file, "I")
        if version not in _VERSIONS:
            raise broken(path, zh=f"不认识的版本 {version}", en=f"its version {version} is not known")
        kind = _string(file)
        _, count = _take(file, "II")
        if count > _MOST_VARIABLES:
            raise broken(path, zh="变量过多", en="it claims too many variables")
        found = dict(_variables(file, count))
        if file.tell() > size:
            raise incomplete(path, zh="文件被截断", en="it breaks off")
        return kind, found
    raise incomplete(path, zh="文件被截断，或不是 CTranslate2 模型", en="it breaks off, or is no model of CTranslate2")


def _variables(file: BinaryIO, count: int) -> Iterator[tuple[str, tuple[tuple[int, ...], int, int]]]:
    for _ in range(count):
        name = _string(file)
        (rank,) = _take(file, "B")
        if rank > _MOST_DIMENSIONS:
            raise struct.error
        shape = _take(file, f"{rank}I")
        type_of, length = _take(file, "BI")
        value = int.from_bytes(file.read(length), "little") if not rank and length <= 4 else 0
        file.seek(0 if not rank and length <= 4 else length, os.SEEK_CUR)
        yield name, (shape, type_of, value)


def _take(file: BinaryIO, form: str) -> tuple[int, ...]:
    return struct.unpack("<" + form, file.read(struct.calcsize("<" + form)))


def _string(file: BinaryIO) -> str:
    return file.read(_take(file, "H")[0]).rstrip(b"\0").decode()
