"""A graph for somebody who is not cleared for all documents is the graph that would be there without those above his clearance."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import insert, select, update

from qzbrain.domain import LEVELS, utc_now
from qzbrain.errors import NotFound
from qzbrain.graph.base import Fact, Place
from qzbrain.graph.embedded import SqlGraph
from qzbrain.graph.passages import PassageGraphs
from qzbrain.graph.service import GraphService
from qzbrain.graph.view import GraphView
from qzbrain.knowledge.records import new_row
from qzbrain.storage.database import Database
from qzbrain.storage.migrate import upgrade
from qzbrain.storage.tables import chunks, documents, graph_entities, graph_links, graph_names, knowledge_bases

KB = "kb1"
NAMES = ["晨光公司", "远山集团", "李明", "王芳", "赵勇", "海川公司", "星河研究所", "北江市", "南岭县", "启明计划", "长风工程", "白鹭项目"]
TYPES = ["公司", "", "人物", ""]
RELATIONS = ["董事长", "总部", "成员", "负责人", "参与"]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a knowledge base and nothing in it, to be copied: to make one takes longer than what is asked of it."""
    path = tmp_path_factory.mktemp("empty") / "brain.sqlite"
    database = Database(path)
    upgrade(database)
    with database.write() as connection:
        row = {"id": KB, "name": "库", "chunk_chars": 250, "overlap_chars": 50, "manifest": {}, "created_at": utc_now()}
        connection.execute(insert(knowledge_bases), row)
    assert database.scrub()
    database.close()
    return path


def made(empty: Path, folder: Path, name: str) -> Database:
    return Database(Path(shutil.copy(empty, folder / f"{name}.sqlite")))


def with_documents(database: Database, levels: dict[str, int]) -> None:
    with database.write() as connection:
        for n, (one, level) in enumerate(levels.items(), 1):
            connection.execute(insert(documents), {**new_row(KB, f"sha:{one}", one, one, 1), "id": one, "level": level, "status": "ready"})
            connection.execute(insert(chunks), {
                "id": n, "document_id": one, "kb_id": KB, "ordinal": 0, "text": "原文", "start": 0, "end": 2, "heading_path": "[]", "reference": "",
            })  # fmt: skip


def fact(random: Random, document: str, chunk: int) -> Fact:
    place = Place("definition", document, chunk, 0, 2, "原文", confidence=random.randint(1, 9) / 10) if document else Place("import", source="表")
    head, tail = random.sample(NAMES, 2)
    aliases = (f"{head}别名{random.randint(0, 3)}",) if random.random() < 0.3 else ()
    return Fact(head, random.choice(RELATIONS), tail, place, random.choice(TYPES), random.choice(TYPES), aliases)


def contents(view: GraphView) -> tuple[set[object], set[object], set[str], dict[str, int]]:
    def end(one: int) -> tuple[str, str]:
        return view.names[one], view.types[one]

    triples = {(end(h), view.relation_names[r], end(t)) for h, r, t in zip(view.heads.tolist(), view.relations.tolist(), view.tails.tolist(), strict=True)}
    aliases = {(alias, view.names[view.same.get(one, one)], view.types[view.same.get(one, one)]) for alias, one in view.aliases}
    degrees = {f"{view.names[one]}|{view.types[one]}": view.degree(one) for one in range(len(view.names)) if one not in view.same}
    return triples, aliases, set(view.relation_names), degrees


@pytest.mark.parametrize("seed", range(12))
def test_what_is_left_is_the_graph_without_the_documents_above_the_ceiling(tmp_path: Path, empty: Path, seed: int) -> None:
    random = Random(seed)
    levels = {f"d{n}": random.randint(0, 4) for n in range(10)}
    numbers = {one: n for n, one in enumerate(levels, 1)}
    said = [(one, fact(random, one, numbers.get(one, 0))) for one in random.choices([*levels, ""], k=80)]
    whole = made(empty, tmp_path, "whole")
    with_documents(whole, levels)
    store = SqlGraph(whole)
    store.add(KB, [one for _, one in said])
    for ceiling in range(len(LEVELS)):
        part = made(empty, tmp_path, f"part{ceiling}")
        with_documents(part, {one: level for one, level in levels.items() if level <= ceiling})
        alone = SqlGraph(part)
        alone.add(KB, [one for document, one in said if levels.get(document, 0) <= ceiling])
        service, expected = GraphService(store), GraphService(alone)
        seen, there = service.view(KB, ceiling=ceiling), expected.view(KB)
        got, wanted = contents(seen), contents(there)
        assert got[0] == wanted[0] and got[2] == wanted[2] and got[3] == wanted[3]
        assert got[1] >= wanted[1]  # a name that an import gave is seen by whoever sees the entity
        for name in NAMES:
            assert {one.name for one in service.search(KB, name, limit=50, ceiling=ceiling)} >= {one.name for one in expected.search(KB, name, limit=50)}
        assert {one.relation for one in service.relations(KB, ceiling=ceiling)} == set(wanted[2])
        counted, plain = service.stats(KB, ceiling=ceiling), alone.stats(KB)
        assert (counted.triples, counted.relations, counted.mentions) == (plain.triples, plain.relations, plain.mentions)
        exported = {(one.head.name, one.relation, one.tail.name) for one in store.every_triple(KB, ceiling=ceiling)}
        assert exported == {(one.head.name, one.relation, one.tail.name) for one in alone.every_triple(KB)}
        places = {place.document_id for one in store.every_triple(KB, ceiling=ceiling) for place in one.places}
        assert all(levels.get(one, 0) <= ceiling for one in places)
        for name in NAMES:
            for relation in RELATIONS:
                answer, plainly = service.answer(f"{name}的{relation}是谁？", [KB], ceilings={KB: ceiling}), expected.answer(f"{name}的{relation}是谁？", [KB])
                assert answer.confidence == plainly.confidence  # of things that are equally good the first wins, and the order in which they came differs
                assert all((step.triple.head.name, step.triple.relation, step.triple.tail.name) in exported for step in answer.steps)
        part.close()
    whole.close()


