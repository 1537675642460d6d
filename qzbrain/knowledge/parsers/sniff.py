"""What a file is, by its bytes: signatures, names inside a zip, tags, and for text the shape of its lines.

Formats that are recognised but not read are refused here by name, so that the person learns what to upload instead.
"""

from __future__ import annotations

import re
from typing import Literal

from qzbrain.errors import ParseFailed
from qzbrain.knowledge.parsers import refusals
from qzbrain.knowledge.parsers.archive import check_archive
from qzbrain.knowledge.parsers.base import ParseLimits, Source
from qzbrain.knowledge.parsers.legacy import OLE, legacy, ole_kind, opendocument
from qzbrain.knowledge.parsers.objects import looks_like_objects
from qzbrain.knowledge.parsers.sheet import table_shape

Format = Literal["text", "markdown", "html", "csv", "pdf", "docx", "workbook", "pptx", "legacy", "epub", "mail", "objects", "image"]

_SAVE_AS_ZH, _SAVE_AS_EN = "请另存为 docx、PDF、Markdown 或纯文本后上传。", "Save it as docx, PDF, Markdown or plain text and upload that."
_UNPACK_ZH, _UNPACK_EN = "请解压后分别上传其中的文件。", "Unpack it and upload the files inside."

_REFUSED = {
    "archive": ("压缩包", "An archive", _UNPACK_ZH, _UNPACK_EN),
    "media": ("音频或视频文件", "Audio or video", "请上传其文字稿。", "Upload a transcript instead."),
    "program": ("程序或数据库文件", "A program or database file", "请上传文档。", "Upload a document instead."),
    "ole": ("旧版 Office 文件", "An old Office file", _SAVE_AS_ZH, _SAVE_AS_EN),
    "opendocument": ("OpenDocument 文件", "OpenDocument", _SAVE_AS_ZH, _SAVE_AS_EN),
    "msg": ("Outlook 邮件（.msg）", "An Outlook message (.msg)", "请另存为 eml 后上传。", "Save it as eml and upload that."),
}
_SIGNATURES: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b\x08", "archive"), (b"7z\xbc\xaf\x27\x1c", "archive"), (b"Rar!\x1a\x07", "archive"), (b"BZh", "archive"), (b"\xfd7zXZ\0", "archive"),
    (b"\x28\xb5\x2f\xfd", "archive"), (b"OggS\0", "media"), (b"fLaC\0", "media"), (b"\x1aE\xdf\xa3", "media"), (b"\xff\xfb", "media"),
    (b"\x7fELF", "program"), (b"SQLite format 3\0", "program"), (b"\xca\xfe\xba\xbe", "program"),
)
_PACKAGES: tuple[tuple[str, str, Format], ...] = (
    ("word/document.xml", "word/", "docx"), ("xl/workbook.xml", "xl/", "workbook"), ("ppt/presentation.xml", "ppt/", "pptx"),
)
_LETTER_HEAD = re.compile(rb"(?:(?:\xef\xbb\xbf)?[\x21-\x39\x3b-\x7e]{1,60}:[^\n]*\n(?:[ \t][^\n]*\n)*){1,400}")
_LETTER_SURE = re.compile(rb"^(?:Received|Return-Path|MIME-Version|Message-ID|DKIM-Signature|X-Mailer|Content-Type):", re.IGNORECASE | re.MULTILINE)
_LETTER_USUAL = re.compile(rb"^(?:From|To|Subject|Date|Cc|Sender|Reply-To):", re.IGNORECASE | re.MULTILINE)
_LETTER_HEAD_BYTES = 1 << 16
_LONGEST_CHAR = 4
"""Bytes of a character, in any encoding."""
_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
_HTML_START = re.compile(r"\s*(?:<\?xml[^>]*>\s*|<!--.{0,4000}?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_HTML_TAGS = re.compile(r"</(?:p|div|td|h[1-6]|li|span|body)>", re.IGNORECASE)
_MARKDOWN_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t\u3000]+\S", re.MULTILINE)


