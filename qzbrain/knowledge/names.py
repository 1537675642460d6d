"""Names that people and files bring: what a knowledge base may be called, and how a hostile file name is shown."""

from __future__ import annotations

import unicodedata

from qzbrain.domain import LEVELS
from qzbrain.errors import InvalidRequest

LONGEST_NAME = 255
_LONGEST_KB_NAME = 64
LEVEL_NAMES = dict(zip(("公开", "内部", "秘密", "机密", "绝密"), range(len(LEVELS)), strict=True))


def checked_kb_name(name: str) -> str:
    """The name, when it is 1-64 letters (any script, with their marks), digits, `-`, `_`, `.`. Raises InvalidRequest.

    Names are compared in NFC, so that one that looks the same is the same. `.` and `..` are no names.
    """
    name = unicodedata.normalize("NFC", name)
    good = all(x in "-_." or unicodedata.category(x) in ("Nd", "Mn", "Mc") or x.isalpha() for x in name)
    if not 1 <= len(name) <= _LONGEST_KB_NAME or not good or not name.strip("."):
        raise InvalidRequest(
            "invalid_name",
            zh="知识库名称须为 1 至 64 个字母、汉字、数字或 - _ . 字符，不能含空格和斜杠。请换一个名称。",
            en="A knowledge base's name is 1 to 64 letters of any script, digits, or - _ . without blanks or slashes. Choose another.",
            param="name",
        )
    return name


def display_name(name: str, default: str = "") -> str:
    """A file's or text's name as it is shown: no folders, no control or formatting characters, at most 255 characters, never a path.

    A name that has nothing left is `default`.
    """
    if name.isprintable() and len(name) <= LONGEST_NAME and "/" not in name and "\\" not in name:
        return name.strip() or default  # nearly all; a corpus brings many
    last = name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    shown = "".join(x for x in last if unicodedata.category(x) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")).strip()
    if len(shown) > LONGEST_NAME:
        stem, dot, ending = shown.rpartition(".")
        ending = dot + ending if stem and len(ending) <= 10 else ""
        shown = shown[: LONGEST_NAME - len(ending)] + ending
    return shown or default


def checked_level(level: str, *, param: str = "level") -> int:
    """Place in LEVELS of a level by its English or Chinese name. Raises InvalidRequest."""
    name = level.strip()
    if name in LEVEL_NAMES:
        return LEVEL_NAMES[name]
    for place, known in enumerate(LEVELS):
        if name == known:
            return place
    allowed = ", ".join(LEVELS)
    raise InvalidRequest(zh=f"{param} 只能是 {allowed} 之一。", en=f"{param} is one of {allowed}.", param=param)


def checked_text(value: str, *, param: str, longest: int) -> str:
    """A text that can be stored: no lone surrogates, within its length. Raises InvalidRequest."""
    if len(value) > longest:
        raise InvalidRequest(zh=f"{param} 超过 {longest} 个字符，请缩短。", en=f"{param} is over {longest} characters; shorten it.", param=param)
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise InvalidRequest(
            zh=f"{param} 含有无法存储的字符（位置 {exc.start}）。请去掉后重试。",
            en=f"{param} holds a character that is no text (position {exc.start}). Remove it and try again.",
            param=param,
        ) from exc
    return value
