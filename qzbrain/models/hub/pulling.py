"""A model of the table, fetched from the first hub that has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import urllib3

from qzbrain.errors import BrainError, Conflict, Unavailable
from qzbrain.models.hub.download import Tell, download, file_hash
from qzbrain.models.hub.hubs import Hub
from qzbrain.models.hub.table import KnownModel
from qzbrain.settings import Settings


@dataclass(frozen=True, slots=True)
class Pulled:
    """`hub`: where it came from; '' when it was there already."""

    path: Path
    sha256: str
    hub: str


def pull(
    settings: Settings, model: KnownModel, hubs: list[Hub], http: urllib3.PoolManager, *, tell: Tell, failed: Callable[[str, BrainError], None]
) -> Pulled:
    """The model's file under `DATA/models/NAME/`. `failed` is told of each hub that could not give it.

    Raises what the last hub gave: Unavailable or Conflict (`hash_differs`); a full disk, or another command at the same file, at once.
    """
    target = settings.data / "models" / model.name / model.file
    if target.exists() and file_hash(target, tell) == model.sha256:
        return Pulled(target, model.sha256, "")
    problem: BrainError | None = None
    for hub in hubs:
        try:
            source = hub.source(model.repository, model.file, model.revision)
            if source.sha256 and source.sha256 != model.sha256:
                raise _another(hub.name, model)
            return Pulled(target, download(source, target, sha256=model.sha256, size_bytes=model.size_bytes, tell=tell, http=http), hub.name)
        except (Unavailable, Conflict) as exc:
            if exc.code in ("disk_full", "download_runs"):
                raise
            failed(hub.name, exc)
            problem = exc
    if problem is None:
        raise ValueError("no hub was given")
    raise problem


def _another(hub: str, model: KnownModel) -> Conflict:
    return Conflict(
        "hash_differs",
        zh=f"{hub} 上的 {model.file} 与本表核对过的不是同一个文件，未下载。",
        en=f"{model.file} at {hub} is not the file that was checked for this table; it was not fetched.",
    )
