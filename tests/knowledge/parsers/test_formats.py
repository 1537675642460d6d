"""Each format gives its text, its structure and its title."""

from __future__ import annotations

from collections.abc import Callable

import docx
import pytest
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls

from qzbrain.domain import ParsedDocument
from qzbrain.knowledge.chunking import chunk
from qzbrain.knowledge.parsers import parse_text

Read = Callable[..., ParsedDocument]


def blocks(parsed: ParsedDocument) -> list[tuple[str, int, str]]:
    return [(parsed.text[block.start:block.end], block.heading_level, block.kind) for block in parsed.blocks]


def well_formed(parsed: ParsedDocument) -> None:
    previous = 0
    for block in parsed.blocks:
        assert previous <= block.start < block.end <= len(parsed.text)
        previous = block.end


def test_markdown_is_stored_as_it_stands(read: Read) -> None:
    source = "\ufeff# 采购制度\r\n\r\n正文一行。\r\n\r\n## 第二部分 ##\n| 名称 | 数量 |\n|---|---|\n- 一项\n```\n# 不是标题\n```\n副标题\n----\n".encode()
    parsed = read(source, "制度.md")
    assert parsed.text == source.decode("utf-8-sig").replace("\r\n", "\n")
    assert parsed.title == "采购制度"
    assert parsed.mime_type == "text/markdown"
    assert [(text, level) for text, level, _ in blocks(parsed) if level] == [("采购制度", 1), ("第二部分", 2), ("副标题", 2)]
    assert ("| 名称 | 数量 |", 0, "table_row") in blocks(parsed)
    assert ("# 不是标题", 0, "code") in blocks(parsed)
    well_formed(parsed)


@pytest.mark.parametrize("encoding", ["utf-8", "gbk", "utf-16", "gb18030"])
def test_plain_text_in_any_encoding(read: Read, encoding: str) -> None:
    text = "考勤管理办法\n第一条　为了规范考勤，制定本办法。\n第二条　本办法自发布之日起施行。\n"
    parsed = read(text.encode(encoding), "文件.txt")
    assert (parsed.text, parsed.title, parsed.mime_type, parsed.pages) == (text, "考勤管理办法", "text/plain", None)


def test_title_falls_back_to_the_name(read: Read) -> None:
    assert read("这是一段没有标题的话。第二句。".encode(), "资料/会议 记录.v2.txt").title == "会议 记录.v2"
    assert read(b"---\ntitle: \"From front matter\"\n---\nBody text here.\n", "x.md").title == "From front matter"


def test_regulation_title_is_found_behind_a_misplaced_chapter(read: Read) -> None:
    paragraphs = ["# 附则", "**第三条**　施行。", "# 第一编　总则", "**第一条**　甲。", "**第二条**　乙。"]
    paragraphs += ["# 关于修改的决定", "文。", "# 中华人民共和国某某法", "通过。"]
    assert read("\n\n".join(paragraphs).encode(), "x.md").title == "中华人民共和国某某法"


def test_html(read: Read) -> None:
    page = """<!DOCTYPE html><html><head><meta charset=utf-8><title>网站名</title><style>.x{}</style></head><body>
    <nav>首页 登录</nav><script>alert(1)</script><h1>产品指南</h1><div>开头<p>第一步：打开<b>应用</b>。<br>第二步。</p>结尾</div>
    <table><tr><th>姓名</th><th>部门</th></tr><tr><td>张<b>三</b></td><td rowspan=2>财务部</td></tr><tr><td>李四</td></tr></table>
    <ul><li>甲</li><li>乙</li></ul><pre>a = 1
    b = 2</pre></body></html>"""
    parsed = read(page.encode(), "page.html")
    assert parsed.title == "产品指南"
    assert parsed.mime_type == "text/html"
    for absent in ("alert", "首页", "<", ".x{}"):
        assert absent not in parsed.text
    assert [text for text, _, kind in blocks(parsed) if kind == "table_row"] == ["姓名 | 部门", "张三 | 财务部", "李四 | 财务部"]
    texts = [text for text, _, _ in blocks(parsed)]
    assert texts[:4] == ["产品指南", "开头", "第一步：打开应用。\n第二步。", "结尾"]
    assert [text for text, _, kind in blocks(parsed) if kind == "list_item"] == ["甲", "乙"]
    assert "a = 1\n" in parsed.text
    well_formed(parsed)


