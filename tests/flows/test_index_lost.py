"""An index that is deleted or damaged under a running brain: searches say so, and soon work again without anybody's help."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import RunningBrain, wait_for

QUESTION = "哪些情形应当从轻或者减轻行政处罚？"


@pytest.fixture
def brain(tmp_path: Path) -> Iterator[RunningBrain]:
    """A brain of its own: its index is broken here."""
    running = RunningBrain(tmp_path / "data").start()
    wait_for(lambda: not unfinished(running), "the sample read")
    yield running
    running.stop()


def unfinished(brain: RunningBrain) -> list[Any]:
    return [job for status in ("pending", "running") for job in brain.call("GET", f"/api/jobs?status={status}")[1]["data"]]


def search(brain: RunningBrain) -> dict[str, Any]:
    status, found = brain.call("POST", "/api/search", {"query": QUESTION})
    assert status == 200
    return dict(found)


def delete(index: Path) -> None:
    shutil.rmtree(index)


def delete_pointers(index: Path) -> None:
    for pointer in index.glob("*/current"):
        pointer.unlink()


def damage(index: Path) -> None:
    """Every list of segments becomes noise, replaced as tantivy replaces it."""
    for meta in index.glob("*/*/meta.json"):
        noise = meta.with_name("noise")
        noise.write_bytes(b"\x00nonsense")
        noise.replace(meta)


@pytest.mark.parametrize("break_it", [delete, delete_pointers, damage])
def test_a_broken_index_heals_while_the_brain_runs(brain: RunningBrain, break_it: Any) -> None:
    before = search(brain)
    assert before["hits"]
    break_it(brain.data / "index")
    first = search(brain)
    assert [one["part"] for one in first["degraded"]] == ["lexical"]
    for _ in range(20):
        search(brain)
    healed = wait_for(lambda: not (found := search(brain))["degraded"] and found, "search healed", 30)
    assert [hit["chunk_id"] for hit in healed["hits"]] == [hit["chunk_id"] for hit in before["hits"]]
    wait_for(lambda: not unfinished(brain), "the repair settled")  # its outcome is stored a moment after searches see the new index
    repairs = [job for job in brain.call("GET", "/api/jobs?limit=100")[1]["data"] if job["kind"] == "index"]
    assert [job["status"] for job in repairs] == ["done"], "one job, however many asked"
    assert brain.status("/readyz") == 200


def test_a_question_asked_meanwhile_is_answered_with_the_reason(brain: RunningBrain) -> None:
    shutil.rmtree(brain.data / "index")
    question = {"model": "extractive", "messages": [{"role": "user", "content": QUESTION}]}
    status, answer = brain.call("POST", "/v1/chat/completions", question)
    assert status == 200
    assert answer["choices"][0]["message"]["content"]
    assert [one["part"] for one in answer["degraded"]] == ["lexical"]
    wait_for(lambda: brain.call("POST", "/v1/chat/completions", question)[1]["rung"] == "extractive", "answered from the texts again", 30)
