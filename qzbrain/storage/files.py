"""Originals of documents: a content-addressed store under the data folder. A file's name is its SHA-256, so the same bytes are kept once.

Knows bytes, not documents: who still uses a file is the caller's question, asked before `remove`.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from qzbrain.errors import PayloadTooLarge, StorageFull

_PIECE = 1 << 20
UNFINISHED = ".new-"
"""How the names of files begin that are still being put."""
_HELD = ".held"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What `put` kept: the address and the size."""

    sha256: str
    size_bytes: int


class ByteSource(Protocol):
    """What can be read like a file."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; none at the end."""


class FileStore:
    """Files under `root`, by content. Safe for several processes: a file appears whole or not at all."""

    def __init__(self, root: Path, offload: Callable[..., Any] | None = None) -> None:
        self.root = root
        self._offload = offload or (lambda function, *args: function(*args))
        root.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        """Where the content with this address lies (whether or not it is there)."""
        return self.root / sha256[:2] / sha256

    def put(self, stream: ByteSource, *, limit_bytes: int) -> StoredFile:
        """Keep a stream's bytes; returns when they are on the disk (fsync of file and folder).

        Raises PayloadTooLarge over `limit_bytes`, StorageFull; leaves nothing behind then.
        """
        try:
            handle, temporary = tempfile.mkstemp(prefix=UNFINISHED, dir=self.root)
        except OSError as exc:
            raise _translated(exc) from exc
        digest, size = hashlib.sha256(), 0
        try:
            while piece := stream.read(_PIECE):
                size += len(piece)
                if size > limit_bytes:
                    raise PayloadTooLarge(
                        zh=f"文件超过上限 {limit_bytes >> 20} MiB。请拆分文件，或调高 MAX_UPLOAD_MB。",
                        en=f"The file is over the limit of {limit_bytes >> 20} MiB. Split it, or raise MAX_UPLOAD_MB.",
                        param="file",
                    )
                digest.update(piece)
                view = memoryview(piece)
                while view:
                    view = view[os.write(handle, view) :]
            self._offload(os.fsync, handle)
        except OSError as exc:
            os.close(handle)
            Path(temporary).unlink()
            raise _translated(exc) from exc
        except BaseException:
            os.close(handle)
            Path(temporary).unlink()
            raise
        os.close(handle)
        target = self.path(digest.hexdigest())
        target.parent.mkdir(exist_ok=True)
        Path(temporary).replace(target)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            self._offload(os.fsync, folder)
        finally:
            os.close(folder)
        return StoredFile(sha256=digest.hexdigest(), size_bytes=size)

    def open(self, sha256: str) -> BinaryIO:
        """The content, for reading. Raises FileNotFoundError."""
        return self.path(sha256).open("rb")

    def remove(self, sha256: str) -> bool:
        """Forget a content; a missing one is no error. False while contents are held (`held`): it stays."""
        with self._lock(fcntl.LOCK_EX) as got:
            if got:
                self.path(sha256).unlink(missing_ok=True)
            return got

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nothing is removed while the block runs, by no process: a backup reads them. The kernel ends it when this process dies."""
        with self._lock(fcntl.LOCK_SH, wait=True):
            yield

    @property
    def are_held(self) -> bool:
        """Whether somebody holds them now."""
        with self._lock(fcntl.LOCK_EX) as got:
            return not got

    @contextmanager
    def _lock(self, how: int, *, wait: bool = False) -> Iterator[bool]:
        descriptor = os.open(self.root / _HELD, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, how if wait else how | fcntl.LOCK_NB)
            yield True
        except BlockingIOError:
            yield False
        finally:
            os.close(descriptor)

    def contents(self) -> Iterator[str]:
        """The addresses of all that is kept, in no order."""
        return (path.name for path in self.root.glob("??/*"))

    def kept_since(self, sha256: str) -> float:
        """When a content was last put, in seconds since 1970. Raises FileNotFoundError."""
        return self.path(sha256).stat().st_mtime

    def sweep_unfinished(self, before: float) -> int:
        """Remove what a `put` that was killed before this time (seconds since 1970) left behind; returns how many files."""
        swept = 0
        for path in self.root.glob(f"{UNFINISHED}*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()
                    swept += 1
        return swept


def _translated(exc: OSError) -> Exception:
    return StorageFull() if exc.errno in (errno.ENOSPC, errno.EDQUOT) else exc
