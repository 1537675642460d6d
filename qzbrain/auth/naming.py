"""What users and groups may be called, and how a name that was typed is compared."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from qzbrain.errors import Conflict, InvalidRequest
from qzbrain.storage.database import Database

LONGEST = 64
_LONGEST_TEXT = {"display_name": 200, "description": 2000}


def plain_name(name: str) -> str:
    """A name as it is compared: without blanks around it, one form of each character, in lower case."""
    return unicodedata.normalize("NFKC", name.strip()).lower()


def checked_name(name: str) -> str:
    """The name as it is kept. Raises InvalidRequest."""
    plain = plain_name(name)
    good = all(x in "-_.@" or unicodedata.category(x) in ("Nd", "Mn", "Mc") or x.isalpha() for x in plain)
    if not 1 <= len(plain) <= LONGEST or not good or not plain.strip("."):
        raise InvalidRequest(
            "invalid_name",
            zh=f"名称须为 1 至 {LONGEST} 个字母、汉字、数字或 - _ . @ 字符，不能含空格。请换一个名称。",
            en=f"A name is 1 to {LONGEST} letters of any script, digits, or - _ . @ without blanks. Choose another.",
            param="name",
        )
    return plain


def checked_words(value: str, param: str) -> str:
    """A text for people, in one line or some. Raises InvalidRequest."""
    longest = _LONGEST_TEXT[param]
    if len(value) > longest or any(unicodedata.category(x) in ("Cs", "Cc") and x not in "\n\t" for x in value):
        raise InvalidRequest(
            zh=f"{param} 最多 {longest} 个字符，且不能含控制字符。请修改后重试。",
            en=f"{param} has at most {longest} characters, and no control characters. Change it and try again.",
            param=param,
        )
    return value.strip()


@contextmanager
def naming(database: Database) -> Iterator[Connection]:
    """A durable transaction that gives somebody a name. Raises Conflict (`name_taken`)."""
    try:
        with database.write(durable=True) as connection:
            yield connection
    except IntegrityError as exc:
        raise Conflict("name_taken", zh="这个名称已被使用，请换一个名称。", en="This name is taken; choose another.", param="name") from exc
