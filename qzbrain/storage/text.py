"""What databases are given as text: JSON columns, and the answer to what is no text."""

from __future__ import annotations

import orjson

from qzbrain.errors import InvalidRequest


def as_json(value: object) -> str:
    """A JSON column's text."""
    return orjson.dumps(value).decode()


def no_text(exc: UnicodeEncodeError) -> InvalidRequest:
    """The error for half a character (a lone surrogate), which no database stores."""
    return InvalidRequest(
        zh=f"内容含有无法存储的字符（位置 {exc.start}）。请去掉后重试。",
        en=f"There is a character that is no text (position {exc.start}). Remove it and try again.",
    )
