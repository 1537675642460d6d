"""Terms of texts and questions: what must meet, meets; what must not count, does not."""

import subprocess
import sys

import pytest

from qzbrain.text.normalize import searchable
from qzbrain.text.tokenize import index_tokens, preload, query_terms


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("行政處罰法", "行政处罚法"),
        ("顯著，看著", "显着,看着"),
        ("ＧＢ／Ｔ　１２", "gb/t 12"),
        ("Röntgen", "röntgen"),
        ("plain ASCII", "plain ascii"),
        ("", ""),
    ],
)
def test_searchable_folds(text: str, expected: str) -> None:
    assert searchable(text) == expected
    assert searchable(searchable(text)) == searchable(text)


def test_words_and_bigrams_are_mixed() -> None:
    terms = index_tokens("行政处罚法").split()
    assert {"行政", "处罚", "行政处罚法", "政处", "罚法"} <= set(terms)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("GB/T 1234-2020", {"gb/t", "gb", "t", "1234-2020", "1234", "2020", "gb/t1234-2020"}),
        ("GB/T1234-2020", {"gb/t1234-2020", "1234", "2020"}),
        ("含量10.5%以下", {"10.5%", "10", "5", "含量"}),
        ("型号A-12", {"a-12", "12", "型号"}),
        ("C++与v2.3.1", {"c++", "v2.3.1"}),
        ("茶", {"茶"}),
    ],
)
def test_codes_are_kept_whole_and_in_parts(text: str, terms: set[str]) -> None:
    assert terms <= set(index_tokens(text).split())
    assert terms <= set(query_terms(text))


def test_english_is_stemmed_and_folded() -> None:
    assert query_terms("The running dogs of Röntgen") == ["run", "dog", "rontgen"]
    assert set(query_terms("prizes")) == set(query_terms("prize"))


def test_traditional_script_gives_the_same_terms() -> None:
    assert query_terms("著作權法對電腦軟體的規定") == query_terms("著作权法对电脑软体的规定")
    assert index_tokens("著作權法") == index_tokens("著作权法")


def test_a_question_loses_its_question_words_and_no_bigram_reaches_across_them() -> None:
    assert query_terms("战国史的模式是什么？") == query_terms("战国史 模式")
    assert query_terms("什么是 of the 如何！？…") == []


@pytest.mark.parametrize("text", ["", " \n\t", "！@#￥%……", "\x00\x01\x7f", "😀🎉", "́", "a" * 5000, "的" * 5000, "'-'", "...", "\ud800", "中\x00文 \ud800"])
def test_odd_texts_are_no_error(text: str) -> None:
    assert isinstance(query_terms(text), list)
    assert all(term and " " not in term for term in index_tokens(text).split())


def test_terms_of_a_question_are_found_in_the_text_it_was_taken_from() -> None:
    text = "用人单位自用工之日起即与劳动者建立劳动关系。"
    assert set(query_terms(text)) <= set(index_tokens(text).split())


def test_dictionary_is_loaded_on_first_use_only() -> None:
    code = "import sys, qzbrain.text.tokenize; sys.exit(any(m in sys.modules for m in ('rjieba', 'opencc', 'tantivy')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    preload()
    assert "rjieba" in sys.modules
