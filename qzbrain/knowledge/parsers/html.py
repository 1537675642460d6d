"""HTML: the readable text of a page, without scripts, styles and navigation; tables row by row, headings with their level.

The tree is walked without recursion, so that deep nesting cannot exhaust the stack.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from qzbrain.domain import ParsedDocument
from qzbrain.knowledge.parsers import refusals
from qzbrain.knowledge.parsers.base import ParseLimits, Source, TextBuilder, clean_title
from qzbrain.knowledge.parsers.headers import Cell
from qzbrain.knowledge.parsers.tables import add_table, covered

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_DROPPED = frozenset(
    ("script", "style", "noscript", "template", "svg", "math", "nav", "iframe", "object", "canvas", "audio", "video", "select", "button", "dialog", "head")
)
_BLOCKS = frozenset((
    "address", "article", "aside", "blockquote", "body", "caption", "center", "dd", "details", "div", "dl", "dt", "fieldset", "figcaption", "figure",
    "footer", "form", "header", "hr", "html", "li", "main", "ol", "p", "pre", "section", "summary", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "ul",
))
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLANKS = re.compile(r"[ \t\r\n\f\xa0]+")


def parse(source: Source, limits: ParseLimits) -> ParsedDocument:
    """Blocks in reading order; title: `<title>`, else the first heading. Raises ParseFailed: garbled, broken, too_large."""
    from selectolax.lexbor import LexborHTMLParser, SelectolaxError

    markup = source.text
    if len(markup) > limits.max_text_chars * 4:
        raise refusals.too_large(limits.max_text_chars)
    try:
        tree = LexborHTMLParser(markup)
        root = tree.root
        title_node = tree.css_first("title")
        title = clean_title(title_node.text()) if title_node else ""
    except (SelectolaxError, ValueError, RuntimeError, AttributeError, UnicodeError) as exc:
        raise refusals.broken("HTML") from exc
    writer = _Writer(TextBuilder(limits))
    if root is not None:
        writer.walk(root)
    return ParsedDocument(writer.builder.text(), tuple(writer.builder.blocks), writer.first_heading or title or source.stem, "text/html")


class _Writer:
    """Gathers inline text until a block ends, then emits it."""

    def __init__(self, builder: TextBuilder) -> None:
        self.builder = builder
        self.first_heading = ""
        self._inline: list[str] = []
        self._heading = 0
        self._kind = "text"

    def walk(self, root: LexborNode) -> None:
        """Emit everything under `root` in document order."""
        for node, entering in _events(root):
            tag = node.tag or ""
            if tag == "-text":
                if entering:
                    self._inline.append(node.text_content or "")
            elif tag == "br":
                if entering:
                    self._inline.append("\x00")
            elif tag == "table" and entering:
                self._flush()
                self._table(node)
            elif tag in _HEADINGS:
                self._flush()
                self._heading = _HEADINGS[tag] if entering else 0
            elif tag in _BLOCKS:
                self._flush()
                self._kind = "list_item" if tag == "li" and entering else "code" if tag == "pre" and entering else "text"
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

    def _table(self, table: LexborNode) -> None:
        """A cell over several rows or columns stands in each of its rows, once."""
        add_table(self.builder, covered(_rows(table)))


def _events(root: LexborNode) -> Iterator[tuple[LexborNode, bool]]:
    """Nodes in document order, each entered and left; tables are entered only, for their rows are read apart. Dropped ones are skipped."""
    node: LexborNode | None = root
    while node is not None:
        tag = node.tag or ""
        skipped = tag in _DROPPED
        if not skipped:
            yield node, True
        child = None if skipped or tag == "table" else node.first_child
        if child is not None:
            node = child
            continue
        while node is not None:
            if (node.tag or "") not in _DROPPED:
                yield node, False
            if node.mem_id == root.mem_id:
                return
            if node.next is not None:
                node = node.next
                break
            node = node.parent


def _rows(table: LexborNode) -> Iterator[list[Cell]]:
    caption = table.css_first("caption")
    if caption is not None and (text := _cell_text(caption)):
        yield [Cell(text)]
    for row in table.css("tr"):
        cells = []
        for cell in row.iter():
            if cell.tag in ("td", "th"):
                cells.append(Cell(_cell_text(cell), _span(cell, "colspan"), _span(cell, "rowspan"), cell.tag == "th"))
        yield cells


def _cell_text(cell: LexborNode) -> str:
    parts = []
    for node, entering in _events(cell):
        tag = node.tag or ""
        if tag == "-text":
            parts.append((node.text_content or "") if entering else "")
        elif tag in _BLOCKS or tag in _HEADINGS or tag == "br":
            parts.append(" ")
    return " ".join("".join(parts).split())


def _span(cell: LexborNode, name: str) -> int:
    value = (cell.attributes.get(name) or "1").strip()
    return min(max(int(value), 1), 100) if value.isdecimal() and len(value) < 5 else 1
