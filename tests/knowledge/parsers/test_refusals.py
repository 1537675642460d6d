"""Files that cannot be read are refused with a code and a sentence in both languages, and with nothing else."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable

import docx
import pytest

from qzbrain.domain import ParsedDocument
from qzbrain.errors import ParseFailed
from qzbrain.knowledge.chunking import chunk
from qzbrain.knowledge.parsers import ParseLimits, parse_text
from tests.knowledge.parsers.office_files import workbook
from tests.knowledge.parsers.test_slides import deck, two_slides
from tests.knowledge.parsers.test_workbooks import old_workbook

Read = Callable[..., ParsedDocument]


def zipped(*members: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def refused(read: Read, data: bytes, name: str, limits: ParseLimits | None = None) -> ParseFailed:
    with pytest.raises(ParseFailed) as caught:
        read(data, name, limits)
    assert caught.value.zh.endswith("。")
    assert caught.value.en.endswith(".")
    return caught.value


@pytest.mark.parametrize(("data", "name", "code"), [
    (b"", "empty.txt", "empty"),
    (b" \r\n\t", "blank.md", "empty"),
    (b"\xef\xbb\xbf", "bom.txt", "empty"),
    ("。。。——！".encode(), "punctuation.txt", "empty"),
    (b"<html><body><script>x</script></body></html>", "nothing.html", "empty"),
    (b"%PDF-1.7\n" + random.Random(1).randbytes(2000), "broken.pdf", "broken"),
    (b"PK\x03\x04" + random.Random(2).randbytes(500), "broken.docx", "broken"),
    (zipped(("word/document.xml", b"<w:document")), "half.docx", "broken"),
    (zipped(("a.txt", b"x")), "named.docx", "broken"),
    (random.Random(3).randbytes(50_000), "noise.md", "garbled"),
    (zipped(("xl/workbook.xml", b"<x/>")), "a.xlsx", "broken"),
    (zipped(("ppt/presentation.xml", b"<x/>")), "a.pptx", "broken"),
    (zipped(("a.txt", b"x")), "a.zip", "unsupported"),
    (b"\x89PNG\r\n\x1a\n" + b"\0" * 50, "scan.txt", "unsupported"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600 + "Workbook".encode("utf-16-le"), "old.xls", "broken"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600 + "Unknown".encode("utf-16-le"), "old.msg", "unsupported"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600 + "EncryptedPackage".encode("utf-16-le"), "locked.docx", "encrypted"),
    (b"\x7fELF" + b"\0" * 100, "a.out", "unsupported"),
])
def test_codes(read: Read, data: bytes, name: str, code: str) -> None:
    assert refused(read, data, name).code == code


def test_pdf_reasons(read: Read, make_pdf: Callable[..., bytes]) -> None:
    assert refused(read, make_pdf([["密文"]], encrypt=True), "locked.pdf").code == "encrypted"
    assert "OCR" in refused(read, make_pdf([[], []]), "scan.pdf").en
    assert refused(read, make_pdf([["\ue000\ue001\ue002\ue003\ue004字"]]), "no map.pdf").code == "no_text"
    assert refused(read, make_pdf([["一"]] * 3), "long.pdf", ParseLimits(max_pages=2)).code == "too_large"
    assert refused(read, make_pdf([["很长的一行文字"] * 30]), "long.pdf", ParseLimits(max_text_chars=100)).code == "too_large"


def test_zip_bombs_are_refused_before_they_are_opened(read: Read) -> None:
    document = zipped(("word/document.xml", b"\0" * 60_000_000), ("[Content_Types].xml", b"<x/>"))
    assert refused(read, document, "bomb.docx").code == "bomb"
    many = zipped(*((f"word/{number}.xml", b"") for number in range(60)), ("word/document.xml", b"<x/>"))
    assert refused(read, many, "many.docx", ParseLimits(max_zip_members=50)).code == "bomb"


def test_entities_are_not_expanded(read: Read, make_docx: Callable[..., bytes]) -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 12))
    plain = make_docx(lambda document: document.add_paragraph("正文"))
    with zipfile.ZipFile(io.BytesIO(plain)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    body = b'<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body><w:p><w:r><w:t>&e11;</w:t></w:r></w:p></w:body></w:document>'
    laughs = b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "ha">' + entities.encode() + b"]>" + body
    hostile = zipped(*((name, laughs if name == "word/document.xml" else data) for name, data in members))
    assert refused(read, hostile, "laughs.docx").code in ("broken", "empty")


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.csv", "a.html"])
def test_too_much_text(read: Read, name: str) -> None:
    text = "名称,数量\n" + "甲,1\n" * 500
    page = f"<html><body>{text}</body></html>" if name == "a.html" else text
    assert refused(read, page.encode(), name, ParseLimits(max_text_chars=1000)).code == "too_large"


def test_direct_text_without_a_word_is_refused() -> None:
    with pytest.raises(ParseFailed) as caught:
        parse_text("  \n—— ", name="x")
    assert caught.value.code == "empty"


def mutated(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    start = rng.randrange(len(data))
    stop = min(len(data), start + rng.randrange(1, 400))
    kind = rng.randrange(4)
    if kind == 0:
        return data[:start]
    if kind == 1:
        for _ in range(rng.choice((1, 20, 200))):
            changed[rng.randrange(len(data))] = rng.randrange(256)
    elif kind == 2:
        del changed[start:stop]
    else:
        changed[start:start] = changed[start:stop] * rng.randrange(1, 20)
    return bytes(changed)


def inside_out(data: bytes, rng: random.Random) -> bytes:
    """A zip whose archive is sound and one of whose members is not."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    victim = rng.randrange(len(members))
    return zipped(*((name, mutated(content, rng) if index == victim and content else content) for index, (name, content) in enumerate(members)))


def test_damaged_files_give_text_or_a_reason(read: Read, make_pdf: Callable[..., bytes], make_docx: Callable[..., bytes]) -> None:
    def build(document: docx.document.Document) -> None:
        document.add_heading("标题", level=1)
        document.add_paragraph("正文。" * 30)
        document.add_table(rows=2, cols=2).cell(0, 0).text = "格"

    word = make_docx(build)
    sheet = workbook(lambda book: [book.active.append(row) for row in (["名称", "数量"], ["纸", 1], ["笔", 2])])
    samples = {
        "a.xlsx": sheet, "a.xls": old_workbook(), "a.pptx": deck(two_slides),
        "a.pdf": make_pdf([["第一条 为了规范。", "第二条 适用本法。"], ["第三条 施行。"]]), "a.docx": word,
        "a.html": ("<html><body><h1>题</h1><table><tr><td rowspan=2>甲</td></tr></table>" + "<p>段落。</p>" * 20 + "</body></html>").encode(),
        "a.csv": ("甲,乙\n" + '"一\n二",三\n' * 20).encode("gbk"), "a.md": ("# 题\n\n" + "一句话。\n- 项\n" * 20).encode("utf-16"),
    }
    for name, data in samples.items():
        for seed in range(40):
            rng = random.Random(f"{name}{seed}")
            damaged = inside_out(data, rng) if data.startswith(b"PK") and seed % 2 else mutated(data, rng)
            try:
                parsed = read(damaged, name)
            except ParseFailed:
                continue
            assert all(draft.text == parsed.text[draft.start:draft.end] for draft in chunk(parsed, chunk_chars=250, overlap_chars=50))
