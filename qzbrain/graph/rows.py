"""Rows of a file as facts: names of columns, limits, what is refused and why. Knows fields, not files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any

from qzbrain.errors import ParseFailed
from qzbrain.graph.base import Fact, Place
from qzbrain.graph.linking import key_of

NAME_CHARS = 2000
RELATION_CHARS = 255
TYPE_CHARS = 64
SOURCE_CHARS = 2000
MOST_ALIASES = 100
NEEDED = ("head", "relation", "tail")

_COLUMNS = {
    "head": ("head", "subject", "头实体", "主体", "主语", "实体", "实体1", "头", "头节点", "实体名", "实体名称", "起点"),
    "relation": ("relation", "predicate", "关系", "属性", "谓词", "谓语", "关系名", "关系名称", "关系类型", "属性名"),
    "tail": ("tail", "object", "尾实体", "客体", "宾语", "值", "属性值", "实体2", "尾", "尾节点", "终点"),
    "head_type": ("head_type", "头实体类型", "主体类型", "主语类型", "类型", "实体1类型"),
    "tail_type": ("tail_type", "尾实体类型", "客体类型", "宾语类型", "实体2类型"),
    "source": ("source", "来源", "出处"),
    "aliases": ("aliases", "alias", "别名", "同义词"),
}
_FIELD = {name: field for field, names in _COLUMNS.items() for name in names}
_EDGE_LIST = {"source": "head", "target": "tail", "label": "relation"}
"""Columns of edge lists, as Gephi has them: there `source` is an end of an edge."""
_CALLED = {"head": "head（头实体、主语）", "relation": "relation（关系、谓语）", "tail": "tail（尾实体、宾语）"}
_MORE = (("head_type", TYPE_CHARS), ("tail_type", TYPE_CHARS), ("source", SOURCE_CHARS))
_PARTED = re.compile(r"[|；;]")
_AROUND = re.compile("^[\\s\u200b-\u200f\u2060\ufeff]+|[\\s\u200b-\u200f\u2060\ufeff]+$")
"""Blanks and what nobody sees, which comes with texts copied from pages."""
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffd]")


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is no fact, and why."""

    row: int
    zh: str
    en: str


def fields_of(header: Sequence[str]) -> list[str] | None:
    """The field of each column, '' for others; None when this is no header but a first row. Raises ParseFailed naming the columns that a header lacks."""
    cells = [cell.strip().lower() for cell in header]
    if {"source", "target"} <= set(cells):
        named = [_EDGE_LIST.get(cell) or _FIELD.get(cell, "") for cell in cells]
    else:
        named = [_FIELD.get(cell, "") for cell in cells]
    known = {field for field in named if field}
    lacking = [field for field in NEEDED if field not in known]
    if not lacking:
        return named
    if len(known) >= 2 or any(cell in ("head", "relation", "tail", "subject", "predicate", "object") for cell in cells):
        raise _lacking(lacking, header)
    return None


def _lacking(fields: Sequence[str], header: Sequence[str]) -> ParseFailed:
    there = ", ".join(cell.strip()[:40] for cell in header[:20])
    return ParseFailed(
        "missing_columns",
        zh=f"表头缺少列：{'、'.join(_CALLED[field] for field in fields)}；现有的列：{there}。请补上或改名；没有表头时，前三列须依次为头实体、关系、尾实体。",
        en=f"The header lacks the column(s) {', '.join(fields)}; it has: {there}. Add or rename them; without a header: head, relation, tail.",
    )


def field(name: str) -> str:
    """The field that a column or key of this name holds; '' for another one."""
    return _FIELD.get(name.strip().lower(), "")


def cells_of(fields: Sequence[str]) -> Callable[[list[Any]], tuple[Any, ...]]:
    """For rows of a table with these columns: takes a row with None behind it, gives what `fact` takes. A field that no column has is None."""
    place = {field: number for number, field in enumerate(fields)}
    return itemgetter(*(place.get(field, -1) for field in ("head", "relation", "tail", "head_type", "tail_type", "source", "aliases")))


