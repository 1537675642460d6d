"""The real reading child, with documents that do to it what hostile files do to parsers. What to do stands in the text itself."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from qzbrain.knowledge import reader_child

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
    if text.startswith(b"BUG"):
        raise ZeroDivisionError("a parser's bug")
    if text.startswith(b"WRITE"):
        path.with_suffix(".written").write_text("x" * 100)
    return _real(path, **options)


def _die_once(path: Path) -> None:
    seen = path.with_suffix(".seen")
    if not seen.exists():
        seen.mkdir()
        os.kill(os.getpid(), signal.SIGKILL)


reader_child.parse = _parse

if __name__ == "__main__":
    reader_child.main()
