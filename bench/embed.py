"""How fast a knowledge base gets its vectors, what it takes, and what a question feels of it. With multilingual-e5-small.

    python bench/embed.py --data DIR [--articles N]      DIR holds B_regulations/corpus.jsonl.gz

A worker of its own fills; meanwhile this process asks, as the web would: the question's vector and the nearest chunks, one after another.
First the fill is measured undisturbed for half of the articles, then with questions; the floor is the engine alone, given the same texts in requests
of the same size. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Table, func, select

from qzbrain.brain import Brain, build
from qzbrain.knowledge.embedding import _REQUEST_CHARS
from qzbrain.models.base import Cancellation
from qzbrain.settings import ROOT, Settings
from qzbrain.storage.tables import chunks, vectors
from qzbrain.worker import Workplace
from tests.servers.embedding_engine import E5, EmbeddingEngine

_NAME = "multilingual-e5-small"


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--articles", type=int, default=3000)
    given = parser.parse_args()
    with gzip.open(given.data / "B_regulations" / "corpus.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line, _ in zip(lines, range(given.articles), strict=False)]
    engine = EmbeddingEngine(E5).start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(engine, texts, Path(folder)), indent=1))
    finally:
        engine.kill()


def measure(engine: EmbeddingEngine, texts: list[str], folder: Path) -> dict[str, object]:
    """Add the texts, let a worker fill, ask meanwhile."""
    model = {"engine": "external", "kind": "embedding", "base_url": engine.base_url, "context": 512}
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in model.items())
    (folder / "config.toml").write_text(f"[models.{_NAME}]\n{lines}\n", encoding="utf-8")
    brain = build(Settings(qzbrain_data=folder, qzbrain_embedder=_NAME, models={_NAME: model}))  # type: ignore[arg-type]
    caller = brain.access.local_caller("zh")
    brain.knowledge.create(caller, name="laws")
    for number, text in enumerate(texts):
        brain.knowledge.add_text(caller, "laws", name=f"{number}.txt", text=text, external_id=str(number))
    Workplace(brain).run(lambda: count(brain, chunks) >= len(texts))
    environment = {**os.environ, "QZBRAIN_DATA": str(folder), "QZBRAIN_EMBEDDER": _NAME, "LOG_LEVEL": "error"}
    worker = subprocess.Popen([sys.executable, "-m", "qzbrain.worker"], cwd=ROOT, env=environment)
    try:
        wait(lambda: count(brain, vectors) > 0)
        began, first = time.monotonic(), count(brain, vectors)
        wait(lambda: count(brain, vectors) >= len(texts) // 2)
        rate = (count(brain, vectors) - first) / (time.monotonic() - began)
        memory = {"worker_mb": pss_mb(worker.pid), "engine_mb": pss_mb(engine.pid)}
        began, first = time.monotonic(), count(brain, vectors)
        busy = ask(brain, texts, seconds=20)
        slow = (count(brain, vectors) - first) / (time.monotonic() - began)
        wait(lambda: count(brain, vectors) >= count(brain, chunks))
    finally:
        worker.terminate()
        worker.wait()
    memory["engine_alone_per_s"] = alone(brain, texts, seconds=15)
    idle = ask(brain, texts[1::2], seconds=10)
    figures = {"articles": len(texts), "chunks": count(brain, chunks), "per_s": round(rate, 1), "per_s_while_asked": round(slow, 1)}
    brain.close()
    return {**figures, **memory, "asked_during_fill": busy, "asked_idle": idle}


def alone(brain: Brain, texts: list[str], *, seconds: float) -> float:
    """Texts a second, asked for one request after the other."""
    assert brain.embedder is not None
    begun, done, start = time.monotonic(), 0, 0
    while time.monotonic() < begun + seconds:
        end = start + 1
        while end < len(texts) and sum(map(len, texts[start : end + 1])) <= _REQUEST_CHARS:
            end += 1
        brain.embedder.embed_passages(texts[start:end], Cancellation())
        done, start = done + end - start, end % len(texts)
    return round(done / (time.monotonic() - begun), 1)


def ask(brain: Brain, texts: list[str], *, seconds: float) -> dict[str, float]:
    """Questions one after another, five a second; milliseconds of each with its embedding."""
    assert brain.embedder is not None
    took, end, number = list[float](), time.monotonic() + seconds, 0
    spaces = brain.db.rows(select(vectors.c.space_id).limit(1))
    while time.monotonic() < end:
        started = time.perf_counter()
        vector = brain.embedder.embed_query(texts[number * 7 % len(texts)][:30] + str(number), timeout_s=10)
        brain.vectors.search(spaces[0].space_id, vector, top_k=100)
        took.append((time.perf_counter() - started) * 1000)
        number += 1
        time.sleep(0.2)
    return {"questions": len(took), "p50_ms": round(statistics.median(took), 1), "p95_ms": round(sorted(took)[int(len(took) * 0.95)], 1)}


def count(brain: Brain, table: Table) -> int:
    """Rows of a table."""
    return int(brain.db.rows(select(func.count()).select_from(table))[0][0])


def wait(true: Callable[[], bool]) -> None:
    """Return when it is true."""
    while not true():
        time.sleep(0.1)


def pss_mb(pid: int) -> float:
    """Memory of one process, shared pages by their share."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in rollup if line.startswith("Pss:")) / 1000, 1)


if __name__ == "__main__":
    main()
