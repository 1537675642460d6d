"""Rows of a pack's graph as the tables take them. Numbers of the pack become ids by counting on from numbers that are reserved for this import: so their order
stays, whoever goes on after a killed worker makes the same ids, and nothing is held in memory but the ids of the chunks.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Table, select, update

from qzbrain.graph.extraction_rows import read_document
from qzbrain.graph.filling import mark_of
from qzbrain.graph.linking import key_of
from qzbrain.knowledge.packs.paging import PAGE, paged
from qzbrain.storage.tables import (
    chunks,
    documents,
    graph_aliases,
    graph_entities,
    graph_extracted,
    graph_mentions,
    graph_merges,
    graph_relations,
    graph_suggestions,
    graph_triples,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Row = dict[str, Any]
GRAPH_TABLES: dict[str, Table] = {
    "graph_relations": graph_relations,
    "graph_entities": graph_entities,
    "graph_aliases": graph_aliases,
    "graph_triples": graph_triples,
    "graph_mentions": graph_mentions,
    "graph_merges": graph_merges,
    "graph_suggestions": graph_suggestions,
    "graph_extracted": graph_extracted,
}
"""Tables that rows are added to; those of `graph_stated` change documents."""


class GraphTaking:
    """Makes rows for one knowledge base. Ids of documents, merges and suggestions are those here already."""

    def __init__(self, kb_id: str, before: Mapping[str, int]) -> None:
        """`before`: what stands before the first number of each kind (`graph.numbers`)."""
        self._kb_id, self._before = kb_id, before
        self._chunk_ids: NDArray[np.int64] | None = None
        self._makers: dict[str, Callable[[Connection, Row], Row]] = {
            "graph_relations": self._relation,
            "graph_entities": lambda _, row: self._entity(row),
            "graph_aliases": lambda _, row: self._alias(row),
            "graph_triples": lambda _, row: self._triple(row),
            "graph_mentions": self._mention,
            "graph_merges": self._merge,
            "graph_suggestions": self._suggestion,
            "graph_extracted": self._extracted,
        }

    def rows(self, connection: Connection, section: str, given: Sequence[Row]) -> list[Row]:
        """Rows for the table of a section."""
        make = self._makers[section]
        return [make(connection, row) for row in given]

    def note_rules(self, connection: Connection, given: Sequence[Row]) -> None:
        """Documents whose own facts the pack brings are not gone through again, but for those that newer rules would read otherwise."""
        by_rules: dict[int, list[str]] = {}
        for row in given:
            by_rules.setdefault(row["rules"], []).append(row["document_id"])
        for rules, ids in by_rules.items():
            connection.execute(update(documents).where(documents.c.id.in_(ids), documents.c.kb_id == self._kb_id).values(graph_rules=rules))

    def _id(self, kind: str, number: int) -> int:
        return self._before[kind] + number

    def _chunk(self, connection: Connection, row: int | None) -> int:
        return 0 if row is None else int(self._chunks(connection)[row])

    def _chunks(self, connection: Connection) -> NDArray[np.int64]:
        import numpy as np

        if self._chunk_ids is None:
            found = array("q")
            for page in paged(connection, select(chunks.c.id).where(chunks.c.kb_id == self._kb_id), (chunks.c.id,), size=20 * PAGE):
                found.extend(row.id for row in page)
            self._chunk_ids = np.array(found, np.int64)
        return self._chunk_ids

    def _relation(self, _: Connection, row: Row) -> Row:
        return {"id": self._id("relations", row["id"]), "kb_id": self._kb_id, "name": row["name"], "name_key": _key(row, "name"), "cues": row["cues"]}

    def _entity(self, row: Row) -> Row:
        return {"id": self._id("entities", row["id"]), "kb_id": self._kb_id, "name": row["name"], "name_key": _key(row, "name"), "type": row["type"]}

    def _alias(self, row: Row) -> Row:
        entity = self._id("entities", row["entity"])
        return {"entity_id": entity, "kb_id": self._kb_id, "alias": row["alias"], "alias_key": _key(row, "alias"), "document_id": row["document_id"]}

    def _triple(self, row: Row) -> Row:
        return {
            "id": self._id("triples", row["id"]),
            "kb_id": self._kb_id,
            "head_id": self._id("entities", row["head"]),
            "relation_id": self._id("relations", row["relation"]),
            "tail_id": self._id("entities", row["tail"]),
        }

    def _mention(self, connection: Connection, row: Row) -> Row:
        chunk = self._chunk(connection, row["chunk"])
        return {
            "id": self._id("mentions", row["id"]),
            "triple_id": self._id("triples", row["triple"]),
            "kb_id": self._kb_id,
            "chunk_id": chunk,
            "mark": mark_of(row["extractor"], row["document_id"], chunk, row["start"], row["source"]),
            **{name: row[name] for name in ("document_id", "start", "end", "quote", "source", "extractor", "confidence")},
        }

    def _merge(self, connection: Connection, row: Row) -> Row:
        """What undoing it puts back, as `graph.merging` notes it."""
        content = {
            "entities": [self._entity(one) for one in row["entities"]],
            "aliases": [self._alias(one) for one in row["aliases"]],
            "triples": [self._triple(one) for one in row["triples"]],
            "mentions": [self._mention(connection, one) for one in row["mentions"]],
            "added": [[one["key"], one["document_id"]] for one in row["added"]],
        }
        same = {name: row[name] for name in ("id", "author", "created_at", "undone_at")}
        return {**same, "kb_id": self._kb_id, "keep_id": self._id("entities", row["keep"]), "content": content}

    def _suggestion(self, _: Connection, row: Row) -> Row:
        same = {name: value for name, value in row.items() if name not in ("keep", "other")}
        return {**same, "kb_id": self._kb_id, "keep_id": self._id("entities", row["keep"]), "other_id": self._id("entities", row["other"])}

    def _extracted(self, connection: Connection, row: Row) -> Row:
        """What was read is told by the ids of its chunks, which are others here."""
        document = read_document(connection, row["document_id"]) if row["signature"] is None else None
        signature = document.signature if document is not None else row["signature"] or ""
        upto = self._chunk(connection, row["upto"] - 1) if row["upto"] else 0
        return {"document_id": row["document_id"], "extractor": row["extractor"], "kb_id": self._kb_id, "signature": signature, "upto": upto}


def _key(row: Row, name: str) -> str:
    return str(row["key"] or key_of(row[name]))
