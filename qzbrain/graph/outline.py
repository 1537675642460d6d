"""Facts about books: what contains what, by their headings. Pure, linear.

A book is a long text with chapters. Other documents have headings too, but nobody asks what they contain: an entity for each would only be in the way.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from qzbrain.graph.base import Fact, Place
from qzbrain.graph.structure import BOOK, CONTAINS, PART, DocumentPart

BOOK_CHARS = 20_000
FEWEST_CHAPTERS = 3
DEEPEST = 3
MOST_PARTS = 500
LONGEST_NAME = 80
_NUMBER = r"[零〇一二三四五六七八九十百千两\d]{1,6}"
_CHAPTER = re.compile(
    rf"第\s?{_NUMBER}\s?[章回卷篇部编辑讲课单节幕]|[卷篇]{_NUMBER}|(?:Chapter|CHAPTER|Part|PART|Book|BOOK|Section|Lecture)\s+(?:\d+|[IVXLC]+)\b"
    r"|\d{1,2}(?:\.\d{1,2}){0,2}[.、 \u3000]|[一二三四五六七八九十]{1,3}、"
)


def outline(document_id: str, title: str, text: str, parts: Sequence[DocumentPart]) -> list[Fact]:
    """Which chapter and section a book contains, in the order of its text. [] for a document that is no book."""
    if len(text) < BOOK_CHARS or not title.strip():
        return []
    tops = Counter(part.path[1] for part in parts if len(part.path) > 1)
    if sum(bool(_CHAPTER.match(name)) for name in tops) < FEWEST_CHAPTERS:
        return []
    return list(_contained(document_id, title.strip(), text, parts))


def _contained(document_id: str, title: str, text: str, parts: Sequence[DocumentPart]) -> Iterator[Fact]:
    seen = {title}
    for part in parts:
        above, kind = title, BOOK
        for depth, name in enumerate(part.path[1 : 1 + DEEPEST]):
            if not 0 < len(name) <= LONGEST_NAME or (depth and not _CHAPTER.match(name)):
                break
            below = f"{title} {name}" if depth == 0 else f"{above} {name}"
            if below not in seen:
                if len(seen) > MOST_PARTS:
                    return
                seen.add(below)
                quote = text[part.start : min(part.end, part.start + 60)].split("\n")[0]
                place = Place("structure", document_id, part.chunk_at(part.start), part.start, part.start + len(quote), quote)
                yield Fact(above, CONTAINS, below, place, kind, PART)
            above, kind = below, PART
