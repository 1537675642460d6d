"""What graphs answer without a language model, and how sure they are: question sets over real graphs, and questions that a graph must leave alone.

    python bench/graph_answers.py --data DIR [--wrong] [--json]

DIR holds C_kg/{nlpcc_train,stock} (triples.csv, questions.jsonl), and for the questions to be left alone A_retrieval/cmrc_dev and B_regulations: questions on
what is written in documents, put to graphs of other things, and questions on laws, put to the graph that these laws' texts state. A set counts as right what
comes first (`list`: all of it), whatever the confidence; with it how many of the answers that may stand on their own (confidence >= 0.7) are right, and how
many questions get such a one. Prints a table, or JSON; exit 1 when a bound is missed. `--wrong` lists what was answered wrongly.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

SURE = 0.7
BOUNDS = {"nlpcc one hop": 0.80, "stock attr": 0.95, "stock list": 0.95, "stock count": 0.95, "stock path": 0.95}
"""Least share of right answers, by set."""
MOST_SURE = 0.02
"""Of the questions that a graph must leave alone, so many may get an answer that would stand on its own."""


@dataclass
class Figures:
    """Of one set; a share is None where it has no meaning."""

    asked: int = 0
    right: int = 0
    sure: int = 0
    sure_right: int = 0
    times_ms: list[float] = field(default_factory=list)
    alone: bool = False

    def row(self, name: str) -> dict[str, Any]:
        times = sorted(self.times_ms)
        return {
            "set": name,
            "asked": self.asked,
            "right": None if self.alone else round(self.right / self.asked, 4),
            "sure": round(self.sure / self.asked, 4),
            "sure_right": None if self.alone or not self.sure else round(self.sure_right / self.sure, 4),
            "p50_ms": round(times[len(times) // 2], 2),
            "p95_ms": round(times[int(0.95 * (len(times) - 1))], 2),
            "missed": self.sure / self.asked > MOST_SURE if self.alone else self.right / self.asked < BOUNDS.get(name, 0),
        }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--wrong", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [figures.row(name) for name, figures in _measured(given.data, Path(folder), wrong=given.wrong).items()]
    print(json.dumps(rows, ensure_ascii=False) if given.json else table(rows))
    sys.exit(1 if any(row["missed"] for row in rows) else 0)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """As Markdown."""
    lines = ["| questions | asked | right | sure of | of these right | p50, ms | p95, ms |", "| --- | --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        cells = [row["set"], row["asked"], row["right"], row["sure"], row["sure_right"], row["p50_ms"], row["p95_ms"]]
        lines.append("| " + " | ".join("" if cell is None else str(cell) for cell in cells) + (" | missed" if row["missed"] else " |"))
    return "\n".join(lines)


def _measured(data: Path, folder: Path, *, wrong: bool) -> dict[str, Figures]:
    from qzbrain.graph.qa import Answerer
    from qzbrain.storage.database import Database
    from qzbrain.storage.migrate import upgrade

    database = Database(folder / "brain.sqlite")
    upgrade(database)
    found: dict[str, Figures] = {}
    others = [one["question"] for one in _lines(data / "A_retrieval/cmrc_dev/questions.jsonl")]
    for name, kind in (("nlpcc_train", "nlpcc"), ("stock", "stock")):
        with (data / "C_kg" / name / "triples.csv").open(encoding="utf-8", newline="") as stream:
            answerer = Answerer(_graph(database, name, [(row["head"], row["relation"], row["tail"]) for row in csv.DictReader(stream)]))
        for one in _lines(data / "C_kg" / name / "questions.jsonl"):
            label = f"{kind} {one.get('kind', 'one hop')}"
            _ask(answerer, one["question"], one["answers"], found.setdefault(label, Figures()), wrong=wrong, whole=one.get("kind") == "list")
        for question in others:
            _ask(answerer, question, [], found.setdefault(f"{kind}: questions on passages", Figures(alone=True)), wrong=wrong)
    answerer = Answerer(_laws(database, data / "B_regulations"))
    for one in _lines(data / "B_regulations/questions.jsonl"):
        _ask(answerer, one["question"], [], found.setdefault(f"laws: questions {one['id'].split('-')[0]}", Figures(alone=True)), wrong=wrong)
    return found


def _ask(answerer: Any, question: str, answers: Sequence[str], figures: Figures, *, wrong: bool, whole: bool = False) -> None:
    from qzbrain.graph.linking import name_key

    begun = time.perf_counter()
    answer = answerer.answer(question)
    figures.times_ms.append((time.perf_counter() - begun) * 1e3)
    values, gold = [name_key(one) for one in answer.values], {name_key(one) for one in answers}
    right = set(values) == gold if whole else bool(values) and values[0] in gold
    sure = answer.confidence >= SURE
    figures.asked += 1
    figures.right += right
    figures.sure += sure
    figures.sure_right += sure and right
    if wrong and (sure if figures.alone else not right):
        print(f"{answer.confidence:.2f} {question} -> [{answer.relation}] {answer.values[:3]} not {list(answers)[:3]}")


def _graph(database: Any, kb_id: str, triples: Iterable[tuple[str, str, str]]) -> Any:
    from qzbrain.graph.base import Fact, Place
    from qzbrain.graph.embedded import SqlGraph

    store, place = SqlGraph(database), Place("import", source="bench")
    store.add(kb_id, [Fact(*one, place) for one in triples])
    return store.view(kb_id)


def _laws(database: Any, folder: Path) -> Any:
    """The graph that laws state about themselves."""
    from qzbrain.graph.base import Fact
    from qzbrain.graph.embedded import SqlGraph
    from qzbrain.graph.structure import DocumentPart, structure

    by_law: dict[str, list[dict[str, Any]]] = {}
    with gzip.open(folder / "corpus.jsonl.gz", "rt", encoding="utf-8") as stream:
        for line in stream:
            article = json.loads(line)
            by_law.setdefault(article["law"], []).append(article)
    facts: list[Fact] = []
    for law, articles in sorted(by_law.items()):
        text, parts = "", []
        for one in articles:
            path = tuple(name for name in (law, one.get("part"), one.get("chapter"), one.get("section"), one["article"]) if name)
            start, text = len(text), f"{text}{one['text']}\n"
            parts.append(DocumentPart(start, len(text) - 1, path, one["article_no"]))
        facts += structure(law, law, text, parts)
    store = SqlGraph(database)
    store.add("laws", facts)
    return store.view("laws")


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


if __name__ == "__main__":
    main()
