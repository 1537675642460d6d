"""Reading GraphML: nodes are entities, edges triples. As a stream, with entity declarations refused, so that a small file cannot become a large one.

Names of attributes as our own export, NetworkX, yEd and Neo4j's APOC write them. A node without a name is called by its id.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from xml.parsers import expat

from qzbrain.errors import ParseFailed
from qzbrain.graph.base import Fact
from qzbrain.graph.rows import BadRow, fact_of

_VALUE_CHARS = 1 << 16
_NODE = {
    "name": ("name", "label", "title", "名称", "labelv"), "type": ("type", "labels", "kind", "category", "类型"), "aliases": ("aliases", "alias", "别名"),
}  # fmt: skip
_EDGE = {"relation": ("relation", "label", "type", "predicate", "关系"), "source": ("source", "来源")}
Found = tuple[int, Fact] | BadRow


@dataclass(slots=True)
class _Element:
    row: int
    attributes: dict[str, str]
    data: dict[str, str]


class _Reader:
    """Takes what the parser says; `ready` holds the edges whose nodes are known."""

    def __init__(self) -> None:
        self.parser: Any = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartElementHandler, self.parser.EndElementHandler = self._start, self._end
        self.parser.CharacterDataHandler = self._text
        self.parser.EntityDeclHandler = self._refuse
        self.parser.buffer_text = True
        self.ready: list[Found] = []
        self.is_graph = False
        self._names: dict[str, str] = {}
        self._nodes: dict[str, dict[str, str]] = {}
        self._early: list[_Element] = []
        self._at: _Element | None = None
        self._key: str | None = None
        self._said: list[str] = []
        self._room = 0

    def finish(self) -> None:
        """No more nodes will come: edges that wait for one call it by its id."""
        self.ready += [self._fact(edge) for edge in self._early]
        self._early.clear()

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        tag = name.rpartition(" ")[2]
        if tag == "graphml":
            self.is_graph = True
        elif tag == "key":
            self._names[attributes.get("id", "")] = attributes.get("attr.name", attributes.get("id", "")).strip().lower()
        elif tag in ("node", "edge"):
            self._at = _Element(self.parser.CurrentLineNumber, attributes, {})
        elif tag == "data" and self._at is not None:
            key = attributes.get("key", "")
            self._key, self._said, self._room = self._names.get(key, key.lower()), [], _VALUE_CHARS

    def _text(self, text: str) -> None:
        if self._key is not None and self._room > 0:
            self._said.append(text)
            self._room -= len(text)

    def _end(self, name: str) -> None:
        tag = name.rpartition(" ")[2]
        if tag == "data" and self._key is not None and self._at is not None:
            self._at.data[self._key] = "".join(self._said)
            self._key = None
        elif tag == "node" and self._at is not None:
            self._nodes[self._at.attributes.get("id", "")] = _picked(self._at, _NODE)
            self._at = None
        elif tag == "edge" and self._at is not None:
            ends = (self._at.attributes.get("source", ""), self._at.attributes.get("target", ""))
            if all(end in self._nodes for end in ends):
                self.ready.append(self._fact(self._at))
            else:
                self._early.append(self._at)
            self._at = None

    def _fact(self, edge: _Element) -> Found:
        head, tail = (self._nodes.get(end, {}) | {"id": end} for end in (edge.attributes.get("source", ""), edge.attributes.get("target", "")))
        given = _picked(edge, _EDGE)
        return fact_of(
            edge.row,
            {
                "head": head.get("name") or head["id"],
                "relation": given.get("relation"),
                "tail": tail.get("name") or tail["id"],
                "head_type": head.get("type", "").strip(": "),
                "tail_type": tail.get("type", "").strip(": "),
                "source": given.get("source", ""),
                "aliases": head.get("aliases", ""),
            },
        )

    def _refuse(self, *_declared: Any) -> None:
        raise ParseFailed(
            "xml_entities",
            zh="GraphML 中声明了 XML 实体，出于安全原因不予读取。请用导出工具重新导出，或改用 CSV。",
            en="This GraphML declares XML entities, which are not read for safety. Export it again with another tool, or use CSV.",
        )


def read_graphml(pieces: Iterable[str]) -> Iterator[Found]:
    """Facts of a text in pieces (the first not blank), with the line on which their edge begins. Raises ParseFailed for no GraphML, or damaged."""
    reader = _Reader()
    first = True
    try:
        for piece in pieces:
            reader.parser.Parse(_undeclared(piece) if first else piece, False)
            first = False
            yield from _taken(reader)
        reader.parser.Parse("", True)
    except expat.ExpatError as exc:
        raise _damaged(exc.lineno, expat.ErrorString(exc.code)) from exc
    if not reader.is_graph:
        raise _damaged(1, "no <graphml>")
    reader.finish()
    yield from _taken(reader)


def _taken(reader: _Reader) -> list[Found]:
    found, reader.ready = reader.ready, []
    return found


def _undeclared(text: str) -> str:
    """The text without an XML declaration: its encoding was that of the file, not of the text. Lines stay as many."""
    if not text.lstrip().startswith("<?xml"):
        return text
    declaration, _, rest = text.partition("?>")
    return "\n" * declaration.count("\n") + rest


def _picked(element: _Element, fields: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """Its data by field, else its attributes of these names (`source` of an edge is its end)."""
    own = {name: value for name, value in element.attributes.items() if name not in ("id", "source", "target")}
    found = {field: next((some[name] for some in (element.data, own) for name in names if some.get(name)), "") for field, names in fields.items()}
    return {field: value for field, value in found.items() if value}


def _damaged(line: int, said: str) -> ParseFailed:
    return ParseFailed("bad_graphml", zh=f"GraphML 无法读取（第 {line} 行：{said}）。", en=f"The GraphML cannot be read (line {line}: {said}).")
