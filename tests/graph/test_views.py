"""A graph in memory: what is read anew after a change is what all of it would be; it is read once, however many ask."""

from __future__ import annotations

import threading
from pathlib import Path
from random import Random

import pytest

from qzbrain.graph.base import Fact, Place
from qzbrain.graph.embedded import SqlGraph
from qzbrain.graph.service import GraphService
from qzbrain.graph.view import GraphView
from qzbrain.storage.database import Database
from qzbrain.storage.migrate import upgrade


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = Database(tmp_path / "brain.sqlite")
    upgrade(made)
    return made


def _said(view: GraphView) -> tuple[object, ...]:
    arrays = (view.ids, view.triple_ids, view.heads, view.relations, view.tails)
    return (view.version, list(view.names), list(view.types), sorted(view.aliases), list(view.relation_names), dict(view.same), *(a.tolist() for a in arrays))


@pytest.mark.parametrize("seed", range(12))
def test_what_is_read_after_each_change_is_what_all_of_it_would_be(database: Database, seed: int) -> None:
    chance, store, held = Random(seed), SqlGraph(database), []
    types = ("", "", "人") if seed % 2 else ("",)
    merges: list[str] = []
    for step in range(25):
        act = chance.random()
        entities = store.search("kb", "名", limit=30)
        if act < 0.7 or len(entities) < 3:
            document = chance.choice(("", "d1", "d2"))
            store.add("kb", [_fact(chance, types, document, step * 10 + at) for at in range(chance.randrange(1, 6))])
        elif act < 0.8:
            store.forget_document("kb", chance.choice(("d1", "d2")))
        elif act < 0.9 or not merges:
            keep, gone = chance.sample(entities, 2)
            merges.append(store.merge("kb", keep.id, [gone.id], author="local"))
        else:
            store.drop("kb") if chance.random() < 0.1 else store.add("other", [_fact(chance, types, "", step)])
        if chance.random() < 0.8:
            held.append(store.view("kb"))
            assert _said(held[-1]) == _said(SqlGraph(database).view("kb"))


def _fact(chance: Random, types: tuple[str, ...], document: str, at: int) -> Fact:
    place = Place("definition", document, 1, at, at + 2, "原文") if document else Place("import", source="表")
    head, tail = (f"名{chance.randrange(14)}" for _ in range(2))
    aliases = (f"别{chance.randrange(30)}",) if chance.random() < 0.2 else ()
    return Fact(head, f"关系{chance.randrange(6)}", tail, place, chance.choice(types), chance.choice(types), aliases)


class _Counted(SqlGraph):
    reads = 0

    def view(self, kb_id: str) -> GraphView:
        type(self).reads += 1
        return super().view(kb_id)


def test_a_graph_is_read_once_however_many_ask_and_again_when_it_has_changed(database: Database) -> None:
    store = _Counted(database)
    service = GraphService(store)
    store.add("kb", [Fact(f"甲{n}号", "与", "乙公司", Place("import")) for n in range(3000)])
    for n in range(2):
        assert (_asked_by_eight(service), store.reads) == (["乙公司"] * 8, n + 1)
        store.add("kb", [Fact("丙", "与", "乙公司", Place("import", source=str(n)))])


def _asked_by_eight(service: GraphService) -> list[str]:
    found: list[str] = []
    asking = [threading.Thread(target=lambda: found.append(service.process("甲7号与谁", ["kb"]).triples[0].triple.tail.name)) for _ in range(8)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    return found
