"""Reads a whole pack as a stranger's input before any of it is taken in: checksums, types, lengths, offsets, what names what."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from qzbrain.knowledge.packs.fields import read_row
from qzbrain.knowledge.packs.format import FILES, MANIFEST, RETIRED, ROWS, SECTIONS, VECTOR_ROWS, VECTORS, VectorsPart
from qzbrain.knowledge.packs.graph_checking import GraphCheck, limits
from qzbrain.knowledge.packs.graph_format import GRAPH_ROWS, MOST_PARTS
from qzbrain.knowledge.packs.reading import Pack, bad_pack, bad_row
from qzbrain.retrieval.spaces import Manifest

_SHOWN_EVERY = 500

Progress = Callable[[str, int, int, str], None]


@dataclass(slots=True)
class Facts:
    """What a check found: by document its number, the length of its text, its chunks, its original's address ('' for none); the entries' ids.

    `chunk_documents`: of each chunk the number of its document. `spans`: the highest number of each kind of the graph's.
    """

    chars: dict[str, int] = field(default_factory=dict)
    chunks: dict[str, int] = field(default_factory=dict)
    originals: dict[str, str] = field(default_factory=dict)
    ready: set[str] = field(default_factory=set)
    entries: set[str] = field(default_factory=set)
    numbers: dict[str, int] = field(default_factory=dict)
    chunk_documents: array[int] = field(default_factory=lambda: array("I"))
    spans: dict[str, int] = field(default_factory=dict)


def rows(pack: Pack, section: str) -> Iterator[dict[str, Any]]:
    """The rows of a section, each with every field as it must be; fields of a newer minor version are left out. Raises InvalidRequest."""
    fields = ROWS[section]
    of_graph = section in GRAPH_ROWS
    for number, line in enumerate(pack.lines(section), 1):
        if of_graph and sum(map(line.count, (b"{", b"[", b","))) > MOST_PARTS:
            raise bad_row(section, number, "JSON")
        try:
            value: Any = orjson.loads(line)
        except orjson.JSONDecodeError as exc:
            raise bad_row(section, number, "JSON") from exc
        row, fault = read_row(value, fields)
        if fault:
            raise bad_row(section, number, fault)
        yield row


def check(pack: Pack, progress: Progress) -> Facts:
    """Read all of it. Raises InvalidRequest (`bad_pack`) at the first thing that is not as it must be."""
    facts = Facts()
    graph = GraphCheck(facts.numbers, facts.chunk_documents, limits({name: info.file_size for name, info in pack.members.items()}))
    done = 0

    def seen(size: int) -> None:
        nonlocal done
        done += size
        progress("verify", min(done, pack.size_bytes), pack.size_bytes, "bytes")

    for section in SECTIONS:
        if f"{section}.jsonl" not in pack.members and pack.manifest.counts[section]:
            raise bad_pack(f"缺少 {section}", f"it has no {section}")
        number, one = 0, _CHECKS.get(section) or _graph_check(graph, section)
        for number, row in enumerate(rows(pack, section), 1):
            one(facts, row, number)
            if number % _SHOWN_EVERY == 0:
                seen(0)
        if number != pack.manifest.counts[section]:
            raise bad_pack(f"{section} 的行数与清单不符", f"the rows of {section} are not as many as its manifest says")
        seen(pack.members[f"{section}.jsonl"].file_size if f"{section}.jsonl" in pack.members else 0)
    facts.spans = graph.finish()
    if facts.ready - facts.chars.keys():
        raise bad_pack("有文档缺少文本", "a document has no text")
    if pack.manifest.vectors is not None:
        _check_vectors(pack, pack.manifest.vectors)
    _check_files(pack, facts, seen)
    for name in pack.members:
        if name in (MANIFEST, *(f"{one}.jsonl" for one in RETIRED), *pack.skipped):
            for size in pack.verify(name):
                seen(size)
        elif name in (VECTORS, VECTOR_ROWS) and pack.manifest.vectors is None:
            raise bad_pack("含有清单没有提到的向量", "it has vectors of which its manifest says nothing")
    return facts


def _document(facts: Facts, row: dict[str, Any], number: int) -> None:
    if row["id"] in facts.chunks:
        raise bad_row("documents", number, "id")
    identity = "ext:" + row["external_id"] if row["external_id"] else None
    if identity is not None and row["identity"] != identity and not row["identity"].startswith(f"{identity}#"):
        raise bad_row("documents", number, "identity")
    facts.chunks[row["id"]] = 0
    facts.numbers[row["id"]] = len(facts.numbers)
    facts.originals[row["id"]] = row["sha256"] if row["stored"] else ""
    if row["status"] == "ready":
        facts.ready.add(row["id"])


def _text(facts: Facts, row: dict[str, Any], number: int) -> None:
    if row["document_id"] not in facts.chunks or row["document_id"] in facts.chars:
        raise bad_row("texts", number, "document_id")
    facts.chars[row["document_id"]] = len(row["text"])


def _chunk(facts: Facts, row: dict[str, Any], number: int) -> None:
    if row["document_id"] not in facts.ready or row["document_id"] not in facts.chars:
        raise bad_row("chunks", number, "document_id")
    if not row["start"] <= row["end"] <= facts.chars[row["document_id"]]:
        raise bad_row("chunks", number, "end")
    facts.chunks[row["document_id"]] += 1
    facts.chunk_documents.append(facts.numbers[row["document_id"]])


def _edit(facts: Facts, row: dict[str, Any], number: int) -> None:
    if row["document_id"] not in facts.chunks:
        raise bad_row("edits", number, "document_id")
    if row["start"] > row["end"]:
        raise bad_row("edits", number, "end")


def _entry(facts: Facts, row: dict[str, Any], number: int) -> None:
    if row["id"] in facts.entries:
        raise bad_row("entries", number, "id")
    if row["document_id"] and row["document_id"] not in facts.chunks:
        raise bad_row("entries", number, "document_id")
    facts.entries.add(row["id"])


def _version(facts: Facts, row: dict[str, Any], number: int) -> None:
    if row["entry_id"] not in facts.entries:
        raise bad_row("entry_versions", number, "entry_id")


def _question(facts: Facts, row: dict[str, Any], number: int) -> None:
    if row["entry_id"] not in facts.entries:
        raise bad_row("regression_questions", number, "entry_id")


def _graph_check(graph: GraphCheck, section: str) -> Callable[[Facts, dict[str, Any], int], None]:
    return lambda _, row, number: graph.row(section, row, number)


_CHECKS: Mapping[str, Callable[[Facts, dict[str, Any], int], None]] = {
    "documents": _document,
    "texts": _text,
    "chunks": _chunk,
    "edits": _edit,
    "entries": _entry,
    "entry_versions": _version,
    "regression_questions": _question,
}


def _check_vectors(pack: Pack, part: VectorsPart) -> None:
    import numpy as np

    if not _is_space(part.manifest):
        raise bad_pack("向量的说明无效", "what it says of its vectors cannot be")
    for name, size in ((VECTORS, part.rows * part.width * 2), (VECTOR_ROWS, part.rows * 4)):
        if name not in pack.members or pack.members[name].file_size != size:
            raise bad_pack(f"{name} 的大小与清单不符", f"{name} is not of the size that its manifest says")
        for _ in pack.verify(name):
            pass
    last = -1
    for found in vector_pages(pack, part, 4096):
        norms = np.linalg.norm(found.vectors.astype(np.float32), axis=1)
        if found.rows[0] <= last or (np.diff(found.rows) <= 0).any() or found.rows[-1] >= part.upto or not (np.abs(norms - 1) < 0.02).all():
            raise bad_pack("向量无效", "its vectors cannot be")
        last = int(found.rows[-1])


def _is_space(value: dict[str, Any]) -> bool:
    """Whether the description of a vector space has the types and ranges that searches count on."""
    if not all(type(x) in (str, int, float, bool) for x in value.values()):
        return False
    given = Manifest.of(value)
    texts = (given.pooling, given.query_prefix, given.passage_prefix, given.fingerprint)
    numbers = (given.weight, given.reference_weight, given.cosine_floor, given.cosine_span)
    if not all(isinstance(x, str) for x in texts) or not isinstance(given.titles, bool) or type(given.tokens) is not int or given.tokens < 1:
        return False
    if not all(type(x) in (int, float) and math.isfinite(x) for x in numbers):
        return False
    return 0 <= given.weight <= 1 and 0 <= given.reference_weight <= 1 and -1 <= given.cosine_floor <= 1 and 0 < given.cosine_span <= 2


@dataclass(frozen=True, slots=True)
class VectorPage:
    """Some vectors and the rows of their chunks."""

    rows: Any
    vectors: Any


def vector_pages(pack: Pack, part: VectorsPart, size: int) -> Iterator[VectorPage]:
    """The vectors of a pack whose sizes are checked, in order."""
    import numpy as np

    with pack.member(VECTOR_ROWS) as numbers, pack.member(VECTORS) as halves:
        for start in range(0, part.rows, size):
            count = min(size, part.rows - start)
            yield VectorPage(
                np.frombuffer(numbers.read(count * 4), "<u4").astype(np.int64),
                np.frombuffer(halves.read(count * part.width * 2), "<f2").reshape(count, part.width),
            )


def _check_files(pack: Pack, facts: Facts, seen: Callable[[int], None]) -> None:
    """The bytes of an original are those that its name says, and some document has it."""
    wanted = set(facts.originals.values())
    for name in [x for x in pack.members if x.startswith(FILES)]:
        sha256 = name.removeprefix(FILES)
        if sha256 not in wanted or pack.sums[name] != sha256:
            raise bad_pack("含有不属于任何文档或内容不符的原件", "an original belongs to no document, or is not what its name says")
        for size in pack.verify(name):
            seen(size)
