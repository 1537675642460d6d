"""Search by words and meaning at size: PYTHONPATH=. python bench/hybrid.py --data DIR [--chunks 100000] [--width 1024] [--keep DIR] [--embed] [--as-ingested]

The articles of DIR's B_regulations again and again, each time with another number in it, through the product's ingest; clustered vectors put into
its tables and brought into its store; words and vectors gathered, as a worker at rest does; questions of the set through its retriever, with garbage
collected as in a web process. Beside it, in the same run: words alone, and the floor, the vector store alone. The question's embedding is left out,
unless `--embed` has each question embedded by multilingual-e5-small first (its vector, of another space, then gives way to a clustered one); then
questions of paragraphs, which are shorter, are asked too. With `--keep` what was built stays there, and is measured alone the next time;
`--as-ingested`: before it is gathered.
One JSON object.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from answers import load, rows

from qzbrain.brain import Brain, build
from qzbrain.models.base import Cancellation, EmbeddingProfile
from qzbrain.retrieval.embedded import parts
from qzbrain.retrieval.embedded.folder import POINTER
from qzbrain.retrieval.hybrid import SearchQuery
from qzbrain.retrieval.space_rows import SpaceRows
from qzbrain.retrieval.spaces import Manifest
from qzbrain.settings import Settings
from qzbrain.web import garbage
from tests.servers.embedding_engine import E5, EmbeddingEngine

NAME, BATCH, ASKED = "instant", 2000, 300


class Instant:
    """An embedder without a model: a question's vector lies near that of some passage."""

    name = NAME

    def __init__(self, width: int) -> None:
        self._random = np.random.default_rng(7)
        self.width = width
        self._common = 2 * self._random.standard_normal(width, np.float32)
        self._centres = self._random.standard_normal((1000, width), np.float32)

    def profile(self) -> EmbeddingProfile:
        return EmbeddingProfile(self.width, 512, "mean", "", "", "instant")

    def embed_query(self, text: str, *, timeout_s: float) -> np.ndarray:
        return self._some(1)[0]

    def embed_passages(self, texts: Sequence[str], cancellation: Cancellation) -> np.ndarray:
        return self._some(len(texts))

    def _some(self, count: int) -> np.ndarray:
        found = self._common + self._centres[self._random.integers(0, len(self._centres), count)]
        found = found + 0.8 * self._random.standard_normal((count, self.width), np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)


class Embedding(Instant):
    """As `Instant`, after a real model has made the question's vector."""

    def __init__(self, width: int, folder: Path) -> None:
        super().__init__(width)
        self._engine = EmbeddingEngine(E5).start()
        model = {"engine": "external", "kind": "embedding", "base_url": self._engine.base_url, "context": 512}
        self._brain = build(Settings(qzbrain_data=folder / "engine", qzbrain_embedder="e5", models={"e5": model}))  # type: ignore[arg-type]
        self.took_ms: list[float] = []

    def embed_query(self, text: str, *, timeout_s: float) -> np.ndarray:
        begun = time.perf_counter()
        assert self._brain.embedder is not None
        self._brain.embedder.embed_query(text, timeout_s=timeout_s)
        self.took_ms.append((time.perf_counter() - begun) * 1e3)
        return super().embed_query(text, timeout_s=timeout_s)

    def close(self) -> None:
        """End the model's process."""
        self._brain.close()
        self._engine.kill()


def corpus(data: Path, chunks: int, folder: Path) -> Path:
    """A file of so many articles, no two alike."""
    articles = rows(data / "B_regulations/corpus.jsonl.gz")
    path = folder / "articles.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number, row in zip(range(chunks), itertools.cycle(articles), strict=False):
            file.write(json.dumps({"id": str(number), "title": row["title"], "text": f"{row['text']} 编号{number}。"}, ensure_ascii=False) + "\n")
    return path


def fill(brain: Brain, embedder: Instant, kb_id: str) -> None:
    """Vectors for all chunks, in the tables and in the store."""
    space_rows = SpaceRows(brain.db)
    space = space_rows.begin(kb_id, NAME, embedder.width, Manifest(fingerprint="instant", cosine_floor=0.6, cosine_span=0.3))
    while found := space_rows.next_chunks(space, BATCH):
        grown = space_rows.add(space, found, embedder.embed_passages([""] * len(found), Cancellation()))
        assert grown is not None
        space = grown
    with brain.db.write() as connection:
        space_rows.activate(connection, space, space.manifest)
    brain.vector_feeder.bring(space)


