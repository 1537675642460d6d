"""What every search backend promises (see qzbrain/retrieval/base.py). A new backend adds its maker to BACKENDS; the tests stay as they are."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest

from qzbrain.domain import LEVELS
from qzbrain.errors import IndexUnavailable, Unavailable
from qzbrain.retrieval.base import DeleteDocument, IndexChange, IndexedChunk, LexicalHit, NoIndex, PutDocument, SearchIndex
from qzbrain.retrieval.ranking import MOST_TERMS
from qzbrain.retrieval.shelves import facts_shelf
from qzbrain.settings import Settings
from tests.servers.search_server import SearchServer

TEXTS = {
    "a": ["行政处罚的种类包括警告和罚款。", "没收违法所得，没收非法财物。"],
    "b": ["劳动合同应当以书面形式订立。"],
    "c": ["采购金额超过五十万元的，须经董事会批准。", "验收合格后付款。"],
}


Make = Callable[[], SearchIndex]


@pytest.fixture
def embedded(tmp_path: Path) -> Make:
    """Makers give the view of one more process over the same data."""
    from qzbrain.retrieval.embedded.lexical import TantivyIndex

    return lambda: TantivyIndex(tmp_path / "index")


@pytest.fixture
def elasticsearch(elasticsearch_server: SearchServer) -> Make:
    return on_server(elasticsearch_server)


@pytest.fixture
def opensearch(opensearch_server: SearchServer) -> Make:
    return on_server(opensearch_server)


@pytest.fixture
def given() -> Make:
    return at({"es_url_add": GIVEN})


def on_server(server: SearchServer) -> Make:
    return at(server.settings)


def at(server: dict[str, object]) -> Make:
    from qzbrain.retrieval.elastic.index import ElasticIndex

    settings = Settings(**server, qizhibrain_index="contract")
    return lambda: ElasticIndex(settings)


GIVEN = os.environ.get("QZBRAIN_TEST_ES_URL", "")
"""One more server, of whatever version, that is running already."""
SERVERS = ("elasticsearch", "opensearch", *(["given"] if GIVEN else []))
BACKENDS = ["embedded", *(pytest.param(name, marks=pytest.mark.servers) for name in SERVERS)]


def put(document_id: str, *texts: str, first: int | None = None, context: str = "") -> PutDocument:
    start = first if first is not None else ord(document_id[0]) * 100
    return PutDocument(document_id, [IndexedChunk(start + n, document_id, text, context) for n, text in enumerate(texts)])


def puts() -> list[IndexChange]:
    return [put(name, *texts) for name, texts in TEXTS.items()]


@pytest.mark.parametrize("backend", BACKENDS)
class TestSearchIndex:
    @pytest.fixture
    def make(self, backend: str, request: pytest.FixtureRequest) -> Make:
        made: Make = request.getfixturevalue(backend)
        return made

    @pytest.fixture
    def index(self, make: Make) -> Iterator[SearchIndex]:
        index = make()
        index.rebuild("kb", puts(), watermark=3)
        yield index
        index.drop("kb")

    def test_an_unknown_knowledge_base_has_no_index(self, index: SearchIndex) -> None:
        assert index.watermark("nowhere") == -1
        assert index.chunk_count("nowhere") == 0
        for question in ("罚款", " ".join(f"词{n}" for n in range(MOST_TERMS + 1))):
            with pytest.raises(NoIndex):
                index.search("nowhere", question, top_k=5)
        index.drop("nowhere")

    def test_changes_need_an_index(self, index: SearchIndex) -> None:
        with pytest.raises(Unavailable):
            index.apply("nowhere", puts(), watermark=1)

    def test_rebuild_holds_what_it_was_given(self, index: SearchIndex) -> None:
        assert (index.watermark("kb"), index.chunk_count("kb"), index.deleted_share("kb")) == (3, 5, 0.0)
        hits = index.search("kb", "行政处罚有哪些种类", top_k=5)
        assert hits[0].chunk_id == ord("a") * 100
        assert 0.5 < hits[0].confidence <= 1.0
        index.rebuild("kb", [put("z", "全新内容")], watermark=9)
        assert (index.watermark("kb"), index.chunk_count("kb")) == (9, 1)
        assert index.search("kb", "行政处罚", top_k=5) == []

    def test_an_empty_knowledge_base_has_a_watermark(self, index: SearchIndex) -> None:
        index.rebuild("kb", [], watermark=0)
        assert (index.watermark("kb"), index.chunk_count("kb"), index.search("kb", "罚款", top_k=5)) == (0, 0, [])
        index.apply("kb", puts(), watermark=4)
        assert (index.watermark("kb"), index.chunk_count("kb")) == (4, 5)

    def test_put_replaces_all_chunks(self, index: SearchIndex) -> None:
        index.apply("kb", [put("a", "海洋环境保护。", first=77)], watermark=4)
        assert index.search("kb", "没收违法所得", top_k=5) == []
        assert [hit.chunk_id for hit in index.search("kb", "海洋环境", top_k=5)] == [77]
        assert (index.watermark("kb"), index.chunk_count("kb")) == (4, 4)

    def test_delete_forgets_and_unknown_documents_do_not_mind(self, index: SearchIndex) -> None:
        index.apply("kb", [DeleteDocument("b"), DeleteDocument("unknown")], watermark=4)
        assert index.search("kb", "劳动合同", top_k=5) == []
        assert (index.watermark("kb"), index.chunk_count("kb")) == (4, 4)

    def test_changes_apply_in_order(self, index: SearchIndex) -> None:
        index.apply("kb", [put("d", "第一版", first=1), DeleteDocument("d"), put("d", "第二版本", first=2), put("d", "第三版本", first=3)], watermark=4)
        assert [hit.chunk_id for hit in index.search("kb", "版本", top_k=5)] == [3]

    def test_a_replay_changes_nothing(self, index: SearchIndex) -> None:
        index.apply("kb", [put("d", "新的办法", first=1), DeleteDocument("a")], watermark=5)
        seen = index.search("kb", "办法 处罚 合同 采购", top_k=9)
        for changes, watermark in ((puts(), 3), ([put("d", "新的办法", first=1), DeleteDocument("a")], 5)):
            index.apply("kb", changes, watermark=watermark)
            assert index.watermark("kb") == 5
            assert index.search("kb", "办法 处罚 合同 采购", top_k=9) == seen

    def test_applied_equals_rebuilt(self, index: SearchIndex) -> None:
        index.rebuild("one", [], watermark=0)
        for seq, change in enumerate(puts(), 1):
            index.apply("one", [change], watermark=seq)
        for question in ("处罚", "采购金额 付款", "书面劳动合同"):
            assert index.search("one", question, top_k=9) == index.search("kb", question, top_k=9)

    def test_a_document_put_again_with_the_same_chunks_leaves_the_statistics_alone(self, index: SearchIndex) -> None:
        before = index.search("kb", "罚款 没收", top_k=5)
        index.apply("kb", puts(), watermark=8)
        assert (index.search("kb", "罚款 没收", top_k=5), index.watermark("kb"), index.deleted_share("kb")) == (before, 8, 0.0)

    def test_deleted_share_tells_when_to_rebuild(self, index: SearchIndex) -> None:
        index.apply("kb", [put("a", "甲", "乙", first=500)], watermark=4)
        assert 0.0 <= index.deleted_share("kb") < 1.0
        index.rebuild("kb", puts(), watermark=5)
        assert index.deleted_share("kb") == 0.0

    def test_top_k_and_ties_by_chunk_id(self, index: SearchIndex) -> None:
        index.rebuild("kb", [put(name, "完全相同的一句话", first=n) for n, name in ((30, "x"), (10, "y"), (20, "z"))], watermark=1)
        assert [hit.chunk_id for hit in index.search("kb", "相同", top_k=3)] == [10, 20, 30]
        assert [hit.chunk_id for hit in index.search("kb", "相同", top_k=2)] == [10, 20]
        assert index.search("kb", "相同", top_k=0) == []

    def test_common_terms_rank_only_where_the_others_find_too_little(self, index: SearchIndex) -> None:
        bridges = [put(f"b{n}", "桥梁 桥梁 海洋 船舶", first=100 + n) for n in range(59)] + [put("b59", "桥梁 桥梁 海洋 海洋", first=159)]
        bridges += [put(f"c{n}", "桥梁 船舶 船舶 船舶", first=200 + n) for n in range(40)]
        towers = [put(f"t{n}", "灯塔 船舶 船舶 船舶", first=300 + n) for n in range(3)]
        others = [put(f"n{n}", "海洋 港口 港口 港口" if n < 400 else "港口 港口 港口 港口", first=1000 + n) for n in range(800)]
        index.rebuild("kb", [*bridges, *towers, *others], watermark=1)
        both = index.search("kb", "桥梁与海洋", top_k=44)
        assert [hit.chunk_id for hit in both] == list(range(100, 144)) and len({hit.score for hit in both}) == 1, "how often the common one is there is nothing"
        few = index.search("kb", "灯塔与海洋", top_k=50)
        assert ({hit.chunk_id for hit in few[:3]}, len(few)) == ({300, 301, 302}, 50), "what the rare one does not fill the common one does"
        assert few[0].confidence > few[3].confidence > 0
        assert len(index.search("kb", "海洋", top_k=50)) == 50

    def test_the_filter_applies_before_the_cut(self, index: SearchIndex) -> None:
        crowd = [put(f"n{n}", "消防检查 消防检查 消防", first=1000 + n) for n in range(300)]
        index.rebuild("kb", [*crowd, put("wanted", "关于消防的一处提及，在很长的说明文字之中。", first=1)], watermark=1)
        assert [hit.chunk_id for hit in index.search("kb", "消防检查", top_k=1, document_ids=["wanted", "absent"])] == [1]
        assert index.search("kb", "消防检查", top_k=5, document_ids=[]) == []

    def test_context_is_searched_and_weighs_less(self, index: SearchIndex) -> None:
        index.rebuild(
            "kb", [put("x", "应当及时办理。", first=1, context="退休规定\n第一章"), put("y", "退休规定应当及时办理。", first=2, context="第二章")], watermark=1
        )
        hits = index.search("kb", "退休规定", top_k=5)
        assert [hit.chunk_id for hit in hits] == [2, 1]
        assert hits[1].confidence == hits[0].confidence == 1.0

    @pytest.mark.parametrize("question", ["", " \n", "的是什么？", "！@#", "\x00\x01", "\ud800", "a" * 20_000, '"罚款" AND (NOT *:* ~^[', "不存在的词语"])
    def test_odd_questions_are_no_error(self, index: SearchIndex, question: str) -> None:
        assert isinstance(index.search("kb", question, top_k=5), list)

    def test_a_very_long_question_finds_what_it_asks(self, index: SearchIndex) -> None:
        assert index.search("kb", "采购金额超过五十万元" * 1500, top_k=1)[0].chunk_id // 100 == ord("c")

    def test_confidence_falls_with_what_is_not_covered(self, index: SearchIndex) -> None:
        whole = index.search("kb", "采购金额", top_k=1)[0].confidence
        part = index.search("kb", "采购金额与火箭发射场", top_k=1)[0].confidence
        assert 0.0 < part < whole <= 1.0

    def test_statistics_never_mix(self, index: SearchIndex) -> None:
        before = index.search("kb", "行政处罚 罚款", top_k=9)
        index.rebuild("other", [put(f"n{n}", "行政处罚 罚款 罚款", first=5000 + n) for n in range(200)], watermark=1)
        assert index.search("kb", "行政处罚 罚款", top_k=9) == before

    def test_the_two_shelves_of_a_knowledge_base_are_apart(self, index: SearchIndex) -> None:
        shelf = facts_shelf("kb")
        before = index.search("kb", "行政处罚 罚款", top_k=9)
        assert index.watermark(shelf) == -1
        with pytest.raises(NoIndex):
            index.search(shelf, "罚款", top_k=5)
        index.rebuild(shelf, [put(f"n{n}", "行政处罚的罚款：若干。", first=7000 + n) for n in range(200)], watermark=1)
        index.apply(shelf, [put("n0", "行政处罚的警告：若干。", first=9000), DeleteDocument("n1")], watermark=2)
        assert index.search("kb", "行政处罚 罚款", top_k=9) == before
        assert (index.watermark(shelf), index.chunk_count(shelf), index.search(shelf, "警告", top_k=5)[0].chunk_id) == (2, 199, 9000)
        index.drop(shelf)
        assert (index.watermark(shelf), index.search("kb", "行政处罚 罚款", top_k=9)) == (-1, before)
        index.rebuild(shelf, [], watermark=1)
        index.drop("kb")
        assert index.watermark(shelf) == 1
        index.drop(shelf)

    def test_other_processes_see_a_commit_at_once(self, index: SearchIndex, make: Make) -> None:
        other = make()
        assert other.search("kb", "海洋", top_k=5) == []
        index.apply("kb", [put("d", "海洋环境", first=1)], watermark=4)
        assert [hit.chunk_id for hit in other.search("kb", "海洋", top_k=5)] == [1]
        index.rebuild("kb", [put("e", "海洋生物", first=2)], watermark=5)
        assert [hit.chunk_id for hit in other.search("kb", "海洋", top_k=5)] == [2]
        index.drop("kb")
        assert other.watermark("kb") == -1
        with pytest.raises(NoIndex):
            other.search("kb", "海洋", top_k=5)

    def test_a_second_writer_is_refused_and_readers_go_on(self, index: SearchIndex, make: Make) -> None:
        inside, go_on = threading.Event(), threading.Event()

        def slow() -> Iterator[IndexChange]:
            yield put("d", "慢慢写入", first=1)
            inside.set()
            assert go_on.wait(30)

        writer = threading.Thread(target=lambda: index.rebuild("kb", slow(), watermark=9))
        writer.start()
        assert inside.wait(30)
        try:
            with pytest.raises(IndexUnavailable, match="index_busy"):
                make().apply("kb", [DeleteDocument("a")], watermark=9)
            assert index.search("kb", "罚款", top_k=1)[0].chunk_id // 100 == ord("a")
        finally:
            go_on.set()
            writer.join(30)
        assert index.watermark("kb") == 9

    @pytest.mark.parametrize("chunks", [0, 1, 5, 4000])
    def test_how_many_chunks_come_is_only_a_plan(self, index: SearchIndex, chunks: int) -> None:
        before = index.search("kb", "行政处罚 罚款", top_k=9)
        index.rebuild("kb", puts(), watermark=4, chunks=chunks)
        assert (index.watermark("kb"), index.chunk_count("kb"), index.deleted_share("kb")) == (4, 5, 0.0)
        assert index.search("kb", "行政处罚 罚款", top_k=9) == before

    @pytest.mark.parametrize("ends", [False, True])
    def test_gathering_changes_nothing_that_is_found(self, index: SearchIndex, make: Make, ends: bool) -> None:
        index.apply("kb", [put("d", "罚款的决定。", first=1), DeleteDocument("b")], watermark=8)
        index.apply("kb", [DeleteDocument("unknown")], watermark=9)
        assert index.parts("kb") is None, "it is small"
        there: list[IndexChange] = [put(name, *texts) for name, texts in TEXTS.items() if name != "b"]
        done = index.gather("kb", iter([*there, put("d", "罚款的决定。", first=1)]), chunks=5, turn=nullcontext(), goes_on=lambda: not ends)
        assert not (done and ends)
        assert (index.watermark("kb"), index.chunk_count("kb")) == (9, 5)
        assert {hit.chunk_id for hit in make().search("kb", "罚款", top_k=9)} == {1, ord("a") * 100}
        assert make().search("kb", "劳动合同", top_k=9) == []
        index.apply("kb", [DeleteDocument("a")], watermark=10)
        assert {hit.chunk_id for hit in make().search("kb", "罚款", top_k=9)} == {1}

    def test_a_change_that_fails_half_way_leaves_the_index_as_it_was(self, index: SearchIndex) -> None:
        def broken() -> Iterator[IndexChange]:
            yield put("d", "没有写完", first=1)
            raise RuntimeError("half way")

        for write in (index.apply, index.rebuild):
            with pytest.raises(RuntimeError, match="half way"):
                write("kb", broken(), watermark=9)
            assert (index.watermark("kb"), index.chunk_count("kb")) == (3, 5)
        index.apply("kb", [put("d", "写完了", first=1)], watermark=4)
        assert index.chunk_count("kb") == 6

    def test_threads_search_while_another_writes(self, index: SearchIndex) -> None:
        failures: list[BaseException] = []
        stop = threading.Event()

        def search() -> None:
            try:
                while not stop.is_set():
                    assert index.search("kb", "劳动合同", top_k=3)[0].chunk_id // 100 == ord("b")
            except BaseException as exc:
                failures.append(exc)

        readers = [threading.Thread(target=search) for _ in range(4)]
        for reader in readers:
            reader.start()
        for seq in range(4, 16):
            index.apply("kb", [put("d", f"第{seq}次写入", first=seq)], watermark=seq)
        index.rebuild("kb", puts(), watermark=20)
        stop.set()
        for reader in readers:
            reader.join(30)
        assert failures == []


QUESTION = "消防检查的记录"
EVERY = range(len(LEVELS))


def levelled(changed: PutDocument, level: int) -> PutDocument:
    """The same, of this level."""
    return PutDocument(changed.document_id, changed.chunks, level)


def ids(hits: Sequence[LexicalHit]) -> list[int]:
    return [hit.chunk_id for hit in hits]


@pytest.mark.parametrize("backend", BACKENDS)
class TestLevels:
    """What is above the asker's level is as if it were not there, before the cut, whatever is written when."""

    @pytest.fixture
    def make(self, backend: str, request: pytest.FixtureRequest) -> Make:
        made: Make = request.getfixturevalue(backend)
        return made

    @pytest.fixture
    def documents(self) -> dict[str, PutDocument]:
        """Of every level, in no order; the most secret ones are those that fit best."""
        chance = random.Random(5)
        found: dict[str, PutDocument] = {}
        for n in range(120):
            level = n % len(LEVELS)
            texts = ["消防检查" * chance.randint(1, level + 1) + f"，第{chance.randrange(9)}组的记录。", f"食堂供应第{n}餐。"]
            found[f"n{n}"] = levelled(put(f"n{n}", *texts, first=10 * n + 1), level)
        return found

    @pytest.fixture
    def index(self, make: Make, documents: Mapping[str, PutDocument]) -> Iterator[SearchIndex]:
        index = make()
        index.rebuild("kb", list(documents.values()), watermark=3)
        yield index
        index.drop("kb")

    @staticmethod
    def check(index: SearchIndex, documents: Mapping[str, PutDocument]) -> None:
        """Each asker's best are the best of what he may see, of any number, with the scores that all others see too."""
        whole = index.search("kb", QUESTION, top_k=1000)
        levels = {chunk.chunk_id: one.level for one in documents.values() for chunk in one.chunks}
        assert {levels[one] for one in ids(whole)} == {one.level for one in documents.values()}
        for most in EVERY:
            seen = [hit for hit in whole if levels[hit.chunk_id] <= most]
            for top_k in (1, 10, 1000):
                assert index.search("kb", QUESTION, top_k=top_k, max_level=most) == seen[:top_k]
        assert index.search("kb", QUESTION, top_k=1000, max_level=-1) == []

    def test_the_best_are_the_best_of_what_may_be_seen(self, index: SearchIndex, documents: Mapping[str, PutDocument]) -> None:
        self.check(index, documents)

    def test_with_a_filter_by_documents(self, index: SearchIndex, documents: Mapping[str, PutDocument]) -> None:
        some = [f"n{n}" for n in range(30)]
        seen = {chunk.chunk_id for name in some if documents[name].level <= 1 for chunk in documents[name].chunks}
        found = index.search("kb", QUESTION, top_k=50, document_ids=some, max_level=1)
        assert found == [hit for hit in index.search("kb", QUESTION, top_k=1000) if hit.chunk_id in seen]
        assert len(found) == 12
        assert index.search("kb", QUESTION, top_k=5, document_ids=["n4", "n9"], max_level=3) == []

    def test_a_changed_level_is_followed_with_the_same_chunks(self, index: SearchIndex, documents: dict[str, PutDocument], make: Make) -> None:
        other = make()
        assert ids(other.search("kb", QUESTION, top_k=1, max_level=4)) != ids(other.search("kb", QUESTION, top_k=1, max_level=0))
        for step, (was, now) in enumerate(((4, 0), (0, 4), (2, 1)), 4):
            changed = {name: levelled(one, now) for name, one in documents.items() if one.level == was}
            index.apply("kb", list(changed.values()), watermark=step)
            documents |= changed
            levels = {chunk.chunk_id: one.level for one in documents.values() for chunk in one.chunks}
            for most in EVERY:
                found = other.search("kb", QUESTION, top_k=1000, max_level=most)
                assert sorted(ids(found)) == sorted(one for one in ids(other.search("kb", QUESTION, top_k=1000)) if levels[one] <= most)
        assert index.chunk_count("kb") == 240
        index.rebuild("kb", list(documents.values()), watermark=9)
        self.check(index, documents)

    def test_a_replay_of_levels_changes_nothing(self, index: SearchIndex, documents: Mapping[str, PutDocument]) -> None:
        before = index.search("kb", QUESTION, top_k=1000, max_level=2)
        index.apply("kb", list(documents.values()), watermark=7)
        assert (index.search("kb", QUESTION, top_k=1000, max_level=2), index.deleted_share("kb")) == (before, 0.0)

    def test_the_last_of_several_changes_counts(self, index: SearchIndex) -> None:
        new = put("new", "消防检查的记录。", first=5001)
        index.apply("kb", [levelled(new, 0), levelled(new, 4)], watermark=4)
        assert 5001 not in ids(index.search("kb", QUESTION, top_k=1000, max_level=3))
        secret, public = levelled(put("new", "消防检查的记录。", first=5002), 4), levelled(put("new", "消防检查。", first=5003), 0)
        index.apply("kb", [DeleteDocument("new"), secret, public], watermark=5)
        assert {5001, 5002, 5003} & set(ids(index.search("kb", QUESTION, top_k=1000))) == {5003}
        assert 5003 in ids(index.search("kb", QUESTION, top_k=1000, max_level=0))

    def test_other_documents_and_chunks_keep_theirs(self, index: SearchIndex, documents: dict[str, PutDocument]) -> None:
        documents["n4"] = levelled(put("n4", "消防检查的记录，新的一版。", first=6001), 4)
        documents["n0"] = levelled(put("n0", "消防检查的记录，又一版。", first=6101), 0)
        del documents["n1"]
        changes: list[IndexChange] = [documents["n4"], DeleteDocument("n1"), documents["n0"]]
        index.apply("kb", changes, watermark=4)
        levels = {chunk.chunk_id: one.level for one in documents.values() for chunk in one.chunks}
        found = ids(index.search("kb", QUESTION, top_k=1000, max_level=0))
        assert 6101 in found
        assert {levels[one] for one in found} == {0}
