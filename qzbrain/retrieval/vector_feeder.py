"""Brings vectors from SQL into the derived store, takes out of it what SQL no longer has, and tells it of changed levels. Knows no backend, only the
VectorIndex protocol.

Nothing of numpy is imported, and no store opened, for a knowledge base that has no space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import RLock

from sqlalchemy import bindparam, select

from qzbrain.retrieval.base import Parts
from qzbrain.retrieval.space_rows import SpaceRows
from qzbrain.retrieval.spaces import Space
from qzbrain.retrieval.vectors import StoredVectors, VectorIndex
from qzbrain.storage.database import Database
from qzbrain.storage.tables import vector_spaces

_SPACES = select(vector_spaces.c.id, vector_spaces.c.width, vector_spaces.c.embedded_upto).where(vector_spaces.c.kb_id == bindparam("kb"))
_DOCUMENTS = 200
_WORTH_LOOKING = 10_000
"""The number of the last chunk from which on a space may be large enough to be worth a look: a small brain's worker need not load numpy for it."""


class VectorFeeder:
    """One per process that writes the store; its threads take turns. Raises what the store raises; nothing is lost then, SQL has it all."""

    def __init__(self, database: Database, store: Callable[[], VectorIndex]) -> None:
        self._store = store
        self._rows = SpaceRows(database)
        self._spaces = database.prepared(_SPACES)
        self._turn = RLock()

    def bring(self, space: Space) -> None:
        """Append what the store lacks of a space, or build it anew where there is no usable one. Vectors are of `space.width`."""
        with self._turn:
            self._bring(space)

    def _bring(self, space: Space) -> None:
        store = self._store()
        upto = store.upto(space.id)
        if upto < 0:
            store.rebuild(space.id, space.width, self._rows.stored(space, -1), upto=space.embedded_upto)
            return
        if upto >= space.embedded_upto:
            return
        for page in self._rows.stored(space, upto):
            store.append(space.id, page, upto=page.chunk_ids[-1])
            self._settle(space.id, space.width, sorted(set(page.document_ids)))  # what was deleted, or got another level, between the look and the append
        if store.upto(space.id) < space.embedded_upto:
            store.append(space.id, _nothing(space.width), upto=space.embedded_upto)

    def rebuild(self, kb_id: str) -> None:
        """Build the store of every space of a knowledge base anew from SQL, beside the one in use."""
        with self._turn:
            for _, space in self._rows.spaces(kb_id, "building", "active", "retired"):
                self._store().rebuild(space.id, space.width, self._rows.stored(space, -1), upto=space.embedded_upto)

    def forget(self, kb_id: str, document_ids: Sequence[str]) -> None:
        """These documents have changed or are gone: the store keeps of them what SQL has, with the level that they have there."""
        with self._turn:
            for space_id, width, _ in self._spaces(kb=kb_id):
                self._settle(space_id, width, document_ids)

    def _settle(self, space_id: str, width: int, document_ids: Sequence[str]) -> None:
        for start in range(0, len(document_ids), _DOCUMENTS):
            some = document_ids[start : start + _DOCUMENTS]
            self._store().forget(space_id, some, keep=self._rows.chunk_ids(space_id, some))
            self._store().set_levels(space_id, self._rows.levels(some), lambda ids: self._rows.stored_of(space_id, width, ids))

    def parts(self, kb_id: str) -> dict[str, Parts]:
        """See `VectorIndex.parts`, of each space of a knowledge base where there is something to gain."""
        large = [space_id for space_id, _, upto in self._spaces(kb=kb_id) if upto >= _WORTH_LOOKING]
        found = {space_id: self._store().parts(space_id) for space_id in large}
        return {space_id: some for space_id, some in found.items() if some is not None}

    def gather(self, space_id: str, goes_on: Callable[[], bool]) -> bool:
        """See `VectorIndex.gather`. Without the turn: others write meanwhile."""
        return self._store().gather(space_id, goes_on)

    def drop(self, kb_id: str) -> None:
        """The knowledge base is gone."""
        for space_id, _, _ in self._spaces(kb=kb_id):
            self.drop_space(space_id)

    def drop_space(self, space_id: str) -> None:
        """Take a space out of the store, then its rows: killed in between it comes again."""
        with self._turn:
            self._store().drop(space_id)
        self._rows.remove(space_id)


def _nothing(width: int) -> StoredVectors:
    import numpy as np

    return StoredVectors([], [], np.zeros((0, width), np.float16))
