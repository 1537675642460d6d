"""Small real files of every format, made here: nothing is read from outside the repository."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import docx
import pytest

from qzbrain.domain import ParsedDocument
from qzbrain.knowledge.parsers import ParseLimits, parse

Read = Callable[..., ParsedDocument]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Parse bytes under a name, without OCR unless `limits` say otherwise."""

    def run(data: bytes, name: str, limits: ParseLimits | None = None) -> ParsedDocument:
        path = tmp_path / "stored"
        path.write_bytes(data)
        return parse(path, name=name, limits=limits or ParseLimits(ocr_page_timeout_s=0))

    return run


def pdf_bytes(pages: Sequence[Sequence[str]], *, encrypt: bool = False, title: str = "") -> bytes:
    """A PDF with a text layer: one line of text a line, Unicode by a ToUnicode map. `encrypt` locks it under an unknown password."""
    to_unicode = (
        b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def /CMapType 2 def "
        b"1 begincodespacerange <0000> <FFFF> endcodespacerange 1 beginbfrange <0000> <FFFF> <0000> endbfrange endcmap end end"
    )
    objects: list[bytes] = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(pages), b" ".join(b"%d 0 R" % (7 + 2 * index) for index in range(len(pages)))),
        b"<< /Type /Font /Subtype /Type0 /BaseFont /Sim /Encoding /Identity-H /DescendantFonts [4 0 R] /ToUnicode 5 0 R >>",
        b"<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Sim /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> /DW 1000 >>",
        b"<< /Length %d >> stream\n%s\nendstream" % (len(to_unicode), to_unicode),
        b"<< /Title <FEFF%s> >>" % title.encode("utf-16-be").hex().upper().encode(),
    ]
    for index, lines in enumerate(pages):
        shown = b" ".join(b"<%s> Tj T*" % line.encode("utf-16-be").hex().encode() for line in lines)
        content = b"BT /F 10 Tf 14 TL 40 780 Td %s ET" % shown
        objects.append(b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F 3 0 R >> >> /Contents %d 0 R >>" % (8 + 2 * index))
        objects.append(b"<< /Length %d >> stream\n%s\nendstream" % (len(content), content))
    extra = b" /Encrypt << /Filter /Standard /V 1 /R 2 /O <%s> /U <%s> /P -4 >> /ID [<00> <00>]" % (b"AB" * 32, b"CD" * 32) if encrypt else b""
    out, offsets = bytearray(b"%PDF-1.7\n"), []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    start = len(out)
    out += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    out += b"trailer << /Size %d /Root 1 0 R /Info 6 0 R%s >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, extra, start)
    return bytes(out)


def docx_bytes(build: Callable[[docx.document.Document], None]) -> bytes:
    """A Word document that `build` fills."""
    document = docx.Document()
    build(document)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


@pytest.fixture
def make_pdf() -> Callable[..., bytes]:
    return pdf_bytes


@pytest.fixture
def make_docx() -> Callable[[Callable[[docx.document.Document], None]], bytes]:
    return docx_bytes
