"""Cuts a parsed document into chunks: sections first, then whole sentences and table rows packed up to a size. Pure, linear.

Chunks overlap by whole sentences inside a section, never across sections or articles. A sentence longer than a chunk is cut
at commas, else at blanks, else hard. Every non-blank character stands in a chunk, save ruled lines (`-----`) without a word.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator

from qzbrain.domain import Block, ChunkDraft, ParsedDocument
from qzbrain.knowledge.structure import Section, sections
from qzbrain.text.sentences import sentences

Span = tuple[int, int]

_SOFT_CUT = re.compile(r"[，、；：,;:]+[”’」』）)\"']*|[ \t\u3000]+")
_WORD = re.compile(r"[^\W_]")


def chunk(parsed: ParsedDocument, *, chunk_chars: int, overlap_chars: int) -> list[ChunkDraft]:
    """Chunks of at most `chunk_chars` characters in the order of the text, `overlap_chars` of whole sentences repeated at most.

    `text == parsed.text[start:end]`, without blanks at its ends; ordinals from 0. A text without a word gives no chunks.
    """
    text = parsed.text
    rows = [(block.start, block.end) for block in parsed.blocks if block.kind in ("table_row", "qa")]
    pages = _Pages(parsed.blocks)
    drafts: list[ChunkDraft] = []
    for section in sections(parsed):
        for start, end in _section_spans(text, section, rows, chunk_chars, min(overlap_chars, chunk_chars // 2)):
            drafts.append(ChunkDraft(len(drafts), start, end, text[start:end], pages.at(start), section.path, section.reference))
    return drafts


class _Pages:
    """Page by offset; None for documents without pages."""

    def __init__(self, blocks: tuple[Block, ...]) -> None:
        paged = [block for block in blocks if block.page is not None]
        self._starts = [block.start for block in paged]
        self._pages = [block.page for block in paged]

    def at(self, offset: int) -> int | None:
        """Page of the block that holds or precedes `offset`."""
        if not self._starts:
            return None
        return self._pages[max(bisect_right(self._starts, offset) - 1, 0)]


def _section_spans(text: str, section: Section, rows: list[Span], chunk_chars: int, overlap_chars: int) -> list[Span]:
    if section.end - section.start <= chunk_chars:
        return [(section.start, section.end)] if _WORD.search(text, section.start, section.end) else []
    units = list(_units(text, section, rows, chunk_chars))
    return _pack(_with_words(text, units, chunk_chars), chunk_chars, overlap_chars)


def _units(text: str, section: Section, rows: list[Span], chunk_chars: int) -> Iterator[Span]:
    """What is kept whole where it fits: sentences, table rows, questions with their answers, none longer than `chunk_chars`."""
    position = section.start
    for start, end in rows[bisect_right(rows, (section.start, -1)):]:
        if start >= section.end:
            break
        yield from _sentence_units(text, position, start, chunk_chars)
        if end - start <= chunk_chars:
            yield _stripped(text, start, end)
        else:
            yield from _sentence_units(text, start, end, chunk_chars)
        position = end
    yield from _sentence_units(text, position, section.end, chunk_chars)


def _sentence_units(text: str, start: int, end: int, chunk_chars: int) -> Iterator[Span]:
    for first, last in sentences(text[start:end]):
        if last - first <= chunk_chars:
            yield start + first, start + last
        else:
            yield from _cut(text, start + first, start + last, chunk_chars)


def _cut(text: str, start: int, end: int, chunk_chars: int) -> Iterator[Span]:
    """Pieces of a sentence that is too long: up to the last comma or blank in the window's second half, else a hard cut."""
    while end - start > chunk_chars:
        cut = start + chunk_chars
        for match in _SOFT_CUT.finditer(text, start + chunk_chars // 2, start + chunk_chars):
            cut = match.end()
        kept = text[start:cut].rstrip()
        yield start, start + len(kept)
        start = cut
        while start < end and text[start].isspace():
            start += 1
    if start < end:
        yield start, end


def _with_words(text: str, units: list[Span], chunk_chars: int) -> list[Span]:
    """Units that have a word in them: one without joins its neighbour; where both are too long for a chunk, their sum is halved."""
    kept: list[Span] = []
    waiting: Span | None = None
    for unit in units:
        if _WORD.search(text, *unit):
            kept += (_joined(text, waiting, unit, chunk_chars) if waiting else None) or [unit]
            waiting = None
        elif kept and not waiting and (joined := _joined(text, kept[-1], unit, chunk_chars)):
            kept[-1:] = joined
        else:
            waiting = (waiting[0], unit[1]) if waiting and unit[1] - waiting[0] <= chunk_chars else unit
    return kept


def _joined(text: str, left: Span, right: Span, chunk_chars: int) -> list[Span] | None:
    """The two as one span, else as two of about the same length with a word in each; None when that cannot be."""
    start, end = left[0], right[1]
    if end - start <= chunk_chars:
        return [(start, end)]
    middle = (start + end) // 2
    halves = [_stripped(text, start, middle), _stripped(text, middle, end)]
    if all(last - first <= chunk_chars and _WORD.search(text, first, last) for first, last in halves):
        return halves
    return None


def _stripped(text: str, start: int, end: int) -> Span:
    piece = text[start:end]
    start += len(piece) - len(piece.lstrip())
    return start, start + len(piece.strip())


def _pack(units: list[Span], chunk_chars: int, overlap_chars: int) -> list[Span]:
    """Greedy windows over the units; each begins with as many whole units of the one before as fit into the overlap."""
    spans: list[Span] = []
    first = 0
    while first < len(units):
        last = first
        while last + 1 < len(units) and units[last + 1][1] - units[first][0] <= chunk_chars:
            last += 1
        spans.append((units[first][0], units[last][1]))
        if last + 1 == len(units):
            break
        first = _overlap_start(units, first, last, chunk_chars, overlap_chars)
    return spans


def _overlap_start(units: list[Span], first: int, last: int, chunk_chars: int, overlap_chars: int) -> int:
    """Index at which the next window begins: it must take in the unit after `last`, and may repeat units before it."""
    start, end = last + 1, units[last][1]
    while start - 1 > first and end - units[start - 1][0] <= overlap_chars and units[last + 1][1] - units[start - 1][0] <= chunk_chars:
        start -= 1
    return start
