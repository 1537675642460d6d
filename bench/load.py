"""Requests a second over HTTP: python bench/load.py [--url http://127.0.0.1:9025] [--kb laws] [--clients 8] [--seconds 5]

Asks a running brain: searches, then extractive answers, from the questions of `--questions` (JSON lines with `question`) or a few
of its own about the sample laws. Prints one JSON line for each, with latency percentiles. Exit code 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import threading
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

OWN = ["行政处罚的种类有哪些？", "试用期最长多久？", "当场处罚的程序是什么？", "劳动合同应当具备哪些条款？", "经济补偿怎么计算？", "行政处罚由谁实施？"]
SEARCHES_PER_S, ANSWERS_PER_S, ANSWER_P50_MS = 300, 150, 20


def search(question: str, kb: str) -> tuple[str, dict[str, Any]]:
    """A search request."""
    return "/api/search", {"query": question, "knowledge_bases": [kb]}


def answer(question: str, kb: str) -> tuple[str, dict[str, Any]]:
    """A question to the extractive answerer."""
    return "/v1/chat/completions", {"model": f"extractive@{kb}", "messages": [{"role": "user", "content": question}]}


def drive(netloc: str, make: Callable[[str, str], tuple[str, dict[str, Any]]], questions: list[str], kb: str, *, clients: int, seconds: float) -> list[float]:
    """Milliseconds of each reply. Every reply must be 200."""
    took: list[float] = []
    until = time.monotonic() + seconds

    def client(number: int) -> None:
        connection = http.client.HTTPConnection(netloc)
        for question in cycle(questions[number:] + questions[:number]):
            if time.monotonic() > until:
                break
            path, body = make(question, kb)
            begun = time.perf_counter()
            connection.request("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"})
            reply = connection.getresponse()
            reply.read()
            took.append((time.perf_counter() - begun) * 1e3)
            assert reply.status == 200, reply.status
        connection.close()

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(took)


def main() -> int:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:9025")
    parser.add_argument("--kb", default="laws")
    parser.add_argument("--questions", type=Path)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    questions = [json.loads(line)["question"] for line in arguments.questions.read_text("utf-8").splitlines() if line] if arguments.questions else OWN
    netloc, missed = urlsplit(arguments.url).netloc, False
    runs = [("search", search, arguments.clients, SEARCHES_PER_S), ("answer", answer, arguments.clients, ANSWERS_PER_S), ("answer", answer, 1, 0)]
    for name, make, clients, target in runs:
        took = drive(netloc, make, questions, arguments.kb, clients=clients, seconds=arguments.seconds)
        p50, p95 = took[len(took) // 2], took[int(len(took) * 0.95)]
        per_s = len(took) / arguments.seconds
        missed = missed or per_s < target or (clients == 1 and p50 > ANSWER_P50_MS)
        print(json.dumps({"what": name, "clients": clients, "per_s": round(per_s), "p50_ms": round(p50, 1), "p95_ms": round(p95, 1)}), flush=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
