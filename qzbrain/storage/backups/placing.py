"""Putting a restored brain in the place of the one in a data folder, in one step.

All that is new is built in `restore.part/`. Renamed to `restore.ready/` it counts: from then on whoever opens the data folder (`finish`) first
takes away what it says is to go, and moves what is new into its place. Killed at any point before the rename nothing has changed; killed after it,
the next one goes on. So there is the old brain or the new one, never some of each.

    restore.ready/todo.json     {"remove": [names in the data folder], "put": [names, as they lie in new/]}
    restore.ready/new/…         what goes into its place
    restore.ready/removed       there as soon as nothing is left to be taken away
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import orjson

from qzbrain.storage.backups import PART, READY
from qzbrain.storage.backups.repository import to_disk


def begin(data: Path) -> Path:
    """The empty folder in which the new brain is built; what an earlier attempt left is removed."""
    shutil.rmtree(data / PART, ignore_errors=True)
    new = data / PART / "new"
    new.mkdir(parents=True)
    return new


def commit(data: Path, *, remove: Sequence[str], put: Sequence[str]) -> None:
    """Have what was built count, and put it into its place."""
    (data / PART / "todo.json").write_bytes(orjson.dumps({"remove": list(remove), "put": list(put)}))
    to_disk(data)
    (data / PART).rename(data / READY)
    to_disk(data)
    finish(data)


def abandon(data: Path) -> None:
    """Forget what was built and does not count yet."""
    shutil.rmtree(data / PART, ignore_errors=True)


def finish(data: Path) -> bool:
    """Go on with what counts and is not in its place yet; False when there is nothing of the kind."""
    ready = data / READY
    if not ready.exists():
        return False
    with _alone(data):
        if not (ready / "todo.json").exists():  # another process was quicker
            shutil.rmtree(ready, ignore_errors=True)
            return True
        todo = orjson.loads((ready / "todo.json").read_bytes())
        if not (ready / "removed").exists():
            for name in todo["remove"]:
                _remove(data / name)
            (ready / "removed").touch()
            to_disk(data)
        for name in todo["put"]:
            new, place = ready / "new" / name, data / name
            if new.exists():
                place.parent.mkdir(exist_ok=True)
                new.replace(place)
        to_disk(data)
        (ready / "todo.json").unlink()
        shutil.rmtree(ready)
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    lock = os.open(data / "restore.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
