"""The outline of a document: regulations by part, chapter, section and article, other texts by headings. Pure, linear.

A regulation is known by its content in any format: lines that begin with 第一条, 第二条 … in order. Chapters count where they
lead to an article; a table of contents leads to none. Other texts take the headings that the parser saw, else numbered ones.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from qzbrain.domain import ParsedDocument
from qzbrain.text.numerals import NUMBER, article_label, chinese_number

_BLANKS = " \t\u3000\u2002\u2003\xa0"
_MARKS = rf"[{_BLANKS}#>*_]{{0,40}}"
_LABELLED = re.compile(
    rf"^(?P<marks>{_MARKS})(?:(?P<closing>附[{_BLANKS}]*[则則])[{_BLANKS}*_\r]*$"
    rf"|第[ \u3000]?(?P<number>{NUMBER})[ \u3000]?"
    rf"(?:(?P<article>[条條])(?:之(?P<sub>{NUMBER}))?|(?P<unit>分编|分編|[编編章节節]))(?P<after>.{{0,80}}))",
    re.MULTILINE,
)
_LEVELS = {"编": 1, "編": 1, "分编": 2, "分編": 2, "章": 3, "节": 4, "節": 4}
_CLOSING, _CLOSING_LEVEL = "附则", 4
"""A bare 附则 closes every part and chapter, and any chapter line ends it."""
_CONTENTS_LINE = re.compile(r"(?:[.·．]{3,}|…+|\s{2,}|\t)\s*\d+\s*$")
_REFERS_ON = re.compile(r"[、，,]|第|规定|規定|至|到|和|及|或|与|與|中|所|的|之|款|项|有关|关于|以")
_APPENDIX = re.compile(r"^[ \t\u3000\u2002\xa0]*(?:附[ \u3000]?[件表录錄图圖注：:]|附\r?$)[^\n。]{0,60}$", re.MULTILINE)
_HEADING_CHARS = 60
_PART_NAME = re.compile(rf"第\s?{NUMBER}\s?(?:分编|分編|[编編章节節条條部篇])|附\s*[则則件录錄表]|目\s*[录錄次]|序\s*言|前\s*言")
_LAW_NAME = re.compile(r"(?:法|法典|条例|條例|规定|規定|办法|辦法|规则|規則|细则|細則|章程|规范|标准|制度|通则|公约|合同|协议)(?:[（(][^（）()]{1,20}[）)])?$")
_NUMBERED = (
    (re.compile(rf"第{NUMBER}[章节節篇部]|(?:Chapter|CHAPTER|Part|PART)\s+(?:\d+|[IVXL]+)\b"), 1),
    (re.compile(r"[一二三四五六七八九十]{1,3}、"), 2),
    (re.compile(r"[（(][一二三四五六七八九十]{1,3}[)）]"), 3),
    (re.compile(r"\d{1,2}\.\d{1,2}\.\d{1,2}\.?[ \u3000]"), 5),
    (re.compile(r"\d{1,2}\.\d{1,2}\.?[ \u3000]"), 4),
)
_SENTENCE_END = frozenset("。；;，,、！？!?：:")


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of text under one heading path. Sections are in order, do not overlap and leave out blanks only.

    `reference`: the article's key when the section is an article, else ''.
    """

    start: int
    end: int
    path: tuple[str, ...]
    reference: str = ""


@dataclass(frozen=True, slots=True)
class _Label:
    """A line that begins with 第…编/章/节/条: `level` 5 is an article."""

    start: int
    line_end: int
    level: int
    name: str
    key: str = ""


class Heading(NamedTuple):
    """A heading: start of its line, end of its text, level from 1, name."""

    start: int
    end: int
    level: int
    name: str


def sections(parsed: ParsedDocument) -> list[Section]:
    """The outline of `parsed`; every path begins with the document's title."""
    labels = _labels(parsed.text)
    articles = [label for label in labels if label.level == 5]
    if _is_regulation(articles):
        found = _regulation(parsed, labels)
    else:
        found = _by_headings(parsed, _marked_headings(parsed) or _numbered_headings(parsed), 0, len(parsed.text))
    return [trimmed for section in found if (trimmed := _trim(parsed.text, section))]


