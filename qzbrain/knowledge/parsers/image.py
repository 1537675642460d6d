"""Images (png, jpg, tiff of several pages, bmp, webp, gif) by OCR; each picture of a file is a page."""

from __future__ import annotations

from qzbrain.domain import ParsedDocument
from qzbrain.knowledge.parsers import ocr, refusals
from qzbrain.knowledge.parsers.base import ParseLimits, Source
from qzbrain.knowledge.parsers.pages import Page, document_of_pages, recognised_page, unread_page


def parse(source: Source, limits: ParseLimits) -> ParsedDocument:
    """Paragraphs with their pages. Raises ParseFailed: unsupported (no OCR here), broken, no_text, too_large."""
    if not ocr.available(limits):
        raise refusals.image_without_ocr()
    pages: list[Page] = []
    unread = 0
    frames = 1
    with ocr.Ocr(limits) as reader:
        while len(pages) < frames:
            try:
                found = reader.image(source.data, len(pages))
                frames = found.frames
                pages.append(recognised_page(found))
            except ocr.PictureUnreadable:
                unread += 1
                pages.append(unread_page())
            if frames > limits.max_pages:
                raise refusals.too_many_pages(frames, limits.max_pages)
            source.progress(len(pages), frames, "pages")
    if unread == len(pages):
        raise refusals.broken("image")
    if not any(page.lines for page in pages):
        raise refusals.no_text_in_image()
    return document_of_pages(pages, limits, mime_type="image/*", stem=source.stem)
