"""Word documents (docx): paragraphs with heading styles and automatic numbers, tables row by row with merged cells repeated.

The archive is checked before it is opened. The body is read from its XML: python-docx's own table cells take quadratic time,
and leave out text in content controls.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from qzbrain.domain import ParsedDocument
from qzbrain.knowledge.parsers import refusals
from qzbrain.knowledge.parsers.archive import check_archive
from qzbrain.knowledge.parsers.base import ParseLimits, Source, TextBuilder, clean_title
from qzbrain.knowledge.parsers.numbering import Numbering, W, value
from qzbrain.knowledge.parsers.tables import Cell, filled_rows

if TYPE_CHECKING:
    from docx.document import Document

_SKIPPED = frozenset((f"{W}del", f"{W}moveFrom", f"{W}pPr", f"{W}rPr", "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"))
_HEADING_STYLE = re.compile(r"(?:heading|标题)\s*([1-9])$", re.IGNORECASE)
_NUMBERING = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/numbering"
_MIME = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_PROGRAM_TITLE = re.compile(r"^(?:Microsoft Word|PowerPoint|Word Document|文档\s*\d|Untitled|未命名)|\.(?:docx?|wps)$", re.IGNORECASE)
_NESTING = 40
"""Deepest nesting of tables and content controls that is followed."""


def parse(source: Source, limits: ParseLimits) -> ParsedDocument:
    """Blocks in the order of the body. Raises ParseFailed: broken, bomb, encrypted, too_large."""
    check_archive(source.data, "docx", limits)
    document = _open(source.data)
    try:
        writer = _Writer(TextBuilder(limits), _heading_levels(document), _numbering(document), _style_numbers(document))
        writer.body(document.element.body, 0)
    except (AttributeError, KeyError, ValueError, TypeError, IndexError, RecursionError) as exc:
        raise refusals.broken("docx") from exc
    title = writer.title or _stated_title(document) or writer.first_heading or source.stem
    return ParsedDocument(writer.builder.text(), tuple(writer.builder.blocks), title, _MIME)


def _open(data: bytes) -> Document:
    """The package, opened. An edge: hostile packages make zipfile, lxml and python-docx raise what no narrower class than Exception covers."""
    import docx

    try:
        return docx.Document(io.BytesIO(data))
    except MemoryError:
        raise
    except Exception as exc:
        raise refusals.broken("docx") from exc


def _heading_levels(document: Document) -> dict[str, int]:
    """Heading level by style id, from the style's outline level or its name, its own or that of a style it builds on; 0 = the title style."""
    levels: dict[str, int] = {}
    bases: dict[str, str] = {}
    for style in document.styles.element.iterchildren(f"{W}style"):
        style_id, name = style.get(f"{W}styleId", ""), value(style.find(f"{W}name"))
        outline = value(style.find(f"{W}pPr/{W}outlineLvl"))
        if match := _HEADING_STYLE.match(name):
            levels[style_id] = int(match[1])
        elif name.lower() in ("title", "标题"):
            levels[style_id] = 0
        elif outline.isdecimal() and int(outline) < 9:
            levels[style_id] = int(outline) + 1
        elif base := value(style.find(f"{W}basedOn")):
            bases[style_id] = base
    for style_id in bases:
        base = style_id
        for _ in range(10):
            base = bases.get(base, base)
        if base in levels:
            levels[style_id] = levels[base]
    return levels


def _numbering(document: Document) -> Numbering:
    """The document's lists; most documents without lists have no such part."""
    try:
        part: Any = document.part.part_related_by(_NUMBERING)
        return Numbering(part.element)
    except (KeyError, AttributeError):
        return Numbering(None)


def _style_numbers(document: Document) -> dict[str, Any]:
    """w:numPr by style id, for styles that number their paragraphs."""
    found = ((style.get(f"{W}styleId", ""), style.find(f"{W}pPr/{W}numPr")) for style in document.styles.element.iterchildren(f"{W}style"))
    return {style_id: properties for style_id, properties in found if properties is not None}


