"""Headings of a document in pages by the size of their lines, where it has no outline of its own. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from qzbrain.knowledge.parsers.base import clean_title
from qzbrain.knowledge.parsers.page_layout import PageLine, joined

if TYPE_CHECKING:
    from qzbrain.knowledge.parsers.pages import Page

_LARGER = 1.12
_LONGEST = 60
_DEEPEST = 4
_MOST_SHARE = 0.25
"""Where more of the text than this is large, size says nothing."""
_SENTENCE_END = frozenset("。；;，,、！!：:")
_NOTICE = re.compile(r".*(?:关于|《).*(?:的)?(?:通知|公告|意见|办法|规定|决定|通报|批复|函|方案|报告|细则|条例)(?:[（(].*[)）])?")


@dataclass(frozen=True, slots=True)
class Marks:
    """Level of each line (by its id) that is a heading; those that go on with the heading above; the title that the first page shows."""

    levels: dict[int, int]
    following: frozenset[int] = frozenset()
    title: str = ""


def heading_marks(pages: Sequence[Page]) -> Marks:
    """Lines larger than the body of the text; none when there are too many of them or only the title is one."""
    sizes: Counter[float] = Counter()
    for page in pages:
        for line in page.lines:
            if line.inset < 0 and line.size:
                sizes[round(line.size * 2) / 2] += len(line.text)
    if not sizes:
        return Marks({})
    body = sizes.most_common(1)[0][0]
    lines = [line for page in pages for line in page.lines if line.inset < 0]
    large = [line for line in lines if line.size > _LARGER * body and 1 < len(line.text) <= _LONGEST and line.text[-1] not in _SENTENCE_END]
    titles = _title_lines(pages, large)
    title = clean_title(joined([line.text for line in titles]))
    shown = {id(line) for line in titles}
    headings = [line for line in large if id(line) not in shown]
    if len(headings) < 2 or sum(len(line.text) for line in large) > _MOST_SHARE * sum(sizes.values()):
        return Marks({}, title=title)
    ranks = {size: rank for rank, size in enumerate(sorted({round(line.size) for line in [*headings, *titles]}, reverse=True), 1)}
    levels = {id(line): min(ranks[round(line.size)], _DEEPEST) for line in [*titles, *headings]}
    return Marks(levels, frozenset(map(id, titles[1:])) | _wrapped(pages, levels), title)


def _wrapped(pages: Sequence[Page], levels: dict[int, int]) -> set[int]:
    """Headings directly under one of their size that fills its line."""
    return {
        id(line) for page in pages for before, line in pairwise(page.lines)
        if id(before) in levels and levels.get(id(line)) == levels[id(before)] and before.full and not line.begins
    }


def _title_lines(pages: Sequence[Page], large: Sequence[PageLine]) -> list[PageLine]:
    """The lines of the title: the largest of the first page's upper half; of a notice those that name it, not who sent it."""
    first = pages[0] if pages else None
    if first is None:
        return []
    upper = {id(line) for line in first.lines if line.inset < 0 and line.top > (first.top + first.bottom) / 2}
    groups: list[list[PageLine]] = []
    for line in large:
        if id(line) not in upper:
            continue
        near = groups and abs(groups[-1][-1].size - line.size) < 0.5 and groups[-1][-1].bottom - line.top < 1.2 * line.size
        if near and len(groups[-1]) < 4:
            groups[-1].append(line)
        else:
            groups.append([line])
    notice = next((group for group in groups if _NOTICE.fullmatch(joined([line.text for line in group]))), None)
    return notice or max(groups, key=lambda group: group[0].size, default=[])
