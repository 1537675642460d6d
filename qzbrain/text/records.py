"""Records in a text: paragraphs of `label：value` lines, as rows of tables are stored, and questions with their answers. Pure, linear."""

from __future__ import annotations

import re
from collections.abc import Iterator

_PARAGRAPH = re.compile(r"\S(?:[^\n]|\n(?!\s*\n))*")
_LABELLED = re.compile(r"[^\s：:。！？][^：:\n。！？]{0,39}(?:：|: )\S")
_QUESTION = re.compile(r"问：[^\n]*\n(?:(?!问：)[^\n]+\n){0,20}?答：")


def records(text: str) -> Iterator[tuple[int, int]]:
    """Spans of the records in order; each has two lines or more."""
    if "：" not in text and ": " not in text:
        return
    for match in _PARAGRAPH.finditer(text):
        lines = match[0].split("\n")
        if is_pair(text, match.start()) or (len(lines) > 1 and sum(_LABELLED.match(line) is not None for line in lines) > 0.75 * len(lines)):
            yield match.start(), match.end()


def is_pair(text: str, start: int) -> bool:
    """Whether a question with its answer begins at `start`."""
    return _QUESTION.match(text, start) is not None
