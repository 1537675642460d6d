"""What the engine manager tells of its engines: one file that it alone writes and every process reads."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from qzbrain.models.engines.launching import engine_folder
from qzbrain.settings import Settings

State = Literal["ready", "starting", "stopped", "failed", "draining"]


@dataclass(frozen=True, slots=True)
class Report:
    """One engine. `zh`, `en`: why it is not ready, or what is odd about one that is. `since`: when this state began, seconds since the epoch.

    `restarts`: how often it came back by itself since it was last asked to start. `start_s`: how long its last start took, 0 when not known.
    """

    state: State
    zh: str = ""
    en: str = ""
    since: float = 0.0
    restarts: int = 0
    start_s: float = 0.0


def path_of(settings: Settings) -> Path:
    """The file."""
    return engine_folder(settings) / "reports" / "all.json"


class ReportWriter:
    """The manager's side. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._path = path_of(settings)
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._reports: dict[str, Report] = {}
        self._write()  # what a manager before us told is over

    def tell(self, name: str, report: Report) -> None:
        """What holds of this engine from now on."""
        with self._lock:
            before = self._reports.get(name)
            since = before.since if before is not None and before.state == report.state else time.time()
            report = replace(report, since=since)
            if report == before:
                return
            self._reports[name] = report
            self._write()

    def get(self, name: str) -> Report | None:
        """What was told last."""
        return self._reports.get(name)

    def _write(self) -> None:
        temporary = self._path.with_suffix(".new")
        temporary.write_text(json.dumps({name: asdict(report) for name, report in self._reports.items()}, ensure_ascii=False), encoding="utf-8")
        temporary.replace(self._path)


class ReportReader:
    """Everyone else's side: read again only when the file has changed."""

    def __init__(self, settings: Settings) -> None:
        self._path = path_of(settings)
        self._seen: tuple[int, int] | None = None
        self._kept: Mapping[str, Report] = {}

    def get(self, name: str) -> Report | None:
        """What the manager told last of this engine; None when it told nothing. Whether it still lives is `wishes.manager_runs`."""
        try:
            state = self._path.stat()
            seen = (state.st_mtime_ns, state.st_ino)
            if seen != self._seen:
                self._kept, self._seen = _reports(json.loads(self._path.read_bytes())), seen
        except (OSError, ValueError, TypeError):
            return None
        return self._kept.get(name)


def _reports(found: dict[str, dict[str, Any]]) -> Mapping[str, Report]:
    return {name: Report(**fields) for name, fields in found.items()}
