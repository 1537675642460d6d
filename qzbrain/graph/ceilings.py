"""A graph as it is for somebody who is not cleared for all of its documents: as if those above his clearance were not there.

A triple is there when something that he may read says it: a document that is not above the ceiling, or an import, which has the level of its knowledge
base. An entity is there when a triple names it, or an alias that such a document gave it; so are relations, and the places that are shown. Other
names that a person gave (by an import or a merge) are seen by whoever sees the entity.

Such a graph is read from SQL; it is never asked of a copy or of a service elsewhere.
One thing stays: a fact whose document calls an entity by another name belongs to that entity, also where only a document above the ceiling said that
both are one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, func, or_, select

from qzbrain.graph.base import Entity
from qzbrain.graph.linking import name_key
from qzbrain.storage.tables import documents, graph_mentions

if TYPE_CHECKING:
    from qzbrain.graph.view import GraphView


def readable(document_id: Any, ceiling: int) -> ColumnElement[bool]:
    """Of a column that names a document, or '' for none: whether what it names is not above the ceiling."""
    return or_(document_id == "", document_id.in_(select(documents.c.id).where(documents.c.level <= ceiling)))


def said_by(ceiling: int, kb_id: str) -> Select[Any]:
    """Each triple of a graph with the lowest level of what says it, where that is above the ceiling."""
    lowest = func.min(func.coalesce(documents.c.level, 0))
    said = graph_mentions.outerjoin(documents, documents.c.id == graph_mentions.c.document_id)
    return (
        select(graph_mentions.c.triple_id)
        .select_from(said)
        .where(graph_mentions.c.kb_id == kb_id)
        .group_by(graph_mentions.c.triple_id)
        .having(lowest > ceiling)
    )


def found(view: GraphView, text: str, *, limit: int) -> list[Entity]:
    """As `GraphStore.search`, in a view; whole names first, then beginnings, then parts, each by degree and id."""
    key = name_key(text)
    if not key:
        return []
    best: dict[int, int] = {}
    names = [*((name_key(name), number) for number, name in enumerate(view.names)), *((name_key(alias), number) for alias, number in view.aliases)]
    for name, number in names:
        if key in name:
            one = view.same.get(number, number)
            best[one] = min(best.get(one, 2), 0 if name == key else 1 if name.startswith(key) else 2)
    order = sorted(best, key=lambda one: (best[one], -view.degree(one), one))[:limit]
    return [entity(view, one) for one in order]


def entity(view: GraphView, number: int) -> Entity:
    """One entity of a view, with its other names there."""
    one = view.same.get(number, number)
    aliases = tuple(dict.fromkeys(alias for alias, named in view.aliases if named == one)) if view.aliases else ()
    return Entity(int(view.ids[one]), view.names[one], view.types[one], aliases, view.degree(one))
