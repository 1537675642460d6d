"""Workbooks: tables found on sheets, headers told from cells, values as people see them."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Any

import pytest
import xlwt

from qzbrain.domain import ParsedDocument
from qzbrain.errors import ParseFailed
from qzbrain.knowledge.chunking import chunk
from qzbrain.knowledge.parsers import ParseLimits
from tests.knowledge.parsers.office_files import changed, saved, strict, workbook

Read = Callable[..., ParsedDocument]


def rows(parsed: ParsedDocument, kind: str = "table_row") -> list[str]:
    return [parsed.text[block.start : block.end] for block in parsed.blocks if block.kind == kind]


def headings(parsed: ParsedDocument) -> list[tuple[str, int]]:
    return [(parsed.text[block.start : block.end], block.heading_level) for block in parsed.blocks if block.heading_level]


def filled(*lines: Any, title: str = "数据", merge: tuple[str, ...] = ()) -> bytes:
    def build(book: Any) -> None:
        book.active.title = title
        for line in lines:
            book.active.append(line)
        for place in merge:
            book.active.merge_cells(place)

    return workbook(build)


GROUPED = (
    ["2023年主要产品产量"], ["单位：万吨"], ["地区", "产量", None, "销量"], [None, 2022, 2023, 2022], ["北京", 1.0, 2.5, 3], ["上海", 4, 5, 6]
)  # fmt: skip
GROUPED_MERGES = ("A1:D1", "A2:D2", "A3:A4", "B3:C3")


def test_a_title_and_a_header_of_two_rows(read: Read) -> None:
    parsed = read(filled(*GROUPED, merge=GROUPED_MERGES), "产量.xlsx")
    assert headings(parsed) == [("数据", 1), ("2023年主要产品产量", 2)]
    assert "单位：万吨" in parsed.text
    assert rows(parsed) == ["地区：北京\n产量/2022：1\n产量/2023：2.5\n销量/2022：3", "地区：上海\n产量/2022：4\n产量/2023：5\n销量/2022：6"]
    assert parsed.title == "产量"
    assert all(draft.text == parsed.text[draft.start : draft.end] for draft in chunk(parsed, chunk_chars=60, overlap_chars=10))


def test_a_group_that_was_not_merged_is_a_group_too(read: Read) -> None:
    parsed = read(filled(["地区", "产量", None, "销量", None], [None, "一季度", "二季度", "一季度", "二季度"], ["北京", 1, 2, 3, 4]), "a.xlsx")
    assert rows(parsed) == ["地区：北京\n产量/一季度：1\n产量/二季度：2\n销量/一季度：3\n销量/二季度：4"]


def test_merged_cells_hold_for_each_of_their_rows(read: Read) -> None:
    parsed = read(filled(["部门", "姓名", "职务"], ["财务处", "张三", "处长"], [None, "李四", "会计"], ["装备处", "王五", "处长"], merge=("A2:A3",)), "a.xlsx")
    assert rows(parsed) == ["部门：财务处\n姓名：张三\n职务：处长", "部门：财务处\n姓名：李四\n职务：会计", "部门：装备处\n姓名：王五\n职务：处长"]


def test_a_first_row_of_values_is_no_header(read: Read) -> None:
    assert rows(read(filled([1, 2, 3], [4, 5, 6]), "a.xlsx")) == ["1 | 2 | 3", "4 | 5 | 6"]
    form = filled(["姓名", "张三", "性别", "男"], ["部门", "财务处", "电话", "6601"], ["地址", "北京", "备注", "无"])
    assert rows(read(form, "a.xlsx"))[:2] == ["姓名 | 张三 | 性别 | 男", "部门 | 财务处 | 电话 | 6601"]


def test_years_may_name_columns(read: Read) -> None:
    assert rows(read(filled(["指标", 2021, 2022], ["产量", 5, 6], ["销量", 7, 8]), "a.xlsx"))[0] == "指标：产量\n2021: 5\n2022: 6"


def test_several_tables_on_a_sheet(read: Read) -> None:
    lines = (
        ["姓名", "部门", None, "产品", "价格"], ["张三", "财务", None, "纸", 3], ["李四", "装备", None, "笔", 4], [], [],
        ["设备", "数量"], ["电台", 5],
    )  # fmt: skip
    assert rows(read(filled(*lines), "a.xlsx")) == [
        "姓名：张三\n部门：财务", "姓名：李四\n部门：装备", "产品：纸\n价格：3", "产品：笔\n价格：4", "设备：电台\n数量：5",
    ]  # fmt: skip


def test_a_table_goes_on_after_an_empty_row(read: Read) -> None:
    parsed = read(filled(["名称", "数量", "单价"], ["纸", 1, 2], [], ["笔", 3, 4]), "a.xlsx")
    assert rows(parsed) == ["名称：纸\n数量：1\n单价：2", "名称：笔\n数量：3\n单价：4"]


def test_the_header_again_on_each_printed_page_is_left_out(read: Read) -> None:
    parsed = read(filled(["名称", "数量", "单价"], ["纸", 1, 2], ["名称", "数量", "单价"], ["笔", 3, 4]), "a.xlsx")
    assert rows(parsed) == ["名称：纸\n数量：1\n单价：2", "名称：笔\n数量：3\n单价：4"]


def test_values_as_people_see_them(read: Read) -> None:
    def build(book: Any) -> None:
        sheet = book.active
        sheet.append(["名称", "甲", "乙", "丙", "丁", "戊", "己", "庚", "辛"])
        moment = datetime.datetime(2023, 5, 1, 8, 30)
        sheet.append(["纸", datetime.date(2023, 5, 1), moment, 3.0, 0.125, 123456789012345, "110101199001011234", 7, 0.1 + 0.2])
        sheet["E2"].number_format = "0.0%"
        sheet["H2"].number_format = "0000"
        sheet.append(["笔", True, "=1/0", "#N/A", datetime.time(9, 5), 1e-7, "  头尾空白 ", "第一行\n\n第二行", "_x000D_末"])

    assert rows(read(workbook(build), "a.xlsx")) == [
        "名称：纸\n甲：2023-05-01\n乙：2023-05-01 08:30\n丙：3\n丁：12.5%\n戊：123456789012345\n己：110101199001011234\n庚：0007\n辛：0.3",
        "名称：笔\n甲：TRUE\n丁：09:05\n戊：0.0000001\n己：头尾空白\n庚：第一行\n第二行\n辛：末",
    ]


def test_what_a_formula_gave_is_its_value(read: Read) -> None:
    data = filled(["名称", "合计"], ["纸", "=1+2"])
    given = changed(data, {"xl/worksheets/sheet1.xml": lambda part: part.replace(b"<v/>", b"<v>3</v>").replace(b"<v></v>", b"<v>3</v>")})
    assert rows(read(given, "a.xlsx")) == ["名称：纸\n合计：3"]


def test_sheets_in_their_order_without_hidden_ones(read: Read) -> None:
    def build(book: Any) -> None:
        book.active.append(["甲", "乙", "丙"])
        book.active.append([1, 2, 3])
        for name, state in (("明细", "visible"), ("底稿", "hidden"), ("密", "veryHidden")):
            sheet = book.create_sheet(name)
            sheet.append([f"{name}名称", "数量"])
            sheet.append(["纸", 1])
            sheet.sheet_state = state

    parsed = read(workbook(build), "a.xlsx")
    assert headings(parsed)[-1] == ("明细", 1)
    assert "底稿" not in parsed.text
    assert "密" not in parsed.text


def test_a_strict_workbook(read: Read) -> None:
    plain = filled(*GROUPED, merge=GROUPED_MERGES)
    assert read(strict(plain), "a.xlsx").text == read(plain, "a.xlsx").text


def test_questions_and_answers_stay_together(read: Read) -> None:
    parsed = read(filled(["问题", "标准答案", "分类"], ["能退货吗？", "七日内可以。", "售后"], ["几点上班", "九点", None]), "a.xlsx")
    assert rows(parsed, "qa") == ["问：能退货吗？\n答：七日内可以。\n分类：售后", "问：几点上班\n答：九点"]
    titled = read("department,title,ask,answer\n内科,高血压怎么办,我血压高，怎么办？,少吃盐。\n外科,骨折,骨折怎么办,休息。\n".encode("gbk"), "问答.csv")
    assert rows(titled, "qa") == ["问：高血压怎么办\n我血压高，怎么办？\n答：少吃盐。\ndepartment: 内科", "问：骨折怎么办\n答：休息。\ndepartment: 外科"]


def test_a_question_with_its_answer_is_one_chunk(read: Read) -> None:
    lines = [(f"第{number}种情况如何处理，应当注意哪些事项？", f"按照第{number}号预案处理。" * 8) for number in range(1, 20)]
    parsed = read(filled(["问题", "答案"], *lines), "a.xlsx")
    texts = [draft.text for draft in chunk(parsed, chunk_chars=250, overlap_chars=50)]
    assert all(any(f"问：{question}\n答：{answer}" in text for text in texts) for question, answer in lines)


def old_workbook() -> bytes:
    book = xlwt.Workbook()
    sheet = book.add_sheet("旧表")
    sheet.write_merge(0, 1, 0, 0, "地区")
    sheet.write_merge(0, 0, 1, 2, "产量")
    for column, year in ((1, 2022), (2, 2023)):
        sheet.write(1, column, year)
    for column, value in enumerate(("北京", 1.5, 2)):
        sheet.write(2, column, value)
    sheet.write(3, 0, "上海")
    sheet.write(3, 1, datetime.date(2023, 5, 1), xlwt.easyxf(num_format_str="YYYY-MM-DD"))
    return saved(book.save)


def test_the_old_format_without_any_office_program(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    for name in ("旧.xls", "看不出.dat"):
        parsed = read(old_workbook(), name)
        assert rows(parsed) == ["地区：北京\n产量/2022：1.5\n产量/2023：2", "地区：上海\n产量/2022：2023-05-01"]
        assert headings(parsed)[0] == ("旧表", 1)


@pytest.mark.parametrize(("data", "text"), [
    (b"<html><body><table><tr><td>\xe7\x94\xb2</td></tr></table></body></html>", "甲"),
    ("名称,数量\n纸,1\n笔,2\n".encode("gbk"), "名称：纸\n数量：1"),
])  # fmt: skip
def test_what_only_calls_itself_xls(read: Read, data: bytes, text: str) -> None:
    assert text in read(data, "导出.csv" if b"," in data else "导出.xls").text


def test_the_name_does_not_matter(read: Read, make_docx: Callable[..., bytes]) -> None:
    assert rows(read(filled(["名称", "数量"], ["纸", 1]), "报告.doc")) == ["名称：纸\n数量：1"]
    assert read(make_docx(lambda document: document.add_paragraph("正文。")), "旧.doc").text == "正文。"


def test_a_sheet_without_places_of_cells(read: Read) -> None:
    """Some programs leave the references out; cells then follow each other."""
    data = filled(["名称", "数量"], ["纸", 1])
    bare = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData><row><c t="inlineStr"><is><t>A</t></is></c>'
    bare += b'<c t="inlineStr"><is><t>B</t><rPh><t>x</t></rPh></is></c></row><row><c><v>1</v></c><c t="s"><v>999</v></c></row></sheetData></worksheet>'
    parsed = read(changed(data, {"xl/worksheets/sheet1.xml": lambda _: bare}), "a.xlsx")
    assert parsed.text.split("\n\n")[1:] == ["A | B\n1"]


def test_bad_workbooks_are_refused(read: Read) -> None:
    def code(data: bytes, name: str = "a.xlsx", limits: ParseLimits | None = None) -> str:
        with pytest.raises(ParseFailed) as caught:
            read(data, name, limits)
        return caught.value.code

    good = filled(["名称", "数量"], *([f"物品{number}", number] for number in range(500)))
    assert code(changed(good, {"xl/worksheets/sheet1.xml": lambda part: part[:2000]})) == "broken"
    assert code(changed(good, {"xl/workbook.xml": lambda _: b"<workbook/>"})) == "broken"
    assert code(filled([None])) == "empty"
    assert code(good, limits=ParseLimits(max_text_chars=2000)) == "too_large"
    laughs = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>'
    assert code(changed(good, {"xl/workbook.xml": lambda part: part.replace(b"<workbook", laughs + b"<workbook", 1)})) == "broken"
    zeros = b"<worksheet><sheetData>" + b"<row/>" * 12_000_000
    assert code(changed(good, {"xl/worksheets/sheet1.xml": lambda _: zeros})) == "bomb"
    assert code(old_workbook()[:512] + b"\0" * 1000 + old_workbook()[1512:], "a.xls") == "broken"


def test_merges_beyond_reason_cost_nothing(read: Read) -> None:
    merges = b'</sheetData><mergeCells><mergeCell ref="A2:XFD1048576"/></mergeCells>'
    data = changed(filled(["名称", "数量"], ["纸", 1]), {"xl/worksheets/sheet1.xml": lambda part: part.replace(b"</sheetData>", merges)})
    assert rows(read(data, "a.xlsx")) == ["名称：纸\n数量：1"]


def test_the_last_row_of_a_sheet(read: Read) -> None:
    def build(book: Any) -> None:
        book.active["A1"], book.active["XFD1048576"] = "开头", "末尾"

    assert read(workbook(build), "a.xlsx").text.endswith("开头\n\n末尾")


def test_progress_is_told_in_rows(tmp_path: Any) -> None:
    from qzbrain.knowledge.parsers import parse

    path = tmp_path / "a"
    path.write_bytes(filled(["名称", "数量"], *([f"物品{number}", number] for number in range(2500))))
    told: list[tuple[int, int, str]] = []
    parse(path, name="a.xlsx", limits=ParseLimits(), progress=lambda *one: told.append(one))
    assert [one[0] for one in told] == [1000, 2000]
    assert {one[2] for one in told} == {"rows"}



def test_an_old_workbook_that_asks_for_all_memory_harms_nobody(read: Read) -> None:
    """A cell whose place says column 65535: the library would allocate the whole area and end its process."""
    data = old_workbook()
    number = data.index(b"\x7e\x02\x0a\x00")
    far = data[: number + 4] + b"\xff\xff\xff\xff" + data[number + 8 :]
    for damaged in (far, data[: len(data) // 2]):
        with pytest.raises(ParseFailed) as caught:
            read(damaged, "a.xls")
        assert caught.value.code in ("broken", "unsupported")
