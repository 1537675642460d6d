"""What the parts of the engine manager hand to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

PORT = "{port}"
"""In an engine's argv: the port that its launcher finds for it."""


@dataclass(frozen=True, slots=True)
class EngineCommand:
    """How an engine is started: `argv`, and what is added to or (None) taken out of the environment.

    `files`: written for its user alone before the start, for what must not be seen on a command line. `health`: the path that answers 200 once
    the engine listens, of a program that knows nothing of our state files and is run by `program_serve.py`; '' for one that writes its own.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str | None] = field(default_factory=dict)
    files: Mapping[Path, str] = field(default_factory=dict)
    health: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a model's configuration or files, and the next step. An `error` keeps it from being started, a `warning` does not."""

    code: str
    zh: str
    en: str
    severity: Literal["error", "warning"] = "error"


@dataclass(frozen=True, slots=True)
class Needs:
    """Memory that a model takes, estimated from its files' own metadata, bytes. `kv_cache`: for its context and slots."""

    weights: int
    kv_cache: int
    overhead: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.kv_cache + self.overhead


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU as its driver shows it, bytes."""

    index: int
    name: str
    total: int
    free: int
