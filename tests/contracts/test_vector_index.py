"""What every vector backend promises (see qzbrain/retrieval/vectors.py). A new backend adds its maker to BACKENDS; the tests stay as they are."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from qzbrain.domain import LEVELS
from qzbrain.errors import IndexUnavailable, Unavailable
from qzbrain.retrieval.embedded import hamming, segments, vectors
from qzbrain.retrieval.vectors import DenseHit, StoredVectors, VectorIndex
from qzbrain.settings import Settings
from tests.contracts.test_search_index import GIVEN, SERVERS
from tests.servers.search_server import SearchServer

WIDTH = 96
Make = Callable[[], VectorIndex]


@pytest.fixture
def embedded(tmp_path: Path) -> Make:
    """Makers give the view of one more process over the same data."""
    return lambda: vectors.FlatVectors(tmp_path / "vectors")


@pytest.fixture
def scanned_by_numpy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """The embedded store as it is when it is large: sign patterns choose what is looked at, even of these few vectors."""
    return _scanned(tmp_path, monkeypatch, hamming.by_numpy)


@pytest.fixture
def scanned_by_faiss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    distances_of = hamming.by_faiss()
    if distances_of is None:
        pytest.skip('faiss is not installed: pip install "qzbrain[faiss]"')
    return _scanned(tmp_path, monkeypatch, distances_of)


def _scanned(folder: Path, monkeypatch: pytest.MonkeyPatch, distances_of: hamming.Distances) -> Make:
    monkeypatch.setattr(segments, "_EXACT_ROWS", 0)
    monkeypatch.setattr(vectors, "CANDIDATES", 20)
    monkeypatch.setattr(vectors, "PER_HIT", 4)
    return lambda: vectors.FlatVectors(folder / "vectors", distances_of=distances_of)


@pytest.fixture
def elasticsearch(elasticsearch_server: SearchServer) -> Make:
    return at(elasticsearch_server.settings)


@pytest.fixture
def opensearch(opensearch_server: SearchServer) -> Make:
    return at(opensearch_server.settings)


@pytest.fixture
def given() -> Make:
    return at({"es_url_add": GIVEN})


def at(server: dict[str, object]) -> Make:
    from qzbrain.retrieval.elastic.vectors import ElasticVectors

    settings = Settings(**server, qizhibrain_index="contract")
    return lambda: ElasticVectors(settings)


BACKENDS = ["embedded", "scanned_by_numpy", "scanned_by_faiss", *(pytest.param(name, marks=pytest.mark.servers) for name in SERVERS)]


def unit(*seeds: int) -> np.ndarray:
    """Vectors with a large common part, as embeddings have: each by its seed."""
    common = np.random.default_rng(0).standard_normal(WIDTH)
    rows = np.array([2 * common + np.random.default_rng(seed + 1).standard_normal(WIDTH) for seed in seeds], np.float32).reshape(-1, WIDTH)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def rows(first: int, count: int, document: str | None = None) -> StoredVectors:
    """Chunk n has the vector of seed n, as SQL holds it; ten chunks are a document unless one is named."""
    ids = list(range(first, first + count))
    return StoredVectors(ids, [document or f"d{n // 10}" for n in ids], unit(*ids).astype("<f2"))


def nearest(seed: int, of: list[int], top_k: int) -> list[int]:
    """By exact arithmetic over what SQL holds."""
    held = unit(*of).astype("<f2").astype(np.float32)
    scores = held @ unit(seed)[0] / np.linalg.norm(held, axis=1)
    return [of[n] for n in np.lexsort((of, -scores))[:top_k]]


@pytest.mark.parametrize("backend", BACKENDS)
class TestVectorIndex:
    @pytest.fixture
    def make(self, backend: str, request: pytest.FixtureRequest) -> Make:
        made: Make = request.getfixturevalue(backend)
        return made

    @pytest.fixture
    def index(self, make: Make) -> Iterator[VectorIndex]:
        index = make()
        index.rebuild("space", WIDTH, [rows(1, 40)], upto=40)
        yield index
        index.drop("space")

    def test_an_unknown_space_is_empty(self, index: VectorIndex) -> None:
        assert index.upto("nowhere") == -1
        assert index.count("nowhere") == 0
        assert index.search("nowhere", unit(1)[0], top_k=3) == []
        assert index.cosines("nowhere", unit(1)[0], [1, 2]) == {}
        index.forget("nowhere", ["d1"])
        index.drop("nowhere")
        with pytest.raises(Unavailable) as refused:
            index.append("nowhere", rows(1, 1), upto=1)
        assert refused.value.code == "vectors_missing"

    def test_the_nearest_come_first_with_their_cosines(self, index: VectorIndex) -> None:
        hits = index.search("space", unit(7)[0], top_k=5)
        assert [hit.chunk_id for hit in hits] == nearest(7, list(range(1, 41)), 5)
        assert hits[0].chunk_id == 7 and hits[0].document_id == "d0"
        assert hits[0].cosine == pytest.approx(1, abs=2e-3)
        assert hits[1].cosine == pytest.approx(float(unit(7)[0] @ unit(hits[1].chunk_id)[0]), abs=2e-3)
        assert index.search("space", unit(7)[0], top_k=0) == []
        assert len(index.search("space", unit(7)[0], top_k=100)) == 40

    def test_ties_go_by_chunk_id(self, index: VectorIndex) -> None:
        same = np.repeat(unit(3), 4, axis=0).astype("<f2")
        index.append("space", StoredVectors([51, 52, 53, 54], ["t"] * 4, same), upto=54)
        assert [hit.chunk_id for hit in index.search("space", unit(3)[0], top_k=5)] == [3, 51, 52, 53, 54]

    def test_a_filter_applies_before_the_cut(self, index: VectorIndex) -> None:
        asked = unit(7)[0]
        found = index.search("space", asked, top_k=3, document_ids=["d2", "d4", "elsewhere"])
        assert [hit.chunk_id for hit in found] == nearest(7, [*range(20, 30), 40], 3)
        assert {hit.document_id for hit in found} <= {"d2", "d4"}
        assert index.search("space", asked, top_k=3, document_ids=[]) == []
        assert index.search("space", asked, top_k=3, document_ids=["elsewhere"]) == []

    def test_cosines_of_chunks_that_words_found(self, index: VectorIndex) -> None:
        asked = unit(99)[0]
        found = index.cosines("space", asked, [3, 39, 40, 41, 1000])
        assert set(found) == {3, 39, 40}
        for chunk_id, cosine in found.items():
            assert cosine == pytest.approx(float(asked @ unit(chunk_id)[0]), abs=2e-3)
        assert index.cosines("space", asked, []) == {}

    def test_what_is_appended_is_seen_by_other_processes(self, index: VectorIndex, make: Make) -> None:
        other = make()
        assert other.upto("space") == 40
        index.append("space", rows(41, 25), upto=70)
        assert other.upto("space") == 70
        assert other.count("space") == 65
        assert other.search("space", unit(60)[0], top_k=1)[0].chunk_id == 60
        index.append("space", rows(71, 0), upto=75)
        assert (other.upto("space"), other.count("space")) == (75, 65)

    def test_appending_again_changes_nothing(self, index: VectorIndex) -> None:
        index.append("space", rows(41, 10), upto=50)
        index.append("space", rows(41, 10), upto=50)
        index.append("space", rows(36, 20), upto=55)
        assert (index.upto("space"), index.count("space")) == (55, 55)
        assert [hit.chunk_id for hit in index.search("space", unit(52)[0], top_k=3)] == nearest(52, list(range(1, 56)), 3)

    def test_many_small_appends_are_one_index(self, index: VectorIndex) -> None:
        for first in range(41, 81, 5):
            index.append("space", rows(first, 5), upto=first + 4)
        assert index.count("space") == 80
        for seed in (5, 44, 80):
            assert [hit.chunk_id for hit in index.search("space", unit(seed)[0], top_k=4)] == nearest(seed, list(range(1, 81)), 4)

    def test_forgotten_documents_are_not_found(self, index: VectorIndex, make: Make) -> None:
        other = make()
        assert other.search("space", unit(25)[0], top_k=1)[0].chunk_id == 25
        index.forget("space", ["d2", "elsewhere"], keep=[21])
        assert (index.upto("space"), other.count("space")) == (40, 31)
        assert 25 not in {hit.chunk_id for hit in other.search("space", unit(25)[0], top_k=31)}
        assert [hit.chunk_id for hit in other.search("space", unit(25)[0], top_k=5, document_ids=["d2"])] == [21]
        assert set(other.cosines("space", unit(25)[0], [21, 25])) == {21}
        index.forget("space", ["d2"], keep=[21])
        index.forget("space", [])
        assert other.count("space") == 31
        index.append("space", rows(41, 10), upto=50)
        assert other.count("space") == 41

    def test_all_may_be_forgotten(self, index: VectorIndex) -> None:
        index.forget("space", [f"d{n}" for n in range(5)])
        assert (index.upto("space"), index.count("space")) == (40, 0)
        assert index.search("space", unit(25)[0], top_k=5) == []
        index.append("space", rows(41, 3), upto=43)
        assert [hit.chunk_id for hit in index.search("space", unit(42)[0], top_k=1)] == [42]

    def test_a_space_begins_empty(self, index: VectorIndex) -> None:
        index.rebuild("new", WIDTH, [], upto=0)
        try:
            assert (index.upto("new"), index.count("new")) == (0, 0)
            assert index.search("new", unit(1)[0], top_k=3) == []
            index.append("new", rows(1, 3), upto=3)
            assert index.search("new", unit(2)[0], top_k=1)[0].chunk_id == 2
        finally:
            index.drop("new")

    def test_spaces_do_not_mix(self, index: VectorIndex) -> None:
        index.rebuild("other", WIDTH, [rows(101, 5)], upto=105)
        try:
            assert {hit.chunk_id for hit in index.search("other", unit(7)[0], top_k=50)} == set(range(101, 106))
            assert {hit.chunk_id for hit in index.search("space", unit(7)[0], top_k=50)} == set(range(1, 41))
        finally:
            index.drop("other")
        assert index.upto("other") == -1

    def test_a_rebuild_replaces_all(self, index: VectorIndex, make: Make) -> None:
        other = make()
        assert other.count("space") == 40
        index.rebuild("space", WIDTH, [rows(1, 5), rows(6, 0), rows(50, 5)], upto=60)
        assert (other.upto("space"), other.count("space")) == (60, 10)
        assert [hit.chunk_id for hit in other.search("space", unit(52)[0], top_k=1)] == [52]

    def test_a_failed_rebuild_leaves_the_old_one(self, index: VectorIndex) -> None:
        def broken() -> Iterator[StoredVectors]:
            yield rows(1, 2)
            raise RuntimeError("SQL is gone")

        with pytest.raises(RuntimeError):
            index.rebuild("space", WIDTH, broken(), upto=60)
        assert (index.upto("space"), index.count("space")) == (40, 40)
        index.append("space", rows(41, 1), upto=41)
        assert index.count("space") == 41

    def test_readers_see_the_old_or_the_new_one_during_a_rebuild(self, index: VectorIndex, make: Make) -> None:
        reader, done, seen, faults = make(), threading.Event(), set[int](), list[BaseException]()

        def read() -> None:
            try:
                while not done.is_set():
                    seen.add(len(reader.search("space", unit(7)[0], top_k=100)))
            except BaseException as exc:
                faults.append(exc)

        thread = threading.Thread(target=read)
        thread.start()
        try:
            for n in range(3):
                index.rebuild("space", WIDTH, [rows(1, 30 if n % 2 == 0 else 40)], upto=50 + n)
        finally:
            done.set()
            thread.join()
        assert not faults
        assert seen <= {30, 40}

    def test_one_writer_at_a_time(self, index: VectorIndex, make: Make) -> None:
        other = make()

        def meanwhile() -> Iterator[StoredVectors]:
            with pytest.raises(IndexUnavailable) as refused:
                other.append("space", rows(41, 1), upto=41)
            assert refused.value.code == "index_busy"
            yield rows(1, 3)

        index.rebuild("space", WIDTH, meanwhile(), upto=45)
        assert index.count("space") == 3
        other.append("space", rows(46, 1), upto=46)
        assert index.count("space") == 4


EVERY = range(len(LEVELS))


def ids(hits: Sequence[DenseHit]) -> list[int]:
    return [hit.chunk_id for hit in hits]


@pytest.mark.parametrize("backend", BACKENDS)
class TestLevels:
    """What is above the asker's level is as if it were not there, before the cut, whatever is written when."""

    COUNT = 200

    @pytest.fixture
    def make(self, backend: str, request: pytest.FixtureRequest) -> Make:
        made: Make = request.getfixturevalue(backend)
        return made

    @pytest.fixture
    def levels(self) -> dict[str, int]:
        """Four chunks a document; every level."""
        return {f"d{n}": n % len(LEVELS) for n in range(self.COUNT // 4 + 10)}

    @staticmethod
    def rows(chunk_ids: Iterable[int], levels: Mapping[str, int]) -> StoredVectors:
        """As SQL holds them: chunk n has the vector of seed n."""
        some = sorted(chunk_ids)
        owners = [f"d{one // 4}" for one in some]
        return StoredVectors(some, owners, unit(*some).astype("<f2"), [levels[one] for one in owners])

    @pytest.fixture
    def index(self, make: Make, levels: dict[str, int]) -> Iterator[VectorIndex]:
        index = make()
        index.rebuild("space", WIDTH, [self.rows(range(1, 151), levels), self.rows(range(151, self.COUNT + 1), levels)], upto=self.COUNT)
        yield index
        index.drop("space")

    def stored(self, levels: Mapping[str, int], upto: int = COUNT) -> Callable[[Sequence[str]], Iterator[StoredVectors]]:
        """As the database gives them."""
        def give(document_ids: Sequence[str]) -> Iterator[StoredVectors]:
            yield self.rows([n for n in range(1, upto + 1) if f"d{n // 4}" in document_ids], levels)

        return give

    def check(self, index: VectorIndex, levels: Mapping[str, int], there: Sequence[int] | None = None) -> None:
        """Each asker's nearest are the nearest of what he may see."""
        every = list(there or range(1, self.COUNT + 1))
        for most in EVERY:
            seen = [one for one in every if levels[f"d{one // 4}"] <= most]
            for seed in (3, 77, 150):
                asked = unit(seed)[0]
                assert ids(index.search("space", asked, top_k=40, max_level=most))[:5] == nearest(seed, seen, 5)
                few = ids(index.search("space", asked, top_k=5, max_level=most))
                assert len(set(few) & set(seen)) == len(few) == min(5, len(seen))
                assert few[:1] == [seed] or seed not in seen
                assert sorted(ids(index.search("space", asked, top_k=500, max_level=most))) == seen
                assert set(index.cosines("space", asked, every, max_level=most)) == set(seen)
        assert index.search("space", unit(3)[0], top_k=5, max_level=-1) == []
        assert sorted(ids(index.search("space", unit(3)[0], top_k=500))) == every

    def test_the_nearest_are_the_nearest_of_what_may_be_seen(self, index: VectorIndex, levels: dict[str, int]) -> None:
        self.check(index, levels)

    def test_with_a_filter_by_documents(self, index: VectorIndex, levels: dict[str, int]) -> None:
        found = index.search("space", unit(9)[0], top_k=50, document_ids=["d0", "d1", "d2", "d5"], max_level=1)
        assert sorted(ids(found)) == [1, 2, 3, 4, 5, 6, 7, 20, 21, 22, 23]
        assert index.search("space", unit(9)[0], top_k=50, document_ids=["d2", "d4"], max_level=1) == []

    def test_a_changed_level_is_followed(self, index: VectorIndex, levels: dict[str, int], make: Make) -> None:
        other = make()
        assert len(other.search("space", unit(3)[0], top_k=500, max_level=0)) == 40
        for changed in ({"d0": 4, "d4": 0}, {"d0": 2, "d44": 1, "unknown": 0}, dict.fromkeys(levels, 3), {"d7": 0, "d49": 4}):
            levels |= changed
            index.set_levels("space", changed, self.stored(levels))
            self.check(other, levels)
        assert (index.upto("space"), index.count("space")) == (self.COUNT, self.COUNT)

    def test_what_is_so_already_is_not_written_again(self, index: VectorIndex, levels: dict[str, int]) -> None:
        def refused(_: Sequence[str]) -> Iterator[StoredVectors]:
            raise AssertionError("asked for vectors")

        index.set_levels("space", levels, refused)
        index.set_levels("space", {}, refused)
        index.set_levels("space", {"unknown": 2}, refused)
        index.set_levels("nowhere", levels, refused)
        self.check(index, levels)

    def test_levels_stay_through_forgetting_appending_and_rebuilding(self, index: VectorIndex, levels: dict[str, int]) -> None:
        levels |= {"d0": 4, "d9": 0}
        index.set_levels("space", {"d0": 4, "d9": 0}, self.stored(levels))
        index.forget("space", ["d3", "d9"], keep=[36])
        there = [n for n in range(1, self.COUNT + 1) if n // 4 not in (3, 9) or n == 36]
        self.check(index, levels, there)
        for first in range(self.COUNT + 1, self.COUNT + 25, 6):
            index.append("space", self.rows(range(first, first + 6), levels), upto=first + 5)
        there += range(self.COUNT + 1, self.COUNT + 25)
        self.check(index, levels, there)
        levels |= {"d0": 1, "d52": 4}
        index.set_levels("space", {"d0": 1, "d52": 4}, self.stored(levels, upto=self.COUNT + 24))
        self.check(index, levels, there)
        index.rebuild("space", WIDTH, [self.rows(there[:90], levels), self.rows(there[90:], levels)], upto=self.COUNT + 24)
        self.check(index, levels, there)

    def test_what_is_not_there_any_more_does_not_come_back_with_a_level(self, index: VectorIndex, levels: dict[str, int]) -> None:
        """The database has chunks of a document that the index has not been told of yet."""
        levels["d50"] = 3
        index.set_levels("space", {"d50": 3}, self.stored(levels, upto=self.COUNT + 3))
        assert (index.upto("space"), index.count("space")) == (self.COUNT, self.COUNT)
        self.check(index, levels)

    def test_vectors_without_a_word_on_their_level_are_internal(self, index: VectorIndex) -> None:
        told = StoredVectors([901, 902], ["x", "x"], unit(901, 902).astype(np.float16))
        index.append("space", told, upto=902)
        assert ids(index.search("space", unit(901)[0], top_k=1, max_level=1)) == [901]
        assert 901 not in ids(index.search("space", unit(901)[0], top_k=500, max_level=0))
