"""Which names look alike, and why."""

from __future__ import annotations

import pytest

from qzbrain.graph.likeness import SCORES, alike

T = "组织"


@pytest.mark.parametrize(
    ("left", "right", "reason"),
    [
        ("《中华人民共和国刑法》", "中华人民共和国刑法", "marks"), ("「晨光」", "晨光", "marks"), ("晨光文具股份有限公司", "晨光文具", "company"),
        ("晨光集团", "晨光", "company"), ("Acme Co., Ltd.", "acme", "company"), ("晨光文具股份有限公司", "晨光文具有限责任公司", "form"),
        ("中华人民共和国刑法", "刑法", "region"), ("上海晨光文具股份有限公司", "晨光文具", "region"), ("晨光文具（上海）", "晨光文具", "outside"),
        ("造纸厂（晨光集团）", "晨光集团", "inside"), ("环球唱片（UMG）", "UMG", "inside"),
        ("中國石油", "石油", "region"),
    ],
)  # fmt: skip
def test_pairs_with_their_reason(left: str, right: str, reason: str) -> None:
    found = list(alike([(left, T), (right, T)]))
    assert [(one.reason, one.score) for one in found] == [(reason, SCORES[reason])]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("晨光文具", "恒丰文具"), ("1998年", "1999年"), ("(1)", "1"), ("2.5%", "25%"), ("公司", "有限公司"), ("李明", "李明亮"), ("行政处罚法", "行政许可法"),
        ("", "《》"), ("晨光文具（日本）", "日本"), ("第一轮（2000年）", "2000年"), ("(dpi)420", "420"), ("浙江大学", "大学"), ("青岛市民政局", "民政局"),
        ("1950年（庚寅）", "1950年"), ("11，13公司", "11，13"),
    ],
)  # fmt: skip
def test_what_is_no_pair(left: str, right: str) -> None:
    assert list(alike([(left, T), (right, T)])) == []


def test_types_matter() -> None:
    assert [(x.reason, x.score) for x in alike([("晨光", "组织"), ("晨光", "产品")])] == [("same_name", SCORES["same_name"])]
    assert list(alike([("晨光", "组织"), ("晨光", "")])) == []  # one by itself
    assert next(iter(alike([("晨光集团", "组织"), ("晨光", "地点")]))).score == pytest.approx(SCORES["company"] * 0.8)


def test_a_form_that_too_many_share_says_nothing() -> None:
    forms = ("有限公司", "股份有限公司", "集团有限公司", "公司", "总公司", "集团", "股份公司", "有限责任公司", "集团股份有限公司")
    assert list(alike([(f"晨光{form}", T) for form in forms])) == []


def test_many_names_cost_little() -> None:
    import time

    began = time.monotonic()
    assert list(alike([(f"第{n}号研究所", T) for n in range(20_000)])) == []
    assert time.monotonic() - began < 5
