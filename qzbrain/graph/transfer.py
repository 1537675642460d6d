"""Triples in files: CSV and JSON lines read, CSV, JSON lines, GraphML and Cypher-ready CSV written. Knows lines, not the store.

Columns `head, relation, tail`, optionally `head_type, tail_type, source, aliases` (several parted by `|` or `；`), in Chinese too, in any order; a CSV without
such a header has its three columns in this order. Bad rows are told by number, counted from 1 as editors do, and the rest is loaded.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from xml.sax.saxutils import escape, quoteattr

import orjson

from qzbrain.graph.base import Fact, Place, Triple
from qzbrain.graph.linking import name_key

NAME_CHARS = 2000
RELATION_CHARS = 255
TYPE_CHARS = 64
SOURCE_CHARS = 2000
MOST_ALIASES = 100
Format = Literal["csv", "jsonl", "graphml", "cypher-csv"]

_COLUMNS = {
    "head": ("head", "subject", "头实体", "主体", "主语", "实体", "实体1", "头"),
    "relation": ("relation", "predicate", "关系", "属性", "谓词", "谓语"),
    "tail": ("tail", "object", "尾实体", "客体", "宾语", "值", "属性值", "实体2", "尾"),
    "head_type": ("head_type", "头实体类型", "主体类型", "类型"),
    "tail_type": ("tail_type", "尾实体类型", "客体类型"),
    "source": ("source", "来源", "出处"),
    "aliases": ("aliases", "alias", "别名", "同义词"),
}
_FIELD = {name: field for field, names in _COLUMNS.items() for name in names}
_PARTED = re.compile(r"[|；;]")


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is no fact, and why."""

    row: int
    zh: str
    en: str


def read(text: str, name: str) -> Iterator[tuple[int, Fact] | BadRow]:
    """Facts of a file's text, in its order, with their row numbers. JSON lines when it is called so or begins with `{`, else CSV or TSV."""
    start = text.lstrip()[:1]
    if start == "{" or name.lower().endswith((".jsonl", ".ndjson")):
        yield from _read_lines(text)
    else:
        yield from _read_table(text)


def _read_lines(text: str) -> Iterator[tuple[int, Fact] | BadRow]:
    for row, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            yield BadRow(row, "不是有效的 JSON", "not valid JSON")
            continue
        if not isinstance(value, dict):
            yield BadRow(row, "不是 JSON 对象", "not a JSON object")
            continue
        yield _fact(row, {_FIELD.get(str(key).strip().lower(), ""): given for key, given in value.items()})


def _read_table(text: str) -> Iterator[tuple[int, Fact] | BadRow]:
    first = text.lstrip("\n").split("\n", 1)[0]
    delimiter = max(("\t", ",", ";"), key=first.count)
    csv.field_size_limit(max(len(text), 1024))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    fields: list[str] | None = None
    while True:
        begun = reader.line_num + 1
        try:
            record = next(reader, None)
        except csv.Error as exc:
            yield BadRow(begun, f"无法读取这一行：{exc}", f"this row cannot be read: {exc}")
            return
        if record is None:
            return
        if not any(cell.strip() for cell in record):
            continue
        if fields is None:
            named = [_FIELD.get(cell.strip().lower(), "") for cell in record]
            if {"head", "relation", "tail"} <= set(named):
                fields = named
                continue
            fields = ["head", "relation", "tail"]
        if len(record) < 3:
            yield BadRow(begun, f"只有 {len(record)} 列，至少需要 head、relation、tail 三列", f"{len(record)} columns; head, relation and tail are needed")
            continue
        yield _fact(begun, dict(zip(fields, record, strict=False)))


def _fact(row: int, given: Mapping[str, Any]) -> tuple[int, Fact] | BadRow:
    texts: dict[str, str] = {}
    for field in ("head", "relation", "tail"):
        value = given.get(field)
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = f"{value}"
        if not isinstance(value, str) or not name_key(value):
            return BadRow(row, f"缺少 {field}，或其内容为空", f"no {field}, or an empty one")
        longest = RELATION_CHARS if field == "relation" else NAME_CHARS
        if len(value) > longest:
            return BadRow(row, f"{field} 有 {len(value)} 个字符，上限 {longest}", f"{field} has {len(value)} characters, at most {longest}")
        if fault := _unfit(value):
            return BadRow(row, f"{field} 含有不允许的字符（{fault}）", f"{field} holds a character that is not allowed ({fault})")
        texts[field] = value.strip()
    more = {}
    for field, longest in (("head_type", TYPE_CHARS), ("tail_type", TYPE_CHARS), ("source", SOURCE_CHARS)):
        value = given.get(field)
        text = value.strip() if isinstance(value, str) else ""
        if len(text) > longest or _unfit(text):
            return BadRow(row, f"{field} 过长或含有不允许的字符", f"{field} is too long or holds a character that is not allowed")
        more[field] = text
    place = Place("import", source=more["source"])
    aliases = _aliases(given.get("aliases"), texts["head"])
    return row, Fact(texts["head"], texts["relation"], texts["tail"], place, more["head_type"], more["tail_type"], aliases)


