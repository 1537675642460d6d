"""Triples written to files: CSV, JSON lines, GraphML and Cypher-ready CSV. What is read is `reading`'s part; both are to be had here."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal
from xml.sax.saxutils import escape, quoteattr

import orjson

from qzbrain.graph.base import Triple
from qzbrain.graph.reading import read
from qzbrain.graph.rows import MOST_ALIASES, TYPE_CHARS, BadRow

__all__ = ["MOST_ALIASES", "TYPE_CHARS", "BadRow", "Format", "read", "write"]

Format = Literal["csv", "jsonl", "graphml", "cypher-csv"]


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
        '<key id="aliases" for="node" attr.name="aliases" attr.type="string"/>\n<key id="source" for="edge" attr.name="source" attr.type="string"/>\n'
        '<key id="relation" for="edge" attr.name="relation" attr.type="string"/>\n<graph edgedefault="directed">\n'
    )
    seen: set[int] = set()
    for one in triples:
        for entity in (one.head, one.tail):
            if entity.id not in seen:
                seen.add(entity.id)
                data = {"name": entity.name, "type": entity.type, "aliases": "|".join(entity.aliases)}
                yield f'<node id="n{entity.id}">{_data(data)}</node>\n'
        ends = f"source={quoteattr(f'n{one.head.id}')} target={quoteattr(f'n{one.tail.id}')}"
        yield f'<edge id="e{one.id}" {ends}>{_data({"relation": one.relation, "source": one.places[0].source if one.places else ""})}</edge>\n'
    yield "</graph>\n</graphml>\n"


def _data(values: Mapping[str, str]) -> str:
    return "".join(f'<data key="{key}">{_xml(value)}</data>' for key, value in values.items() if value)


def _xml(text: str) -> str:
    return escape("".join(c if c >= " " or c in "\t\n\r" else " " for c in text))


def _write_cypher(triples: Iterable[Triple]) -> Iterator[str]:
    """Rows for Neo4j's `LOAD CSV WITH HEADERS … MERGE (h:Entity {name: row.head}) …`: quotes doubled, backslashes too."""
    yield "head,head_type,relation,tail,tail_type\n"
    for one in triples:
        cells = (one.head.name, one.head.type, one.relation, one.tail.name, one.tail.type)
        yield ",".join('"' + cell.replace("\\", "\\\\").replace('"', '""') + '"' for cell in cells) + "\n"
