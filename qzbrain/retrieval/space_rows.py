"""Vector spaces as they are written: begun, filled batch by batch, made the one in use, refused, given up.

A batch of vectors and the mark up to which chunks have theirs are one transaction, so what is committed is never made again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Row, delete, func, insert, select, update

from qzbrain.domain import LEVELS, new_id, utc_now
from qzbrain.errors import BrainError
from qzbrain.retrieval.spaces import Manifest, Space
from qzbrain.retrieval.vectors import StoredVectors
from qzbrain.storage.database import Database
from qzbrain.storage.tables import chunks, documents, vector_spaces, vectors

if TYPE_CHECKING:
    from qzbrain.retrieval.vectors import Vector

_PAGE = 2000
_PIECE = 200
_STORED = (
    select(vectors.c.chunk_id, vectors.c.document_id, vectors.c.vector, func.coalesce(documents.c.level, len(LEVELS) - 1).label("level"))
    .outerjoin(documents, documents.c.id == vectors.c.document_id)
    .order_by(vectors.c.chunk_id)
    .limit(_PAGE)
)
_NO_REASON = {"reason_code": None, "reason_zh": None, "reason_en": None}


class SpaceRows:
    """The rows of spaces and vectors. One job at a time fills the spaces of a knowledge base."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def spaces(self, kb_id: str, *statuses: str) -> list[tuple[str, Space]]:
        """Status and space of those in any of these states, oldest first."""
        query = select(vector_spaces).where(vector_spaces.c.kb_id == kb_id).order_by(vector_spaces.c.id)
        if statuses:
            query = query.where(vector_spaces.c.status.in_(statuses))
        return [(row.status, _space(row)) for row in self._db.rows(query)]

    def begin(self, kb_id: str, embedder: str, width: int, manifest: Manifest) -> Space:
        """A space that is still empty, `building`. One that was being built is given up."""
        space = Space(new_id(), kb_id, embedder, width, manifest, 0)
        row = {"id": space.id, "kb_id": kb_id, "status": "building", "embedder": embedder, "width": width, "manifest": manifest.column()}
        with self._db.write() as connection:
            connection.execute(insert(vector_spaces).values(**row, embedded_upto=0, created_at=utc_now()))
        return space

    def next_chunks(self, space: Space, limit: int) -> Sequence[Row[Any]]:
        """The next chunks without a vector: id, document_id, text, and their document's title."""
        columns = (chunks.c.id, chunks.c.document_id, chunks.c.text, documents.c.title)
        query = select(*columns).join(documents, documents.c.id == chunks.c.document_id)
        query = query.where(chunks.c.kb_id == space.kb_id, chunks.c.id > space.embedded_upto, chunks.c.disabled == 0)
        return self._db.rows(query.order_by(chunks.c.id).limit(limit))

    def missing(self, space: Space) -> int:
        """How many chunks have no vector yet."""
        query = select(func.count()).select_from(chunks).where(chunks.c.kb_id == space.kb_id, chunks.c.id > space.embedded_upto, chunks.c.disabled == 0)
        return int(self._db.rows(query)[0][0])

    def unfilled(self, kb_id: str) -> int:
        """How many chunks of a knowledge base the best filled space lacks; all of them where there is none."""
        reached = max((space.embedded_upto for _, space in self.spaces(kb_id, "building", "active")), default=0)
        query = select(func.count()).select_from(chunks).where(chunks.c.kb_id == kb_id, chunks.c.id > reached, chunks.c.disabled == 0)
        return int(self._db.rows(query)[0][0])

    def is_complete(self, connection: Connection, space: Space) -> bool:
        """Whether every chunk has its vector; inside a write it stays so until its end."""
        query = select(chunks.c.id).where(chunks.c.kb_id == space.kb_id, chunks.c.id > space.embedded_upto, chunks.c.disabled == 0).limit(1)
        return connection.execute(query).first() is None

    def add(self, space: Space, rows: Sequence[Row[Any]], made: Vector) -> Space | None:
        """Store the vectors of these chunks and go on after them; the space as it is then. Chunks deleted meanwhile are left out.

        None when the space is no longer there to be filled, or somebody else has gone on. A row of zeros is no vector and is not stored.
        """
        import numpy as np

        halves = np.ascontiguousarray(made, np.dtype("<f2"))
        upto = rows[-1].id
        with self._db.write() as connection:
            mine = (vector_spaces.c.id == space.id) & (vector_spaces.c.embedded_upto == space.embedded_upto)
            mine &= vector_spaces.c.status.in_(("building", "active"))
            if not connection.execute(update(vector_spaces).where(mine).values(embedded_upto=upto)).rowcount:
                return None
            there = set(connection.execute(select(chunks.c.id).where(chunks.c.id.in_([row.id for row in rows]), chunks.c.disabled == 0)).scalars())
            found = [
                {"space_id": space.id, "chunk_id": row.id, "document_id": row.document_id, "vector": half.tobytes()}
                for row, half in zip(rows, halves, strict=True)
                if row.id in there and half.any()
            ]
            if found:
                connection.execute(insert(vectors), found)
        return replace(space, embedded_upto=upto)

    def activate(self, connection: Connection, space: Space, manifest: Manifest) -> None:
        """Make it the space in use; the one before it is kept as `retired`, older ones are given up."""
        others = (vector_spaces.c.kb_id == space.kb_id) & (vector_spaces.c.id != space.id)
        connection.execute(update(vector_spaces).where(others, vector_spaces.c.status == "retired").values(status="failed"))
        connection.execute(update(vector_spaces).where(others, vector_spaces.c.status == "active").values(status="retired", **_NO_REASON))
        values = {"status": "active", "manifest": manifest.column(), "activated_at": utc_now(), **_NO_REASON}
        connection.execute(update(vector_spaces).where(vector_spaces.c.id == space.id).values(values))

    def set_reason(self, space: Space, error: BrainError | None) -> None:
        """Say why a space is not used, or (None) that nothing speaks against it."""
        values: Mapping[str, str | None] = _NO_REASON
        if error is not None:
            values = {"reason_code": error.code, "reason_zh": error.zh, "reason_en": error.en}
        with self._db.write() as connection:
            connection.execute(update(vector_spaces).where(vector_spaces.c.id == space.id).values(**values))

    def set_weight(self, space: Space, weight: float) -> None:
        """How much meaning counts in searches from now on, 0..1."""
        manifest = replace(space.manifest, weight=weight)
        with self._db.write() as connection:
            connection.execute(update(vector_spaces).where(vector_spaces.c.id == space.id).values(manifest=manifest.column()))

    def set_status(self, space: Space, status: str) -> None:
        """Change nothing else."""
        with self._db.write() as connection:
            connection.execute(update(vector_spaces).where(vector_spaces.c.id == space.id).values(status=status))

    def remove(self, space_id: str) -> None:
        """Delete a space with its vectors, by pieces, so that other writers need not wait long."""
        while True:
            with self._db.write() as connection:
                ids = connection.execute(select(vectors.c.chunk_id).where(vectors.c.space_id == space_id).limit(_PIECE * 10)).scalars().all()
                for start in range(0, len(ids), _PIECE):
                    some = ids[start : start + _PIECE]
                    connection.execute(delete(vectors).where(vectors.c.space_id == space_id, vectors.c.chunk_id.in_(some)))
                if not ids:
                    connection.execute(delete(vector_spaces).where(vector_spaces.c.id == space_id))
                    return

    def stored(self, space: Space, after: int) -> Iterator[StoredVectors]:
        """Vectors of chunks with higher ids than `after`, by pages, in order."""
        while True:
            rows = self._db.rows(_STORED.where(vectors.c.space_id == space.id, vectors.c.chunk_id > after, vectors.c.chunk_id <= space.embedded_upto))
            if not rows:
                return
            yield _stored(rows, space.width)
            after = rows[-1].chunk_id

    def stored_of(self, space_id: str, width: int, document_ids: Sequence[str]) -> Iterator[StoredVectors]:
        """Vectors of these documents, by pages, in order."""
        after = -1
        while rows := self._db.rows(_STORED.where(vectors.c.space_id == space_id, vectors.c.document_id.in_(document_ids), vectors.c.chunk_id > after)):
            yield _stored(rows, width)
            after = rows[-1].chunk_id

    def levels(self, document_ids: Sequence[str]) -> dict[str, int]:
        """Of those of these documents that are there."""
        return {row.id: row.level for row in self._db.rows(select(documents.c.id, documents.c.level).where(documents.c.id.in_(document_ids)))}

    def chunk_ids(self, space_id: str, document_ids: Sequence[str]) -> list[int]:
        """The chunks of these documents that have a vector."""
        query = select(vectors.c.chunk_id).where(vectors.c.space_id == space_id, vectors.c.document_id.in_(document_ids))
        return [row.chunk_id for row in self._db.rows(query)]


def _stored(rows: Sequence[Row[Any]], width: int) -> StoredVectors:
    import numpy as np

    made = np.frombuffer(b"".join(row.vector for row in rows), "<f2").reshape(len(rows), width)
    return StoredVectors([row.chunk_id for row in rows], [row.document_id for row in rows], made, [row.level for row in rows])


def _space(row: Row[Any]) -> Space:
    return Space(row.id, row.kb_id, row.embedder, row.width, Manifest.of(row.manifest), row.embedded_upto, row.reason_code is not None)
