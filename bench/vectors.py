"""The embedded vector store on clustered vectors: speed, recall, memory, the price of an append. `python bench/vectors.py [ROWS WIDTH]... [--spread N]`

The same store is searched with numpy's kernel and, where faiss is installed (`pip install "qzbrain[faiss]"`), with faiss's, in turns.
Vectors are drawn round random centres that share a large common part, as embeddings of one model do, a hundred round each; with `--spread` ten round
each, and nearly all that tells them apart lies in N directions, as of a model that uses few of its dimensions. Recall is against exact float32 cosines.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from qzbrain.retrieval.embedded import hamming
from qzbrain.retrieval.embedded.vectors import FlatVectors
from qzbrain.retrieval.vectors import DenseHit, StoredVectors

BATCH = 10_000
QUESTIONS = 100
TOP, DEEP = 10, 100
ROUNDS = 2


def vectors(rows: int, width: int, spread: int) -> Iterator[np.ndarray]:
    """Unit vectors, BATCH at a time, the same at each call."""
    random = np.random.default_rng(7)
    common = random.standard_normal(width, np.float32) * 2
    directions = random.standard_normal((spread, width), np.float32) * np.linspace(0.25, 0.04, spread, dtype=np.float32)[:, None]
    centres = random.standard_normal((max(10, rows // (10 if spread else 100)), spread or width), np.float32)
    for start in range(0, rows, BATCH):
        count = min(BATCH, rows - start)
        found, noise = centres[random.integers(0, len(centres), count)], random.standard_normal((count, width), np.float32)
        if spread:
            found = common + (found + 0.6 * random.standard_normal(found.shape, np.float32)) @ directions + 0.3 * noise
        else:
            found = common + found + 0.8 * noise
        yield found / np.linalg.norm(found, axis=1, keepdims=True)


def resident_mb() -> float:
    """Of this process, mapped files included."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def measure(rows: int, width: int, spread: int) -> None:
    """One size."""
    random = np.random.default_rng(8)
    with tempfile.TemporaryDirectory(prefix="vectors-") as folder:
        kernels = _kernels()
        switch = Switch(kernels["numpy"])
        store = FlatVectors(Path(folder), distances_of=switch)
        started, at = time.perf_counter(), 0
        questions: list[np.ndarray] = []

        def batches() -> Iterator[StoredVectors]:
            nonlocal at
            for batch in vectors(rows, width, spread):
                picked = batch[random.integers(0, len(batch), max(1, QUESTIONS * BATCH // rows) if rows > BATCH else QUESTIONS)]
                noisy = picked + 0.5 / np.sqrt(width) * random.standard_normal(picked.shape, np.float32)
                questions.extend(noisy / np.linalg.norm(noisy, axis=1, keepdims=True))
                ids = list(range(at + 1, at + len(batch) + 1))
                at += len(batch)
                yield StoredVectors(ids, [f"d{one // 20}" for one in ids], batch)

        store.rebuild("space", width, batches(), upto=rows)
        built_s = time.perf_counter() - started
        asked = questions[:QUESTIONS]
        exact, deep = _exact(rows, width, spread, np.stack(asked))
        few = [f"d{one}" for one in random.integers(0, rows // 20, 50)]
        before = resident_mb()
        sides = {name: Side(store) for name in kernels}
        for _ in range(ROUNDS):
            for name, side in sides.items():
                switch.kernel = kernels[name]
                side.ask(asked, few)
        searching = resident_mb()
        further = [{hit.chunk_id for hit in store.search("space", one, top_k=DEEP)} for one in asked]
        appended = []
        extra = next(vectors(64, width, spread))
        for n in range(20):
            first = rows + 1 + 64 * n
            started = time.perf_counter()
            ids = list(range(first, first + 64))
            store.append("space", StoredVectors(ids, ["new"] * 64, extra), upto=first + 63)
            appended.append((time.perf_counter() - started) * 1e3)
        floor, by_numpy = _floor(rows, width), np.percentile(sides["numpy"].took_ms, 95)
        print(f"{rows} x {width}: built {built_s:.1f} s; a pass over the signs (floor) {floor:.2f} ms", flush=True)
        for name, side in sides.items():
            p50, p95 = np.percentile(side.took_ms, [50, 95])
            print(f"  {name}: search p50 {p50:.2f} p95 {p95:.2f} ms, {p95 / floor:.1f} floors, {p95 / by_numpy:.2f} of numpy's", end="; ")
            print(f"recall@{TOP} {side.recall(exact):.4f}; among 50 documents p95 {np.percentile(side.filtered_ms, 95):.2f} ms")
        print(f"  recall@{DEEP} {_recall(further, deep):.4f}")
        assert all(side.found == sides["numpy"].found for side in sides.values()), "the kernels disagree"
        print(f"  append of 64 p50 {np.percentile(appended, 50):.1f}, max {max(appended):.1f} ms")
        print(f"  mapped and touched by searches {searching - before:.0f} MB; the whole process {searching:.0f} MB", flush=True)


def _kernels() -> dict[str, hamming.Distances]:
    by_faiss = hamming.by_faiss()
    return {"numpy": hamming.by_numpy, **({hamming.chosen(): by_faiss} if by_faiss else {})}


@dataclass
class Switch:
    """The kernel in use: one store, mapped once, is searched with all of them."""

    kernel: hamming.Distances

    def __call__(self, bits: np.ndarray, asked: np.ndarray) -> np.ndarray:
        return self.kernel(bits, asked)


@dataclass
class Side:
    """One kernel's searches."""

    store: FlatVectors
    took_ms: list[float] = field(default_factory=list)
    filtered_ms: list[float] = field(default_factory=list)
    found: list[list[DenseHit]] = field(default_factory=list)

    def ask(self, asked: list[np.ndarray], few: list[str]) -> None:
        """All questions once, after one that touches everything."""
        self.store.search("space", asked[0], top_k=TOP)
        self.found = [self._timed(one, self.took_ms, None) for one in asked]
        for one in asked[:30]:
            self._timed(one, self.filtered_ms, few)

    def recall(self, exact: list[set[int]]) -> float:
        """Share of the exact best that were found."""
        return _recall([{hit.chunk_id for hit in hits} for hits in self.found], exact)

    def _timed(self, vector: np.ndarray, into: list[float], among: list[str] | None) -> list[DenseHit]:
        started = time.perf_counter()
        hits = self.store.search("space", vector, top_k=TOP, document_ids=among)
        into.append((time.perf_counter() - started) * 1e3)
        return hits


def _recall(found: list[set[int]], exact: list[set[int]]) -> float:
    return statistics.mean(len(some & best) / len(best) for some, best in zip(found, exact, strict=True))


def _exact(rows: int, width: int, spread: int, asked: np.ndarray) -> tuple[list[set[int]], list[set[int]]]:
    """The best TOP and the best DEEP of each question."""
    scores = np.concatenate([asked @ batch.T for batch in vectors(rows, width, spread)], axis=1)
    top, deep = ([set((np.argpartition(-line, count)[:count] + 1).tolist()) for line in scores] for count in (TOP, DEEP))
    return top, deep


def _floor(rows: int, width: int) -> float:
    """Reading the sign patterns once and counting bits, nothing else."""
    bits = np.zeros(rows * -(-width // 64), np.uint64)
    took = []
    for _ in range(5):
        started = time.perf_counter()
        for start in range(0, len(bits), 1 << 15):
            np.bitwise_count(bits[start : start + (1 << 15)])
        took.append((time.perf_counter() - started) * 1e3)
    return min(took)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=[24_000, 384, 100_000, 1024, 1_000_000, 1024])
    parser.add_argument("--spread", type=int, default=0, metavar="N")
    args = parser.parse_args()
    for one in zip(args.sizes[::2], args.sizes[1::2], strict=True):
        measure(*one, args.spread)
