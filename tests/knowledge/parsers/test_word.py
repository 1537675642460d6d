"""Word documents: what a reader sees is in the text once, in its order, and nothing else is."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from docx.oxml import parse_xml

from qzbrain.domain import ParsedDocument
from qzbrain.errors import ParseFailed
from tests.knowledge.parsers.office_files import W, changed, strict

Read = Callable[..., ParsedDocument]
Make = Callable[[Callable[[Any], object]], bytes]
_R = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_MAIN = "application/vnd.openxmlformats-officedocument.wordprocessingml"


def with_body(make: Make, inner: str) -> bytes:
    """A document whose body is `inner`."""
    names = "".join(
        f' xmlns:{prefix}="{name}"'
        for prefix, name in (
            ("mc", "http://schemas.openxmlformats.org/markup-compatibility/2006"), ("v", "urn:schemas-microsoft-com:vml"),
            ("wps", "http://schemas.microsoft.com/office/word/2010/wordprocessingShape"), ("m", "http://schemas.openxmlformats.org/officeDocument/2006/math"),
        )
    )  # fmt: skip
    return changed(make(lambda _: None), {"word/document.xml": lambda _: f"<w:document {W}{names}><w:body>{inner}</w:body></w:document>".encode()})


def p(text: str, properties: str = "") -> str:
    return f"<w:p><w:pPr>{properties}</w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>"


def texts(parsed: ParsedDocument) -> list[str]:
    return [parsed.text[block.start : block.end] for block in parsed.blocks]


def test_text_boxes_once_and_after_their_paragraph(read: Read, make_docx: Make) -> None:
    box = f"<w:txbxContent>{p('框内文字')}<w:tbl><w:tr><w:tc>{p('甲')}</w:tc><w:tc>{p('乙')}</w:tc></w:tr></w:tbl></w:txbxContent>"
    shape = f"<mc:AlternateContent><mc:Choice Requires='wps'><w:drawing><wps:txbx>{box}</wps:txbx></w:drawing></mc:Choice>"
    shape += f"<mc:Fallback><w:pict><v:textbox>{box}</v:textbox></w:pict></mc:Fallback></mc:AlternateContent>"
    body = f"<w:p><w:r><w:t>段落开头</w:t></w:r><w:r>{shape}</w:r><w:r><w:t>段落结尾</w:t></w:r></w:p>"
    old = f"<w:p><w:r><w:pict><v:textbox><w:txbxContent>{p('旧式框')}</w:txbxContent></v:textbox></w:pict></w:r></w:p>"
    assert texts(read(with_body(make_docx, body + old + p("末段")), "a.docx")) == ["段落开头段落结尾", "框内文字", "甲 | 乙", "旧式框", "末段"]


def test_deleted_hidden_and_commented_text_is_not_there(read: Read, make_docx: Make) -> None:
    body = (
        "<w:p><w:r><w:t>保留</w:t></w:r><w:del><w:r><w:delText>删去</w:delText><w:t>删二</w:t></w:r></w:del>"
        "<w:ins><w:r><w:t>插入</w:t></w:r></w:ins><w:moveFrom><w:r><w:t>移走</w:t></w:r></w:moveFrom>"
        "<w:r><w:rPr><w:vanish/></w:rPr><w:t>隐藏</w:t></w:r><w:commentRangeStart w:id='1'/><w:r><w:commentReference w:id='1'/></w:r>"
        "<w:r><w:fldChar w:fldCharType='begin'/></w:r><w:r><w:instrText>HYPERLINK \"x\"</w:instrText></w:r><w:r><w:t>链接</w:t></w:r>"
        "<w:hyperlink><w:r><w:t>另一处</w:t></w:r></w:hyperlink><w:smartTag><w:r><w:t>标记</w:t></w:r></w:smartTag>"
        "<w:r><w:ruby><w:rt><w:r><w:t>pin</w:t></w:r></w:rt><w:rubyBase><w:r><w:t>拼</w:t></w:r></w:rubyBase></w:ruby></w:r></w:p>"
        f"<w:tbl><w:tr><w:trPr><w:del/></w:trPr><w:tc>{p('删行')}</w:tc><w:tc>{p('删')}</w:tc></w:tr>"
        f"<w:tr><w:tc>{p('留行')}</w:tc><w:tc>{p('值')}</w:tc></w:tr></w:tbl>"
    )
    assert texts(read(with_body(make_docx, body), "a.docx")) == ["保留插入链接另一处标记拼", "留行 | 值"]


def test_headers_footers_and_tables_of_contents_are_left_out(read: Read, make_docx: Make) -> None:
    def build(document: Any) -> None:
        document.sections[0].header.paragraphs[0].text = "页眉文字"
        document.sections[0].footer.paragraphs[0].text = "页脚文字"
        style = document.styles.add_style("TOC1", 1)
        style.name = "toc 1"
        document.add_paragraph("第一章\t1", style=style)
        document.add_paragraph("正文。")

    data = make_docx(build)
    assert read(data, "a.docx").text == "正文。"
    gallery = "<w:sdtPr><w:docPartObj><w:docPartGallery w:val='Table of Contents'/></w:docPartObj></w:sdtPr>"
    body = f"<w:sdt>{gallery}<w:sdtContent>{p('目录一行')}</w:sdtContent></w:sdt><w:sdt><w:sdtContent>{p('控件内')}</w:sdtContent></w:sdt>"
    assert read(with_body(make_docx, body), "a.docx").text == "控件内"


def noted(make: Make) -> bytes:
    body = (
        "<w:p><w:r><w:t>办法自五月起施行</w:t></w:r><w:r><w:footnoteReference w:id='2'/></w:r><w:r><w:t>，由办公室解释。</w:t></w:r></w:p>"
        f"<w:tbl><w:tr><w:tc>{p('甲')}</w:tc><w:tc><w:p><w:r><w:t>乙</w:t><w:endnoteReference w:id='3'/></w:r></w:p></w:tc></w:tr></w:tbl>{p('末段')}"
    )
    separator = f"<w:footnote w:type='separator' w:id='0'>{p('分隔')}</w:footnote>"
    footnotes = f"<w:footnotes {W}>{separator}<w:footnote w:id='2'>{p('指2023年5月。')}</w:footnote></w:footnotes>"
    endnotes = f"<w:endnotes {W}><w:endnote w:id='3'>{p('见附件。')}</w:endnote></w:endnotes>"
    links = "".join(f'<Relationship Id="n{kind}" Type="{_R}/{kind}" Target="{kind}.xml"/>' for kind in ("footnotes", "endnotes"))
    rels = "word/_rels/document.xml.rels"
    given = {rels: lambda part: part.replace(b"</Relationships>", links.encode() + b"</Relationships>")}
    return changed(changed(with_body(make, body), given), {"word/footnotes.xml": footnotes.encode(), "word/endnotes.xml": endnotes.encode()})


def test_notes_stand_after_what_they_belong_to(read: Read, make_docx: Make) -> None:
    parsed = read(noted(make_docx), "a.docx")
    assert texts(parsed) == ["办法自五月起施行，由办公室解释。", "［脚注］指2023年5月。", "甲 | 乙", "［尾注］见附件。", "末段"]


def test_a_strict_document(read: Read, make_docx: Make) -> None:
    plain = noted(make_docx)
    assert read(strict(plain), "a.docx").text == read(plain, "a.docx").text


def test_tables_merged_both_ways_and_inside_each_other(read: Read, make_docx: Make) -> None:
    def build(document: Any) -> None:
        table = document.add_table(rows=4, cols=4)
        lines = [
            ("部门", "人员", "", "备注"), ("", "姓名", "职务", ""),
            ("财务处", "张三", "处长", "主管预算与决算的编制和审核工作"), ("", "李四", "会计", "负责日常报销与凭证管理"),
        ]  # fmt: skip
        for index, line in enumerate(lines):
            for column, text in enumerate(line):
                table.cell(index, column).text = text
        table.cell(0, 1).merge(table.cell(0, 2))
        table.cell(0, 0).merge(table.cell(1, 0))
        table.cell(0, 3).merge(table.cell(1, 3))
        table.cell(2, 0).merge(table.cell(3, 0))
        for row in range(20):
            for cell, text in zip(table.add_row().cells, ("装备处", f"王{row}", "工程师", "负责装备的维护与登记"), strict=True):
                cell.text = text
        inner = document.add_table(rows=1, cols=2).cell(0, 1).add_table(rows=1, cols=2)
        inner.cell(0, 0).text, inner.cell(0, 1).text = "内一", "内二"
        frame = document.add_table(rows=1, cols=1).cell(0, 0)
        frame.text = "框中的第一段。"
        frame.add_paragraph("框中的第二段。")

    parsed = read(make_docx(build), "a.docx")
    assert texts(parsed)[:2] == [
        "部门：财务处\n人员/姓名：张三\n人员/职务：处长\n备注：主管预算与决算的编制和审核工作",
        "部门：财务处\n人员/姓名：李四\n人员/职务：会计\n备注：负责日常报销与凭证管理",
    ]  # fmt: skip
    assert texts(parsed)[-3:] == ["内一 内二", "框中的第一段。", "框中的第二段。"]


def test_equations_read_as_lines(read: Read, make_docx: Make) -> None:
    def r(text: str) -> str:
        return f"<m:r><m:t>{text}</m:t></m:r>"

    fraction = f"<m:f><m:num>{r('a+b')}</m:num><m:den>{r('c')}</m:den></m:f>"
    power = f"<m:sSup><m:e>{r('x')}</m:e><m:sup>{r('2')}</m:sup></m:sSup>"
    root = f"<m:rad><m:deg/><m:e>{r('y')}</m:e></m:rad>"
    total = f"<m:nary><m:naryPr><m:chr m:val='∑'/></m:naryPr><m:sub>{r('i=1')}</m:sub><m:sup>{r('n')}</m:sup><m:e>{r('i')}</m:e></m:nary>"
    body = f"<w:p><w:r><w:t>其中 </w:t></w:r><m:oMath>{fraction}{r('=')}{power}{r('+')}{root}{r('+')}{total}</m:oMath></w:p>"
    assert read(with_body(make_docx, body), "a.docx").text == "其中 (a+b)/c=x^2+√(y)+∑_(i=1)^n i"


def numbered(make: Make, rules: str, nums: str, lines: list[tuple[str, str, str]], styles: str = "") -> bytes:
    def build(document: Any) -> None:
        numbering = document.part.numbering_part.element
        for child in list(numbering):
            numbering.remove(child)
        for xml in (f'<w:abstractNum {W} w:abstractNumId="7">{rules}</w:abstractNum>', *nums.split("|")):
            numbering.append(parse_xml(xml.replace("<w:num ", f"<w:num {W} ")))
        if styles:
            document.styles.element.append(parse_xml(styles.replace("<w:style ", f"<w:style {W} ")))
        for text, num, level in lines:
            properties = document.add_paragraph(text)._p.get_or_add_pPr()
            if num == "style":
                properties.insert(0, parse_xml(f'<w:pStyle {W} w:val="{level}"/>'))
            else:
                properties.append(parse_xml(f'<w:numPr {W}><w:ilvl w:val="{level}"/><w:numId w:val="{num}"/></w:numPr>'))

    return make(build)


def level(depth: int, text: str, kind: str = "decimal", more: str = "") -> str:
    return f'<w:lvl w:ilvl="{depth}"><w:start w:val="1"/><w:numFmt w:val="{kind}"/>{more}<w:lvlText w:val="{text}"/></w:lvl>'


def test_numbers_start_anew_where_the_document_says_so(read: Read, make_docx: Make) -> None:
    rules = level(0, "%1", "chineseCounting") + level(1, "%1.%2", more="<w:isLgl/>") + level(2, "(%3)", "upperRoman", '<w:lvlRestart w:val="1"/>')
    first = '<w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num>'
    anew = '<w:num w:numId="2"><w:abstractNumId w:val="7"/><w:lvlOverride w:ilvl="0"><w:startOverride w:val="1"/></w:lvlOverride></w:num>'
    places = ["10", "11", "12", "11", "12", "10", "11", "20", "20"]
    lines = [(text, place[0], place[1]) for text, place in zip("甲乙丙丁戊己庚辛壬", places, strict=True)]
    shown = texts(read(numbered(make_docx, rules, f"{first}|{anew}", lines), "a.docx"))
    assert shown == ["一 甲", "1.1 乙", "(I)丙", "1.2 丁", "(II)戊", "二 己", "2.1 庚", "一 辛", "二 壬"]


@pytest.mark.parametrize(("kind", "third"), [
    ("ideographTraditional", "丙"), ("decimalEnclosedCircleChinese", "③"), ("chineseLegalSimplified", "叁"),
    ("lowerRoman", "iii"), ("decimalZero", "03"), ("upperLetter", "C"),
])  # fmt: skip
def test_kinds_of_numerals(read: Read, make_docx: Make, kind: str, third: str) -> None:
    rules = level(0, "%1、", kind)
    data = numbered(make_docx, rules, '<w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num>', [("项", "1", "0")] * 3)
    assert texts(read(data, "a.docx"))[-1] == f"{third}、项"


def test_styles_that_number_their_paragraphs(read: Read, make_docx: Make) -> None:
    rules = level(0, "第%1章") + level(1, "第%2条", "chineseCounting", '<w:pStyle w:val="Tiao"/>')
    style = '<w:style w:type="paragraph" w:styleId="Tiao"><w:name w:val="条"/><w:pPr><w:numPr><w:numId w:val="1"/></w:numPr></w:pPr></w:style>'
    lines = [("为了规范。", "style", "Tiao"), ("适用本法。", "style", "Tiao")]
    data = numbered(make_docx, rules, '<w:num w:numId="1"><w:abstractNumId w:val="7"/></w:num>', lines, style)
    assert texts(read(data, "a.docx")) == ["第一条 为了规范。", "第二条 适用本法。"]


def test_a_main_part_of_another_name(read: Read, make_docx: Make) -> None:
    data = make_docx(lambda document: document.add_paragraph("正文在别处。"))
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            part = old.read(name).replace(b"word/document.xml", b"word/document2.xml")
            new.writestr(name.replace("word/document.xml", "word/document2.xml").replace("document.xml.rels", "document2.xml.rels"), part)
    assert read(out.getvalue(), "无扩展名").text == "正文在别处。"


def test_what_is_no_document_is_refused(read: Read, make_docx: Make) -> None:
    good = make_docx(lambda document: document.add_paragraph("正文"))
    for part in (b"<x/>", b"", b"<w:document", f"<w:document {W}/>".encode()):
        with pytest.raises(ParseFailed) as caught:
            read(changed(good, {"word/document.xml": lambda _, part=part: part}), "a.docx")
        assert caught.value.code == "broken"
    deep = with_body(make_docx, "<w:sdt><w:sdtContent>" * 100 + p("深") + "</w:sdtContent></w:sdt>" * 100)
    with pytest.raises(ParseFailed) as caught:
        read(deep, "a.docx")
    assert caught.value.code in ("empty", "broken")

