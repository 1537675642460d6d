"""Chinese numerals and the numbers of articles: `第一百二十条之一` <-> `120-1`. Pure.

An article's key is its number in digits, with `-n` for an inserted article (之n). Sub-units (款, 项) are not part of the key.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_DIGITS = {char: i % 10 for row in ("零一二三四五六七八九", "〇壹贰叁肆伍陆柒捌玖") for i, char in enumerate(row)} | {"○": 0, "两": 2, "兩": 2}
_UNITS = {"十": 10, "拾": 10, "百": 100, "佰": 100, "千": 1000, "仟": 1000}
_LABEL_DIGITS = "零一二三四五六七八九"

NUMBER = r"(?:[零〇○一二两三四五六七八九十百千]{1,9}|[0-9０-９]{1,5})"
"""Pattern of a number in Chinese or digits, without a group."""
_ARTICLE = re.compile(rf"第\s?({NUMBER})\s?[条條](?:之({NUMBER})(?![0-9分百]))?")
_MENTION = re.compile(
    rf"第\s?(?P<n>{NUMBER})\s?[条條](?:之(?P<sub>{NUMBER})(?![0-9分百]))?(?![件例约約路线線理纹腿鱼道])"
    r"|\b[Aa]rt(?:icle|\.)\s?(?P<en>[0-9]{1,4})\b"
)


@dataclass(frozen=True, slots=True)
class ArticleMention:
    """An article named in a text: `text[start:end]` is the label, `key` its number (`12`, `120-1`)."""

    start: int
    end: int
    key: str


def chinese_number(numeral: str) -> int:
    """The value of `一百二十`, `二〇二一`, `两千零三`, `12` or `１２`; ValueError when it is no such number."""
    if numeral.isdecimal():
        return int(numeral)
    if not numeral:
        raise ValueError("empty numeral")
    if not any(c in _UNITS or c == "万" for c in numeral):
        return _positional(numeral)
    total = section = digit = 0
    for char in numeral:
        if char in _DIGITS:
            digit = _DIGITS[char]
        elif char in _UNITS:
            section += (digit or 1) * _UNITS[char]
            digit = 0
        elif char == "万":
            total, section, digit = total + (section + digit) * 10_000, 0, 0
        else:
            raise ValueError(f"not a Chinese numeral: {numeral!r}")
    return total + section + digit


def chinese_numeral(value: int) -> str:
    """`120` -> `一百二十` as regulations write it (`十二`, `一百零一`, `一百一十`); for 0..9999, else ValueError."""
    if not 0 <= value <= 9999:
        raise ValueError(f"only 0..9999: {value}")
    if value < 10:
        return _LABEL_DIGITS[value]
    parts, gap = [], False
    for unit, name in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit = value // unit % 10
        if digit:
            parts.append(("零" if gap else "") + _LABEL_DIGITS[digit] + name)
            gap = False
        else:
            gap = bool(parts)
    text = "".join(parts)
    return text[1:] if text.startswith("一十") else text


def article_key(label: str) -> str:
    """Key of the first article named in `label` (`第一百二十条之一` -> `120-1`, `第12条` -> `12`), '' when there is none."""
    match = _ARTICLE.search(label)
    return _key(match[1], match[2]) if match else ""


def article_label(key: str) -> str:
    """`120-1` -> `第一百二十条之一`, beyond 9999 in digits; ValueError when `key` is no article key."""
    number, _, inserted = key.partition("-")
    label = f"第{_written(int(number))}条"
    return f"{label}之{_written(int(inserted))}" if inserted else label


def _written(value: int) -> str:
    return chinese_numeral(value) if value <= 9999 else str(value)


def article_mentions(text: str) -> list[ArticleMention]:
    """Articles named in `text`, in order: `第十二条`, `第 12 條`, `第一百二十条之一`, `Article 12`. `第一条件` is none."""
    return [ArticleMention(m.start(), m.end(), m["en"] or _key(m["n"], m["sub"])) for m in _MENTION.finditer(text)]


def _key(number: str, inserted: str | None) -> str:
    return f"{chinese_number(number)}-{chinese_number(inserted)}" if inserted else str(chinese_number(number))


def _positional(numeral: str) -> int:
    try:
        return int("".join(str(_DIGITS[c]) for c in numeral))
    except KeyError as exc:
        raise ValueError(f"not a Chinese numeral: {numeral!r}") from exc
