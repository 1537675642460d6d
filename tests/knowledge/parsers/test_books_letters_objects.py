"""EPUB, letters and JSON: read as their readers see them; what is locked or broken says so."""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Callable, Mapping
from email.message import EmailMessage

import pytest

from qzbrain.domain import ParsedDocument
from qzbrain.errors import ParseFailed
from qzbrain.knowledge.parsers import ParseLimits

Read = Callable[..., ParsedDocument]

_CONTAINER = '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles><rootfile full-path="O E/book.opf"/></rootfiles></container>'
_PACKAGE = """<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">
<metadata><dc:title>孙子兵法选</dc:title></metadata><manifest><item id="ncx" href="toc.ncx" media-type="application/x-dtbncx+xml"/>
<item id="b" href="%E4%BA%8C.xhtml" media-type="application/xhtml+xml"/>
<item id="a" href="one.xhtml" media-type="application/xhtml+xml"/>
<item id="p" href="p.png" media-type="image/png"/></manifest><spine toc="ncx">
<itemref idref="a"/><itemref idref="p"/><itemref idref="b"/><itemref idref="?"/></spine></package>"""
_NCX = """<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap><navPoint><navLabel><text>始计篇</text></navLabel><content src="one.xhtml#x"/></navPoint>
<navPoint><navLabel><text>不用的名字</text></navLabel><content src="%E4%BA%8C.xhtml"/></navPoint></navMap></ncx>"""
_BOOK = {
    "mimetype": "application/epub+zip",
    "META-INF/container.xml": _CONTAINER,
    "O E/book.opf": _PACKAGE,
    "O E/toc.ncx": _NCX,
    "O E/二.xhtml": '<html xmlns="http://www.w3.org/1999/xhtml"><head><title/></head><body><h2>作战篇</h2><p>凡用兵之法。</p><ul><li>驰车千驷</li></ul></body></html>',
    "O E/one.xhtml": '<?xml version="1.0"?><html><head><title/><script src="x"/></head><body><a id="x"/><div class="nav">兵者，国之大事。</div></body></html>',
    "O E/p.png": "png",
}


