"""Edits as pure functions: random edits of random chunks, brought into the text again and taken back."""

from __future__ import annotations

import random

from qzbrain.knowledge.edits import Edit, Piece, compared, original, reapplied, replaced


def pieces_of(length: int, size: int, overlap: int) -> list[Piece]:
    return [Piece(start, min(start + size, length)) for start in range(0, max(1, length - overlap), size - overlap)]


def test_random_edits_keep_every_piece_literal_and_can_be_taken_back() -> None:
    dice = random.Random(7)
    for _ in range(200):
        text = "".join(dice.choice("甲乙丙 a1。\n") for _ in range(dice.randint(20, 120)))
        begun, edits = text, list[Edit]()
        pieces = pieces_of(len(text), 20, 6)
        for number in range(1, 5):
            alive = [x for x in pieces if x.end > x.start]
            target = dice.choice(alive)
            start, end = target.start, target.end
            before, after = text[start:end], "".join(dice.choice("甲丁b ") for _ in range(dice.randint(1, 30))).strip() or "丁"
            text = replaced(text, pieces, start, end, after)
            assert text[start:start + len(after)] == after
            assert (target.start, target.end) == (start, start + len(after))
            assert all(0 <= x.start <= x.end <= len(text) for x in pieces)
            edits.append(Edit(number, "text", start, end, before, after))
        assert original(text, edits) == begun
        again, outcomes = reapplied(begun, pieces_of(len(begun), 33, 5), edits)
        assert again == text
        assert outcomes == edits


def test_an_edit_moves_with_its_words_or_is_lost() -> None:
    edit = Edit(1, "text", 0, 2, "十日", "二十日")
    assert reapplied("应在十日内付款", [], [edit])[0] == "应在二十日内付款"
    for text in ("应在五日内付款", "先十日，再十日" * 2):
        again, outcomes = reapplied(f"前{text}", [], [edit])
        assert again == f"前{text}"
        assert not outcomes[0].applies


def test_a_comparison_reads_as_both_texts() -> None:
    for before, after in (("应在十日内付款。", "应在二十日内付清。"), ("", "新"), ("a b", "a b"), ("x" * 9000, "y z " * 9000)):
        changes = compared(before, after)
        assert "".join(x.text for x in changes if x.op != "insert") == before
        assert "".join(x.text for x in changes if x.op != "delete") == after


def test_a_text_that_the_edits_did_not_make_is_its_own_original() -> None:
    assert original("别的文本", [Edit(1, "text", 0, 2, "十日", "二十日")]) == "别的文本"
