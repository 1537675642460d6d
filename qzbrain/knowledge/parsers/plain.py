"""Plain text and Markdown: the stored text is the file's own, so that a citation shows the passage as its author wrote it.

Headings (`#` and underlined), table rows, list items and fenced code are marked as blocks; everything else is text by line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from qzbrain.domain import Block, ParsedDocument
from qzbrain.knowledge.parsers import refusals
from qzbrain.knowledge.parsers.base import ParseLimits, Source, clean_title, stem_of

_LINE = re.compile(r"[^\n]*\S[^\n]*")
_HEADING = re.compile(r" {0,3}(#{1,6})(?:[ \t\u3000]+|(?=[^\s#\x00-\x7f]))(.*?)[ \t]*#*[ \t]*$")
_LIST_ITEM = re.compile(r"\s*(?:[-*+]|\d{1,3}[.)])\s+\S")
_FENCE = re.compile(r"\s{0,3}(```|~~~)")
_UNDERLINE = re.compile(r" {0,3}(?:=+|-{3,})\s*$")
_FRONT_MATTER = re.compile(r"\A---[ \t]*\n(.{0,20000}?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_FRONT_TITLE = re.compile(r"^title[ \t]*:[ \t]*[\"']?(.+?)[\"']?[ \t]*$", re.MULTILINE)
_TITLE_LINE_CHARS = 60
_NOT_A_TITLE_END = frozenset("。，、；：,;:.！？!?…")


def parse(source: Source, limits: ParseLimits) -> ParsedDocument:
    """Decode and mark the blocks. Raises ParseFailed: garbled, too_large."""
    text = source.text
    if len(text) > limits.max_text_chars:
        raise refusals.too_large(limits.max_text_chars)
    return read_lines(text, name=source.name)


def read_lines(text: str, *, name: str) -> ParsedDocument:
    """Blocks of a text that is kept as it is; title: front matter, first top heading, a first line that looks like one, the name."""
    reader = _LineReader(text)
    reader.read()
    mime = "text/markdown" if reader.markdown or name.lower().endswith((".md", ".markdown")) else "text/plain"
    return ParsedDocument(text, tuple(reader.blocks), reader.title() or stem_of(name), mime)


@dataclass(slots=True)
class _LineReader:
    """One pass over the lines; the state is whether a code fence is open."""

    text: str
    blocks: list[Block] = field(default_factory=list)
    markdown: bool = False
    _front_title: str = ""
    _in_code: bool = False

    def read(self) -> None:
        position = self._front_matter()
        for match in _LINE.finditer(self.text, position):
            self._line(match.start(), match.end(), match[0])

    def title(self) -> str:
        """The best title that the text itself offers, or ''."""
        if self._front_title:
            return self._front_title
        if heading := next((block for block in self.blocks if block.heading_level), None):
            return clean_title(self.text[heading.start:heading.end])
        return self._first_line_title()

    def _first_line_title(self) -> str:
        if len(self.blocks) < 2:
            return ""
        first = self.blocks[0]
        line = self.text[first.start:first.end].strip()
        if len(line) > _TITLE_LINE_CHARS or line[-1] in _NOT_A_TITLE_END or not any(c.isalpha() for c in line) or first.kind != "text":
            return ""
        return clean_title(line)

    def _front_matter(self) -> int:
        match = _FRONT_MATTER.match(self.text)
        if match is None:
            return 0
        if title := _FRONT_TITLE.search(match[1]):
            self._front_title = clean_title(title[1])
        self.blocks.append(Block(0, match.end(), kind="code"))
        return match.end()

    def _line(self, start: int, end: int, line: str) -> None:
        first = line[0] if line[0] > " " else line.lstrip()[:1]
        if first in "`~" and _FENCE.match(line):
            self._in_code = not self._in_code
            self.markdown = True
            self.blocks.append(Block(start, end, kind="code"))
        elif self._in_code:
            self.blocks.append(Block(start, end, kind="code"))
        elif first == "#" and (heading := _HEADING.match(line)) and heading[2].strip():
            self.markdown = True
            self.blocks.append(Block(start + heading.start(2), start + heading.end(2), heading_level=len(heading[1])))
        elif first in "=-" and _UNDERLINE.match(line) and self._underlines(start):
            last = self.blocks[-1]
            self.blocks[-1] = Block(last.start, last.end, heading_level=1 if first == "=" else 2)
        elif first == "|":
            self.blocks.append(Block(start, end, kind="table_row"))
        elif (first in "-*+" or first.isdecimal()) and _LIST_ITEM.match(line):
            self.blocks.append(Block(start, end, kind="list_item"))
        else:
            self.blocks.append(Block(start, end))

    def _underlines(self, start: int) -> bool:
        """Whether the line before is a short line of text directly above."""
        if not self.blocks:
            return False
        last = self.blocks[-1]
        return last.kind == "text" and not last.heading_level and last.end == start - 1 and last.end - last.start <= _TITLE_LINE_CHARS
