"""An index of many segments becomes one of one: the same is found, and nothing that is written, deleted, killed or full meanwhile does harm."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qzbrain import logs
from qzbrain.retrieval.base import DeleteDocument, IndexedChunk, LexicalHit, PutDocument
from qzbrain.retrieval.embedded import force_merge, lexical
from qzbrain.retrieval.embedded.lexical import TantivyIndex
from qzbrain.settings import ROOT

WORDS = ("罚款", "合同", "采购", "验收", "付款", "处罚", "警告", "批准", "董事会", "违法所得", "书面", "环境保护", "劳动", "登记", "许可")
QUESTIONS = ("合同 付款 验收", "违法所得的处罚", "董事会批准采购", "环境保护 警告 罚款")


def document(number: int) -> PutDocument:
    chance = random.Random(number)
    name = f"d{number}"
    return PutDocument(name, [IndexedChunk(number, name, "，".join(chance.choices(WORDS, k=12)) + f"编号{number}。", "办法")], level=number % 3)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TantivyIndex:
    """Of 300 chunks; one large segment, and small ones of different sizes."""
    monkeypatch.setattr(force_merge, "FEWEST", 100)
    return filled(TantivyIndex(tmp_path / "index"), (150, 90, 30, 20, 10))


def filled(index: TantivyIndex, sizes: tuple[int, ...]) -> TantivyIndex:
    index.rebuild("kb", [], watermark=0)
    done = 0
    for seq, size in enumerate(sizes, 1):
        index.apply("kb", [document(n) for n in range(done, done + size)], watermark=seq)
        done += size
    return index


def generation(index: TantivyIndex) -> Path:
    found = index._folder("kb").current()
    assert found is not None
    return found


def sizes(index: TantivyIndex) -> list[int]:
    return [one["max_doc"] for one in force_merge.segments(generation(index))]


class Found:
    """What is found for all questions; equal where the same chunks are, as certain, and scores differ by no more than a few empty entries cause."""

    def __init__(self, index: TantivyIndex) -> None:
        self.hits = {(question, level): index.search("kb", question, top_k=600, max_level=level) for question in QUESTIONS for level in (None, 1)}
        assert all(self.hits.values())

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, Found)
        return all(_alike(some, other.hits[asked]) for asked, some in self.hits.items())


def _alike(one: list[LexicalHit], other: list[LexicalHit]) -> bool:
    scores, others = ({hit.chunk_id: hit.score for hit in hits} for hits in (one, other))
    return scores == pytest.approx(others, rel=0.05) and {h.chunk_id: h.confidence for h in one} == {h.chunk_id: h.confidence for h in other}


found = Found


@pytest.mark.parametrize("parts", [(150, 120, 90), (50, 50, 50, 50), (60, 50, 40, 30, 20, 10), (40,) * 7, tuple(range(12, 24)), (9,) * 7 + (99,) * 3])
def test_any_number_of_segments_becomes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: tuple[int, ...]) -> None:
    monkeypatch.setattr(force_merge, "FEWEST", 100)
    index = filled(TantivyIndex(tmp_path / "index"), parts)
    before, other = found(index), TantivyIndex(tmp_path / "index")
    assert found(other) == before
    by_itself = len(sizes(index)) == 1
    assert index.merge_segments("kb") or by_itself
    assert len(sizes(index)) == 1
    assert found(index) == before and found(other) == before, "every process sees the new one at its next search"
    assert (index.chunk_count("kb"), index.watermark("kb"), index.deleted_share("kb")) == (sum(parts), len(parts), 0.0)
    assert not index.merge_segments("kb")


def test_only_one_copy_is_kept(index: TantivyIndex) -> None:
    assert len(sizes(index)) == 5 and index.merge_segments("kb")
    assert [path for path in index.root.joinpath("kb").iterdir() if path.is_dir()] == [generation(index)]
    assert {path.name.split(".")[0] for path in generation(index).glob("*.idx")} == {
        one["segment_id"].replace("-", "") for one in force_merge.segments(generation(index))
    }, "files of the former segments are gone"


def test_deleted_chunks_are_gone_and_later_ones_are_counted(index: TantivyIndex) -> None:
    gone = [DeleteDocument(f"d{n}") for n in range(40)]
    index.apply("kb", gone, watermark=6)
    assert index.deleted_share("kb") > 0.1 and index.merge_segments("kb")
    assert (index.chunk_count("kb"), index.deleted_share("kb"), index.watermark("kb")) == (260, 0.0, 6)
    index.apply("kb", [DeleteDocument("d50"), document(400)], watermark=7)
    assert index.chunk_count("kb") == 260 and index.deleted_share("kb") == pytest.approx(1 / 261)
    assert index.watermark("kb") == 7 and {hit.chunk_id for hit in index.search("kb", "编号400", top_k=5)} >= {400}


def test_a_watermark_that_no_chunk_carries_comes_along(index: TantivyIndex) -> None:
    index.apply("kb", [DeleteDocument("unknown")], watermark=9)
    assert index.merge_segments("kb") and TantivyIndex(index.root).watermark("kb") == 9


def test_it_grows_and_is_merged_again_only_when_it_is_worth_it(index: TantivyIndex) -> None:
    assert index.merge_segments("kb")
    for n in range(5):
        index.apply("kb", [document(500 + n)], watermark=10 + n)
    assert len(sizes(index)) == 6 and not index.merge_segments("kb"), "nearly all lies in one"
    index.apply("kb", [document(600 + n) for n in range(200)], watermark=20)
    before = found(index)
    assert index.merge_segments("kb") and found(index) == before
    assert (index.chunk_count("kb"), index.deleted_share("kb")) == (505, 0.0), "the padding of the former merge is gone"


def test_a_small_index_is_left_alone(index: TantivyIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(force_merge, "FEWEST", 301)
    assert not index.merge_segments("kb") and len(sizes(index)) == 5


@pytest.mark.parametrize("during", ["apply", "rebuild", "drop"])
def test_what_is_written_meanwhile_wins(index: TantivyIndex, monkeypatch: pytest.MonkeyPatch, during: str) -> None:
    merged_into = force_merge.merged_into

    def interrupted(*given: object) -> bool:
        done = merged_into(*given)  # type: ignore[arg-type]
        other = TantivyIndex(index.root)
        if during == "apply":
            other.apply("kb", [DeleteDocument("d1"), document(700)], watermark=50)
        elif during == "rebuild":
            other.rebuild("kb", [document(700)], watermark=50)
        else:
            other.drop("kb")
        return done

    monkeypatch.setattr(force_merge, "merged_into", interrupted)
    assert not index.merge_segments("kb")
    assert index.watermark("kb") == (-1 if during == "drop" else 50)
    assert index.chunk_count("kb") == {"apply": 300, "rebuild": 1, "drop": 0}[during]
    assert len(list(index.root.joinpath("kb").glob("*/"))) == (0 if during == "drop" else 1), "nothing is left lying"


@pytest.mark.parametrize("step", ["_copy", "_decoy"])
def test_a_rebuild_that_sweeps_the_copy_away_is_survived(index: TantivyIndex, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    do = getattr(force_merge, step)

    def swept(*given: object) -> None:
        do(*given)
        TantivyIndex(index.root).rebuild("kb", [document(700)], watermark=50)

    monkeypatch.setattr(force_merge, step, swept)
    assert not index.merge_segments("kb")
    assert (index.watermark("kb"), index.chunk_count("kb")) == (50, 1)
    assert len(list(index.root.joinpath("kb").glob("*/"))) == 1


def test_a_file_system_without_hard_links_is_copied_on(index: TantivyIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_given: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    before = found(index)
    assert index.merge_segments("kb") and found(index) == before


def test_should_tantivy_decide_otherwise_the_copy_is_thrown_away(index: TantivyIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    before, kept = found(index), generation(index)
    monkeypatch.setattr(force_merge, "_LEVEL", 6)
    assert not index.merge_segments("kb")
    assert found(index) == before and generation(index) == kept and len(list(index.root.joinpath("kb").glob("*/"))) == 1


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), ValueError("corrupt"), RuntimeError("a thread died")])
def test_a_fault_is_told_and_leaves_the_index_as_it_was(
    index: TantivyIndex, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], fault: Exception
) -> None:
    def broken(source: Path, target: Path, heap_bytes: int) -> bool:
        shutil.copytree(source, target, dirs_exist_ok=True)
        raise fault

    before = found(index)
    monkeypatch.setattr(force_merge, "merged_into", broken)
    logs.configure("info", "test")
    monkeypatch.setattr(lexical, "log", logs.get("lexical"))  # a logger keeps the level at which another test used it first
    assert not index.merge_segments("kb")
    assert capfd.readouterr().err.count("segments_not_merged") == 1
    assert found(index) == before and len(list(index.root.joinpath("kb").glob("*/"))) == 1


def test_another_process_that_writes_is_not_waited_for(index: TantivyIndex) -> None:
    with TantivyIndex(index.root)._folder("kb").writing():
        assert not index.merge_segments("kb")
    assert index.merge_segments("kb")


CHILD = """
import sys
from pathlib import Path
from qzbrain.retrieval.embedded import force_merge
from qzbrain.retrieval.embedded.lexical import TantivyIndex
force_merge.FEWEST = 100
index = TantivyIndex(Path(sys.argv[1]))
print("begun", flush=True)
index.merge_segments("kb")
"""


@pytest.mark.parametrize("after_ms", [0, 5, 20, 50, 90, 150])
def test_kill_9_at_any_moment_leaves_a_whole_index(index: TantivyIndex, after_ms: int) -> None:
    before = found(index)
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(index.root)], cwd=ROOT, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"begun\n"
    time.sleep(after_ms / 1000)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    again = TantivyIndex(index.root)
    assert found(again) == before and again.watermark("kb") == 5
    again.apply("kb", [document(900)], watermark=6)
    assert again.chunk_count("kb") == 301
    again.apply("kb", [document(n) for n in range(1000, 1300)], watermark=7)
    assert again.merge_segments("kb") or len(sizes(again)) == 3
    again.rebuild("kb", [document(n) for n in range(300)], watermark=8)
    assert len(list(index.root.joinpath("kb").glob("*/"))) == 1, "what the killed one left is gone"


def test_the_heap_need_not_hold_the_index(tmp_path: Path) -> None:
    """The decoy is as large as the largest segment: with the least heap that tantivy takes, it is still one segment."""
    least = 15_000_000
    index = TantivyIndex(tmp_path / "index")
    index.rebuild("kb", [], watermark=0)
    for seq in range(3):
        index.apply("kb", [document(n) for n in range(seq * 12_000, seq * 12_000 + 12_000)], watermark=seq + 1)
    assert least < lexical.WRITER_HEAP_BYTES
    before = [[hit.chunk_id for hit in index.search("kb", question, top_k=10)] for question in QUESTIONS]
    target = index._folder("kb").new_generation()
    assert force_merge.merged_into(generation(index), target, least) and len(force_merge.segments(target)) == 1
    index._folder("kb").use(target)
    assert [[hit.chunk_id for hit in index.search("kb", question, top_k=10)] for question in QUESTIONS] == before, "not even the order differs"
