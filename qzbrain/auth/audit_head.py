"""The head of the audit log's chain, in a file of the data folder: number and hash of the last row. So a log whose end was cut off is noticed.

The file only ever moves on along the chain: where the row that it names is not in the log any more it stays as it is, and the doctor says so.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from qzbrain import logs
from qzbrain.settings import Settings

log = logs.get(__name__)

_FORM = re.compile(rb"(\d{20}) ([0-9a-f]{64})\n")
_LENGTH = 86


@dataclass(frozen=True, slots=True)
class Head:
    """A row of the chain by number and hash."""

    number: int
    hash: str


class HeadFile:
    """The file. Several processes may move it; it is changed under a lock."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, settings: Settings) -> HeadFile:
        """That of a brain; another one under QZBRAIN_ENV=test."""
        return cls(settings.data / ("audit_test.head" if settings.qzbrain_env == "test" else "audit.head"))

    def read(self) -> Head | None:
        """What it says; None where there is none. Raises ValueError when it holds something else."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        found = _parsed(data)
        if found is None and data:
            raise ValueError(f"{self.path} does not hold the head of an audit log")
        return found

    def move(self, number: int, hashed: str, hash_of: Callable[[int], str | None]) -> None:
        """Move on to this row, unless the file is further on already, or names a row that is not in the log. Raises OSError."""
        fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            data = os.pread(fd, _LENGTH + 1, 0)
            there = _parsed(data)
            if data and there is None:
                log.error("audit_head_unreadable", path=str(self.path))
                return
            if there is not None and there.number >= number:
                return
            if there is not None and hash_of(there.number) != there.hash:
                log.error("audit_log_cut_off", head=there.number, last=number)
                return
            os.pwrite(fd, b"%020d %b\n" % (number, hashed.encode()), 0)
        finally:
            os.close(fd)

    def accept(self, number: int, hashed: str) -> None:
        """Begin anew from this row, whatever the file says; for whoever has looked at a log that was cut off. Raises OSError."""
        temporary = self.path.with_name(f".{self.path.name}.new")
        temporary.write_bytes(b"%020d %b\n" % (number, hashed.encode()))
        temporary.chmod(0o600)
        temporary.replace(self.path)


def _parsed(data: bytes) -> Head | None:
    found = _FORM.fullmatch(data)
    return Head(int(found[1]), found[2].decode()) if found else None
