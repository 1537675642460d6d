"""What extraction by a language model reads and keeps in SQL: documents and their chunks, replies by what was asked, which documents are done."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import orjson
from sqlalchemy import Connection, delete, exists, func, insert, or_, select

from qzbrain.domain import utc_now
from qzbrain.graph.asking import Answer
from qzbrain.graph.extraction import Said, read
from qzbrain.graph.grouping import Group, Passage
from qzbrain.storage.database import Database
from qzbrain.storage.tables import chunks, documents, graph_extracted, graph_extractions, knowledge_bases

_MANY = 500
_RATED = 200
"""Calls, the latest ones, from which a model's rate is taken."""


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it is to be read. `signature`: of its chunks, with ids and places; `upto`: the highest id."""

    id: str
    title: str
    passages: tuple[Passage, ...]
    signature: str
    upto: int


@dataclass(frozen=True, slots=True)
class Rate:
    """What a call of a model takes, measured; `calls` 0: none was made yet."""

    calls: int = 0
    took_s: float = 0.0
    completion_tokens: float = 0.0


class ExtractionRows:
    """Rows of one database."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def document_ids(self, kb_id: str, among: Collection[str] | None = None, *, changed_for: str = "") -> list[str]:
        """Documents that can be read, in the order of their ids. `changed_for`: those alone that have chunks which this extractor has not read."""
        query = select(documents.c.id).where(documents.c.kb_id == kb_id, documents.c.status == "ready", documents.c.kind == "file")
        if changed_for:
            done = (graph_extracted.c.document_id == documents.c.id) & (graph_extracted.c.extractor == changed_for)
            newer = exists().where(chunks.c.document_id == documents.c.id, chunks.c.id > graph_extracted.c.upto)
            query = query.outerjoin(graph_extracted, done).where(or_(graph_extracted.c.document_id.is_(None), newer))
        found = self._db.rows(query.order_by(documents.c.id))
        return [row.id for row in found if among is None or row.id in among]

    def count_chunks(self, document_ids: Sequence[str]) -> int:
        """Chunks of these documents that a search may find."""
        total = 0
        for start in range(0, len(document_ids), _MANY):
            some = chunks.c.document_id.in_(document_ids[start : start + _MANY])
            total += int(self._db.rows(select(func.count()).select_from(chunks).where(some, chunks.c.disabled == 0))[0][0])
        return total

    def document(self, document_id: str) -> Document | None:
        """One with its chunks; None when it is gone, or not ready."""
        with self._db.read() as connection:
            return read_document(connection, document_id)

    def is_there(self, kb_id: str, group: Group) -> bool:
        """Whether all chunks of a group, and its knowledge base, are still there."""
        ids = [one.chunk_id for one in group.passages]
        query = select(func.count()).select_from(chunks).where(chunks.c.id.in_(ids))
        known = self._db.rows(select(knowledge_bases.c.id).where(knowledge_bases.c.id == kb_id))
        return bool(known) and int(self._db.rows(query)[0][0]) == len(ids)

    # -- replies

    def said(self, keys: Sequence[str]) -> dict[str, Said]:
        """Replies that are kept, by key."""
        found: dict[str, Said] = {}
        for start in range(0, len(keys), _MANY):
            query = select(graph_extractions.c.key, graph_extractions.c.reply).where(graph_extractions.c.key.in_(keys[start : start + _MANY]))
            found.update({row.key: said for row in self._db.rows(query) if (said := read(row.reply)) is not None})
        return found

    def known(self, keys: Sequence[str]) -> set[str]:
        """Those for which a reply is kept."""
        found: set[str] = set()
        for start in range(0, len(keys), _MANY):
            query = select(graph_extractions.c.key).where(graph_extractions.c.key.in_(keys[start : start + _MANY]))
            found.update(row.key for row in self._db.rows(query))
        return found

    def keep(self, kb_id: str, group: Group, *, key: str, extractor: str, answer: Answer) -> None:
        """Keep a reply; from then on it costs nothing. One of a document that is gone is not kept: it quotes it."""
        row = {
            "key": key, "kb_id": kb_id, "document_id": group.document_id, "extractor": extractor, "reply": answer.said.text(),
            "prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens,
            "took_ms": round(answer.took_s * 1e3), "created_at": utc_now(),
        }  # fmt: skip
        with self._db.write() as connection:
            if connection.execute(select(documents.c.id).where(documents.c.id == group.document_id)).first() is not None:
                connection.execute(delete(graph_extractions).where(graph_extractions.c.key == key))
                connection.execute(insert(graph_extractions), [row])

    def rate(self, extractor: str) -> Rate:
        """What this model's last calls took."""
        columns = graph_extractions.c.took_ms, graph_extractions.c.completion_tokens
        rows = self._db.rows(select(*columns).where(graph_extractions.c.extractor == extractor).order_by(graph_extractions.c.created_at.desc()).limit(_RATED))
        if not rows:
            return Rate()
        return Rate(len(rows), sum(x.took_ms for x in rows) / len(rows) / 1e3, sum(x.completion_tokens for x in rows) / len(rows))

    # -- documents that are done

    def signature(self, document_id: str, extractor: str) -> str:
        """Of the chunks from which the facts in the graph come; '' when this extractor has not read the document to its end."""
        mine = graph_extracted.c.document_id == document_id, graph_extracted.c.extractor == extractor
        rows = self._db.rows(select(graph_extracted.c.signature).where(*mine))
        return str(rows[0].signature) if rows else ""

    def done(self, kb_id: str, document: Document, extractor: str, keys: Sequence[str]) -> None:
        """All of a document is in the graph. Replies about what it no longer says are forgotten."""
        mine = graph_extracted.c.document_id == document.id, graph_extracted.c.extractor == extractor
        with self._db.write() as connection:
            if connection.execute(select(documents.c.id).where(documents.c.id == document.id)).first() is None:
                return
            connection.execute(delete(graph_extracted).where(*mine))
            row = {"document_id": document.id, "extractor": extractor, "kb_id": kb_id, "signature": document.signature, "upto": document.upto}
            connection.execute(insert(graph_extracted), [row])
            said = select(graph_extractions.c.key).where(graph_extractions.c.document_id == document.id, graph_extractions.c.extractor == extractor)
            old = sorted(set(connection.execute(said).scalars()) - set(keys))
            for start in range(0, len(old), _MANY):
                connection.execute(delete(graph_extractions).where(graph_extractions.c.key.in_(old[start : start + _MANY])))

    def undone(self, document_id: str, extractor: str) -> None:
        """What the graph holds of a document is about to change."""
        mine = graph_extracted.c.document_id == document_id, graph_extracted.c.extractor == extractor
        with self._db.write() as connection:
            connection.execute(delete(graph_extracted).where(*mine))


