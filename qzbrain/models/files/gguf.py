"""The header of a GGUF file: its metadata and how large its tensors are. After the format's specification (ggml-org/ggml, docs/gguf.md), versions 2 and 3.

Knows nothing of architectures. Long arrays (the vocabulary) are stepped over and only counted; every length is held against the file's size
before anything is read, so that a hostile header costs no memory.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from qzbrain.models.files.unreadable import ModelFilesUnreadable, broken, head_of, incomplete, refuse_what_is_no_weights, unopened

MAGIC = b"GGUF"
_OLD_MAGICS = (b"lmgg", b"fmgg", b"tjgg", b"algg")
_STRING, _ARRAY = 8, 9
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_MOST_KEYS, _MOST_TENSORS, _MOST_STRINGS = 65_536, 1_000_000, 8_000_000
_LONGEST_STRING, _MOST_TEXT, _LONGEST_ARRAY, _MOST_DIMENSIONS = 1 << 20, 1 << 26, 4096, 8
_CHUNK = 1 << 18
TENSOR_TYPES: Mapping[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 40), 10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176), 14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292), 16: ("IQ2_XXS", 256, 66), 17: ("IQ2_XS", 256, 74), 18: ("IQ3_XXS", 256, 98), 19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18), 21: ("IQ3_S", 256, 110), 22: ("IQ2_S", 256, 82), 23: ("IQ4_XS", 256, 136), 24: ("I8", 1, 1), 25: ("I16", 1, 2),
    26: ("I32", 1, 4), 27: ("I64", 1, 8), 28: ("F64", 1, 8), 29: ("IQ1_M", 256, 56), 30: ("BF16", 1, 2), 34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17), 40: ("NVFP4", 64, 36), 41: ("Q1_0", 128, 18),
}  # fmt: skip
"""ggml's types by number: name, elements in a block, bytes of a block."""
_SPLIT = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")

Value = bool | int | float | str | tuple[int | float | bool, ...]


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """`metadata`: scalars, strings, and short arrays of numbers; `lengths`: of every array. `bytes_of_type`: tensors' bytes by ggml's name of their type."""

    version: int
    metadata: Mapping[str, Value]
    lengths: Mapping[str, int]
    tensors: frozenset[str]
    parameters: int
    weights_bytes: int
    bytes_of_type: Mapping[str, int]

    def text(self, key: str) -> str:
        """A string of the metadata; '' where there is none."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> int:
        """A whole number of the metadata, of an array the largest; 0 where there is none or it is negative."""
        return max((0, *self.numbers(key)))

    def numbers(self, key: str) -> tuple[int, ...]:
        """A number or an array of them as whole numbers; () where there is none."""
        value = self.metadata.get(key)
        if isinstance(value, tuple):
            return tuple(int(one) for one in value if math.isfinite(one))
        return (int(value),) if isinstance(value, (int, float)) and math.isfinite(value) else ()


def split_of(path: Path) -> tuple[int, list[Path]]:
    """Of a split model (`NAME-00001-of-00003.gguf`): which part this is, from 1, and all its parts by name; (0, []) for a file that is whole."""
    found = _SPLIT.fullmatch(path.name)
    if found is None or not 1 <= int(found[2]) <= int(found[3]) <= 9999:
        return 0, []
    return int(found[2]), [path.with_name(f"{found[1]}-{part:05d}-of-{found[3]}.gguf") for part in range(1, int(found[3]) + 1)]


def read_model(path: Path) -> GgufHeader:
    """The header of a model, of all its parts together where it is split. Raises ModelFilesUnreadable, also when a part is missing."""
    part, parts = split_of(path)
    if not parts:
        header = read_header(path)
        if header.number("split.count") > 1:
            raise incomplete(
                path,
                zh=f"它是 {header.number('split.count')} 个分片之一，却没有 -00001-of-0000N.gguf 这样的文件名，llama.cpp 因此找不到其他分片",
                en=f"it is one of {header.number('split.count')} parts and is not named like -00001-of-0000N.gguf, so that llama.cpp finds no others",
            )
        return header
    if missing := [one.name for one in parts if not one.is_file()]:
        shown = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        raise incomplete(path.parent, zh=f"{len(parts)} 个分片缺少 {len(missing)} 个：{shown}", en=f"of {len(parts)} parts {len(missing)} are missing: {shown}")
    if part != 1:
        raise ModelFilesUnreadable(
            "wrong_format", zh=f"{path.name} 不是第一个分片。请把 path 改为 {parts[0]}。", en=f"{path.name} is not the first part. Set path to {parts[0]}."
        )
    return _together([read_header(one) for one in parts])


def read_header(path: Path) -> GgufHeader:
    """One file's header. Raises ModelFilesUnreadable: no GGUF, an old or foreign version, truncated, or lengths that cannot be."""
    head = head_of(path)
    if not head.startswith(MAGIC):
        _refuse(path, head)
    try:
        with path.open("rb") as file:
            return _Reader(path, file, path.stat().st_size).header()
    except OSError as exc:
        raise unopened(path, exc) from exc


