"""Presentations (pptx): slides in their order, titles as headings, text from top to bottom and left to right, tables, diagrams, notes.

A page is a slide. Left out, as headers and footers are elsewhere: dates, footers, slide numbers; hidden slides; comments.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from qzbrain.domain import ParsedDocument
from qzbrain.knowledge.parsers import refusals
from qzbrain.knowledge.parsers.base import ParseLimits, Source, TextBuilder, clean_title
from qzbrain.knowledge.parsers.drawing import A, P, Shape, chart_rows, diagram_lines, paragraphs, placed, shapes, table_rows
from qzbrain.knowledge.parsers.ooxml import RELATION_ID, Package, local
from qzbrain.knowledge.parsers.tables import Style, add_table, covered

_MIME = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
_PROGRAM_TITLE = re.compile(r"^(?:PowerPoint|Microsoft|Slide|幻灯片|演示文稿|Untitled|未命名)|\.(?:pptx?|dps)$", re.IGNORECASE)
_FURNITURE = frozenset(("dt", "ftr", "sldNum", "hdr"))
_TITLES = frozenset(("title", "ctrTitle"))
_TITLE_CHARS = 40


def parse(source: Source, limits: ParseLimits) -> ParsedDocument:
    """Blocks with their slide's number as page. Raises ParseFailed: broken, bomb, encrypted, too_large."""
    package = Package(source.data, "pptx", limits)
    try:
        parts = list(_slides(package))
        if len(parts) > limits.max_pages:
            raise refusals.too_many_pages(len(parts), limits.max_pages)
        writer = _Writer(package, TextBuilder(limits))
        for number, part in enumerate(parts, 1):
            writer.slide(part, number)
            source.progress(number, len(parts), "pages")
    except (AttributeError, KeyError, ValueError, TypeError, IndexError, RecursionError) as exc:
        raise refusals.broken("pptx") from exc
    if writer.lost and not writer.substance:
        raise refusals.broken("pptx")
    stated = package.stated_title()
    title = writer.first_title or ("" if _PROGRAM_TITLE.search(stated) else stated) or source.stem
    return ParsedDocument(writer.builder.text(), tuple(writer.builder.blocks), title, _MIME, len(parts))


def _slides(package: Package) -> Iterator[str]:
    """Parts of the slides in the order in which they are shown. Raises ParseFailed `broken` when there is no list of them."""
    targets = package.targets(package.main)
    root = package.xml(package.main)
    if local(root) != "presentation":
        raise refusals.broken("pptx")
    for listed in root.iterfind(f"{P}sldIdLst/{P}sldId"):
        target = targets.get(listed.get(f"{RELATION_ID}id") or "")
        if target is not None and target.part in package:
            yield target.part


@dataclass(slots=True)
class _Writer:
    """Emits slide by slide. `substance`: something but titles was read; `lost`: text in a placeholder that no layout gives a place."""

    package: Package
    builder: TextBuilder
    first_title: str = ""
    substance: bool = False
    lost: bool = False
    _places: dict[str, dict[tuple[str, str], tuple[float, float]]] = field(default_factory=dict)

    def slide(self, part: str, number: int) -> None:
        """Title, shapes in reading order, notes; nothing of a hidden slide."""
        root = self.package.xml(part)
        if root.get("show") in ("0", "false"):
            return
        tree = root.find(f"{P}cSld/{P}spTree")
        found = [] if tree is None else list(shapes(tree))
        places = self._layout_places(part)
        self.lost = self.lost or any(x.kind in _FURNITURE and not x.own_place and placed(x, places) is None and any(paragraphs(x.element)) for x in found)
        shown = sorted((x for x in found if x.kind not in _FURNITURE), key=lambda x: (x.kind not in _TITLES, *_reading_place(x, places)))
        titled = False
        for shape in shown:
            titled = self._shape(shape, part, number, titled=titled)
        self._notes(part, number)

    def _shape(self, shape: Shape, part: str, number: int, *, titled: bool) -> bool:
        """Emit one; whether the slide has its title now. Without a title placeholder the first short line is the title."""
        element = shape.element
        if shape.is_frame:
            self._frame(element, part, number)
            return titled
        lines = list(paragraphs(element))
        if shape.kind in _TITLES and lines:
            self._title(" ".join(text for text, _ in lines), number)
            return True
        for text, level in lines:
            if not titled and len(text) <= _TITLE_CHARS and text[-1] not in "。；，：;,:":
                self._title(text, number)
                titled = True
                continue
            titled = True
            self.substance = True
            listed = (shape.kind in ("body", "obj") and len(lines) > 1) or level > 0
            self.builder.add(text, page=number, kind="list_item" if listed else "text", gap=1 if listed else 2)
        return titled

    def _title(self, text: str, number: int) -> None:
        text = " ".join(text.split())
        self.first_title = self.first_title or clean_title(text)
        self.builder.add(text, page=number, heading_level=1)

    def _frame(self, frame: Any, part: str, number: int) -> None:
        """A table, a chart as the table behind it, a diagram's texts."""
        table = next(frame.iter(f"{A}tbl"), None)
        if table is not None:
            self.substance = True
            add_table(self.builder, covered(table_rows(table)), Style(page=number))
            return
        targets = self.package.targets(part)
        for node in frame.iter():
            if local(node) == "chart" and (target := targets.get(node.get(f"{RELATION_ID}id") or "")) and target.part in self.package:
                title, rows = chart_rows(self.package.xml(target.part))
                self.builder.add(title, page=number)
                add_table(self.builder, covered(rows), Style(page=number))
                self.substance = True
            elif local(node) == "relIds" and (target := targets.get(node.get(f"{RELATION_ID}dm") or "")) and target.part in self.package:
                for index, line in enumerate(diagram_lines(self.package.xml(target.part))):
                    self.builder.add(line, page=number, kind="list_item", gap=1 if index else 2)
                    self.substance = True

    def _notes(self, part: str, number: int) -> None:
        notes = self.package.related(part, "notesSlide")
        tree = None if notes is None else self.package.xml(notes).find(f"{P}cSld/{P}spTree")
        for shape in () if tree is None else shapes(tree):
            if shape.kind == "body" and (text := "\n".join(line for line, _ in paragraphs(shape.element))):
                self.builder.add(f"备注：{text}", page=number)
                self.substance = True

    def _layout_places(self, part: str) -> dict[tuple[str, str], tuple[float, float]]:
        """Places of placeholders by (kind, index), the layout's before the master's."""
        layout = self.package.related(part, "slideLayout")
        if layout is None:
            return {}
        if layout not in self._places:
            places: dict[tuple[str, str], tuple[float, float]] = {}
            for one in (self.package.related(layout, "slideMaster"), layout):
                tree = None if one is None else self.package.xml(one).find(f"{P}cSld/{P}spTree")
                for shape in () if tree is None else shapes(tree):
                    if shape.kind and shape.own_place:
                        places[shape.kind, ""] = places[shape.kind, shape.index] = (shape.top, shape.left)
            self._places[layout] = places
        return self._places[layout]


_SAME_LINE = 230_000
"""Tops that differ by less than this (English Metric Units, a quarter inch) are on one line."""


def _reading_place(shape: Shape, places: dict[tuple[str, str], tuple[float, float]]) -> tuple[int, float]:
    top, left = placed(shape, places) or (0.0, 0.0)
    return round(top / _SAME_LINE), left
