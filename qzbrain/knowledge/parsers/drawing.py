"""DrawingML of slides: shapes with their places, groups unfolded; paragraphs, tables, charts and diagrams as text. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from qzbrain.knowledge.parsers.equations import M, equation
from qzbrain.knowledge.parsers.headers import Cell
from qzbrain.knowledge.parsers.ooxml import local

A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_DEEPEST = 40
_MOST_SPAN = 200


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape that can hold text, or a frame (table, chart, diagram). `kind`, `index`: of a placeholder, '' for others; places in EMU."""

    element: Any
    kind: str
    index: str
    top: float
    left: float
    own_place: bool
    is_frame: bool


@dataclass(frozen=True, slots=True)
class _View:
    """From a group's own coordinates to the slide's: value * scale + offset."""

    scale_x: float = 1.0
    scale_y: float = 1.0
    offset_x: float = 0.0
    offset_y: float = 0.0


def shapes(tree: Any, view: _View = _View(), depth: int = 0) -> Iterator[Shape]:
    """Shapes of a slide, those of groups at their place on the slide; of alternatives the first."""
    for child in tree:
        name = local(child)
        if name == "grpSp" and depth < _DEEPEST:
            yield from shapes(child, _inside(child, view), depth + 1)
        elif name == "AlternateContent" and depth < _DEEPEST:
            choice = next((x for x in child if local(x) in ("Choice", "Fallback")), None)
            if choice is not None:
                yield from shapes(choice, view, depth + 1)
        elif name in ("sp", "graphicFrame", "cxnSp"):
            yield _shape(child, view, is_frame=name == "graphicFrame")


def _shape(element: Any, view: _View, *, is_frame: bool) -> Shape:
    holder = next(element.iterfind(f"*/{P}nvPr/{P}ph"), None)
    kind, index = ("", "") if holder is None else (holder.get("type", "obj"), holder.get("idx", ""))
    offset = element.find(f"{P}xfrm/{A}off" if is_frame else f"{P}spPr/{A}xfrm/{A}off")
    if offset is None:
        return Shape(element, kind, index, 0.0, 0.0, False, is_frame)
    left, top = _number(offset, "x") * view.scale_x + view.offset_x, _number(offset, "y") * view.scale_y + view.offset_y
    return Shape(element, kind, index, top, left, True, is_frame)


def _inside(group: Any, view: _View) -> _View:
    frame = group.find(f"{P}grpSpPr/{A}xfrm")
    if frame is None:
        return view
    parts = {local(child): child for child in frame}
    if not {"off", "ext", "chOff", "chExt"} <= parts.keys():
        return view
    scale_x = _number(parts["ext"], "cx") / (_number(parts["chExt"], "cx") or 1.0)
    scale_y = _number(parts["ext"], "cy") / (_number(parts["chExt"], "cy") or 1.0)
    shift_x, shift_y = (_number(parts["off"], axis) - _number(parts["chOff"], axis) * scale for axis, scale in (("x", scale_x), ("y", scale_y)))
    return _View(
        view.scale_x * scale_x, view.scale_y * scale_y, view.scale_x * shift_x + view.offset_x, view.scale_y * shift_y + view.offset_y
    )


def _number(element: Any, name: str) -> float:
    try:
        return float(element.get(name) or 0)
    except ValueError:
        return 0.0


def placed(shape: Shape, places: dict[tuple[str, str], tuple[float, float]]) -> tuple[float, float] | None:
    """(top, left), its own or that of the placeholder which it fills; None when nobody says."""
    if shape.own_place:
        return shape.top, shape.left
    return places.get((shape.kind, shape.index)) or places.get((shape.kind, ""))


def paragraphs(element: Any) -> Iterator[tuple[str, int]]:
    """Text and list level of each paragraph that holds a word; an element of a diagram, a cell or a shape."""
    for paragraph in element.iter(f"{A}p"):
        properties = paragraph.find(f"{A}pPr")
        level = 0 if properties is None else int(_number(properties, "lvl"))
        if text := _text(paragraph).strip():
            yield text, level


def _text(paragraph: Any) -> str:
    parts = []
    stack = [paragraph.iterchildren()]
    while stack:
        node = next(stack[-1], None)
        if node is None:
            stack.pop()
        elif node.tag == f"{A}t":
            parts.append(node.text or "")
        elif node.tag == f"{A}br":
            parts.append("\n")
        elif node.tag in (f"{M}oMath", f"{M}oMathPara"):
            parts.append(equation(node))
        elif local(node) not in ("Fallback", "pPr", "rPr", "endParaRPr"):
            stack.append(node.iterchildren())
    return "".join(parts).replace("\x0b", "\n")


def table_rows(table: Any) -> Iterator[list[Cell]]:
    """Rows of cells; those that a merged cell covers are left out."""
    for row in table.iterchildren(f"{A}tr"):
        cells = []
        for cell in row.iterchildren(f"{A}tc"):
            if cell.get("hMerge") in ("1", "true") or cell.get("vMerge") in ("1", "true"):
                continue
            text = " ".join(" ".join(line for line, _ in paragraphs(cell)).split())
            cells.append(Cell(text, _span(cell, "gridSpan"), _span(cell, "rowSpan")))
        yield cells


def _span(cell: Any, name: str) -> int:
    return min(max(int(_number(cell, name)), 1), _MOST_SPAN)


def chart_rows(chart: Any) -> tuple[str, list[list[Cell]]]:
    """A chart's title, and the table that it was drawn from: categories down, series across."""
    title = "".join(x.text or "" for one in chart.iter("{*}title") for x in one.iter(f"{A}t") if local(one.getparent()) == "chart")
    series = list(chart.iter("{*}ser"))
    names = ["".join(_points(one, "tx").values()) for one in series]
    categories = next((points for one in series if (points := _points(one, "cat") or _points(one, "xVal"))), {})
    values = [_points(one, "val") or _points(one, "yVal") for one in series]
    rows = [[Cell(""), *(Cell(name or title or "值", marked=True) for name in names)]]
    for index in sorted(categories or set().union(*values)):
        rows.append([Cell(categories.get(index, "")), *(Cell(one.get(index, "")) for one in values)])
    return title, rows if len(rows) > 1 else []


def _points(series: Any, name: str) -> dict[int, str]:
    found = next((x for x in series if local(x) == name), None)
    if found is None:
        return {}
    direct = {i: (x.text or "").strip() for i, x in enumerate(y for y in found if local(y) == "v")}
    return direct or {int(_number(x, "idx")): "".join(v.text or "" for v in x if local(v) == "v").strip() for x in found.iter("{*}pt")}


def diagram_lines(data: Any) -> Iterator[str]:
    """Texts of a diagram's nodes in the order in which they were written."""
    for point in data.iter("{*}pt"):
        if point.get("type", "node") in ("node", "asst"):
            yield from (text for text, _ in paragraphs(point))
