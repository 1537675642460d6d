"""Extraction with a real llama.cpp. Its weights are random: what can be seen is that it is held to the schema, and what becomes of its replies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from qzbrain.graph.extraction import read
from qzbrain.graph.grouping import RESPONSE_FORMAT
from tests.local_engine import tiny_model
from tests.running import RunningBrain, wait_for

TEXT = "晨光公司的董事长是李明。晨光公司的所在地是上海。"


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBrain]:
    config = f'[models.tiny]\nengine = "llamacpp"\npath = "{tiny_model("chat")}"\ncontext = 4096\nslots = 2\nthreads = 1\n'
    running = RunningBrain(tmp_path_factory.mktemp("extraction") / "data", config).start()
    yield running
    assert running.stop() == 0
    assert running.processes() == {}


def test_a_job_with_an_engine_that_the_brain_starts(brain: RunningBrain) -> None:
    assert brain.call("POST", "/api/knowledge-bases", {"name": "kb"})[0] == 201
    assert brain.call("POST", "/api/knowledge-bases/kb/documents", {"name": "a.txt", "text": TEXT})[0] == 202
    wait_for(lambda: brain.call("GET", "/api/knowledge-bases/kb/documents")[1]["data"][0]["status"] == "ready", "the document is ready")
    status, cost = brain.call("POST", "/api/graph/kb/extract", {"dry_run": True, "model": "tiny"})
    assert (status, cost["calls"], cost["cached_calls"], cost["basis"]) == (200, 1, 0, "assumed")
    job = run(brain)
    assert (job["status"], job["result"]["calls"], job["result"]["failed_chunks"], job["result"]["triples"]) == ("done", 1, 0, 0)
    assert job["result"]["prompt_tokens"] > cost["prompt_tokens"] / 2 and job["result"]["completion_tokens"] > 0  # the engine's own figures
    assert brain.call("GET", "/api/graph/kb/stats")[1]["triples"] == 0
    cost = brain.call("POST", "/api/graph/kb/extract", {"dry_run": True, "model": "tiny"})[1]
    assert (cost["cached_calls"], cost["basis"], cost["estimate_s"]) == (1, "measured", 0.0)
    assert run(brain)["result"]["calls"] == 0


def run(brain: RunningBrain) -> dict[str, Any]:
    """Extract, and give the job as it ended."""
    status, started = brain.call("POST", "/api/graph/kb/extract", {"model": "tiny"})
    assert status == 202

    def over() -> dict[str, Any] | None:
        jobs = brain.call("GET", "/api/jobs?limit=100")[1]["data"]
        return next((one for one in jobs if one["id"] == started["job_id"] and one["status"] not in ("pending", "running")), None)

    return dict(wait_for(over, "the extraction is over"))


def test_a_reply_is_of_the_schema_or_says_that_it_was_cut_off(brain: RunningBrain) -> None:
    engine = json.loads(Path(brain.data / "run" / "engines" / "tiny.json").read_text())
    headers = {"authorization": f"Bearer {engine['key']}"}
    for most, end in ((400, "stop"), (8, "length")):
        body = {"messages": [{"role": "user", "content": TEXT}], "response_format": RESPONSE_FORMAT, "max_tokens": most, "temperature": 0}
        reply = urllib3.request("POST", f"{engine['url']}/v1/chat/completions", json=body, headers=headers, timeout=60)
        assert reply.status == 200, reply.data
        choice = reply.json()["choices"][0]
        said = read(choice["message"]["content"])
        assert (choice["finish_reason"], said is not None and said.whole) == (end, end == "stop")
