"""What answers from the knowledge graph do to answers from documents, through the product's own path, without a language model.

    python bench/graph_rung.py --data DIR [--every 4] [--keep FOLDER]

DIR holds A_retrieval, B_regulations, C_kg and E_unanswerable (see docs/benchmarks.md). Knowledge bases: 301 laws with the graph that they make by
themselves; paragraphs of an encyclopedia, and the same with triples about other things beside them; triples alone. Of each set of questions: how many the
graph answers, and how many show the right answer with and without it. One JSON object on standard output.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from answers import ask, load, rows, squeezed

from qzbrain.brain import Brain, build
from qzbrain.graph.importing import KIND
from qzbrain.settings import Settings
from qzbrain.worker import work_inline

Row = dict[str, Any]
_MARKS = re.compile(r"\[\d+\]")


def import_triples(brain: Brain, kb: str, path: Path) -> None:
    """Take a file of triples into a knowledge base, unless there are some."""
    caller = brain.access.local_caller("zh")
    if not any(ref.name == kb for ref in brain.access.resolve(caller)):
        brain.knowledge.create(caller, name=kb)
    kb_id = brain.access.resolve(caller, [kb])[0].id
    if brain.graph.stats(kb_id).triples > 1000:
        return
    with path.open("rb") as stream:
        stored = brain.files.put(stream, limit_bytes=1 << 30)
    with brain.db.write() as connection:
        brain.jobs.submit(connection, KIND, subject=stored.sha256, kb_id=kb_id, payload={"name": path.name})
    work_inline(brain, lambda: not [job for job in brain.knowledge.jobs(caller, limit=100).data if job.status in ("pending", "running")])


def asked(brain: Brain, kb: str, questions: Sequence[Row]) -> dict[str, Any]:
    """Rungs, and of those questions that have answers the share that shows one; citations of the graph whose quote is not in its document."""
    rungs: Counter[str] = Counter()
    shown = known = torn = 0
    times: list[float] = []
    examples: list[list[str]] = []
    caller = brain.access.local_caller("zh")
    for q in questions:
        answer, ms = ask(brain, q["question"], kb)
        times.append(ms)
        rungs[answer.rung] += 1
        right = any(_plain(x) in _plain(answer.answer) for x in q.get("answers") or ())
        known += bool(q.get("answers"))
        shown += right
        if answer.rung == "graph":
            torn += sum(brain.knowledge.content(caller, c.document_id)[c.start : c.end] != c.quote for c in answer.citations if c.document_id)
            if not right and len(examples) < 12:
                examples.append([q["question"], answer.answer[:160], f"{answer.confidence:.2f}", str(q.get("answers"))[:80]])
    found: dict[str, Any] = {"questions": len(questions), **rungs, "torn_quotes": torn, "p50_ms": round(statistics.median(times), 2)}
    if known:
        found["shown"] = round(shown / known, 4)
    return {**found, "graph_without_the_answer": examples}


def _plain(text: str) -> str:
    """As texts are compared: without marks, which some names hold as well."""
    return squeezed(_MARKS.sub("", text))


def main() -> None:
    """Run all parts, with the graph and without."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="take every n-th question only")
    parser.add_argument("--keep", type=Path, help="data folder to keep and use again")
    args = parser.parse_args()
    data, result = args.data, dict[str, Any]()
    with tempfile.TemporaryDirectory() as temporary:
        settings = Settings(qzbrain_data=args.keep or Path(temporary), qzbrain_embedder="none")
        brain = build(settings)
        load(brain, "laws301", sorted((data / "B_regulations/raw_md").glob("*.md")))
        for kb in ("cmrc", "mixed"):
            load(brain, kb, [data / "A_retrieval/cmrc_dev/corpus.jsonl"])
        for kb, name in (("mixed", "nlpcc_train"), ("nlpcc", "nlpcc_train"), ("stock", "stock")):
            import_triples(brain, kb, data / "C_kg" / name / "triples.csv")
        sets = {
            "laws": ("laws301", rows(data / "B_regulations/questions.jsonl")),
            "paragraphs": ("cmrc", rows(data / "A_retrieval/cmrc_dev/questions.jsonl")),
            "paragraphs and triples": ("mixed", rows(data / "A_retrieval/cmrc_dev/questions.jsonl")),
            "unanswerable": ("mixed", [q for q in rows(data / "E_unanswerable/cmrc_out_of_corpus/questions.jsonl") if not q["answerable"]]),
            "one-hop": ("nlpcc", rows(data / "C_kg/nlpcc_train/questions.jsonl")),
            "stock": ("stock", rows(data / "C_kg/stock/questions.jsonl")),
        }
        for least in (settings.qzbrain_graph_answer, 0.0):
            one = build(settings.model_copy(update={"qzbrain_graph_answer": least}))
            result[f"from {least}"] = {name: asked(one, kb, questions[:: args.every]) for name, (kb, questions) in sets.items()}
            one.close()
        brain.close()
    print(json.dumps(result, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()
