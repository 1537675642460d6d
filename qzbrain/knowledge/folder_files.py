"""What lies in a watched folder: files with their size and time, without hidden and temporary ones. Links are not followed: they may lead out."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

_TEMPORARY = (".*", "~$*", "*.tmp", "*.temp", "*.part", "*.partial", "*.crdownload", "*.swp", "*~", "thumbs.db", "desktop.ini")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file; `path` is relative to the folder, with `/`."""

    path: str
    size_bytes: int
    changed_ns: int


@dataclass(slots=True)
class Skipped:
    """What a look at a folder left out: how many files, and the folders inside that cannot be read (what is known of them stays)."""

    files: int = 0
    unreadable: list[str] = field(default_factory=list)


def files_in(root: Path, *, recursive: bool, exclude: Sequence[str], skipped: Skipped) -> Iterator[FoundFile]:
    """The files, folder by folder. Raises OSError when the folder itself cannot be read."""
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        try:
            with os.scandir(root / inside) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            if not inside:
                raise
            skipped.unreadable.append(inside)
            continue
        for entry in found:
            path = f"{inside}/{entry.name}" if inside else entry.name
            if _is_left_out(entry.name, path, exclude) or entry.is_symlink():
                skipped.files += 1
            elif entry.is_dir(follow_symlinks=False):
                if recursive:
                    waiting.append(path)
            else:
                yield from _file(entry, path, skipped)


def _file(entry: os.DirEntry[str], path: str, skipped: Skipped) -> Iterator[FoundFile]:
    try:
        seen = entry.stat(follow_symlinks=False)
    except OSError:
        return  # gone since
    if stat.S_ISREG(seen.st_mode) and path.isprintable():
        yield FoundFile(path, seen.st_size, seen.st_mtime_ns)
    else:
        skipped.files += 1


def _is_left_out(name: str, path: str, exclude: Sequence[str]) -> bool:
    lower = name.lower()
    return any(fnmatchcase(lower, x) for x in _TEMPORARY) or any(fnmatchcase(name, x) or fnmatchcase(path, x) for x in exclude)
