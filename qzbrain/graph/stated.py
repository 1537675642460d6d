"""The facts that documents state about themselves, in the graph with them: put and forgotten in the transaction that changes the document."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import orjson
from sqlalchemy import Connection, select, update

from qzbrain.graph.embedded import SqlGraph
from qzbrain.graph.filling import fetched
from qzbrain.graph.forgetting import forget_documents
from qzbrain.graph.links import forget_links
from qzbrain.graph.statements import RULES, StatedChunk, statements
from qzbrain.storage.tables import chunks, document_texts, documents

_AT_ONCE = 200
EXTRACTORS = ("structure", "reference", "definition")
"""What `statements` calls the places of its facts: what a model, or an import, found in a document is not its to forget."""


def state(connection: Connection, graph: SqlGraph, kb_id: str, document_ids: Sequence[str]) -> int:
    """Put what these documents say about themselves into the graph, in the place of what they said. Returns how many facts there are."""
    facts = []
    for start in range(0, len(document_ids), _AT_ONCE):
        some = document_ids[start : start + _AT_ONCE]
        placed = _chunks(connection, some)
        query = select(documents.c.id, documents.c.title, document_texts.c.text).join(document_texts, document_texts.c.document_id == documents.c.id)
        for row in connection.execute(query.where(documents.c.id.in_(some)).order_by(documents.c.id)):
            facts += statements(row.id, row.title, row.text, placed.get(row.id, ()))
        forget_documents(connection, some, extractors=EXTRACTORS)
        connection.execute(update(documents).where(documents.c.id.in_(some)).values(graph_rules=RULES))
    if facts:
        graph.add_within(connection, kb_id, facts)
    return len(facts)


def forget(connection: Connection, document_ids: Collection[str]) -> None:
    """Forget what only these documents say, and what their chunks name. To be called before their chunks go."""
    forget_links(connection, document_ids)
    forget_documents(connection, document_ids)


def _chunks(connection: Connection, document_ids: Sequence[str]) -> dict[str, list[StatedChunk]]:
    columns = (chunks.c.document_id, chunks.c.id, chunks.c.start, chunks.c.end, chunks.c.heading_path, chunks.c.reference, chunks.c.disabled)
    found: dict[str, list[StatedChunk]] = {}
    paths: dict[str, tuple[str, ...]] = {}
    query = select(*columns).where(chunks.c.document_id.in_(document_ids)).order_by(chunks.c.document_id, chunks.c.ordinal)
    for document_id, chunk_id, start, end, path, reference, disabled in fetched(connection, query):
        if path not in paths:
            paths[path] = tuple(orjson.loads(path))
        found.setdefault(document_id, []).append(StatedChunk(chunk_id, start, end, paths[path], reference, bool(disabled)))
    return found
