"""The copy of graphs on a real Neo4j: it says what SQL says, comes after it by itself, and SQL answers while it cannot."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random

import numpy as np
import pytest
from sqlalchemy import delete, select, update

from qzbrain.errors import BrainError
from qzbrain.graph import changes
from qzbrain.graph.base import Fact, Place
from qzbrain.graph.changes import trim, unfollow_all
from qzbrain.graph.embedded import SqlGraph
from qzbrain.graph.mirror import feeding
from qzbrain.graph.mirror.feeding import Mirror
from qzbrain.graph.mirror.state import read_state
from qzbrain.graph.mirror.store import MirroredGraph
from qzbrain.storage.database import Database
from qzbrain.storage.migrate import upgrade
from qzbrain.storage.tables import graph_changes, graph_mirrors, graph_versions
from tests.graph.mirrored import Following, following, link_of
from tests.servers.neo4j_server import Neo4jServer

pytestmark = [pytest.mark.servers, pytest.mark.timeout(300)]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = Database(tmp_path / "brain.sqlite")
    upgrade(made)
    return made


@pytest.fixture
def kb() -> str:
    return f"kb-{secrets.token_hex(4)}"


@pytest.fixture
def store(database: Database, neo4j_server: Neo4jServer, kb: str) -> Iterator[Following]:
    made = following(database, neo4j_server.settings)
    yield made
    made.mirror.forget(kb)
    made.mirror.link.close()


@pytest.fixture
def plain(store: Following, database: Database) -> MirroredGraph:
    """As a process has it: the copy comes after SQL only when somebody sees to it."""
    return MirroredGraph(database, store.mirror)


def fact(head: str, relation: str, tail: str, document: str = "", at: int = 0, **more: object) -> Fact:
    place = Place("definition", document, 1, at, at + 2, "原文", confidence=(at % 7 + 1) / 8) if document else Place("import", source="表")
    return Fact(head, relation, tail, place, **more)  # type: ignore[arg-type]


def require_equal(store: MirroredGraph, database: Database, kb: str) -> None:
    """The copy gives what SQL gives, for everything that can be asked."""
    sql, before = SqlGraph(database), store.reads["sql"]
    here, there = list(sql.every_triple(kb)), list(store.every_triple(kb))
    assert there == here
    assert store.stats(kb) == sql.stats(kb)
    ids = [one.id for one in here]
    assert store.triples(kb, [*ids[::-1], 10**12]) == sql.triples(kb, ids[::-1])
    entities = {end.id for one in here for end in (one.head, one.tail)}
    for one in [*sorted(entities)[:20], 10**12]:
        assert store.entity(kb, one) == sql.entity(kb, one)
    for text in ("名", "名1", "别", "关系"):
        assert store.search(kb, text, limit=7) == sql.search(kb, text, limit=7), text
    one, other = store.view(kb), sql.view(kb)
    assert one.version == other.version
    for name in ("names", "types", "relation_names"):
        assert list(getattr(one, name)) == list(getattr(other, name)), name
    assert set(one.aliases) == set(other.aliases) and dict(one.same) == dict(other.same)
    for name in ("ids", "triple_ids", "heads", "relations", "tails"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert store.reads["sql"] == before, store.standing_in


def some_change(store: MirroredGraph, kb: str, random: Random) -> None:
    """Any change that a graph can see."""
    names, types = [f"名{n}" for n in range(14)], ["", "", "甲类", "乙类"]
    entities = SqlGraph.search(store, kb, "名", limit=50)
    what = random.randrange(8)
    if what < 4 or len(entities) < 3:
        document = random.choice(["", "d1", "d2", "d3"])
        facts = [
            fact(
                random.choice(names), f"关系{random.randrange(3)}", random.choice(names), document, at,
                head_type=random.choice(types), aliases=tuple(random.sample(["别甲", "别乙", "别丙"], random.randrange(2))),
            )
            for at in range(random.randrange(1, 9))
        ]  # fmt: skip
        store.add(kb, facts)
    elif what == 4:
        store.forget_document(kb, random.choice(["d1", "d2", "d3"]), extractor=random.choice(["", "definition"]))
    elif what == 5:
        one = random.choice(entities)
        store.forget_alias(kb, one.id, random.choice(one.aliases or ("无",)))
    else:
        keep, *others = random.sample([one.id for one in entities], 3)
        merge_id = store.merge(kb, keep, others, author="")
        if what == 7:
            store.add(kb, [fact("后来", "关系1", random.choice(names), "d1")])
            with suppress(BrainError):  # a name may have become an entity of its own meanwhile
                store.undo_merge(kb, merge_id)


@pytest.mark.parametrize("seed", range(2))
def test_after_any_changes_the_copy_gives_what_sql_gives(store: Following, database: Database, kb: str, seed: int) -> None:
    random = Random(seed)
    for _ in range(7):
        for _ in range(random.randrange(1, 4)):
            some_change(store, kb, random)
        require_equal(store, database, kb)
    store.drop(kb)
    assert store.stats(kb).triples == 0 and list(store.every_triple(kb)) == []


def test_every_answer_is_read_from_neo4j(store: Following, database: Database, kb: str) -> None:
    """It is asked for what only Neo4j says: SQL cannot have answered."""
    store.add(kb, [fact("甲", "与", "乙")])
    store.mirror.catch_up(kb)
    with store.mirror.link._opened().session() as session:
        session.run("MATCH (n:QzEntity {kb: $kb, key: '甲'}) SET n.name = '由 Neo4j 说出'", kb=kb).consume()
    (one,) = store.search(kb, "甲", limit=5)
    assert one.name == "由 Neo4j 说出"
    entity = store.entity(kb, one.id)
    assert entity is not None and entity.name == one.name
    assert [t.head.name for t in store.every_triple(kb)] == [one.name] == [t.head.name for t in store.triples(kb, [1])]
    assert one.name in store.view(kb).names
    assert store.reads == {"neo4j": 6}


def test_what_is_behind_is_read_from_sql_until_it_is_not(plain: MirroredGraph, kb: str) -> None:
    plain.add(kb, [fact("甲", "与", "乙")])
    assert plain.stats(kb).triples == 1 and plain.standing_in == "neo4j_behind"
    plain.mirror.catch_up(kb)
    assert plain.stats(kb).triples == 1 and plain.standing_in == ""
    plain.add(kb, [fact("甲", "与", "丙")])
    assert [t.tail.name for t in plain.every_triple(kb)] == ["乙", "丙"] and plain.standing_in == "neo4j_behind"
    assert plain.mirror.due() == [kb]
    plain.mirror.catch_up(kb)
    assert plain.mirror.due() == [] and len(list(plain.every_triple(kb))) == 2 and plain.standing_in == ""


def test_an_export_that_loses_the_copy_on_the_way_stays_of_one_moment(
    plain: MirroredGraph, database: Database, kb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qzbrain.graph.mirror.store.MANY", 10)
    plain.add(kb, [fact(f"名{n}", "与", f"物{n}") for n in range(50)])
    plain.mirror.catch_up(kb)
    expected, found = list(SqlGraph.every_triple(plain, kb)), []
    for n, triple in enumerate(plain.every_triple(kb)):
        found.append(triple)
        if n == 15:
            plain.add(kb, [fact("新", "与", "物")])
            plain.mirror.catch_up(kb)
    assert found == expected
    assert plain.reads == {"neo4j": 2, "sql": 1}


def test_large_changes_and_copies_are_made_in_steps(store: Following, database: Database, kb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "AT_ONCE", 40)
    monkeypatch.setattr("qzbrain.graph.mirror.store._BLOCK", 30)
    seen: list[tuple[int, int]] = []
    SqlGraph(database).add(kb, [fact(f"名{n}", f"关系{n % 3}", f"物{n % 50}", f"d{n % 5}", n, aliases=(f"别{n}",)) for n in range(200)])
    store.mirror.catch_up(kb, lambda done, total: seen.append((done, total)))
    total = store.stats(kb).triples + store.stats(kb).entities
    assert seen == sorted(seen) and seen[-1] == (total, total) and len(seen) > 8
    for n in range(4):
        store.add(kb, [fact(f"名{n}{m}", "关系9", f"物{m}") for m in range(60)])
    store.forget_document(kb, "d1")
    require_equal(store, database, kb)


def test_a_change_in_the_middle_of_making_a_copy_is_not_lost(store: Following, database: Database, kb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "AT_ONCE", 20)
    sql, random = SqlGraph(database), Random(5)
    sql.add(kb, [fact(f"名{n}", f"关系{n % 3}", f"物{n % 10}", f"d{n % 5}", n) for n in range(100)])
    store.mirror.catch_up(kb, between=lambda: some_change(store, kb, random) if random.random() < 0.5 and sql.version(kb) < 30 else None)
    require_equal(store, database, kb)


def test_two_workers_at_once_do_no_harm(store: Following, database: Database, neo4j_server: Neo4jServer, kb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeding, "AT_ONCE", 20)
    other = Mirror(database, link_of(neo4j_server.settings))
    SqlGraph(database).add(kb, [fact(f"名{n}", "与", f"物{n % 10}") for n in range(100)])
    store.mirror.catch_up(kb, between=lambda: other._step(kb, None) and None)
    require_equal(store, database, kb)
    other.link.close()


def test_a_server_that_forgot_everything_is_filled_anew(plain: MirroredGraph, database: Database, kb: str) -> None:
    plain.add(kb, [fact("甲", "与", "乙")])
    plain.mirror.catch_up(kb)
    with plain.mirror.link._opened().session() as session:
        session.run("MATCH (n) WHERE n.kb = $kb DETACH DELETE n", kb=kb).consume()
    assert plain.mirror.due() == [] and plain.stats(kb).triples == 1 and plain.standing_in == "neo4j_behind"
    assert plain.mirror.due() == [kb], "whoever found it out has it looked at"
    plain.mirror.catch_up(kb)
    require_equal(plain, database, kb)


def test_a_restored_backup_is_another_history(store: Following, database: Database, kb: str) -> None:
    store.add(kb, [fact("甲", "与", "乙")])
    store.mirror.catch_up(kb)
    version = store.version(kb)
    store.add(kb, [fact("甲", "与", "丙")])
    store.mirror.catch_up(kb)
    with database.write() as connection:  # as if it had never been, and something else came instead
        connection.execute(update(graph_versions).where(graph_versions.c.kb_id == kb).values(version=version))
        connection.execute(delete(graph_changes).where(graph_changes.c.kb_id == kb, graph_changes.c.version > version))
    store.forget_document(kb, "none")
    store.add(kb, [fact("丁", "与", "乙")])
    store.mirror.distrust()  # as every start does
    require_equal(store, database, kb)


def test_without_the_server_nothing_is_noted_and_with_it_again_it_comes_after(plain: MirroredGraph, database: Database, kb: str) -> None:
    plain.add(kb, [fact("甲", "与", "乙")])
    plain.mirror.catch_up(kb)
    unfollow_all(database)
    for n in range(3):
        plain.add(kb, [fact("甲", "与", f"物{n}")])
    assert database.rows(select(graph_changes)) == [] == database.rows(select(graph_mirrors))
    assert plain.mirror.due() == [kb]
    plain.mirror.catch_up(kb)
    require_equal(plain, database, kb)


def test_a_copy_that_is_far_behind_is_made_anew(plain: MirroredGraph, database: Database, kb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain.add(kb, [fact("甲", "在", "乙")])
    plain.mirror.catch_up(kb)
    for n in range(6):
        plain.add(kb, [fact("甲", "在", f"名{n}")])
    monkeypatch.setattr(changes, "MOST_NOTES", 7)
    trim(database)
    assert _noted(database, kb) > 1
    plain.add(kb, [fact("乙", "在", "名7")])
    trim(database)
    assert _noted(database, kb) == 1 and plain.mirror.due() == [kb]
    plain.mirror.catch_up(kb)
    require_equal(plain, database, kb)


def _noted(database: Database, kb: str) -> int:
    return len(database.rows(select(graph_changes.c.version).where(graph_changes.c.kb_id == kb)))


def test_notes_that_the_copy_has_are_removed(store: Following, database: Database, kb: str) -> None:
    for n in range(5):
        store.add(kb, [fact("甲", "与", f"物{n}")])
        store.mirror.catch_up(kb)
    assert [row.version for row in database.rows(select(graph_changes.c.version))] == [5]


def test_only_what_is_ours_is_deleted(store: Following, kb: str) -> None:
    with store.mirror.link._opened().session() as session:
        session.run("CREATE (:Person {kb: $kb, name: 'theirs'})-[:QZ_OTHER {kb: $kb}]->(:Entity {kb: $kb})", kb=kb).consume()
        store.add(kb, [fact("甲", "与", "乙")])
        store.add(f"{kb}x", [fact("甲", "与", "乙")])
        for one in (kb, f"{kb}x"):
            store.mirror.catch_up(one)
        store.mirror.rebuild(kb)
        store.mirror.catch_up(kb)
        store.mirror.forget(kb)
        assert session.run("MATCH (n)-[r:QZ_OTHER]->(m) WHERE n.kb = $kb RETURN count(*)", kb=kb).single()[0] == 1
        assert session.run("MATCH (n) WHERE n.kb = $kb AND any(x IN labels(n) WHERE x STARTS WITH 'Qz') RETURN count(*)", kb=kb).single()[0] == 0
        assert session.run("MATCH (n:QzEntity) WHERE n.kb = $kb RETURN count(*)", kb=f"{kb}x").single()[0] == 2
        session.run("MATCH (n) WHERE n.kb = $kb DETACH DELETE n", kb=kb).consume()
    store.mirror.forget(f"{kb}x")


def test_a_test_brain_has_labels_of_its_own(store: Following, database: Database, kb: str) -> None:
    store.add(kb, [fact("甲", "与", "乙")])
    store.mirror.catch_up(kb)
    test = Mirror(database, store.mirror.link, test=True)
    test.catch_up(kb)
    assert test.counts(kb) == store.mirror.counts(kb)
    test.forget(kb)
    assert test.counts(kb).entities == 0 and store.mirror.counts(kb).entities == 2


HARD = [
    "nul\0in the middle", "'; MATCH (n) DETACH DELETE n //", "`x`) DELETE (n", "\\u0000 \\' \"", "$kb", "{kb: 1}", "𠮷野家 😀‍👩‍👧",
    "e\u0301 \u202e right to left",
    "\ufffe\uffff", " 　tabs\tand\nlines ", "长" * 70, "x" * 2000,
]  # fmt: skip


def test_any_text_is_carried_as_it_is(store: Following, database: Database, kb: str) -> None:
    store.add(kb, [fact(text, text[:255], f"{text}！", f"d{n}", aliases=(f"别{text}"[:255],), head_type=text[:60]) for n, text in enumerate(HARD)])
    require_equal(store, database, kb)
    for text in HARD:
        assert store.search(kb, text, limit=50) == SqlGraph(database).search(kb, text, limit=50)


def test_a_name_and_a_quote_of_ten_megabytes_are_carried(store: Following, database: Database, kb: str) -> None:
    huge = "很长的文字。" * 700_000
    store.add(kb, [Fact("甲", "全文", huge, Place("import", source="表")), Fact("甲", "与", "乙", Place("definition", "d1", 1, 0, 9, huge))])
    assert list(store.every_triple(kb)) == list(SqlGraph(database).every_triple(kb))
    assert store.search(kb, "甲", limit=1)[0].degree == 2


def test_a_hub_is_no_slower_than_others(store: Following, database: Database, kb: str) -> None:
    store.add(kb, [fact(f"名{n}", "属于", "中心") for n in range(4_000)])
    (hub,) = store.search(kb, "中心", limit=1)
    assert hub.degree == 4_000
    store.add(kb, [fact("新来", "属于", "中心")])
    kept, *_ = store.search(kb, "新来", limit=1)
    store.merge(kb, hub.id, [kept.id], author="")
    assert store.stats(kb) == SqlGraph(database).stats(kb)
    store.drop(kb)
    assert store.stats(kb).entities == 0


def test_a_step_that_another_was_quicker_with_changes_nothing(store: Following, kb: str) -> None:
    store.add(kb, [fact("甲", "与", "乙")])
    store.mirror.catch_up(kb)
    before = store.mirror.link.read(lambda tx: read_state(tx, store.mirror.cypher, kb))
    assert before is not None and before.exact
    with pytest.raises(feeding.Moved):
        store.mirror.link.write(lambda tx: feeding.step_to(tx, store.mirror.cypher, kb, feeding.State(1, "x", turn=before.turn - 1), before))
    assert store.mirror.link.read(lambda tx: read_state(tx, store.mirror.cypher, kb)) == before