def _aliases(given: Any, head: str) -> tuple[str, ...]:
    """Other names of the head; its own is none, so that aliases cannot go round in a circle."""
    some = given if isinstance(given, list) else _PARTED.split(given) if isinstance(given, str) else []
    kept = {name_key(one): one.strip() for one in some if isinstance(one, str) and len(one) <= RELATION_CHARS and not _unfit(one)}
    return tuple(alias for key, alias in kept.items() if key and key != name_key(head))[:MOST_ALIASES]


def _unfit(text: str) -> str:
    """A control character or half of a surrogate pair, which no database takes; '' when there is none."""
    return next((f"U+{ord(c):04X}" for c in text if (ord(c) < 32 and c not in "\t\n\r") or 0xD800 <= ord(c) <= 0xDFFF), "")


def write(triples: Iterable[Triple], form: Format) -> Iterator[str]:
    """The file's text, piece by piece."""
    writers = {"csv": _write_csv, "jsonl": _write_lines, "graphml": _write_graphml, "cypher-csv": _write_cypher}
    return writers[form](triples)


def _row(one: Triple) -> dict[str, str]:
    return {
        "head": one.head.name,
        "relation": one.relation,
        "tail": one.tail.name,
        "head_type": one.head.type,
        "tail_type": one.tail.type,
        "source": one.places[0].source if one.places else "",
        "aliases": "|".join(one.head.aliases),
    }


def _write_csv(triples: Iterable[Triple]) -> Iterator[str]:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(["head", "relation", "tail", "head_type", "tail_type", "source", "aliases"])
    yield "\ufeff"
    for one in triples:
        writer.writerow(list(_row(one).values()))
        if out.tell() > 1 << 16:
            yield out.getvalue()
            out.seek(0)
            out.truncate()
    yield out.getvalue()


def _write_lines(triples: Iterable[Triple]) -> Iterator[str]:
    for one in triples:
        row = {key: value for key, value in _row(one).items() if value}
        said = [{"document_id": x.document_id, "start": x.start, "end": x.end, "quote": x.quote, "extractor": x.extractor} for x in one.places if x.document_id]
        yield orjson.dumps({**row, **({"aliases": list(one.head.aliases)} if one.head.aliases else {}), **({"mentions": said} if said else {})}).decode() + "\n"


def _write_graphml(triples: Iterable[Triple]) -> Iterator[str]:
    yield (
        '<?xml version="1.0" encoding="UTF-8"?>\n<graphml xmlns="http://graphml.graphdrawing.org/xmlns">\n'
        '<key id="name" for="node" attr.name="name" attr.type="string"/>\n<key id="type" for="node" attr.name="type" attr.type="string"/>\n'
        '<key id="relation" for="edge" attr.name="relation" attr.type="string"/>\n<graph edgedefault="directed">\n'
    )
    seen: set[int] = set()
    for one in triples:
        for entity in (one.head, one.tail):
            if entity.id not in seen:
                seen.add(entity.id)
                yield f'<node id="n{entity.id}"><data key="name">{_xml(entity.name)}</data><data key="type">{_xml(entity.type)}</data></node>\n'
        ends = f"source={quoteattr(f'n{one.head.id}')} target={quoteattr(f'n{one.tail.id}')}"
        yield f'<edge id="e{one.id}" {ends}><data key="relation">{_xml(one.relation)}</data></edge>\n'
    yield "</graph>\n</graphml>\n"


def _xml(text: str) -> str:
    return escape("".join(c if c >= " " or c in "\t\n\r" else " " for c in text))


def _write_cypher(triples: Iterable[Triple]) -> Iterator[str]:
    """Rows for Neo4j's `LOAD CSV WITH HEADERS … MERGE (h:Entity {name: row.head}) …`: quotes doubled, backslashes too."""
    yield "head,head_type,relation,tail,tail_type\n"
    for one in triples:
        cells = (one.head.name, one.head.type, one.relation, one.tail.name, one.tail.type)
        yield ",".join('"' + cell.replace("\\", "\\\\").replace('"', '""') + '"' for cell in cells) + "\n"