@pytest.fixture
def secret(tmp_path: Path, empty: Path) -> SqlGraph:
    database = made(empty, tmp_path, "one")
    with_documents(database, {"open": 1, "closed": 3})
    store = SqlGraph(database)
    store.add(KB, [
        Fact("晨光公司", "董事长", "李明", Place("llm:m", "open", 1, 0, 2, "原文"), "公司", "人物"),
        Fact("晨光公司", "董事长", "李明", Place("llm:m", "closed", 2, 0, 2, "密文"), "公司", "人物", ("黑天鹅",)),
        Fact("晨光公司", "参与", "长风工程", Place("llm:m", "closed", 2, 0, 2, "密文"), "公司", "工程"),
        Fact("晨光公司", "总部", "北江市", Place("import", source="表"), "公司"),
    ])  # fmt: skip
    return store


def test_places_names_and_entities_of_what_is_above_are_not_told(secret: SqlGraph) -> None:
    service = GraphService(secret)
    found = service.search(KB, "晨光", limit=5, ceiling=1)
    assert [one.aliases for one in found] == [()] and found[0].degree == 2
    assert service.search(KB, "长风", limit=5, ceiling=1) == [] == service.search(KB, "黑天鹅", limit=5, ceiling=1)
    around = service.neighbors(KB, found[0].id, depth=1, relation=None, limit=10, ceiling=1)
    assert {(one.relation, one.tail.name) for one in around} == {("董事长", "李明"), ("总部", "北江市")}
    assert {place.quote for one in around for place in one.places} == {"原文", ""}
    hidden = service.search(KB, "长风", limit=5)[0]
    for asked in (lambda: service.entity(KB, hidden.id, ceiling=1), lambda: service.relations_of(KB, hidden.id, ceiling=1)):
        with pytest.raises(NotFound) as refused:
            asked()
        assert refused.value.code == "entity_not_found"
    with pytest.raises(NotFound):
        service.path(KB, found[0].id, hidden.id, max_hops=3, ceiling=1)
    with pytest.raises(NotFound):
        service.relation(KB, "参与", ceiling=1)
    said = service.process("晨光公司参与什么？长风工程呢", [KB], ceilings={KB: 1})
    assert "长风工程" not in said.context and {one.entity.name for one in said.entities} == {"晨光公司"}
    assert service.process("长风工程", [KB]).triples and service.process("长风工程", [KB], ceilings={KB: 3}).triples


def test_a_level_that_is_raised_or_lowered_is_obeyed_at_once(secret: SqlGraph) -> None:
    service = GraphService(secret)
    assert service.answer("晨光公司参与什么？", [KB], ceilings={KB: 1}).values == ()
    with secret._db.write() as connection:
        connection.execute(update(documents).where(documents.c.id == "closed").values(level=1))
        secret.levels_changed(connection, KB)
    assert service.answer("晨光公司参与什么？", [KB], ceilings={KB: 1}).values == ("长风工程",)
    with secret._db.write() as connection:
        connection.execute(update(documents).where(documents.c.id == "open").values(level=4))
        secret.levels_changed(connection, KB)
    assert {place.quote for one in secret.every_triple(KB, ceiling=1) for place in one.places} == {"密文", ""}


def test_a_graph_of_nothing_above_is_the_same_graph(secret: SqlGraph) -> None:
    service = GraphService(secret)
    assert contents(service.view(KB, ceiling=4)) == contents(service.view(KB))
    assert service.view(KB, ceiling=4).ids.tolist() == service.view(KB).ids.tolist()


def test_passages_are_found_without_what_is_above(secret: SqlGraph) -> None:
    database = secret._db
    with database.write() as connection:
        entity = connection.execute(select(graph_entities).where(graph_entities.c.name == "晨光公司")).one()
        connection.execute(insert(graph_names), {"id": 1, "kb_id": KB, "name_key": entity.name_key})
        connection.execute(insert(graph_links), [{"name_id": 1, "chunk_id": one, "count": 3} for one in (1, 2)])
    service = GraphService(secret)
    passages = PassageGraphs(database, lambda kb_id, ceiling: service.view(kb_id, ceiling=ceiling))
    assert {one.chunk_id for one in passages.near(KB, "晨光公司", [], top_k=10)} == {1, 2}
    assert {one.chunk_id for one in passages.near(KB, "晨光公司", [], top_k=10, ceiling=1)} == {1}
