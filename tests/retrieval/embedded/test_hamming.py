"""Both kernels count exactly, and a store finds the same in the same order with either, whatever was appended, forgotten or asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from qzbrain.retrieval.embedded import hamming, segments
from qzbrain.retrieval.embedded.vectors import FlatVectors
from qzbrain.retrieval.vectors import DenseHit, StoredVectors
from tests.running import ROOT

WIDTH = 200
ROWS = 9000
WORDS = [1, 2, 3, 6, 7, 8, 12, 16, 24, 33, 64]
"""Widths up to 4,096: every kind of lane, and sums over more words than one byte holds."""


def faiss_kernel() -> hamming.Distances:
    found = hamming.by_faiss()
    if found is None:
        pytest.skip('faiss is not installed: pip install "qzbrain[faiss]"')
    return found


@pytest.fixture(params=["numpy", "faiss"])
def distances_of(request: pytest.FixtureRequest) -> hamming.Distances:
    return hamming.by_numpy if request.param == "numpy" else faiss_kernel()


@pytest.mark.parametrize("words", WORDS)
@pytest.mark.parametrize("rows", [0, 1, 5, 5000])
def test_distances_are_exact(distances_of: hamming.Distances, rows: int, words: int) -> None:
    bits = np.random.default_rng(rows).integers(0, 1 << 64, (rows, words), np.uint64)
    bits.setflags(write=False)  # as mapped files are
    asked = np.random.default_rng(words).integers(0, 1 << 64, words, np.uint64)
    assert distances_of(bits, asked).tolist() == [sum(int(word).bit_count() for word in row ^ asked) for row in bits]


def test_the_largest_distance_fits(distances_of: hamming.Distances) -> None:
    everything = np.full((70, 64), (1 << 64) - 1, np.uint64)
    assert set(distances_of(everything, np.zeros(64, np.uint64)).tolist()) == {4096}


def test_more_rows_than_are_counted_at_a_time(distances_of: hamming.Distances) -> None:
    bits = np.random.default_rng(3).integers(0, 1 << 64, (300_001, 2), np.uint64)
    assert np.array_equal(distances_of(bits, bits[9]), np.bitwise_count(bits ^ bits[9]).sum(axis=1))


@pytest.mark.parametrize("order", ["as they come", "near ones together", "the sample misleads"])
def test_the_nearest_are_all_within_the_same_distance(order: str) -> None:
    distances = np.random.default_rng(5).binomial(256, 0.4, 100_000).astype(np.int32)
    if order == "near ones together":
        distances.sort()
    elif order == "the sample misleads":
        distances[::6] = 0  # every sixth is looked at first, and promises that all are at no distance
    for candidates in (1, 250, 1000, 40_000):
        limit = np.sort(distances)[candidates - 1]
        assert np.array_equal(segments._within(distances, candidates), np.flatnonzero(distances <= limit))


def clustered(first: int, count: int) -> np.ndarray:
    """Every fifth row is the one before it again, so that there are ties."""
    random = np.random.default_rng(first)
    centres = np.random.default_rng(1).standard_normal((40, WIDTH))
    rows = 2 * np.random.default_rng(2).standard_normal(WIDTH) + centres[random.integers(0, 40, count)] + 0.7 * random.standard_normal((count, WIDTH))
    rows[5::5] = rows[4:-1:5]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def batch(first: int, count: int) -> StoredVectors:
    ids = list(range(first, first + count))
    return StoredVectors(ids, [f"d{one // 20}" for one in ids], clustered(first, count))


def searches(store: FlatVectors) -> list[list[DenseHit]]:
    many = [f"d{n}" for n in range(0, ROWS // 20, 2)]
    filters = [None, many, many[:3], ["elsewhere"]]
    asked = clustered(ROWS + 1, 12)
    return [store.search("space", one, top_k=top_k, document_ids=among) for one in asked for top_k in (1, 10, 300) for among in filters]


def test_a_store_finds_the_same_with_either(tmp_path: Path) -> None:
    by_numpy, by_faiss = FlatVectors(tmp_path, distances_of=hamming.by_numpy), FlatVectors(tmp_path, distances_of=faiss_kernel())
    by_numpy.rebuild("space", WIDTH, [batch(1, 4000), batch(4001, 4000)], upto=8000)
    by_faiss.append("space", batch(8001, ROWS - 8000), upto=ROWS)
    found = searches(by_numpy)
    assert searches(by_faiss) == found
    assert any(one.cosine == other.cosine for hits in found for one, other in pairwise(hits))
    by_faiss.forget("space", [hit.document_id for hits in found[:24] for hit in hits[:2]])
    after = searches(by_numpy)
    assert after != found
    assert searches(by_faiss) == after


WITHOUT = """
import sys
sys.modules["faiss"] = None
from qzbrain.retrieval.embedded import hamming
assert hamming.by_faiss() is None and hamming.fastest() is hamming.by_numpy
print(hamming.chosen())
"""
UNLOADABLE = """
import sys
from pathlib import Path
Path(sys.argv[1], "faiss.py").write_text("import sys; sys.exit(1)")
sys.path.insert(0, sys.argv[1])
from qzbrain.retrieval.embedded import hamming
print(hamming.chosen())
"""


@pytest.mark.parametrize("program", [WITHOUT, UNLOADABLE])
def test_without_a_faiss_that_loads_numpy_is_taken(tmp_path: Path, program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip()) == (0, f"numpy {np.__version__}"), done.stderr[-2000:]


def test_an_installed_faiss_is_taken() -> None:
    kernel = faiss_kernel()
    assert hamming.chosen().startswith("faiss ")
    bits = np.ones((3, 2), np.uint64)
    assert hamming.fastest()(bits, bits[0]).dtype == kernel(bits, bits[0]).dtype == np.int32


IN_GREENLETS = """
from gevent import monkey; monkey.patch_all()
import gevent, json, sys
from pathlib import Path
import numpy as np
from qzbrain.retrieval.embedded.vectors import FlatVectors
store, asked = FlatVectors(Path(sys.argv[1])), np.load(sys.argv[2])
order = []
def search(vector):
    hits = store.search("space", vector, top_k=5)
    order.append("found")
    return [[hit.chunk_id, hit.cosine] for hit in hits]
searching = gevent.spawn(search, asked[0])
gevent.spawn(lambda: order.append("another request"))
searching.join()
found = [one.get() for one in [gevent.spawn(search, vector) for vector in asked]]
print(json.dumps([order[:2], found]))
"""


def test_in_a_process_of_greenlets_other_requests_go_on(tmp_path: Path) -> None:
    store = FlatVectors(tmp_path / "store")
    store.rebuild("space", WIDTH, [batch(1, 6000)], upto=6000)
    asked = clustered(1, 20)
    np.save(tmp_path / "asked.npy", asked)
    command = [sys.executable, "-c", IN_GREENLETS, str(tmp_path / "store"), str(tmp_path / "asked.npy")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-2000:]
    order, found = json.loads(done.stdout)
    assert order == ["another request", "found"]
    assert found == [[[hit.chunk_id, hit.cosine] for hit in store.search("space", one, top_k=5)] for one in asked]
