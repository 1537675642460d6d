"""When a curated entry answers by itself: how many other questions reach each confidence, and how many rewordings do.

    python bench/entries.py --data DIR

Other questions: pairs about one paragraph (cmrc_dev, qed_en) whose answers differ, and pairs of article-number questions. Rewordings: cmrc_dev's
questions, said otherwise by rule. One JSON object on standard output; exit code 1 when the precision at the shipped confidence is below .99.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from answers import rows

from qzbrain.retrieval.entry_matching import match
from qzbrain.settings import Settings

LEAST_PRECISION = 0.99
SAID = (("什么时候", "何时"), ("是什么", "是啥"), ("哪里", "什么地方"), ("多少", "几多"), ("如何", "怎么"), ("为什么", "为何"), ("谁", "哪位"))


def others(data: Path) -> list[tuple[str, str]]:
    """Pairs of questions that sound alike and ask for something else."""
    found: list[tuple[str, str]] = []
    for name in ("cmrc_dev", "qed_en"):
        by_document: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for question in rows(data / f"A_retrieval/{name}/questions.jsonl"):
            by_document[question["doc_id"]].append(question)
        for some in by_document.values():
            for one, other in itertools.combinations(some, 2):
                if not set(one["answers"]) & set(other["answers"]):
                    found.append((one["question"], other["question"]))
    articles = [one for one in rows(data / "B_regulations/questions.jsonl") if "1-1" in str(one.get("source", ""))]
    chosen = random.Random(1)
    for one in articles[:200]:
        other = chosen.choice(articles)
        if one["doc_id"] != other["doc_id"]:
            found.append((one["question"], other["question"]))
    return found


def rewordings(data: Path) -> list[tuple[str, str]]:
    """Questions with another way to ask them."""
    listed = [one["question"] for one in rows(data / "A_retrieval/cmrc_dev/questions.jsonl")]
    found: list[tuple[str, str]] = []
    for question in random.Random(1).sample(listed, 600):
        bare = question.rstrip("？?")
        said = [f"{bare}呢？", f"请问{question}", f"我想知道{bare}。", *(question.replace(old, new) for old, new in SAID)]
        found += [(question, one) for one in dict.fromkeys(said) if one != question]
    return found


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    wrong, right = [match(*pair) for pair in others(data)], [match(*pair) for pair in rewordings(data)]
    shipped = Settings().entry_direct_confidence
    table = {}
    for least in sorted({0.6, 0.7, 0.75, 0.8, 0.85, 0.9, shipped}):
        false, true = sum(one >= least for one in wrong), sum(one >= least for one in right)
        table[str(least)] = {"others": false, "rewordings": round(true / len(right), 4), "precision": round(true / (true + false), 4)}
    print(json.dumps({"pairs": len(wrong), "rewordings": len(right), "at": table}, ensure_ascii=False, indent=1))
    sys.exit(table[str(shipped)]["precision"] < LEAST_PRECISION)


if __name__ == "__main__":
    main()
