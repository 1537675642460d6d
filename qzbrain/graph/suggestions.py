"""Entities that may be one: suggested for review, decided by people. Nothing is ever merged by itself.

A decision is remembered by both names and types, so that it outlives the entities: a pair that was dismissed is not suggested again, though its
documents be read anew. Suggestions are derived from the graph as it is; those whose entities are gone go too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Row, delete, func, insert, select, update

from qzbrain.domain import new_id, utc_now
from qzbrain.errors import Conflict, NotFound
from qzbrain.graph.base import Entity, GraphStore
from qzbrain.graph.extraction import alias_mark
from qzbrain.graph.likeness import SCORES, alike
from qzbrain.graph.linking import name_key
from qzbrain.storage.database import Database
from qzbrain.storage.tables import graph_suggestions

if TYPE_CHECKING:
    from qzbrain.graph.view import GraphView

Status = Literal["open", "accepted", "dismissed"]
MOST_OPEN = 2000
_MOST_OF_AN_ALIAS = 3
"""An alias that names more entities than this says nothing."""
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Suggestion:
    """`merge` would be made one with `keep`; for one that was accepted or dismissed the entities may be gone (None). `merge_id`: of the merge made."""

    id: str
    keep: Entity | None
    merge: Entity | None
    reason: str
    score: float
    status: Status
    alias: str
    merge_id: str
    author: str


@dataclass(frozen=True, slots=True)
class _Pair:
    key: str
    keep: int
    other: int
    reason: str
    score: float
    alias: str = ""
    alias_mark: str = ""


class Suggestions:
    """The review queue of all knowledge bases."""

    def __init__(self, database: Database, graph: GraphStore) -> None:
        self._db, self._graph = database, graph

    def refresh(self, kb_id: str) -> int:
        """Bring the queue in line with the graph; returns how many are open."""
        wanted = {one.key: one for one in _pairs(self._graph.view(kb_id))}
        mine = graph_suggestions.c.kb_id == kb_id
        with self._db.write() as connection:
            known = {row.pair_key: row for row in connection.execute(select(graph_suggestions).where(mine))}
            gone = [row.id for key, row in known.items() if row.status == "open" and key not in wanted]
            for start in range(0, len(gone), _AT_ONCE):
                connection.execute(delete(graph_suggestions).where(graph_suggestions.c.id.in_(gone[start : start + _AT_ONCE])))
            for key, one in wanted.items():
                row = known.get(key)
                if row is not None and row.status == "open" and (row.keep_id, row.other_id, row.score) != (one.keep, one.other, one.score):
                    connection.execute(update(graph_suggestions).where(graph_suggestions.c.id == row.id).values(**_columns(one)))
            is_open = sum(row.status == "open" for key, row in known.items() if key in wanted)
            new = [one for key, one in wanted.items() if key not in known][: max(0, MOST_OPEN - is_open)]
            rows = [{"id": new_id(), "kb_id": kb_id, "pair_key": one.key, "status": "open", "created_at": utc_now(), **_columns(one)} for one in new]
            if rows:
                connection.execute(insert(graph_suggestions), rows)
        return int(is_open) + len(rows)

    def listed(self, kb_id: str, status: Status = "open", *, limit: int = 100, seen: Collection[int] | None = None) -> tuple[list[Suggestion], int]:
        """Best first, and how many there are in all. Open ones whose entities are gone are left out.

        `seen`: ids of the entities that the asker may know of, where he may not know of all: then only those are listed and counted.
        """
        if seen is not None:
            return self._seen(kb_id, status, limit, seen)
        mine = graph_suggestions.c.kb_id == kb_id, graph_suggestions.c.status == status
        order = graph_suggestions.c.score.desc(), graph_suggestions.c.id
        rows = self._db.rows(select(graph_suggestions).where(*mine).order_by(*order).limit(limit))
        total = int(self._db.rows(select(func.count()).select_from(graph_suggestions).where(*mine))[0][0])
        found = [self._told(kb_id, row) for row in rows]
        return [one for one in found if status != "open" or (one.keep is not None and one.merge is not None)], total

    def _seen(self, kb_id: str, status: Status, limit: int, seen: Collection[int]) -> tuple[list[Suggestion], int]:
        mine = graph_suggestions.c.kb_id == kb_id, graph_suggestions.c.status == status
        rows = self._db.rows(select(graph_suggestions).where(*mine).order_by(graph_suggestions.c.score.desc(), graph_suggestions.c.id))
        left = [row for row in rows if row.keep_id in seen and row.other_id in seen]
        return [self._told(kb_id, row) for row in left[:limit]], len(left)

    def require_seen(self, kb_id: str, suggestion_id: str, seen: Collection[int]) -> None:
        """Return when both of its entities are among these ids. Raises NotFound."""
        row = self._row(kb_id, suggestion_id)
        if row.keep_id not in seen or row.other_id not in seen:
            raise _unknown()

    def accept(self, kb_id: str, suggestion_id: str, *, author: str) -> Suggestion:
        """Make both entities one. Raises NotFound, Conflict."""
        row = self._open(kb_id, suggestion_id)
        merge_id = self._graph.merge(kb_id, row.keep_id, [row.other_id], author=author)
        self._decide(row, "accepted", author, merge_id)
        return self._told(kb_id, self._row(kb_id, suggestion_id))

    def dismiss(self, kb_id: str, suggestion_id: str, *, author: str) -> Suggestion:
        """They are not one, for good; an alias that said so is taken off. Raises NotFound, Conflict."""
        row = self._open(kb_id, suggestion_id)
        self._decide(row, "dismissed", author, "")
        if row.alias:
            self._graph.forget_alias(kb_id, row.keep_id, row.alias)
        return self._told(kb_id, self._row(kb_id, suggestion_id))

    def undone(self, kb_id: str, merge_id: str) -> None:
        """A merge was undone: the suggestion that led to it is open again, if there was one."""
        mine = graph_suggestions.c.kb_id == kb_id, graph_suggestions.c.merge_id == merge_id, graph_suggestions.c.status == "accepted"
        with self._db.write() as connection:
            connection.execute(update(graph_suggestions).where(*mine).values(status="open", merge_id="", decided_at=None))

    def unwanted(self, kb_id: str) -> set[str]:
        """Marks of aliases that people have refused."""
        dismissed = graph_suggestions.c.kb_id == kb_id, graph_suggestions.c.status == "dismissed", graph_suggestions.c.alias_mark != ""
        return {row.alias_mark for row in self._db.rows(select(graph_suggestions.c.alias_mark).where(*dismissed))}

    def _decide(self, row: Row[Any], status: Status, author: str, merge_id: str) -> None:
        values = {"status": status, "author": author[:255], "merge_id": merge_id, "decided_at": utc_now()}
        with self._db.write(durable=True) as connection:
            connection.execute(update(graph_suggestions).where(graph_suggestions.c.id == row.id).values(**values))

    def _row(self, kb_id: str, suggestion_id: str) -> Row[Any]:
        rows = self._db.rows(select(graph_suggestions).where(graph_suggestions.c.id == suggestion_id[:32], graph_suggestions.c.kb_id == kb_id))
        if not rows:
            raise _unknown()
        return rows[0]

    def _open(self, kb_id: str, suggestion_id: str) -> Row[Any]:
        row = self._row(kb_id, suggestion_id)
        if row.status != "open":
            raise Conflict(
                "suggestion_decided",
                zh=f"这条建议已经处理过（{row.status}）。已合并的可用 POST /api/graph/…/merge/…/undo 撤销。",
                en=f"This suggestion is decided already ({row.status}). A merge can be undone by POST /api/graph/…/merge/…/undo.",
            )
        return row

    def _told(self, kb_id: str, row: Row[Any]) -> Suggestion:
        keep, other = (self._graph.entity(kb_id, one) for one in (row.keep_id, row.other_id))
        return Suggestion(row.id, keep, other, row.reason, row.score, row.status, row.alias, row.merge_id, row.author)


def _unknown() -> NotFound:
    return NotFound(
        "suggestion_not_found",
        zh="没有这条合并建议。请用 GET /api/graph/…/suggestions 查看。",
        en="There is no such suggestion. See GET /api/graph/…/suggestions.",
    )


def _columns(one: _Pair) -> dict[str, object]:
    return {"keep_id": one.keep, "other_id": one.other, "reason": one.reason, "score": one.score, "alias": one.alias[:255], "alias_mark": one.alias_mark}


def _pairs(view: GraphView) -> Iterator[_Pair]:
    """All that the graph suggests, best first."""
    named = list(zip(view.names, view.types, strict=True))
    found: list[tuple[float, _Pair]] = []
    by_key: dict[str, list[int]] = {}
    for number, name in enumerate(view.names):
        by_key.setdefault(name_key(name), []).append(number)
    for alias, number in view.aliases:
        others = [one for one in by_key.get(name_key(alias), ()) if one != number and one not in view.same]
        if len(others) <= _MOST_OF_AN_ALIAS:
            mark = alias_mark(view.names[number], alias)
            found += [(SCORES["alias"], _pair(view, number, one, "alias", SCORES["alias"], alias, mark)) for one in others]
    for like in alike(named):
        if like.keep not in view.same and like.other not in view.same:
            keep, other = like.keep, like.other
            if like.reason in ("same_name", "form") and view.degree(other) > view.degree(keep):
                keep, other = other, keep
            found.append((like.score, _pair(view, keep, other, like.reason, like.score)))
    seen = set[str]()
    for _, one in sorted(found, key=lambda x: -x[0]):
        if one.key not in seen:
            seen.add(one.key)
            yield one


def _pair(view: GraphView, keep: int, other: int, reason: str, score: float, alias: str = "", mark: str = "") -> _Pair:
    ends = sorted(f"{name_key(view.names[one])}\0{view.types[one]}" for one in (keep, other))
    key = hashlib.sha256("\1".join(ends).encode("utf-8", "replace")).hexdigest()
    return _Pair(key, int(view.ids[keep]), int(view.ids[other]), reason, score, alias, mark)


def reason_text(one: Suggestion) -> tuple[str, str]:
    """Why, in Chinese and English."""
    return _REASONS.get(one.reason, (one.reason, one.reason))


_REASONS: dict[str, tuple[str, str]] = {
    "alias": ("前者的别名就是后者的名称", "an alias of the first is the name of the second"),
    "same_name": ("名称相同，类型不同", "the same name with two types"),
    "marks": ("只差书名号、引号等符号", "they differ in quotation or title marks alone"),
    "company": ("只差公司后缀（全称与简称）", "they differ in the company's legal form alone: full and short name"),
    "form": ("只差公司组织形式，也可能是两家公司", "the same company name with two legal forms; perhaps two companies"),
    "region": ("只差国名或地名前缀", "they differ in a country or region in front"),
    "outside": ("括号之外与后者相同", "outside its parenthesis the first is the second"),
    "inside": ("括号中的名称就是后者，也可能是上级单位", "the name in the parenthesis is the second; perhaps its parent"),
}
