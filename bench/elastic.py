"""The search server beside the embedded index: the same ranking, how fast chunks go in, how fast a question comes back.

    python bench/elastic.py --data DIR --url http://127.0.0.1:9200 [--every 4] [--keep FOLDER]

DIR holds A_retrieval, B_regulations and E_unanswerable (question sets of public corpora; see docs/benchmarks.md); the URL is a running
Elasticsearch or OpenSearch, where indexes named qzbrain-bench-… are made and removed. Documents are read once, into SQL; then each index is
built from SQL. `differs`: share of questions whose five best passages differ. One JSON object on standard output; exit code 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from answers import rows
from quality import laws, paragraphs, searcher
from search import measure

from qzbrain.brain import Brain, build
from qzbrain.retrieval.elastic.index import ElasticIndex
from qzbrain.settings import Settings

KBS = ("laws301", "cmrc", "qed")
R_AT_5 = ("scenario R@5", "cmrc R@5", "qed R@5")
MOST_APART, LEAST_RATE, MOST_P95_MS = 0.01, 1000, 40.0


def indexed(brain: Brain, kb: str) -> dict[str, float]:
    """Build a knowledge base's index from SQL, as `qzbrain kb reindex` does: tokenising included."""
    kb_id = brain.access.resolve(brain.access.local_caller("zh"), [kb])[0].id
    started = time.perf_counter()
    chunks = brain.feeder.rebuild(kb_id)
    seconds = time.perf_counter() - started
    return {"chunks": chunks, "seconds": round(seconds, 2), "chunks_per_s": round(chunks / seconds)}


def differs(one: Brain, other: Brain, questions: list[str]) -> float:
    """Share of questions whose five best passages are not the same, in the same order."""
    first, second = searcher(one, "laws301"), searcher(other, "laws301")
    return sum([hit.chunk_id for hit in first(q, 5)] != [hit.chunk_id for hit in second(q, 5)] for q in questions) / len(questions)


def compared(embedded: Brain, server: Brain, data: Path, every: int) -> dict[str, Any]:
    """All figures of both."""
    quality = {"embedded": laws(embedded, data, every) | paragraphs(embedded, data, every)}
    found: dict[str, Any] = {"indexing": {kb: indexed(server, kb) for kb in KBS}}
    quality["server"] = laws(server, data, every) | paragraphs(server, data, every)
    found["quality"] = {name: {where: values[name][0] for where, values in quality.items()} for name in quality["embedded"]}
    questions = [q["question"] for q in rows(data / "B_regulations/questions.jsonl")[::every]]
    found["differs"] = round(differs(embedded, server, questions), 4)
    found["search"] = {name: measure(searcher(brain, "laws301"), questions, 1) for name, brain in (("embedded", embedded), ("server", server))}
    return found


def missed(found: dict[str, Any]) -> list[str]:
    """Names of the figures that do not hold their bound."""
    apart = [name for name in R_AT_5 if abs(found["quality"][name]["embedded"] - found["quality"][name]["server"]) > MOST_APART]
    slow = ["chunks_per_s"] if found["indexing"]["laws301"]["chunks_per_s"] < LEAST_RATE else []
    return apart + slow + (["p95_ms"] if found["search"]["server"]["p95_ms"] > MOST_P95_MS else [])


def main() -> None:
    """Measure, print, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--every", type=int, default=1, help="take every n-th question only")
    parser.add_argument("--keep", type=Path, help="data folder to keep and use again")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.keep or Path(temporary)
        embedded = build(Settings(qzbrain_data=folder, qzbrain_embedder="none"))  # words are compared
        server = build(Settings(qzbrain_data=folder, es_url_add=args.url, qizhibrain_index="qzbrain-bench", qzbrain_embedder="none"))
        assert isinstance(server.index, ElasticIndex)
        product = server.index.server.product()
        found = {"server": f"{product.name} {product.version}", **compared(embedded, server, args.data, args.every)}
        for ref in server.access.resolve(server.access.local_caller("zh")):
            server.index.drop(ref.id)
        for brain in (embedded, server):
            brain.close()
    print(json.dumps({**found, "missed": missed(found)}, ensure_ascii=False, indent=1))
    sys.exit(bool(missed(found)))


if __name__ == "__main__":
    main()
