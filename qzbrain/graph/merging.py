"""Making several entities one, and undoing it: the rows alone.

What is merged is written down whole. Undoing puts those rows back, but for what was forgotten meanwhile with its document, and leaves what came since.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, delete, exists, func, insert, or_, select, update

from qzbrain.domain import new_id, utc_now
from qzbrain.errors import Conflict, InvalidRequest, NotFound
from qzbrain.graph.changes import Touched
from qzbrain.storage.tables import graph_aliases, graph_entities, graph_mentions, graph_merges, graph_triples

MOST_MERGED = 50
MOST_MOVED = 5000
"""Triples of the merged entities, which are moved one by one while nobody else writes: some seconds. Those of the kept one stay where they are."""
MOST_SAID = 20_000
"""Places in which those are said."""
_AT_ONCE = 500


def merge(connection: Connection, kb_id: str, keep: int, merged: Sequence[int], *, author: str, key_of: Callable[[str], str]) -> tuple[str, Touched]:
    """See `GraphStore.merge`; also gives what it touched."""
    gone = sorted(set(merged) - {keep})
    if not gone or len(gone) > MOST_MERGED:
        raise InvalidRequest(
            zh=f"merge 须列出 1 至 {MOST_MERGED} 个与 keep 不同的实体。", en=f"merge names 1 to {MOST_MERGED} entities other than keep.", param="merge"
        )
    there = {row.id: row for row in connection.execute(select(graph_entities).where(graph_entities.c.kb_id == kb_id, graph_entities.c.id.in_([keep, *gone])))}
    for one in (keep, *gone):
        if one not in there:
            raise entity_not_found(one)
    touching = or_(graph_triples.c.head_id.in_(gone), graph_triples.c.tail_id.in_(gone))
    _require_few(connection, touching)
    triples = connection.execute(select(graph_triples).where(touching)).all()
    mentions = _mentions(connection, [row.id for row in triples])
    aliases = connection.execute(select(graph_aliases).where(graph_aliases.c.entity_id.in_(gone))).all()
    added = _name_again(connection, kb_id, keep, [there[one].name for one in gone], aliases, key_of)
    moved = {row.id for row in triples}
    for row in triples:
        ends = {"head_id": keep if row.head_id in gone else row.head_id, "tail_id": keep if row.tail_id in gone else row.tail_id}
        moved.add(_move(connection, row, ends, mentions.get(row.id, [])))
    connection.execute(delete(graph_aliases).where(graph_aliases.c.entity_id.in_(gone)))
    connection.execute(delete(graph_entities).where(graph_entities.c.id.in_(gone)))
    said = [one for some in mentions.values() for one in some]
    content = {
        "entities": _plain([there[one] for one in gone]), "aliases": _plain(aliases), "triples": _plain(triples), "mentions": _plain(said), "added": added,
    }  # fmt: skip
    merge_id = new_id()
    connection.execute(insert(graph_merges).values(id=merge_id, kb_id=kb_id, keep_id=keep, content=content, author=author, created_at=utc_now()))
    return merge_id, Touched({keep, *gone}, moved)


def undo(connection: Connection, kb_id: str, merge_id: str) -> Touched:
    """See `GraphStore.undo_merge`; gives what it touched."""
    row = connection.execute(select(graph_merges).where(graph_merges.c.id == merge_id, graph_merges.c.kb_id == kb_id)).first()
    if row is None:
        raise NotFound("merge_not_found", zh="没有这次合并的记录。", en="There is no such merge.")
    later = select(graph_merges.c.id).where(
        graph_merges.c.kb_id == kb_id, graph_merges.c.keep_id == row.keep_id, graph_merges.c.undone_at.is_(None), graph_merges.c.id > merge_id
    )
    if row.undone_at is not None or connection.execute(later).first() is not None:
        raise _not_last()
    content = row.content
    _require_ends(connection, kb_id, merge_id, row.keep_id, content)
    names = [(one["name_key"], one["type"]) for one in content["entities"]]
    keys = [key for key, _ in names]
    taken = select(graph_entities.c.name_key, graph_entities.c.type).where(graph_entities.c.kb_id == kb_id, graph_entities.c.name_key.in_(keys))
    if {(one.name_key, one.type) for one in connection.execute(taken)} & set(names):
        raise Conflict("name_taken", zh="被合并的名称后来又成为了新的实体，无法撤销。", en="A merged name is an entity of its own again: it cannot be undone.")
    for key, document_id in content["added"]:
        named = graph_aliases.c.entity_id == row.keep_id, graph_aliases.c.alias_key == key, graph_aliases.c.document_id == document_id
        connection.execute(delete(graph_aliases).where(*named))
    for table, rows in ((graph_entities, content["entities"]), (graph_aliases, content["aliases"]), (graph_triples, content["triples"])):
        if rows:
            connection.execute(insert(table), rows)
    moved = {*_move_back(connection, content), *(one["id"] for one in content["triples"])}
    _remove_empty(connection, moved)
    ids = [one["id"] for one in content["entities"]]
    used = or_(
        exists().where(graph_triples.c.head_id == graph_entities.c.id),
        exists().where(graph_triples.c.tail_id == graph_entities.c.id),
        exists().where(graph_aliases.c.entity_id == graph_entities.c.id),
    )
    connection.execute(delete(graph_entities).where(graph_entities.c.id.in_(ids), ~used))
    connection.execute(update(graph_merges).where(graph_merges.c.id == merge_id).values(undone_at=utc_now()))
    return Touched({row.keep_id, *ids}, moved)


def _not_last() -> Conflict:
    return Conflict(
        "merge_not_last",
        zh="这次合并已经撤销，或之后还有合并涉及同一实体；请先撤销后来的合并。",
        en="This merge was undone already, or a later one of the same entities stands: undo the later one first.",
    )


def _require_ends(connection: Connection, kb_id: str, merge_id: str, keep: int, content: dict[str, Any]) -> None:
    """Raises Conflict where what would be put back names an entity that a later merge took away: its facts are that one's now."""
    put_back = {one["id"] for one in content["entities"]}
    wanted = {keep, *(end for one in content["triples"] for end in (one["head_id"], one["tail_id"]))} - put_back
    there = {one for part in _parts(wanted) for one in connection.execute(select(graph_entities.c.id).where(graph_entities.c.id.in_(part))).scalars()}
    gone = wanted - there
    later = select(graph_merges.c.content).where(graph_merges.c.kb_id == kb_id, graph_merges.c.undone_at.is_(None), graph_merges.c.id > merge_id)
    for other in connection.execute(later).scalars() if gone else ():
        if any(one["id"] in gone for one in other["entities"]):
            raise _not_last()


