"""The real reading child, with documents that do to it what hostile files do to parsers. What to do stands in the text itself."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from qzbrain.knowledge import frames, reader_child

_real = reader_child.parse


def _parse(path: Path, **options: Any) -> Any:
    text = path.read_bytes()
    if text.startswith(b"HANG"):
        time.sleep(3600)
    if text.startswith(b"CRASH"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if text.startswith(b"ONCE"):
        _die_once(path)
    if text.startswith(b"HOG"):
        held = []
        while True:
            held.append(bytearray(32 << 20))
    if text.startswith(b"LIE"):
        os.write(sys.stdout.fileno(), b"\xff\xff\xff\xff not a frame")
    if text.startswith((b"STEPS", b"FOREVER", b"TALK", b"LIAR")):
        _talk(text, options["progress"])
    if text.startswith(b"BUG"):
        raise ZeroDivisionError("a parser's bug")
    if text.startswith(b"WRITE"):
        path.with_suffix(".written").write_text("x" * 100)
    return _real(path, **options)


def _talk(text: bytes, progress: Any) -> None:
    """STEPS: five seconds of pages, then a document. FOREVER: pages without end. TALK: the same page again. LIAR: nonsense, as fast as it can."""
    if text.startswith(b"LIAR"):
        while True:
            for nonsense in ([5, 3, "pages"], [-1, 3, "pages"], [1, 2, "souls"], ["1", 2, "pages"], [1 << 40, 1 << 41, "pages"], "x", None):
                os.write(sys.stdout.fileno(), frames.pack({"progress": nonsense}))
    for step in range(1, 18 if text.startswith(b"STEPS") else 1 << 30):
        time.sleep(0.3)
        progress(1 if text.startswith(b"TALK") else step, 1 << 30, "pages")


def _die_once(path: Path) -> None:
    seen = path.with_suffix(".seen")
    if not seen.exists():
        seen.mkdir()
        os.kill(os.getpid(), signal.SIGKILL)


reader_child.parse = _parse

if __name__ == "__main__":
    reader_child.main()
