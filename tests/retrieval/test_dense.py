"""Searches by words and meaning together, over real indexes; what is scripted is the embedder's answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np
import pytest
from knowledge_rows import Writer
from sqlalchemy import insert, select

from qzbrain.brain import Brain
from qzbrain.domain import utc_now
from qzbrain.errors import EngineUnavailable, IndexUnavailable
from qzbrain.models.base import Cancellation, EmbeddingProfile, Vector
from qzbrain.retrieval.dense import Dense
from qzbrain.retrieval.hybrid import Mode, Retriever, SearchQuery
from qzbrain.retrieval.mending import Mending
from qzbrain.retrieval.spaces import Manifest
from qzbrain.retrieval.vectors import StoredVectors
from qzbrain.storage.tables import chunks, jobs, knowledge_bases, vector_spaces

TOPICS = ("车", "饭", "钱")
"""A text means what it says of these, and 公务用车 and 汽车 are the same thing."""
TEXTS = ["第一条 汽车由车队统一调度。", "第二条 食堂供应三餐。", "第三条 报销凭票据办理，钱款月结。", "第四条 本制度自发布之日起施行。"]


class Scripted:
    """An embedder of three dimensions and a common one."""

    name = "scripted"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fault: EngineUnavailable | None = None

    def profile(self) -> EmbeddingProfile:
        return EmbeddingProfile(4, 512, "mean", "", "", "")

    def embed_query(self, text: str, *, timeout_s: float) -> Vector:
        self.asked.append(text)
        if self.fault:
            raise self.fault
        return means(text)

    def embed_passages(self, texts: Sequence[str], cancellation: Cancellation) -> Vector:
        return np.stack([means(text) for text in texts])


def means(text: str) -> Vector:
    vector = np.array([1.0, *(2.0 * text.count(topic) for topic in TOPICS)], np.float32)
    return vector / np.linalg.norm(vector)


@pytest.fixture
def embedder() -> Scripted:
    return Scripted()


@pytest.fixture
def search(brain: Brain, write: Writer, embedder: Scripted) -> Callable[..., object]:
    write.put("制度", "管理制度", [(str(n), text) for n, text in enumerate(TEXTS, 1)])
    write.catch_up("制度")
    dense = Dense(brain.spaces, lambda: brain.vectors, embedder, report_missing=Mending(brain.db, brain.jobs).report_vectors)
    retriever = Retriever(brain.db, brain.index, brain.settings, dense=dense)

    def find(question: str, mode: Mode = "auto", **more: object) -> object:
        return retriever.search(SearchQuery(question, mode=mode, **more), write.scope("制度"))  # type: ignore[arg-type]

    return find


def fill(
    brain: Brain,
    *,
    status: str = "active",
    upto: int | None = None,
    embedder: str = "scripted",
    reason: str | None = None,
    left_out: str = "",
    brought: int | None = None,
) -> None:
    """A space with a vector for each chunk, or for those up to an id. `left_out`: texts that hold this have none; `brought`: the store ends there."""
    kb_id = brain.db.rows(select(knowledge_bases.c.id))[0].id
    rows = brain.db.rows(select(chunks.c.id, chunks.c.document_id, chunks.c.text).order_by(chunks.c.id))
    had = [row for row in rows if upto is None or row.id <= upto]
    manifest = Manifest(weight=0.6, cosine_floor=0.5, cosine_span=0.5).column()
    values = {"id": "space", "kb_id": kb_id, "status": status, "embedder": embedder, "width": 4, "manifest": manifest, "reason_code": reason}
    with brain.db.write() as connection:
        connection.execute(insert(vector_spaces).values(**values, embedded_upto=had[-1].id, created_at=utc_now()))
    held = [row for row in had if not (left_out and left_out in row.text) and (brought is None or row.id <= brought)]
    stored = StoredVectors([row.id for row in held], [row.document_id for row in held], np.stack([means(row.text) for row in held]))
    brain.vectors.rebuild("space", 4, [stored], upto=had[-1].id if brought is None else brought)


def test_meaning_finds_what_shares_no_word(brain: Brain, search: Callable[..., object], embedder: Scripted) -> None:
    assert not search("轿车怎么安排").hits or search("轿车怎么安排").hits[0].sources.get("semantic") is None  # type: ignore[attr-defined]
    fill(brain)
    found = search("轿车怎么安排")
    first = found.hits[0]  # type: ignore[attr-defined]
    assert first.text == TEXTS[0]
    assert first.sources["semantic"].rank == 1
    assert first.sources["semantic"].score == pytest.approx(float(means(TEXTS[0]) @ means("轿车怎么安排")), abs=1e-3)
    assert found.degraded == () and embedder.asked == ["轿车怎么安排"]  # type: ignore[attr-defined]


def test_the_questions_vector_comes_with_what_is_found(brain: Brain, search: Callable[..., object], embedder: Scripted) -> None:
    fill(brain)
    found = search("公务用车怎么管？")
    assert np.array_equal(found.vector, means("公务用车怎么管？")) and len(embedder.asked) == 1  # type: ignore[attr-defined]
    assert search("公务用车怎么管？", "lexical").vector is None  # type: ignore[attr-defined]
    embedder.fault = EngineUnavailable(zh="不在。", en="Away.")
    assert search("公务用车怎么管？").vector is None  # type: ignore[attr-defined]


def test_each_mode_uses_its_sides(brain: Brain, search: Callable[..., object], embedder: Scripted) -> None:
    fill(brain)
    question = "食堂的钱"
    sides = {mode: {side for hit in search(question, mode).hits for side in hit.sources} for mode in ("lexical", "semantic", "hybrid", "auto")}  # type: ignore[attr-defined]
    assert sides == {"lexical": {"lexical"}, "semantic": {"semantic"}, "hybrid": {"lexical", "semantic"}, "auto": {"lexical", "semantic"}}
    assert len(embedder.asked) == 3


@pytest.mark.parametrize("mode", ["hybrid", "semantic"])
def test_both_sides_at_a_time_find_what_they_find_one_after_the_other(
    brain: Brain, search: Callable[..., object], monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    fill(brain, left_out="食堂")
    questions = ("轿车怎么安排", "食堂的钱", "第三条规定报销怎么办？", "公务用车怎么管？", "没有的事", "制度自何时施行，饭钱谁出？")
    found = [search(question, mode).hits for question in questions]  # type: ignore[attr-defined]

    def one_after_the_other(call: Callable[[], object]) -> Future[object]:
        found: Future[object] = Future()
        found.set_result(call())
        return found

    monkeypatch.setattr("qzbrain.retrieval.dense.beside", one_after_the_other)
    assert [search(question, mode).hits for question in questions] == found  # type: ignore[attr-defined]
    assert all(found)


def test_words_are_looked_for_while_the_question_is_embedded(
    brain: Brain, search: Callable[..., object], embedder: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(brain)
    searched, words = threading.Event(), brain.index.search
    waited: list[bool] = []

    def looked_for(*given: object, **more: object) -> object:
        searched.set()
        return words(*given, **more)  # type: ignore[arg-type]

    def embed(text: str, *, timeout_s: float) -> Vector:
        waited.append(searched.wait(10))
        return means(text)

    monkeypatch.setattr(brain.index, "search", looked_for)
    monkeypatch.setattr(embedder, "embed_query", embed)
    assert search("公务用车怎么管？", "hybrid").hits and waited == [True]  # type: ignore[attr-defined]


def test_while_vectors_are_made_words_serve_and_only_who_asks_is_told(brain: Brain, search: Callable[..., object], embedder: Scripted) -> None:
    fill(brain, status="building")
    assert search("食堂").degraded == ()  # type: ignore[attr-defined]
    assert search("食堂").hits[0].text == TEXTS[1]  # type: ignore[attr-defined]
    for mode in ("hybrid", "semantic"):
        found = search("食堂", mode)
        assert found.hits and "still being made" in found.degraded[0].reason  # type: ignore[attr-defined]
    assert embedder.asked == []


@pytest.mark.parametrize("unfit", [{"embedder": "another"}, {"reason": "embedder_changed"}])
def test_vectors_of_another_embedder_are_not_used(brain: Brain, search: Callable[..., object], embedder: Scripted, unfit: dict[str, str]) -> None:
    fill(brain, **unfit)  # type: ignore[arg-type]
    found = search("食堂")
    assert found.hits[0].sources.keys() == {"lexical"}  # type: ignore[attr-defined]
    assert found.degraded[0].part == "semantic" and "qzbrain kb reembed" in found.degraded[0].reason  # type: ignore[attr-defined]
    assert embedder.asked == []


def test_an_embedder_that_is_away_is_told_and_words_serve(brain: Brain, search: Callable[..., object], embedder: Scripted) -> None:
    fill(brain)
    embedder.fault = EngineUnavailable(zh="不在", en="it is away")
    found = search("食堂")
    assert found.hits[0].text == TEXTS[1] and found.hits[0].sources.keys() == {"lexical"}  # type: ignore[attr-defined]
    assert [(one.part, one.reason) for one in found.degraded] == [("semantic", "it is away")]  # type: ignore[attr-defined]
    assert not found.incomplete  # type: ignore[attr-defined]


def test_a_chunk_that_came_later_is_found_by_its_words(brain: Brain, search: Callable[..., object], embedder: Scripted) -> None:
    last = brain.db.rows(select(chunks.c.id).order_by(chunks.c.id))[-1].id
    fill(brain, upto=last - 1)
    first = search("本制度自发布之日起施行").hits[0]  # type: ignore[attr-defined]
    assert first.chunk_id == last and "semantic" not in first.sources


def test_a_chunk_that_no_vector_could_be_made_of_is_found_by_its_words(brain: Brain, search: Callable[..., object]) -> None:
    fill(brain, left_out="本制度")
    first = search("本制度自发布之日起施行").hits[0]  # type: ignore[attr-defined]
    assert first.text == TEXTS[3] and "semantic" not in first.sources
    assert first.score == 1, "its meaning is taken to be what its words are worth"


def test_a_store_that_is_behind_the_database_does_not_hide_what_it_lacks(brain: Brain, search: Callable[..., object]) -> None:
    ids = [row.id for row in brain.db.rows(select(chunks.c.id).order_by(chunks.c.id))]
    fill(brain, brought=ids[-2])
    first = search("本制度自发布之日起施行").hits[0]  # type: ignore[attr-defined]
    assert first.chunk_id == ids[-1] and first.score == 1


def test_a_question_of_marks_is_not_embedded(brain: Brain, search: Callable[..., object], embedder: Scripted) -> None:
    fill(brain)
    for question in ("", "？！", "😀"):
        assert search(question).hits == ()  # type: ignore[attr-defined]
    search("\ud800 食堂")
    assert embedder.asked == ["? 食堂"]


def test_a_lost_store_leaves_words(brain: Brain, search: Callable[..., object]) -> None:
    fill(brain)
    brain.vectors.drop("space")
    for _ in range(2):
        found = search("食堂")
        assert found.hits[0].text == TEXTS[1] and found.hits[0].sources.keys() == {"lexical"}  # type: ignore[attr-defined]
        assert "missing or being rebuilt" in found.degraded[0].reason  # type: ignore[attr-defined]
    kb_id = brain.db.rows(select(knowledge_bases.c.id))[0].id
    assert [(row.kind, row.kb_id) for row in brain.db.rows(select(jobs.c.kind, jobs.c.kb_id))] == [("embed", kb_id)]


def test_a_store_that_goes_away_in_the_middle_of_a_search_leaves_words(brain: Brain, search: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> None:
    fill(brain, left_out="本制度")
    plain = search("本制度自发布之日起施行", "lexical")

    def away(*_: object, max_level: int | None = None) -> dict[int, float]:
        raise IndexUnavailable(zh="走了", en="it went away")

    monkeypatch.setattr(brain.vectors, "cosines", away)
    found = search("本制度自发布之日起施行")
    assert found.hits == plain.hits  # type: ignore[attr-defined]
    assert [(one.part, one.reason) for one in found.degraded] == [("semantic", "it went away")]  # type: ignore[attr-defined]


class Judge:
    """A reranker that likes short texts, or fails."""

    name = "judge"
    fault: EngineUnavailable | None = None

    def rerank(self, query: str, passages: Sequence[str], *, timeout_s: float) -> list[float]:
        if self.fault:
            raise self.fault
        return [1 / len(one) for one in passages]


def test_a_reranker_orders_the_best_and_its_failure_changes_nothing(brain: Brain, write: Writer) -> None:
    texts = ["采购采购采购，金额巨大的采购须经董事会批准。", "采购须经批准。", "关于采购的长长的说明，其中说到许多别的事情。"]
    write.put("制度", "管理制度", [("", text) for text in texts])
    write.catch_up("制度")
    judge = Judge()
    plain = brain.retriever.search(SearchQuery("采购批准"), write.scope("制度"))
    retriever = Retriever(brain.db, brain.index, brain.settings, reranker=judge)
    judged = retriever.search(SearchQuery("采购批准"), write.scope("制度"))
    assert [len(hit.text) for hit in judged.hits] == sorted(len(hit.text) for hit in judged.hits)
    assert judged.hits[0].sources["rerank"].rank == 1 and judged.degraded == ()
    judge.fault = EngineUnavailable(zh="不在", en="the judge is away")
    failed = retriever.search(SearchQuery("采购批准"), write.scope("制度"))
    assert [hit.chunk_id for hit in failed.hits] == [hit.chunk_id for hit in plain.hits]
    assert [(one.part, one.reason) for one in failed.degraded] == [("rerank", "the judge is away")]
    judge.fault = None
    assert [hit.chunk_id for hit in retriever.search(SearchQuery("采购批准", mode="lexical"), write.scope("制度")).hits] == [x.chunk_id for x in plain.hits]
