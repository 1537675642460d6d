"""The two shelves of a knowledge base: its texts, and the facts of its graph told as texts, each with an index of its own (decision 21).

An index, and the outbox that feeds it, know a shelf by its key. That of the texts is the knowledge base's id; that of the facts (the manual's
`kg_insert`) is made here. Chunks carry the key of their shelf, documents the id of their knowledge base.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, select

from qzbrain.storage.tables import documents

FACTS = "facts"
"""The kind of documents that hold facts."""
_ENDING = f".{FACTS}"


def facts_shelf(kb_id: str) -> str:
    """The key of a knowledge base's facts."""
    return f"{kb_id}{_ENDING}"


def shelves(kb_id: str) -> tuple[str, str]:
    """The keys of all its shelves."""
    return kb_id, facts_shelf(kb_id)


def holds_facts(key: str) -> bool:
    """Whether this is the key of a shelf of facts."""
    return key.endswith(_ENDING)


def documents_on(key: str) -> Select[Any]:
    """The ids of the documents on a shelf, in order."""
    query = select(documents.c.id).where(documents.c.kb_id == key.removesuffix(_ENDING))
    return query.where(documents.c.kind == FACTS if holds_facts(key) else documents.c.kind != FACTS).order_by(documents.c.id)
