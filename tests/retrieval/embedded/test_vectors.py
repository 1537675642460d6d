"""The embedded vector store's own: kills, damage, merging, precision. What every store promises: contracts/test_vector_index.py."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qzbrain.errors import StorageFull
from qzbrain.retrieval.embedded import hamming, segments
from qzbrain.retrieval.embedded.vectors import META, FlatVectors
from qzbrain.retrieval.vectors import StoredVectors
from tests.running import ROOT

WIDTH = 100
"""No multiple of 64: the last word of a sign pattern is not full."""


def clustered(first: int, count: int) -> np.ndarray:
    """Vectors of chunks by id: the same at each call, near others of their cluster, all with a large common part."""
    rows = np.empty((count, WIDTH), np.float32)
    common = np.random.default_rng(1).standard_normal(WIDTH) * 2
    for n in range(count):
        chunk = first + n
        centre = np.random.default_rng(1000 + chunk % 37).standard_normal(WIDTH)
        rows[n] = common + centre + 0.6 * np.random.default_rng(10_000 + chunk).standard_normal(WIDTH)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def batch(first: int, count: int) -> StoredVectors:
    ids = list(range(first, first + count))
    return StoredVectors(ids, [f"d{one // 7}" for one in ids], clustered(first, count))


@pytest.fixture
def store(tmp_path: Path) -> FlatVectors:
    return FlatVectors(tmp_path)


def generation(store: FlatVectors) -> Path:
    return next(path.parent for path in store.root.glob(f"space/*/{META}"))


def test_the_best_ten_are_the_exact_ones(store: FlatVectors) -> None:
    store.rebuild("space", WIDTH, [batch(1, 3000), batch(3001, 3000)], upto=6000)
    everything = clustered(1, 6000)
    found = right = 0
    for chunk in range(50, 6000, 150):
        asked = clustered(chunk, 1)[0] + 0.02 * np.random.default_rng(chunk).standard_normal(WIDTH).astype(np.float32)
        asked /= np.linalg.norm(asked)
        exact = set((np.argsort(-(everything @ asked))[:10] + 1).tolist())
        hits = store.search("space", asked, top_k=10)
        found += len(exact & {hit.chunk_id for hit in hits})
        right += 10
        assert hits[0].cosine == pytest.approx(float(everything[hits[0].chunk_id - 1] @ asked), abs=1e-4)
    assert found / right >= 0.99


def test_what_is_said_of_a_passage_does_not_depend_on_how_passages_lie(store: FlatVectors, tmp_path: Path) -> None:
    """So a knowledge base that was carried elsewhere, or rebuilt, answers to the last digit as it did."""
    grown = FlatVectors(tmp_path / "grown")
    grown.rebuild("space", WIDTH, [batch(1, 5)], upto=5)
    for first in range(6, 1006, 50):
        grown.append("space", batch(first, 50), upto=first + 49)
    grown.forget("space", ["d3", "d77"])
    rows = [n for n in range(1, 1006) if f"d{n // 7}" not in ("d3", "d77")]
    vectors = np.concatenate([clustered(n, 1) for n in rows])
    store.rebuild("space", WIDTH, [StoredVectors(rows, [f"d{n // 7}" for n in rows], vectors)], upto=1005)
    for chunk in range(3, 1000, 83):
        asked = clustered(chunk, 1)[0]
        hits = grown.search("space", asked, top_k=20)
        assert hits == store.search("space", asked, top_k=20)
        for hit in hits:
            assert hit.cosine == pytest.approx(min(1.0, float(vectors[rows.index(hit.chunk_id)].astype(np.float16).astype(np.float32) @ asked)), abs=2e-6)
        some = [hit.chunk_id for hit in hits[::3]]
        assert grown.cosines("space", asked, some) == store.cosines("space", asked, some)


def test_appends_are_merged_and_stay_few(store: FlatVectors) -> None:
    store.rebuild("space", WIDTH, [], upto=0)
    for first in range(1, 1201, 10):
        store.append("space", batch(first, 10), upto=first + 9)
    assert store.count("space") == 1200
    files = [path for path in generation(store).iterdir() if path.name != META]
    assert len(files) <= 12
    for chunk in (1, 600, 1200):
        assert store.search("space", clustered(chunk, 1)[0], top_k=1)[0].chunk_id == chunk


def test_many_forgotten_rows_are_written_out(store: FlatVectors) -> None:
    store.rebuild("space", WIDTH, [batch(1, 700)], upto=700)
    whole = sum(path.stat().st_size for path in generation(store).iterdir())
    store.forget("space", [f"d{n}" for n in range(60)])
    assert store.count("space") == 700 - 419
    assert sum(path.stat().st_size for path in generation(store).iterdir()) < 0.6 * whole


WRITER = """
import sys
from pathlib import Path
from test_vectors import batch
from qzbrain.retrieval.embedded import parts
from qzbrain.retrieval.embedded.vectors import FlatVectors
parts.FEWEST = 100
store = FlatVectors(Path(sys.argv[1]))
print("begun", flush=True)
upto = store.upto("space")
while True:
    if upto % 1000 == 990:
        store.rebuild("space", 100, [batch(1, upto)], upto=upto)
    store.append("space", batch(upto + 1, 30), upto=upto + 30)
    upto += 30
    store.forget("space", [f"d{upto // 7 - 2}"])
    store.set_levels("space", {f"d{n}": 4 for n in (upto // 7 - 1, upto // 7 - 2)}, None)
    store.gather("space", lambda: True)
"""


def test_a_killed_writer_leaves_the_last_commit(store: FlatVectors) -> None:
    store.rebuild("space", WIDTH, [], upto=0)
    for n in range(6):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(store.root)], cwd=ROOT, stdout=subprocess.PIPE, text=True,
            env={"PYTHONPATH": f"{ROOT}:{Path(__file__).parent}", "PATH": ""},
        )  # fmt: skip
        assert writer.stdout is not None and writer.stdout.readline() == "begun\n"
        before = store.upto("space")
        until = time.monotonic() + random.Random(n).uniform(0.05, 0.4)
        while time.monotonic() < until or store.upto("space") == before:
            store.search("space", clustered(1, 1)[0], top_k=5)
        writer.send_signal(signal.SIGKILL)
        writer.wait(10)
        upto = store.upto("space")
        assert upto >= before and upto % 30 == 0
        kept = sorted(hit.chunk_id for hit in store.search("space", clustered(1, 1)[0], top_k=100_000))
        assert len(kept) == store.count("space") and len(set(kept)) == len(kept) and kept[-1] == upto
        for chunk in (kept[0], kept[len(kept) // 2], kept[-1]):
            assert store.search("space", clustered(chunk, 1)[0], top_k=1)[0].chunk_id == chunk
        hidden = set(kept) - {hit.chunk_id for hit in store.search("space", clustered(1, 1)[0], top_k=100_000, max_level=3)}
        assert all(count == len([one for one in kept if one // 7 == document]) for document, count in Counter(one // 7 for one in hidden).items())


def levels_file(folder: Path) -> Path:
    return next(path for path in folder.iterdir() if "." in path.name and path.name != META)


def spoil_levels(folder: Path) -> None:
    levels_file(folder).write_bytes(levels_file(folder).read_bytes()[:-1])


def remove_levels(folder: Path) -> None:
    levels_file(folder).unlink()


def spoil_meta(folder: Path) -> None:
    (folder / META).write_bytes(b"{")


def spoil_segment(folder: Path) -> None:
    segment = next(path for path in folder.iterdir() if "." not in path.name)
    segment.write_bytes(segment.read_bytes()[:-5])


def remove_segment(folder: Path) -> None:
    next(path for path in folder.iterdir() if "." not in path.name).unlink()


@pytest.mark.parametrize("spoil", [spoil_meta, spoil_segment, remove_segment, spoil_levels, remove_levels])
def test_a_damaged_store_is_none_and_can_be_built_again(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    before = FlatVectors(tmp_path)
    before.rebuild("space", WIDTH, [batch(1, 50)], upto=50)
    before.set_levels("space", {"d3": 4}, lambda _: [])
    store = FlatVectors(tmp_path)
    spoil(generation(store))
    assert (store.upto("space"), store.count("space"), store.search("space", clustered(1, 1)[0], top_k=3)) == (-1, 0, [])
    store.rebuild("space", WIDTH, [batch(1, 50)], upto=50)
    assert store.search("space", clustered(9, 1)[0], top_k=1)[0].chunk_id == 9


def test_a_store_that_breaks_while_it_is_open_is_given_up(store: FlatVectors) -> None:
    store.rebuild("space", WIDTH, [batch(1, 50)], upto=50)
    assert store.search("space", clustered(9, 1)[0], top_k=1)
    segment = next(path for path in generation(store).iterdir() if path.name != META)
    shape = segments.Shape(segment.name, 50, 8, 50)
    with segment.open("r+b") as file:
        file.truncate(shape.offsets(WIDTH)[8])  # the lower bytes are gone; what is mapped is there
    assert store.search("space", clustered(9, 1)[0], top_k=1) == []
    assert store.upto("space") == -1
    store.rebuild("space", WIDTH, [batch(1, 50)], upto=50)
    assert store.search("space", clustered(9, 1)[0], top_k=1)[0].chunk_id == 9


def test_files_of_levels_are_as_few_as_segments(store: FlatVectors) -> None:
    store.rebuild("space", WIDTH, [batch(1, 700)], upto=700)
    for n in range(30):
        store.set_levels("space", {f"d{n}": n % 5, f"d{n + 50}": 4}, lambda _: [])
    assert len(list(generation(store).iterdir())) == 3
    store.forget("space", [f"d{n}" for n in range(60, 100)])
    assert len(list(generation(store).iterdir())) == 2, "what is written anew carries its levels"
    seen = {hit.document_id for hit in store.search("space", clustered(1, 1)[0], top_k=1000, max_level=0)}
    assert seen == {f"d{n}" for n in range(0, 30, 5)}


def test_a_full_disk_is_told_and_leaves_what_was(store: FlatVectors, monkeypatch: pytest.MonkeyPatch) -> None:
    store.rebuild("space", WIDTH, [batch(1, 50)], upto=50)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(segments.os, "fsync", full)
    with pytest.raises(StorageFull):
        store.append("space", batch(51, 10), upto=60)
    monkeypatch.undo()
    assert (store.upto("space"), store.count("space")) == (50, 50)
    store.append("space", batch(51, 10), upto=60)
    assert store.count("space") == 60


def test_a_vector_of_another_width_finds_nothing(store: FlatVectors) -> None:
    store.rebuild("space", WIDTH, [batch(1, 5)], upto=5)
    assert store.search("space", np.ones(WIDTH + 1, np.float32), top_k=3) == []
    assert store.cosines("space", np.ones(WIDTH + 1, np.float32), [1]) == {}


def many(first: int, count: int, width: int = WIDTH, clusters: int = 41) -> StoredVectors:
    """As `batch`, made at once."""
    given = np.random.default_rng(first)
    rows = np.random.default_rng(1).standard_normal((clusters, width))[given.integers(0, clusters, count)] + 0.6 * given.standard_normal((count, width)) + 2
    ids = list(range(first, first + count))
    return StoredVectors(ids, [f"d{one // 7}" for one in ids], (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))


@pytest.mark.parametrize("only", [None, range(500, 1100)])
def test_segments_of_one_mean_give_the_nearest_of_all_of_them(store: FlatVectors, only: range | None) -> None:
    store.rebuild("space", WIDTH, [many(1, 5000)], upto=5000)
    store.append("space", many(5001, 2000), upto=7000)
    store.append("space", many(7001, 900), upto=7900)
    store.forget("space", [f"d{n}" for n in range(0, 1100, 11)])
    present = store._reader("space")
    assert present is not None
    parts = present.segments
    assert len(parts) == 3 and len({part.mean_key for part in parts}) == 1 and all(len(part.dead) for part in parts)
    among = None if only is None else [part.rows_of([f"d{n}" for n in only]) for part in parts]
    asked = many(9001, 1).vectors[0]
    found = segments.nearest(parts, asked, among, 600, hamming.by_numpy)
    signs = segments._signs((asked - parts[0].mean)[None, :])[0]
    counted = [part.all_rows() if among is None else among[n] for n, part in enumerate(parts)]
    patterns = [np.concatenate((part.heads, part.tails), axis=1)[rows] for part, rows in zip(parts, counted, strict=True)]
    every = [np.bitwise_count(some ^ signs).sum(axis=1, dtype=int) for some in patterns]
    farthest = np.sort(np.concatenate(every))[599]
    for rows, given, distances in zip(counted, found, every, strict=True):
        assert np.array_equal(given, rows[distances <= farthest])
    assert 600 <= sum(map(len, found)) <= 1200 and len(found[2])


def test_segments_of_other_means_are_asked_each_for_its_share(store: FlatVectors) -> None:
    """As after a mean was made anew: their distances do not compare, and the best are found all the same."""
    held = [many(1, 300), many(301, 6000), many(6301, 3000)]
    store.rebuild("space", WIDTH, held[:1], upto=300)
    for rows in held[1:]:
        store.append("space", rows, upto=rows.chunk_ids[-1])
    everything = np.concatenate([rows.vectors for rows in held])
    for seed in range(9400, 9420):
        asked = many(seed, 1).vectors[0]
        exact = set((np.argsort(-(everything @ asked))[:10] + 1).tolist())
        assert len(exact & {hit.chunk_id for hit in store.search("space", asked, top_k=10)}) >= 9


@pytest.mark.parametrize("distances_of", [hamming.by_numpy, hamming.by_faiss()])
def test_of_many_rows_heads_choose_and_the_best_are_the_exact_ones(tmp_path: Path, distances_of: hamming.Distances | None) -> None:
    assert distances_of is not None, "faiss is one of the packages for tests"
    store = FlatVectors(tmp_path, distances_of=distances_of)
    width, clusters = 384, 300
    held = [many(first, count, width, clusters) for first, count in ((1, 60_000), (60_001, 30_000), (90_001, 4_000))]
    store.rebuild("space", width, held, upto=94_000)
    store.forget("space", [f"d{n}" for n in range(0, 14_000, 9)])
    store.set_levels("space", {f"d{n}": 4 for n in range(1, 14_000, 9)}, lambda _ids: [])
    present = store._reader("space")
    assert present is not None and len(present.segments) > 1 and sum(part.live for part in present.segments) > segments._WHOLE_ROWS
    everything, owners = np.concatenate([rows.vectors for rows in held]), np.arange(1, 94_001) // 7
    for hidden, max_level in ((owners % 9 == 0, None), (owners % 9 < 2, 3)):
        found, left_out = 0, np.where(hidden, 9, 0)
        for seed in range(9500, 9520):
            asked = many(seed, 1, width, clusters).vectors[0]
            exact = set((np.argsort(left_out - everything @ asked)[:10] + 1).tolist())
            hits = store.search("space", asked, top_k=10, max_level=max_level)
            assert len(hits) == 10 and not any(hidden[hit.chunk_id - 1] for hit in hits)
            found += len(exact & {hit.chunk_id for hit in hits})
        assert found >= 198


def test_heads_that_are_all_alike_hide_nothing(store: FlatVectors) -> None:
    """As of a model whose first dimensions say nothing."""
    rows = np.random.default_rng(3).standard_normal((70_000, 128)).astype(np.float32)
    rows[:, :64] = 0.25
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ids = list(range(1, 70_001))
    store.rebuild("space", 128, [StoredVectors(ids, [f"d{one // 7}" for one in ids], rows)], upto=70_000)
    for n in range(0, 70_000, 7001):
        assert store.search("space", rows[n], top_k=1)[0].chunk_id == n + 1


def test_halves_become_the_same_numbers() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)]
    assert np.array_equal(segments.widened(finite).view(np.uint32), finite.astype(np.float32).view(np.uint32))
