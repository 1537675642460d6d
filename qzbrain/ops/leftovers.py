"""What killed runs left behind in a data folder, and its removal: sockets, process ids, unfinished files, engines. Nothing that could not be made again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from qzbrain.models.engines import processes
from qzbrain.models.engines.launching import engine_folder
from qzbrain.models.engines.wishes import manager_runs
from qzbrain.ops.start import running_brain
from qzbrain.ops.supervision import run_folder, socket_path
from qzbrain.settings import Settings
from qzbrain.storage.files import UNFINISHED

_OLD_S = 3600
"""An upload that has not moved for so long is none any more."""


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing, told in both languages; `remove` does away with it. `engine`: it is a process."""

    zh: str
    en: str
    remove: Callable[[], object]
    engine: bool = False


def found(settings: Settings) -> list[Leftover]:
    """All of them. Files of a running brain are none of them."""
    if not settings.data.is_dir():
        return []
    return [*_files(settings), *_engines(settings)]


def _files(settings: Settings) -> Iterator[Leftover]:
    if not running_brain(settings):
        run = run_folder(settings)
        names = (run / name for name in ("supervisor.sock", "supervisord.pid", "setup-link", ".writable"))
        for path in dict.fromkeys((socket_path(settings), *names)):
            if path is not None and path.exists():
                yield _file(path)
    before = time.time() - _OLD_S
    for path in (settings.data / "files").glob(f"{UNFINISHED}*"):
        with suppress(OSError):
            if path.stat().st_mtime < before:
                yield _file(path)


def _file(path: Path) -> Leftover:
    return Leftover(f"遗留文件 {path}", f"a file that was left: {path}", lambda: path.unlink(missing_ok=True))


def _engines(settings: Settings) -> Iterator[Leftover]:
    """Processes with the mark of one of this folder's engines whose parents have gone: nobody minds them any more, and they hold memory."""
    if manager_runs(settings):
        return
    for state, pids in sorted(_marked(engine_folder(settings)).items()):
        if left := [pid for pid in pids if _is_orphan(pid, state)]:
            listed = ", ".join(map(str, left))
            yield Leftover(
                f"引擎 {state.stem} 的进程 {listed} 无人看管", f"processes {listed} of the engine {state.stem}, which nobody minds",
                partial(processes.kill, state), engine=True,
            )  # fmt: skip


def _marked(folder: Path) -> dict[Path, list[int]]:
    """Processes of all engines of this folder, by the state file that names the engine."""
    prefix, found = f"{processes.MARK}={folder}/".encode(), dict[Path, list[int]]()
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and not processes.has_ended(int(entry.name)):
                marks = [one for one in (entry / "environ").read_bytes().split(b"\0") if one.startswith(prefix)]
                for mark in marks[:1]:
                    found.setdefault(Path(os.fsdecode(mark.partition(b"=")[2])), []).append(int(entry.name))
    return found


def _is_orphan(pid: int, state: Path) -> bool:
    """Its chain of parents, as far as they carry the engine's mark, ends at init."""
    mark = f"{processes.MARK}={state}".encode()
    for _ in range(50):
        try:
            parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
            if parent <= 1:
                return True
            if mark not in Path(f"/proc/{parent}/environ").read_bytes().split(b"\0"):
                return False
        except (OSError, ValueError, IndexError):
            return False
        pid = parent
    return False
