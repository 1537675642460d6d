"""PDF with a text layer: lines in pdfium's reading order, wrapped lines joined to paragraphs, running heads and page numbers dropped.

Pages without text are left out; a document without any is refused with the advice to run OCR.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING

from qzbrain.domain import ParsedDocument
from qzbrain.knowledge.parsers import refusals
from qzbrain.knowledge.parsers.base import ParseLimits, Source, TextBuilder, clean_title

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

_PAGE_NUMBER = re.compile(
    r"[-—–·\s]*(?:第\s*)?\d{1,4}(?:\s*页)?(?:\s*[/／,，]?\s*(?:共\s*)?\d{1,4}(?:\s*页)?)?[-—–·\s]*|page\s*\d{1,4}(?:\s*(?:of|/)\s*\d{1,4})?", re.IGNORECASE
)
_OPENS_PARAGRAPH = re.compile(
    r"第\s?[零〇一二三四五六七八九十百千\d.]{1,9}\s?[编章节条條款部篇]|[（(]?[一二三四五六七八九十]{1,3}[)）、]"
    r"|[（(]?\d{1,2}[)）、.．]\s?\D|[•·●■◆\-*]\s|[图表附]\s?\d|目\s*录|附\s*则"
)
_CLOSES_PARAGRAPH = frozenset("。！？!?；;：:")
_EDGE_LINES = 2
_REPEATS_FROM_PAGES = 3
_UNREADABLE_SHARE = 0.3


def parse(source: Source, limits: ParseLimits) -> ParsedDocument:
    """Paragraphs with their pages. Raises ParseFailed: encrypted, broken, no_text, too_large."""
    from pypdfium2 import PdfDocument, PdfiumError

    try:
        document = PdfDocument(source.data)
    except PdfiumError as exc:
        raise (refusals.encrypted("PDF") if "password" in str(exc).lower() else refusals.broken("PDF")) from exc
    except (ValueError, TypeError, OSError) as exc:
        raise refusals.broken("PDF") from exc
    try:
        pages = _page_lines(document, limits)
        title = _stated_title(document)
    finally:
        document.close()
    count = len(pages)
    _require_text(pages)
    builder = TextBuilder(limits)
    for page, paragraph in _paragraphs(_without_running_heads(pages)):
        builder.add(paragraph, page=page, gap=1)
    return ParsedDocument(builder.text(), tuple(builder.blocks), title or _first_line(builder) or source.stem, "application/pdf", count)


def _page_lines(document: PdfDocument, limits: ParseLimits) -> list[list[str]]:
    """Lines of every page that have text. A page that cannot be loaded counts as empty; if none can, the file is broken."""
    from pypdfium2 import PdfiumError

    if len(document) > limits.max_pages:
        raise refusals.too_many_pages(len(document), limits.max_pages)
    pages: list[list[str]] = []
    failed = chars = 0
    for index in range(len(document)):
        try:
            page = document[index]
            text_page = page.get_textpage()
            text = text_page.get_text_range(errors="replace")
            text_page.close()
            page.close()
        except (PdfiumError, ValueError, OSError, UnicodeError):
            failed, text = failed + 1, ""
        chars += len(text)
        if chars > limits.max_text_chars:
            raise refusals.too_large(limits.max_text_chars)
        pages.append([line for raw in _rejoined(text).splitlines() if (line := " ".join(raw.split()))])
    if failed == len(pages):
        raise refusals.broken("PDF")
    return pages


def _rejoined(text: str) -> str:
    """pdfium marks a word hyphenated over two lines by U+FFFE (older: U+0002); zero bytes stand for glyphs without a meaning."""
    return re.sub("[\ufffe\x02](?:\r?\n)?", "", text).replace("\x00", "")


def _stated_title(document: PdfDocument) -> str:
    """The title in the metadata unless a program put its file name there."""
    from pypdfium2 import PdfiumError

    try:
        title = clean_title(document.get_metadata_value("Title"))
    except (PdfiumError, ValueError, UnicodeError):
        return ""
    return "" if re.search(r"microsoft|untitled|未命名|^幻灯片|\.(?:docx?|wps|pdf|pptx?|xlsx?|indd|tex)$", title, re.I) else title


def _require_text(pages: list[list[str]]) -> None:
    text = "".join("".join(lines) for lines in pages)
    words = sum(map(str.isalnum, text))
    if words == 0 or (len(pages) > 2 and words < 4 * len(pages)):
        raise refusals.no_text()
    sample = text[:20_000]
    unreadable = sum(c == "\ufffd" or unicodedata.category(c) in ("Co", "Cn", "Cc") for c in sample)
    if unreadable > _UNREADABLE_SHARE * len(sample):
        raise refusals.no_text()


def _without_running_heads(pages: list[list[str]]) -> list[list[str]]:
    """Drop page numbers at the edges, and edge lines that come back (digits aside) on more than half of the pages."""
    seen = Counter(key for lines in pages for key in {_shape(line) for line in lines[:_EDGE_LINES] + lines[-_EDGE_LINES:]})
    need = max(_REPEATS_FROM_PAGES, len(pages) * 0.5)
    kept = []
    for lines in pages:
        first, last = 0, len(lines)
        while first < min(last, _EDGE_LINES) and (seen[_shape(lines[first])] >= need or _PAGE_NUMBER.fullmatch(lines[first])):
            first += 1
        while last > max(first, len(lines) - _EDGE_LINES) and (seen[_shape(lines[last - 1])] >= need or _PAGE_NUMBER.fullmatch(lines[last - 1])):
            last -= 1
        kept.append(lines[first:last])
    return kept


def _shape(line: str) -> str:
    return re.sub(r"\d+", "#", line)


def _paragraphs(pages: list[list[str]]) -> list[tuple[int, str]]:
    """Paragraphs with the page (from 1) on which they begin; a paragraph may run on over the page's end."""
    full = _full_width(pages)
    found: list[tuple[int, str]] = []
    parts: list[str] = []
    began = 1
    for number, lines in enumerate(pages, 1):
        for line in lines:
            if parts and _ends_before(parts[-1], line, full):
                found.append((began, _joined(parts)))
                parts = []
            if not parts:
                began = number
            parts.append(line)
    if parts:
        found.append((began, _joined(parts)))
    return found


def _full_width(pages: list[list[str]]) -> float:
    """Width from which a line counts as full: most of the widest lines' width (the 90th percentile, so that stray ones do not count)."""
    widths = sorted(_width(line) for lines in pages for line in lines)
    return 0.8 * widths[int(len(widths) * 0.9)] if widths else 0.0


def _width(line: str) -> int:
    """Columns: Chinese characters count two."""
    return len(line) if line.isascii() else sum(2 if c > "\u2e7f" else 1 for c in line)


def _ends_before(line: str, following: str, full: float) -> bool:
    """Whether a paragraph ends between two lines: the first is short or closes a sentence, or the second opens an article or item."""
    return _width(line) < full or line[-1] in _CLOSES_PARAGRAPH or bool(_OPENS_PARAGRAPH.match(following))


def _joined(lines: list[str]) -> str:
    """One paragraph of its lines: with a blank between Latin letters or digits, without one in Chinese."""
    text = lines[0]
    for line in lines[1:]:
        blank = text[-1] < "\u2e80" and line[0] < "\u2e80"
        text += (" " if blank else "") + line
    return text


def _first_line(builder: TextBuilder) -> str:
    text = builder.text()[:builder.blocks[0].end] if builder.blocks else ""
    return clean_title(text) if 1 < len(text) <= 60 and text[-1] not in "。，；：,;:" else ""
