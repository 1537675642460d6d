"""Slow searches and answers are logged with what they took the time for; their texts only where that is wanted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from qzbrain import logs, metrics
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


def lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in capfd.readouterr().err.splitlines()]


@pytest.fixture(autouse=True)
def warnings_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A logger keeps the level at which it was first used: by another test, perhaps, that wanted errors alone."""
    logs.configure("info", "test")
    for module in ("qzbrain.chat.service", "qzbrain.retrieval.hybrid"):
        monkeypatch.setattr(f"{module}.log", logs.get(module))


@pytest.mark.parametrize("content", ["off", "on"])
def test_what_is_slow_is_told_with_what_it_took_the_time_for(make_settings: Callable[..., Settings], capfd: pytest.CaptureFixture[str], content: str) -> None:
    brain = knowing(make_settings(slow_search_ms=0.001, slow_answer_s=0.0001, slow_sql_ms=0, log_content=content))
    lines(capfd)
    before = [metrics.SLOW.labels(kind)._value.get() for kind in ("search", "answer")]
    found = brain.retriever.search(SearchQuery(QUESTION), brain.access.scope(brain.access.local_caller()))
    (line,) = lines(capfd)
    assert (line["event"], line["took_ms"], line["hits"], len(found.hits)) == ("slow_search", round(found.took_ms, 1), 1, 1)
    assert {"words_ms", "references_ms", "fill_ms", "graph_ms"} <= set(line)
    assert (line.get("query") == QUESTION) is (content == "on")
    *_, last = brain.chat.answer(brain.chat.begin(brain.access.local_caller("zh"), Ask(QUESTION)))
    assert isinstance(last, Done)
    line = next(one for one in lines(capfd) if one["event"] == "slow_answer")
    assert (line["message_id"], line["rung"], line["error"]) == (last.answer.message_id, "extractive", "")
    assert line["timings"]["total_ms"] == pytest.approx(line["took_ms"] - line["store_ms"], abs=0.2)
    assert (line.get("question") == QUESTION) is (content == "on")
    assert [metrics.SLOW.labels(kind)._value.get() for kind in ("search", "answer")] == [before[0] + 2, before[1] + 1]
    brain.close()


def test_nothing_is_told_at_0(make_settings: Callable[..., Settings], capfd: pytest.CaptureFixture[str]) -> None:
    brain = knowing(make_settings(slow_answer_s=0, slow_search_ms=0, slow_sql_ms=0))
    *_, last = brain.chat.answer(brain.chat.begin(brain.access.local_caller("zh"), Ask(QUESTION)))
    assert isinstance(last, Done)
    assert not [line for line in lines(capfd) if line["event"].startswith("slow_")]
    brain.close()
