"""An index in parts is written anew beside the one in use: whatever is written, killed, dropped or full meanwhile, it says what SQL holds."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from test_parts import alone, answers, generation, in_parts, mixed, sizes

from qzbrain.errors import IndexUnavailable, StorageFull
from qzbrain.retrieval.base import DeleteDocument, IndexChange, PutDocument
from qzbrain.retrieval.embedded import parts, writing
from qzbrain.retrieval.embedded.folder import IndexFolder
from qzbrain.retrieval.embedded.lexical import TantivyIndex
from qzbrain.settings import ROOT

COUNT = 300


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TantivyIndex:
    """In five parts."""
    monkeypatch.setattr(parts, "FEWEST", 100)
    return in_parts(TantivyIndex(tmp_path / "index"), (150, 90, 30, 20, 10))


def gather(index: TantivyIndex, changes: Iterator[IndexChange] | None = None, goes_on: Callable[[], bool] = lambda: True, chunks: int = COUNT) -> bool:
    return index.gather("kb", map(mixed, range(chunks)) if changes is None else changes, chunks=chunks, turn=nullcontext(), goes_on=goes_on)


def meanwhile(at: int, happens: Callable[[], None]) -> Iterator[IndexChange]:
    """All documents; before the one with this number something happens; COUNT: after the last."""
    for n in range(COUNT):
        if n == at:
            happens()
        yield mixed(n)
    if at == COUNT:
        happens()


def test_it_is_one_segment_and_says_the_same(index: TantivyIndex) -> None:
    before, other = answers(index), TantivyIndex(index.root)
    assert answers(other) == before and len(sizes(index)) == 5
    assert gather(index)
    assert sizes(index) == [COUNT] and alone(index) and index.parts("kb") is None
    assert answers(index) == before and answers(other) == before, "every process sees the new one at its next search"
    assert (index.watermark("kb"), index.chunk_count("kb")) == (5, COUNT)
    index.apply("kb", [DeleteDocument(mixed(3).document_id), mixed(900)], watermark=6)
    assert (other.watermark("kb"), other.chunk_count("kb")) == (6, COUNT)


def test_a_watermark_that_no_chunk_carries_comes_along(index: TantivyIndex) -> None:
    index.apply("kb", [DeleteDocument("unknown")], watermark=9)
    assert gather(index) and TantivyIndex(index.root).watermark("kb") == 9


def test_changes_are_asked_for_after_the_watermark_was_read(index: TantivyIndex) -> None:
    def changes() -> Iterator[IndexChange]:
        assert index.watermark("kb") == 5 and not alone(index), "whoever writes from now on makes it void"
        yield from map(mixed, range(COUNT))

    assert gather(index, changes())


@pytest.mark.parametrize("at", [0, 1, 150, COUNT])
@pytest.mark.parametrize("what", ["add", "delete", "level", "unknown", "rebuild", "drop"])
def test_who_writes_meanwhile_makes_it_void(index: TantivyIndex, what: str, at: int) -> None:
    other, victim = TantivyIndex(index.root), mixed(7)
    secret = PutDocument(victim.document_id, victim.chunks, level=victim.level + 1)
    writes: dict[str, Callable[[], None]] = {
        "add": lambda: other.apply("kb", [mixed(900)], watermark=6),
        "delete": lambda: other.apply("kb", [DeleteDocument(victim.document_id)], watermark=6),
        "level": lambda: other.apply("kb", [secret], watermark=6),
        "unknown": lambda: other.apply("kb", [DeleteDocument("unknown")], watermark=6),
        "rebuild": lambda: other.rebuild("kb", [mixed(900)], watermark=6),
        "drop": lambda: other.drop("kb"),
    }
    assert not gather(index, meanwhile(at, writes[what]))
    expected = {"add": COUNT + 1, "delete": COUNT - 1, "level": COUNT, "unknown": COUNT, "rebuild": 1, "drop": 0}
    assert (index.chunk_count("kb"), index.watermark("kb")) == (expected[what], -1 if what == "drop" else 6)
    if what == "drop":
        assert not index.root.joinpath("kb").exists()
    else:
        assert alone(index)
    if what in ("delete", "level"):
        hits = index.search("kb", victim.chunks[0].tokens, top_k=5000, max_level=victim.level)
        assert hits and 7 not in {hit.chunk_id for hit in hits}
    if what not in ("rebuild", "drop"):
        assert gather(index, chunks=COUNT) and len(sizes(index)) == 1


def test_also_who_writes_in_the_last_moment(index: TantivyIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the last look and the lock."""
    other, writing_again = TantivyIndex(index.root), IndexFolder.writing
    entered: list[IndexFolder] = []

    def late(folder: IndexFolder) -> AbstractContextManager[None]:
        entered.append(folder)
        if len(entered) == 2:
            other.apply("kb", [DeleteDocument(mixed(7).document_id)], watermark=6)
        return writing_again(folder)

    monkeypatch.setattr(IndexFolder, "writing", late)
    assert not gather(index)
    assert (index.chunk_count("kb"), index.watermark("kb"), alone(index)) == (COUNT - 1, 6, True)


