"""Writes a model's table into config.toml without touching what else stands there: comments, order and form stay."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qzbrain.errors import Conflict, SettingsInvalid


def write(config: Path, name: str, values: Mapping[str, Any], *, force: bool = False) -> bool:
    """Add `[models.NAME]`; whether the file was changed. A table of this name with the same path stays as it is; with `force` its path becomes this one.

    The file is made (mode 0600) when it is not there, and replaced as a whole. Raises Conflict (`model_configured`) for a table with another
    path, SettingsInvalid for a file that is not TOML, OSError.
    """
    text = config.read_text(encoding="utf-8-sig") if config.exists() else ""
    there = _parsed(config, text).get("models", {}).get(name)
    if there is None:
        changed = text + ("" if not text or text.endswith("\n") else "\n") + ("\n" if text else "") + table(name, values)
    elif there.get("path") == values["path"]:
        return False
    elif force:
        changed = _with_path(config, text, name, str(values["path"]))
    else:
        raise Conflict(
            "model_configured",
            zh=f"{config} 中已有 [models.{_key(name)}]，path 是 {there.get('path')!r}。请用 --name 换一个名称，或用 --force 改为新的文件。",
            en=f"{config} has [models.{_key(name)}] already, with path {there.get('path')!r}. Take another name with --name, or point it to the new file "
            "with --force.",
        )
    found = _parsed(config, changed)["models"][name]
    if found.get("path") != values["path"]:
        raise _unusable(config, "the table was not written as meant")
    _replace(config, changed)
    return True


def table(name: str, values: Mapping[str, Any]) -> str:
    """`[models.NAME]` with its keys, as TOML."""
    return f"[models.{_key(name)}]\n" + "".join(f"{key} = {_value(value)}\n" for key, value in values.items())


def _with_path(config: Path, text: str, name: str, path: str) -> str:
    lines = text.splitlines(keepends=True)
    header = re.compile(rf"\s*\[\s*models\s*\.\s*(?:{re.escape(name)}|{re.escape(json.dumps(name))}|'{re.escape(name)}')\s*\]")
    start = next((n for n, line in enumerate(lines) if header.match(line)), None)
    if start is None:
        raise _unusable(config, f"its table of {name} is not written as [models.{_key(name)}]")
    end = next((n for n in range(start + 1, len(lines)) if lines[n].lstrip().startswith("[")), len(lines))
    at = next((n for n in range(start + 1, end) if re.match(r"\s*path\s*=", lines[n])), None)
    line = f"path = {_value(path)}\n"
    return "".join([*lines[:at], line, *lines[at + 1 :]] if at is not None else [*lines[: start + 1], line, *lines[start + 1 :]])


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)


def _value(value: Any) -> str:
    """JSON's strings, numbers, booleans and lists of them are TOML's, too."""
    return json.dumps(value, ensure_ascii=False)


def _parsed(config: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise _unusable(config, str(exc)) from exc


def _unusable(config: Path, why: str) -> SettingsInvalid:
    return SettingsInvalid(
        zh=f"无法在 {config} 中写入模型配置：{why}。请手工添加 [models.名称]。",
        en=f"The model's table cannot be written into {config}: {why}. Add [models.NAME] by hand.",
    )


def _replace(config: Path, text: str) -> None:
    config.parent.mkdir(parents=True, exist_ok=True)
    mode = config.stat().st_mode & 0o777 if config.exists() else 0o600
    temporary = config.with_name(f".{config.name}.{os.getpid()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        os.fchmod(handle, mode)  # whatever the umask is
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(config.resolve())
