"""What facts told as texts do to a search beside documents, and what telling a large graph costs.

    python bench/facts.py --data DIR [--every 4] [--embedder auto]      quality: DIR holds A_retrieval/cmrc_dev and C_kg/nlpcc_train
    python bench/facts.py --triples 320000 [--entities 55000]           cost: the graph is made from a seed

Quality: paragraphs alone; with the graph of nlpcc_train beside them; and with facts of other kinds about the very subjects of the paragraphs, the worst
neighbours that they can have. Questions about paragraphs must go on finding them, questions about facts must find these. Cost: the job `facts` in a
process of its own while questions are asked here. One JSON object on standard output; exit code 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from answers import load, rows
from sqlalchemy import func, select

from qzbrain.brain import Brain, build
from qzbrain.graph.base import Fact, Place
from qzbrain.retrieval.evaluate import documents_in_order, first_rank, recall_at
from qzbrain.retrieval.hybrid import SearchQuery
from qzbrain.retrieval.shelves import facts_shelf
from qzbrain.settings import Settings
from qzbrain.storage.tables import graph_versions, jobs
from qzbrain.worker import Workplace

MOST_LOST = 0.005
LEAST_FOUND = 0.90
_RELATIONS = ("外文名", "所属系列", "类型", "语言", "出版社", "所属地区", "代表作品", "制作公司", "首播时间", "编号", "主要成就", "别称来源")
_WORK = "import sys; from pathlib import Path; from facts import tell_all; tell_all(Path(sys.argv[1]))"


def tell(brain: Brain) -> float:
    """Have every graph told; returns the seconds that it took once begun."""
    place, done = Workplace(brain), False

    def over() -> bool:
        return not brain.db.rows(select(graph_versions.c.kb_id).where(graph_versions.c.version != graph_versions.c.told))

    began = time.perf_counter()
    while not done:
        place.run(over)
        done = over()
    return time.perf_counter() - began


def tell_all(data: Path) -> None:
    """In a process of its own: what the worker does, and its peak memory on standard output."""
    import resource

    brain = build(Settings(qzbrain_data=data, qzbrain_embedder="none"))
    took = tell(brain)
    print(json.dumps({"took_s": took, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def add(brain: Brain, kb_id: str, triples: Sequence[tuple[str, str, str]]) -> None:
    """Bring triples into a graph as an import does."""
    for start in range(0, len(triples), 10_000):
        brain.graph.add(kb_id, [Fact(*one, Place("import")) for one in triples[start : start + 10_000]])


def quality(data: Path, every: int, embedder: str) -> dict[str, Any]:
    """See the module."""
    with tempfile.TemporaryDirectory() as folder:
        brain = build(Settings(qzbrain_data=Path(folder), qzbrain_embedder=embedder))
        load(brain, "kb", [data / "A_retrieval/cmrc_dev/corpus.jsonl"])
        kb_id = brain.access.resolve(brain.access.local_caller("zh"), ["kb"])[0].id
        if embedder != "none":
            _embed(brain)
        questions = rows(data / "A_retrieval/cmrc_dev/questions.jsonl")[::every]
        asked = rows(data / "C_kg/nlpcc_train/questions.jsonl")
        with (data / "C_kg/nlpcc_train/triples.csv").open(encoding="utf-8-sig", newline="") as file:
            triples = [(one["head"], one["relation"], one["tail"]) for one in csv.DictReader(file)]
        figures: dict[str, Any] = {"paragraphs alone": _paragraphs(brain, kb_id, questions)}
        add(brain, kb_id, triples)
        tell(brain)
        figures["beside nlpcc"] = _paragraphs(brain, kb_id, questions) | {"facts": _facts(brain, kb_id, asked)}
        chance = random.Random(1)
        titles = [one["title"] for one in rows(data / "A_retrieval/cmrc_dev/corpus.jsonl") if one["title"]]
        add(brain, kb_id, [(title, relation, chance.choice(triples)[2]) for title in titles for relation in chance.sample(_RELATIONS, 6)])
        tell(brain)
        figures["beside facts of the same subjects"] = _paragraphs(brain, kb_id, questions) | {"facts": _facts(brain, kb_id, asked)}
        brain.close()
    return figures


def _embed(brain: Brain) -> None:
    place = Workplace(brain)
    until = time.monotonic() + 1200
    query = select(func.count()).select_from(jobs).where(jobs.c.status.in_(("pending", "running")))
    place.run(lambda: brain.db.rows(query)[0][0] == 0 or time.monotonic() > until)


def _hits(brain: Brain, kb_id: str, text: str, top_k: int) -> Any:
    scope = brain.access.scope(brain.access.local_caller("zh"), [kb_id])
    return brain.retriever.search(SearchQuery(text, top_k=top_k), scope).hits


def _paragraphs(brain: Brain, kb_id: str, questions: Sequence[dict[str, Any]]) -> dict[str, float]:
    ranks: list[int | None] = []
    told = 0
    for one in questions:
        hits = _hits(brain, kb_id, one["question"], 20)
        told += sum(hit.kind == "facts" for hit in hits[:5])
        ranks.append(first_rank(documents_in_order(hits), {one["doc_id"]}))
    return {"R@1": recall_at(ranks, 1), "R@5": recall_at(ranks, 5), "facts among five": round(told / len(questions), 3)}


def _facts(brain: Brain, kb_id: str, asked: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The rank of the first hit that holds an answer, in facts about the entity."""
    ranks = []
    for one in asked:
        hits = _hits(brain, kb_id, one["question"], 10)
        right = (n for n, hit in enumerate(hits, 1) if hit.kind == "facts" and any(" ".join(x.split()) in hit.text for x in one["answers"]))
        ranks.append(next(right, None))
    return {"R@1": recall_at(ranks, 1), "R@5": recall_at(ranks, 5)}


