"""Levels of what a pack holds: who writes, fetches or sends one must be cleared for the highest of them."""

from __future__ import annotations

from sqlalchemy import Connection, func, select

from qzbrain.domain import LEVELS
from qzbrain.storage.tables import documents, entries, entry_versions, knowledge_bases


def highest_level(connection: Connection, kb_id: str) -> int:
    """Place in LEVELS of the highest thing in a knowledge base: itself, its documents, its entries and their versions."""
    own = connection.execute(select(knowledge_bases.c.level).where(knowledge_bases.c.id == kb_id)).scalar()
    of_documents = connection.execute(select(func.max(documents.c.level)).where(documents.c.kb_id == kb_id)).scalar()
    of_entries = connection.execute(select(entries.c.level).where(entries.c.kb_id == kb_id).distinct()).scalars()
    version = entry_versions.c.content["level"].as_string()
    mine = select(version).join(entries, entries.c.id == entry_versions.c.entry_id).where(entries.c.kb_id == kb_id)
    names = {*of_entries, *connection.execute(mine.distinct()).scalars()}
    return max(own or 0, of_documents or 0, *(place for place, name in enumerate(LEVELS) if name in names), 0)
