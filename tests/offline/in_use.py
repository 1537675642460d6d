"""Half a minute, or more on a slow machine, of a brain with its default settings: started, asked, given documents, searched, looked at.

Prints as JSON how much was done.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.running import ROOT, RunningBrain, wait_for

LASTS_S = 30.0
BREAK_S = 4.0
ROUNDS = 5
QUESTION = "行政处罚的种类有哪些？"


def main(folder: Path) -> None:
    """Fails when the brain does not do what it is asked to."""
    began, done = time.monotonic(), Counter[str]()
    brain = RunningBrain(folder / "data")
    del brain.environment["QZBRAIN_EMBEDDER"]  # RunningBrain goes without it; users do not
    brain.start()
    try:
        while time.monotonic() - began < LASTS_S - BREAK_S or done["searches"] < ROUNDS:
            use(brain, done)
            time.sleep(BREAK_S)
        report = subprocess.run([sys.executable, "-m", "qzbrain.cli", "doctor", "--json"], cwd=ROOT, env=brain.environment, capture_output=True, timeout=60)
        done["checks"] = len(json.loads(report.stdout)["checks"])
    finally:
        brain.stop()
    sys.stdout.write(json.dumps(done) + "\n")


def use(brain: RunningBrain, done: Counter[str]) -> None:
    """Everything that people do."""
    status, reply = brain.call("POST", "/v1/chat/completions", {"model": "auto@laws", "messages": [{"role": "user", "content": QUESTION}]})
    assert status == 200 and "警告" in reply["choices"][0]["message"]["content"], reply
    done["answers"] += 1
    status, found = brain.call("POST", "/api/search", {"query": "年假可以休几天", "knowledge_bases": ["laws"]})
    assert status == 200, found
    done["searches"] += 1
    status, graph = brain.call("POST", "/chat-process-txt", {"text": "行政处罚法第九条"})
    assert status == 200, graph
    text = f"采购金额超过 {done['documents'] + 50} 万元的，须经董事会批准。"
    status, made = brain.call("POST", "/api/knowledge-bases/laws/documents", {"name": f"{time.time()}.txt", "text": text})
    assert status == 202, made
    document = made["data"][0]["id"]
    wait_for(lambda: brain.call("GET", f"/api/documents/{document}")[1]["status"] == "ready", "read", 30)
    done["documents"] += 1
    for page in ("/", "/graph", "/knowledge", "/models", "/docs", "/metrics"):
        done["pages"] += get(brain, page)


def get(brain: RunningBrain, path: str) -> int:
    """1 for a page that is there."""
    connection = http.client.HTTPConnection("127.0.0.1", brain.port, timeout=30)
    connection.request("GET", path)
    return int(connection.getresponse().status == 200)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