@pytest.mark.parametrize("what", ["delete", "drop"])
def test_who_writes_before_its_last_turn_makes_it_void(index: TantivyIndex, what: str) -> None:
    other, turns = TantivyIndex(index.root), list[int]()

    class Turn(AbstractContextManager[None]):
        def __enter__(self) -> None:
            turns.append(1)
            if len(turns) == 2:
                if what == "drop":
                    other.drop("kb")
                else:
                    other.apply("kb", [DeleteDocument(mixed(7).document_id)], watermark=6)

        def __exit__(self, *_given: object) -> None:
            pass

    assert not index.gather("kb", map(mixed, range(COUNT)), chunks=COUNT, turn=Turn(), goes_on=lambda: True)
    assert len(turns) == 2
    if what == "drop":
        assert not index.root.joinpath("kb").exists(), "and is not made again"
    else:
        assert (index.chunk_count("kb"), index.watermark("kb"), alone(index)) == (COUNT - 1, 6, True)


def test_another_that_gathers_makes_it_void(index: TantivyIndex) -> None:
    done: list[bool] = []
    assert not gather(index, meanwhile(150, lambda: done.append(gather(TantivyIndex(index.root)))))
    assert done == [True] and sizes(index) == [COUNT] and alone(index)


@pytest.mark.parametrize("asked", [0, 1, 200, COUNT - 1])
def test_it_ends_when_it_is_told(index: TantivyIndex, asked: int) -> None:
    before, times = answers(index), iter(range(COUNT + 1))
    assert not gather(index, goes_on=lambda: next(times) != asked)
    assert next(times) == asked + 1, "at once"
    assert (answers(index), len(sizes(index)), alone(index)) == (before, 5, True)


def test_its_turn_is_only_the_first_and_the_last_moment(index: TantivyIndex) -> None:
    turn, free = threading.Lock(), []
    documents = (free.append(not turn.locked()) or mixed(n) for n in range(COUNT))  # type: ignore[func-returns-value]
    assert index.gather("kb", documents, chunks=COUNT, turn=turn, goes_on=lambda: True)
    assert free == [True] * COUNT


def test_another_process_that_writes_is_not_waited_for(index: TantivyIndex) -> None:
    with TantivyIndex(index.root)._folder("kb").writing(), pytest.raises(IndexUnavailable, match="index_busy"):
        gather(index)
    kept = []

    def begin() -> None:
        kept.append(TantivyIndex(index.root)._folder("kb").writing())
        kept[0].__enter__()

    with pytest.raises(IndexUnavailable, match="index_busy"):
        gather(index, meanwhile(COUNT, begin))
    kept[0].__exit__(None, None, None)
    assert len(sizes(index)) == 5 and alone(index)
    assert gather(index)


def test_without_an_index_there_is_nothing_to_do(index: TantivyIndex) -> None:
    assert not index.gather("nowhere", iter([]), chunks=0, turn=nullcontext(), goes_on=lambda: True)
    assert not index.root.joinpath("nowhere").exists()
    index._folder("kb").disown()
    assert not gather(index)


# -- faults


def test_a_full_disk_leaves_the_index_as_it_was(index: TantivyIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    before, add = answers(index), writing._add

    def full(*given: object) -> int:
        add(*given)  # type: ignore[arg-type]
        raise ValueError("An IO error occurred: 'No space left on device (os error 28)'")

    monkeypatch.setattr(writing, "_add", full)
    with pytest.raises(StorageFull):
        gather(index)
    assert (answers(index), len(sizes(index)), alone(index)) == (before, 5, True)
    with pytest.raises(StorageFull):
        index.rebuild("kb", map(mixed, range(COUNT)), watermark=9, chunks=COUNT)
    assert (answers(index), index.watermark("kb"), alone(index)) == (before, 5, True), "a rebuild leaves nothing lying, either"


def test_where_room_is_short_it_is_not_begun(index: TantivyIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    held = sum(path.stat().st_size for path in generation(index).iterdir())
    usage = shutil.disk_usage(index.root)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=3 * held - 1))
    with pytest.raises(StorageFull):
        gather(index)
    assert len(sizes(index)) == 5 and alone(index)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage._replace(free=3 * held))
    assert gather(index)


def test_what_raises_is_raised(index: TantivyIndex) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        gather(index, meanwhile(200, fail))
    assert len(sizes(index)) == 5 and alone(index)


CHILD = """
import sys, time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
from test_parts import mixed
from qzbrain.retrieval.embedded.folder import IndexFolder
from qzbrain.retrieval.embedded.lexical import TantivyIndex
def slowly():
    print("begun", flush=True)
    for n in range(600):
        if n % 25 == 0:
            time.sleep(0.01)
        yield mixed(n)
print(TantivyIndex(Path(sys.argv[1])).gather("kb", slowly(), chunks=2400, turn=nullcontext(), goes_on=lambda: True), flush=True)
"""


def test_kill_9_at_any_moment_leaves_a_whole_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what it leaves beside is gone with the next write, whoever writes what."""
    monkeypatch.setattr(parts, "FEWEST", 100)
    index, chance = in_parts(TantivyIndex(tmp_path / "index"), (300, 150, 70, 50, 30)), random.Random(5)
    before = answers(index)
    left = 0
    for turn, after_s in enumerate([0.0, *(chance.uniform(0.0, 0.5) for _ in range(4)), 0.3, 0.4]):
        with subprocess.Popen([sys.executable, "-c", CHILD, str(index.root), str(Path(__file__).parent)], cwd=ROOT, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None and child.stdout.readline() == b"begun\n"
            time.sleep(after_s)
            child.send_signal(signal.SIGKILL)
        again = TantivyIndex(index.root)
        assert answers(again) == before and again.watermark("kb") == 5 + turn
        left += not alone(again)
        again.apply("kb", [DeleteDocument("unknown")], watermark=6 + turn)
        assert alone(again) and again.watermark("kb") == 6 + turn and answers(again) == before
    assert left, "some were killed while they built"
    assert gather(index, chunks=600) and answers(index) == before
