"""Slow searches and answers are logged with what they took the time for; their texts only where that is wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from qzbrain import metrics
from qzbrain.brain import Brain, build
from qzbrain.chat.plan import Ask
from qzbrain.domain import Done
from qzbrain.retrieval.hybrid import SearchQuery
from qzbrain.settings import Settings
from qzbrain.worker import work_inline

QUESTION = "五十万元以上的采购由谁批准？"


def knowing(settings: Settings) -> Brain:
    brain = build(settings)
    caller = brain.access.local_caller("zh")
    brain.knowledge.create(caller, name="rules")
    brain.knowledge.add_text(caller, "rules", "a.txt", "采购金额超过五十万元的，须经董事会批准。")
    work_inline(brain, lambda: all(kb.documents.pending == 0 for kb in brain.knowledge.knowledge_bases(caller).data))
    return brain


def told(capfd: pytest.CaptureFixture[str], event: str) -> list[dict[str, Any]]:
    return [line for line in map(orjson.loads, capfd.readouterr().err.splitlines()) if line["event"] == event]


@pytest.mark.parametrize("content", ["off", "on"])
def test_a_slow_search_is_told_with_its_stages(make_settings: Callable[..., Settings], capfd: pytest.CaptureFixture[str], content: str) -> None:
    brain = knowing(make_settings(slow_search_ms=0.001, log_content=content))
    capfd.readouterr()
    before = metrics.SLOW.labels("search")._value.get()
    found = brain.retriever.search(SearchQuery(QUESTION), brain.access.scope(brain.access.local_caller()))
    (line,) = told(capfd, "slow_search")
    assert line["took_ms"] == round(found.took_ms, 1) and line["hits"] == len(found.hits) == 1
    assert {"words_ms", "references_ms", "fill_ms", "graph_ms"} <= set(line)
    assert (line.get("query") == QUESTION) is (content == "on")
    assert metrics.SLOW.labels("search")._value.get() == before + 1
    brain.close()


@pytest.mark.parametrize("content", ["off", "on"])
def test_a_slow_answer_is_told_with_its_timings(make_settings: Callable[..., Settings], capfd: pytest.CaptureFixture[str], content: str) -> None:
    brain = knowing(make_settings(slow_answer_s=0.0001, log_content=content))
    capfd.readouterr()
    *_, last = brain.chat.answer(brain.chat.begin(brain.access.local_caller("zh"), Ask(QUESTION)))
    assert isinstance(last, Done)
    (line,) = told(capfd, "slow_answer")
    assert (line["message_id"], line["rung"], line["error"]) == (last.answer.message_id, "extractive", "")
    assert line["timings"]["total_ms"] == pytest.approx(line["took_ms"], abs=0.2)
    assert (line.get("question") == QUESTION) is (content == "on")
    brain.close()


def test_what_is_quick_is_not_told_of_and_neither_is_anything_at_0(make_settings: Callable[..., Settings], capfd: pytest.CaptureFixture[str]) -> None:
    brain = knowing(make_settings(slow_answer_s=0, slow_search_ms=0))
    *_, last = brain.chat.answer(brain.chat.begin(brain.access.local_caller("zh"), Ask(QUESTION)))
    assert isinstance(last, Done)
    assert not [line for line in map(orjson.loads, capfd.readouterr().err.splitlines()) if line["event"].startswith("slow_")]
    brain.close()
