"""The ruled lines of a PDF page and how much of it pictures cover: from its drawing objects, which are read and never drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ctypes import byref, c_float
from typing import TYPE_CHECKING, Any

from qzbrain.knowledge.parsers.page_layout import Box, Drawn, Rule
from qzbrain.knowledge.parsers.pdf_text import turned_box

if TYPE_CHECKING:
    from pypdfium2 import PdfPage

_THIN = 2.5
_SHORTEST = 6.0
_TOUCHING = 2.5
_MOST_OBJECTS = 30_000
_MOST_SEGMENTS = 4_000
_MOST_RULES = 3_000
"""A page with more lines than this is a drawing."""
_DEEPEST = 3

Matrix = tuple[float, float, float, float, float, float]
_AS_IT_IS: Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)


def drawn(page: PdfPage, turn: int) -> Drawn:
    """Rules and pictures of a page, turned as its text is (see `pdf_text.turned_box`)."""
    left, bottom, right, top = page.get_bbox()
    area = max((right - left) * (top - bottom), 1.0)
    found = Drawn()
    boxes: list[Box] = []
    for kind, box in _boxes(page, found):
        if kind == "picture":
            covered = max(min(box[2], right) - max(box[0], left), 0.0) * max(min(box[3], top) - max(box[1], bottom), 0.0)
            found.pictures = min(found.pictures + covered / area, 1.0)
        elif (box[2] - box[0]) * (box[3] - box[1]) < 0.9 * area:
            boxes.append(turned_box(turn, box))
    across, upright = _edges(boxes)
    found.across, found.upright = _without_gaps(across), _without_gaps(upright)
    if len(found.across) + len(found.upright) > _MOST_RULES:
        found.across, found.upright = [], []
    return found


def _boxes(page: PdfPage, found: Drawn) -> Iterator[tuple[str, Box]]:
    from pypdfium2 import raw

    yield from _objects(raw.FPDFPage_CountObjects, raw.FPDFPage_GetObject, page, _AS_IT_IS, found, 0)


def _objects(count: Callable[..., int], get: Callable[..., Any], owner: Any, matrix: Matrix, found: Drawn, depth: int) -> Iterator[tuple[str, Box]]:
    from pypdfium2 import raw

    edges = [c_float() for _ in range(4)]
    places = [byref(edge) for edge in edges]
    for index in range(max(count(owner), 0)):
        found.objects += 1
        if found.objects > _MOST_OBJECTS:
            return
        item = get(owner, index)
        kind = raw.FPDFPageObj_GetType(item)
        if kind == raw.FPDF_PAGEOBJ_FORM and depth < _DEEPEST:
            own = raw.FS_MATRIX()
            if raw.FPDFPageObj_GetMatrix(item, byref(own)):
                inner = _product((own.a, own.b, own.c, own.d, own.e, own.f), matrix)
                yield from _objects(raw.FPDFFormObj_CountObjects, raw.FPDFFormObj_GetObject, item, inner, found, depth + 1)
        elif kind in (raw.FPDF_PAGEOBJ_PATH, raw.FPDF_PAGEOBJ_IMAGE) and raw.FPDFPageObj_GetBounds(item, *places):
            box = _moved((edges[0].value, edges[1].value, edges[2].value, edges[3].value), matrix)
            if kind == raw.FPDF_PAGEOBJ_IMAGE:
                yield "picture", box
            elif raw.FPDFPath_CountSegments(item) <= 6 or _is_thin(box):
                yield "path", box
            else:
                yield from _strokes(item, matrix)


def _strokes(path: Any, matrix: Matrix) -> Iterator[tuple[str, Box]]:
    """The straight pieces of a path of many: some programs draw a whole table as one."""
    from pypdfium2 import raw

    own = raw.FS_MATRIX()
    if not raw.FPDFPageObj_GetMatrix(path, byref(own)):
        return
    inner = _product((own.a, own.b, own.c, own.d, own.e, own.f), matrix)
    x, y = c_float(), c_float()
    before: tuple[float, float] | None = None
    begun: tuple[float, float] | None = None
    for index in range(min(raw.FPDFPath_CountSegments(path), _MOST_SEGMENTS)):
        segment = raw.FPDFPath_GetPathSegment(path, index)
        if not raw.FPDFPathSegment_GetPoint(segment, byref(x), byref(y)):
            continue
        kind = raw.FPDFPathSegment_GetType(segment)
        here = _point((x.value, y.value), inner)
        if kind == raw.FPDF_SEGMENT_MOVETO:
            begun = here
        elif kind == raw.FPDF_SEGMENT_LINETO and before is not None:
            yield "path", _span(before, here)
        if begun is not None and raw.FPDFPathSegment_GetClose(segment):
            yield "path", _span(here, begun)
        before = here


def _span(one: tuple[float, float], other: tuple[float, float]) -> Box:
    return min(one[0], other[0]), min(one[1], other[1]), max(one[0], other[0]), max(one[1], other[1])


def _is_thin(box: Box) -> bool:
    return box[2] - box[0] <= _THIN or box[3] - box[1] <= _THIN


def _product(first: Matrix, second: Matrix) -> Matrix:
    a, b, c, d, e, f = first
    p, q, r, s, t, u = second
    return a * p + b * r, a * q + b * s, c * p + d * r, c * q + d * s, e * p + f * r + t, e * q + f * s + u


def _point(point: tuple[float, float], matrix: Matrix) -> tuple[float, float]:
    (x, y), (a, b, c, d, e, f) = point, matrix
    return a * x + c * y + e, b * x + d * y + f


def _moved(box: Box, matrix: Matrix) -> Box:
    if matrix is _AS_IT_IS:
        return box
    corners = [_point((x, y), matrix) for x in (box[0], box[2]) for y in (box[1], box[3])]
    return min(x for x, _ in corners), min(y for _, y in corners), max(x for x, _ in corners), max(y for _, y in corners)


def _edges(boxes: list[Box]) -> tuple[list[Rule], list[Rule]]:
    """Thin boxes are lines, the others (cells with a ground of their own) give their four edges."""
    across: list[Rule] = []
    upright: list[Rule] = []
    for left, bottom, right, top in boxes:
        if top - bottom <= _THIN:
            across.append(Rule((bottom + top) / 2, left, right))
        elif right - left <= _THIN:
            upright.append(Rule((left + right) / 2, bottom, top))
        elif right - left > 4 * _THIN:
            across += [Rule(bottom, left, right), Rule(top, left, right)]
            upright += [Rule(left, bottom, top), Rule(right, bottom, top)]
    return across, upright


def _without_gaps(rules: list[Rule]) -> list[Rule]:
    """Pieces of one line (a cell's edge each, or dashes) put together; short ones that stay alone are no rules."""
    whole: list[Rule] = []
    group: list[Rule] = []
    for rule in [*sorted(rules, key=lambda rule: rule.at), Rule(float("inf"), 0, 0)]:
        if group and rule.at - group[0].at > _TOUCHING:
            at = sum(x.at for x in group) / len(group)
            start, end = None, 0.0
            for piece in sorted(group, key=lambda x: x.start):
                if start is not None and piece.start - end > 2 * _TOUCHING:
                    whole.append(Rule(at, start, end))
                    start = None
                start, end = (piece.start, piece.end) if start is None else (start, max(end, piece.end))
            if start is not None:
                whole.append(Rule(at, start, end))
            group = []
        group.append(rule)
    return [rule for rule in whole if rule.end - rule.start >= _SHORTEST]
