"""HTML: the readable text of a page without what surrounds it (see `main_text`); tables row by row, headings with their level.

A table that only lays out the page, as old sites do, is read as the blocks that it holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from qzbrain.domain import ParsedDocument
from qzbrain.knowledge.parsers import refusals
from qzbrain.knowledge.parsers.base import ParseLimits, Source, TextBuilder, clean_title
from qzbrain.knowledge.parsers.headers import Cell
from qzbrain.knowledge.parsers.main_text import events, surroundings
from qzbrain.knowledge.parsers.tables import add_table, covered

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_BLOCKS = frozenset((
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "div", "dl", "dt", "fieldset", "figcaption", "figure",
    "footer", "form", "header", "hr", "html", "li", "main", "ol", "p", "pre", "section", "summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul",
))
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_KINDS = {"li": "list_item", "pre": "code"}
_SELF_CLOSED = re.compile(r"<(title|script|style|a|div|span|p|i|b|td|th|textarea|iframe|h[1-6])\b([^<>]*)/>", re.IGNORECASE)
_SITE = re.compile(r"\s*[_|｜]+\s*|\s+[-–—·»]+\s+|\s*——\s*")
_SHORTEST_TITLE = 4
_CELL_CHARS = 400
_CELL_PARTS = 3
_BLANKS = re.compile(r"[ \t\r\n\f\xa0]+")


def parse(source: Source, limits: ParseLimits) -> ParsedDocument:
    """Blocks in reading order; title: the first top heading, else `<title>` without the site's name. Raises ParseFailed: garbled, broken, too_large."""
    builder = TextBuilder(limits)
    title = write(source.text, builder, limits)
    return ParsedDocument(builder.text(), tuple(builder.blocks), title or source.stem, "text/html")


def write(markup: str, builder: TextBuilder, limits: ParseLimits, *, whole: bool = False) -> str:
    """Append a page's text to `builder`; returns its title or ''. `whole`: a page that is all text, as a book's chapter. Raises ParseFailed."""
    from selectolax.lexbor import LexborHTMLParser, SelectolaxError

    if len(markup) > limits.max_text_chars * 4:
        raise refusals.too_large(limits.max_text_chars)
    if markup.lstrip()[:5] == "<?xml":
        markup = _SELF_CLOSED.sub(r"<\1\2></\1>", markup)
    try:
        tree = LexborHTMLParser(markup)
        root = tree.root
        title_node = tree.css_first("head > title") or tree.css_first("title")
        title = clean_title(title_node.text()) if title_node else ""
    except (SelectolaxError, ValueError, RuntimeError, AttributeError, UnicodeError) as exc:
        raise refusals.broken("HTML") from exc
    writer = _Writer(builder)
    if root is not None:
        writer.walk(root, frozenset() if whole else surroundings(root))
    return _title(writer.first_heading, title)


def _title(heading: str, stated: str) -> str:
    """The heading, unless it is the site's name; else what `<title>` says before the site's name: `某法_某网` -> `某法`."""
    first = _SITE.split(stated, maxsplit=1)[0].strip()
    page = first if len(first) >= _SHORTEST_TITLE else stated
    return page if not heading or (heading in stated and heading not in page) else heading


class _Writer:
    """Gathers inline text until a block ends, then emits it."""

    def __init__(self, builder: TextBuilder) -> None:
        self.builder = builder
        self.first_heading = ""
        self._inline: list[str] = []
        self._heading = 0
        self._kind = "text"

    def walk(self, root: LexborNode, skipped: frozenset[int]) -> None:
        """Emit everything under `root` in document order, but for the nodes `skipped`."""
        outer = _outer_tables(root)
        table = 0  # the mem_id of the table of data that we are in: its rows are read apart
        for node, entering in events(root, skipped):
            tag = node.tag or ""
            if table:
                table = 0 if node.mem_id == table and not entering else table
                continue
            if tag == "-text":
                if entering:
                    self._inline.append(node.text_content or "")
            elif tag == "br":
                if entering:
                    self._inline.append("\x00")
            elif tag == "table" and entering and node.mem_id not in outer and _is_of_data(node):
                self._flush()
                self._table(node, skipped)
                table = node.mem_id
            elif tag in _HEADINGS:
                self._flush()
                self._heading = _HEADINGS[tag] if entering else 0
            elif tag in _BLOCKS:
                self._flush()
                self._kind = _KINDS.get(tag, "text") if entering else "text"
        self._flush()

    def _flush(self) -> None:
        if not self._inline:
            return
        raw = "".join(self._inline)
        self._inline.clear()
        if self._kind == "code":
            text = raw.replace("\x00", "\n").strip("\n")
        else:
            text = "\n".join(part for line in raw.split("\x00") if (part := _BLANKS.sub(" ", line).strip(" ")))
        if self._heading:
            text = " ".join(text.split())
            self.first_heading = self.first_heading or (clean_title(text) if self._heading == 1 else "")
        self.builder.add(text, heading_level=self._heading, kind=self._kind, gap=1 if self._kind == "list_item" else 2)

    def _table(self, table: LexborNode, skipped: frozenset[int]) -> None:
        """A cell over several rows or columns stands in each of its rows, once."""
        add_table(self.builder, covered(_rows(table, skipped)))


def _outer_tables(root: LexborNode) -> frozenset[int]:
    """mem_ids of the tables that hold a table: they lay out the page."""
    outer: set[int] = set()
    open_tables: list[int] = []
    for node, entering in events(root):
        if node.tag == "table" and entering:
            outer.update(open_tables[-1:])
            open_tables.append(node.mem_id)
        elif node.tag == "table":
            open_tables.pop()
    return frozenset(outer)


def _is_of_data(table: LexborNode) -> bool:
    """Whether a table without tables in it holds data, not the page: at least two columns somewhere, no cell as long as an article."""
    if table.attributes.get("role") == "presentation":
        return False
    rows = table.css("tr")
    if not any(sum(cell.tag in ("td", "th") for cell in row.iter()) > 1 for row in rows):
        return False
    if table.css_first("td h1, td h2, td h3") is not None:
        return False
    return all(len(cell.text()) <= _CELL_CHARS or len(cell.css("p, div, br")) <= _CELL_PARTS for cell in table.css("td"))


def _rows(table: LexborNode, skipped: frozenset[int]) -> Iterator[list[Cell]]:
    caption = table.css_first("caption")
    if caption is not None and (text := _cell_text(caption, skipped)):
        yield [Cell(text)]
    for row in table.css("tr"):
        if row.mem_id in skipped:
            continue
        cells = []
        for cell in row.iter():
            if cell.tag in ("td", "th") and cell.mem_id not in skipped:
                cells.append(Cell(_cell_text(cell, skipped), _span(cell, "colspan"), _span(cell, "rowspan"), cell.tag == "th"))
        yield cells


def _cell_text(cell: LexborNode, skipped: frozenset[int]) -> str:
    parts = []
    for node, entering in events(cell, skipped):
        tag = node.tag or ""
        if tag == "-text":
            parts.append((node.text_content or "") if entering else "")
        elif tag in _BLOCKS or tag in _HEADINGS or tag == "br":
            parts.append(" ")
    return " ".join("".join(parts).split())


def _span(cell: LexborNode, name: str) -> int:
    value = (cell.attributes.get(name) or "1").strip()
    return min(max(int(value), 1), 100) if value.isdecimal() and len(value) < 5 else 1
