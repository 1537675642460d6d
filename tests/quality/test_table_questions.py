"""Questions about cells of tables find the right row, whatever format the table came in, and the answer shows its row and no other."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator

import pytest

from qzbrain.brain import Brain, build
from qzbrain.chat.context import Passage
from qzbrain.chat.extracts import extracts
from qzbrain.domain import Hit
from qzbrain.retrieval.hybrid import SearchQuery
from qzbrain.settings import Settings
from qzbrain.worker import Workplace
from tests.quality.made_tables import QUESTIONS, files


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brain]:
    """A brain that has taken in one document of each format."""
    brain = build(Settings(qzbrain_data=tmp_path_factory.mktemp("tables"), qzbrain_embedder="none"))
    caller = brain.access.local_caller("zh")
    brain.knowledge.create(caller, name="表格")
    for name, data in files().items():
        brain.knowledge.add_file(caller, "表格", name, io.BytesIO(data))
    end = threading.Event()
    Workplace(brain).run(end.is_set, idle=lambda _: end.set())
    assert {x.status for x in brain.knowledge.documents(caller, "表格", limit=100).data} == {"ready"}
    yield brain
    brain.close()


def hits(brain: Brain, question: str) -> tuple[Hit, ...]:
    return brain.retriever.search(SearchQuery(question), brain.access.scope(brain.access.local_caller("zh"), None)).hits


def row_of(hit: Hit, key: str) -> str:
    """The record that names `key`, '' when the hit holds none."""
    return next((record for record in hit.text.split("\n\n") if key in record), "")


def test_the_right_row_is_the_first_hit(tables: Brain) -> None:
    wrong = [question for question, key, cell in QUESTIONS if not (found := hits(tables, question)) or cell not in row_of(found[0], key)]
    assert len(QUESTIONS) == 30
    assert len(wrong) <= 3, wrong


def test_the_extractive_answer_is_the_row(tables: Brain) -> None:
    wrong = []
    for question, _, cell in QUESTIONS:
        passages = [Passage(hit, hit.start, hit.end, hit.text, hit.confidence, article=False) for hit in hits(tables, question)[:5]]
        shown = [passages[x.passage].text[x.start : x.end] for x in extracts(question, passages)]
        if [cell in text for text in shown] != [True]:
            wrong.append((question, shown))
    assert len(wrong) <= 3, wrong
