"""Snapshots of a knowledge base: packs in the data folder, under the name of the knowledge base and one of their own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from qzbrain.brain import Brain
from qzbrain.domain import Caller
from qzbrain.errors import Conflict, NotFound
from qzbrain.knowledge.names import checked_kb_name
from qzbrain.knowledge.packs.format import ENDING
from qzbrain.knowledge.packs.writing import Choice, Progress


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One that is kept."""

    knowledge_base: str
    name: str
    made_at: str
    size_bytes: int


def make(brain: Brain, caller: Caller, kb: str, name: str | None, progress: Progress) -> tuple[Snapshot, int]:
    """Keep a knowledge base as it is now; also how many documents are left out, not being read to their end.

    Raises NotFound, PermissionRefused, InvalidRequest (`invalid_name`), Conflict (`snapshot_exists`), StorageFull.
    """
    kb_name = brain.knowledge.knowledge_base(caller, kb).name
    name = checked_kb_name(name) if name is not None else f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    path = _folder(brain, kb_name) / f"{name}{ENDING}"
    if path.exists():
        raise Conflict(
            "snapshot_exists",
            zh=f"知识库 {kb_name} 已有名为“{name}”的快照。请另起名称。",
            en=f'The knowledge base {kb_name} has a snapshot "{name}" already. Choose another name.',
            param="name",
        )
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = brain.packs.write(caller, kb, path, Choice(), progress)
    return _described(kb_name, path), made.left_out


def kept(brain: Brain, kb: str | None = None) -> list[Snapshot]:
    """All snapshots, or those of a knowledge base, by name and age."""
    folders = [_folder(brain, kb)] if kb is not None else sorted((brain.settings.data / "snapshots").glob("*"))
    found = [_described(folder.name, path) for folder in folders for path in folder.glob(f"*{ENDING}")]
    return sorted(found, key=lambda one: (one.knowledge_base, one.made_at))


def remove(brain: Brain, kb: str, name: str) -> None:
    """Forget one. Raises NotFound (`snapshot_not_found`)."""
    _path(brain, kb, name).unlink()


def submit_rollback(brain: Brain, caller: Caller, kb: str, name: str, progress: Progress) -> tuple[str, Snapshot]:
    """Have a snapshot take the place of its knowledge base, which is kept as another one before; the job's id, and that one.

    Raises NotFound (`knowledge_base_not_found`, `snapshot_not_found`), InvalidRequest (`bad_pack`), PermissionRefused, StorageFull.
    """
    kb_name = brain.knowledge.knowledge_base(caller, kb).name
    path = _path(brain, kb_name, name)
    before, _ = make(brain, caller, kb_name, f"before-rollback-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}", progress)
    return brain.packs.submit_import(caller, path, name=kb_name, in_place=True), before


def _path(brain: Brain, kb: str, name: str) -> Path:
    path = _folder(brain, kb) / f"{checked_kb_name(name)}{ENDING}"
    if not path.is_file():
        raise NotFound(
            "snapshot_not_found",
            zh=f"知识库 {kb} 没有快照“{name}”。qzbrain snapshot list {kb} 列出全部。",
            en=f'The knowledge base {kb} has no snapshot "{name}". qzbrain snapshot list {kb} shows all.',
            param="snapshot",
        )
    return path


def _folder(brain: Brain, kb: str) -> Path:
    return brain.settings.data / "snapshots" / checked_kb_name(kb)


def _described(kb: str, path: Path) -> Snapshot:
    found = path.stat()
    return Snapshot(kb, path.name.removesuffix(ENDING), f"{datetime.fromtimestamp(found.st_mtime, UTC):%Y-%m-%dT%H:%M:%SZ}", found.st_size)
