"""What databases are given as text: JSON columns, and the answer to what is no text."""

from __future__ import annotations

import orjson
from sqlalchemy import exc

from qzbrain.errors import InvalidRequest


def as_json(value: object) -> str:
    """A JSON column's text. Raises InvalidRequest for half a character in it."""
    try:
        return orjson.dumps(value).decode()
    except TypeError as error:
        if "surrogates" in str(error):
            raise _no_text() from error
        raise


def no_text(error: Exception) -> InvalidRequest | None:
    """The error for half a character (a lone surrogate), which no database stores; None for another exception."""
    original = error.orig if isinstance(error, exc.StatementError) else error
    if isinstance(original, InvalidRequest):
        return original
    return _no_text() if isinstance(original, UnicodeEncodeError) else None


def _no_text() -> InvalidRequest:
    return InvalidRequest(
        zh="内容含有无法存储的字符（半个代理对）。请去掉后重试。",
        en="There is a character in it that is no text (half a surrogate pair). Remove it and try again.",
    )
