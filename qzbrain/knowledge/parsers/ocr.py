"""Text of pictures, by a process of its own (see `ocr_child`) in the environment that `./run.sh --with-ocr` makes.

The process is started with the first picture, and waits for the next document when one is read: to load its models takes as long as a page. It ends with the
process that started it, or with `retire`. A picture that takes too long or kills it is given up and the next one gets a new process; after some failures
in a row there is no further try. Its memory grows with the shapes of pictures that it has seen, up to its bound (after some twenty; 2026-11-29): what a process
that has read others cannot read is tried by a new one, and a large one is not kept.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any

from qzbrain.knowledge import heap
from qzbrain.knowledge.parsers.base import ParseLimits
from qzbrain.knowledge.parsers.page_layout import Run

_ENVIRONMENT = Path(__file__).resolve().parents[3] / ".venv-ocr"
_START_TIMEOUT_S = 60.0
_MOST_FAILURES = 3
_MOST_THREADS = 4
_LONGEST_ANSWER = 1 << 24
_SPARE_S = 15.0
_LARGE_BYTES = 2_000_000_000
_ALLOCATION = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 32), "MALLOC_TOP_PAD_": str(1 << 26)}
"""Memory is kept from one picture to the next: giving it back each time costs a tenth of the time (and saves 300 MB; 2026-11)."""


class PictureUnreadable(Exception):
    """This picture could not be recognised; others may be."""


@dataclass(frozen=True, slots=True)
class Bitmap:
    """A rendered page: rows of `stride` bytes, `channels` bytes a pixel in the order blue, green, red."""

    data: bytes
    width: int
    height: int
    stride: int
    channels: int


@dataclass(frozen=True, slots=True)
class Recognised:
    """What stands in a picture, in its own pixels with y growing upwards; `frames`: pictures in the file."""

    runs: list[Run]
    width: float
    height: float
    frames: int = 1


def available(limits: ParseLimits) -> bool:
    """Whether OCR is wanted and its environment complete."""
    return limits.ocr_page_timeout_s > 0 and (_ENVIRONMENT / "qzbrain.stamp").exists() and (_ENVIRONMENT / "bin" / "python").exists()


@dataclass(frozen=True, slots=True)
class _Spare:
    """A process that waits for a document, and since when."""

    process: subprocess.Popen[bytes]
    made_for: tuple[Path, int]
    since: float


_spares: list[_Spare] = []
"""At most one."""


def retire(after_s: float = _SPARE_S) -> None:
    """End the process that has waited for another document for so long: it holds some hundred megabytes."""
    if _spares and time.monotonic() - _spares[0].since >= after_s:
        _end(_spares.pop().process)


class Ocr:
    """The OCR process and the conversation with it; to be used as a context."""

    def __init__(self, limits: ParseLimits) -> None:
        self._timeout_s = limits.ocr_page_timeout_s
        self._threads = limits.ocr_threads or min(os.cpu_count() or 1, _MOST_THREADS)
        self._process: subprocess.Popen[bytes] | None = None
        self._asking = self._has_read = False
        self._failures = 0

    def __enter__(self) -> Ocr:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process is not None and not self._asking and not _spares and heap.resident_bytes(self._process.pid) < _LARGE_BYTES:
            _spares.append(_Spare(self._process, (_ENVIRONMENT, self._threads), time.monotonic()))
            self._process = None
        self.close()

    def page(self, bitmap: Bitmap) -> Recognised:
        """What stands on a rendered page. Raises PictureUnreadable."""
        shape = {"width": bitmap.width, "height": bitmap.height, "stride": bitmap.stride, "channels": bitmap.channels}
        return self._ask(shape, bitmap.data)

    def image(self, data: bytes, frame: int) -> Recognised:
        """What stands on one picture of an image file. Raises PictureUnreadable."""
        return self._ask({"frame": frame}, data)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            _end(self._process)
            self._process = None

    def _ask(self, request: dict[str, Any], data: bytes) -> Recognised:
        if self._failures >= _MOST_FAILURES:
            raise PictureUnreadable("too many failures")
        try:
            answer = self._answer(request, data)
            if "error" in answer and self._has_read:
                self.close()
                answer = self._answer(request, data)
            self._has_read = True
            if "error" not in answer:
                self._failures = 0
                return _recognised(answer)
        except (OSError, ValueError, KeyError, TypeError, TimeoutError) as exc:
            self.close()
            self._failures += 1
            raise PictureUnreadable(repr(exc)) from exc
        raise PictureUnreadable(str(answer["error"])[:300])

    def _answer(self, request: dict[str, Any], data: bytes) -> dict[str, Any]:
        allowed_s = self._timeout_s
        if self._process is None:
            self._process = None if self._has_read else _waiting(self._threads)
            self._has_read = self._process is not None
        if self._process is None:
            self._process = _start(self._threads)
            allowed_s += _START_TIMEOUT_S
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        ends = time.monotonic() + allowed_s
        self._asking = True
        _write(self._process.stdin.fileno(), json.dumps({**request, "size_bytes": len(data)}).encode() + b"\n", ends)
        _write(self._process.stdin.fileno(), data, ends)
        answer = json.loads(_read_line(self._process.stdout.fileno(), ends))
        self._asking = False
        if not isinstance(answer, dict):
            raise ValueError("not an answer")
        return answer


def _waiting(threads: int) -> subprocess.Popen[bytes] | None:
    """The process that waits, when it lives and is what would be started."""
    if not _spares:
        return None
    spare = _spares.pop()
    if spare.made_for == (_ENVIRONMENT, threads) and spare.process.poll() is None:
        return spare.process
    _end(spare.process)
    return None


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _start(threads: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(_ENVIRONMENT / "bin" / "python"), "-I", "-B", str(Path(__file__).with_name("ocr_child.py")), str(threads)],
        env={"PATH": os.defpath, "OMP_NUM_THREADS": "1", **_ALLOCATION},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    )


def _write(descriptor: int, data: bytes, ends: float) -> None:
    os.set_blocking(descriptor, False)
    rest = memoryview(data)
    while rest:
        if not select.select([], [descriptor], [], max(0.0, ends - time.monotonic()))[1]:
            raise TimeoutError
        rest = rest[os.write(descriptor, rest) :]


def _read_line(descriptor: int, ends: float) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        if not select.select([descriptor], [], [], max(0.0, ends - time.monotonic()))[0]:
            raise TimeoutError
        part = os.read(descriptor, 1 << 16)
        if not part or len(line) > _LONGEST_ANSWER:
            raise ValueError("the OCR process is gone")
        line += part
    return bytes(line)


def _recognised(answer: dict[str, Any]) -> Recognised:
    """Lines as runs of one size: the heights of boxes are too uneven to tell a heading by."""
    height = float(answer["height"])
    boxes = [(" ".join(str(text).split()), float(a), float(b), float(c), float(d)) for text, a, b, c, d in answer["lines"]]
    size = median([bottom - top for _, _, top, _, bottom in boxes]) * 0.8 if boxes else 0.0
    runs = [Run(text, left, height - bottom, right, height - top, max(size, 1.0)) for text, left, top, right, bottom in boxes if text]
    return Recognised(runs, float(answer["width"]), height, int(answer["frames"]))
