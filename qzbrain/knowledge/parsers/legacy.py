"""Office formats that only an office program reads (doc, ppt, rtf, odt, odp, XML of Office 2003), told by their bytes.

Old Office files are one container with named streams: the names tell them apart. Those of WPS (wps, et, dps) are the same.
"""

from __future__ import annotations

import io
import re
import zipfile
import zlib
from dataclasses import dataclass

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_STREAMS = (("WordDocument", "doc"), ("Workbook", "xls"), ("Book", "xls"), ("PowerPoint Document", "ppt"), ("EncryptedPackage", "encrypted"))
_FAMILIES = {"doc": ("doc", "dot", "wps", "wpt"), "xls": ("xls", "xlt", "et", "ett"), "ppt": ("ppt", "pps", "pot", "dps", "dpt")}
_SHEET_XML = re.compile(rb"<(?:ss:)?Workbook\b[^>]*urn:schemas-microsoft-com:office:spreadsheet|<\?mso-application\s+progid=.Excel\.Sheet")
_OPENDOCUMENT = re.compile(rb"\s*application/vnd\.oasis\.opendocument\.([a-z]+)")
_WORD_XML = re.compile(rb"<w:wordDocument\b|<\?mso-application\s+progid=.Word\.Document")


@dataclass(frozen=True, slots=True)
class Legacy:
    """A format: its name, the extension under which an office program knows it, what it is turned into to be read."""

    zh: str
    en: str
    extension: str
    target: str


_KINDS = {
    "doc": Legacy("旧版 Word 文档（.doc/.wps）", "The old Word format (.doc, .wps)", "doc", "docx"),
    "ppt": Legacy("旧版 PowerPoint 演示文稿（.ppt/.dps）", "The old PowerPoint format (.ppt, .dps)", "ppt", "pptx"),
    "rtf": Legacy("RTF 文档", "RTF", "rtf", "docx"),
    "odt": Legacy("OpenDocument 文本（.odt）", "OpenDocument text (.odt)", "odt", "docx"),
    "odp": Legacy("OpenDocument 演示文稿（.odp）", "OpenDocument presentation (.odp)", "odp", "pptx"),
    "sheet-xml": Legacy("Excel 2003 XML 表格", "Excel 2003 XML", "xml", "xlsx"),
    "word-xml": Legacy("Word 2003 XML 文档", "Word 2003 XML", "xml", "docx"),
}


def legacy(data: bytes) -> Legacy | None:
    """The format, None when it is none of these."""
    if data.startswith(b"{\\rtf"):
        return _KINDS["rtf"]
    if data.startswith(OLE):
        return _KINDS.get(ole_kind(data, ""))
    if data.startswith(b"PK"):
        return _KINDS.get({"text": "odt", "presentation": "odp"}.get(opendocument(data), ""))
    head = data[:2000]
    if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<"):
        return _KINDS["sheet-xml"] if _SHEET_XML.search(head) else _KINDS["word-xml"] if _WORD_XML.search(head) else None
    return None


def opendocument(data: bytes) -> str:
    """text, spreadsheet, presentation … of a zip that says so; '' for any other zip."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open("mimetype") as stream:
            match = _OPENDOCUMENT.match(stream.read(100))
    except (zipfile.BadZipFile, zlib.error, KeyError, NotImplementedError, ValueError, RuntimeError, OSError, EOFError):
        return ""
    return match[1].decode() if match else ""


def ole_kind(data: bytes, extension: str) -> str:
    """doc, xls, ppt, encrypted, or '' for another file in such a container. `extension` decides when one document holds another."""
    found = [kind for stream, kind in _STREAMS if stream.encode("utf-16-le") in data]
    return next((kind for kind in found if extension in _FAMILIES.get(kind, ())), found[0] if found else "")
