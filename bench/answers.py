"""Answers of the extractive rung, in process, through the product's own path: what is shown, what is refused, how long it takes.

    python bench/answers.py --data DIR [--every 4] [--keep FOLDER]

DIR holds A_retrieval (cmrc_dev, qed_en, dureader_demo) and E_unanswerable (question sets of public corpora; see docs/benchmarks.md). `shown`: the gold
answer stands in the answer's text; `listed`: there or in a citation's quote. One JSON object on standard output.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qzbrain.brain import Brain, build
from qzbrain.chat.citations import SUPPORT_THRESHOLD, support
from qzbrain.chat.plan import Ask
from qzbrain.domain import Answer, Done
from qzbrain.settings import Settings
from qzbrain.text.normalize import searchable
from qzbrain.text.sentences import sentences
from qzbrain.worker import work_inline


def rows(path: Path) -> list[dict[str, Any]]:
    """Lines of a .jsonl or .jsonl.gz."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def squeezed(text: str) -> str:
    """Without white space, lower case."""
    return "".join(text.split()).lower()


def ask(brain: Brain, question: str, kb: str) -> tuple[Answer, float]:
    """One answer and its time in ms."""
    caller = brain.access.local_caller("zh")
    started = time.perf_counter()
    turn = brain.chat.begin(caller, Ask(message=question, model=f"extractive@{kb}", origin="api"))
    last = list(brain.chat.answer(turn))[-1]
    assert isinstance(last, Done), last
    return last.answer, (time.perf_counter() - started) * 1e3


def load(brain: Brain, kb: str, files: Sequence[Path]) -> None:
    """Read the files into a knowledge base, unless it is there."""
    caller = brain.access.local_caller("zh")
    if any(ref.name == kb for ref in brain.access.resolve(caller)):
        return
    brain.knowledge.create(caller, name=kb)
    for path in files:
        with path.open("rb") as stream:
            brain.knowledge.add_file(caller, kb, path.name, stream)
    work_inline(brain, lambda: not brain.knowledge.jobs(caller, status="pending").data and not brain.knowledge.jobs(caller, status="running").data)


def gold(brain: Brain, kb: str, questions: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Shares of questions whose gold answer is shown and listed; sentences shown; times."""
    shown = listed = chars = 0
    times: list[float] = []
    for q in questions:
        answer, ms = ask(brain, q["question"], kb)
        wanted = [squeezed(x) for x in q["answers"]]
        text = squeezed(answer.answer)
        quotes = [squeezed(c.quote) for c in answer.citations]
        shown += any(x in text for x in wanted)
        listed += any(x in y for x in wanted for y in (text, *quotes))
        chars += len(answer.answer)
        times.append(ms)
    n = len(questions)
    return {
        "questions": n, "shown": round(shown / n, 4), "listed": round(listed / n, 4), "mean_chars": round(chars / n),
        "p50_ms": round(statistics.median(times), 2), "p95_ms": round(sorted(times)[int(0.95 * (n - 1))], 2),
    }  # fmt: skip


def refusals(brain: Brain, kb: str, questions: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Refused shares of answerable and unanswerable questions, and the AUROC of confidence."""
    confidence: dict[bool, list[float]] = {True: [], False: []}
    refused = {True: 0, False: 0}
    for q in questions:
        answer, _ = ask(brain, q["question"], kb)
        confidence[q["answerable"]].append(answer.confidence or 0.0)
        refused[q["answerable"]] += answer.rung == "refused"
    pairs = [(a > b) + 0.5 * (a == b) for a in confidence[True] for b in confidence[False]]
    return {
        "auroc": round(statistics.fmean(pairs), 4),
        "refused_answerable": round(refused[True] / len(confidence[True]), 4),
        "refused_unanswerable": round(refused[False] / len(confidence[False]), 4),
    }


def supported(folder: Path) -> dict[str, float]:
    """Sentences of people's own answers that pass the citation check against their page, and against another question's page."""
    texts = {row["id"]: searchable(row["text"]) for row in rows(folder / "corpus.jsonl")}
    questions = rows(folder / "questions.jsonl")
    passed = {"right": 0, "wrong": 0}
    total = 0
    for i, q in enumerate(questions):
        wrong = questions[(i + len(questions) // 2) % len(questions)]
        for text in (answer[start:end] for answer in q["answers"] for start, end in sentences(answer) if end - start >= 12):
            total += 1
            for name, pages in (("right", q["doc_ids"]), ("wrong", wrong["doc_ids"])):
                passed[name] += max(support(text, texts[page], q["question"]) for page in pages) >= SUPPORT_THRESHOLD
    return {"sentences": total, "right_page": round(passed["right"] / total, 4), "wrong_page": round(passed["wrong"] / total, 4)}


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="take every n-th question only")
    parser.add_argument("--keep", type=Path, help="data folder to keep and use again")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        brain = build(Settings(qzbrain_data=args.keep or Path(temporary)))
        load(brain, "cmrc", [args.data / "A_retrieval/cmrc_dev/corpus.jsonl"])
        load(brain, "qed", [args.data / "A_retrieval/qed_en/corpus.jsonl"])
        result = {
            "cmrc_dev": gold(brain, "cmrc", rows(args.data / "A_retrieval/cmrc_dev/questions.jsonl")[:: args.every]),
            "qed_en": gold(brain, "qed", rows(args.data / "A_retrieval/qed_en/questions.jsonl")[:: args.every]),
            "citation_check": supported(args.data / "A_retrieval/dureader_demo"),
            "refusals": refusals(brain, "cmrc", rows(next((args.data / "E_unanswerable/cmrc_out_of_corpus").glob("*.jsonl")))[:: args.every]),
        }
        print(json.dumps(result, ensure_ascii=False, indent=1))
        brain.close()


if __name__ == "__main__":
    main()