def not_undoable() -> Conflict:
    """What was noted of a merge is at odds with the graph as it is."""
    return Conflict(
        "merge_not_undoable",
        zh="合并记录与图谱现有内容冲突，无法撤销；图谱没有改变。请改用 qzbrain graph import 补入被合并的三元组。",
        en="What was noted of this merge is at odds with the graph, so it cannot be undone; nothing was changed. Bring the triples in by qzbrain graph import.",
    )


def entity_not_found(entity_id: int) -> NotFound:
    """The error for an entity that is not there."""
    return NotFound("entity_not_found", zh=f"没有编号为 {entity_id} 的实体。", en=f"There is no entity {entity_id}.")


def _require_few(connection: Connection, touching: ColumnElement[bool]) -> None:
    """Raises InvalidRequest when more would have to be moved than can be while others wait."""
    moved = connection.execute(select(func.count()).select_from(select(graph_triples.c.id).where(touching).limit(MOST_MOVED + 1).subquery())).scalar_one()
    said = select(graph_mentions.c.id).join(graph_triples, graph_triples.c.id == graph_mentions.c.triple_id).where(touching).limit(MOST_SAID + 1)
    if moved > MOST_MOVED or connection.execute(select(func.count()).select_from(said.subquery())).scalar_one() > MOST_SAID:
        raise InvalidRequest(
            "too_much_to_merge",
            zh=f"被合并的实体共有超过 {MOST_MOVED} 条三元组或 {MOST_SAID} 处出处。请把三元组最多的实体作为 keep，只合并较小的实体，或分几次合并。",
            en=f"The merged entities have more than {MOST_MOVED} triples or {MOST_SAID} sources. Keep the one that has most and merge smaller ones, or fewer.",
            param="merge",
        )


