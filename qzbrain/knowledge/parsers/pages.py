"""Pages of lines and tables to a document: running heads and page numbers dropped, wrapped lines joined to paragraphs, headings marked. Pure.

Shared by what comes in pages: the text layer of a PDF, and lines that OCR found.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from qzbrain.domain import ParsedDocument
from qzbrain.knowledge.parsers.base import ParseLimits, TextBuilder, clean_title
from qzbrain.knowledge.parsers.headers import Header, header_of
from qzbrain.knowledge.parsers.page_headings import Marks, heading_marks
from qzbrain.knowledge.parsers.page_layout import Drawn, PageLine, Run, is_wide, joined, reading_order
from qzbrain.knowledge.parsers.page_tables import PageTable, tables
from qzbrain.knowledge.parsers.tables import Style, add_table, covered

if TYPE_CHECKING:
    from qzbrain.knowledge.parsers.ocr import Recognised

_PAGE_NUMBER = re.compile(
    r"[-—–·~\s]*(?:第\s*)?(?:\d{1,4}|[ivxlIVXL]{1,6})(?:\s*页)?(?:\s*[/／,，|]?\s*(?:共\s*)?\d{1,4}(?:\s*页)?)?[-—–·~\s]*"
    r"|page\s*\d{1,4}(?:\s*(?:of|/)\s*\d{1,4})?|第\s*[一二三四五六七八九十百]{1,5}\s*页",
    re.IGNORECASE,
)
_OPENS_PARAGRAPH = re.compile(
    r"第\s?[零〇一二三四五六七八九十百千\d.]{1,9}\s?[编章节条條款部篇]|[（(]?[一二三四五六七八九十]{1,3}[)）、]"
    r"|[（(]?\d{1,2}[)）、.．]\s?[^\d\s]|\d{1,2}(?:\.\d{1,2}){1,4}\s?[^\d\s.,，。)）%]|[•·●■◆]|[\-*]\s|[图表附]\s?\d|目\s*录|附\s*则|注\d?[：:]"
)
_CLOSES_PARAGRAPH = frozenset("。！？!?；;：:")
_EDGE_LINES = 3
_EDGE_SHARE = 0.13
"""Running heads and page numbers stand within this share of the page's height from its edges."""
_REPEATS_FROM_PAGES = 3
_PART = re.compile(r"第\s?[零〇一二三四五六七八九十百\d]{1,5}\s?[编章篇部]\s*\S.*")
_PAGE_MARK = re.compile(r"^\s*[-—·]*\s*\d{1,4}\s*[-—·]*\s+|\s*[-—·]*\s*\d{1,4}\s*[-—·]*$")
_CONTENTS_LINE = re.compile(r"(?:[.·．…]\s?){4,}\s*\d{1,4}$")


@dataclass(slots=True)
class Page:
    """What stands on a page in reading order; a line's `inset` is the number of its table. `bottom` and `top`: its edges. `recognised`: by OCR."""

    lines: list[PageLine] = field(default_factory=list)
    tables: list[PageTable] = field(default_factory=list)
    bottom: float = 0.0
    top: float = 0.0
    unread: bool = False
    recognised: bool = False


def laid_out(found: list[Run], lies: Drawn, bottom: float, top: float) -> Page:
    """The page on which these runs and rules lie."""
    shown, rest = tables(lies.across, lies.upright, found)
    insets = [Run("", *table.box, 0.0, index) for index, table in enumerate(shown)]
    return Page(reading_order([*rest, *insets]), shown, bottom, top)


def recognised_page(found: Recognised) -> Page:
    """The page of what OCR found. Its lines have no size, for no heading can be told by it."""
    page = laid_out(found.runs, Drawn(), 0.0, found.height)
    page.lines = [replace(line, size=0.0) for line in page.lines]
    page.recognised = True
    return page


def unread_page() -> Page:
    """A page that could not be read; its place in the text says so."""
    return Page(unread=True)


def document_of_pages(pages: Sequence[Page], limits: ParseLimits, *, mime_type: str, stem: str, title: str = "", marks: Marks | None = None) -> ParsedDocument:
    """The stored text with its blocks. `marks`: headings by the document's own outline; without it they are told by their size.

    The title is, when none is given, the largest line at the top of the first page, else the first line, else `stem`.
    """
    _drop_running_heads(pages)
    found = heading_marks(pages)
    writer = _Writer(TextBuilder(limits), marks if marks and marks.levels else found)
    for number, page in enumerate(pages, 1):
        if page.unread:
            writer.note(number, f"（第 {number} 页未能识别出文字 · No text could be recognised on page {number}）")
        for line in page.lines:
            writer.write(number, page, line)
    writer.flush()
    builder = writer.builder
    by_ocr = sum(page.recognised for page in pages)
    return ParsedDocument(builder.text(), tuple(builder.blocks), title or found.title or _first_line(builder) or stem, mime_type, len(pages), by_ocr)


