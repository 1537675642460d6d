"""A few hundred damaged files of every format: each is read or refused in its time, none takes its reader with it."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest
import xlwt
from docx import Document
from pptx import Presentation

from qzbrain.errors import ParseFailed
from qzbrain.knowledge import answers
from qzbrain.knowledge.answers import ReadDocument
from qzbrain.knowledge.reader import Reader, ReadRequest
from qzbrain.settings import Settings
from tests.knowledge.parsers.conftest import pdf_bytes
from tests.knowledge.parsers.office_files import saved, workbook
from tests.mutants import mutants

_EACH = 24
_LINES = [f"第{n}条 采购金额超过 {n} 万元的，须经批准。" for n in range(1, 30)]


def _docx() -> bytes:
    document = Document()
    document.add_heading("采购办法", 1)
    for line in _LINES:
        document.add_paragraph(line)
    table = document.add_table(3, 2)
    table.cell(0, 0).merge(table.cell(0, 1)).text = "金额"
    return saved(document.save)


def _pptx() -> bytes:
    slides = Presentation()
    for line in _LINES[:5]:
        slide = slides.slides.add_slide(slides.slide_layouts[1])
        slide.shapes.title.text = line
        slide.notes_slide.notes_text_frame.text = line
    return saved(slides.save)


def _xls() -> bytes:
    book = xlwt.Workbook()
    sheet = book.add_sheet("表")
    for row, line in enumerate(_LINES):
        sheet.write(row, 0, line)
        sheet.write(row, 1, row)
    return saved(book.save)


def _xlsx() -> bytes:
    return workbook(lambda book: [book.active.append([line, n]) for n, line in enumerate(["条款", *_LINES])])


def _zip(parts: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return packed.getvalue()


def _epub() -> bytes:
    rootfile = '<rootfile full-path="c.opf" media-type="application/oebps-package+xml"/>'
    container = f'<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>{rootfile}</rootfiles></container>'
    book = '<package xmlns="http://www.idpf.org/2007/opf"><manifest><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest>'
    parts = {"mimetype": "application/epub+zip", "META-INF/container.xml": container, "c.opf": book + '<spine><itemref idref="a"/></spine></package>'}
    return _zip({**parts, "a.xhtml": f"<html><body><h1>办法</h1><p>{'</p><p>'.join(_LINES)}</p></body></html>"})


def _png() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    header = (32).to_bytes(4, "big") * 2 + b"\x08\0\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress((b"\0" + b"\xff" * 32) * 32)) + chunk(b"IEND", b"")


def _eml() -> bytes:
    head = "From: a@example.com\r\nSubject: =?utf-8?B?6YCa55+l?=\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    return (head + "--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + "\r\n".join(_LINES) + "\r\n--b--\r\n").encode()


_SAMPLES: dict[str, Callable[[], bytes]] = {
    "a.md": lambda: ("# 采购办法\n\n| 甲 | 乙 |\n|---|---|\n| 1 | 2 |\n\n" + "\n\n".join(_LINES)).encode(),
    "a.txt": lambda: "\n".join(_LINES).encode("gb18030"),
    "a.html": lambda: f"<!doctype html><html><body><h1>办法</h1><table><tr><td>1</td></tr></table><p>{'</p><p>'.join(_LINES)}</p></body></html>".encode(),
    "a.csv": lambda: "\n".join(["条款,金额", *(f'"{line}",{n}' for n, line in enumerate(_LINES))]).encode(),
    "a.pdf": lambda: pdf_bytes([_LINES[:10], _LINES[10:20]]),
    "a.docx": _docx, "a.xlsx": _xlsx, "a.xls": _xls, "a.pptx": _pptx, "a.eml": _eml, "a.epub": _epub, "a.png": _png,
    "a.zip": lambda: _zip({"一.md": "# 一\n\n" + "\n".join(_LINES), "二/二.txt": "\n".join(_LINES)}),
}  # fmt: skip


@pytest.fixture
def reader(make_settings: Callable[..., Settings]) -> Iterator[Reader]:
    made = Reader(make_settings(parse_timeout_s=30, parse_memory_mb=768))
    yield made
    made.close()


@pytest.mark.parametrize("name", list(_SAMPLES))
def test_every_damaged_file_is_read_or_refused(name: str, reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bugs: list[str] = []
    monkeypatch.setattr(answers.log, "error", lambda _event, **fields: bugs.append(fields["traceback"]), raising=False)
    requests = []
    for number, data in enumerate(islice(mutants(_SAMPLES[name](), zlib.crc32(name.encode())), _EACH)):
        path = tmp_path / f"{number}"
        path.write_bytes(data)
        requests.append(ReadRequest(f"{number}", "k", name, 250, 50, path=path, size_bytes=len(data)))
    outcomes = [outcome for _, outcome in reader.read(requests, beat=lambda _: None)]
    assert len(outcomes) == _EACH
    refused = [x for x in outcomes if isinstance(x, ParseFailed)]
    assert all(x.zh and x.en for x in refused)
    assert len(refused) + sum(isinstance(x, ReadDocument) for x in outcomes) == _EACH
    assert [x.code for x in refused if x.code in ("crashed", "timeout")] == []
    assert bugs == [], bugs[0]
