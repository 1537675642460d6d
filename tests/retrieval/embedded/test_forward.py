"""What a chunk covers, read from the forward index: the same as from the sets of terms themselves, whatever became of the segments."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from zlib import crc32

import orjson
import pytest

from qzbrain.errors import Unavailable
from qzbrain.retrieval.base import DeleteDocument, IndexedChunk, NoIndex, PutDocument
from qzbrain.retrieval.embedded.folder import META, POINTER
from qzbrain.retrieval.embedded.forward import covered, numbered
from qzbrain.retrieval.embedded.lexical import TantivyIndex

TERMS = [f"词{n}" for n in range(400)] + [f"word{n}" for n in range(100)] + ["𠮷野家", "é"]
WORDS = [f"zo{a}i{b}o" for a in "bcdfghk" for b in "bdfgklmnpr"]


def test_it_is_the_sum_of_the_weights_of_the_terms_that_are_there() -> None:
    chance = random.Random(4)
    for _ in range(30):
        held = [chance.choices(TERMS, k=chance.randrange(0, 300)) for _ in range(chance.randrange(1, 40))]
        weights = {term: chance.random() for term in chance.sample(TERMS, chance.randrange(1, 60))}
        expected = [sum(weight for term, weight in weights.items() if term in set(terms)) for terms in held]
        assert covered([numbered(" ".join(terms)) for terms in held], weights) == pytest.approx(expected)


@pytest.mark.parametrize("terms", ["", " ", "   "])
def test_a_chunk_without_terms_covers_nothing(terms: str) -> None:
    assert numbered(terms) == b"" and covered([numbered(terms), numbered("罚款")], {"罚款": 2.0}) == [0.0, 2.0]
    assert covered([], {"罚款": 2.0}) == []


def test_each_term_is_kept_once_in_four_bytes() -> None:
    kept = numbered("罚款 警告 罚款 a")
    assert len(kept) == 12
    assert {kept[n : n + 4] for n in (0, 4, 8)} == {crc32(term.encode()).to_bytes(4, "little") for term in ("罚款", "警告", "a")}


def test_terms_of_one_number_are_taken_for_one() -> None:
    assert crc32(b"plumless") == crc32(b"buckeroo")
    assert covered([numbered("plumless"), numbered("other")], {"buckeroo": 0.5, "plumless": 0.25}) == [0.75, 0.0]


def test_numbers_that_agree_in_their_lower_half_alone_are_told_apart() -> None:
    one, other = "条款1623", "条款8000"
    assert crc32(one.encode()) != crc32(other.encode()) and crc32(one.encode()) & 0xFFFF == crc32(other.encode()) & 0xFFFF
    assert covered([numbered(one), numbered(other)], {one: 1.0}) == [1.0, 0.0]


# -- within an index


def put(number: int) -> PutDocument:
    chance = random.Random(number)
    words = " ".join(chance.choices(WORDS[:60], k=12))
    return PutDocument(f"d{number}", [IndexedChunk(number, f"d{number}", "", "", tokens=words, context_tokens=WORDS[60 + number % 7])])


def generation(index: TantivyIndex) -> Path:
    folder = index.root / "kb"
    return folder / (folder / POINTER).read_text()


def listed(index: TantivyIndex) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((generation(index) / META).read_bytes())
    return found


def test_confidence_is_what_text_and_context_cover_also_after_merges_and_deletions(tmp_path: Path) -> None:
    index = TantivyIndex(tmp_path)
    index.rebuild("kb", [put(n) for n in range(50)], watermark=1)
    for seq in range(2, 20):  # so many that segments are merged
        index.apply("kb", [put(n) for n in range(50 * (seq - 1), 50 * seq)] + [DeleteDocument(f"d{seq}")], watermark=seq)
    assert len(listed(index)["segments"]) < 19
    terms = {n: set(put(n).chunks[0].tokens.split()) | {put(n).chunks[0].context_tokens} for n in range(950)}
    pair = [WORDS[3], WORDS[62]]
    hits = index.search("kb", " ".join(pair), top_k=900)
    both = {hit.chunk_id for hit in hits if hit.confidence == 1.0}
    assert both == {n for n, held in terms.items() if set(pair) <= held and n not in range(2, 20)} and len(both) > 5
    assert all(0 < hit.confidence < 1 for hit in hits if hit.chunk_id not in both) and len(hits) > len(both)


def test_stored_blocks_are_small_and_stay_so(tmp_path: Path) -> None:
    index = TantivyIndex(tmp_path)
    index.rebuild("kb", [put(n) for n in range(50)], watermark=1)
    index.apply("kb", [put(77)], watermark=2)
    assert listed(index)["index_settings"] == {"docstore_compression": "none", "docstore_blocksize": 1024}


def test_an_index_whose_stored_part_is_cut_off_is_given_up_not_an_error(tmp_path: Path) -> None:
    index = TantivyIndex(tmp_path)
    index.rebuild("kb", [put(n) for n in range(50)], watermark=1)
    for path in generation(index).glob("*.store"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(NoIndex):
        TantivyIndex(tmp_path).search("kb", WORDS[3], top_k=5)
    with pytest.raises(Unavailable):
        TantivyIndex(tmp_path).apply("kb", [put(78)], watermark=3)
