"""Where one knowledge base's index lies: generations side by side, and a pointer file that names the one in use.

    ROOT/<kb id>/current           name of the generation in use; replaced by rename
    ROOT/<kb id>/writer.lock       flock of the one writer
    ROOT/<kb id>/<schema>-<id>/    a generation; <schema> is the hash of tokeniser and fields
                     watermark     the watermark of batches that added no chunk (those that did carry it in their chunks)
                     built         how many chunks were written together (`parts`)

A generation of another schema does not count. What a killed rebuild left behind is removed by the next writer.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qzbrain.domain import new_id
from qzbrain.errors import IndexUnavailable, StorageFull

POINTER = "current"
META = "meta.json"
LOCK = "writer.lock"
WATERMARK = "watermark"
_SPARE = 3

Stamp = tuple[int, int, int]
"""Inode, modification time and size: differs whenever a file has been replaced."""


def stamp(path: Path) -> Stamp | None:
    """The file's stamp, None when it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def read_watermark(generation: Path) -> int:
    """The watermark written beside the index, -1 when none is."""
    return read_number(generation / WATERMARK)


def write_watermark(generation: Path, watermark: int) -> None:
    """Put the watermark beside the index. After the commit: deletions may be done twice, so a kill in between does no harm."""
    write_number(generation / WATERMARK, watermark)


def read_number(path: Path) -> int:
    """What `write_number` put there, -1 when there is nothing."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return -1


def write_number(path: Path, number: int) -> None:
    """A whole number of 0 or more as a file, through to the disk."""
    _replace(path, str(number))


def _replace(path: Path, content: str) -> None:
    temporary = path.with_name(f".{path.name}")
    with temporary.open("w", encoding="ascii") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


class IndexFolder:
    """The generations of one knowledge base."""

    def __init__(self, root: Path, kb_id: str, schema: str) -> None:
        self.path = root / kb_id
        self.pointer = self.path / POINTER
        self._schema = schema

    def current(self) -> Path | None:
        """The generation in use, None when there is none of this schema."""
        try:
            name = self.pointer.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return self.path / name if name.startswith(self._schema + "-") and (self.path / name / META).is_file() else None

    def new_generation(self) -> Path:
        """An empty folder for a generation that nobody uses yet."""
        path = self.path / f"{self._schema}-{new_id()}"
        path.mkdir(parents=True)
        return path

    @contextmanager
    def building(self) -> Iterator[Path]:
        """An empty folder for a generation that nobody uses yet. At the end it is removed, unless it is in use."""
        generation = self.new_generation()
        try:
            yield generation
        finally:
            if self.current() != generation:
                self.discard(generation)

    def require_room(self) -> None:
        """Raises StorageFull where another generation might not find room beside the one in use, with what its merges take for a while."""
        held = self.current()
        size_bytes = sum(path.stat().st_size for path in held.iterdir()) if held is not None else 0
        if shutil.disk_usage(self.path).free < _SPARE * size_bytes:
            raise StorageFull

    def use(self, generation: Path) -> None:
        """Point to a finished generation and remove all others. Readers that hold an old one open go on until they look again."""
        _replace(self.pointer, generation.name)
        self.sweep()

    def sweep(self) -> None:
        """Remove every generation that the pointer does not name, also one that is being built."""
        kept = self.current()
        for path in self.path.iterdir():
            if path.is_dir() and path != kept:
                self.discard(path)

    def discard(self, generation: Path) -> None:
        """Remove a generation; nothing there is no error. Under another name first: who is still writing it finds it gone, and adds nothing more."""
        gone = self.path / f"gone-{new_id()}"
        try:
            generation.replace(gone)
        except OSError:
            gone = generation
        shutil.rmtree(gone, ignore_errors=True)

    def disown(self) -> None:
        """Forget the generation in use: it cannot be read and must be rebuilt."""
        self.pointer.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove all generations, the pointer first; nothing there is no error."""
        self.disown()
        self.sweep()
        shutil.rmtree(self.path, ignore_errors=True)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one writer of this knowledge base. Raises IndexUnavailable when somebody else is; a killed process gives way at once."""
        self.path.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                raise IndexUnavailable(
                    "index_busy",
                    zh="该知识库的索引正在由另一个进程写入，请稍后重试。",
                    en="Another process is writing this knowledge base's index; try again in a moment.",
                    retry_after_s=2,
                ) from exc
            yield
        finally:
            with suppress(OSError):
                os.close(handle)