def regulation_title(parsed: ParsedDocument) -> str:
    """The name of a regulation: its heading that ends as names of laws do, else its first top heading or first line; '' for other texts.

    Chapters and appendices are never the title, also where they come first in the file.
    """
    articles = [label for label in _labels(parsed.text) if label.level == 5]
    if not _is_regulation(articles):
        return ""
    tops = [heading.name for heading in _marked_headings(parsed) if heading.level == 1 and not _PART_NAME.match(heading.name)]
    lines = [" ".join(line.split()).strip("#*_> ") for line in parsed.text[:min(articles[0].start, 4000)].split("\n")]
    names = tops or [line for line in lines if 1 < len(line) <= _HEADING_CHARS and line[-1] not in _SENTENCE_END and not _PART_NAME.match(line)]
    return next((name for name in names if _LAW_NAME.search(name)), names[0] if names else "")


def is_part_name(name: str) -> bool:
    """Whether `name` is that of a part of a document (第一编 总则, 附则, 目录), not of a whole one."""
    return bool(_PART_NAME.match(name))


def _labels(text: str) -> list[_Label]:
    """Lines that begin a part, chapter, section or article, in order; lines of a table of contents with page numbers are none."""
    found: list[_Label] = []
    before = (0, 0)
    for match in _LABELLED.finditer(text):
        line_end = text.find("\n", match.end())
        line_end = len(text) if line_end < 0 else line_end
        if match["closing"]:
            found.append(_Label(match.start(), line_end, _CLOSING_LEVEL, _CLOSING))
        elif line_end - match.start() < 100 and _CONTENTS_LINE.search(text, match.end("number"), line_end):
            continue
        elif match["article"] is None:
            found += _chapter(match, text, line_end)
        else:
            number = chinese_number(match["number"]), chinese_number(match["sub"]) if match["sub"] else 0
            if _opens_article(match["after"], bool(match["marks"].strip()), number, before):
                key = f"{number[0]}-{number[1]}" if number[1] else str(number[0])
                found.append(_Label(match.start(), line_end, 5, article_label(key), key))
                before = number
    return found


def _chapter(match: re.Match[str], text: str, line_end: int) -> list[_Label]:
    """The heading line 第二章 …, if it is one: short, no sentence, not the middle of a sentence that names a chapter."""
    rest = text[match.end("unit"):line_end]
    name = rest.strip(_BLANKS + "*_#")
    if len(name) > _HEADING_CHARS or (name and (name[-1] in _SENTENCE_END or _REFERS_ON.match(rest))):
        return []
    head = f"第{match['number']}{match['unit']}"
    return [_Label(match.start(), line_end, _LEVELS[match["unit"]], f"{head} {_closed_up(name)}".strip())]


def _closed_up(name: str) -> str:
    """Single blanks; none in short names that are spaced out (`总　　则`)."""
    parts = name.split()
    return ("" if len(parts) > 1 and all(len(part) == 1 for part in parts) else " ").join(parts)


def _opens_article(after: str, marked: bool, number: tuple[int, int], before: tuple[int, int]) -> bool:
    """Whether a line that begins with an article's number opens that article, rather than going on with a sentence that names it."""
    if not after or after[0] in _BLANKS + "*_【[（(：:":
        return not after.strip().startswith(("规定", "第", "、", "和", "至")) or marked
    follows = number in ((before[0] + 1, 0), (before[0], before[1] + 1))
    return follows and not _REFERS_ON.match(after)


