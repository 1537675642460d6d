"""A floor under retrieval quality: everyday questions over the laws that come with the code, read, cut and indexed as the product does it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from qzbrain.brain import Brain
from qzbrain.domain import Hit, ReadScope
from qzbrain.retrieval.evaluate import recall_at
from qzbrain.retrieval.hybrid import SearchQuery
from qzbrain.settings import Settings
from tests.quality.sample_laws import QUESTIONS, laws_of


@pytest.fixture(scope="module")
def laws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brain]:
    """A brain that knows the sample laws."""
    brain = laws_of(Settings(qzbrain_data=tmp_path_factory.mktemp("quality")))
    yield brain
    brain.close()


def hits(brain: Brain, question: str) -> tuple[Hit, ...]:
    """The first ten."""
    return brain.retriever.search(SearchQuery(question), ReadScope(("laws",))).hits


def rank(found: tuple[Hit, ...], law: str, article: str) -> int | None:
    """Where the article stands."""
    return next((n for n, hit in enumerate(found, 1) if hit.title.endswith(law) and hit.heading_path[-1] == article), None)


def test_everyday_questions_find_their_article(laws: Brain) -> None:
    ranks = [rank(hits(laws, question), law, article) for question, law, article in QUESTIONS]
    assert recall_at(ranks, 5) >= 0.9, list(zip(QUESTIONS, ranks, strict=True))
    assert recall_at(ranks, 1) >= 0.5, list(zip(QUESTIONS, ranks, strict=True))


@pytest.mark.parametrize("law", ["行政处罚法", "民法典", "劳动合同法", "公司法", "立法法"])
@pytest.mark.parametrize("article", ["第七条", "第十二条", "第三十五条"])
def test_named_articles_come_first(laws: Brain, law: str, article: str) -> None:
    assert rank(hits(laws, f"{law}{article}的内容是什么？"), law, article) == 1


@pytest.mark.parametrize("question", ["行政处罚的种类有哪些？", "一部法律自何时起施行？", "劳动合同的试用期最长多久？"])
def test_what_the_laws_say_is_answerable(laws: Brain, question: str) -> None:
    assert laws.retriever.search(SearchQuery(question), ReadScope(("laws",))).answerable


@pytest.mark.parametrize("question", ["红烧肉怎么做才好吃？", "哈勃望远镜的主镜直径是多少？", "今天天气怎么样？", "你好", "how many moons does jupiter have"])
def test_what_the_laws_do_not_say_is_not(laws: Brain, question: str) -> None:
    assert not laws.retriever.search(SearchQuery(question), ReadScope(("laws",))).answerable


def test_traditional_script_asks_the_same(laws: Brain) -> None:
    assert [hit.chunk_id for hit in hits(laws, "行政處罰的種類有哪些？")] == [hit.chunk_id for hit in hits(laws, "行政处罚的种类有哪些？")]
