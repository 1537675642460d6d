"""Chinese numerals and article keys."""

from __future__ import annotations

import pytest

from qzbrain.text.numerals import article_key, article_label, article_mentions, chinese_number, chinese_numeral


@pytest.mark.parametrize(("numeral", "value"), [
    ("十", 10), ("十二", 12), ("二十", 20), ("一百零一", 101), ("一百一十", 110), ("一百二十", 120), ("一千零四十二", 1042), ("两千", 2000),
    ("二〇二一", 2021), ("一万二千", 12000), ("12", 12), ("１２", 12), ("〇", 0), ("贰拾", 20),
])
def test_value(numeral: str, value: int) -> None:
    assert chinese_number(numeral) == value


@pytest.mark.parametrize("text", ["", "甲", "十甲", "1.5", "-3"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        chinese_number(text)


def test_numerals_and_values_agree_both_ways() -> None:
    assert all(chinese_number(chinese_numeral(value)) == value for value in range(10_000))
    with pytest.raises(ValueError):
        chinese_numeral(10_000)


@pytest.mark.parametrize(("label", "key"), [
    ("第一百二十条之一", "120-1"), ("第十二条", "12"), ("第12条", "12"), ("第 12 條", "12"), ("第十二条第二款", "12"), ("无", ""), ("第三章", ""),
])
def test_article_key(label: str, key: str) -> None:
    assert article_key(label) == key


def test_article_label() -> None:
    assert [article_label(key) for key in ("12", "120-1", "1042", "10000")] == ["第十二条", "第一百二十条之一", "第一千零四十二条", "第10000条"]
    with pytest.raises(ValueError):
        article_label("twelve")


def test_mentions_know_articles_from_other_words() -> None:
    text = "依照民法典第一千零四十二条和第12条，第一条件不算，第三条路也不算，see Article 7，第二百八十条之二。"
    found = article_mentions(text)
    assert [mention.key for mention in found] == ["1042", "12", "7", "280-2"]
    assert [text[mention.start:mention.end] for mention in found] == ["第一千零四十二条", "第12条", "Article 7", "第二百八十条之二"]
