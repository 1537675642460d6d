"""Which files of a Hugging-Face style folder hold the weights, and whether all of them are there."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import orjson

from qzbrain.models.files.unreadable import ModelFilesUnreadable, broken, head_of, incomplete, refuse_what_is_no_weights, unopened

_LONGEST_JSON = 1 << 25
_SHARD = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.(safetensors|bin)")
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_PATTERNS = ("*.safetensors", "pytorch_model*.bin", "*.pt")
_UNFINISHED = (".incomplete", ".part", ".aria2", ".crdownload", ".downloading", ".tmp")
_ZIP, _PICKLE, _ZIP_END = b"PK\x03\x04", b"\x80", b"PK\x05\x06"
_ZIP_TAIL = 66_000
_TOLD = 3


@dataclass(frozen=True, slots=True)
class Weights:
    """`pt`: a bare state of PyTorch, as training leaves it, which no engine takes."""

    format: Literal["safetensors", "pytorch", "pt"]
    files: list[Path]


def weights_of(folder: Path) -> Weights:
    """The folder's weights, safetensors before others, as engines choose. Raises ModelFilesUnreadable with the names of missing shards."""
    try:
        there = sorted(folder.iterdir())
    except OSError as exc:
        raise unopened(folder, exc) from exc
    for index in _INDEXES:
        if (folder / index).is_file():
            return Weights(_format_of(index.removesuffix(".index.json")), _indexed(folder, folder / index))
    for pattern in _PATTERNS:
        if found := [path for path in there if path.match(pattern) and path.is_file()]:
            return Weights(_format_of(found[0].name), _complete(folder, found))
    if unfinished := [path.name for path in there if path.name.endswith(_UNFINISHED)]:
        raise incomplete(folder, zh=f"下载尚未完成：{unfinished[0]}", en=f"a download has not ended: {unfinished[0]}")
    raise broken(folder, zh="没有权重文件（*.safetensors、pytorch_model*.bin 或 *.pt）", en="it has no weights (*.safetensors, pytorch_model*.bin or *.pt)")


def read_json(path: Path) -> dict[str, object]:
    """A small JSON file that holds an object. Raises ModelFilesUnreadable."""
    head = head_of(path)
    refuse_what_is_no_weights(path, head)
    try:
        if path.stat().st_size > _LONGEST_JSON:
            raise broken(path, zh="文件过大", en="it is too large")
        found = orjson.loads(path.read_bytes())
    except OSError as exc:
        raise unopened(path, exc) from exc
    except ValueError as exc:
        raise broken(path, zh="不是有效的 JSON", en="it is not valid JSON") from exc
    if not isinstance(found, dict):
        raise broken(path, zh="不是 JSON 对象", en="it is not a JSON object")
    return found


def pytorch_bytes(path: Path) -> int:
    """The size of a file that `torch.save` wrote, looked at from both ends only. Raises ModelFilesUnreadable."""
    head = head_of(path)
    refuse_what_is_no_weights(path, head)
    if not head.startswith((_ZIP, _PICKLE)):
        raise broken(path, zh="不是 PyTorch 保存的文件", en="it is not a file that PyTorch saved")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(max(0, size - _ZIP_TAIL))
            tail = file.read(_ZIP_TAIL)
    except OSError as exc:
        raise unopened(path, exc) from exc
    if head.startswith(_ZIP) and _ZIP_END not in tail:
        raise incomplete(path, zh="压缩包的结尾不在（下载或拷贝中断）", en="its end is missing (a download or copy broke off)")
    return size


def _format_of(name: str) -> Literal["safetensors", "pytorch", "pt"]:
    if name.endswith(".safetensors"):
        return "safetensors"
    return "pt" if name.endswith(".pt") else "pytorch"


def _indexed(folder: Path, index: Path) -> list[Path]:
    """The files that an index names. They must lie in the folder itself."""
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise broken(index, zh="没有 weight_map", en="it has no weight_map")
    names = sorted({str(name) for name in places.values()})
    if strange := [name for name in names if Path(name).name != name or name in (".", "..")]:
        raise broken(index, zh=f"指向目录之外：{strange[0][:80]}", en=f"it points out of its folder: {strange[0][:80]}")
    return _there(folder, [folder / name for name in names])


def _complete(folder: Path, found: list[Path]) -> list[Path]:
    """Without an index: shards by their numbers, or every file."""
    numbered = [match for path in found if (match := _SHARD.fullmatch(path.name))]
    if not numbered:
        return found
    stem, _, of, ending = numbered[0].groups()
    if not 1 <= int(of) <= 9999:
        return found
    return _there(folder, [folder / f"{stem}-{number:05d}-of-{of}.{ending}" for number in range(1, int(of) + 1)])


def _there(folder: Path, wanted: list[Path]) -> list[Path]:
    if missing := [path.name for path in wanted if not path.is_file()]:
        raise _lacking(folder, len(wanted), missing)
    return wanted


def _lacking(folder: Path, of: int, missing: list[str]) -> ModelFilesUnreadable:
    shown = ", ".join(missing[:_TOLD]) + (" …" if len(missing) > _TOLD else "")
    return incomplete(folder, zh=f"{of} 个权重文件缺少 {len(missing)} 个：{shown}", en=f"of {of} files of weights {len(missing)} are missing: {shown}")
