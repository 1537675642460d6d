"""How fast the product searches in process: p50 and p95 of one thread, searches a second of several, over 301 laws.

    python bench/search.py --data DIR [--keep FOLDER]

DIR holds B_regulations. Times are of Retriever.search with ten hits filled from SQL, everything included. One JSON object on standard output.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from answers import load, rows
from quality import Search, searcher

from qzbrain.brain import build
from qzbrain.retrieval.evaluate import percentile
from qzbrain.settings import Settings

THREADS = (1, 2, 4, 8)


def timed(search: Search, question: str) -> float:
    """Milliseconds of one search."""
    started = time.perf_counter()
    search(question, 10)
    return (time.perf_counter() - started) * 1e3


def measure(search: Search, questions: Sequence[str], threads: int) -> dict[str, float]:
    """All questions once, by so many threads."""
    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        times = list(pool.map(lambda one: timed(search, one), questions))
    seconds = time.perf_counter() - started
    return {"p50_ms": round(percentile(times, 0.5), 2), "p95_ms": round(percentile(times, 0.95), 2), "searches_per_s": round(len(times) / seconds)}


def main() -> None:
    """Load, warm up, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--keep", type=Path, help="data folder to keep and use again")
    args = parser.parse_args()
    questions = rows(args.data / "B_regulations/questions.jsonl")
    kinds = {
        kind: [q["question"] for q in questions if q["source"] == source] for kind, source in (("scenario", "LawBench 3-2"), ("article number", "LawBench 1-1"))
    }
    with tempfile.TemporaryDirectory() as temporary:
        brain = build(Settings(qzbrain_data=args.keep or Path(temporary)))
        load(brain, "laws301", sorted((args.data / "B_regulations/raw_md").glob("*.md")))
        search = searcher(brain, "laws301")
        for texts in kinds.values():
            measure(search, texts[:50], 1)
        print(json.dumps({f"{kind}, {n} threads": measure(search, texts, n) for kind, texts in kinds.items() for n in THREADS}, ensure_ascii=False, indent=1))
        brain.close()


if __name__ == "__main__":
    main()
