"""What MySQL costs: answers, searches and uploads over HTTP, on SQLite and on a MariaDB of the bench's own, alternating in one run.

    python bench/mysql.py [--questions 150]

Both brains run as users start them, with the sample laws. One JSON object on standard output; times in ms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.running import RunningBrain, wait_for
from tests.servers.mariadb import MariaDb

QUESTIONS = (
    "行政处罚的种类有哪些？", "劳动合同应当具备哪些条款？", "谁可以申请行政复议？", "食品安全标准由谁制定？", "经济补偿按什么标准支付？", "试用期最长多久？",
    "个人信息处理者应当履行哪些义务？", "居民会议由谁召集？",
)  # fmt: skip


def shown(times: list[float]) -> dict[str, float]:
    """Median and 95th percentile."""
    return {"p50": round(statistics.median(times), 2), "p95": round(sorted(times)[int(0.95 * (len(times) - 1))], 2)}


def timed(action: Callable[[], int]) -> float:
    """How long a request that must succeed takes."""
    started = time.perf_counter()
    status = action()
    assert status < 300, status
    return (time.perf_counter() - started) * 1e3


def answer(brain: RunningBrain, question: str) -> int:
    """One plain answer from the texts."""
    body = {"model": "extractive@laws", "messages": [{"role": "user", "content": question}]}
    return brain.call("POST", "/v1/chat/completions", body)[0]


def search(brain: RunningBrain, question: str) -> int:
    """One search."""
    return brain.call("POST", "/api/search", {"query": question, "knowledge_bases": ["laws"]})[0]


def in_conversation(brain: RunningBrain, conversation: str, question: str) -> int:
    """A question in a conversation: its history is read, and its rows are committed before the answer begins."""
    return brain.call("POST", f"/api/conversations/{conversation}/messages", {"content": question, "model": "extractive"})[0]


def main() -> None:
    """Run both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=150)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        server = MariaDb(Path(temporary) / "mariadb").start()
        brains = {"sqlite": RunningBrain(Path(temporary) / "sqlite"), "mysql": RunningBrain(Path(temporary) / "mysql")}
        brains["mysql"].environment |= server.environment
        try:
            figures = measured(brains, args.questions)
        finally:
            for brain in brains.values():
                if brain.process is not None:
                    brain.stop()
            server.remove()
    figures["answer_added_p50"] = round(figures["answer"]["mysql"]["p50"] - figures["answer"]["sqlite"]["p50"], 2)
    print(json.dumps(figures, ensure_ascii=False, indent=1))


def measured(brains: dict[str, RunningBrain], questions: int) -> dict[str, dict[str, dict[str, float]]]:
    """Times by kind of request and database."""
    conversations: dict[str, str] = {}
    for name, brain in brains.items():
        brain.start()
        wait_for(lambda one=brain: one.call("GET", "/api/knowledge-bases/laws")[1]["documents"]["pending"] == 0, "read")
        conversations[name] = brain.call("POST", "/api/conversations", {"title": "bench", "knowledge_bases": ["laws"]})[1]["id"]
        brain.call("POST", "/api/knowledge-bases", {"name": "texts"})
    times: dict[str, dict[str, list[float]]] = {kind: {name: [] for name in brains} for kind in ("answer", "conversation", "search", "upload")}
    for n in range(questions + 10):
        question = QUESTIONS[n % len(QUESTIONS)]
        text = {"name": f"{n}.txt", "text": f"第{n}号：{question}"}
        for name, brain in brains.items():
            took = {
                "answer": timed(lambda one=brain, q=question: answer(one, q)),
                "conversation": timed(lambda one=brain, q=question, c=conversations[name]: in_conversation(one, c, q)),
                "search": timed(lambda one=brain, q=question: search(one, q)),
            }
            if n % 5 == 0:
                took["upload"] = timed(lambda one=brain, t=text: one.call("POST", "/api/knowledge-bases/texts/documents", t)[0])
            if n >= 10:  # the first ones warm caches and connections
                for kind, ms in took.items():
                    times[kind][name].append(ms)
    return {kind: {name: shown(found) for name, found in of_kind.items()} for kind, of_kind in times.items()}


if __name__ == "__main__":
    main()
