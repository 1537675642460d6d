"""Making a backup while the brain goes on: one moment of the database, and the originals that its rows name then.

Originals are held from before that moment until they are kept (`FileStore.held`), so none of them is taken away in between.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, inspect

from qzbrain import __version__
from qzbrain.domain import utc_now
from qzbrain.errors import Conflict
from qzbrain.storage.backups.repository import Adding, Backup, Repository
from qzbrain.storage.backups.rows import Progress, tables_of, written
from qzbrain.storage.counters import COUNTED, last_number
from qzbrain.storage.database import Database
from qzbrain.storage.files import FileStore
from qzbrain.storage.migrate import revision_of


@dataclass(frozen=True, slots=True)
class Beside:
    """What goes along beside rows and originals. `audit`: number and hash of the audit log's head file, read before; `secrets`: files by name."""

    settings: Mapping[str, str] = field(default_factory=dict)
    audit: Mapping[str, Any] | None = None
    secrets: Mapping[str, Path] = field(default_factory=dict)


def take(database: Database, files: FileStore, repository: Repository, reason: str, beside: Beside, progress: Progress) -> Backup:
    """Make a backup of a database of any revision. The caller holds the repository's lock.

    Raises StorageFull, StorageBusy, Conflict (`cannot_write`, `no_database`, `database_damaged`).
    """
    began, made_at = time.monotonic(), utc_now()
    with files.held(), database.snapshot() as connection, repository.adding(made_at, reason) as adding:
        revision = revision_of(connection)
        if revision is None:
            raise Conflict(
                "no_database",
                zh=f"数据库 {database.place} 是空的，没有可备份的内容。",
                en=f"The database {database.place} is empty; there is nothing to back up.",
            )
        with adding.part("database") as stream:
            rows = written(connection, database.kind, stream.write, progress)
        numbers = {name: last_number(connection, database.kind, name) for name in COUNTED}
        kept = _keep_originals(connection, files, repository, adding, progress)
        with adding.part("settings") as stream:
            stream.write(orjson.dumps(dict(beside.settings), option=orjson.OPT_INDENT_2))
        if repository.encrypted and beside.secrets:
            with adding.part("secrets") as stream:
                stream.write(orjson.dumps({name: path.read_bytes().hex() for name, path in beside.secrets.items()}))
        told = {
            "made_at": made_at, "reason": reason, "program": __version__, "revision": revision, "database": database.kind, "rows": rows, "numbers": numbers,
            **kept, "audit": dict(beside.audit) if beside.audit else None,
        }  # fmt: skip
        return adding.finish({**told, "seconds": round(time.monotonic() - began, 3)})


def _keep_originals(connection: Connection, files: FileStore, repository: Repository, adding: Adding, progress: Progress) -> dict[str, int]:
    """All originals that documents name, and those that open jobs are about; counts for the description."""
    there = tables_of(connection)
    wanted: dict[str, bool] = {}
    if "jobs" in there:
        wanted |= {row[0]: False for row in connection.exec_driver_sql("SELECT DISTINCT subject FROM jobs WHERE status <> 'done' AND LENGTH(subject) = 64")}
    if "documents" in there and "stored" in {column["name"] for column in inspect(connection).get_columns("documents")}:
        wanted |= {row[0]: True for row in connection.exec_driver_sql("SELECT DISTINCT sha256 FROM documents WHERE stored = 1")}
    counts = {"files": 0, "files_bytes": 0, "new_files": 0, "new_bytes": 0, "missing": 0}
    lines = []
    for done, (sha256, must) in enumerate(sorted(wanted.items()), 1):
        path = files.path(sha256)
        try:
            size = path.stat().st_size
        except OSError:  # a job's subject may be something else
            counts["missing"] += must
            continue
        if not repository.keeps(sha256, size):
            if not repository.keep(sha256, path):
                counts["missing"] += must
                continue
            counts["new_files"] += 1
            counts["new_bytes"] += size
        counts["files"] += 1
        counts["files_bytes"] += size
        lines.append(f"{sha256} {size}\n")
        progress("files", done, len(wanted))
    with adding.part("files") as stream:
        stream.write("".join(lines).encode())
    return counts