def _mentions(connection: Connection, triple_ids: Sequence[int]) -> dict[int, list[Row[Any]]]:
    """What says these triples, by triple."""
    found: dict[int, list[Row[Any]]] = {}
    for part in _parts(triple_ids):
        for row in connection.execute(select(graph_mentions).where(graph_mentions.c.triple_id.in_(part))):
            found.setdefault(row.triple_id, []).append(row)
    return found


def _parts(some: Collection[Any]) -> Iterator[list[Any]]:
    """Pieces for one statement each: a database takes only so many values in one."""
    every = list(some)
    for start in range(0, len(every), _AT_ONCE):
        yield every[start : start + _AT_ONCE]


def _name_again(
    connection: Connection, kb_id: str, keep: int, names: Sequence[str], aliases: Sequence[Row[Any]], key_of: Callable[[str], str]
) -> list[tuple[str, str]]:
    """Give the kept entity the others' names. Returns what was added: (alias_key, document_id)."""
    held = {(row.alias_key, row.document_id) for row in connection.execute(select(graph_aliases).where(graph_aliases.c.entity_id == keep))}
    wanted = {(key_of(name), ""): name[:255] for name in names} | {(row.alias_key, row.document_id): row.alias for row in aliases}
    new = {key: alias for key, alias in wanted.items() if key not in held and key[0]}
    if new:
        rows = [{"entity_id": keep, "alias_key": key, "document_id": document, "kb_id": kb_id, "alias": alias} for (key, document), alias in new.items()]
        connection.execute(insert(graph_aliases), rows)
    return sorted(new)


def _move(connection: Connection, row: Row[Any], ends: dict[str, int], mentions: Sequence[Row[Any]]) -> int:
    """Have what says this triple say the same of the kept entity. What both say in the same place is said once. Gives the kept entity's triple."""
    there = select(graph_triples.c.id).where(
        graph_triples.c.head_id == ends["head_id"], graph_triples.c.relation_id == row.relation_id, graph_triples.c.tail_id == ends["tail_id"]
    )
    target = connection.execute(there).scalar()
    if target is None:
        connection.execute(insert(graph_triples).values(kb_id=row.kb_id, relation_id=row.relation_id, **ends))
        target = connection.execute(there).scalar_one()
    said = set(connection.execute(select(graph_mentions.c.mark).where(graph_mentions.c.triple_id == target)).scalars())
    twice = [one.id for one in mentions if one.mark in said]
    connection.execute(delete(graph_mentions).where(graph_mentions.c.id.in_(twice)))
    connection.execute(update(graph_mentions).where(graph_mentions.c.triple_id == row.id).values(triple_id=target))
    connection.execute(delete(graph_triples).where(graph_triples.c.id == row.id))
    return int(target)


def _move_back(connection: Connection, content: dict[str, Any]) -> Collection[int]:
    """Put mentions back to their triples; returns the triples that they were moved from."""
    ids = [one["id"] for one in content["mentions"]]
    now: dict[int, int] = {}
    for part in _parts(ids):
        rows = connection.execute(select(graph_mentions.c.id, graph_mentions.c.triple_id).where(graph_mentions.c.id.in_(part)))
        now.update({row.id: row.triple_id for row in rows})
    marks = {one["mark"] for one in content["mentions"] if one["id"] not in now}
    still: set[str] = set()
    for part in _parts(marks):
        still.update(connection.execute(select(graph_mentions.c.mark).where(graph_mentions.c.mark.in_(part))).scalars())
    for one in content["mentions"]:
        if one["id"] in now:
            connection.execute(update(graph_mentions).where(graph_mentions.c.id == one["id"]).values(triple_id=one["triple_id"]))
        elif one["mark"] in still:  # it was said twice; had its document been deleted since, its twin would be gone too
            connection.execute(insert(graph_mentions).values(**one))
    return set(now.values())


def _remove_empty(connection: Connection, triple_ids: Collection[int]) -> None:
    unsaid = ~exists().where(graph_mentions.c.triple_id == graph_triples.c.id)
    for part in _parts(sorted(triple_ids)):
        connection.execute(delete(graph_triples).where(graph_triples.c.id.in_(part), unsaid))


def _plain(rows: Sequence[Row[Any]]) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row._mapping.items()} for row in rows]  # names of columns are a kind of str that JSON refuses

