"""The error of files that are no usable model, and what is at their beginning in place of one. Files may be hostile: nothing of them is trusted."""

from __future__ import annotations

from pathlib import Path

from qzbrain.errors import BrainError

HEAD_BYTES = 512
_POINTER = b"version https://git-lfs.github.com/spec/"
_PAGES = (b"<!doctype", b"<html", b"<?xml")


class ModelFilesUnreadable(BrainError):
    """A model's files cannot be used. Codes: path_missing, not_a_model, incomplete, wrong_format. `zh` and `en` name the file and the next step."""

    default_code = "not_a_model"


def incomplete(path: Path, *, zh: str, en: str) -> ModelFilesUnreadable:
    """Something of the model is missing: `zh` and `en` say what."""
    return ModelFilesUnreadable("incomplete", zh=f"{path} 不完整：{zh}。请重新下载或重新拷贝。", en=f"{path} is not complete: {en}. Download or copy it again.")


def broken(path: Path, *, zh: str, en: str) -> ModelFilesUnreadable:
    """It claims to be a model and is not one that can be read: `zh` and `en` say why."""
    return ModelFilesUnreadable(
        "not_a_model",
        zh=f"{path} 不是可读的模型文件：{zh}。请核对校验和，重新下载或拷贝。",
        en=f"{path} is not a model that can be read: {en}. Compare its checksum; download or copy it again.",
    )


def unopened(path: Path, exc: OSError) -> ModelFilesUnreadable:
    """It is there and cannot be opened, or it is not there."""
    if isinstance(exc, FileNotFoundError):
        return ModelFilesUnreadable("path_missing", zh=f"{path} 不存在。", en=f"{path} does not exist.")
    return ModelFilesUnreadable(
        "not_a_model",
        zh=f"{path} 无法读取：{exc.strerror or exc}。请检查其所有者与权限。",
        en=f"{path} cannot be read: {exc.strerror or exc}. Look at its owner and rights.",
    )


def refuse_what_is_no_weights(path: Path, head: bytes) -> None:
    """Raise for the usual things that lie where weights should be: a git-lfs pointer, an empty file, a web page. `head`: its first bytes."""
    if head.startswith(_POINTER):
        raise ModelFilesUnreadable(
            "incomplete",
            zh=f"{path} 是 git-lfs 指针，不是权重本身。请在模型目录中运行 git lfs pull，或重新下载该文件。",
            en=f"{path} is a git-lfs pointer, not the weights. Run git lfs pull in the model's folder, or download the file itself.",
        )
    if not head.strip(b"\0"):
        raise incomplete(path, zh="文件为空，或开头全是零（下载尚未完成）", en="it is empty or begins with zeros only (a download that has not ended)")
    if head.lstrip().lower().startswith(_PAGES):
        raise broken(path, zh="内容是网页（下载时得到的是错误页或登录页）", en="it holds a web page (what came was an error or a sign-in page)")


def head_of(path: Path) -> bytes:
    """The first bytes of a file. Raises ModelFilesUnreadable."""
    if not path.is_file():
        raise unopened(path, FileNotFoundError()) if not path.exists() else broken(path, zh="不是普通文件", en="it is not a regular file")
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError as exc:
        raise unopened(path, exc) from exc