def zipped(members: Mapping[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return out.getvalue()


def test_a_book_in_reading_order(read: Read) -> None:
    parsed = read(zipped(_BOOK), "b.epub")
    assert (parsed.title, parsed.mime_type) == ("孙子兵法选", "application/epub+zip")
    assert parsed.text == "始计篇\n\n兵者，国之大事。\n\n作战篇\n\n凡用兵之法。\n驰车千驷"
    assert [(parsed.text[x.start : x.end], x.heading_level) for x in parsed.blocks if x.heading_level] == [("始计篇", 1), ("作战篇", 2)]


def test_a_locked_book_is_refused_and_hidden_fonts_are_no_lock(read: Read) -> None:
    rights = '<encryption><EncryptedData><EncryptionMethod Algorithm="{}"/></EncryptedData></encryption>'
    fonts = rights.format("http://www.idpf.org/2008/embedding")
    assert read(zipped({**_BOOK, "META-INF/encryption.xml": fonts}), "b.epub").text
    with pytest.raises(ParseFailed) as caught:
        read(zipped({**_BOOK, "META-INF/encryption.xml": rights.format("http://www.w3.org/2001/04/xmlenc#aes128-cbc")}), "b.epub")
    assert caught.value.code == "encrypted" and "DRM" in caught.value.zh


@pytest.mark.parametrize("change", [
    {"O E/book.opf": ""}, {"O E/book.opf": "<package/>"}, {"META-INF/container.xml": "<container/>"}, {"META-INF/container.xml": "no xml"},
    {"META-INF/container.xml": '<c><rootfile full-path="../../etc/passwd"/></c>'},
])
def test_a_broken_book_is_refused(read: Read, change: dict[str, str]) -> None:
    with pytest.raises(ParseFailed) as caught:
        read(zipped({**_BOOK, **change}), "b.epub")
    assert caught.value.code == "broken"


def test_a_book_with_a_broken_table_of_contents_is_read(read: Read) -> None:
    assert read(zipped({**_BOOK, "O E/toc.ncx": "<"}), "b.epub").text.startswith("兵者，国之大事。")


def _letter() -> EmailMessage:
    letter = EmailMessage()
    letter["From"], letter["To"], letter["Subject"] = "张三 <zhang@example.com>", "李四 <li@example.com>", "关于演习时间的通知"
    letter["Date"], letter["Message-ID"] = "Mon, 01 May 2023 09:00:00 +0800", "<1@example.com>"
    letter.set_content("各位：\n演习改在周五。\n\n> 原来的安排是周四。\n")
    letter.add_alternative("<p>网页的一份</p>", subtype="html")
    letter.add_attachment(b"%PDF-", maintype="application", subtype="pdf", filename="安排表.pdf")
    return letter


def test_a_letter(read: Read) -> None:
    parsed = read(_letter().as_bytes(), "notice.eml")
    assert (parsed.title, parsed.mime_type) == ("关于演习时间的通知", "message/rfc822")
    assert parsed.text.startswith("发件人：张三 <zhang@example.com>\n收件人：李四 <li@example.com>\n日期：Mon, 01 May 2023")
    assert "演习改在周五。" in parsed.text and "> 原来的安排是周四。" in parsed.text and "网页的一份" not in parsed.text
    assert parsed.text.endswith("附件：安排表.pdf")
    assert read(_letter().as_bytes(), "unnamed").mime_type == "message/rfc822", "by what it holds"


@pytest.mark.parametrize("charset", ["gb2312", "gbk", "unknown-x", "us-ascii", "utf-8"])
def test_a_letter_with_a_wrong_charset(read: Read, charset: str) -> None:
    body = "镕基同志的讲话，鎔字不在旧字符集中。".encode("gb18030")
    head = f"From: a@b.c\r\nSubject: =?{charset}?B?1tjSqs2o1qo=?=\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset={charset}\r\n\r\n"
    parsed = read(head.encode() + body, "x.eml")
    assert "镕基同志的讲话，鎔字不在旧字符集中。" in parsed.text
    assert parsed.title == "重要通知"


def test_a_page_saved_as_one_file(read: Read) -> None:
    page = (
        "From: <Saved by Blink>\nSubject: Page\nMIME-Version: 1.0\nContent-Type: multipart/related; boundary=x\n\n--x\nContent-Type: text/html; charset=utf-8\n"
        "Content-Transfer-Encoding: 8bit\nContent-Location: http://e/\n\n<html><body><nav>首页</nav><h1>标题</h1><p>正文。</p></body></html>\n"
        "--x\nContent-Type: text/css\nContent-Location: http://e/a.css\n\nbody{}\n--x--\n"
    )
    assert read(page.encode(), "page.mht").text == "标题\n\n正文。"


def test_a_text_that_mentions_headers_is_no_letter(read: Read) -> None:
    assert read("Subject: 说明\nTo: 各单位\n\n正文\n".encode(), "a.txt").mime_type == "text/plain"


def test_damaged_letters_and_books_give_text_or_a_reason(read: Read) -> None:
    rng = random.Random(5)
    for whole, name in ((_letter().as_bytes(), "a.eml"), (zipped(_BOOK), "a.epub")):
        for _ in range(60):
            data = bytearray(whole)
            for _ in range(rng.choice((1, 5, 40))):
                data[rng.randrange(len(data))] = rng.randrange(256)
            try:
                assert read(bytes(data[: rng.randrange(1, len(data) + 1)] if rng.random() < 0.3 else data), name).text
            except ParseFailed as exc:
                assert exc.zh and exc.code != "crashed"


def test_json_lines_that_are_no_corpus(read: Read) -> None:
    lines = [{"问题": "血压高怎么办", "答案": "限盐。", "标签": ["内科", "慢病"], "空": None, "来源": {"书": "手册"}}, {"name": "b", "n": 5}]
    for data, name in (
        ("\n".join(json.dumps(x, ensure_ascii=False) for x in lines).encode("gbk"), "qa.jsonl"),
        (json.dumps(lines, ensure_ascii=False, indent=1).encode(), "qa.json"),
        (json.dumps({"data": lines}).encode("utf-16"), "qa.json"),
    ):
        parsed = read(data, name)
        assert parsed.text == '问题：血压高怎么办\n答案：限盐。\n标签：内科、慢病\n来源：{"书":"手册"}\n\nname: b\nn: 5'
        assert [x.kind for x in parsed.blocks] == ["table_row", "table_row"]


def test_a_broken_line_of_json_is_kept_and_what_is_none_is_text(read: Read) -> None:
    assert read('{"a": "甲"}\n{"a": 乙}\n'.encode(), "x.jsonl").text == 'a: 甲\n\n{"a": 乙}'
    assert read("[注] 这是普通文字。\n第二行".encode(), "x.json").mime_type == "text/plain"
    assert read("{说明}不是 JSON\n第二行".encode(), "x.txt").mime_type == "text/plain"
    assert read(b"[" * 100_000 + "深".encode(), "x.json").text


def test_a_text_far_over_the_limit_is_refused_with_the_limit(read: Read) -> None:
    with pytest.raises(ParseFailed) as caught:
        read("长文字。".encode() * 1000, "x.txt", ParseLimits(max_text_chars=100))
    assert caught.value.code == "too_large" and "100" in caught.value.zh
