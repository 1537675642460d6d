"""What a search needs to know of curated entries among its hits: which are in force, and how surely each answers the question. Reads SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, select

from qzbrain.domain import utc_now
from qzbrain.retrieval.entry_matching import best_match, match
from qzbrain.storage.database import Database
from qzbrain.storage.tables import entries, entry_versions

FIELDS = ("question", "answer", "variants", "negatives", "source", "valid_from", "valid_until", "level")
"""What a version of an entry holds."""
DENIED = 0.6
"""So surely a negative question must be asked before the entry stands back in a search."""


@dataclass(frozen=True, slots=True)
class EntryInForce:
    """The approved version of an entry, found as `document_id`."""

    id: str
    document_id: str
    version: int
    question: str
    answer: str
    variants: tuple[str, ...]
    negatives: tuple[str, ...]
    source: str

    def match(self, question: str) -> float:
        """How surely it answers, 0..1."""
        return best_match(question, self._asked, self.negatives)

    def denies(self, question: str) -> bool:
        """Whether a question that it is said not to answer is asked, and none that it answers as surely."""
        most = max((match(question, one) for one in self.negatives), default=0.0)
        return most >= DENIED and most >= max((match(question, one) for one in self._asked), default=0.0)

    @property
    def _asked(self) -> list[str]:
        return [*([self.question] if self.question else []), *self.variants]


class EntryHits:
    """Looks entries up by the documents that searches find."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def in_force(self, document_ids: Sequence[str]) -> Mapping[str, EntryInForce]:
        """By document; an entry that is not valid now is left out."""
        if not document_ids:
            return {}
        there = and_(entry_versions.c.entry_id == entries.c.id, entry_versions.c.version == entries.c.approved_version)
        query = select(entries.c.id, entries.c.document_id, entry_versions.c.version, entry_versions.c.content).join(entry_versions, there)
        now = utc_now()
        rows = self._db.rows(query.where(entries.c.document_id.in_(document_ids)))
        return {row.document_id: _in_force(row) for row in rows if is_valid(row.content, now)}


def is_valid(content: Mapping[str, Any], now: str) -> bool:
    """Whether a version's dates allow it at that time (both as `utc_now` writes it)."""
    begins, ends = content.get("valid_from"), content.get("valid_until")
    return (not begins or begins <= now) and (not ends or now < ends)


def _in_force(row: Any) -> EntryInForce:
    content = row.content
    return EntryInForce(
        row.id,
        row.document_id,
        row.version,
        content["question"],
        content["answer"],
        tuple(content["variants"]),
        tuple(content["negatives"]),
        content["source"],
    )
