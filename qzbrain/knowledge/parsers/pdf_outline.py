"""A PDF's bookmarks as headings: the lines on their pages that say what they say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from qzbrain.knowledge.parsers.page_headings import Marks
from qzbrain.knowledge.parsers.pages import Page

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

_MOST_BOOKMARKS = 20_000
_DEEPEST = 6
_NUMBER_CHARS = 12
"""A line may have a number before the bookmark's title (第一章 总则, bookmark 总则) of about this length."""

Bookmarks = dict[int, list[tuple[str, int]]]
"""By page from 0: title without blanks, level from 1."""


def bookmarks(document: PdfDocument) -> Bookmarks:
    """The outline in its order, as far as it can be read."""
    from pypdfium2 import PdfiumError

    found: Bookmarks = {}
    count = 0
    try:
        for mark in document.get_toc(max_depth=_DEEPEST):
            target = mark.get_dest()
            index = target.get_index() if target is not None else None
            title = _squeezed(mark.get_title())
            if index is not None and title:
                found.setdefault(index, []).append((title, mark.level + 1))
            count += 1
            if count > _MOST_BOOKMARKS:
                break
    except (PdfiumError, ValueError, UnicodeError, RecursionError):
        return found
    return found


def outline_marks(pages: Sequence[Page], marks: Bookmarks) -> Marks:
    """The lines that are bookmarks' titles; a title over two lines marks both."""
    levels: dict[int, int] = {}
    following: set[int] = set()
    for index, titles in marks.items():
        if index >= len(pages):
            continue
        lines = [line for line in pages[index].lines if line.inset < 0]
        texts = [_squeezed(line.text) for line in lines]
        position = 0
        for title, level in titles:
            place = _place(texts, title, position) or _place(texts, title, 0)
            if place is not None:
                first, last = place
                levels.update({id(lines[i]): level for i in range(first, last)})
                following.update(id(lines[i]) for i in range(first + 1, last))
                position = last
    return Marks(levels, frozenset(following))


def _place(texts: Sequence[str], title: str, start: int) -> tuple[int, int] | None:
    """Lines, from and to, that show a title."""
    for index in range(start, len(texts)):
        if texts[index] == title or (texts[index].endswith(title) and len(texts[index]) <= len(title) + _NUMBER_CHARS):
            return index, index + 1
        if index + 1 < len(texts) and texts[index] and title.startswith(texts[index]) and texts[index] + texts[index + 1] == title:
            return index, index + 2
    return None


def _squeezed(text: str) -> str:
    return "".join(text.split())
