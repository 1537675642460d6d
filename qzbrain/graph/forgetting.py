"""Forgetting what documents say: in a graph is only what is said somewhere, so what nothing else says goes with them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, or_, select

from qzbrain.graph.changes import Touched
from qzbrain.graph.filling import changed, parts
from qzbrain.storage.tables import graph_aliases, graph_entities, graph_mentions, graph_relations, graph_triples


def forget_documents(connection: Connection, document_ids: Collection[str], *, extractors: Collection[str] = ()) -> None:
    """Forget what only these documents say, as a part of the caller's transaction. `extractors`: only what these found in them."""
    for part in parts(sorted(document_ids)):
        said = graph_mentions.c.document_id.in_(part)
        _forget(connection, and_(said, graph_mentions.c.extractor.in_(extractors)) if extractors else said, part, some=bool(extractors))


def forget_chunks(connection: Connection, document_id: str, chunk_ids: Sequence[int]) -> None:
    """Forget what only these chunks of a document say: what is quoted from a text that is no longer there."""
    for part in parts(sorted(chunk_ids)):
        _forget(connection, and_(graph_mentions.c.document_id == document_id, graph_mentions.c.chunk_id.in_(part)), [document_id], some=True)


def _forget(connection: Connection, mentioned: ColumnElement[bool], document_ids: Sequence[str], *, some: bool) -> None:
    """`some`: not all that the documents say, so that they go on naming whom they say other things of."""
    named = graph_aliases.c.document_id.in_(document_ids)
    said = connection.execute(select(graph_mentions.c.triple_id, graph_mentions.c.kb_id).where(mentioned).distinct()).all()
    aliased = connection.execute(select(graph_aliases.c.entity_id, graph_aliases.c.kb_id).where(named).distinct()).all()
    if not said and (some or not aliased):
        return
    connection.execute(delete(graph_mentions).where(mentioned))
    entities, relations = {row.entity_id for row in aliased}, set[int]()
    if some:
        entities -= _ends_in(connection, document_ids)
    for part in parts(sorted(entities)):
        connection.execute(delete(graph_aliases).where(named, graph_aliases.c.entity_id.in_(part)))
    for part in parts(sorted({row.triple_id for row in said})):
        unsaid = graph_triples.c.id.in_(part) & ~exists().where(graph_mentions.c.triple_id == graph_triples.c.id)
        gone = connection.execute(select(graph_triples).where(unsaid)).all()
        entities.update(end for row in gone for end in (row.head_id, row.tail_id))
        relations.update(row.relation_id for row in gone)
        connection.execute(delete(graph_triples).where(graph_triples.c.id.in_([row.id for row in gone])))
    sweep(connection, entities, relations)
    for kb_id in sorted({row.kb_id for row in (*said, *aliased)}):
        changed(connection, kb_id, Touched(entities, {row.triple_id for row in said}, relations))


def sweep(connection: Connection, entities: Collection[int], relations: Collection[int]) -> None:
    """Remove those that nothing names any more, but for relations that have words of their own."""
    for part in parts(sorted(entities)):
        used = or_(
            exists().where(graph_triples.c.head_id == graph_entities.c.id),
            exists().where(graph_triples.c.tail_id == graph_entities.c.id),
            exists().where(graph_aliases.c.entity_id == graph_entities.c.id),
        )
        connection.execute(delete(graph_entities).where(graph_entities.c.id.in_(part), ~used))
    for part in parts(sorted(relations)):
        used = exists().where(graph_triples.c.relation_id == graph_relations.c.id)
        unused = connection.execute(select(graph_relations.c.id, graph_relations.c.cues).where(graph_relations.c.id.in_(part), ~used)).all()
        gone = [row.id for row in unused if not row.cues]  # words that somebody has set for one are not lost while its documents are read anew
        connection.execute(delete(graph_relations).where(graph_relations.c.id.in_(gone)))


def _ends_in(connection: Connection, document_ids: Collection[str]) -> set[int]:
    """Entities that these documents say something of."""
    said = select(graph_mentions.c.triple_id).where(graph_mentions.c.document_id.in_(document_ids))
    rows = connection.execute(select(graph_triples.c.head_id, graph_triples.c.tail_id).where(graph_triples.c.id.in_(said)))
    return {end for row in rows for end in (row.head_id, row.tail_id)}
