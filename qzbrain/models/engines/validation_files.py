"""Where a local model's files are, and what they say; or why they cannot be used, with the key of config.toml that names them."""

from __future__ import annotations

import difflib
from pathlib import Path

from qzbrain.models.catalog import model_path, model_places, part_path
from qzbrain.models.engines.base import Problem
from qzbrain.models.files.description import ModelFiles, describe
from qzbrain.models.files.unreadable import ModelFilesUnreadable
from qzbrain.settings import ModelSettings, Settings

_MOST_NAMES = 2000
_NEAR = 3


def read(name: str, settings: Settings, model: ModelSettings) -> ModelFiles | Problem:
    """The model's files, or why they cannot be used, with the key of config.toml that names them."""
    here = f"[models.{name}]"
    if not model.path:
        return Problem(
            "path_missing",
            zh=f"{here} 没有 path。请写出模型的 GGUF 文件或目录，例如 path = \"{name}.gguf\"。",
            en=f"{here} has no path. Name the model's GGUF file or folder, such as path = \"{name}.gguf\".",
        )
    path = model_path(settings, model)
    if not path.exists():
        return _missing(here, settings, model, path)
    if model.vocabulary_path and not (place := _apart(settings, model.vocabulary_path) or path).exists():
        zh, en = f"{here} vocabulary_path：{place} 不存在。请改正路径。", f"{here} vocabulary_path: {place} does not exist. Correct it."
        return Problem("path_missing", zh=zh, en=en)
    try:
        return describe(path, config_path=_apart(settings, model.config_path), vocabulary_path=_apart(settings, model.vocabulary_path))
    except ModelFilesUnreadable as exc:
        key = "config_path" if model.config_path and str(_apart(settings, model.config_path)) in exc.en else "path"
        return Problem(exc.code, zh=f"{here} {key}：{exc.zh}", en=f"{here} {key}: {exc.en}")


def _apart(settings: Settings, given: str) -> Path | None:
    return part_path(settings, given) if given else None


def _missing(here: str, settings: Settings, model: ModelSettings, path: Path) -> Problem:
    places = list(dict.fromkeys([path, *model_places(settings, model.path)]))
    looked = ", ".join(str(one) for one in places)
    near = [str(one) for place in places for one in _near(place)][:_NEAR]
    if near:
        zh, en = f"相近的有：{'、'.join(near)}，请改正 path", f"there are {', '.join(near)}: correct path"
    else:
        zh, en = "请把模型放到其中一处，或把 path 改为它的完整路径", "put the model at one of them, or set path to its full path"
    zh, en = f"{here} path：找不到 {model.path}，已查找 {looked}。{zh}。", f"{here} path: {model.path} is not at {looked}. Next: {en}."
    return Problem("path_missing", zh=zh, en=en)


def _near(place: Path) -> list[Path]:
    """What lies there under nearly that name; of a folder that is missing itself, its own near misses."""
    folder, wanted = place.parent, place.name
    if not folder.is_dir():
        folder, wanted = folder.parent, folder.name
    try:
        names = [one.name for _, one in zip(range(_MOST_NAMES), folder.iterdir(), strict=False)]
    except OSError:
        return []
    lower = {name.lower(): name for name in names}
    return [folder / lower[one] for one in difflib.get_close_matches(wanted.lower(), lower, n=_NEAR, cutoff=0.7)]
