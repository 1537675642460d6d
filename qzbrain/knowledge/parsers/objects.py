"""JSON and JSON lines: every object one block of `key：value` lines. What is no list of objects is read as the text that it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from qzbrain.domain import ParsedDocument
from qzbrain.knowledge.parsers import refusals
from qzbrain.knowledge.parsers.base import ParseLimits, Source, TextBuilder
from qzbrain.knowledge.parsers.plain import read_lines

_LOOK_AT_LINES = 20
_NAMES = ("json", "jsonl", "ndjson")


def looks_like_objects(text: str, extension: str) -> bool:
    """Whether a text that begins so is JSON: every whole line an object, or a name that says so and a bracket to begin with."""
    start = text.lstrip()[:1]
    if start not in ("{", "["):
        return False
    if extension in _NAMES:
        return True
    lines = [line for line in text.split("\n") if line.strip()][:_LOOK_AT_LINES]
    return len(lines) > 1 and all(isinstance(_loaded(line), dict) for line in lines)


def parse(source: Source, limits: ParseLimits) -> ParsedDocument:
    """Records as blocks of kind `table_row`. Raises ParseFailed: garbled, too_large."""
    text = source.text
    if len(text) > limits.max_text_chars:
        raise refusals.too_large(limits.max_text_chars)
    builder = TextBuilder(limits)
    whole = _loaded(text)
    if whole is None and not any(isinstance(_loaded(line), dict) for line in text.split("\n", _LOOK_AT_LINES)[:_LOOK_AT_LINES]):
        return read_lines(text, name=source.name)
    for record in _lines(text) if whole is None else _records(whole):
        builder.add(_shown(record), kind="table_row")
    return ParsedDocument(builder.text(), tuple(builder.blocks), source.stem, "application/json")


def _loaded(text: str) -> Any:
    try:
        return orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return None


def _lines(text: str) -> Iterator[Any]:
    """What each line holds; one that is broken as it stands, so that nothing is lost."""
    for line in text.split("\n"):
        if line.strip():
            value = _loaded(line)
            yield line if value is None else value


def _records(value: Any) -> list[Any]:
    """The objects of a file: a list's own, those of the longest list of objects in an object, else the one object."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        lists = [x for x in value.values() if isinstance(x, list) and x and all(isinstance(y, dict) for y in x)]
        if lists:
            longest = max(lists, key=len)
            rest = {key: x for key, x in value.items() if x is not longest}
            return [rest, *longest] if rest else longest
    return [value]


def _shown(record: Any) -> str:
    if not isinstance(record, dict):
        return _value(record)
    lines = []
    for key, value in record.items():
        if (text := _value(value)) and key.strip():
            lines.append(f"{key.strip()}{': ' if key.isascii() else '：'}{text}")
    return "\n".join(lines)


def _value(value: Any) -> str:
    """As a person would write it: nothing for null and empty, lists of plain values in a row, deeper things as JSON."""
    if value is None or value in ("", [], {}):
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list) and all(isinstance(x, str | int | float) for x in value):
        return "、".join(str(x) for x in value)
    return orjson.dumps(value).decode()
