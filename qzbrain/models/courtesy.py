"""How work in the background learns that somebody is asking, across processes: the time stamp of an empty file in the data folder."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

_NOTED_EVERY_S = 0.2


class Courtesy:
    """Notes questions, and tells how long ago the last one was. A stamp that cannot be written only costs the courtesy. Thread-safe."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._noted = float("-inf")

    def note(self) -> None:
        """A question came."""
        now = time.monotonic()
        if now - self._noted < _NOTED_EVERY_S:
            return
        self._noted = now
        with contextlib.suppress(OSError):
            try:
                os.utime(self._path)
            except FileNotFoundError:
                self._path.touch(mode=0o600)

    def quiet_s(self) -> float:
        """Seconds since the last question, infinite when there was none."""
        try:
            return max(0.0, time.time() - self._path.stat().st_mtime)
        except OSError:
            return float("inf")
