"""What the knowledge graph adds to a search, and what it costs: python bench/graph_passages.py --data DIR

301 laws (DIR/B_regulations/raw_md) through the product's ingest, without an embedder. Asked which article punishes a breach of another, by that one's
number: 120 drawn from the references found in the laws, the wanted one being that which refers. The set of scenario questions must not get worse. Each is
asked with the graph and without it: the share with a wanted article among the first five. Beside it, PageRank over a made graph of 320,000 triples and
200,000 ties to passages, with hubs of 4,000. Prints one JSON object; exit code 1 when the graph makes anything worse or PageRank takes over 40 ms.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from answers import load, rows

from qzbrain.brain import Brain, build
from qzbrain.domain import ReadScope
from qzbrain.graph.pagerank import rows as compressed
from qzbrain.graph.pagerank import spread
from qzbrain.retrieval.hybrid import SearchQuery
from qzbrain.settings import Settings
from qzbrain.text.numerals import article_key

KB, ASKED = "laws", 120
Question = tuple[str, set[tuple[str, str]]]
"""What is asked, and the articles (file, article's label in its heading path) that answer."""


def breaches(brain: Brain, kb_id: str) -> list[Question]:
    """违反某法第某条怎么处罚, with the articles that refer to that one in a sentence of breach."""
    found: dict[str, set[tuple[str, str]]] = {}
    documents = {row.id: row.name for row in brain.knowledge.documents(brain.access.local_caller("zh"), KB, limit=500).data}
    for one in brain.graph.every_triple(kb_id):
        for place in one.places:
            if one.relation == "引用" and one.tail.type == "条款" and place.quote.lstrip("*第条零一二三四五六七八九十百千　 ").startswith("违反本法"):
                found.setdefault(one.tail.name, set()).add((documents[place.document_id], one.head.name[one.head.name.rindex("第") :]))
    drawn = Random(7).sample(sorted(found), min(ASKED, len(found)))
    return [(f"违反{name}会受到什么处罚？", found[name]) for name in drawn]


def scenarios(data: Path) -> list[Question]:
    """The questions of the set that name what answers them."""
    folder = data / "B_regulations"
    corpus = {row["id"]: (Path(row["path"]).name, row["article"]) for row in rows(folder / "corpus.jsonl.gz")}
    return [(q["question"], {corpus[q["doc_id"]]}) for q in rows(folder / "questions.jsonl")]


def share(brain: Brain, scope: ReadScope, questions: Sequence[Question]) -> tuple[float, float]:
    """With a wanted article among the first five; the median of the times in ms."""
    right, times = 0, []
    for text, articles in questions:
        began = time.perf_counter()
        hits = brain.retriever.search(SearchQuery(text, top_k=5), scope).hits
        times.append((time.perf_counter() - began) * 1e3)
        keys = {(name, article_key(label)) for name, label in articles}
        right += any((hit.document, article_key(part)) in keys for hit in hits for part in hit.heading_path[-1:])
    return round(right / max(1, len(questions)), 4), round(statistics.median(times), 2)


def pagerank_ms() -> dict[str, float]:
    """Over a made graph of the size that must hold."""
    random = np.random.default_rng(3)
    entities, passages, triples, ties = 55_000, 100_000, 320_000, 200_000
    left = np.concatenate([(random.pareto(1.2, triples) * 20).astype(np.int64) % entities, random.integers(0, entities, ties)])
    right = np.concatenate([random.integers(0, entities, triples), entities + random.integers(0, passages, ties)])
    hubs = np.repeat(np.arange(20), 4000)
    left, right = np.concatenate([left, hubs]), np.concatenate([right, random.integers(0, entities, len(hubs))])
    graph = compressed(entities + passages, left.astype(np.int32), right.astype(np.int32), np.ones(len(left), np.float32))
    degree = np.diff(graph.starts)
    times = []
    for n in range(200):
        seeds = np.array([n % 20, *random.integers(0, entities, 2)], np.int32)
        began = time.perf_counter()
        spread(graph, seeds, np.full(3, 1 / 3, np.float32))
        times.append((time.perf_counter() - began) * 1e3)
    return {"p50_ms": round(statistics.median(times), 1), "p95_ms": round(float(np.percentile(times, 95)), 1), "largest_degree": int(degree.max())}


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    figures: dict[str, Any] = {"pagerank": pagerank_ms()}
    with tempfile.TemporaryDirectory() as folder:
        brain = build(Settings(qzbrain_data=Path(folder) / "data", qzbrain_embedder="none"))
        load(brain, KB, sorted((data / "B_regulations" / "raw_md").glob("*.md")))
        caller = brain.access.local_caller("zh")
        ref = brain.access.resolve(caller, [KB])[0]
        scope = brain.access.scope(caller, [ref.id])
        sets, graphs = {"breaches": breaches(brain, ref.id), "scenarios": scenarios(data)}, brain.passage_graphs
        brain.retriever.search(SearchQuery("违反公司法第五条"), scope)
        for name, questions in sets.items():
            brain.retriever._graphs = None
            without, ms_without = share(brain, scope, questions)
            brain.retriever._graphs = graphs
            found, ms = share(brain, scope, questions)
            figures[name] = {"questions": len(questions), "without": without, "with": found, "p50_ms_without": ms_without, "p50_ms": ms}
        brain.close()
    print(json.dumps(figures, ensure_ascii=False, indent=1))
    worse = [name for name in sets if figures[name]["with"] < figures[name]["without"]]
    sys.exit(bool(worse) or figures["pagerank"]["p95_ms"] > 40)


if __name__ == "__main__":
    main()