def fact_of(row: int, given: Mapping[str, Any]) -> tuple[int, Fact] | BadRow:
    """A fact from the values of its fields."""
    get = given.get
    return fact(row, get("head"), get("relation"), get("tail"), get("head_type"), get("tail_type"), get("source"), get("aliases"))


def fact(row: int, head: Any, relation: Any, tail: Any, head_type: Any, tail_type: Any, source: Any, aliases: Any) -> tuple[int, Fact] | BadRow:
    """A fact from its values, as a file has them: texts, or whatever JSON can hold; None where there is none."""
    texts: Sequence[str] = ()
    if type(head) is type(relation) is type(tail) is str and len(head) <= NAME_CHARS and len(relation) <= RELATION_CHARS and len(tail) <= NAME_CHARS:
        texts = _checked(head)[0], _checked(relation)[0], _checked(tail)[0]  # nearly all rows, in a third of the time
    if not texts or not all(texts):
        found = _texts(row, {"head": head, "relation": relation, "tail": tail})
        if isinstance(found, BadRow):
            return found
        texts = found
    if not head_type and not tail_type and type(source) is str and len(source) <= SOURCE_CHARS:
        more = _checked_rest("", "", source)
    else:
        more = _rest(head_type, tail_type, source)
    if isinstance(more, str):
        longest = dict(_MORE)[more]
        return BadRow(row, f"{more} 超过 {longest} 个字符或含有不允许的字符", f"{more} is over {longest} characters or holds one that is not allowed")
    return row, Fact(texts[0], texts[1], texts[2], *more, _aliases(aliases, texts[0]) if aliases else ())


def _texts(row: int, given: Mapping[str, Any]) -> Sequence[str] | BadRow:
    texts = []
    for name, longest in (("head", NAME_CHARS), ("relation", RELATION_CHARS), ("tail", NAME_CHARS)):
        value = given[name]
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value:
            return _empty(row, name)
        if len(value) > longest:
            return BadRow(row, f"{name} 有 {len(value)} 个字符，上限 {longest}", f"{name} has {len(value)} characters, at most {longest}")
        text, fault = _checked(value)
        if fault:
            return BadRow(row, f"{name} 含有不允许的字符（{fault}）", f"{name} holds a character that is not allowed ({fault})")
        if not text:
            return _empty(row, name)
        texts.append(text)
    return texts


def _rest(head_type: Any, tail_type: Any, source: Any) -> tuple[Place, str, str] | str:
    """Place and types, or the name of a field that cannot be. What is no text is none."""
    some = [value.strip() if isinstance(value, str) else "" for value in (head_type, tail_type, source)]
    for (name, longest), text in zip(_MORE, some, strict=True):
        if len(text) > longest:
            return name
    return _checked_rest(*some)


@lru_cache(maxsize=1024)
def _checked_rest(head_type: str, tail_type: str, source: str) -> tuple[Place, str, str] | str:
    for (name, _), text in zip(_MORE, (head_type, tail_type, source), strict=True):
        if text and _checked(text)[1]:
            return name
    return Place("import", source=source.strip()), head_type, tail_type


def _empty(row: int, name: str) -> BadRow:
    return BadRow(row, f"缺少 {name}，或其内容为空", f"no {name}, or an empty one")


@lru_cache(maxsize=1 << 16)
def _checked(value: str) -> tuple[str, str]:
    """The text as it is kept, '' for an empty one; and what may not be in it: a control character, half of a surrogate pair, what could not be decoded."""
    if fault := _UNFIT.search(value):
        return "", f"U+{ord(fault[0]):04X}"
    return _AROUND.sub("", value), ""


def _aliases(given: Any, head: str) -> tuple[str, ...]:
    """Other names of the head; its own is none, so that aliases cannot go round in a circle."""
    some = given if isinstance(given, list) else _PARTED.split(given) if isinstance(given, str) else []
    kept: dict[str, str] = {}
    for one in some:
        if isinstance(one, str) and len(one) <= RELATION_CHARS and (text := _checked(one)[0]):
            kept[key_of(text)] = text
        if len(kept) > MOST_ALIASES:
            break
    kept.pop(key_of(head), None)
    return tuple(kept.values())[:MOST_ALIASES]