def read_document(connection: Connection, document_id: str) -> Document | None:
    """A document with its chunks; None when it is gone, or not ready."""
    row = connection.execute(select(documents.c.title, documents.c.name).where(documents.c.id == document_id, documents.c.status == "ready")).first()
    if row is None:
        return None
    query = select(chunks.c.id, chunks.c.start, chunks.c.text, chunks.c.heading_path)
    found = connection.execute(query.where(chunks.c.document_id == document_id, chunks.c.disabled == 0).order_by(chunks.c.ordinal)).all()
    ends = [(0, 0), *((x.id, x.start + len(x.text)) for x in found)]
    passages = tuple(Passage(x.id, x.start, x.text, " › ".join(orjson.loads(x.heading_path)), ends[n]) for n, x in enumerate(found))
    digest = hashlib.sha256()
    for one in passages:
        digest.update(f"{one.chunk_id}\0{one.start}\0{one.heading}\0{one.text}\0".encode("utf-8", "replace"))
    upto = max((one.chunk_id for one in passages), default=0)
    return Document(document_id, row.title or row.name, passages, digest.hexdigest(), upto)


def passages_by_group(document: Document) -> Iterator[Group]:
    """The document's groups."""
    from qzbrain.graph.grouping import groups

    yield from groups(document.id, document.title, document.passages)
