"""Letters (eml) and web pages saved as one file (mht): the head, then the text; attachments are named, not read.

Programs state encodings wrongly or not at all, so each part is decoded by what its bytes are.
"""

from __future__ import annotations

import email
import email.policy
import re
from email.header import decode_header
from email.message import Message
from typing import Any

from qzbrain.domain import ParsedDocument
from qzbrain.errors import ParseFailed
from qzbrain.knowledge.parsers import html, refusals
from qzbrain.knowledge.parsers.base import ParseLimits, Source, TextBuilder, clean_title
from qzbrain.text.decode import decode

_SHOWN = (("From", "发件人"), ("To", "收件人"), ("Cc", "抄送"), ("Date", "日期"), ("Subject", "主题"))
_MOST_PARTS = 2000


def parse(source: Source, limits: ParseLimits) -> ParsedDocument:
    """Head, text, names of attachments; of several forms of the text the plain one. An edge: the library meets whatever people send."""
    try:
        message = email.message_from_bytes(source.data.lstrip(b"\xef\xbb\xbf\r\n"), policy=email.policy.compat32)
        return _Letter(message, source, limits).read()
    except (ParseFailed, MemoryError):
        raise
    except Exception as exc:
        raise refusals.broken("eml") from exc


class _Letter:
    """A message being written out."""

    def __init__(self, message: Message, source: Source, limits: ParseLimits) -> None:
        self._message, self._source, self._limits = message, source, limits
        self._builder = TextBuilder(limits)

    def read(self) -> ParsedDocument:
        subject = clean_title(_header(self._message, "Subject"))
        page = self._message.get_content_type() == "multipart/related" and not self._message.get("To")
        if not page:
            shown = [f"{label}：{text}" for name, label in _SHOWN if (text := _header(self._message, name))]
            self._builder.add("\n".join(shown))
        title = self._body(saved_page=page)
        attached = [name for part in self._parts() if (name := _file_name(part)) and not (page and part.get("Content-Location"))]
        if attached:
            self._builder.add("附件：" + "、".join(attached))
        stated = subject or title or self._source.stem
        return ParsedDocument(self._builder.text(), tuple(self._builder.blocks), stated, "multipart/related" if page else "message/rfc822")

    def _body(self, *, saved_page: bool) -> str:
        """Append the text; returns the title of the page that it is, or ''."""
        texts = [part for part in self._parts() if part.get_content_maintype() == "text" and not _file_name(part)]
        if saved_page:  # one page; its frames and style sheets come with it
            texts = [part for part in self._parts() if part.get_content_type() == "text/html"][:1]
        plain = [part for part in texts if part.get_content_type() != "text/html" and _text(part).strip()]
        for part in plain:
            for paragraph in re.split(r"\n[ \t]*\n", _text(part)):
                self._builder.add(paragraph.strip("\n"))
        if plain:
            return ""
        return next(filter(None, [html.write(_text(part), self._builder, self._limits, whole=not saved_page) for part in texts]), "")

    def _parts(self) -> list[Message]:
        """All parts that are no containers, in order, those of forwarded letters too."""
        found: list[Message] = []
        waiting: list[Any] = [self._message]
        while waiting and len(found) < _MOST_PARTS:
            part = waiting.pop()
            payload = part.get_payload()
            if part.is_multipart() and isinstance(payload, list):
                waiting.extend(reversed(payload))
            else:
                found.append(part)
        return found


def _text(part: Message) -> str:
    """A part's text by what its bytes are, else as it states itself."""
    payload = part.get_payload(decode=True)
    if not isinstance(payload, bytes) or not payload:
        return ""
    stated = str(part.get_content_charset() or "").lower()
    if stated in ("utf-7", "iso-2022-jp", "iso-2022-kr", "iso-2022-cn", "hz-gb-2312"):  # seven bits: they look like ASCII
        return payload.decode(stated if stated != "iso-2022-cn" else "iso-2022-jp", errors="replace").replace("\r\n", "\n")
    try:
        return decode(payload).text
    except ParseFailed:
        return payload.decode("gb18030", errors="replace").replace("\r\n", "\n")


def _header(message: Message, name: str) -> str:
    """A header as people read it: encoded words decoded, one line."""
    value = message.get(name)
    return "" if value is None else _readable(value)


def _readable(value: Any) -> str:
    parts = []
    try:
        pieces = decode_header(value)
    except (ValueError, LookupError):  # base64 that is none
        pieces = [(str(value), None)]
    for piece, charset in pieces:
        data = piece if isinstance(piece, bytes) else piece.encode("utf-8", "surrogateescape")
        parts.append(_word(data, charset))
    return " ".join("".join(parts).split())


def _word(data: bytes, charset: str | None) -> str:
    for encoding in (charset if charset not in (None, "unknown-8bit") else "utf-8", "utf-8", "gb18030"):
        try:
            return data.decode({"gb2312": "gb18030", "gbk": "gb18030"}.get(str(encoding).lower(), str(encoding)))
        except (UnicodeDecodeError, LookupError):
            continue
    return data.decode("gb18030", errors="replace")


def _file_name(part: Message) -> str:
    """The name of an attachment, '' for a part that is none."""
    name = part.get_filename()
    if not name:
        return ""
    return _readable(name).replace("/", "_").replace("\\", "_")
