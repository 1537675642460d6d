"""Presentations: slides in their order, text as one reads it, what a slide holds besides text."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pptx
import pytest
from pptx.chart.data import CategoryChartData
from pptx.enum.chart import XL_CHART_TYPE
from pptx.util import Inches

from qzbrain.domain import ParsedDocument
from qzbrain.errors import ParseFailed
from qzbrain.knowledge.parsers import ParseLimits
from tests.knowledge.parsers.office_files import changed, saved, strict

Read = Callable[..., ParsedDocument]


def deck(build: Callable[[Any], object]) -> bytes:
    made = pptx.Presentation()
    build(made)
    return saved(made.save)


def texts(parsed: ParsedDocument, page: int) -> list[str]:
    return [parsed.text[block.start : block.end] for block in parsed.blocks if block.page == page]


def box(shapes: Any, left: float, top: float, text: str) -> None:
    shapes.add_textbox(Inches(left), Inches(top), Inches(2), Inches(0.5)).text_frame.text = text


def two_slides(made: Any) -> None:
    first = made.slides.add_slide(made.slide_layouts[0])
    first.shapes.title.text, first.placeholders[1].text = "年度汇报", "办公室"
    second = made.slides.add_slide(made.slide_layouts[1])
    second.placeholders[1].text, second.shapes.title.text = "第一点\n第二点", "工作要点"
    second.notes_slide.notes_text_frame.text = "讲到这里停一下。"


def test_titles_lists_and_notes(read: Read) -> None:
    parsed = read(deck(two_slides), "汇报.pptx")
    assert (parsed.title, parsed.pages) == ("年度汇报", 2)
    assert texts(parsed, 1) == ["年度汇报", "办公室"]
    assert texts(parsed, 2) == ["工作要点", "第一点", "第二点", "备注：讲到这里停一下。"]
    assert [block.heading_level for block in parsed.blocks] == [1, 0, 1, 0, 0, 0]
    assert [block.kind for block in parsed.blocks if block.page == 2] == ["text", "list_item", "list_item", "text"]


def test_slides_are_in_the_order_of_the_presentation(read: Read) -> None:
    def turned(part: bytes) -> bytes:
        first, second = re.findall(rb"<p:sldId [^>]*/>", part)
        return part.replace(first, b"@").replace(second, first).replace(b"@", second)

    parsed = read(changed(deck(two_slides), {"ppt/presentation.xml": turned}), "a.pptx")
    assert texts(parsed, 1)[0] == "工作要点"


def test_text_is_read_from_top_to_bottom_and_left_to_right(read: Read) -> None:
    def build(made: Any) -> None:
        shapes = made.slides.add_slide(made.slide_layouts[6]).shapes
        box(shapes, 5, 3, "右边的一段话，写得比较长。")
        box(shapes, 1, 5, "下面的一段话，写得比较长。")
        box(shapes, 1, 3.05, "左边的一段话，写得比较长。")
        group = shapes.add_group_shape()
        box(group.shapes, 4, 1, "组里右边的话，写得比较长。")
        inner = group.shapes.add_group_shape()
        box(inner.shapes, 1, 1, "组里左边的话，写得比较长。")

    def moved(part: bytes) -> bytes:
        """The outer group shrunk to a corner at the bottom: its children's places are in the group's own coordinates."""
        outer = re.search(rb"<p:grpSpPr><a:xfrm><a:off x=\"(?!0\")\d+\" y=\"\d+\"/><a:ext cx=\"\d+\" cy=\"\d+\"/>", part)
        assert outer is not None
        return part.replace(outer[0], b'<p:grpSpPr><a:xfrm><a:off x="0" y="6000000"/><a:ext cx="900000" cy="90000"/>', 1)

    data = deck(build)
    order = ["组里左边", "组里右边", "左边的一", "右边的一", "下面的一"]
    assert [text[:4] for text in texts(read(data, "a.pptx"), 1)] == order
    assert [text[:4] for text in texts(read(changed(data, {"ppt/slides/slide1.xml": moved}), "a.pptx"), 1)] == [*order[2:], *order[:2]]


def test_tables_with_merged_cells_and_charts(read: Read) -> None:
    def build(made: Any) -> None:
        slide = made.slides.add_slide(made.slide_layouts[5])
        slide.shapes.title.text = "产量"
        table = slide.shapes.add_table(12, 3, Inches(1), Inches(2), Inches(6), Inches(3)).table
        for index, line in enumerate([("地区名称", "粮食产量", ""), ("", "2023", "2024"), *((f"第{n}生产区域", str(n), str(n + 1)) for n in range(10, 20))]):
            for column, text in enumerate(line):
                table.cell(index, column).text = text
        table.cell(0, 0).merge(table.cell(1, 0))
        table.cell(0, 1).merge(table.cell(0, 2))
        data = CategoryChartData()
        data.categories = ["一季度", "二季度"]
        data.add_series("收入", (1.5, 2))
        data.add_series("支出", (3, 4))
        slide.shapes.add_chart(XL_CHART_TYPE.COLUMN_CLUSTERED, Inches(1), Inches(5.5), Inches(3), Inches(1), data)

    parsed = read(deck(build), "a.pptx")
    assert "地区名称：第12生产区域\n粮食产量/2023：12\n粮食产量/2024：13" in texts(parsed, 1)
    assert texts(parsed, 1)[-3:] == ["收入 | 支出", "一季度 | 1.5 | 3", "二季度 | 2 | 4"]


def test_a_diagram_s_texts(read: Read) -> None:
    frame = (
        b'<p:graphicFrame xmlns:dgm="http://schemas.openxmlformats.org/drawingml/2006/diagram">'
        b'<p:nvGraphicFramePr><p:cNvPr id="9" name="d"/><p:cNvGraphicFramePr/>'
        b'<p:nvPr/></p:nvGraphicFramePr><p:xfrm><a:off x="0" y="9000000"/><a:ext cx="9" cy="9"/></p:xfrm><a:graphic><a:graphicData uri="x">'
        b'<dgm:relIds r:dm="rIdD"/></a:graphicData></a:graphic></p:graphicFrame></p:spTree>'
    )
    points = (("node", "受理"), ("pres", "不要"), ("node", "审批"))
    nodes = "".join(f'<pt type="{kind}"><t><a:p><a:r><a:t>{text}</a:t></a:r></a:p></t></pt>' for kind, text in points)
    model = f'<dataModel xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"><ptLst>{nodes}</ptLst></dataModel>'
    link = b'<Relationship Id="rIdD" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/diagramData" Target="../diagrams/data1.xml"/>'
    parts = {
        "ppt/slides/slide1.xml": lambda part: part.replace(b"</p:spTree>", frame),
        "ppt/slides/_rels/slide1.xml.rels": lambda part: part.replace(b"</Relationships>", link + b"</Relationships>"),
        "ppt/diagrams/data1.xml": model.encode(),
    }
    assert texts(read(changed(deck(two_slides), parts), "a.pptx"), 1)[-2:] == ["受理", "审批"]


def test_dates_footers_and_hidden_slides_are_left_out(read: Read) -> None:
    def hidden(part: bytes) -> bytes:
        return part.replace(b"<p:sld ", b'<p:sld show="0" ', 1)

    def footed(part: bytes) -> bytes:
        return part.replace(b'type="subTitle"', b'type="ftr"')

    data = changed(deck(two_slides), {"ppt/slides/slide1.xml": footed, "ppt/slides/slide2.xml": hidden})
    assert read(data, "a.pptx").text == "年度汇报"


def test_a_strict_presentation(read: Read) -> None:
    plain = deck(two_slides)
    assert read(strict(plain), "a.pptx").text == read(plain, "a.pptx").text


def test_bad_presentations_are_refused(read: Read) -> None:
    def code(data: bytes, limits: ParseLimits | None = None) -> str:
        with pytest.raises(ParseFailed) as caught:
            read(data, "a.pptx", limits)
        return caught.value.code

    good = deck(two_slides)
    assert code(changed(good, {"ppt/presentation.xml": lambda _: b"<x/>"})) == "broken"
    assert code(changed(good, {"ppt/slides/slide2.xml": lambda part: part[:900]})) == "broken"
    assert code(deck(lambda _: None)) == "empty"
    assert code(good, ParseLimits(max_pages=1)) == "too_large"
    nowhere = {
        "ppt/slides/slide1.xml": lambda part: part.replace(b'type="subTitle" idx="1"', b'type="dt" idx="77"'),
        "ppt/slideLayouts/slideLayout1.xml": lambda part: part.replace(b'type="dt"', b'type="pic"'),
        "ppt/slideMasters/slideMaster1.xml": lambda part: part.replace(b'type="dt"', b'type="pic"'),
    }

    def only_titles(made: Any) -> None:
        two_slides(made)
        made.slides[1].placeholders[1].text = made.slides[1].notes_slide.notes_text_frame.text = ""

    assert code(changed(deck(only_titles), nowhere)) == "broken"
    assert "第一点" in read(changed(good, nowhere), "a.pptx").text
