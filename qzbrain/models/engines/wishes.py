"""Which engines shall run: what was asked for by `model start`, `stop` and `swap`, kept beyond a restart of the brain.

One small file in the data folder, `engines.json`, because engines belong to one machine: written by whoever asks, under a lock and as a whole;
read by all, mostly from memory. What nobody asked for is as the configuration says (`alive`).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from qzbrain import logs
from qzbrain.settings import ModelSettings, Settings

log = logs.get(__name__)
DUE_S = 10.0
"""How long an engine manager that was announced may take to be there."""
Wish = Literal["running", "stopped"]


@dataclass(frozen=True, slots=True)
class Swap:
    """A swap under way: `new` takes the place of `old`. `beside`: both fit, so the old ones answer until the new one does.

    `down`: the old ones have been stopped (not `beside`), so that it is the new one's turn to start. `began`: seconds since the epoch.
    """

    new: str
    old: tuple[str, ...]
    beside: bool
    down: bool = False
    began: float = 0.0


@dataclass(frozen=True, slots=True)
class Wishes:
    """`wanted`: by model's name. `instead`: who answers for a model that was swapped out. `swap`: the one under way. `asked`: how often each was
    asked to start, by which an engine that was given up is tried anew.
    """

    wanted: Mapping[str, Wish] = field(default_factory=dict)
    instead: Mapping[str, str] = field(default_factory=dict)
    swap: Swap | None = None
    asked: Mapping[str, int] = field(default_factory=dict)

    def runs(self, name: str, model: ModelSettings) -> bool:
        """Whether this model shall take part: as was asked for last, else as configured."""
        wish = self.wanted.get(name)
        return model.alive if wish is None else wish == "running"

    def started(self, name: str) -> Wishes:
        """With this model running, under its own name."""
        asked = {**self.asked, name: self.asked.get(name, 0) + 1}
        return replace(self, wanted={**self.wanted, name: "running"}, instead={k: v for k, v in self.instead.items() if k != name}, asked=asked)

    def stopped(self, name: str) -> Wishes:
        """With this model stopped; nobody is sent to it any more."""
        return replace(self, wanted={**self.wanted, name: "stopped"}, instead={k: v for k, v in self.instead.items() if v != name})

    def swapped(self, swap: Swap) -> Wishes:
        """With the new one in the place of the old ones, to which whoever names an old one, or one that an old one stood for, is sent."""
        moved = {k: swap.new if v in swap.old else v for k, v in self.instead.items() if k != swap.new}
        wanted: dict[str, Wish] = {**self.wanted, swap.new: "running", **dict.fromkeys(swap.old, "stopped")}
        asked = {**self.asked, swap.new: self.asked.get(swap.new, 0) + 1}
        return replace(self, wanted=wanted, instead={**moved, **dict.fromkeys(swap.old, swap.new)}, asked=asked)

    def unswapped(self, swap: Swap) -> Wishes:
        """As before the swap: the old ones run, the new one does not."""
        wanted: dict[str, Wish] = {**self.wanted, swap.new: "stopped", **dict.fromkeys(swap.old, "running")}
        return replace(self, wanted=wanted, instead={k: v for k, v in self.instead.items() if v != swap.new}, swap=None)


class WishStore:
    """The file. Thread-safe; any number of processes."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.data / "engines.json"
        self._seen: tuple[int, int, int] | None = None
        self._kept = Wishes()

    def read(self) -> Wishes:
        """What is wanted now; costs a `stat` when nothing has changed. A file that cannot be read counts as empty, and is logged."""
        try:
            state = self._path.stat()
        except OSError:
            return Wishes()
        seen = (state.st_mtime_ns, state.st_ino, state.st_size)
        if seen != self._seen:
            self._kept, self._seen = self._load(), seen
        return self._kept

    def change(self, change: Callable[[Wishes], Wishes]) -> Wishes:
        """Replace what is wanted by `change` of it, one change after the other; what holds then. Durable on return. Raises OSError."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_suffix(".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            changed = change(self._load())
            temporary = self._path.with_suffix(".new")
            with temporary.open("w", encoding="utf-8") as file:
                json.dump(asdict(changed), file, ensure_ascii=False, indent=1)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(self._path)
        return changed

    def _load(self) -> Wishes:
        text = "{}"
        with contextlib.suppress(FileNotFoundError):
            text = self._path.read_text(encoding="utf-8")
        try:
            return _wishes(json.loads(text))
        except (ValueError, TypeError, KeyError, AttributeError) as exc:
            log.warning("wishes_unreadable", path=str(self._path), exc_info=exc)
            return Wishes()


def manager_lock(settings: Settings) -> Path:
    """What the engine manager holds while it lives."""
    return settings.data / "run" / "engines" / "reports" / "manager.lock"  # among no model's files: any name may be a model's


def expect_manager(settings: Settings) -> None:
    """Tell that an engine manager is being started together with the rest of the brain. Raises OSError."""
    due = manager_lock(settings).with_suffix(".due")
    due.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    due.touch()


def manager_runs(settings: Settings) -> bool:
    """Whether an engine manager is at work on this data folder, or about to be."""
    try:
        if time.time() - manager_lock(settings).with_suffix(".due").stat().st_mtime < DUE_S:
            return True
    except OSError:
        pass
    try:
        with manager_lock(settings).open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                return True
    except OSError:
        return False
    return False


def _wishes(found: Any) -> Wishes:
    wanted: dict[str, Wish] = {str(k): "running" if v == "running" else "stopped" for k, v in found.get("wanted", {}).items()}
    instead = {str(k): str(v) for k, v in found.get("instead", {}).items()}
    swap = found.get("swap")
    made = Swap(str(swap["new"]), tuple(map(str, swap["old"])), bool(swap["beside"]), bool(swap["down"]), float(swap["began"])) if swap else None
    return Wishes(wanted, instead, made, {str(k): int(v) for k, v in found.get("asked", {}).items()})
