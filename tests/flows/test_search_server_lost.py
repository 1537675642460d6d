"""A whole brain on a search server that is killed under it: answers say so, nothing uploaded is lost, and all is found when it is back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import RunningBrain, wait_for
from tests.servers.search_server import SearchServer

pytestmark = pytest.mark.servers
QUESTION = "哪些情形应当从轻或者减轻行政处罚？"
ARTICLE = "行政处罚法第九条规定了什么？"


@pytest.fixture
def server() -> Iterator[SearchServer]:
    """One of its own: it is killed here."""
    made = SearchServer("opensearch").start()
    yield made
    made.close()


@pytest.fixture
def brain(server: SearchServer, tmp_path: Path) -> Iterator[RunningBrain]:
    running = RunningBrain(tmp_path / "data")
    running.environment |= server.environment
    running.start()
    wait_for(lambda: not unfinished(running), "the sample read")
    yield running
    running.stop()


def unfinished(brain: RunningBrain) -> list[Any]:
    return [job for status in ("pending", "running") for job in brain.call("GET", f"/api/jobs?status={status}")[1]["data"]]


def ask(brain: RunningBrain, question: str) -> dict[str, Any]:
    status, answer = brain.call("POST", "/v1/chat/completions", {"model": "extractive", "messages": [{"role": "user", "content": question}]})
    assert status == 200, answer
    return {**answer, "text": answer["choices"][0]["message"]["content"]}


def upload(brain: RunningBrain, name: str, text: str) -> str:
    status, given = brain.call("POST", "/api/knowledge-bases/laws/documents", {"name": name, "text": text})
    assert status == 202, given
    return str(given["data"][0]["id"])


def document(brain: RunningBrain, document_id: str) -> dict[str, Any]:
    return dict(brain.call("GET", f"/api/documents/{document_id}")[1])


def found(brain: RunningBrain, question: str) -> list[str]:
    return [hit["document_id"] for hit in brain.call("POST", "/api/search", {"query": question})[1]["hits"]]


def test_the_search_server_dies_and_comes_back(brain: RunningBrain, server: SearchServer) -> None:
    before = brain.call("POST", "/api/search", {"query": QUESTION})[1]
    assert (bool(before["hits"]), before["degraded"]) == (True, [])
    assert ask(brain, QUESTION)["rung"] == "extractive"
    assert not (brain.data / "index").exists()
    gone = upload(brain, "gone.md", "关于深海采矿许可的临时规定，已作废。")
    wait_for(lambda: document(brain, gone)["status"] == "ready", "ready")

    server.kill()
    answer = ask(brain, QUESTION)
    assert (answer["rung"], [one["part"] for one in answer["degraded"]]) == ("refused", ["lexical"])
    assert "检索暂时不可用" in answer["text"]
    assert "知识库中没有找到" not in answer["text"]
    named = ask(brain, ARTICLE)
    assert (named["rung"], [one["part"] for one in named["degraded"]]) == ("extractive", ["lexical"])
    assert brain.status("/readyz") == 200
    new = upload(brain, "new.md", "火星基地值班人员每周轮换一次，由站长安排。")
    assert brain.call("DELETE", f"/api/documents/{gone}")[0] == 204
    waiting = wait_for(lambda: (seen := document(brain, new))["reason"] and seen, "the reason shown")
    assert (waiting["status"], waiting["reason"]["code"]) == ("pending", "search_unreachable")

    server.start()
    ready = wait_for(lambda: (seen := document(brain, new))["status"] == "ready" and seen, "ready again", 60)
    assert ready["reason"] is None
    wait_for(lambda: not unfinished(brain), "all jobs done")
    assert found(brain, "火星基地多久轮换一次")[0] == new
    assert gone not in found(brain, "深海采矿许可")
    after = brain.call("POST", "/api/search", {"query": QUESTION})[1]
    assert ([hit["chunk_id"] for hit in after["hits"]], after["degraded"]) == ([hit["chunk_id"] for hit in before["hits"]], [])
    assert brain.call("GET", "/api/jobs?status=failed")[1]["data"] == []


def test_a_brain_starts_while_its_search_server_is_away(server: SearchServer, tmp_path: Path) -> None:
    running = RunningBrain(tmp_path / "data")
    running.environment |= server.environment
    running.start()
    wait_for(lambda: not unfinished(running), "the sample read")
    running.stop()
    server.kill()
    running.start()
    try:
        assert [one["part"] for one in ask(running, QUESTION)["degraded"]] == ["lexical"]
        server.start()
        wait_for(lambda: ask(running, QUESTION)["rung"] == "extractive", "answered again", 30)
    finally:
        running.stop()