def graph(entities: int, triples: int, seed: int) -> list[tuple[str, str, str]]:
    """A few heads with thousands of triples, most with a handful."""
    chance = random.Random(seed)
    signs = "安宝北本昌长成城川春大德东丰福富高光广国海合和河恒红洪鸿湖华怀黄辉惠吉佳嘉家建江金津京晶景敬静九俊凯康科兰乐理力立利丽良林"
    names = list({"".join(chance.choices(signs, k=chance.choice((3, 4, 5)))) for _ in range(entities * 2)})[:entities]
    kinds = ("行业", "地点", "时间", "作者", "产品", "人物", "机构", "语言", "编号", "类型")
    labels = [f"{a}{b}" for a in ("主要", "所属", "首次", "原始", "官方", "相关") for b in kinds]
    heads = chance.choices(names, weights=[1 / (n + 20) ** 0.7 for n in range(len(names))], k=triples)
    tails = chance.choices(names, weights=[1 / (n + 5) for n in range(len(names))], k=triples)
    return list(dict.fromkeys((head, chance.choice(labels), tail) for head, tail in zip(heads, tails, strict=True)))


def cost(entities: int, triples: int) -> dict[str, Any]:
    """See the module."""
    with tempfile.TemporaryDirectory() as folder:
        brain = build(Settings(qzbrain_data=Path(folder), qzbrain_embedder="none"))
        caller = brain.access.local_caller("zh")
        kb_id = brain.knowledge.create(caller, name="kb").id
        made = graph(entities, triples, 7)
        add(brain, kb_id, made)
        brain.knowledge.add_file(caller, "kb", "laws.txt", io.BytesIO("劳动合同应当以书面形式订立。".encode()))
        _hits(brain, kb_id, "劳动合同", 10)
        before = [_timed(brain, kb_id, made[n * 997 % len(made)]) for n in range(200)]
        here = str(Path(__file__).resolve().parent)
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([here, str(Path(here).parent)])}
        worker = subprocess.Popen([sys.executable, "-c", _WORK, folder], cwd=here, stdout=subprocess.PIPE, env=env)
        during = []
        while worker.poll() is None:
            during.append(_timed(brain, kb_id, made[len(during) * 997 % len(made)]))
            time.sleep(0.1)
        told = json.loads(worker.stdout.read().splitlines()[-1]) if worker.stdout else {}
        after = [_timed(brain, kb_id, made[n * 997 % len(made)]) for n in range(200)]
        brain.graph.add(kb_id, [Fact(made[0][0], "新关系", "新的值", Place("import"))])
        one = tell(brain)
        asked = [(tail, _hits(brain, kb_id, f"{head}的{label}是什么", 5)) for head, label, tail in made[::1601]]
        found = [any(hit.kind == "facts" and tail in hit.text for hit in hits) for tail, hits in asked]
        figures = {
            "triples": len(made), "heads": len({one[0] for one in made}), "chunks": brain.index.chunk_count(facts_shelf(kb_id)), **told,
            "question_ms": {"before": _p(before), "during": _p(during), "after": _p(after)}, "asked_during": len(during),
            "one_more_s": round(one, 2), "found": round(sum(found) / len(found), 3),
        }  # fmt: skip
        began = time.perf_counter()
        brain.knowledge.delete(caller, "kb")
        figures["knowledge_base_deleted_s"] = round(time.perf_counter() - began, 2)
        brain.close()
    return figures


def _timed(brain: Brain, kb_id: str, triple: tuple[str, str, str]) -> float:
    began = time.perf_counter()
    _hits(brain, kb_id, f"{triple[0]}的{triple[1]}是什么", 10)
    return (time.perf_counter() - began) * 1e3


def _p(times: Sequence[float]) -> list[float]:
    cut = statistics.quantiles(times, n=20)
    return [round(cut[9], 2), round(cut[18], 2)]


def main() -> None:
    """Measure, print, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--embedder", default="none")
    parser.add_argument("--triples", type=int, default=0)
    parser.add_argument("--entities", type=int, default=55_000)
    args = parser.parse_args()
    figures = {**(quality(args.data, args.every, args.embedder) if args.data else {}), **(cost(args.entities, args.triples) if args.triples else {})}
    print(json.dumps(figures, ensure_ascii=False, indent=1))
    if args.data:
        alone, beside = figures["paragraphs alone"], figures["beside nlpcc"]
        sys.exit(alone["R@5"] - beside["R@5"] > MOST_LOST or beside["facts"]["R@5"] < LEAST_FOUND)


if __name__ == "__main__":
    main()
