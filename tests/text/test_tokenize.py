"""Terms of texts and questions: what must meet, meets; what must not count, does not."""

import re
import subprocess
import sys
import unicodedata
from random import Random

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


@pytest.mark.parametrize("seed", range(20))
def test_each_pair_of_neighbours_in_a_chinese_run_is_a_term_as_often_as_it_stands_there(seed: int) -> None:
    random = Random(seed)
    text = "".join(random.choice("龘靐齉爩𠮷龖，。 \n\x1e1") for _ in range(200))  # no dictionary has these: all longer words are pairs
    pairs = [run[n : n + 2] for run in re.findall(r"[^，。 \n\x1e1]+", text) for n in range(len(run) - 1)]
    assert sorted(term for term in index_tokens(text).split(" ") if len(term) == 2 and not term[0].isdecimal() and not term[1].isdecimal()) == sorted(pairs)
    assert "" not in index_tokens(text).split(" ")  # the blanks are counted as the length of a text


@pytest.mark.parametrize("text", ["（一）甲：乙；丙，丁！戊？\u3000己", "e\u0301，\u0301", "ﬁ（①）\u1112\u1161\u11ab", "，\u0338；\u0338"])
def test_full_width_marks_are_folded_as_nfkc_does(text: str) -> None:
    assert searchable(text) == unicodedata.normalize("NFKC", text).lower()


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


@pytest.mark.parametrize(
    ("written", "asked"),
    [
        ("执行GB/T 1234-2020。", ["GB/T 1234-2020", "GB/T1234—2020", "ＧＢ／Ｔ　１２３４－２０２０", "gbt1234-2020", "GB/T1234"]),
        ("按GB 50016—2014设计", ["GB50016-2014", "GB50016", "GB 50016 – 2014", "gb 50016-2014"]),
        ("ISO 9001:2015 certified", ["ISO9001", "ISO9001:2015", "ISO 9001：2015"]),
        ("型号CX-300B/2的泵", ["CX300B/2", "CX 300B/2", "cx－300b/2"]),
        ("第38集团军某旅", ["38集团军", "第 38 集团军", "第３８集团军"]),
        ("91551部队", ["91551 部队"]),
        ("歼-20列装", ["歼20", "歼—20"]),
        ("国发〔2023〕12号文件", ["国发[2023]12号", "国发（2023）12号", "国发【2023】第12号"]),
        ("自2023年5月1日起", ["2023-05-01", "2023/5/1", "2023.5.1", "2023 年 5 月 1 日"]),
        ("电话138 0013 8000", ["13800138000", "138-0013-8000"]),
        ("upgraded to v1.2.3", ["1.2.3", "V1.2.3"]),
        ("CVE-2021-44228", ["CVE 2021-44228", "cve-2021-44228"]),
        ("mail to a.b@example.com", ["A.B@example.com"]),
    ],
)
def test_a_code_meets_the_other_ways_to_write_it(written: str, asked: list[str]) -> None:
    """In a term of its own, beside its parts: one that the same digits elsewhere do not have."""
    terms = set(index_tokens(written).split())
    digits = re.compile(r"\d{1,5}|[a-z]{1,3}")
    for form in asked:
        shared = {term for term in query_terms(form) if term in terms}
        assert any(not digits.fullmatch(term) for term in shared), form


def test_numbers_that_are_no_dates_or_codes_stay_what_they_are() -> None:
    terms = set(index_tokens("in 3.5 about 2023.15.1 and 1990-2000, at 12 noon, item 7").split())
    assert not {"in3.5", "2023-15", "1990-20", "at12", "item7"} & terms
    assert not any("2000" in term and term not in ("2000", "1990-2000") for term in terms)


def test_hostile_numbers_take_no_time_and_are_no_error() -> None:
    for text in ("1-" * 30_000, "2023年" * 20_000, "1 " * 30_000, "a-1" * 20_000, "９" * 50_000, "甲1" * 20_000, "〔2023〕" * 10_000, "v" * 3 + "-1—" * 9_000):
        assert all(len(term) <= 130 for term in index_tokens(text).split())
