"""A whole brain on a search server that is killed under it: answers say so, nothing uploaded is lost, and all is found when it is back."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import RunningBrain, wait_for
from tests.servers.search_server import SearchServer

pytestmark = pytest.mark.servers
QUESTION = "哪些情形应当从轻或者减轻行政处罚？"
ARTICLE = "行政处罚法第九条规定了什么？"


@pytest.fixture(scope="module")
def server() -> Iterator[SearchServer]:
    """One of its own: it is killed here. Each test leaves it running."""
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
    brain.stop()
    brain.start()
    assert [one["part"] for one in ask(brain, QUESTION)["degraded"]] == ["lexical"], "it starts without the server, too"

    server.start()
    ready = wait_for(lambda: (seen := document(brain, new))["status"] == "ready" and seen, "ready again", 60)
    assert ready["reason"] is None
    wait_for(lambda: not unfinished(brain), "all jobs done")
    assert found(brain, "火星基地多久轮换一次")[0] == new
    assert gone not in found(brain, "深海采矿许可")
    after = brain.call("POST", "/api/search", {"query": QUESTION})[1]
    assert ([hit["chunk_id"] for hit in after["hits"]], after["degraded"]) == ([hit["chunk_id"] for hit in before["hits"]], [])
    assert brain.call("GET", "/api/jobs?status=failed")[1]["data"] == []


def test_worker_and_search_server_are_killed_in_the_middle_of_uploads(brain: RunningBrain, server: SearchServer) -> None:
    texts = {f"d{n:03}.md": f"第{n}号规程：编号为 QZ-{n:04} 的设备每{n + 2}天检查一次，由第{n}组负责。" for n in range(120)}
    ids = {upload(brain, name, text): name for name, text in texts.items()}
    wait_for(lambda: any(document(brain, x)["status"] == "ready" for x in list(ids)[:5]), "some are ready")
    server.kill()
    for process_id in [number for number, command in brain.processes().items() if "qzbrain.worker" in command]:
        os.kill(process_id, signal.SIGKILL)
    answer = ask(brain, QUESTION)
    assert answer["degraded"] or answer["rung"] == "extractive"
    server.start()
    wait_for(lambda: not unfinished(brain), "all jobs done", 60)
    assert {document(brain, x)["status"] for x in ids} == {"ready"}
    kb = brain.call("GET", "/api/knowledge-bases/laws")[1]
    counted = server.call("GET", f"/qizhi_brain_es_retriever-{kb['id']}-*/_count")[1]["count"]
    assert counted == kb["chunks"], "nothing lost, nothing twice"
    for n in (0, 60, 119):
        assert ids[found(brain, f"QZ-{n:04} 的设备多久检查一次")[0]] == f"d{n:03}.md"
