"""PDF pages as people lay them out: columns, tables, running heads, outlines, turned pages, and files that are no good."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from reportlab.pdfgen.canvas import Canvas

from qzbrain.domain import ParsedDocument
from qzbrain.errors import ParseFailed
from qzbrain.knowledge.chunking import chunk
from qzbrain.knowledge.parsers.base import ParseLimits, Source
from qzbrain.knowledge.parsers.pdf import parse
from tests.knowledge.parsers.conftest import pdf_bytes
from tests.knowledge.parsers.pdf_files import FONT, HEIGHT, WIDTH, draw_table, made, wrapped, write

BODY = (
    "本文研究大规模语言模型在知识检索中的应用。我们提出一种混合检索方法，将词法检索与向量检索结合起来，"
    "在中文法规数据集上取得了显著提升。实验表明，该方法在多种场景下均优于基线，"
)
FIGURES = [
    ["项目", "2022年", "2023年", "同比增减"],
    ["营业收入", "1,234.56", "2,345.67", "90.0%"],
    ["净利润", "123.45", "234.56", "91.1%"],
    ["总资产", "9,999.00", "12,345.00", "23.5%"],
    ["净资产收益率", "12.3%", "15.6%", "3.3%"],
    ["经营活动产生的现金流量净额", "5,678.90", "6,789.01", "19.5%"],
]


LIMITS = ParseLimits(ocr_page_timeout_s=0)


def read(data: bytes, limits: ParseLimits = LIMITS) -> ParsedDocument:
    return parse(Source(data, "文件.pdf"), limits)


def blocks(parsed: ParsedDocument) -> list[str]:
    return [parsed.text[block.start : block.end] for block in parsed.blocks]


def test_two_columns_under_a_heading_over_both() -> None:
    def page(canvas: Canvas) -> None:
        canvas.setFont(FONT, 18)
        canvas.drawCentredString(WIDTH / 2, 780, "面向中文法规的混合检索方法研究")
        y = write(canvas, wrapped("摘要：" + BODY * 2, 40, 0), 72, 730)
        write(canvas, wrapped("左栏开始。" + BODY * 4 + "左栏结束，", 18), 72, y - 20, leading=16)
        write(canvas, wrapped("续在右栏。" + BODY * 3 + "右栏结束。", 18, 0), 310, y - 20, leading=16)

    parsed = read(made(page))
    places = [parsed.text.index(x) for x in ("混合检索方法研究", "摘要", "左栏开始", "左栏结束", "续在右栏", "右栏结束")]
    assert places == sorted(places)
    assert "左栏结束，续在右栏" in parsed.text.replace("\n", "")
    assert parsed.title == "面向中文法规的混合检索方法研究"


@pytest.mark.parametrize("rules", ["all", "three", "open", "none"])
def test_tables_with_and_without_rules(rules: str) -> None:
    def page(canvas: Canvas) -> None:
        y = write(canvas, ["表1 主要会计数据和财务指标"], 72, 700)
        draw_table(canvas, FIGURES, 72, y, [170, 90, 90, 90], rules=rules)
        write(canvas, wrapped(BODY, 40), 72, y - 150)

    parsed = read(made(page))
    rows = [text for text, block in zip(blocks(parsed), parsed.blocks, strict=True) if block.kind == "table_row"]
    assert "项目：净利润\n2022年：123.45\n2023年：234.56\n同比增减：91.1%" in rows
    assert len(rows) == len(FIGURES) - 1
    assert blocks(parsed)[0] == "表1 主要会计数据和财务指标"
    assert blocks(parsed)[-1].startswith("本文研究")


def test_merged_cells_hold_for_each_row_and_column_that_they_span() -> None:
    def page(canvas: Canvas) -> None:
        xs, levels = [72, 152, 252, 352, 452], [700 - 20 * i for i in range(9)]
        for level in levels:
            canvas.line(252 if level == 680 else 152 if level in (640, 600, 560) else 72, level, 452, level)
        for x in xs:
            canvas.line(x, 680 if x == 352 else 700, x, levels[-1])
        cells = [(76, 685, "地区"), (156, 685, "路段"), (300, 685, "用地指标（公顷）"), (256, 665, "平原"), (356, 665, "山区")]
        for index, (region, road, *figures) in enumerate(rows):
            cells += [(76, 645 - 20 * index, region), (156, 645 - 20 * index, road), *zip((256, 356), (645 - 20 * index,) * 2, figures, strict=True)]
        for x, y, text in cells:
            canvas.drawString(x, y, text)

    rows = [
        ("皖北地区", "一级公路", "2.5000", "3.1250"), ("", "二级公路", "1.5000", "1.7500"), ("皖南地区", "一级公路", "2.8000", "3.9000"),
        ("", "二级公路", "1.8000", "2.2000"), ("皖西大别山地区", "一级公路", "2.9000", "3.9500"), ("", "二级公路及以下", "1.9000", "2.2500"),
    ]
    written = blocks(read(made(page)))
    assert "地区：皖北地区\n路段：二级公路\n用地指标（公顷）/平原：1.5000\n用地指标（公顷）/山区：1.7500" in written
    assert "地区：皖南地区\n路段：二级公路\n用地指标（公顷）/平原：1.8000\n用地指标（公顷）/山区：2.2000" in written


def test_a_table_that_goes_on_over_pages_keeps_its_header() -> None:
    rows = [["设备名称", "数量", "单价（元）"]] + [[f"第{i}种设备", str(i * 3), f"{i * 1.5:.2f}"] for i in range(1, 61)]

    def page(first: int) -> Callable[[Canvas], None]:
        return lambda canvas: draw_table(canvas, rows[first : first + 32], 72, 760, [200, 100, 100])

    parsed = read(made(page(0), page(32)))
    assert "设备名称：第45种设备\n数量：135\n单价（元）：67.50" in blocks(parsed)
    assert next(block.page for block in parsed.blocks if "第45种" in parsed.text[block.start : block.end]) == 2


def test_running_heads_and_page_numbers_are_left_out_and_lines_of_the_text_are_not() -> None:
    def page(number: int) -> Callable[[Canvas], None]:
        def draw(canvas: Canvas) -> None:
            write(canvas, ["某某股份有限公司2023年年度报告" if number % 2 else "第三节 管理层讨论与分析"], 72, 805, 9)
            canvas.line(72, 800, 520, 800)
            write(canvas, wrapped(f"第{number}页正文开始。" + BODY * 3 + f"第{number}页正文结束。", 40), 72, 770)
            canvas.setFont(FONT, 9)
            canvas.drawCentredString(WIDTH / 2, 30, f"{number} / 30")
        return draw

    parsed = read(made(*(page(number) for number in range(1, 31))))
    assert "年度报告" not in parsed.text
    assert "管理层讨论" not in parsed.text
    assert not re.search(r"\d+ ?/ ?30", parsed.text)
    assert all(f"第{number}页正文开始" in parsed.text and f"第{number}页正文结束" in parsed.text for number in range(1, 31))


def test_an_outline_gives_headings_of_its_levels() -> None:
    def first(canvas: Canvas) -> None:
        canvas.bookmarkPage("a")
        canvas.addOutlineEntry("总则", "a", 0)
        write(canvas, ["第一章 总则", *wrapped(BODY, 40)])

    def second(canvas: Canvas) -> None:
        canvas.bookmarkPage("b")
        canvas.addOutlineEntry("1.1 目的", "b", 1)
        y = write(canvas, ["1.1 目的", *wrapped(BODY, 40)])
        canvas.bookmarkPage("c")
        canvas.addOutlineEntry("1.1.1 细目", "c", 2)
        canvas.bookmarkPage("d")
        canvas.addOutlineEntry("页上没有的标题", "d", 2)
        write(canvas, ["1.1.1 细目", *wrapped(BODY, 40)], 72, y)

    parsed = read(made(first, second))
    assert [(parsed.text[b.start : b.end], b.heading_level, b.page) for b in parsed.blocks if b.heading_level] == [
        ("第一章 总则", 1, 1), ("1.1 目的", 2, 2), ("1.1.1 细目", 3, 2),
    ]
    assert chunk(parsed, chunk_chars=500, overlap_chars=0)[-1].heading_path[-3:] == ("第一章 总则", "1.1 目的", "1.1.1 细目")


def test_large_lines_are_headings_and_a_notice_is_named_by_what_it_is_about() -> None:
    def page(canvas: Canvas) -> None:
        write(canvas, ["某某市人民政府文件"], 150, 800, 30)
        write(canvas, ["关于印发某某市数据管理", "办法的通知"], 150, 740, 20, 28)
        y = write(canvas, wrapped(BODY, 40), 72, 660)
        for heading in ("一、总体要求", "二、主要任务"):
            y = write(canvas, wrapped(BODY, 40), 72, write(canvas, [heading], 72, y, 16, 26))

    parsed = read(made(page))
    assert parsed.title == "关于印发某某市数据管理办法的通知"
    assert [text for text, block in zip(blocks(parsed), parsed.blocks, strict=True) if block.heading_level] == [
        "某某市人民政府文件", "关于印发某某市数据管理办法的通知", "一、总体要求", "二、主要任务",
    ]


@pytest.mark.parametrize("degrees", [90, 180, 270])
@pytest.mark.parametrize("turned_back", [False, True])
def test_turned_pages(degrees: int, turned_back: bool) -> None:
    def page(canvas: Canvas) -> None:
        canvas.setPageRotation(degrees)
        if turned_back:  # the usual case: a wide table drawn sideways, the page turned so that it is upright
            canvas.translate(WIDTH / 2, HEIGHT / 2)
            canvas.rotate(degrees)
            canvas.translate(-WIDTH / 2, -HEIGHT / 2)
        write(canvas, ["旋转页面的标题", "第一行正文在这里，", "第二行正文跟在它后面。"], 150, 600)
        draw_table(canvas, FIGURES, 100, 500, [150, 80, 80, 80])

    parsed = read(made(page))
    assert blocks(parsed)[0] == "旋转页面的标题"
    assert parsed.text.index("第一行正文") < parsed.text.index("第二行正文")
    assert "项目：总资产\n2022年：9,999.00\n2023年：12,345.00\n同比增减：23.5%" in blocks(parsed)


def test_watermarks_are_left_out_and_words_are_joined_over_lines() -> None:
    def page(canvas: Canvas) -> None:
        canvas.setFont("Helvetica", 11)
        lines = ["This paper describes an archi-", "tecture for retrieval over GB/T 1234-", "2020 documents and other old", "sources. It works."]
        for index, line in enumerate(lines):
            canvas.drawString(72, 700 - index * 14, line)
        canvas.translate(300, 400)
        canvas.rotate(45)
        canvas.setFont(FONT, 60)
        canvas.drawCentredString(0, 0, "内部资料")

    assert read(made(page)).text == "This paper describes an architecture for retrieval over GB/T 1234-2020 documents and other old sources. It works."


def test_what_is_cited_lies_where_the_offsets_say_and_on_its_page() -> None:
    def page(number: int) -> Callable[[Canvas], None]:
        lines = wrapped("".join(f"第{number}页第{i}句话说的是甲乙丙丁，" for i in range(60)), 40, 0)
        return lambda canvas: write(canvas, lines, 72, 770) and None

    parsed = read(made(*(page(number) for number in range(1, 6))))
    drafts = chunk(parsed, chunk_chars=200, overlap_chars=40)
    assert len({draft.page for draft in drafts}) == 5
    for draft in drafts:
        assert parsed.text[draft.start : draft.end] == draft.text
        assert re.findall(r"第(\d)页第", draft.text)[0] in (str(draft.page), str((draft.page or 0) - 1))
    for block in parsed.blocks:
        assert set(re.findall(r"第(\d)页第", parsed.text[block.start : block.end])) <= {str(block.page), str((block.page or 0) - 1)}


def test_files_that_are_no_good_are_refused_with_their_reason() -> None:
    good = made(lambda canvas: write(canvas, wrapped(BODY * 5, 40)) and None)
    cases = {
        "encrypted": pdf_bytes([["密文"]], encrypt=True),
        "broken": good[: len(good) // 3],
        "no_text": made(lambda canvas: canvas.rect(100, 100, 50, 50)),
    }
    for code, data in cases.items():
        with pytest.raises(ParseFailed) as refused:
            read(data)
        assert refused.value.code == code
    with pytest.raises(ParseFailed, match="pages"):
        read(pdf_bytes([["一"]] * 3), ParseLimits(max_pages=2, ocr_page_timeout_s=0))


@pytest.mark.parametrize("damage", [
    (b"/Kids [7 0 R]", b"/Kids [2 0 R]"),  # the page tree holds itself
    (b"/Kids [7 0 R]", b"/Kids []     "),
    (b"/Count 1", b"/Count 0"),
    (b"/MediaBox [0 0 595 842]", b"/MediaBox [0 0 9e9 9e9]"),
    (b"/Contents 8 0 R", b"/Contents 7 0 R"),
])
def test_odd_page_trees_end_in_text_or_a_reason(damage: tuple[bytes, bytes]) -> None:
    data = pdf_bytes([["正文在此，完好无损。"]])
    assert damage[0] in data
    try:
        assert "正文" in read(data.replace(*damage)).text
    except ParseFailed as refused:
        assert refused.code in ("broken", "no_text")


@pytest.mark.parametrize("text", [
    "\ue000\ue001\ue002" * 20,  # private use
    "".join(chr(0x4E00 + i * 613 % 20902) for i in range(200)),  # ideographs at random: a font with a wrong map
    "".join(map(chr, "本办法适用于本市行政区域内的数据处理活动".encode("gbk"))) * 3,  # GBK taken for Latin-1
])
def test_pages_whose_letters_mean_nothing_are_left_out(text: str) -> None:
    parsed = read(pdf_bytes([["第一页的文字是完好的。"], [text[i : i + 40] for i in range(0, len(text), 40)], ["第三页的文字也是完好的。"]]))
    assert "".join(blocks(parsed)) == "第一页的文字是完好的。第三页的文字也是完好的。"
    assert [block.page for block in parsed.blocks] == [1, 3]


def test_progress_is_told_page_by_page() -> None:
    told: list[tuple[int, int, str]] = []
    parse(Source(pdf_bytes([["一页的文字"]] * 4), "a.pdf", lambda *x: told.append(x)), LIMITS)
    assert told == [(1, 4, "pages"), (2, 4, "pages"), (3, 4, "pages"), (4, 4, "pages")]
