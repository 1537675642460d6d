"""The lock that makes one process the worker of a data folder. The kernel frees it when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

NAME = "worker.lock"


class WorkerLock:
    """`flock` on a file of the data folder. Looking whether it is held takes it for a moment, so a taker tries more than once."""

    def __init__(self, data: Path, descriptor: int | None = None) -> None:
        self._path = data / NAME
        self._descriptor = descriptor  # held already: handed on by a process that became this one

    def acquire(self) -> bool:
        """Take the lock; False when another process holds it."""
        if self._descriptor is not None:
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def hand_on(self) -> int | None:
        """The descriptor, made to outlive an exec of this process; None when the lock is not held."""
        if self._descriptor is not None:
            os.set_inheritable(self._descriptor, True)
        return self._descriptor


def worker_is_alive(data: Path) -> bool:
    """Whether some process holds the lock."""
    try:
        descriptor = os.open(data / NAME, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
