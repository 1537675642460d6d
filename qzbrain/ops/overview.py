"""This installation at a glance: versions, since when it runs, its processes, the disk that its data takes, the queue. Stands beside the doctor's checks."""

from __future__ import annotations

import os
import platform
import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from qzbrain import __version__
from qzbrain.errors import BrainError
from qzbrain.ops import doctor_data
from qzbrain.ops.start import running_brain
from qzbrain.ops.supervised import seen
from qzbrain.ops.supervision import run_folder
from qzbrain.retrieval.backends import chosen
from qzbrain.settings import Settings
from qzbrain.storage.migrate import HEAD

_LONGEST_S = 2.0


def overview(settings: Settings) -> dict[str, Any]:
    """As GET /api/system/doctor gives it under `system`. Times in seconds since 1970, or seconds; sizes in bytes; null for what cannot be told."""
    running = running_brain(settings)
    started = (run_folder(settings) / "brain.lock").stat().st_mtime if running else None
    return {
        "version": __version__,
        "schema": HEAD,
        "python": platform.python_version(),
        "host": platform.node(),
        "started_at": started,
        "uptime_s": round(time.time() - started) if started else None,
        "database": "mysql" if settings.mysql_host else "sqlite",
        "index": chosen(settings),
        "broker": "redis" if settings.redis_host else "builtin",
        "processes": [asdict(one) for one in seen(settings) or []] if running else [],
        "disk": _disk(settings),
        "queue": _queue(settings),
    }


def _disk(settings: Settings) -> dict[str, Any]:
    """The data folder and its parts, the largest first; `complete`: false when the looking took too long, and the sizes are then at least."""
    folder = settings.data
    there = next(x for x in (folder, *folder.parents) if x.exists())
    usage, until = shutil.disk_usage(there), time.monotonic() + _LONGEST_S
    parts: dict[str, int] = {}
    if folder.is_dir():
        for entry in sorted(folder.iterdir()):
            name = entry.name.partition(".sqlite")[0] + ".sqlite" if ".sqlite" in entry.name else entry.name
            parts[name] = parts.get(name, 0) + _size(entry, until)
    listed = [{"name": name, "bytes": size} for name, size in sorted(parts.items(), key=lambda one: -one[1])]
    return {
        "path": str(folder), "bytes": sum(parts.values()), "free_bytes": usage.free, "total_bytes": usage.total, "parts": listed,
        "complete": time.monotonic() < until,
    }  # fmt: skip


def _size(path: Path, until: float) -> int:
    """Bytes on the disk of a file, or of all below a folder; links are not followed."""
    try:
        total = path.lstat().st_blocks * 512
        if path.is_dir() and not path.is_symlink():
            for folder, _, files in os.walk(path):
                if time.monotonic() > until:
                    break
                total += sum(os.lstat(os.path.join(folder, name)).st_blocks * 512 for name in files)  # noqa: PTH118  some thousands of them
    except OSError:
        return 0
    return total


def _queue(settings: Settings) -> dict[str, int] | None:
    try:
        if not settings.mysql_host and not settings.database_path.exists():
            return None
        with doctor_data.opened(settings) as connection:
            counts = {row[0]: int(row[1]) for row in connection.exec_driver_sql("SELECT status, COUNT(*) FROM jobs GROUP BY status")}
    except (SQLAlchemyError, BrainError, OSError):
        return None
    return {status: counts.get(status, 0) for status in ("pending", "running", "failed")}
