"""The graph in SQL with a copy on a Neo4j server: what is written goes into SQL, what is read comes from the copy while it is where SQL is.

While it is behind, away or slow, SQL answers; `standing_in` tells why.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import select

from qzbrain import logs
from qzbrain.errors import MirrorUnavailable
from qzbrain.graph.base import Entity, Stats, Triple
from qzbrain.graph.embedded import Names, SqlGraph, assembled, closeness
from qzbrain.graph.filling import MANY
from qzbrain.graph.linking import key_of
from qzbrain.graph.mirror.feeding import Mirror, counted
from qzbrain.graph.mirror.rows import read_places
from qzbrain.graph.mirror.state import read_state
from qzbrain.storage.database import Database
from qzbrain.storage.tables import graph_changes, graph_mirrors, graph_versions

if TYPE_CHECKING:
    from neo4j import Transaction

    from qzbrain.graph.view import GraphView

log = logs.get(__name__)
Found = TypeVar("Found")
_Version = tuple[int, str, bool]
"""A version, its mark, and whether the copy is thought to be of it."""
_BLOCK = 20_000
"""Rows of a whole graph that are read at once: half a second's."""
_DISTRUST_S = 30.0


class _Behind(Exception):
    """The copy is not of this version."""


class MirroredGraph(SqlGraph):
    """See `base.GraphStore`. Thread-safe. `reads` counts where answers came from: `neo4j` or `sql`."""

    def __init__(self, database: Database, mirror: Mirror) -> None:
        super().__init__(database)
        self.mirror, self._cypher = mirror, mirror.cypher
        self.reads: Counter[str] = Counter()
        self.standing_in = ""
        """Why SQL gave the last answer; '' when it did not have to."""
        self._distrusted = -_DISTRUST_S

    def stats(self, kb_id: str) -> Stats:
        """See `GraphStore.stats`."""
        return self._either(kb_id, lambda version: self._asked(kb_id, version, lambda tx: counted(tx, self._cypher, kb_id, version[0])), super().stats)

    def view(self, kb_id: str) -> GraphView:
        """See `GraphStore.view`."""
        return self._either(kb_id, lambda version: self._view(kb_id, version), super().view)

    def entity(self, kb_id: str, entity_id: int) -> Entity | None:
        """See `GraphStore.entity`."""
        ask = self._entities(kb_id, [entity_id])
        return self._either(
            kb_id, lambda version: self._asked(kb_id, version, lambda tx: next(iter(ask(tx)), None)), lambda kb: SqlGraph.entity(self, kb, entity_id)
        )

    def search(self, kb_id: str, text: str, *, limit: int) -> list[Entity]:
        """See `GraphStore.search`."""
        key = key_of(text)
        if not key:
            return []
        return self._either(
            kb_id,
            lambda version: self._asked(kb_id, version, lambda tx: self._searched(tx, kb_id, key, limit)),
            lambda kb: SqlGraph.search(self, kb, text, limit=limit),
        )

    def triples(self, kb_id: str, triple_ids: Sequence[int]) -> list[Triple]:
        """See `GraphStore.triples`."""
        ids = list(dict.fromkeys(int(one) for one in triple_ids))
        if not ids:
            return []

        def ask(tx: Transaction) -> list[Triple]:
            found = {row[0]: _triple(row) for row in tx.run(self._cypher.facts, kb=kb_id, ids=ids).values()}
            return [found[one] for one in ids if one in found]

        return self._either(kb_id, lambda version: self._asked(kb_id, version, ask), lambda kb: SqlGraph.triples(self, kb, ids))

    def every_triple(self, kb_id: str, *, ceiling: int | None = None) -> Iterator[Triple]:
        """See `GraphStore.every_triple`. Should the copy fail on the way, SQL gives the rest, as of the same moment."""
        if ceiling is not None:
            yield from super().every_triple(kb_id, ceiling=ceiling)
            return
        with self._db.snapshot() as connection:
            version = self._noted(kb_id, connection.execute(_version_of(kb_id)).first())
            after = 0
            while version is not None:
                try:
                    found = self._asked(kb_id, version, lambda tx, after=after: tx.run(self._cypher.facts_after, kb=kb_id, after=after, most=MANY).values())  # type: ignore[misc]
                except (_Behind, MirrorUnavailable) as exc:
                    self._stand_in(kb_id, version, exc)
                    break
                self._answered()
                if not found:
                    return
                yield from map(_triple, found)
                after = found[-1][0]
            yield from self.triples_after(connection, kb_id, after)

    # -- where an answer comes from

    def _either(self, kb_id: str, ask: Callable[[_Version], Found], otherwise: Callable[[str], Found]) -> Found:
        """An answer of the copy, or of SQL where it has none."""
        version = self._noted(kb_id, next(iter(self._db.rows(_version_of(kb_id))), None))
        if version is None:
            return otherwise(kb_id)
        try:
            found = ask(version)
        except (_Behind, MirrorUnavailable) as exc:
            self._stand_in(kb_id, version, exc)
            return otherwise(kb_id)
        self._answered()
        return found

    def _noted(self, kb_id: str, row: Any) -> _Version | None:
        """The version that the copy must be of; None where it cannot be, or there is no graph."""
        if row is None or not row.version:
            return None
        if row.mark is None:
            self._stand_in(kb_id, None, _Behind())
            return None
        return row.version, row.mark, row.version == row.copied

    def _asked(self, kb_id: str, version: _Version, ask: Callable[[Transaction], Found]) -> Found:
        """What the copy says, if it is exactly of this version before and after. Raises MirrorUnavailable, _Behind."""

        def work(tx: Transaction) -> Found:
            self._require(tx, kb_id, version)
            found = ask(tx)
            self._require(tx, kb_id, version)
            return found

        return self.mirror.link.read(work)

    def _require(self, tx: Transaction, kb_id: str, version: _Version) -> None:
        state = read_state(tx, self._cypher, kb_id)
        if state is None or not state.exact or (state.version, state.mark) != version[:2]:
            raise _Behind

    def _answered(self) -> None:
        self.reads["neo4j"] += 1
        if self.standing_in:
            log.info("graphs_read_from_neo4j_again")
            self.standing_in = ""

    def _stand_in(self, kb_id: str, version: _Version | None, exc: Exception) -> None:
        self.reads["sql"] += 1
        reason = exc.code if isinstance(exc, MirrorUnavailable) else "neo4j_behind"
        if reason != self.standing_in and isinstance(exc, MirrorUnavailable):
            log.warning("graphs_read_from_sql", code=reason, reason=exc.en)
        self.standing_in = reason
        if version is not None and version[2] and isinstance(exc, _Behind) and time.monotonic() - self._distrusted >= _DISTRUST_S:
            self._distrusted = time.monotonic()
            self.mirror.distrust(kb_id)  # it was thought to be there: it is an older one, put back by somebody, or gone

    # -- questions to the copy

    def _entities(self, kb_id: str, ids: Sequence[int]) -> Callable[[Transaction], list[Entity]]:
        def ask(tx: Transaction) -> list[Entity]:
            rows = tx.run(self._cypher.entities, kb=kb_id, ids=list(ids)).values()
            return [Entity(one, name, kind, tuple(aliases or ()), degree) for one, name, kind, aliases, degree in rows]

        return ask

    def _searched(self, tx: Transaction, kb_id: str, key: str, limit: int) -> list[Entity]:
        found: dict[int, None] = {}
        for statements in self._cypher.named:
            for statement in statements:
                found.update(dict.fromkeys(row[0] for row in tx.run(statement, kb=kb_id, key=key, most=limit * 4).values()))
            if len(found) >= limit:
                break
        entities = self._entities(kb_id, list(found))(tx) if found else []
        order = {one: n for n, one in enumerate(found)}
        return sorted(entities, key=lambda e: (closeness(e, key), -e.degree, order[e.id]))[:limit]

    def _view(self, kb_id: str, version: _Version) -> GraphView:
        """Block by block, each within the time of an answer; each is of the same version."""
        import numpy as np

        entities = Names([], [], [], [])
        aliases: list[tuple[str, int]] = []
        for ids, names, types, keys, others in self._blocks(kb_id, version, self._cypher.entities_after):
            entities.ids.extend(ids)
            entities.names.extend(names)
            entities.types.extend(types)
            entities.keys.extend(name if key is None else key for name, key in zip(names, keys, strict=True))
            aliases += [(alias, one) for one, some in zip(ids, others, strict=True) if some for alias in some]
        relations = self._asked(kb_id, version, lambda tx: [(row[0], row[1]) for row in tx.run(self._cypher.relations, kb=kb_id).values()])
        blocks = [np.array(columns, np.int64).T for columns in self._blocks(kb_id, version, self._cypher.ends_after)]
        return assembled(version[0], entities, aliases, relations, np.concatenate(blocks) if blocks else np.empty((0, 4), np.int64), self.cues(kb_id))

    def _blocks(self, kb_id: str, version: _Version, statement: str) -> Iterator[list[list[Any]]]:
        """Columns, of which the first are the ids that rows are in the order of."""
        after = 0
        while True:
            columns = self._asked(kb_id, version, lambda tx, after=after: tx.run(statement, kb=kb_id, after=after, most=_BLOCK).values()[0])  # type: ignore[misc]
            if columns[0]:
                yield columns
                after = columns[0][-1]
            if len(columns[0]) < _BLOCK:
                return


def _version_of(kb_id: str) -> Any:
    query = select(graph_versions.c.version, graph_changes.c.mark, graph_mirrors.c.version.label("copied"))
    here = graph_versions.outerjoin(
        graph_changes, (graph_changes.c.kb_id == graph_versions.c.kb_id) & (graph_changes.c.version == graph_versions.c.version)
    ).outerjoin(graph_mirrors, graph_mirrors.c.kb_id == graph_versions.c.kb_id)
    return query.select_from(here).where(graph_versions.c.kb_id == kb_id)


def _triple(row: Sequence[Any]) -> Triple:
    one, head, head_name, head_type, head_aliases, relation, tail, tail_name, tail_type, tail_aliases, places = row
    return Triple(
        one, Entity(head, head_name, head_type, tuple(head_aliases or ())), relation, Entity(tail, tail_name, tail_type, tuple(tail_aliases or ())),
        read_places(places),
    )  # fmt: skip
