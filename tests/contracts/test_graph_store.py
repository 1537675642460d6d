"""What every graph store promises, on each store alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from qzbrain.errors import BrainError
from qzbrain.graph.base import Cues, Fact, GraphStore, Place, Stats
from qzbrain.graph.embedded import SqlGraph
from qzbrain.storage.database import Database
from qzbrain.storage.migrate import upgrade
from tests.graph.mirrored import following


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = Database(tmp_path / "brain.sqlite")
    upgrade(made)
    return made


@pytest.fixture(params=["sql", pytest.param("neo4j", marks=[pytest.mark.servers, pytest.mark.timeout(300)])])
def store(request: pytest.FixtureRequest, database: Database) -> Iterator[GraphStore]:
    """SQL alone; and SQL with its copy on a real Neo4j, which then has to give every answer."""
    if request.param == "sql":
        yield SqlGraph(database)
        return
    made = following(database, request.getfixturevalue("neo4j_server").settings)
    yield made
    assert not made.reads["sql"], made.standing_in
    made.mirror.link.close()


def fact(head: str, relation: str, tail: str, document: str = "", at: int = 0, **more: object) -> Fact:
    place = Place("definition", document, 1, at, at + 2, "原文") if document else Place("import", source="表")
    return Fact(head, relation, tail, place, **more)  # type: ignore[arg-type]


def content(store: GraphStore, kb: str = "kb") -> set[object]:
    """All that a graph says, ids aside."""
    return {
        (t.head.name, t.head.type, t.head.aliases, t.relation, t.tail.name, t.tail.type, t.tail.aliases, tuple(sorted(map(repr, t.places))))
        for t in store.every_triple(kb)
    }


class TestGraphStore:
    def test_an_unknown_graph_is_empty(self, store: GraphStore) -> None:
        assert store.stats("kb") == Stats()
        assert store.version("kb") == 0 and store.search("kb", "甲", limit=5) == [] and list(store.every_triple("kb")) == []
        assert store.view("kb").names == [] and store.entity("kb", 1) is None

    def test_facts_are_there_and_the_same_again_changes_nothing(self, store: GraphStore) -> None:
        facts = [fact("甲公司", "董事长", "张三"), fact("甲公司", "所在地", "北京"), fact("乙公司", "董事长", "张三")]
        assert store.add("kb", facts) == Stats(4, 2, 3, 3, 1)
        store.add("kb", facts)
        assert store.stats("kb").triples == 3 and store.stats("kb").mentions == 3
        assert [(t.head.name, t.relation, t.tail.name) for t in store.every_triple("kb")] == [(f.head, f.relation, f.tail) for f in facts]

    def test_names_are_compared_as_a_search_sees_them(self, store: GraphStore) -> None:
        store.add("kb", [fact("ＡＢ 公司", "简称", "甲"), fact("ab公司", "简称", "甲"), fact("臺灣", "是", "甲"), fact("台湾", "是", "甲")])
        assert store.stats("kb").triples == 2

    def test_a_type_makes_another_entity(self, store: GraphStore) -> None:
        store.add("kb", [fact("苹果", "是", "水果", head_type="食物"), fact("苹果", "是", "企业", head_type="公司")])
        assert {e.type for e in store.search("kb", "苹果", limit=5)} == {"食物", "公司"}

    def test_what_is_called_by_another_name_is_the_same(self, store: GraphStore) -> None:
        store.add("kb", [fact("中国移动通信集团", "总部", "北京", aliases=("中国移动", "中移动"))])
        store.add("kb", [fact("中移动", "成立时间", "2000年")])
        (entity,) = store.search("kb", "中国移动", limit=5)
        assert (entity.name, entity.degree, set(entity.aliases)) == ("中国移动通信集团", 2, {"中国移动", "中移动"})

    def test_search_gives_the_same_name_first_then_beginnings_then_parts(self, store: GraphStore) -> None:
        store.add("kb", [fact("北京", "是", "城市"), fact("北京大学", "在", "北京"), fact("南北京剧", "是", "剧"), fact("北京站", "在", "北京")])
        store.add("kb", [fact("100%_x", "是", "名")])
        assert [e.name for e in store.search("kb", "北京", limit=9)] == ["北京", "北京大学", "北京站", "南北京剧"]
        assert [e.name for e in store.search("kb", "0%_", limit=9)] == ["100%_x"]
        assert store.search("kb", "  ", limit=9) == []

    def test_knowledge_bases_do_not_mix(self, store: GraphStore) -> None:
        store.add("kb", [fact("甲", "与", "乙")])
        store.add("other", [fact("甲", "与", "丙")])
        assert [t.tail.name for t in store.every_triple("kb")] == ["乙"]
        store.drop("other")
        assert store.stats("other").triples == 0 and store.stats("kb").triples == 1

    def test_the_version_grows_with_every_change(self, store: GraphStore) -> None:
        seen = [store.version("kb")]
        for change in (lambda: store.add("kb", [fact("甲", "与", "乙", "d1")]), lambda: store.forget_document("kb", "d1"), lambda: store.drop("kb")):
            change()
            seen.append(store.version("kb"))
        assert seen == sorted(set(seen))

    @pytest.mark.parametrize("seed", range(15))
    def test_a_forgotten_document_leaves_what_would_be_there_without_it(self, database: Database, store: GraphStore, seed: int) -> None:
        random = Random(seed)
        names = [f"名{n}" for n in range(12)]

        def aliases() -> tuple[str, ...]:
            return tuple(random.sample(["别甲", "别乙"], random.randrange(2)))

        def some(document: str) -> list[Fact]:
            return [
                fact(random.choice(names), f"关系{random.randrange(3)}", random.choice(names), document, at, aliases=aliases())
                for at in range(random.randrange(1, 12))
            ]  # fmt: skip

        by_document = {name: some(name) for name in ("d1", "d2", "d3", "")}
        for facts in by_document.values():
            store.add("kb", facts)
        store.add("kb", by_document["d2"])
        for gone in ("d1", "d3"):
            store.forget_document("kb", gone)
        for name in ("d2", ""):
            store.add("without", by_document[name])
        assert content(store) == content(store, "without")
        assert store.stats("kb").entities == store.stats("without").entities and store.stats("kb").relations == store.stats("without").relations

    @pytest.mark.parametrize("seed", range(15))
    def test_a_merge_undone_leaves_what_was_there(self, store: GraphStore, seed: int) -> None:
        random = Random(seed)
        names = [f"名{n}" for n in range(6)]
        for document in ("d1", "d2", ""):
            some = [fact(random.choice(names), f"关系{random.randrange(2)}", random.choice(names), document, at) for at in range(8)]
            store.add("kb", some)
        before, counts = content(store), store.stats("kb")
        entities = store.search("kb", "名", limit=20)
        keep, *others = random.sample([e.id for e in entities], min(3, len(entities)))
        merge_id = store.merge("kb", keep, others, author="local")
        assert store.stats("kb").entities == counts.entities - len(others)
        kept = store.entity("kb", keep)
        assert kept is not None and {e.name for e in entities if e.id in others} <= set(kept.aliases)
        store.undo_merge("kb", merge_id)
        assert content(store) == before
        assert store.stats("kb").mentions == counts.mentions

    def test_what_came_after_a_merge_stays_when_it_is_undone(self, store: GraphStore) -> None:
        store.add("kb", [fact("甲", "与", "丙", "d1"), fact("乙", "与", "丙", "d2")])
        ids = {e.name: e.id for e in store.search("kb", "甲", limit=5) + store.search("kb", "乙", limit=5)}
        merge_id = store.merge("kb", ids["甲"], [ids["乙"]], author="local")
        store.add("kb", [fact("乙", "到", "丁", "d3")])
        store.forget_document("kb", "d2")
        store.undo_merge("kb", merge_id)
        assert {(t.head.name, t.relation, t.tail.name) for t in store.every_triple("kb")} == {("甲", "与", "丙"), ("甲", "到", "丁")}

    def test_merges_of_what_was_merged_are_undone_from_the_last_one_on(self, store: GraphStore) -> None:
        store.add("kb", [fact("甲", "与", "丙"), fact("乙", "到", "丁"), fact("戊", "在", "己"), fact("庚", "过", "辛")])
        before, ids = content(store), {name: store.search("kb", name, limit=1)[0].id for name in "甲乙丙戊庚"}
        first = store.merge("kb", ids["乙"], [ids["甲"]], author="")
        second = store.merge("kb", ids["戊"], [ids["乙"]], author="")  # takes what the first one kept
        third = store.merge("kb", ids["庚"], [ids["丙"]], author="")  # takes the end of a triple that the first one moved
        for later in (third, second):
            with pytest.raises(BrainError) as refused:
                store.undo_merge("kb", first)
            assert refused.value.code == "merge_not_last"
            store.undo_merge("kb", later)
        store.undo_merge("kb", first)
        assert content(store) == before

    def test_a_merge_that_cannot_be_is_refused(self, store: GraphStore) -> None:
        store.add("kb", [fact("甲", "与", "乙")])
        (one,) = store.search("kb", "甲", limit=1)
        for call in (
            lambda: store.merge("kb", one.id, [], author=""),
            lambda: store.merge("kb", one.id, [one.id], author=""),
            lambda: store.merge("kb", one.id, [999_999], author=""),
            lambda: store.merge("other", one.id, [one.id + 1], author=""),
            lambda: store.undo_merge("kb", "none"),
        ):
            with pytest.raises(BrainError):
                call()
        (two,) = store.search("kb", "乙", limit=1)
        merge_id = store.merge("kb", one.id, [two.id], author="")
        store.undo_merge("kb", merge_id)
        with pytest.raises(BrainError):
            store.undo_merge("kb", merge_id)

    def test_words_are_set_for_a_relation(self, store: GraphStore) -> None:
        store.add("kb", [fact("红楼梦", "作者", "曹雪芹", "d1"), fact("红楼梦", "体裁", "小说")])
        before = store.version("kb")
        store.set_cues("kb", " 作者", ["谁写了", " 谁写了 ", "执笔"], ["笔下有"])
        assert store.version("kb") > before
        assert store.cues("kb") == {"作者": Cues(("谁写了", "执笔"), ("笔下有",))} and store.cues("other") == {}
        view = store.view("kb")
        assert dict(zip(view.relation_names, view.cues, strict=True)) == {"作者": (("谁写了", "执笔"), ("笔下有",)), "体裁": ((), ())}
        store.set_cues("kb", "作者", [], ["写了什么"])
        assert store.cues("kb") == {"作者": Cues((), ("写了什么",))}
        store.set_cues("kb", "作者", [], [])
        assert store.cues("kb") == {} and list(store.view("kb").cues) == []

    def test_set_words_outlive_the_documents_that_say_the_relation(self, store: GraphStore) -> None:
        store.add("kb", [fact("红楼梦", "作者", "曹雪芹", "d1"), fact("甲", "与", "乙", "d1")])
        store.set_cues("kb", "作者", ["执笔"], [])
        store.forget_document("kb", "d1")
        assert store.cues("kb") == {"作者": Cues(("执笔",))} and store.stats("kb").triples == 0
        store.add("kb", [fact("呐喊", "作者", "鲁迅", "d2")])
        assert store.view("kb").cues == [(("执笔",), ())]
        store.forget_document("kb", "d2")
        store.set_cues("kb", "作者", [], [])
        assert store.stats("kb").relations == 0
        store.add("kb", [fact("呐喊", "作者", "鲁迅")])
        store.set_cues("kb", "作者", ["执笔"], [])
        store.drop("kb")
        assert store.cues("kb") == {}

    def test_words_that_cannot_be_set_are_refused(self, store: GraphStore) -> None:
        store.add("kb", [fact("红楼梦", "作者", "曹雪芹")])
        wrong = ([""], ["  "], ["长" * 65], ["a\x00b"], [f"词{n}" for n in range(51)])
        for relation, words in (("画师", ["画"]), *(("作者", some) for some in wrong)):
            for forward, backward in ((words, []), ([], words)):
                with pytest.raises(BrainError):
                    store.set_cues("kb", relation, forward, backward)
        assert store.cues("kb") == {} and store.version("kb") == 1

    def test_triples_come_in_the_order_asked_with_their_places(self, store: GraphStore) -> None:
        store.add("kb", [fact("甲", "与", "乙", "d1", 5), fact("甲", "与", "乙", "d2", 7), fact("丙", "与", "丁")])
        ids = [t.id for t in store.every_triple("kb")]
        first, second = store.triples("kb", [ids[1], 10**9, ids[0]])
        assert (first.head.name, second.head.name) == ("丙", "甲")
        assert [(p.document_id, p.start, p.quote) for p in second.places] == [("d1", 5, "原文"), ("d2", 7, "原文")]

    def test_a_view_holds_what_the_store_holds(self, store: GraphStore) -> None:
        store.add("kb", [fact("甲", "与", "乙"), fact("乙", "到", "丙"), fact("甲", "到", "丙")])
        store.forget_document("kb", "none")
        view = store.view("kb")
        assert [(view.names[h], view.relation_names[r], view.names[t]) for h, r, t in zip(view.heads, view.relations, view.tails, strict=True)] == [
            ("甲", "与", "乙"), ("乙", "到", "丙"), ("甲", "到", "丙"),
        ]  # fmt: skip
        assert view.version == store.version("kb")
