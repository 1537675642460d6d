"""PDF: text in reading order, tables row by row, bookmarks or large lines as headings; pages without legible text by OCR.

A page's text is of no use when it is missing, or when much of it means nothing (a font without a map to Unicode). Without OCR such pages are
left out, and a document of nothing else is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qzbrain.domain import ParsedDocument
from qzbrain.knowledge.parsers import refusals
from qzbrain.knowledge.parsers.base import ParseLimits, Source, clean_title
from qzbrain.knowledge.parsers.legible import legible
from qzbrain.knowledge.parsers.page_layout import Run, reading_order
from qzbrain.knowledge.parsers.page_tables import tables
from qzbrain.knowledge.parsers.pages import Page, document_of_pages
from qzbrain.knowledge.parsers.pdf_outline import Bookmarks, bookmarks, outline_marks
from qzbrain.knowledge.parsers.pdf_rules import Drawn, drawn
from qzbrain.knowledge.parsers.pdf_text import characters, runs, turned_box

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

_FEW_WORDS = 4


def parse(source: Source, limits: ParseLimits) -> ParsedDocument:
    """Paragraphs, rows and headings with their pages. Raises ParseFailed: encrypted, broken, no_text, too_large."""
    from pypdfium2 import PdfDocument, PdfiumError

    try:
        document = PdfDocument(source.data)
    except PdfiumError as exc:
        raise (refusals.encrypted("PDF") if "password" in str(exc).lower() else refusals.broken("PDF")) from exc
    except (ValueError, TypeError, OSError) as exc:
        raise refusals.broken("PDF") from exc
    try:
        pages = _pages(document, source, limits)
        title = _stated_title(document)
        outline: Bookmarks = bookmarks(document)
    finally:
        document.close()
    words = sum(map(_words, pages))
    if words == 0 or (len(pages) > 2 and words < _FEW_WORDS * len(pages)):
        raise refusals.no_text()
    marks = outline_marks(pages, outline)
    return document_of_pages(pages, limits, mime_type="application/pdf", stem=source.stem, title=title, marks=marks)


def _pages(document: PdfDocument, source: Source, limits: ParseLimits) -> list[Page]:
    """Every page; each is closed before the next is loaded. One that cannot be loaded counts as empty; if none can, the file is broken."""
    from pypdfium2 import PdfiumError

    count = len(document)
    if count > limits.max_pages:
        raise refusals.too_many_pages(count, limits.max_pages)
    pages: list[Page] = []
    failed = chars = 0
    for index in range(count):
        try:
            page = document[index]
            try:
                pages.append(_read(page))
            finally:
                page.close()
        except (PdfiumError, ValueError, OSError, UnicodeError):
            failed += 1
            pages.append(Page())
        chars += sum(len(line.text) for line in pages[-1].lines)
        if chars > limits.max_text_chars:
            raise refusals.too_large(limits.max_text_chars)
        source.progress(index + 1, count, "pages")
    if failed == count:
        raise refusals.broken("PDF")
    return pages


def _read(page: PdfPage) -> Page:
    """The page by its text layer; empty when that is not legible."""
    text_page = page.get_textpage()
    try:
        found = characters(text_page)
    finally:
        text_page.close()
    text = "".join(char[0] for _, chars in found.turns for char in chars)
    if not legible(text, found.unmapped):
        return Page()
    read = Page()
    for turn, chars in found.turns:
        lies = drawn(page, turn) if not read.lines else Drawn()
        _, bottom, _, top = turned_box(turn, page.get_bbox())
        part = laid_out(runs(chars, lies.upright), lies, bottom, top)
        if not read.lines:
            read = part
        else:  # what stands sideways on an upright page comes after the rest
            read.lines += part.lines
    return read


def laid_out(found: list[Run], lies: Drawn, bottom: float, top: float) -> Page:
    """Lines and tables in reading order."""
    shown, rest = tables(lies.across, lies.upright, found)
    insets = [Run("", *table.box, 0.0, index) for index, table in enumerate(shown)]
    return Page(reading_order([*rest, *insets]), shown, bottom, top)


def _words(page: Page) -> int:
    cells = "".join(cell.text for table in page.tables for row in table.rows for cell in row)
    return sum(map(str.isalnum, cells + "".join(line.text for line in page.lines)))


def _stated_title(document: PdfDocument) -> str:
    """The title in the metadata unless a program put its file name there."""
    from pypdfium2 import PdfiumError

    try:
        title = clean_title(document.get_metadata_value("Title"))
    except (PdfiumError, ValueError, UnicodeError):
        return ""
    return "" if re.search(r"microsoft|untitled|anonymous|未命名|^幻灯片|\.(?:docx?|wps|pdf|pptx?|xlsx?|indd|tex)$", title, re.I) else title
