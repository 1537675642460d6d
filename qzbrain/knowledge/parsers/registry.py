"""Chooses the parser for a document by its content and runs it.

Parsers are imported when they are first needed: the child process that reads documents stays small for plain text.
"""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from qzbrain.domain import ParsedDocument
from qzbrain.knowledge.parsers import refusals
from qzbrain.knowledge.parsers.base import ParseLimits, Parser, Progress, Source, clean_title, unheard
from qzbrain.knowledge.parsers.plain import read_lines
from qzbrain.knowledge.parsers.sniff import Format, detect
from qzbrain.knowledge.structure import is_part_name, regulation_title

_PARSERS: dict[Format, str] = {
    "text": "plain", "markdown": "plain", "html": "html", "csv": "sheet", "pdf": "pdf", "docx": "word", "workbook": "workbook", "pptx": "slides",
    "legacy": "libreoffice", "epub": "epub", "mail": "mail", "objects": "objects", "image": "image",
}
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse(path: Path, *, name: str, limits: ParseLimits, progress: Progress = unheard) -> ParsedDocument:
    """Read the file at `path`; `name` is what its owner calls it. Raises ParseFailed with a reason a person can act on, OSError from reading."""
    source = Source(path.read_bytes(), name, progress)
    kind = detect(source, limits)
    return _with_words(_titled(_parser(kind)(source, limits)), limits)


def parse_text(text: str, *, name: str, title: str = "") -> ParsedDocument:
    """A text given directly: the stored text is exactly `text` (lone surrogates, which cannot be stored, become U+FFFD).

    Raises ParseFailed `empty` when it holds no word.
    """
    parsed = read_lines(_SURROGATE.sub("\ufffd", text), name=name)
    parsed = replace(parsed, title=clean_title(title)) if title.strip() else _titled(parsed)
    return _with_words(parsed, ParseLimits(max_text_chars=max(len(text), 1)))


def _parser(kind: Format) -> Parser:
    parser: Parser = import_module(f"qzbrain.knowledge.parsers.{_PARSERS[kind]}").parse
    return parser


def _titled(parsed: ParsedDocument) -> ParsedDocument:
    """With the regulation's name as title, if it is one and its title is not already its first heading."""
    heading = next((block for block in parsed.blocks if block.heading_level), None)
    if heading and not is_part_name(parsed.title) and clean_title(parsed.text[heading.start:heading.end]) == parsed.title:
        return parsed
    title = clean_title(regulation_title(parsed))
    return replace(parsed, title=title) if title else parsed


def _with_words(parsed: ParsedDocument, limits: ParseLimits) -> ParsedDocument:
    if len(parsed.text) > limits.max_text_chars:
        raise refusals.too_large(limits.max_text_chars)
    if not any(map(str.isalnum, parsed.text)):
        raise refusals.empty()
    return parsed