def test_html_nested_very_deeply(read: Read) -> None:
    parsed = read(b"<html><body>" + b"<div>" * 20_000 + "深处的文字".encode() + b"</div>" * 20_000, "deep.html")
    assert "深处的文字" in parsed.text


def test_csv(read: Read) -> None:
    data = '部门,问题,Answer\n内科,"血压高，怎么办？","第一行\n第二行"\n外科,骨折,休息\n'.encode("gbk")
    parsed = read(data, "问答.csv")
    assert parsed.mime_type == "text/csv"
    assert parsed.title == "问答"
    assert [(text, kind) for text, _, kind in blocks(parsed)] == [
        ("问：血压高，怎么办？\n答：第一行\n第二行\n部门：内科", "qa"), ("问：骨折\n答：休息\n部门：外科", "qa"),
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_delimiters(read: Read, delimiter: str) -> None:
    rows = [("名称", "数量", "备注"), ("纸张", "10", "A4, 白色" if delimiter != "," else "A4"), ("墨盒", "3", "黑")]
    parsed = read("\n".join(delimiter.join(row) for row in rows).encode(), "库存.csv")
    assert "名称：墨盒\n数量：3\n备注：黑" in parsed.text


def test_csv_name_on_prose_is_read_as_text(read: Read) -> None:
    text = "这不是表格，只是一段话。\n它有逗号，也有句号。\n\n最后一行"
    parsed = read(text.encode(), "x.csv")
    assert (parsed.text, parsed.mime_type) == (text, "text/plain")


def test_docx(read: Read, make_docx: Callable[..., bytes]) -> None:
    def build(document: docx.document.Document) -> None:
        document.core_properties.title = "Microsoft Word - 文档1"
        document.add_heading("采购管理制度", level=1)
        document.add_paragraph("采购超过五十万元须经董事会批准。")
        document.add_heading("审批", level=2)
        table = document.add_table(rows=3, cols=3)
        for row, texts in zip(table.rows, [("编号", "项目", "方法"), ("1", "甲", "测序"), ("2", "乙", "")], strict=True):
            for cell, text in zip(row.cells, texts, strict=True):
                cell.text = text
        table.cell(1, 2).merge(table.cell(2, 2))
        table.cell(0, 0).merge(table.cell(0, 1))
        document.add_paragraph("表后的一段。")

    parsed = read(make_docx(build), "制度.docx")
    assert parsed.title == "采购管理制度"
    assert [(text, level) for text, level, _ in blocks(parsed) if level] == [("采购管理制度", 1), ("审批", 2)]
    rows = [text for text, _, kind in blocks(parsed) if kind == "table_row"]
    assert rows == ["编号 项目 | 方法", "1 | 甲 | 测序", "2 | 乙 | 测序"]
    assert parsed.text.index("乙") < parsed.text.index("表后的一段。")
    well_formed(parsed)


def test_docx_regulation_without_styles(read: Read, make_docx: Callable[..., bytes]) -> None:
    lines = ["第一章\u2002\u2002总\u2002\u2002则", "第一条\u2002\u2002为了规范，制定本法。", "第二条\u2002\u2002适用本法。"]
    parsed = read(make_docx(lambda document: [document.add_paragraph(line) for line in lines] and None), "某法.docx")
    assert parsed.text == "\n\n".join(lines)
    assert parsed.title == "某法"


def test_docx_automatic_numbers_are_part_of_the_text(read: Read, make_docx: Callable[..., bytes]) -> None:
    def build(document: docx.document.Document) -> None:
        numbering = document.part.numbering_part.element
        levels = [("第%1章", "chineseCounting"), ("第%2条", "chineseCountingThousand"), ("（%3）", "chineseCounting")]
        rules = [f'<w:start w:val="1"/><w:numFmt w:val="{kind}"/><w:lvlText w:val="{text}"/>' for text, kind in levels]
        body = "".join(f'<w:lvl w:ilvl="{depth}">{rule}</w:lvl>' for depth, rule in enumerate(rules))
        numbering.insert(0, parse_xml(f'<w:abstractNum {nsdecls("w")} w:abstractNumId="77">{body}</w:abstractNum>'))
        numbering.append(parse_xml(f'<w:num {nsdecls("w")} w:numId="77"><w:abstractNumId w:val="77"/></w:num>'))
        for level, text in [(0, "总则"), (1, "为了规范，制定本办法。"), (1, "有下列情形的："), (2, "甲；"), (2, "乙。")]:
            properties = f'<w:numPr {nsdecls("w")}><w:ilvl w:val="{level}"/><w:numId w:val="77"/></w:numPr>'
            document.add_paragraph(text)._p.get_or_add_pPr().append(parse_xml(properties))

    parsed = read(make_docx(build), "办法.docx")
    assert parsed.text.split() == ["第一章", "总则", "第一条", "为了规范，制定本办法。", "第二条", "有下列情形的：", "（一）甲；", "（二）乙。"]
    assert [draft.heading_path for draft in chunk(parsed, chunk_chars=250, overlap_chars=50)] == [
        ("办法", "第一章 总则", "第一条"), ("办法", "第一章 总则", "第二条"),
    ]


def test_pdf(read: Read, make_pdf: Callable[..., bytes]) -> None:
    long_line = "采购金额超过五十万元的项目必须由财务部门会同审计部门进行论证并且报经公司董事会"
    pages = [
        ["公司制度汇编", "第一章 总则", long_line, "批准后方可执行。", "短行", f"- {number} -"] if number == 1
        else ["公司制度汇编", f"本页是第{number}页的正文内容，和别的页不一样：{'甲乙丙丁'[number - 1] * 20}。", f"- {number} -"]
        for number in range(1, 5)
    ]
    parsed = read(make_pdf(pages, title="采购制度"), "a.pdf")
    assert parsed.pages == 4
    assert parsed.mime_type == "application/pdf"
    assert parsed.title == "采购制度"
    assert f"{long_line}批准后方可执行。" in parsed.text
    assert "- 2 -" not in parsed.text
    assert "公司制度汇编" not in parsed.text
    pages_of = {parsed.text[block.start:block.end]: block.page for block in parsed.blocks}
    assert pages_of["短行"] == 1
    assert next(page for text, page in pages_of.items() if "第3页" in text) == 3
    well_formed(parsed)


@pytest.mark.parametrize(("name", "build"), [
    ("mislabelled.pdf", lambda pdf, word: "这是一个文本文件，内容完好。".encode()),
    ("really.txt", lambda pdf, word: pdf([["这是一个文本文件，内容完好。"]])),
    ("really.csv", lambda pdf, word: word(lambda document: document.add_paragraph("这是一个文本文件，内容完好。"))),
    ("page.txt", lambda pdf, word: "<html><body><p>这是一个文本文件，内容完好。</p></body></html>".encode()),
])
def test_mislabelled_files_are_read_as_what_they_are(
    read: Read, make_pdf: Callable[..., bytes], make_docx: Callable[..., bytes], name: str, build: Callable[..., bytes]
) -> None:
    assert read(build(make_pdf, make_docx), name).text == "这是一个文本文件，内容完好。"


def test_text_given_directly_is_stored_exactly() -> None:
    text = "  开头有空格\r\n第二行\x0b尾\n"
    assert parse_text(text, name="doc-1").text == text
    assert parse_text(text, name="doc-1", title=" 标题\n ").title == "标题"
    assert parse_text("没有标题的一句话。", name="doc-1").title == "doc-1"
    assert parse_text("a\ud800b", name="x").text == "a\ufffdb"
