"""Whether a backup is whole: every part and every original read to its end and compared."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from qzbrain.errors import BrainError, Conflict
from qzbrain.storage.backups.repository import Backup, Repository, damaged
from qzbrain.storage.backups.rows import BadRows, Progress, read
from qzbrain.storage.backups.sealing import PIECE


def faults(repository: Repository, backup: Backup, progress: Progress) -> Iterator[BrainError]:
    """What is damaged or missing, one by one; nothing for a backup that is whole. Raises Conflict (`backup_key_needed`)."""
    for name, part in backup.parts.items():
        try:
            found = _digest(repository, backup, name)
        except FileNotFoundError:
            yield damaged(f"{backup.id}/{name}")
            continue
        if found != (part.sha256, part.size_bytes):
            yield damaged(f"{backup.id}/{name}")
    try:
        _require_rows(repository, backup, progress)
        originals = repository.originals(backup)
    except Conflict as exc:
        if exc.code != "backup_damaged":
            raise
        yield exc
        return
    for done, one in enumerate(originals, 1):
        try:
            with repository.original(one.sha256) as stream:
                digest = hashlib.sha256()
                while piece := stream.read(PIECE):
                    digest.update(piece)
            if digest.hexdigest() != one.sha256:
                yield damaged(f"files/{one.sha256[:12]}…")
        except Conflict as exc:
            yield exc
        progress("check", done, len(originals))


def require_whole(repository: Repository, backup: Backup, progress: Progress) -> None:
    """Raises Conflict (`backup_damaged`, `backup_key_needed`)."""
    for fault in faults(repository, backup, progress):
        raise fault


def _digest(repository: Repository, backup: Backup, name: str) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with (repository.folder / "backups" / backup.id / name).open("rb") as stream:
        while piece := stream.read(PIECE):
            digest.update(piece)
            size += len(piece)
    return digest.hexdigest(), size


def _require_rows(repository: Repository, backup: Backup, progress: Progress) -> None:
    found: dict[str, int] = {}
    done, total = 0, sum(backup.rows.values())
    try:
        with repository.reading(backup, "database") as lines:
            for name, _, rows in read(lines):
                found[name] = found.get(name, 0) + len(rows)
                done += len(rows)
                progress("check", done, max(done, total))
    except BadRows as exc:
        raise damaged(f"{backup.id}/database ({exc})") from exc
    if found != backup.rows:
        raise damaged(f"{backup.id}/database")
