"""A vector store in parts is put together beside what is in use: whatever is written, dropped or full meanwhile, it says what was written last."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from test_vectors import WIDTH, batch, clustered, generation

from qzbrain.errors import IndexUnavailable, StorageFull
from qzbrain.retrieval.embedded import parts, segments
from qzbrain.retrieval.embedded.vectors import META, FlatVectors
from qzbrain.retrieval.vectors import DenseHit

COUNT = 1080
ASKS = 3 * 4
"""Each part of each column is a block."""
VICTIM = "d50"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FlatVectors:
    """In three parts; some rows are gone, some documents have another level."""
    monkeypatch.setattr(parts, "FEWEST", 100)
    made = FlatVectors(tmp_path)
    made.rebuild("space", WIDTH, [batch(1, 640)], upto=640)
    made.append("space", batch(641, 300), upto=940)
    made.append("space", batch(941, 140), upto=1080)
    made.forget("space", ["d3", "d100"])
    made.set_levels("space", {"d7": 4, "d140": 0}, lambda _: [])
    return made


def sizes(store: FlatVectors) -> list[int]:
    present = store._reader("space")
    assert present is not None
    return [part.shape.rows for part in present.segments]


def alone(store: FlatVectors) -> bool:
    """Whether nothing lies there that the list does not name."""
    present = store._reader("space")
    assert present is not None
    named = {META, *(name for part, beside in present.parts for name in (part.shape.name, *beside))}
    return {path.name for path in generation(store).iterdir()} <= named


def answers(store: FlatVectors) -> list[list[DenseHit]]:
    return [store.search("space", clustered(chunk, 1)[0], top_k=30, max_level=level) for chunk in range(5, COUNT, 101) for level in (None, 0, 3)]


def meanwhile(at: int, happens: Callable[[], object]) -> Callable[[], bool]:
    """Goes on; at this block something happens."""
    asked = iter(range(10**6))

    def goes_on() -> bool:
        if next(asked) == at:
            happens()
        return True

    return goes_on


def test_it_is_one_segment_and_says_the_same(store: FlatVectors) -> None:
    before, other = answers(store), FlatVectors(store.root)
    assert answers(other) == before
    found = store.parts("space")
    assert found is not None and (found.chunks, found.count) == (COUNT - 14, 3) and 0 <= found.unchanged_s < 60
    assert store.gather("space", lambda: True)
    assert sizes(store) == [COUNT - 14] and alone(store) and store.parts("space") is None
    assert answers(store) == before and answers(other) == before, "every process sees the new one at its next search"
    assert (store.upto("space"), store.count("space")) == (COUNT, COUNT - 14)
    assert not store.gather("space", lambda: True), "there is nothing to gain"
    store.append("space", batch(COUNT + 1, 50), upto=COUNT + 50)
    store.forget("space", [VICTIM])
    assert other.count("space") == COUNT - 14 + 50 - 7


@pytest.mark.parametrize("at", [0, 5, ASKS - 1])
@pytest.mark.parametrize("what", ["append", "mark", "forget", "level", "rebuild", "drop"])
def test_who_writes_meanwhile_makes_it_void(store: FlatVectors, what: str, at: int) -> None:
    other = FlatVectors(store.root)
    writes: dict[str, Callable[[], object]] = {
        "append": lambda: other.append("space", batch(COUNT + 1, 20), upto=COUNT + 20),
        "mark": lambda: other.append("space", batch(COUNT + 1, 0), upto=COUNT + 20),
        "forget": lambda: other.forget("space", [VICTIM]),
        "level": lambda: other.set_levels("space", {VICTIM: 4}, lambda _: []),
        "rebuild": lambda: other.rebuild("space", WIDTH, [batch(1, 30)], upto=30),
        "drop": lambda: other.drop("space"),
    }
    assert not store.gather("space", meanwhile(at, writes[what]))
    expected = {"append": COUNT + 6, "forget": COUNT - 21, "rebuild": 30, "drop": 0}.get(what, COUNT - 14)
    upto = {"append": COUNT + 20, "mark": COUNT + 20, "rebuild": 30, "drop": -1}.get(what, COUNT)
    assert (store.count("space"), store.upto("space")) == (expected, upto)
    if what == "drop":
        assert not (store.root / "space").exists()
        return
    assert alone(store)
    seen = {hit.document_id for hit in store.search("space", clustered(353, 1)[0], top_k=COUNT, max_level=3)}
    assert (VICTIM in seen) == (what in ("append", "mark"))
    if what != "rebuild":
        before = answers(store)
        assert store.gather("space", lambda: True) and len(sizes(store)) == 1 and answers(store) == before


def test_also_who_writes_in_the_last_moment(store: FlatVectors, monkeypatch: pytest.MonkeyPatch) -> None:
    """When all is written, and before it is this one's turn."""
    other, merge = FlatVectors(store.root), segments.merge

    def late(*given: object) -> segments.Shape:
        shape = merge(*given)  # type: ignore[arg-type]
        other.forget("space", [VICTIM])
        return shape

    monkeypatch.setattr(segments, "merge", late)
    assert not store.gather("space", lambda: True)
    assert store.count("space") == COUNT - 21 and len(sizes(store)) == 3 and alone(store)


@pytest.mark.parametrize("asked", [0, 1, ASKS - 1])
def test_it_ends_when_it_is_told(store: FlatVectors, asked: int) -> None:
    before, times = answers(store), iter(range(COUNT))
    assert not store.gather("space", lambda: next(times) != asked)
    assert next(times) == asked + 1, "at once"
    assert answers(store) == before and len(sizes(store)) == 3 and alone(store)


def test_another_process_that_writes_is_not_waited_for(store: FlatVectors) -> None:
    with FlatVectors(store.root)._folder("space").writing(), pytest.raises(IndexUnavailable, match="index_busy"):
        store.gather("space", lambda: True)
    assert len(sizes(store)) == 3 and alone(store)


def test_means_that_differ_are_left_as_they_are(store: FlatVectors, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would be made anew from all vectors, in memory."""
    monkeypatch.setattr(segments, "_OUTGROWN", 1)
    assert store.parts("space") is None and not store.gather("space", lambda: True)


def test_without_a_store_there_is_nothing_to_do(store: FlatVectors) -> None:
    store.rebuild("empty", WIDTH, [], upto=0)
    for space_id in ("nowhere", "empty"):
        assert store.parts(space_id) is None and not store.gather(space_id, lambda: True)
    assert not (store.root / "nowhere").exists()


def test_where_room_is_short_it_is_not_begun(store: FlatVectors, monkeypatch: pytest.MonkeyPatch) -> None:
    held = sum(path.stat().st_size for path in generation(store).iterdir())
    usage = shutil.disk_usage(store.root)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=3 * held - 1))
    with pytest.raises(StorageFull):
        store.gather("space", lambda: True)
    assert len(sizes(store)) == 3 and alone(store)


def test_a_full_disk_leaves_the_store_as_it_was(store: FlatVectors) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    before = answers(store)
    with pytest.raises(StorageFull):
        store.gather("space", meanwhile(7, full))
    assert answers(store) == before and len(sizes(store)) == 3 and alone(store)


def test_what_a_killed_one_left_is_gone_with_the_next_commit(store: FlatVectors) -> None:
    (generation(store) / "6617d8dcaa618f3f6febd6").write_bytes(b"half")
    assert not alone(store)
    assert store.gather("space", lambda: True) and alone(store)
