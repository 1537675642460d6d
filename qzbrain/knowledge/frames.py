"""Frames between the worker and its reading child: four bytes of length, then one JSON value. Never pickle: the child reads hostile files."""

from __future__ import annotations

import os
import select
import struct
from typing import Any

import orjson

_LENGTH = struct.Struct(">I")
_READ_BYTES = 1 << 18


def pack(value: Any) -> bytes:
    """One frame."""
    data = orjson.dumps(value)
    return _LENGTH.pack(len(data)) + data


def unpack_all(data: bytes) -> list[Any]:
    """The values of whole frames. Raises ValueError as `FrameReader.next`."""
    values, start = [], 0
    while start < len(data):
        length = _LENGTH.unpack_from(data, start)[0] if start + _LENGTH.size <= len(data) else len(data)
        begin = start + _LENGTH.size
        if begin + length > len(data):
            raise ValueError("the stream ends inside a frame")
        values.append(orjson.loads(memoryview(data)[begin : begin + length]))
        start = begin + length
    return values


def write_all(descriptor: int, data: bytes) -> None:
    """Write to a pipe, whole. Raises BrokenPipeError."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class FrameReader:
    """Reads frames from a pipe, each at most `longest` bytes."""

    def __init__(self, descriptor: int, *, longest: int) -> None:
        self._descriptor, self._longest = descriptor, longest
        self._buffer = bytearray()
        self._start = 0

    def at_hand(self) -> bool:
        """Whether something more can be read without waiting."""
        return len(self._buffer) > self._start or bool(select.select([self._descriptor], [], [], 0)[0])

    def next(self) -> Any:
        """The next value; None at the end of the stream. Raises ValueError for a frame that is cut, too long, or no JSON."""
        if not self._have(_LENGTH.size):
            return None
        (length,) = _LENGTH.unpack_from(self._buffer, self._start)
        if length > self._longest:
            raise ValueError(f"a frame of {length} bytes")
        if not self._have(_LENGTH.size + length):
            raise ValueError("the stream ends inside a frame")
        begin = self._start + _LENGTH.size
        with memoryview(self._buffer) as view:
            value = orjson.loads(view[begin : begin + length])
        self._start = begin + length
        return value

    def _have(self, count: int) -> bool:
        """Read until `count` bytes lie ready; False when the stream ended before the first of them."""
        if len(self._buffer) - self._start >= count:
            return True
        del self._buffer[: self._start]
        self._start = 0
        while len(self._buffer) < count:
            piece = os.read(self._descriptor, _READ_BYTES)
            if not piece and self._buffer:
                raise ValueError("the stream ends inside a frame")
            if not piece:
                return False
            self._buffer += piece
        return True
