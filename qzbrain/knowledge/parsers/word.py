"""Word documents (docx, of Word and of WPS): paragraphs with heading styles and automatic numbers, tables, notes, text boxes.

The body is read in its order from the XML. A footnote stands after its paragraph, marked; a text box after the paragraph that holds it. Left out:
headers and footers, comments, deleted text (see runs), tables of contents.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from qzbrain.domain import ParsedDocument
from qzbrain.knowledge.parsers import refusals
from qzbrain.knowledge.parsers.base import ParseLimits, Source, TextBuilder, clean_title
from qzbrain.knowledge.parsers.headers import Cell, Row
from qzbrain.knowledge.parsers.numbering import Numbering, W, value
from qzbrain.knowledge.parsers.ooxml import Package
from qzbrain.knowledge.parsers.runs import Inline, flowed
from qzbrain.knowledge.parsers.tables import add_table

_HEADING_STYLE = re.compile(r"(?:heading|标题)\s*([1-9])$", re.IGNORECASE)
_CONTENTS_STYLE = re.compile(r"(?:toc|目录)\s*(?:\d|heading|标题)$|table of figures$", re.IGNORECASE)
_MIME = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
_PROGRAM_TITLE = re.compile(r"^(?:Microsoft Word|PowerPoint|Word Document|文档\s*\d|Untitled|未命名)|\.(?:docx?|wps)$", re.IGNORECASE)
_NESTING = 40
"""Deepest nesting of tables and text boxes that is followed."""
_WRAPPERS = frozenset(f"{W}{name}" for name in ("sdt", "sdtContent", "customXml", "ins", "moveTo", "smartTag"))
_FLOW = frozenset((f"{W}p", f"{W}tbl", f"{W}sdt"))
_NOTE_MARKS = {"footnote": "［脚注］", "endnote": "［尾注］"}


def parse(source: Source, limits: ParseLimits) -> ParsedDocument:
    """Blocks in the order of the body. Raises ParseFailed: broken, bomb, encrypted, too_large."""
    package = Package(source.data, "docx", limits)
    try:
        root = package.xml(package.main)
        body = root.find(f"{W}body")
        if body is None:
            raise refusals.broken("docx")
        writer = _Writer(TextBuilder(limits), _Styles(_related(package, "styles")), Numbering(_related(package, "numbering")), _notes(package))
        writer.flow(body, 0)
    except (AttributeError, KeyError, ValueError, TypeError, IndexError, RecursionError) as exc:
        raise refusals.broken("docx") from exc
    stated = package.stated_title()
    title = writer.title or ("" if _PROGRAM_TITLE.search(stated) else stated) or writer.first_heading or source.stem
    return ParsedDocument(writer.builder.text(), tuple(writer.builder.blocks), title, _MIME)


def _related(package: Package, kind: str) -> Any | None:
    part = package.related(package.main, kind)
    return None if part is None else package.xml(part)


def _notes(package: Package) -> dict[tuple[str, str], Any]:
    """Footnotes and endnotes by kind and id; the separators that the format counts among them are none."""
    notes: dict[tuple[str, str], Any] = {}
    for kind in _NOTE_MARKS:
        root = _related(package, f"{kind}s")
        for note in () if root is None else root.iterchildren(f"{W}{kind}"):
            if note.get(f"{W}type", "normal") == "normal":
                notes[kind, note.get(f"{W}id") or ""] = note
    return notes


class _Styles:
    """What paragraph styles say, their own or that of a style they build on.

    `levels`: heading level by style id, 0 for the title style; `numbers`: w:numPr by style id; `contents`: styles of a table of contents.
    """

    def __init__(self, root: Any | None) -> None:
        self.levels: dict[str, int] = {}
        self.numbers: dict[str, Any] = {}
        self.contents: set[str] = set()
        bases: dict[str, str] = {}
        for style in () if root is None else root.iterchildren(f"{W}style"):
            style_id = style.get(f"{W}styleId", "")
            self._own(style_id, style)
            bases[style_id] = value(style.find(f"{W}basedOn"))
        for style_id in bases:
            base = style_id
            for _ in range(10):
                base = bases.get(base, "")
                if base in self.levels and style_id not in self.levels:
                    self.levels[style_id] = self.levels[base]
                if base in self.numbers and style_id not in self.numbers:
                    self.numbers[style_id] = self.numbers[base]

    def _own(self, style_id: str, style: Any) -> None:
        name, outline, numbers = value(style.find(f"{W}name")), value(style.find(f"{W}pPr/{W}outlineLvl")), style.find(f"{W}pPr/{W}numPr")
        if _CONTENTS_STYLE.match(name):
            self.contents.add(style_id)
        elif match := _HEADING_STYLE.match(name):
            self.levels[style_id] = int(match[1])
        elif name.lower() in ("title", "标题"):
            self.levels[style_id] = 0
        elif outline.isdecimal() and int(outline) < 9:
            self.levels[style_id] = int(outline) + 1
        if numbers is not None:
            self.numbers[style_id] = numbers


class _Writer:
    """Walks the body and emits paragraphs and rows."""

    def __init__(self, builder: TextBuilder, styles: _Styles, numbering: Numbering, notes: dict[tuple[str, str], Any]) -> None:
        self.builder = builder
        self.title = ""
        self.first_heading = ""
        self._styles, self._numbering, self._notes = styles, numbering, notes

    def flow(self, container: Any, depth: int) -> None:
        """Emit the paragraphs and tables of a body, a content control, a text box or a cell, `depth` containers deep."""
        for child in flowed(container, _WRAPPERS - {f"{W}sdt"}, _FLOW):
            if child.tag == f"{W}p":
                self._paragraph(child, depth)
            elif depth >= _NESTING:
                continue
            elif child.tag == f"{W}tbl":
                self._table(child, depth)
            elif not _is_contents(child):
                self.flow(child, depth + 1)

    def _paragraph(self, paragraph: Any, depth: int) -> None:
        style = value(paragraph.find(f"{W}pPr/{W}pStyle"))
        if style in self._styles.contents:
            return
        inline = Inline()
        if text := inline.text(paragraph).strip():
            self._emit(paragraph, style, text)
        self._after(inline, depth)

    def _emit(self, paragraph: Any, style: str, text: str) -> None:
        outline = value(paragraph.find(f"{W}pPr/{W}outlineLvl"))
        numbered, of_style = paragraph.find(f"{W}pPr/{W}numPr"), self._styles.numbers.get(style)
        text = self._numbering.label(of_style if numbered is None else numbered, style, fallback=of_style) + text
        level = self._styles.levels.get(style, -1)
        if outline.isdecimal():
            level = int(outline) + 1 if int(outline) < 9 else -1
        if level == 0 and not self.title:
            self.title = clean_title(text)
        heading = min(max(level, 1), 6) if level >= 0 and len(text) <= 200 else 0
        if heading and not self.first_heading:
            self.first_heading = clean_title(text)
        listed = numbered is not None and not heading
        self.builder.add(text, heading_level=heading, kind="list_item" if listed else "text", gap=1 if listed else 2)

    def _after(self, inline: Inline, depth: int) -> None:
        """What hangs on a paragraph or a table: text boxes, then notes."""
        for box in inline.boxes if depth < _NESTING else ():
            self.flow(box, depth + 1)
        for kind, note_id in inline.notes:
            note = self._notes.pop((kind, note_id), None)  # once, though two places may refer to it
            if note is not None and (text := " ".join(Inline().text(note).split())):
                self.builder.add(_NOTE_MARKS[kind] + text, gap=1)

    def _table(self, table: Any, depth: int) -> None:
        """A table of a single cell is a frame round what it holds."""
        cells = [cell for row in flowed(table, _WRAPPERS, frozenset((f"{W}tr",))) for cell in flowed(row, _WRAPPERS, frozenset((f"{W}tc",)))][:2]
        if len(cells) == 1:
            self.flow(cells[0], depth + 1)
            return
        inline = Inline()
        add_table(self.builder, _rows(table, inline))
        self._after(inline, depth)


def _is_contents(control: Any) -> bool:
    return value(control.find(f"{W}sdtPr/{W}docPartObj/{W}docPartGallery")) == "Table of Contents"


def _rows(table: Any, inline: Inline) -> Iterator[Row]:
    """Rows by column; a cell that continues the one above it is that cell."""
    above: dict[int, Cell] = {}
    for row in flowed(table, _WRAPPERS, frozenset((f"{W}tr",))):
        if row.find(f"{W}trPr/{W}del") is not None:
            continue
        marked = row.find(f"{W}trPr/{W}tblHeader") is not None
        cells: Row = [None] * _count(row.find(f"{W}trPr/{W}gridBefore"), 0)
        for element in flowed(row, _WRAPPERS, frozenset((f"{W}tc",))):
            merge, span = element.find(f"{W}tcPr/{W}vMerge"), _count(element.find(f"{W}tcPr/{W}gridSpan"), 1)
            cell = Cell(" ".join(inline.text(element).split()), span, marked=marked)
            if merge is not None and value(merge) != "restart" and not cell.text:
                cell = above.get(len(cells), cell)
            above[len(cells)] = cell
            cells += [cell] * span
        yield cells


def _count(element: Any, default: int) -> int:
    stated = value(element)
    return int(stated) if stated.isdecimal() and 0 < int(stated) < 1000 else default