def _drop_running_heads(pages: Sequence[Page]) -> None:
    """Take out page numbers at the edges, and lines there that come back (digits aside) on other pages, mostly at the same height."""
    edges = [(_edge_lines(page, top=True), _edge_lines(page, top=False)) for page in pages]
    seen: Counter[str | tuple[str, int]] = Counter()
    for page, both in zip(pages, edges, strict=True):
        lines = [*both[0], *both[1]]
        seen.update({_place(page, line) for line in lines} | {_shape(line) for line in lines} | {"=" + line.text for line in lines})
    need = max(_REPEATS_FROM_PAGES, 0.5 * len(pages))
    heads_of: list[set[int]] = []
    for page, both in zip(pages, edges, strict=True):
        dropped: set[int] = set()
        for lines in both:
            heads = 0
            while heads < len(lines) and _comes_back(page, lines[heads], seen, need):
                heads += 1
            while heads and not _stands_clear(page, lines[heads - 1]):
                heads -= 1
            if lines and not heads and (_is_page_number(page, lines[0], seen, need) or seen["=" + lines[0].text] >= need):
                heads = 1
            dropped.update(map(id, lines[:heads]))
        heads_of.append(dropped)
    named = "".join(_shape(line) for page, dropped in zip(pages, heads_of, strict=True) for line in page.lines if id(line) not in dropped)
    for page, dropped in zip(pages, heads_of, strict=True):
        for line in [line for line in page.lines if id(line) in dropped]:
            part = _PART.search(_PAGE_MARK.sub("", line.text))
            if part and _squeezed(part[0]) not in named:  # the name of a chapter that stands nowhere else is kept once
                named += _squeezed(part[0])
                dropped.discard(id(line))
        page.lines = [line for line in page.lines if id(line) not in dropped]


def _comes_back(page: Page, line: PageLine, seen: Counter[str | tuple[str, int]], need: float) -> bool:
    return seen[_place(page, line)] >= _REPEATS_FROM_PAGES or seen[_shape(line)] >= need or _is_page_number(page, line, seen, need)


def _is_page_number(page: Page, line: PageLine, seen: Counter[str | tuple[str, int]], need: float) -> bool:
    return _PAGE_NUMBER.fullmatch(line.text) is not None and (_near_edge(page, line) or seen[_shape(line)] >= need)


def _stands_clear(page: Page, line: PageLine) -> bool:
    """Whether there is more room than between lines of a text on the side of a line that is away from the page's edge."""
    if line.top > (page.bottom + page.top) / 2:
        room = [line.bottom - x.top for x in page.lines if x.bottom < line.bottom - 1]
    else:
        room = [x.bottom - line.top for x in page.lines if x.top > line.top + 1]
    return min(room, default=99.0) > 0.6 * (line.top - line.bottom)


def _edge_lines(page: Page, *, top: bool) -> list[PageLine]:
    """The lines near an edge, the outermost first; of a page with none there its first or last line."""
    lines = sorted((line for line in page.lines if line.inset < 0), key=lambda line: -line.top if top else line.bottom)
    near = [line for line in lines if _near_edge(page, line) and (line.top > (page.bottom + page.top) / 2) is top]
    return near[:_EDGE_LINES] or lines[:1]


def _near_edge(page: Page, line: PageLine) -> bool:
    share = _EDGE_SHARE * (page.top - page.bottom)
    return line.bottom > page.top - share or line.top < page.bottom + share


def _shape(line: PageLine) -> str:
    return _squeezed(line.text)


def _squeezed(text: str) -> str:
    return re.sub(r"\d+", "#", "".join(text.split()))


def _place(page: Page, line: PageLine) -> tuple[str, int]:
    return _shape(line), round((page.top - line.top) / 4)


class _Writer:
    """Gathers the lines of a paragraph until it ends; it may run on over the end of a column or a page."""

    def __init__(self, builder: TextBuilder, marks: Marks) -> None:
        self.builder = builder
        self._marks = marks
        self._parts: list[tuple[int, PageLine]] = []
        self._heading = 0
        self._table: tuple[Header, int] | None = None  # of the table that was written last, when nothing came after it

    def write(self, number: int, page: Page, line: PageLine) -> None:
        """Add a line or table of a page (from 1)."""
        if line.inset >= 0:
            self.flush()
            self._write_table(number, page.tables[line.inset])
            return
        level = self._marks.levels.get(id(line), 0)
        if self._parts and not self._goes_on(line, level):
            self.flush()
        self._heading = level
        self._parts.append((number, line))

    def note(self, number: int, text: str) -> None:
        """Say something of a page in its place."""
        self.flush()
        self.builder.add(text, page=number, gap=1)

    def flush(self) -> None:
        """End the paragraph. Its part on each page is a block of its own, so that what is cited from it has the right page."""
        if not self._parts:
            return
        self._table = None
        between: str | None = None
        for number in dict.fromkeys(number for number, _ in self._parts):
            text = joined([line.text for page, line in self._parts if page == number])
            self.builder.add(text, page=number, heading_level=self._heading, gap=1, between=between)
            following = [line.text for page, line in self._parts if page > number]
            between = "" if following and (is_wide(text[-1:] or " ") or is_wide(following[0][:1])) else " "
        self._parts.clear()

    def _goes_on(self, line: PageLine, level: int) -> bool:
        before = self._parts[-1][1]
        if level or self._heading:
            return id(line) in self._marks.following
        if _CONTENTS_LINE.search(before.text):
            return False
        return before.full and not line.begins and before.text[-1] not in _CLOSES_PARAGRAPH and not _OPENS_PARAGRAPH.match(line.text)

    def _write_table(self, number: int, table: PageTable) -> None:
        rows = list(covered(table.rows))
        before = self._table
        own = header_of(rows[:20], trusted=False)
        continued = before is not None and before[1] == table.columns and (own is None or own.labels != before[0].labels)
        header = add_table(self.builder, rows, Style(page=number, header=before[0] if before and continued else None))
        self._table = (header, table.columns) if header else None


def _first_line(builder: TextBuilder) -> str:
    text = builder.text()[: builder.blocks[0].end] if builder.blocks else ""
    return clean_title(text) if 1 < len(text) <= 60 and text[-1] not in "。，；：,;:" else ""
