"""PDF: text in reading order, tables row by row, bookmarks or large lines as headings; pages without legible text by OCR.

A page's text is of no use when it is missing, or when much of it means nothing (a font without a map to Unicode). Without OCR such pages are
left out, and a document of nothing else is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from qzbrain.domain import ParsedDocument
from qzbrain.knowledge.parsers import ocr, refusals
from qzbrain.knowledge.parsers.base import ParseLimits, Source, clean_title
from qzbrain.knowledge.parsers.beside import in_order
from qzbrain.knowledge.parsers.legible import legible
from qzbrain.knowledge.parsers.page_layout import Drawn
from qzbrain.knowledge.parsers.pages import Page, document_of_pages, laid_out, recognised_page, unread_page
from qzbrain.knowledge.parsers.pdf_outline import Bookmarks, bookmarks, outline_marks
from qzbrain.knowledge.parsers.pdf_rules import drawn
from qzbrain.knowledge.parsers.pdf_text import characters, runs, turned_box

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

_FEW_WORDS = 4
_PICTURE_PAGE = 0.5
_FEW_OVER_PICTURE = 80
"""A page that is mostly a picture, with fewer letters than this in its text layer (the name of a scanning program), is a scan."""
_OCR_SCALE = 3.0
"""Up to the side below (160 dots an inch on A4): at 2600 a page takes a third longer and is not read better (2026-11)."""
_OCR_SIDE = 1900


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
        pages = _Pages(document, source, limits).read()
        title = _stated_title(document)
        outline: Bookmarks = bookmarks(document)
    finally:
        document.close()
    words = sum(map(_words, pages))
    if words == 0 or (len(pages) > 2 and words < _FEW_WORDS * len(pages)):
        raise refusals.no_text_by_ocr() if ocr.available(limits) else refusals.no_text()
    marks = outline_marks(pages, outline)
    return document_of_pages(pages, limits, mime_type="application/pdf", stem=source.stem, title=title, marks=marks)


class _Pages:
    """Reads page after page; each is closed before the next is loaded, so that a long document takes no more memory than its text."""

    def __init__(self, document: PdfDocument, source: Source, limits: ParseLimits) -> None:
        self._document, self._source, self._limits = document, source, limits
        self._with_ocr = ocr.available(limits)

    def read(self) -> list[Page]:
        """Every page. One that cannot be loaded counts as empty; if none can, the file is broken."""
        count = len(self._document)
        if count > self._limits.max_pages:
            raise refusals.too_many_pages(count, self._limits.max_pages)
        pages: list[Page] = []
        failed = chars = 0
        with ocr.Ocr(self._limits) as reader, closing(in_order(self._by_text_layer, count)) as found:
            for index, (page, for_ocr) in enumerate(found):
                read = self._by_ocr(index, page or Page(), reader) if for_ocr else page
                failed += read is None
                pages.append(read or Page())
                chars += sum(len(line.text) for line in pages[-1].lines)
                if chars > self._limits.max_text_chars:
                    raise refusals.too_large(self._limits.max_text_chars)
                self._source.progress(index + 1, count, "pages")
        if failed == count:
            raise refusals.broken("PDF")
        return pages

    def _by_text_layer(self, index: int) -> tuple[Page | None, bool]:
        """The page (None when it cannot be read), and whether OCR should look at it."""
        from pypdfium2 import PdfiumError

        with self._loaded(index) as page:
            if page is None:
                return None, False
            try:
                read, pictures, of_use = _by_text_layer(page)
            except (PdfiumError, ValueError, OSError, UnicodeError):
                return None, False
        return read, self._with_ocr and (not of_use or (pictures > _PICTURE_PAGE and _words(read) < _FEW_OVER_PICTURE))

    def _by_ocr(self, index: int, read: Page, reader: ocr.Ocr) -> Page | None:
        from pypdfium2 import PdfiumError

        with self._loaded(index) as page:
            if page is None:
                return None
            try:
                return _by_ocr(page, read, reader)
            except (PdfiumError, ValueError, OSError, UnicodeError):
                return None

    @contextmanager
    def _loaded(self, index: int) -> Iterator[PdfPage | None]:
        from pypdfium2 import PdfiumError

        try:
            page = self._document[index]
        except (PdfiumError, ValueError, OSError):
            yield None
            return
        try:
            yield page
        finally:
            page.close()


def _by_text_layer(page: PdfPage) -> tuple[Page, float, bool]:
    """The page (empty when its text is not legible), the share of it that pictures cover, whether its text is legible."""
    text_page = page.get_textpage()
    try:
        found = characters(text_page)
    finally:
        text_page.close()
    text = "".join(char[0] for _, chars in found.turns for char in chars)
    if not legible(text, found.unmapped):
        return Page(), 0.0, False
    read = Page()
    pictures = 0.0
    for order, (turn, chars) in enumerate(found.turns):
        lies = Drawn() if order else drawn(page, turn)
        _, bottom, _, top = turned_box(turn, page.get_bbox())
        part = laid_out(runs(chars, lies.upright), lies, bottom, top)
        if order:  # what stands sideways on an upright page comes after the rest, its tables as lines
            read.lines += [line for line in part.lines if line.inset < 0]
        else:
            read, pictures = part, lies.pictures
    return read, pictures, True


def _by_ocr(page: PdfPage, read: Page, reader: ocr.Ocr) -> Page:
    """What OCR sees, if that is more than the text layer has; a blank page is empty."""
    if next(iter(page.get_objects(max_depth=1)), None) is None:
        return read
    scale = min(_OCR_SCALE, _OCR_SIDE / max(1.0, *page.get_size()))
    bitmap = page.render(scale=scale)
    try:
        shown = ocr.Bitmap(bytes(bitmap.buffer), bitmap.width, bitmap.height, bitmap.stride, bitmap.n_channels)
    finally:
        bitmap.close()
    try:
        seen = recognised_page(reader.page(shown))
    except ocr.PictureUnreadable:
        return read if _words(read) else unread_page()
    better = _words(seen) > _words(read) and legible("".join(line.text for line in seen.lines) + _cells(seen))
    return seen if better else read


def _words(page: Page) -> int:
    return sum(map(str.isalnum, _cells(page) + "".join(line.text for line in page.lines)))


def _cells(page: Page) -> str:
    return "".join(cell.text for table in page.tables for row in table.rows for cell in row)


def _stated_title(document: PdfDocument) -> str:
    """The title in the metadata unless a program put its file name there."""
    from pypdfium2 import PdfiumError

    try:
        title = clean_title(document.get_metadata_value("Title"))
    except (PdfiumError, ValueError, UnicodeError):
        return ""
    return "" if re.search(r"microsoft|untitled|anonymous|未命名|^幻灯片|\.(?:docx?|wps|pdf|pptx?|xlsx?|indd|tex)$", title, re.I) else title
