"""Dates and amounts as values have them."""

from __future__ import annotations

import pytest

from qzbrain.graph.quantities import Quantity, amount, date


@pytest.mark.parametrize(
    "in_order",
    [
        ("公元前221年", "前1年", "25年", "618年", "1368年正月", "1912.1", "1923年8月", "1949-10-01", "1949年10月2日", "二〇〇八年", "2010/5", "2010/5/6"),
        ("500 BC", "44 BC", "March 15, 1564", "April 1564", "26 April 1564", "1 May 1564", "1987"),
        ("公元前5世纪", "8世纪", "十五世纪", "18th century"),
    ],
)
def test_dates_have_an_order(in_order: tuple[str, ...]) -> None:
    read = [date(one) for one in in_order]
    amounts = [one.amount for one in read if one is not None]
    assert len(amounts) == len(in_order) and amounts == sorted(set(amounts))


@pytest.mark.parametrize("text", ["", "不详", "春天", "abc", "约早期"])
def test_what_is_no_date(text: str) -> None:
    assert date(text) is None


@pytest.mark.parametrize(
    ("text", "quantity"),
    [
        ("168cm", Quantity("length", 1.68)),
        ("1.75米", Quantity("length", 1.75)),
        ("8,848.86 米", Quantity("length", 8848.86)),
        ("约350公里", Quantity("length", 350_000.0)),
        ("134.27平方公里", Quantity("area", 134.27e6)),
        ("3万平方米", Quantity("area", 30_000.0)),
        ("1299万人", Quantity("", 12_990_000.0)),
        ("2.1 million", Quantity("", 2_100_000.0)),
        ("522,000", Quantity("", 522_000.0)),
        ("25 元", Quantity("yuan", 25.0)),
        ("1.2亿元", Quantity("yuan", 1.2e8)),
        ("$30", Quantity("dollar", 30.0)),
        ("三百元", Quantity("yuan", 300.0)),
        ("150 kg", Quantity("mass", 150.0)),
        ("2小时", Quantity("time", 7200.0)),
        ("171分钟", Quantity("time", 10_260.0)),
        ("10-20米", Quantity("", 10.0)),
        ("-5", Quantity("", -5.0)),
    ],
)
def test_amounts_are_read_in_base_units(text: str, quantity: Quantity) -> None:
    read = amount(text)
    assert read is not None and read.kind == quantity.kind and read.amount == pytest.approx(quantity.amount)


@pytest.mark.parametrize("text", ["", "不详", "多", "abc"])
def test_what_is_no_amount(text: str) -> None:
    assert amount(text) is None