def _refuse(path: Path, head: bytes) -> None:
    refuse_what_is_no_weights(path, head)
    if head[:4] in _OLD_MAGICS:
        raise broken(path, zh="这是 GGUF 之前的旧格式（GGML），llama.cpp 已不再读取", en="it has the format before GGUF (GGML), which llama.cpp reads no more")
    raise broken(path, zh="开头不是 GGUF", en="it does not begin with GGUF")


def _together(headers: list[GgufHeader]) -> GgufHeader:
    """The first part has the metadata; tensors are in all."""
    first = headers[0]
    types: dict[str, int] = {}
    for header in headers:
        for name, size in header.bytes_of_type.items():
            types[name] = types.get(name, 0) + size
    return GgufHeader(
        first.version, first.metadata, first.lengths, frozenset().union(*(one.tensors for one in headers)),
        sum(one.parameters for one in headers), sum(one.weights_bytes for one in headers), types,
    )  # fmt: skip


class _Reader:
    """Reads forward through one file in chunks; never beyond its end, never more than asked."""

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self._path, self._file, self._size = path, file, size
        self._chunk, self._at, self._chunk_start = b"", 0, 0
        self._strings, self._text = 0, 0

    def header(self) -> GgufHeader:
        """From the magic to the last tensor's description; what follows are weights."""
        self._take(4)
        version = self._version()
        tensors, keys = self._count(_MOST_TENSORS, 24), self._count(_MOST_KEYS, 13)
        metadata: dict[str, Value] = {}
        lengths: dict[str, int] = {}
        for _ in range(keys):
            key, kind = self._string(), self._number("I")
            if kind == _ARRAY:
                length, values = self._array()
                lengths[key] = length
                if values:
                    metadata[key] = values
            else:
                metadata[key] = self._string() if kind == _STRING else self._scalar(kind)
        alignment = metadata.get("general.alignment", 32)
        return self._with_tensors(version, tensors, metadata, lengths, alignment if isinstance(alignment, int) and 0 < alignment <= 1 << 20 else 32)

    def _with_tensors(self, version: int, count: int, metadata: dict[str, Value], lengths: dict[str, int], alignment: int) -> GgufHeader:
        names: set[str] = set()
        types: dict[str, int] = {}
        parameters, end, known = 0, 0, True
        for _ in range(count):
            name, elements, kind, offset = self._tensor()
            names.add(name)
            parameters += elements
            label, block, block_bytes = TENSOR_TYPES.get(kind, (f"type {kind}", 1, 0))
            size = -(-elements // block) * block_bytes
            known, end = known and kind in TENSOR_TYPES, max(end, offset + size)
            types[label] = types.get(label, 0) + size
        start = -(-self._position // alignment) * alignment
        there = self._size - start
        if count and end > there:
            wanted = f"{start + end:,}"
            raise incomplete(self._path, zh=f"应有 {wanted} 字节，实有 {self._size:,}", en=f"it should have {wanted} bytes and has {self._size:,}")
        weights = sum(types.values()) if known else max(0, there)  # a newer llama.cpp's type: the rest of the file is weights
        return GgufHeader(version, metadata, lengths, frozenset(names), parameters, weights, types)

    def _tensor(self) -> tuple[str, int, int, int]:
        name, dimensions = self._string(), self._number("I")
        if dimensions > _MOST_DIMENSIONS:
            raise self._broken(f"张量 {name[:80]} 有 {dimensions} 维", f"the tensor {name[:80]} has {dimensions} dimensions")
        elements = math.prod(self._number("Q") for _ in range(dimensions))
        return name, elements, self._number("I"), self._number("Q")

    def _version(self) -> int:
        version = self._number("I")
        if version in (2, 3):
            return version
        if version & 0xFFFF == 0:
            raise self._broken("这是大端序的 GGUF，供其他机器使用", "it is a big-endian GGUF, made for another kind of machine")
        raise self._broken(f"GGUF 版本 {version} 不受支持（支持 2 和 3）", f"GGUF version {version} is not supported (2 and 3 are)")

    def _array(self) -> tuple[int, tuple[int | float | bool, ...]]:
        """Its length; its values where they are few numbers."""
        kind, length = self._number("I"), self._number("Q")
        if kind == _STRING:
            self._strings += length
            if self._strings > _MOST_STRINGS or length * 8 > self._left:
                raise self._impossible(length)
            for _ in range(length):
                self._skip(self._number("Q"))
            return length, ()
        if kind not in _NUMBERS:
            raise self._broken(f"数组类型 {kind} 未知", f"an array has the unknown type {kind}")
        width = struct.calcsize("<" + _NUMBERS[kind])
        if length * width > self._left:
            raise self._impossible(length)
        if length > _LONGEST_ARRAY:
            self._skip(length * width)
            return length, ()
        return length, struct.unpack(f"<{length}{_NUMBERS[kind]}", self._take(length * width))

    def _scalar(self, kind: int) -> int | float | bool:
        if kind not in _NUMBERS:
            raise self._broken(f"元数据类型 {kind} 未知", f"the metadata has the unknown type {kind}")
        value: int | float | bool = self._unpacked(_NUMBERS[kind])
        return value

    def _string(self) -> str:
        """'' for one that is longer than any that matters."""
        length = self._number("Q")
        if length > _LONGEST_STRING:
            self._skip(length)
            return ""
        self._text += length
        if self._text > _MOST_TEXT:
            raise self._impossible(self._text)
        return self._take(length).decode("utf-8", "replace")

    def _count(self, most: int, least_bytes: int) -> int:
        count = self._number("Q")
        if count > most or count * least_bytes > self._size:
            raise self._impossible(count)
        return count

    def _number(self, form: str) -> int:
        return int(self._unpacked(form))

    def _unpacked(self, form: str) -> int | float | bool:
        value: int | float | bool = struct.unpack("<" + form, self._take(struct.calcsize("<" + form)))[0]
        return value

    @property
    def _position(self) -> int:
        return self._chunk_start + self._at

    @property
    def _left(self) -> int:
        return self._size - self._position

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._chunk):
            self._refill(count)
            end = count
        taken = self._chunk[self._at : end]
        self._at = end
        return taken

    def _refill(self, count: int) -> None:
        start = self._position
        self._file.seek(start)
        self._chunk, self._chunk_start, self._at = self._file.read(max(count, _CHUNK) if count <= self._left else 0), start, 0
        if len(self._chunk) < count:
            raise incomplete(self._path, zh="文件在头部之内就结束了", en="it ends within its header")

    def _skip(self, count: int) -> None:
        if count > self._left:
            raise incomplete(self._path, zh="文件在头部之内就结束了", en="it ends within its header")
        self._at += count
        if self._at > len(self._chunk):
            self._chunk, self._chunk_start, self._at = b"", self._position, 0

    def _impossible(self, count: int) -> ModelFilesUnreadable:
        return self._broken(f"头部中的数目 {count:,} 不可能", f"its header has the impossible count {count:,}")

    def _broken(self, zh: str, en: str) -> ModelFilesUnreadable:
        return broken(self._path, zh=zh, en=en)
