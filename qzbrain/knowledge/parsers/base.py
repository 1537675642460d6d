"""What every parser gets and gives: limits in, stored text with its blocks out.

A parser is a function `(source: Source, limits: ParseLimits) -> ParsedDocument`. It raises ParseFailed (see refusals.py) and
nothing else for whatever bytes it is given; third-party exceptions are translated inside it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath, PureWindowsPath

from qzbrain.domain import Block, ParsedDocument
from qzbrain.knowledge.parsers import refusals
from qzbrain.text.decode import decode

TITLE_CHARS = 200
"""Longest title kept."""


@dataclass(frozen=True, slots=True)
class ParseLimits:
    """Bounds on what one document may give. Time and memory are bounded by the process that calls the parser."""

    max_text_chars: int = 20_000_000
    max_pages: int = 20_000
    max_unzipped_bytes: int = 400 * 1024 * 1024
    max_zip_members: int = 10_000
    max_zip_ratio: int = 300
    ocr_page_timeout_s: float = 60.0
    """0: no OCR."""
    ocr_threads: int = 0
    """0: as many as there are cores, at most four."""


Progress = Callable[[int, int, str], None]
"""(done, total, unit `pages` or `rows`): called by parsers of what takes long, as often as they like."""


def unheard(_done: int, _total: int, _unit: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True)
class Source:
    """A document's bytes and the name under which it came (a file name, perhaps with folders). `progress`: who is told how far its parser is."""

    data: bytes
    name: str
    progress: Progress = unheard

    @cached_property
    def text(self) -> str:
        """The bytes decoded, for formats that are text. Raises ParseFailed `garbled`."""
        return decode(self.data).text

    @property
    def stem(self) -> str:
        """The name without folders and extension: the title of last resort."""
        return stem_of(self.name)


Parser = Callable[[Source, ParseLimits], ParsedDocument]


def stem_of(name: str) -> str:
    """File name without folders (of either system) and extension, at most TITLE_CHARS characters."""
    last = PurePosixPath(PureWindowsPath(name).as_posix()).name
    stem, dot, _ = last.rpartition(".")
    return (stem if dot and stem else last)[:TITLE_CHARS].strip()


def clean_title(title: str) -> str:
    """One line, single blanks, no Markdown marks round it, at most TITLE_CHARS characters."""
    return re.sub(r"\s+", " ", title).strip(" *_#`\ufeff")[:TITLE_CHARS].strip()


class TextBuilder:
    """Gathers the stored text block by block and keeps the offsets right; raises too_large beyond the limit.

    Blocks are separated by one newline, paragraphs by an empty line (`gap=2`), so that plain views of the text read well.
    """

    def __init__(self, limits: ParseLimits) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._limit = limits.max_text_chars
        self.blocks: list[Block] = []

    def __bool__(self) -> bool:
        return self._length > 0

    def add(self, text: str, *, page: int | None = None, heading_level: int = 0, kind: str = "text", gap: int = 2, between: str | None = None) -> None:
        """Append a block; blank text is dropped. `gap`: newlines between it and the block before, or `between` in their place."""
        text = text.strip()
        if not text:
            return
        if self._length:
            separator = "\n" * gap if between is None else between
            self._parts.append(separator)
            self._length += len(separator)
        start = self._length
        self._parts.append(text)
        self._length += len(text)
        if self._length > self._limit:
            raise refusals.too_large(self._limit)
        self.blocks.append(Block(start, self._length, page, heading_level, kind))

    def text(self) -> str:
        """The stored text so far."""
        return "".join(self._parts)
