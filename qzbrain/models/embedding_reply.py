"""What an embedding engine sent, checked and made into rows of unit length; and how an engine is recognised by its vectors."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any

import orjson

from qzbrain.models.faults import EngineFault, quoted

if TYPE_CHECKING:
    from qzbrain.models.base import Vector

_SAME = 0.996
"""Fingerprints of multilingual-e5-small with weights of 8 bits and of 7 are .9985 alike, under llama.cpp and CTranslate2 .9991; without its
prefixes .984, with another pooling .89 (2026-11-29)."""
_SHOWN_WIDTH = 256
NONSENSE = 598
"""Status of a reply that came and is no answer: the request is split, as when it was refused."""


def rows_of(body: bytes, count: int, width: int) -> Vector:
    """(count, width) float32, rows of unit length, in the order asked. `width` 0: not known yet. Raises EngineFault."""
    import numpy as np

    try:
        data = orjson.loads(body)["data"]
        if len(data) != count:
            raise _fault(f"要 {count} 个向量，返回了 {len(data)} 个", f"{count} vectors were asked for, {len(data)} came")
        order: list[Any] = [None] * count
        for position, one in enumerate(data):
            order[one.get("index", position)] = _numbers(one["embedding"])
        rows = np.stack(order).astype(np.float32)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, binascii.Error) as exc:
        raise _fault(f"回复不是向量：{quoted(body)}", f"the reply is no vectors: {quoted(body)}") from exc
    if rows.ndim != 2 or (width and rows.shape[1] != width):
        raise _fault(f"向量宽度不是 {width}", f"the vectors are not {width} wide")
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or (lengths == 0).any():
        raise _fault("向量含有无效数值", "the vectors hold numbers that are none")
    unit: Vector = rows / lengths
    return unit


def fingerprint(rows: Vector) -> str:
    """Vectors of fixed texts, shortened and quantised to one byte a number. Compare with `same_embedder`, not by `==`."""
    import numpy as np

    short = rows[:, :_SHOWN_WIDTH].astype(np.float64)
    short = short / np.abs(short).max()
    return base64.b64encode(np.rint(short * 127).astype(np.int8).tobytes()).decode()


def same_embedder(one: str, other: str) -> bool:
    """Whether two fingerprints are the same model's: by cosine, because an engine's vectors differ a little with its batches, its version and the
    processor."""
    import numpy as np

    a, b = (np.frombuffer(base64.b64decode(x), np.int8).astype(np.float64) for x in (one, other))
    if a.shape != b.shape or not a.any() or not b.any():
        return False
    return bool(a @ b / np.sqrt((a @ a) * (b @ b)) >= _SAME)


def _numbers(value: str | list[float]) -> Any:
    import numpy as np

    return np.frombuffer(base64.b64decode(value, validate=True), "<f4") if isinstance(value, str) else np.array(value, np.float32)


def _fault(zh: str, en: str) -> EngineFault:
    return EngineFault(zh, en, status=NONSENSE)
