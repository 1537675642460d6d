"""A brain as it comes: with the built-in embedder under llama.cpp, searching by words and meaning, through kills and a restart."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.local_engine import need_embedder
from tests.running import RunningBrain, wait_for

TEXTS = [
    "第一条 公务车辆由后勤部门统一调度，任何人不得私用。",
    "第二条 食堂每日供应三餐，过时不候。",
    "第三条 报销须附发票原件，每月二十五日前提交财务部。",
    "第四条 新入职的同事试用期为三个月。",
    "第五条 机房温度应当保持在二十二度上下。",
]
QUESTION, ANSWER = "轿车可以自己拿来用吗", 0


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBrain]:
    need_embedder()
    running = RunningBrain(tmp_path_factory.mktemp("semantic") / "data")
    running.environment["QZBRAIN_EMBEDDER"] = "auto"
    running.start()
    running.call("DELETE", "/api/knowledge-bases/laws")  # 3,000 chunks that nobody waits for
    assert running.call("POST", "/api/knowledge-bases", {"name": "rules"})[0] == 201
    for n, text in enumerate(TEXTS):
        assert running.call("POST", "/api/knowledge-bases/rules/documents", {"name": f"{n}.txt", "text": text, "external_id": str(n)})[0] == 202
    wait_for(lambda: manifest(running)["state"] == "active", "vectors", 120)
    yield running
    running.stop()


def manifest(brain: RunningBrain) -> dict[str, Any]:
    shown: dict[str, Any] = brain.call("GET", "/api/knowledge-bases/rules")[1]["manifest"]
    return shown


def search(brain: RunningBrain, **more: Any) -> dict[str, Any]:
    status, found = brain.call("POST", "/api/search", {"query": QUESTION, "knowledge_bases": ["rules"], **more})
    assert status == 200, found
    return dict(found)


def engines(brain: RunningBrain) -> list[int]:
    return [pid for pid, command in brain.processes().items() if "local_serve" in command]


def test_meaning_finds_what_words_do_not(brain: RunningBrain) -> None:
    found = search(brain)
    assert found["degraded"] == []
    first = found["hits"][0]
    assert first["external_id"] == str(ANSWER) and first["sources"]["semantic"]["rank"] == 1
    assert 0.7 < first["sources"]["semantic"]["score"] <= 1 and 0 <= first["confidence"] <= 1
    by_words = search(brain, mode="lexical")
    assert all("semantic" not in hit["sources"] for hit in by_words["hits"])
    shown = manifest(brain)
    assert (shown["embedder"], shown["width"], shown["weight"]) == ("multilingual-e5-small", 384, 0.5)


def test_its_answer_cites_the_passage(brain: RunningBrain) -> None:
    body = {"model": "auto@rules", "messages": [{"role": "user", "content": "公务车辆可以私用吗"}]}
    status, reply = brain.call("POST", "/v1/chat/completions", body)
    assert status == 200 and reply["degraded"] == []
    assert any(one["external_id"] == str(ANSWER) and one["cited"] for one in reply["citations"])


def test_killed_the_engine_is_back_with_the_next_question(brain: RunningBrain) -> None:
    search(brain)
    assert engines(brain)
    for pid in engines(brain):
        os.kill(pid, signal.SIGKILL)
    marks = iter(range(1, 1000))  # another question each time: vectors of the last ones are remembered
    found = wait_for(lambda: (one := search(brain, query=QUESTION + "？" * next(marks)))["degraded"] == [] and one, "searched by meaning again", 10)
    assert found["hits"][0]["external_id"] == str(ANSWER)


def test_a_document_that_comes_later_is_found_at_once_and_gets_its_vector(brain: RunningBrain) -> None:
    text = "第六条 值班电话须随时有人接听。"
    assert brain.call("POST", "/api/knowledge-bases/rules/documents", {"name": "late.txt", "text": text, "external_id": "late"})[0] == 202

    def first() -> dict[str, Any] | None:
        hits = search(brain, query="值班电话须随时有人接听")["hits"]
        return hits[0] if hits and hits[0]["external_id"] == "late" else None

    assert wait_for(first, "found")
    assert wait_for(lambda: (one := first()) is not None and "semantic" in one["sources"], "its vector", 30)


def test_embeddings_are_served_outwards(brain: RunningBrain) -> None:
    status, reply = brain.call("POST", "/v1/embeddings", {"input": ["车辆", "食堂"], "model": "auto"})
    assert status == 200 and [len(one["embedding"]) for one in reply["data"]] == [384, 384]
    names = {one["name"]: one for one in brain.call("GET", "/api/models")[1]["data"]}
    assert (names["multilingual-e5-small"]["kind"], names["multilingual-e5-small"]["status"]) == ("embedding", "ready")


def test_after_a_restart_nothing_is_embedded_again_and_no_engine_is_left_behind(brain: RunningBrain) -> None:
    running = engines(brain)
    brain.stop()
    assert not [pid for pid in running if Path(f"/proc/{pid}").exists()]
    assert not brain.processes()
    brain.start()
    assert manifest(brain)["state"] == "active"
    assert engines(brain) == []
    found = search(brain)  # whose question wakes the engine
    assert found["degraded"] == []
    assert found["hits"][0]["external_id"] == str(ANSWER)


def test_a_lost_index_folder_is_built_again_from_the_database(brain: RunningBrain) -> None:
    shutil.rmtree(brain.data / "index")
    found = wait_for(lambda: (one := search(brain))["degraded"] == [] and one["hits"] and one, "both indexes are back", 60)
    assert found["hits"][0]["external_id"] == str(ANSWER) and "semantic" in found["hits"][0]["sources"]
