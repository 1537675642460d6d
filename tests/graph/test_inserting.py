"""Many rows with one statement are what they would be one by one; ids that were given away do not come again."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from qzbrain.brain import Brain
from qzbrain.graph.base import Fact, Place
from qzbrain.graph.inserting import insert_new, insert_rows
from qzbrain.graph.linking import key_of, keys_of
from qzbrain.storage.database import Database
from qzbrain.storage.tables import graph_aliases, graph_triples

COLUMNS = ("head_id", "relation_id", "tail_id")


@pytest.fixture
def database(brain: Brain) -> Iterator[Database]:
    yield brain.db


def _stored(database: Database) -> list[tuple[int, ...]]:
    columns = (graph_triples.c.id, graph_triples.c.head_id, graph_triples.c.relation_id, graph_triples.c.tail_id)
    return [tuple(row) for row in database.rows(select(*columns).where(graph_triples.c.kb_id == "kb").order_by(graph_triples.c.id))]


@pytest.mark.parametrize("count", [0, 1, 19, 20, 21, 199, 2001, 4225])
def test_every_row_is_there_with_the_id_that_was_told(database: Database, count: int) -> None:
    rows = [(n, n % 7, n + 1) for n in range(count)]
    with database.write() as connection:
        last, in_order = insert_new(connection, graph_triples, COLUMNS, rows, {"kb_id": "kb"})
    assert (last, in_order) == (0, True)
    assert _stored(database) == [(number, *row) for number, row in enumerate(rows, 1)]


def test_rows_that_are_there_are_passed_over_and_counted(database: Database) -> None:
    with database.write() as connection:
        insert_new(connection, graph_triples, COLUMNS, [(n, 1, n) for n in range(0, 300, 3)], {"kb_id": "kb"})
        last, in_order = insert_new(connection, graph_triples, COLUMNS, [(n, 1, n) for n in range(300)], {"kb_id": "kb"})
        assert (last, in_order) == (100, False)
        assert insert_rows(connection, graph_triples, COLUMNS, [(n, 1, n) for n in range(310)], {"kb_id": "kb"}) == 10
    stored = _stored(database)
    assert sorted(row[1] for row in stored) == list(range(310)) and len({row[0] for row in stored}) == 310


def test_without_columns_that_are_the_same_for_all(database: Database) -> None:
    rows = [(n, f"k{n}", "", "kb", f"K{n}") for n in range(450)]
    with database.write() as connection:
        assert insert_rows(connection, graph_aliases, ("entity_id", "alias_key", "document_id", "kb_id", "alias"), rows) == 450
    assert len(database.rows(select(graph_aliases.c.alias).where(graph_aliases.c.kb_id == "kb"))) == 450


def test_ids_of_what_is_gone_are_not_given_again(brain: Brain) -> None:
    brain.graph.add("kb", [Fact("甲", "与", f"乙{n}", Place("import")) for n in range(50)])
    before = {t.id for t in brain.graph.every_triple("kb")}, {t.tail.id for t in brain.graph.every_triple("kb")}
    brain.graph.drop("kb")
    brain.graph.add("kb", [Fact("甲", "与", f"乙{n}", Place("import")) for n in range(50)])
    after = {t.id for t in brain.graph.every_triple("kb")}, {t.tail.id for t in brain.graph.every_triple("kb")}
    assert min(after[0]) > max(before[0]) and min(after[1]) > max(before[1])


def test_keys_made_together_are_those_made_one_by_one() -> None:
    chance = random.Random(5)
    ranges = ((32, 127), (0xA0, 0x250), (0x300, 0x400), (0x2000, 0x2070), (0x4E00, 0x9FFF), (0x1F300, 0x1F600), (10, 11), (0xDC00, 0xDC01))
    names = {"".join(chr(chance.randrange(*chance.choice(ranges))) for _ in range(chance.randrange(1, 100))) for _ in range(3000)}
    names |= {"ΑΣ", "Σ", "著作權", "ＡＢＣ　Ｄ", "甲" * 90, " ", ""}
    assert keys_of(names) == {name: key_of(name) for name in names}
    assert keys_of(set()) == {}


def test_places_in_any_order_are_kept_with_their_triples(brain: Brain) -> None:
    chance = random.Random(2)
    places = [Place("import", source=f"来源{n}") for n in range(3)]
    for runs in (1, 700):  # long runs of one place, and places that change with every fact
        facts = [Fact(f"甲{chance.randrange(90)}", "与", f"乙{chance.randrange(90)}", places[n // runs % 3]) for n in range(2100)]
        brain.graph.add(f"kb{runs}", facts)
        told = {(t.head.name, t.tail.name): [place.source for place in t.places] for t in brain.graph.every_triple(f"kb{runs}")}
        expected: dict[tuple[str, str], dict[str, None]] = {}
        for fact in facts:
            expected.setdefault((fact.head, fact.tail), {})[fact.place.source] = None
        assert told == {ends: list(said) for ends, said in expected.items()}
