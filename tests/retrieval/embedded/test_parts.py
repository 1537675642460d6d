"""An index that is built ends in one segment whatever its size, and says exactly what the same chunks say in many."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from qzbrain.retrieval.base import DeleteDocument, IndexedChunk, LexicalHit, PutDocument
from qzbrain.retrieval.embedded import parts, writing
from qzbrain.retrieval.embedded.folder import META
from qzbrain.retrieval.embedded.lexical import TantivyIndex

TERMS = [f"词{n}" for n in range(60)]


def documents(chunks: int, each: int = 50) -> Iterator[PutDocument]:
    """So many short chunks, some to a document, each with terms that no other has in this number."""
    for start in range(0, chunks, each):
        name = f"d{start}"
        yield PutDocument(name, [short(n, name) for n in range(start, min(chunks, start + each))], level=start % 3)


def short(number: int, name: str) -> IndexedChunk:
    return IndexedChunk(number, name, "", "", tokens=f"词 w{number % 977} n{number}", context_tokens="办法")


def generation(index: TantivyIndex) -> Path:
    found = index._folder("kb").current()
    assert found is not None
    return found


def sizes(index: TantivyIndex) -> list[int]:
    return parts.segments(generation(index))


def alone(index: TantivyIndex) -> bool:
    """Whether nothing lies beside the generation in use."""
    return [path for path in index.root.joinpath("kb").iterdir() if path.is_dir()] == [generation(index)]


@pytest.mark.parametrize(
    "chunks", [1, 7, 8, 100, 1999, 2000, 2001, 2023, 5000, 16_000, 17_000, 20_000, 50_000, 100_000, 135_999, 136_001, 140_000, 300_000]
)
def test_any_number_of_chunks_becomes_one_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunks: int) -> None:
    monkeypatch.setattr(writing, "BUILDING_HEAP_BYTES", 24_000_000)  # short as they are, not all would fit into one commit
    index = TantivyIndex(tmp_path)
    index.rebuild("kb", documents(chunks), watermark=5, chunks=chunks)
    assert sizes(index) == [chunks]
    assert (index.chunk_count("kb"), index.watermark("kb"), index.deleted_share("kb"), index.parts("kb")) == (chunks, 5, 0.0, None)
    assert [hit.chunk_id for hit in index.search("kb", f"n{chunks - 1}", top_k=3)] == [chunks - 1]
    assert len({path.name.split(".")[0] for path in generation(index).glob("*.idx")}) == 1, "files of former segments are gone"


@pytest.mark.parametrize("chunks", [*range(0, 150_000, 997), 135_999, 136_000, 136_001, 1_000_000, 1_088_000, 1_088_001, 8_704_001, 50_000_000])
def test_commits_are_of_a_size_that_merges_level_by_level_in_their_order(chunks: int) -> None:
    amounts = [end - start for start, end in pairwise([0, *parts.commits(chunks), chunks])]
    assert len(amounts) in (1, 8, 64, 512, 4096) and max(amounts) <= 17_020
    if len(amounts) > 8:
        assert 8 * min(amounts) > 10_000 * 2**0.75, "what eight make is of another level than they"
    assert len(amounts) > 1 or chunks <= 2000
    while len(amounts) > 1:
        eights = [amounts[n : n + 8] for n in range(0, len(amounts), 8)]
        assert all(after < before for some in eights for before, after in pairwise(some))
        assert max(amounts) - min(amounts) < 0.68 * 10_000, "of one level"
        amounts = [sum(some) for some in eights]


@pytest.mark.parametrize("chunks", [100, 2500, 17_000, 140_000])
def test_chunks_lie_in_the_order_in_which_they_came(tmp_path: Path, chunks: int) -> None:
    index = TantivyIndex(tmp_path)
    index.rebuild("kb", documents(chunks), watermark=5, chunks=chunks)
    opened = index._reader("kb")
    assert opened is not None
    found = opened._searcher.search(opened._query.all_query(), chunks, count=False).hits
    assert opened._numbers("chunk", [address for _, address in found]) == list(range(chunks))


def test_nothing_is_no_segment(tmp_path: Path) -> None:
    index = TantivyIndex(tmp_path)
    index.rebuild("kb", [], watermark=5, chunks=0)
    assert (sizes(index), index.watermark("kb"), index.parts("kb")) == ([], 5, None)


@pytest.mark.parametrize("told", [0, 1, 3, 2900, 2999, 3001, 3400, 20_000, 10_000_000])
def test_a_wrong_number_makes_no_other_index(tmp_path: Path, told: int) -> None:
    index = TantivyIndex(tmp_path)
    index.rebuild("kb", documents(3000), watermark=5, chunks=told)
    assert (sum(sizes(index)), index.chunk_count("kb"), index.watermark("kb"), index.deleted_share("kb")) == (3000, 3000, 5, 0.0)
    assert all([hit.chunk_id for hit in index.search("kb", f"n{n}", top_k=3)] == [n] for n in range(0, 3000, 211))


def test_a_document_may_come_twice_in_a_build(tmp_path: Path) -> None:
    index = TantivyIndex(tmp_path)
    again = PutDocument("d0", [short(9000, "d0")], level=0)
    index.rebuild("kb", [*documents(3000), again, DeleteDocument("d50")], watermark=5, chunks=3001)
    assert (index.chunk_count("kb"), index.watermark("kb")) == (3000 - 50 - 50 + 1, 5)
    assert [hit.chunk_id for hit in index.search("kb", "n9000", top_k=3)] == [9000] and not index.search("kb", "n7", top_k=3)


def test_chunks_that_fill_the_heap_make_some_segments_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "BUILDING_HEAP_BYTES", 15_000_000)  # the least that tantivy takes
    index = TantivyIndex(tmp_path)

    def large(number: int) -> PutDocument:
        text = " ".join([f"{number}w{n}" for n in range(100)])
        return PutDocument(f"d{number}", [IndexedChunk(number, f"d{number}", "", "", tokens=text, context_tokens="办法")])

    index.rebuild("kb", map(large, range(16_000)), watermark=5, chunks=16_000)
    assert 1 < len(sizes(index)) < 16 and sum(sizes(index)) == 16_000
    assert index.parts("kb") is None, "to do it again would change nothing"


def mixed(number: int) -> PutDocument:
    """Of two to forty terms."""
    chance = random.Random(number)
    name = f"m{number // 3}.{number}"
    text = " ".join(chance.choices(TERMS, k=chance.randrange(2, 41)))
    return PutDocument(name, [IndexedChunk(number, name, "", "", tokens=text, context_tokens=" ".join(chance.choices(TERMS, k=2)))], level=number % 4)


def answers(index: TantivyIndex) -> dict[tuple[str, int | None], list[LexicalHit]]:
    """All that is found, so that no cut falls between equals."""
    chance = random.Random(1)
    questions = [" ".join(chance.sample(TERMS, k)) for k in (1, 2, 3, 5, 8) for _ in range(4)]
    return {(question, level): index.search("kb", question, top_k=5000, max_level=level) for question in questions for level in (None, 1)}


def test_scores_and_order_are_exactly_those_of_many_segments(tmp_path: Path) -> None:
    one, many = TantivyIndex(tmp_path / "one"), TantivyIndex(tmp_path / "many")
    one.rebuild("kb", map(mixed, range(2400)), watermark=9, chunks=2400)
    many.rebuild("kb", [], watermark=0)
    for seq, (start, end) in enumerate(pairwise((0, 1000, 1600, 2000, 2200, 2350, 2400)), 1):
        many.apply("kb", map(mixed, range(start, end)), watermark=seq)
    assert (len(sizes(one)), len(sizes(many))) == (1, 6)
    expected = answers(many)
    assert len(expected) == 40 and all(len(hits) > 60 for hits in expected.values())
    assert answers(one) == expected


# -- what is worth it


@pytest.fixture
def grown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TantivyIndex:
    """An index in five parts."""
    monkeypatch.setattr(parts, "FEWEST", 300)
    return in_parts(TantivyIndex(tmp_path / "index"), (150, 90, 30, 20, 10))


def in_parts(index: TantivyIndex, amounts: Iterable[int]) -> TantivyIndex:
    index.rebuild("kb", [], watermark=0)
    done = 0
    for seq, amount in enumerate(amounts, 1):
        index.apply("kb", [mixed(n) for n in range(done, done + amount)], watermark=seq)
        done += amount
    return index


def test_what_could_be_gained_is_told(grown: TantivyIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    found = grown.parts("kb")
    assert found is not None and (found.chunks, found.count) == (300, 5) and 0 <= found.unchanged_s < 60
    os.utime(generation(grown) / META, (time.time() - 500,) * 2)
    found = grown.parts("kb")
    assert found is not None and 500 <= found.unchanged_s < 560
    monkeypatch.setattr(parts, "FEWEST", 301)
    assert grown.parts("kb") is None and grown.parts("nowhere") is None


@pytest.mark.parametrize(("amounts", "worth"), [((200, 200), False), ((200, 100, 100), True), ((300, 50, 50), False), ((270, 70, 60), True)])
def test_few_parts_or_a_large_one_are_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, amounts: tuple[int, ...], worth: bool) -> None:
    monkeypatch.setattr(parts, "FEWEST", 300)
    assert (in_parts(TantivyIndex(tmp_path), amounts).parts("kb") is not None) is worth


def test_it_counts_what_was_built_together_not_what_tantivy_made_of_it(grown: TantivyIndex) -> None:
    assert grown.parts("kb") is not None
    parts.note_built(generation(grown), 211)
    assert grown.parts("kb") is None
    parts.note_built(generation(grown), 209)
    assert grown.parts("kb") is not None


def test_a_damaged_list_is_no_error(grown: TantivyIndex) -> None:
    (generation(grown) / META).write_bytes(b"{")
    assert grown.parts("kb") is None
