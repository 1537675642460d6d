"""The sign that a web server runs on a data folder, whoever started it: supervisord, another process manager, a container. The kernel takes it away.

supervisord's own lock (`start.running_brain`) tells of brains that it minds; where each process is minded by itself there is none. Imports next to
nothing: gunicorn's master holds this.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from qzbrain.settings import Settings


@dataclass(frozen=True, slots=True)
class Server:
    """A web server. `host`: the machine or the container that it runs in; `url`: its address there."""

    host: str
    pid: int
    url: str

    @property
    def is_here(self) -> bool:
        """Whether this process is on the same machine, or in the same container."""
        return self.host == socket.gethostname()


def hold(settings: Settings) -> int | None:
    """Show the sign for as long as the file that is returned is open here or in a child. None where the folder takes none; it is served all the same."""
    host = socket.gethostname()
    with suppress(OSError):
        _forget_those_that_ended(settings)
        sign = _locked(_folder(settings) / f"web-{settings.qzbrain_port}-{host}.lock")
        os.truncate(sign, 0)
        os.pwrite(sign, json.dumps({"host": host, "pid": os.getpid(), "url": settings.url}).encode(), 0)
        return sign
    return None


def _locked(path: Path) -> int:
    """A file of this name, locked. Who starts in the same moment may take it for one that nobody holds, and remove it before it is locked: then anew."""
    while True:
        sign = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(sign, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(path.stat(), os.fstat(sign)):
                return sign
        os.close(sign)


def serving(settings: Settings) -> Server | None:
    """A web server that runs on this data folder, if possible the one of these settings' address; None when none does."""
    found = [*_held(settings)]
    return max(found, key=lambda one: (one.is_here, one.url == settings.url), default=None)


def _held(settings: Settings) -> Iterator[Server]:
    for path in sorted(_folder(settings).glob("web-*.lock")):
        with suppress(OSError, ValueError, TypeError), path.open("rb") as sign:
            try:
                fcntl.flock(sign, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                yield Server(**json.loads(sign.read()))


def _forget_those_that_ended(settings: Settings) -> None:
    """Containers have another name each time that they are made."""
    for path in _folder(settings).glob("web-*.lock"):
        with suppress(OSError), path.open("rb") as sign:
            fcntl.flock(sign, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def _folder(settings: Settings) -> Path:
    return settings.data / "run"
