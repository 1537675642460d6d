"""What a graph is asked with: the vector that the search has, one of its own only where words leave it open, and no more of what was said than matters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from qzbrain.brain import Brain
from qzbrain.chat import known
from qzbrain.chat.known import GraphKnowledge
from qzbrain.domain import ReadScope
from qzbrain.graph.answered import Answered, AnswerStep
from qzbrain.graph.base import NO_CEILINGS, Entity, Place, Triple

SCOPE = ReadScope(("kb",))
STEP = AnswerStep(Triple(1, Entity(1, "无间道", ""), "导演", Entity(2, "刘伟强", ""), (Place("import", source="a.csv"),)), True)


class Graph:
    """Sure only where meaning says which relation is meant, or from the start. `asked`: with what."""

    def __init__(self, *, sure: bool = False, found: bool = True) -> None:
        self._sure, self._found = sure, found
        self.asked: list[tuple[tuple[str, ...], Mapping[str, float] | None]] = []

    def answer(
        self,
        text: str,
        kb_ids: Sequence[str],
        *,
        before: Sequence[str] = (),
        nearness: Mapping[str, float] | None = None,
        ceilings: Mapping[str, int] = NO_CEILINGS,
    ) -> Answered:
        self.asked.append((tuple(before), nearness))
        if not self._found:
            return Answered()
        return Answered("kb", "values", "导演", ("刘伟强",), (STEP,), 0, 0.9 if self._sure or nearness else 0.3)


class Labels:
    """Knows one name; makes vectors when asked, which `made` counts."""

    def __init__(self, own: Any = None) -> None:
        self.own, self.made = own, 0

    def nearness(self, kb_ids: Sequence[str], vector: Any) -> Mapping[str, float] | None:
        return None if vector is None else {"导演": 0.9}

    def vector(self, question: str) -> Any:
        self.made += 1
        return self.own


def look(brain: Brain, graph: Graph, labels: Labels | None, vector: Any = None, *, before: Sequence[str] = (), question: str = "谁拍的无间道？") -> bool:
    knowledge = GraphKnowledge(brain.db, graph, labels, least=0.5)  # type: ignore[arg-type]
    found = knowledge.look(question, before, SCOPE, {"kb": "films"}, vector)
    assert found.degraded == ()
    return bool(found)


def test_the_vector_of_the_search_is_used_and_none_is_made(brain: Brain) -> None:
    graph, labels = Graph(), Labels(np.ones(4))
    assert look(brain, graph, labels, np.ones(4))
    assert [near for _, near in graph.asked] == [{"导演": 0.9}] and labels.made == 0


def test_one_is_made_where_words_leave_it_open(brain: Brain) -> None:
    graph, labels = Graph(), Labels(np.ones(4))
    assert look(brain, graph, labels)
    assert [near for _, near in graph.asked] == [None, {"导演": 0.9}] and labels.made == 1


@pytest.mark.parametrize(("sure", "found"), [(True, True), (False, False)])
def test_none_is_made_where_words_are_enough_or_nothing_is_named(brain: Brain, sure: bool, found: bool) -> None:
    graph, labels = Graph(sure=sure, found=found), Labels(np.ones(4))
    assert look(brain, graph, labels) is (sure and found)
    assert len(graph.asked) == 1 and labels.made == 0


def test_a_vector_that_does_not_come_changes_nothing(brain: Brain) -> None:
    graph = Graph()
    assert not look(brain, graph, Labels(None))
    assert not look(brain, Graph(), None), "nor does the lack of an embedding model"


def test_the_last_questions_are_told_and_long_texts_are_not(brain: Brain) -> None:
    graph = Graph(sure=True)
    look(brain, graph, None, before=[*(f"问题{n}" for n in range(20)), "长" * 5000, "最后一个问题"])
    assert graph.asked[0][0] == ("问题16", "问题17", "问题18", "问题19", "最后一个问题")
    assert not look(brain, graph, None, question="长" * (known.LONGEST_QUESTION + 1)) and len(graph.asked) == 1


def test_where_documents_say_nothing_less_will_do(brain: Brain) -> None:
    """Sure by 0.3: not enough beside passages that answer; enough where the question would be refused, with a least of 0.5, and not with one of 0.6."""
    for least, alone, expected in ((0.5, False, False), (0.5, True, True), (0.6, True, False)):
        knowledge = GraphKnowledge(brain.db, Graph(), None, least=least)  # type: ignore[arg-type]
        assert bool(knowledge.look("谁拍的无间道？", (), SCOPE, {"kb": "films"}, None, alone=alone)) is expected
