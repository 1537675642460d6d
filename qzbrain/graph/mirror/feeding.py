"""Brings the copy of a graph on a Neo4j server after SQL, step by step; the only part that writes there.

Each step is one transaction there, which also says how far the copy is then, so a worker or a server may be killed anywhere: the next step goes on from
what the copy says. Steps put what SQL holds at that moment, so doing one again changes nothing. Before content changes, an own transaction says that it is
not `exact`; so whoever reads and finds the same exact version before and after has read that version.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Table, delete, func, select, update

from qzbrain import logs
from qzbrain.graph.base import Stats
from qzbrain.graph.changes import Touched, follow, read_touched
from qzbrain.graph.filling import graph_version
from qzbrain.graph.mirror.cypher import Cypher
from qzbrain.graph.mirror.link import WRITE_S, Link
from qzbrain.graph.mirror.rows import Content, Rows, batches, content, next_ids
from qzbrain.graph.mirror.state import FOLLOWS, PHASES, Moved, State, read_state, step_to
from qzbrain.storage.database import Database
from qzbrain.storage.tables import graph_changes, graph_entities, graph_mirrors, graph_relations, graph_triples, graph_versions

if TYPE_CHECKING:
    from neo4j import Transaction

AT_ONCE = 4000
"""Rows of one step."""
_WIPED_AT_ONCE = 10_000
_ROWS_AT_ONCE = 400
"""Of one transaction that follows."""
_TABLES: dict[str, Table] = {"relations": graph_relations, "entities": graph_entities, "triples": graph_triples}

log = logs.get(__name__)
Progress = Callable[[int, int], None]
Change = Callable[["Transaction"], None]


class _Torn(Exception):
    """The copy lacks what it should have: somebody else has changed it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a copy is: `version` of SQL's, and the copy's own (-1: there is none, or it is not known); `phase` as `State`."""

    kb_id: str
    version: int
    copied: int
    phase: str
    exact: bool


class Mirror:
    """The copies of all graphs on one server."""

    def __init__(self, database: Database, link: Link, *, test: bool = False) -> None:
        self._db, self.link, self.cypher = database, link, Cypher(test)
        self._prepared = False

    def catch_up(self, kb_id: str, progress: Progress | None = None, between: Callable[[], None] | None = None) -> None:
        """Bring one copy to where SQL is. `between` is called between steps, and may raise. `progress(done, total)` counts rows while one is made.

        Raises MirrorUnavailable; nothing is lost then.
        """
        self._prepare()
        if not self._followed(kb_id):
            self.forget(kb_id)
            return
        done = False
        while not done:
            try:
                done = self._step(kb_id, progress)
            except Moved:
                if not self._followed(kb_id):
                    self.forget(kb_id)
                    return
            if between is not None and not done:
                between()

    def rebuild(self, kb_id: str) -> None:
        """Have `catch_up` make the copy anew, from nothing."""
        self._prepare()

        def begin(tx: Transaction) -> None:
            state = read_state(tx, self.cypher, kb_id)
            step_to(tx, self.cypher, kb_id, state, State(-1, "", "wipe"))

        self.link.write(begin)
        with self._db.write() as connection:
            connection.execute(update(graph_mirrors).where(graph_mirrors.c.kb_id == kb_id).values(version=-1))

    def forget(self, kb_id: str) -> None:
        """Take a copy away whose graph is gone."""
        self._prepare()
        self.rebuild(kb_id)
        for statement in self.cypher.wipe:
            while self.link.write(lambda tx, statement=statement: _wiped(tx, statement, kb_id)):  # type: ignore[misc]
                pass
        self.link.write(lambda tx: tx.run(self.cypher.forget_state, kb=kb_id).consume())
        with self._db.write() as connection:
            if not graph_version(connection, kb_id):
                for table in (graph_changes, graph_mirrors):
                    connection.execute(delete(table).where(table.c.kb_id == kb_id))

    def distrust(self, kb_id: str = "") -> None:
        """Have copies looked at that SQL believes to be where it is: all of them, as after a start, or one that was found otherwise."""
        doubted = update(graph_mirrors).where(graph_mirrors.c.version >= 0).values(version=-1)
        with self._db.write() as connection:
            connection.execute(doubted.where(graph_mirrors.c.kb_id == kb_id) if kb_id else doubted)

    def due(self) -> list[str]:
        """Knowledge bases whose copy is, or may be, behind; also those that are gone and have left one. Asks SQL alone."""
        versions = select(graph_versions.c.kb_id, graph_versions.c.version).where(graph_versions.c.version > 0)
        there = {row.kb_id: row.version for row in self._db.rows(versions)}
        known = {row.kb_id: row.version for row in self._db.rows(select(graph_mirrors))}
        return sorted(kb_id for kb_id in there.keys() | known.keys() if there.get(kb_id) != known.get(kb_id))

    def standing(self) -> list[Standing]:
        """All graphs and their copies, by knowledge base. Raises MirrorUnavailable."""
        states = {row[0]: row[1:] for row in self.link.read(lambda tx: tx.run(self.cypher.states).values())}
        versions = {row.kb_id: row.version for row in self._db.rows(select(graph_versions).where(graph_versions.c.version > 0))}
        found = []
        for kb_id in sorted(versions.keys() | states.keys()):
            copied, phase, exact = states.get(kb_id, (-1, "", False))
            found.append(Standing(kb_id, versions.get(kb_id, 0), -1 if copied is None else copied, phase or "", bool(exact)))
        return found

    def counts(self, kb_id: str) -> Stats:
        """What the copy holds, counted there. Raises MirrorUnavailable."""
        return self.link.read(lambda tx: counted(tx, self.cypher, kb_id, 0), limit_s=WRITE_S)

    def _prepare(self) -> None:
        if not self._prepared:
            self.link.server(limit_s=WRITE_S)
            for statement in self.cypher.schema:
                self.link.run(statement)
            self._prepared = True

    def _followed(self, kb_id: str) -> bool:
        """See that changes are noted from here on; False when there is no such graph."""
        with self._db.write() as connection:
            if not graph_version(connection, kb_id):
                return False
            follow(connection, kb_id)
        return True

    def _step(self, kb_id: str, progress: Progress | None) -> bool:
        """One step; True when the copy is where SQL is. Raises Moved."""
        state = self.link.read(lambda tx: read_state(tx, self.cypher, kb_id), limit_s=WRITE_S)
        after = self._following(kb_id, state) if state is not None and state.phase == FOLLOWS else self._making(kb_id, state, progress)
        if after.phase == FOLLOWS:
            self._acknowledge(kb_id, after)
        return after.exact

    def _acknowledge(self, kb_id: str, state: State) -> None:
        """Forget the notes that the copy is past; the last one stays, by which it is known again."""
        with self._db.write() as connection:
            connection.execute(delete(graph_changes).where(graph_changes.c.kb_id == kb_id, graph_changes.c.version < state.version))
            if state.exact:
                connection.execute(update(graph_mirrors).where(graph_mirrors.c.kb_id == kb_id).values(version=state.version))

    # -- making a copy

    def _making(self, kb_id: str, state: State | None, progress: Progress | None) -> State:
        """Some rows of the phase that it is in. What changes meanwhile is noted, and put when the copy follows."""
        if state is None or not state.mark:
            with self._db.snapshot() as connection:
                version, mark = _newest(connection, kb_id)
            state_now = State(version, mark, "wipe")
            self.link.write(lambda tx: step_to(tx, self.cypher, kb_id, state, state_now))
            return state_now
        if state.phase == "wipe":
            return self._wiping(kb_id, state)
        table = _TABLES[state.phase]
        with self._db.snapshot() as connection:
            ids = next_ids(connection, table, kb_id, state.upto, AT_ONCE)
            found = content(connection, kb_id, Touched(**{state.phase: ids}))
            if progress is not None:
                progress(*_made(connection, kb_id, state.phase, ids[-1] if ids else state.upto))
        if len(ids) < AT_ONCE:
            after = replace(state, phase=PHASES[PHASES.index(state.phase) + 1], upto=0)
        else:
            after = replace(state, upto=ids[-1])

        def put(tx: Transaction) -> None:
            step_to(tx, self.cypher, kb_id, state, after)
            self._put(tx, kb_id, found)

        self.link.write(put)
        return after

    def _wiping(self, kb_id: str, state: State) -> State:
        def wipe(tx: Transaction) -> State:
            step_to(tx, self.cypher, kb_id, state, state)
            if any(_wiped(tx, statement, kb_id) for statement in self.cypher.wipe):
                return state
            after = replace(state, phase=PHASES[1], turn=state.turn + 1)
            step_to(tx, self.cypher, kb_id, after, after)
            return after

        return self.link.write(wipe)

    # -- following changes

    def _following(self, kb_id: str, state: State) -> State:
        """Put what some changes touched, as SQL has it now; when the copy is of another history, begin to make it anew."""
        with self._db.snapshot() as connection:
            version, mark = _newest(connection, kb_id)
            if not _is_noted(connection, kb_id, state):
                after = State(version, mark, "wipe")
            else:
                after, touched = _next(connection, kb_id, state, version)
                found = content(connection, kb_id, touched)
        if after.phase == FOLLOWS and after.version == state.version and state.exact:
            return state
        if after.phase != FOLLOWS:
            self.link.write(lambda tx: step_to(tx, self.cypher, kb_id, state, after))
            return after
        if state.exact:  # readers have to know before anything changes
            state = self._stepped(kb_id, state, replace(state, exact=False))
        try:
            for piece in self._pieces(kb_id, touched, found):
                state = self._stepped(kb_id, state, state, piece)
        except _Torn:
            log.warning("graph_copy_made_anew", kb_id=kb_id, reason="entities were missing in it")
            self.rebuild(kb_id)
            raise Moved from None
        return self._stepped(kb_id, state, after)

    def _stepped(self, kb_id: str, before: State, after: State, change: Change | None = None) -> State:
        """Do this in a transaction of its own, if the copy is as it was; where it is then."""

        def put(tx: Transaction) -> None:
            step_to(tx, self.cypher, kb_id, before, after)
            if change is not None:
                change(tx)

        self.link.write(put)
        return replace(after, turn=before.turn + 1)

    def _pieces(self, kb_id: str, touched: Touched, found: Content) -> Iterator[Change]:
        """What was touched, in transactions that take no long time each; any of them may be done again. Facts go before their ends, and come after them.

        Raises _Torn from a piece.
        """
        cypher = self.cypher
        there = {row[0] for row in found.facts}
        for ids in _parts(set(touched.triples) - there):
            yield partial(_run, statement=cypher.delete_facts, kb=kb_id, ids=ids)
        relations = {row[0]: row for row in found.relations}
        for ids in _parts(touched.relations):
            yield partial(self._put_relations, kb_id=kb_id, ids=ids, rows=[relations[one] for one in ids if one in relations])
        entities = {row[0]: row for row in found.entities}
        aliases: dict[int, Rows] = {}
        for row in found.aliases:
            aliases.setdefault(row[0], []).append(row)
        for ids in _parts(touched.entities):
            named = [row for one in ids for row in aliases.get(one, ())]
            yield partial(self._put_entities, kb_id=kb_id, ids=ids, rows=[entities[one] for one in ids if one in entities], aliases=named)
        for rows in batches(found.facts):
            yield partial(self._put_facts, kb_id=kb_id, rows=rows)

    def _put_relations(self, tx: Transaction, *, kb_id: str, ids: list[int], rows: Rows) -> None:
        _run(tx, statement=self.cypher.delete_relations, kb=kb_id, ids=ids)
        _run(tx, statement=self.cypher.create_relations, kb=kb_id, rows=rows)

    def _put_entities(self, tx: Transaction, *, kb_id: str, ids: list[int], rows: Rows, aliases: Rows) -> None:
        _run(tx, statement=self.cypher.delete_aliases, kb=kb_id, ids=ids)
        if gone := sorted(set(ids) - {row[0] for row in rows}):
            _run(tx, statement=self.cypher.delete_entities, kb=kb_id, ids=gone)
        self._put(tx, kb_id, Content(entities=rows, aliases=aliases))

    def _put_facts(self, tx: Transaction, *, kb_id: str, rows: Rows) -> None:
        _run(tx, statement=self.cypher.delete_facts, kb=kb_id, ids=[row[0] for row in rows])
        if _number(tx, self.cypher.create_facts, kb=kb_id, rows=rows) != len(rows):
            raise _Torn

    def _put(self, tx: Transaction, kb_id: str, found: Content) -> None:
        """Of facts, relations and aliases none may be there. Facts without ends are left out."""
        for some in batches(found.relations):
            _run(tx, statement=self.cypher.create_relations, kb=kb_id, rows=some)
        for some in batches(found.entities):
            there = {row[0] for row in tx.run(self.cypher.change_entities, kb=kb_id, rows=some).values()}
            if new := [row for row in some if row[0] not in there]:
                _run(tx, statement=self.cypher.create_entities, kb=kb_id, rows=new)
        for some in batches(found.aliases):
            _run(tx, statement=self.cypher.create_aliases, kb=kb_id, rows=some)
        for some in batches(found.facts):
            _run(tx, statement=self.cypher.create_facts, kb=kb_id, rows=some)


def _run(tx: Transaction, *, statement: str, **parameters: Any) -> None:
    tx.run(statement, parameters).consume()


def counted(tx: Transaction, cypher: Cypher, kb_id: str, version: int) -> Stats:
    """Counts of a copy."""
    entities, relations, facts = (tx.run(statement, kb=kb_id).values()[0] for statement in cypher.counts)
    return Stats(entities[0], relations[0], facts[0], facts[1], version)


def _newest(connection: Connection, kb_id: str) -> tuple[int, str]:
    """The version of the graph, and its mark; '' for one that was not noted. Raises Moved when the graph is gone."""
    query = select(graph_versions.c.version, graph_changes.c.mark).outerjoin(
        graph_changes, (graph_changes.c.kb_id == graph_versions.c.kb_id) & (graph_changes.c.version == graph_versions.c.version)
    )
    row = connection.execute(query.where(graph_versions.c.kb_id == kb_id)).first()
    if row is None or row.mark is None:
        raise Moved
    return row.version, row.mark


def _is_noted(connection: Connection, kb_id: str, state: State) -> bool:
    query = select(graph_changes.c.mark).where(graph_changes.c.kb_id == kb_id, graph_changes.c.version == state.version)
    return connection.execute(query).scalar() == state.mark


def _next(connection: Connection, kb_id: str, state: State, version: int) -> tuple[State, Touched]:
    """What the next changes touched, at most some AT_ONCE rows unless one alone is larger; and where the copy is with them."""
    query = select(graph_changes).where(graph_changes.c.kb_id == kb_id, graph_changes.c.version > state.version).order_by(graph_changes.c.version)
    entities, triples, relations = set[int](), set[int](), set[int]()
    last, mark = state.version, state.mark
    for row in connection.execute(query.limit(AT_ONCE)):
        touched = read_touched(row.touched)
        if last != state.version and len(entities) + len(triples) + len(touched) > AT_ONCE:
            break
        entities.update(touched.entities)
        triples.update(touched.triples)
        relations.update(touched.relations)
        last, mark = row.version, row.mark
    return State(last, mark, FOLLOWS, 0, last == version), Touched(entities, triples, relations)


def _made(connection: Connection, kb_id: str, phase: str, upto: int) -> tuple[int, int]:
    """How many entities and triples of how many are there."""
    done = total = 0
    for name, table in (("entities", graph_entities), ("triples", graph_triples)):
        count = select(func.count()).select_from(table).where(table.c.kb_id == kb_id)
        every = connection.execute(count).scalar_one()
        total += every
        if name == phase:
            done += connection.execute(count.where(table.c.id <= upto)).scalar_one()
        elif PHASES.index(name) < PHASES.index(phase):
            done += every
    return done, total


def _wiped(tx: Transaction, statement: str, kb_id: str) -> int:
    return _number(tx, statement, kb=kb_id, most=_WIPED_AT_ONCE)


def _number(tx: Transaction, statement: str, **parameters: Any) -> int:
    return int(tx.run(statement, parameters).values()[0][0])


def _parts(ids: Collection[int]) -> Iterator[list[int]]:
    some = sorted(ids)
    for start in range(0, len(some), _ROWS_AT_ONCE):
        yield some[start : start + _ROWS_AT_ONCE]
