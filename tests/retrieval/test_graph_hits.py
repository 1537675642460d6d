"""Passages that a graph leads to join what text found, and put none of it aside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import pytest
from knowledge_rows import Writer

from qzbrain.brain import Brain
from qzbrain.graph.base import Fact, Place
from qzbrain.graph.links import Links
from qzbrain.retrieval.graph_hits import placed
from qzbrain.retrieval.hybrid import SearchQuery, SearchResult
from tests.flows.worker_process import until


@pytest.mark.parametrize("seed", range(50))
def test_text_keeps_its_order_and_half_of_the_places(seed: int) -> None:
    random = Random(seed)
    scored = [(random.choice([0.1, 0.5, 0.9, random.random()]), random.random() < 0.5) for _ in range(random.randrange(40))]
    order = placed(scored)
    assert sorted(at for at, _ in order) == list(range(len(scored)))
    scores = [score for _, score in order]
    assert scores == sorted(scores, reverse=True) and all(score <= scored[at][0] for at, score in order)
    text = [at for at, _ in order if scored[at][1]]
    assert text == sorted(text, key=lambda at: (-scored[at][0], at))
    for n in range(1, len(order) + 1):
        by_text = sum(scored[at][1] for at, _ in order[:n])
        assert 2 * by_text >= n or by_text == len(text)


@dataclass
class Near:
    chunk_id: int
    score: float


class Everywhere:
    """A graph that leads, as surely as can be, to passages that have nothing to do with the question."""

    def __init__(self, chunk_ids: Sequence[int]) -> None:
        self.chunk_ids = chunk_ids

    def near(self, kb_id: str, question: str, chunk_ids: Sequence[int], *, top_k: int, ceiling: int | None = None) -> list[Near]:
        return [Near(one, 1.0) for one in self.chunk_ids[:top_k]]


QUESTION = "消防检查的频次"


@pytest.fixture
def ask(brain: Brain, write: Writer) -> Callable[..., SearchResult]:
    """Ask of a knowledge base where five passages say something about the question and forty do not."""
    for n in range(5):
        write.put("kb", f"消防{n}", [("", f"第{n}车间消防检查的频次为每月{n + 1}次，由安全员记录消防检查的结果。")])
    for n in range(40):
        write.put("kb", f"食堂{n}", [("", f"食堂第{n}号窗口供应米饭与面条。")])
    write.catch_up("kb")
    return lambda question=QUESTION, **more: brain.retriever.search(SearchQuery(question, **more), write.scope("kb"))


def canteen(ask: Callable[..., SearchResult]) -> list[int]:
    return [hit.chunk_id for hit in ask("食堂窗口供应米饭", top_k=40).hits if "食堂" in hit.document]


@pytest.mark.parametrize("top_k", [1, 2, 5, 10])
def test_a_graph_that_leads_astray_puts_no_text_aside(
    brain: Brain, ask: Callable[..., SearchResult], monkeypatch: pytest.MonkeyPatch, top_k: int
) -> None:
    before = ask(top_k=top_k)
    monkeypatch.setattr(brain.retriever, "_graphs", Everywhere(canteen(ask)))
    after = ask(top_k=top_k)
    by_text = [hit.chunk_id for hit in after.hits if set(hit.sources) != {"graph"}]
    assert by_text == [hit.chunk_id for hit in before.hits][: len(by_text)] and 2 * len(by_text) >= min(top_k, 10)
    assert (after.confidence, after.answerable) == (before.confidence, before.answerable)


@pytest.mark.parametrize("mode", ["lexical", "semantic"])
def test_a_search_by_words_or_meaning_alone_has_nothing_of_the_graph(
    brain: Brain, ask: Callable[..., SearchResult], monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(brain.retriever, "_graphs", Everywhere(canteen(ask)))
    assert not any("graph" in hit.sources for hit in ask(mode=mode).hits)


def test_what_nothing_answers_is_not_answered_because_of_a_graph(brain: Brain, ask: Callable[..., SearchResult], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brain.retriever, "_graphs", Everywhere(canteen(ask)))
    result = ask("火星殖民计划的负责人")
    assert result.hits and not result.answerable and result.confidence < brain.settings.answer_threshold


def test_a_passage_is_found_that_text_does_not_lead_to(brain: Brain, write: Writer) -> None:
    write.put("kb", "简报", [("", "晨光公司发布年报。"), ("", "王伟毕业于清华大学，爱好登山。"), ("", "食堂供应米饭。")])
    write.catch_up("kb")
    question, kb_id = "晨光公司有什么人", write.kb("kb")
    wanted = "王伟毕业于清华大学，爱好登山。"
    without = brain.retriever.search(SearchQuery(question), write.scope("kb"))
    assert wanted not in [hit.text for hit in without.hits]
    brain.graph.add(kb_id, [Fact("晨光公司", "董事长", "王伟", Place("import"))])
    Links(brain.db).tend(kb_id, lambda done, total: None)
    until(lambda: bool(brain.passage_graphs.near(kb_id, question, [], top_k=5)), within_s=30, what="the graph is read")
    found = brain.retriever.search(SearchQuery(question), write.scope("kb"))
    assert found.hits[0].text == without.hits[0].text
    (hit,) = [hit for hit in found.hits if hit.text == wanted]
    assert set(hit.sources) == {"graph"} and hit.confidence == 0.0
    assert (found.confidence, found.answerable) == (without.confidence, without.answerable)