def detect(source: Source, limits: ParseLimits) -> Format:
    """The format of a document. Raises ParseFailed: empty, unsupported, encrypted, broken, bomb, garbled."""
    data = source.data
    if not data.strip():
        raise refusals.empty()
    head = data[:1024]
    if head.lstrip().startswith(b"%PDF-") or (b"%PDF-" in head and _extension(source) == "pdf"):
        return "pdf"
    if data.startswith(b"PK"):
        found = _zip_format(data, source, limits)
        if found:
            return found
    if data.startswith(OLE):
        return _ole_format(data, source)
    if legacy(data):
        return "legacy"
    if _is_image(data):
        return "image"
    _refuse_binary(data)
    if _is_letter(data, trusted=_extension(source) in ("eml", "mht", "mhtml")):
        return "mail"
    if len(data) > _LONGEST_CHAR * limits.max_text_chars:  # said before so much is decoded
        raise refusals.too_large(limits.max_text_chars)
    return _text_format(source)


def _extension(source: Source) -> str:
    return source.name.rpartition(".")[2].lower()


def _refuse(kind: str) -> ParseFailed:
    return refusals.unsupported(*_REFUSED[kind])


def _zip_format(data: bytes, source: Source, limits: ParseLimits) -> Format | None:
    if data[2:4] not in (b"\x03\x04", b"\x05\x06", b"\x07\x08"):
        return None
    names = check_archive(data, _extension(source) or "zip", limits)
    for main, folder, kind in _PACKAGES:
        if main in names or ("[Content_Types].xml" in names and any(name.startswith(folder) for name in names)):
            return kind
    if "META-INF/container.xml" in names:
        return "epub"
    if opendocument(data) == "spreadsheet":
        return "workbook"
    if legacy(data):
        return "legacy"
    if "mimetype" in names and "content.xml" in names:
        raise _refuse("opendocument")
    if _extension(source) in ("docx", "xlsx", "pptx", "epub"):
        raise refusals.broken(_extension(source))
    raise _refuse("archive")


def _is_image(data: bytes) -> bool:
    webp, bitmap = data.startswith(b"RIFF") and data[8:12] == b"WEBP", data.startswith(b"BM") and data[6:10] == b"\0\0\0\0"
    return data.startswith(_IMAGES) or webp or bitmap


def _refuse_binary(data: bytes) -> None:
    for signature, kind in _SIGNATURES:
        if data.startswith(signature):
            raise _refuse(kind)
    if data[4:8] == b"ftyp" or (data.startswith(b"ID3") and b"\0" in data[:16]):
        raise _refuse("media")
    if data.startswith(b"RIFF") and data[8:12] in (b"WAVE", b"AVI "):
        raise _refuse("media")
    if data.startswith(b"MZ") and b"\0\0" in data[:64]:
        raise _refuse("program")
    if data[257:262] == b"ustar":
        raise _refuse("archive")


def _ole_format(data: bytes, source: Source) -> Format:
    """A modern file with a password is wrapped in the container of the old ones."""
    kind = ole_kind(data, _extension(source))
    if kind == "encrypted":
        raise refusals.encrypted("Office")
    if kind in ("", "msg"):
        raise _refuse(kind or "ole")
    return "workbook" if kind == "xls" else "legacy"


def _is_letter(data: bytes, *, trusted: bool) -> bool:
    """Whether the bytes begin with the head of a letter. `trusted`: the name says so, so fewer of its usual lines will do."""
    head = _LETTER_HEAD.match(data[:_LETTER_HEAD_BYTES].replace(b"\r\n", b"\n"))
    if head is None:
        return False
    sure, usual = len(_LETTER_SURE.findall(head[0])), len(_LETTER_USUAL.findall(head[0]))
    return sure + usual >= 2 if trusted else sure >= 2 and usual >= 2


def _text_format(source: Source) -> Format:
    sample = source.text[:200_000]
    extension = _extension(source)
    if _HTML_START.match(sample) or (extension in ("html", "htm", "xhtml") and len(_HTML_TAGS.findall(sample)) > 0):
        return "html"
    if looks_like_objects(sample, extension):
        return "objects"
    if extension in ("md", "markdown", "mdx"):
        return "markdown"
    if table_shape(sample, trusted=extension in ("csv", "tsv")):
        return "csv"
    levels = [len(marks) for marks in _MARKDOWN_HEADING.findall(sample)]
    return "markdown" if len(levels) > 1 and max(levels) > 1 else "text"