def _stated_title(document: Document) -> str:
    """The title in the properties, unless the program put its own words there."""
    try:
        title = clean_title(document.core_properties.title or "")
    except (AttributeError, KeyError, ValueError, TypeError):
        return ""
    return "" if _PROGRAM_TITLE.search(title) else title


class _Writer:
    """Walks the body and emits paragraphs and rows."""

    def __init__(self, builder: TextBuilder, levels: dict[str, int], numbering: Numbering, style_numbers: dict[str, Any]) -> None:
        self.builder = builder
        self.title = ""
        self.first_heading = ""
        self._levels = levels
        self._numbering = numbering
        self._style_numbers = style_numbers

    def body(self, container: Any, depth: int) -> None:
        """Emit the paragraphs and tables of a body or content control, `depth` containers deep."""
        for child in container.iterchildren():
            if child.tag == f"{W}p":
                self._paragraph(child)
            elif child.tag == f"{W}tbl":
                for index, row in enumerate(filled_rows(_rows(child))):
                    self.builder.add(" | ".join(row), kind="table_row", gap=1 if index else 2)
            elif child.tag in (f"{W}sdt", f"{W}sdtContent", f"{W}customXml", f"{W}ins") and depth < _NESTING:
                self.body(child, depth + 1)

    def _paragraph(self, paragraph: Any) -> None:
        text = _text(paragraph).strip()
        if not text:
            return
        style = value(paragraph.find(f"{W}pPr/{W}pStyle"))
        outline = value(paragraph.find(f"{W}pPr/{W}outlineLvl"))
        numbered = paragraph.find(f"{W}pPr/{W}numPr")
        text = self._numbering.label(self._style_numbers.get(style) if numbered is None else numbered) + text
        level = self._levels.get(style, -1)
        if outline.isdecimal() and int(outline) < 9:
            level = int(outline) + 1
        if level == 0 and not self.title:
            self.title = clean_title(text)
        heading = min(max(level, 1), 6) if level >= 0 and len(text) <= 200 else 0
        if heading and not self.first_heading:
            self.first_heading = clean_title(text)
        listed = numbered is not None and not heading
        self.builder.add(text, heading_level=heading, kind="list_item" if listed else "text", gap=1 if listed else 2)


def _text(element: Any) -> str:
    """Text of a paragraph or cell, its paragraphs on lines of their own; not deleted text, nor the second copy of text boxes."""
    parts: list[str] = []
    stack = [iter((element,))]
    while stack:
        node = next(stack[-1], None)
        if node is None:
            stack.pop()
        elif node.tag == f"{W}t":
            parts.append(node.text or "")
        elif node.tag == f"{W}tab":
            parts.append("\t")
        elif node.tag in (f"{W}br", f"{W}cr"):
            parts.append("\n")
        elif node.tag == f"{W}noBreakHyphen":
            parts.append("-")
        elif node.tag not in _SKIPPED:
            if node.tag == f"{W}p" and parts:
                parts.append("\n")
            stack.append(node.iterchildren())
    return "".join(parts)


def _rows(table: Any) -> Iterator[list[Cell]]:
    """Rows with vertical merges resolved: a continued cell holds the text of the cell above it that began the merge."""
    above: dict[int, str] = {}
    for row in table.iterchildren(f"{W}tr"):
        cells = []
        column = 0
        for cell in row.iter(f"{W}tc"):
            if cell.getparent() is not row and next(cell.iterancestors(f"{W}tr")) is not row:
                continue
            text = " ".join(_text(cell).split())
            merge = cell.find(f"{W}tcPr/{W}vMerge")
            if merge is None:
                above.pop(column, None)
            elif value(merge) == "restart":
                above[column] = text
            else:
                text = text or above.get(column, "")
            span = value(cell.find(f"{W}tcPr/{W}gridSpan"))
            cells.append(Cell(text))
            column += int(span) if span.isdecimal() and 0 < int(span) < 1000 else 1
        yield cells
