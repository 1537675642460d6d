"""The search server ranks as the embedded index does: the laws that come with the code, the same five passages, the same confidence."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from qzbrain.brain import Brain, build
from qzbrain.domain import Hit, ReadScope
from qzbrain.retrieval.hybrid import SearchQuery
from qzbrain.retrieval.question import asked_terms
from qzbrain.retrieval.ranking import MOST_TERMS
from qzbrain.settings import Settings
from tests.quality.sample_laws import LAWS, QUESTIONS, laws_of
from tests.servers.search_server import SearchServer

pytestmark = pytest.mark.servers
MORE = (
    "劳动者提前三十日以书面形式通知用人单位，可以解除劳动合同吗",
    "行政處罰的種類有哪些？",
    "公司章程",
    "张三在超市买到过期食品，吃后住院。他想要赔偿。可以主张什么？",
    "网络运营者 个人信息 泄露 怎么办",
    "红烧肉怎么做才好吃？",
    "一部法律自何时起施行？",
    "应当",
)
ALL = [question for question, _, _ in QUESTIONS] + list(MORE)


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brain]:
    brain = laws_of(Settings(qzbrain_data=tmp_path_factory.mktemp("ranking")))
    yield brain
    brain.close()


@pytest.fixture(scope="module", params=["elasticsearch", "opensearch"])
def served(embedded: Brain, request: pytest.FixtureRequest) -> Iterator[Brain]:
    """The same SQL, another index."""
    server: SearchServer = request.getfixturevalue(f"{request.param}_server")
    brain = build(Settings(qzbrain_data=embedded.settings.qzbrain_data, **server.settings, qizhibrain_index="ranking"))
    brain.feeder.rebuild("laws")
    yield brain
    brain.index.drop("laws")
    brain.close()


def hits(brain: Brain, question: str) -> tuple[Hit, ...]:
    return brain.retriever.search(SearchQuery(question), ReadScope(("laws",))).hits


PASTED = sorted(LAWS.glob("*.md"))[0].read_text(encoding="utf-8")[2000:6000]
"""A page pasted as a question: more terms than are looked at."""


@pytest.mark.parametrize("question", [*ALL, pytest.param(PASTED, id="pasted")])
def test_the_same_passages_with_the_same_confidence(embedded: Brain, served: Brain, question: str) -> None:
    reference, seen = hits(embedded, question), hits(served, question)
    assert [hit.chunk_id for hit in seen[:5]] == [hit.chunk_id for hit in reference[:5]]
    assert [hit.confidence for hit in seen[:5]] == pytest.approx([hit.confidence for hit in reference[:5]], abs=0.01)
    assert [hit.score for hit in seen[:5]] == pytest.approx([hit.score for hit in reference[:5]], rel=0.01)


def test_the_pasted_page_is_longer_than_what_is_looked_at() -> None:
    assert len(asked_terms(PASTED)) > MOST_TERMS


def test_the_same_holds_after_changes(embedded: Brain, served: Brain) -> None:
    from qzbrain.storage.tables import outbox

    document = hits(embedded, "行政处罚的种类有哪些？")[0].document_id
    with embedded.db.write() as connection:
        connection.execute(outbox.insert(), {"kb_id": "laws", "op": "put", "document_id": document})
    assert served.feeder.catch_up("laws") == 1
    for question in ALL[:4]:
        assert [hit.chunk_id for hit in hits(served, question)[:5]] == [hit.chunk_id for hit in hits(embedded, question)[:5]]