def _is_regulation(articles: Sequence[_Label]) -> bool:
    """Three articles, or two that begin with the first; their numbers fall at most once, or rarely (where a new text begins in the file)."""
    if len(articles) < 2 or (len(articles) == 2 and articles[0].key != "1"):
        return False
    numbers = [int(label.key.partition("-")[0]) for label in articles]
    falls = sum(later < earlier for earlier, later in pairwise(numbers))
    return falls <= (max(1, len(numbers) // 5) if len(numbers) > 2 else 0)


def _regulation(parsed: ParsedDocument, labels: Sequence[_Label]) -> Iterator[Section]:
    """Articles with the chapter lines that lead to them; what stands before, between and after them by the headings in it."""
    text, headings = parsed.text, _marked_headings(parsed)
    ends = _appendix_starts(text, headings, labels)
    open_levels: list[_Label] = []
    position = 0
    for index, label in enumerate(labels):
        if label.level < 5:
            while open_levels and (open_levels[-1].level >= label.level or label.name == _CLOSING):
                open_levels.pop()
            open_levels.append(label)
            continue
        start = _with_leading_chapters(text, labels, index)
        yield from _by_headings(parsed, _inside(headings, position, start), position, start)
        stop = labels[index + 1].start if index + 1 < len(labels) else len(text)
        cut = bisect_left(ends, label.line_end)
        position = min(stop, ends[cut]) if cut < len(ends) else stop
        yield Section(start, position, (parsed.title, *(chapter.name for chapter in open_levels), label.name), label.key)
    yield from _by_headings(parsed, _inside(headings, position, len(text)), position, len(text))


def _with_leading_chapters(text: str, labels: Sequence[_Label], index: int) -> int:
    """Start of the chapter lines directly above the article at `index`, each of a higher level than the next; else its own start."""
    start, level = labels[index].start, 5
    for label in reversed(labels[max(index - 4, 0):index]):
        if label.level >= level or text[label.line_end:start].strip():
            break
        start, level = label.start, label.level
    return start


def _appendix_starts(text: str, headings: Sequence[Heading], labels: Sequence[_Label]) -> list[int]:
    """Where an appendix begins: lines 附件…, and headings of the document that are no chapter or article."""
    label_starts = {label.start for label in labels}
    starts = [match.start() for match in _APPENDIX.finditer(text)]
    return sorted(starts + [heading.start for heading in headings if heading.start not in label_starts])


def _inside(headings: Sequence[Heading], start: int, end: int) -> Sequence[Heading]:
    return headings[bisect_left(headings, (start,)):bisect_left(headings, (end,))]


def _marked_headings(parsed: ParsedDocument) -> list[Heading]:
    """Headings that the parser saw."""
    text = parsed.text
    return [
        Heading(text.rfind("\n", 0, block.start) + 1, block.end, block.heading_level, " ".join(text[block.start:block.end].split()).strip(" *_`"))
        for block in parsed.blocks if block.heading_level
    ]


def _numbered_headings(parsed: ParsedDocument) -> list[Heading]:
    """Short numbered lines (一、 （一） 1.1 第一章) with text under them: a run of such lines of one kind is a list, not headings."""
    text = parsed.text
    levels = [_numbered_level(text[block.start:block.end]) if block.kind == "text" else 0 for block in parsed.blocks]
    found = []
    for index, (level, block) in enumerate(zip(levels, parsed.blocks, strict=True)):
        before = levels[index - 1] if index else 0
        after = levels[index + 1] if index + 1 < len(levels) else level
        if level and level not in (before, after):
            found.append(Heading(block.start, block.end, level, text[block.start:block.end].strip()))
    return found


def _numbered_level(line: str) -> int:
    line = line.strip()
    if not 2 < len(line) <= 40 or line[-1] in _SENTENCE_END or line[-1] == ".":
        return 0
    return next((level for pattern, level in _NUMBERED if pattern.match(line)), 0)


def _by_headings(parsed: ParsedDocument, headings: Sequence[Heading], start: int, end: int) -> Iterator[Section]:
    """Sections of `text[start:end]` from heading to heading; a heading with only further headings under it joins the section below."""
    text, title = parsed.text, parsed.title
    path: list[Heading] = []
    position = body = start
    for heading in headings:
        if text[body:heading.start].strip():
            yield Section(position, heading.start, _named(title, path))
            position = heading.start
        while path and path[-1].level >= heading.level:
            path.pop()
        path.append(heading)
        body = heading.end
    if text[position:end].strip():
        yield Section(position, end, _named(title, path))


def _named(title: str, path: Sequence[Heading]) -> tuple[str, ...]:
    names = tuple(heading.name[:200] for heading in path if heading.name)
    return names if names[:1] == (title,) else (title, *names)


def _trim(text: str, section: Section) -> Section | None:
    piece = text[section.start:section.end]
    kept = piece.strip()
    if not kept:
        return None
    start = section.start + len(piece) - len(piece.lstrip())
    return Section(start, start + len(kept), section.path, section.reference)
