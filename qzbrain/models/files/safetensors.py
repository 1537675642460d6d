"""The header of a safetensors file: eight bytes of length, then JSON that names every tensor's type, shape and place. After the format's own description.

Only the header is read. Its length is bounded, and the file must be as long as the header says.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from qzbrain.models.files.unreadable import ModelFilesUnreadable, broken, head_of, incomplete, refuse_what_is_no_weights, unopened

_LONGEST_HEADER = 1 << 24
"""A header has some 120 bytes a tensor; the longest known ones are a few million."""


@dataclass(frozen=True, slots=True)
class SafetensorsHeader:
    """What a file's tensors take. `bytes_of_type`: by the format's name of the type, `BF16`, `F8_E4M3` …; `parameters`: elements, packed ones as packed."""

    tensors: int
    parameters: int
    weights_bytes: int
    bytes_of_type: Mapping[str, int]


def read_header(path: Path) -> SafetensorsHeader:
    """One file's header. Raises ModelFilesUnreadable."""
    head = head_of(path)
    refuse_what_is_no_weights(path, head)
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            first = file.read(8)
            length = struct.unpack("<Q", first)[0] if len(first) == 8 else 0
            if head[8:9] != b"{" or not 2 <= length <= _LONGEST_HEADER:
                raise broken(path, zh="开头不是 safetensors 的头部", en="it does not begin with the header of safetensors")
            if length > size - 8:
                raise incomplete(path, zh="文件在头部之内就结束了", en="it ends within its header")
            text = file.read(length)
    except OSError as exc:
        raise unopened(path, exc) from exc
    try:
        return _header(path, orjson.loads(text), size - 8 - length)
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        raise broken(path, zh="头部不是有效的 JSON", en="its header is not the JSON that it should be") from exc


def _header(path: Path, described: dict[str, Any], there: int) -> SafetensorsHeader:
    types: dict[str, int] = {}
    tensors, parameters, end = 0, 0, 0
    for name, tensor in described.items():
        if name == "__metadata__":
            continue
        begins, ends = (int(one) for one in tensor["data_offsets"])
        if not 0 <= begins <= ends:
            raise ValueError(name)
        tensors, parameters, end = tensors + 1, parameters + math.prod(int(one) for one in tensor["shape"]), max(end, ends)
        types[str(tensor["dtype"])] = types.get(str(tensor["dtype"]), 0) + ends - begins
    if end > there:
        raise incomplete(path, zh=f"权重应有 {end:,} 字节，实有 {there:,}", en=f"its weights should have {end:,} bytes and have {there:,}")
    return SafetensorsHeader(tensors, parameters, sum(types.values()), types)


def read_model(paths: list[Path]) -> SafetensorsHeader:
    """All files of one model together. Raises ModelFilesUnreadable for the first that cannot be used, and when there is no weight in any."""
    headers = [read_header(path) for path in paths]
    types: dict[str, int] = {}
    for header in headers:
        for name, size in header.bytes_of_type.items():
            types[name] = types.get(name, 0) + size
    if not types:
        raise _empty(paths[0])
    return SafetensorsHeader(sum(one.tensors for one in headers), sum(one.parameters for one in headers), sum(types.values()), types)


def _empty(path: Path) -> ModelFilesUnreadable:
    return broken(path, zh="没有任何权重", en="it has no weights in it")
