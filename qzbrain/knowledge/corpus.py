"""The corpus format: a file of JSON lines, `{"id"|"_id", "title"?, "text"}`, one document a line. Knows lines, not rows.

Also BEIR's format, hence `_id`. A number as id is taken as its text. Blank lines are skipped; rows count from 1 as editors do.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import orjson

from qzbrain.knowledge.names import LONGEST_NAME

_LOOK_AT_LINES = 20
_ENDINGS = (".jsonl", ".ndjson")


@dataclass(frozen=True, slots=True)
class CorpusLine:
    """One document of a corpus; `offset`: bytes of the file up to the end of its line."""

    row: int
    external_id: str
    title: str
    text: str
    offset: int


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no document, and why."""

    row: int
    zh: str
    en: str
    offset: int


def looks_like_corpus(name: str, head: bytes) -> bool:
    """Whether a file that begins with `head` is a corpus.

    One called .jsonl or .ndjson is when any of its first lines is a document; under another name each of them must be.
    """
    lines = [x for x in head.removeprefix(codecs.BOM_UTF8).split(b"\n") if x.strip()]
    if len(lines) > 1:
        lines = lines[:-1]  # the last one may be cut
    named = name.lower().endswith(_ENDINGS)
    if len(lines) == 1 and named:
        return lines[0].lstrip()[:1] == b"{" and b'"text"' in lines[0]  # perhaps cut, too long to be seen whole
    documents = [not isinstance(_document(line), str) for line in lines[:_LOOK_AT_LINES]]
    return bool(documents) and (any(documents) if named else all(documents))


def corpus_lines(stream: BinaryIO, *, max_text_chars: int) -> Iterator[CorpusLine | BadLine]:
    """Every line of a corpus in order. Reads line by line: memory stays at one line."""
    longest = 6 * max_text_chars + 65_536
    offset = row = 0
    while line := stream.readline(longest):
        row += 1
        offset += len(line)
        whole = line.endswith(b"\n") or len(line) < longest
        while not whole:  # skip the rest of a line that is too long to be looked at
            rest = stream.readline(longest)
            offset += len(rest)
            whole = rest.endswith(b"\n") or len(rest) < longest
            line = b'{"id":"-","text":"' + b"-" * (max_text_chars + 1) + b'"}'
        if row == 1:
            line = line.removeprefix(codecs.BOM_UTF8)
        if line.strip():
            yield _line(row, line, offset, max_text_chars)


def _line(row: int, line: bytes, offset: int, max_text_chars: int) -> CorpusLine | BadLine:
    found = _document(line)
    if isinstance(found, str):
        zh, en = _FAULTS[found]
        return BadLine(row, zh, en, offset)
    external_id, title, text = found
    if len(text) > max_text_chars:
        return BadLine(row, f"text 超过 {max_text_chars} 个字符", f"text is over {max_text_chars} characters", offset)
    return CorpusLine(row, external_id, title, text, offset)


_FAULTS = {
    "json": ("不是有效的 JSON", "not valid JSON"),
    "object": ("不是 JSON 对象", "not a JSON object"),
    "id": ("缺少 id（或 _id），须为 1 至 255 个字符的文本或整数", "no id (or _id): a text of 1 to 255 characters, or an integer"),
    "text": ("缺少 text，或其内容为空", "no text, or an empty one"),
}


def _document(line: bytes) -> tuple[str, str, str] | str:
    """External id, title and text of a line, or the key of its fault."""
    try:
        value: Any = _loaded(line)
    except ValueError:
        return "json"
    if not isinstance(value, dict):
        return "object"
    external_id = value.get("id", value.get("_id"))
    if isinstance(external_id, int) and not isinstance(external_id, bool):
        external_id = str(external_id)
    if not isinstance(external_id, str) or not 1 <= len(external_id) <= LONGEST_NAME:
        return "id"
    text, title = value.get("text"), value.get("title")
    if not isinstance(text, str) or not text.strip():
        return "text"
    return external_id, title[:LONGEST_NAME] if isinstance(title, str) else "", text


def _loaded(line: bytes) -> Any:
    """What a line holds, in UTF-8 or GBK. Raises ValueError."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        if line.isascii():
            raise
        return orjson.loads(line.decode("gb18030"))