def segments(brain: Brain, kb_id: str) -> int:
    """Of the index of words."""
    folder = brain.settings.index_path / kb_id
    return len(parts.segments(folder / (folder / POINTER).read_text()))


def timed(ask: Callable[[str], Any], questions: Sequence[str]) -> dict[str, float]:
    """Milliseconds, after a few others: what is asked again may be remembered."""
    for question in questions[:20]:
        ask(f"请问{question}")
    took = []
    for question in questions:
        begun = time.perf_counter()
        ask(question)
        took.append((time.perf_counter() - begun) * 1e3)
    return {"p50_ms": round(statistics.median(took), 2), "p95_ms": round(float(np.percentile(took, 95)), 2)}


def asked(path: Path) -> list[str]:
    """Questions of a set, spread over it, none twice."""
    listed = list(dict.fromkeys(q["question"] for q in rows(path)))
    return listed[:: max(1, len(listed) // ASKED)][:ASKED]


def measure(brain: Brain, questions: Sequence[str], embedder: Instant, kb_id: str) -> dict[str, Any]:
    """Words alone, both, and the store alone, over the same questions."""
    caller = brain.access.local_caller("zh")
    scope = brain.access.scope(caller, [kb_id])

    def search(mode: str) -> Callable[[str], Any]:
        return lambda text: brain.retriever.search(SearchQuery(text, top_k=10, mode=mode), scope)  # type: ignore[arg-type]

    garbage.rarely()
    first = brain.retriever.search(SearchQuery(questions[0], top_k=100, mode="hybrid"), scope)
    assert not first.degraded and any("semantic" in hit.sources for hit in first.hits), first
    space = brain.spaces.active(kb_id)
    assert space is not None
    alone = Instant(embedder.width)
    return {
        "questions": len(questions), "characters_p50_p95": np.percentile([*map(len, questions)], (50, 95)).tolist(),
        "words": timed(search("lexical"), questions), "words_and_meaning": timed(search("hybrid"), questions),
        "store_alone": timed(lambda _: brain.vectors.search(space.id, alone.embed_query("", timeout_s=1), top_k=100), questions),
        "five_million_additions_s": additions(), "resident_mb": round(int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6),
    }  # fmt: skip


def additions() -> float:
    """Seconds for five million additions, of a global number as in docs/benchmarks.md: how fast the machine is just now."""
    begun = time.perf_counter()
    exec("n = 0\nfor _ in range(5_000_000): n += 1", {})
    return round(time.perf_counter() - begun, 2)


def main() -> None:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--chunks", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--embed", action="store_true")
    parser.add_argument("--as-ingested", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kept = args.keep or Path(folder)
        built = (kept / "data").exists()
        brain = build(Settings(qzbrain_data=kept / "data", qzbrain_embedder="none", max_text_chars=500_000_000, max_upload_mb=10_000))
        begun = time.perf_counter()
        if not built:
            load(brain, "laws", [corpus(args.data, args.chunks, Path(folder))])
        ingested_s = time.perf_counter() - begun
        embedder = Embedding(args.width, Path(folder)) if args.embed else Instant(args.width)
        brain.__dict__["embedder"] = embedder
        kb_id = brain.access.resolve(brain.access.local_caller("zh"), ["laws"])[0].id
        if not built:
            fill(brain, embedder, kb_id)
        figures: dict[str, Any] = {"segments_ingested": segments(brain, kb_id)}
        if not args.as_ingested:
            begun = time.perf_counter()
            gathered = brain.feeder.gather(kb_id)
            space = brain.spaces.active(kb_id)
            gathered |= space is not None and brain.feeder.gather_vectors(space.id)
            figures |= {"gathered_s": round(time.perf_counter() - begun, 1) if gathered else None, "segments": segments(brain, kb_id)}
        sets = {"laws": "B_regulations/questions.jsonl", **({"paragraphs": "A_retrieval/cmrc_dev/questions.jsonl"} if args.embed else {})}
        for name, path in sets.items():
            figures[name] = measure(brain, asked(args.data / path), embedder, kb_id)
            if isinstance(embedder, Embedding):
                took = embedder.took_ms
                figures[name]["embedding"] = {"p50_ms": round(statistics.median(took), 2), "p95_ms": round(float(np.percentile(took, 95)), 2)}
                embedder.took_ms.clear()
        if isinstance(embedder, Embedding):
            embedder.close()
        brain.close()
    print(json.dumps({"chunks": args.chunks, "width": args.width, "ingested_s": round(ingested_s, 1), **figures}, ensure_ascii=False, indent=1))


if __name__ == "__main__":
    main()
