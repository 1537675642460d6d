"""The sentences that the extractive answerer chooses."""

from __future__ import annotations

from qzbrain.models.extractive import LONGEST_SENTENCE, Source, select

OPERA = "悉尼歌剧院位于悉尼港。它由丹麦建筑师约恩·乌松设计。工程于1959年动工。1973年正式落成，造价一亿零二百万澳元。"
PARK = "公园每天早上六点开门。门票十元。悉尼的夏天很热。"


def chosen(question: str, *texts: str, most: int = 3) -> list[str]:
    sources = [Source(text, 1.0 - 0.2 * i) for i, text in enumerate(texts)]
    return [sources[x.passage].text[x.start : x.end] for x in select(question, sources, most=most)]


def test_the_sentence_that_holds_the_answer_is_among_the_chosen() -> None:
    assert "它由丹麦建筑师约恩·乌松设计。" in chosen("悉尼歌剧院是谁设计的？", OPERA, PARK)


def test_whole_sentences_best_first_and_never_more_than_asked_for() -> None:
    assert chosen("公园门票多少钱？", OPERA, PARK, most=1) == ["门票十元。"]
    assert len(chosen("悉尼歌剧院何时动工、何时落成？", OPERA, PARK)) <= 3


def test_a_question_for_a_date_prefers_sentences_with_dates() -> None:
    text = "歌剧院的动工仪式很隆重。歌剧院的工程于1959年动工。"
    assert chosen("歌剧院何时动工？", text, most=1) == ["歌剧院的工程于1959年动工。"]


def test_the_same_sentence_is_chosen_once() -> None:
    assert chosen("公园门票多少钱？", PARK, PARK).count("门票十元。") == 1


def test_nothing_is_chosen_when_no_term_is_held() -> None:
    assert chosen("量子纠缠退相干", PARK) == []
    assert chosen("的了吗？", PARK) == []
    assert chosen("公园", "") == []


def test_traditional_questions_find_simplified_sentences() -> None:
    assert chosen("公園門票多少錢？", PARK, most=1) == ["门票十元。"]


def test_english_words_are_matched_by_their_stems() -> None:
    text = "The market opens at noon. Anna designed the bridges of the town. It rained."
    assert chosen("Who was designing the bridge?", text, most=1) == ["Anna designed the bridges of the town."]


def test_a_text_without_full_stops_is_cut_at_clauses() -> None:
    text = "公园很大，" * 200 + "门票十元，" + "人很多，" * 200
    picked = chosen("门票多少元？", text, most=1)
    assert "门票十元" in picked[0] and len(picked[0]) <= LONGEST_SENTENCE
