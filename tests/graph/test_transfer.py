"""Triples in files: what is read, what is refused by row, what is written."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from qzbrain.graph.base import Entity, Fact, Place, Triple
from qzbrain.graph.transfer import BadRow, read, write


def facts(text: str, name: str = "a.csv") -> list[tuple[str, str, str]]:
    return [(x[1].head, x[1].relation, x[1].tail) for x in read(text, name) if not isinstance(x, BadRow)]


def bad(text: str, name: str = "a.csv") -> list[int]:
    return [x.row for x in read(text, name) if isinstance(x, BadRow)]


@pytest.mark.parametrize("header", ["head,relation,tail\n", "头实体,关系,尾实体\n", "Subject,Predicate,Object\n", ""])
def test_columns_by_their_names_or_their_order(header: str) -> None:
    assert facts(header + "张三,任职于,某公司\n\n李四, 住在 ,北京\n") == [("张三", "任职于", "某公司"), ("李四", "住在", "北京")]


def test_columns_in_any_order_with_types_aliases_and_source() -> None:
    text = "来源\t别名\ttail\trelation\thead\thead_type\n人事处\t张老三|小张；张三\t某公司\t任职于\t张三\t人\n"
    (row, fact), = (x for x in read(text, "a.tsv") if not isinstance(x, BadRow))
    assert row == 2
    assert fact == Fact("张三", "任职于", "某公司", Place("import", source="人事处"), "人", "", ("张老三", "小张"))


def test_json_lines() -> None:
    text = '{"head":"a1","relation":"r","tail":2023,"aliases":["A-1"]}\n\nnonsense\n[1]\n{"head":"a1","relation":"","tail":"b"}\n'
    text += '{"头实体":"甲","关系":"与","尾实体":"乙"}\n'
    assert facts(text, "a.jsonl") == [("a1", "r", "2023"), ("甲", "与", "乙")]
    assert bad(text, "a.jsonl") == [3, 4, 5]


def test_bad_rows_are_told_by_their_number_and_the_rest_is_read() -> None:
    text = 'head,relation,tail\n,有,空\n甲,,乙\n甲,与\n甲,与,"乙\n丙"\n甲,与,\x00\n甲,与,' + "长" * 3000 + "\n甲,与,丁\n"
    assert facts(text) == [("甲", "与", "乙\n丙"), ("甲", "与", "丁")]
    assert bad(text) == [2, 3, 4, 7, 8], "a row of two lines counts as two, as an editor shows it"


TRIPLES = [
    Triple(7, Entity(1, 'a"<b>&', "人", ("x", "y")), "关系", Entity(2, "c,\\d\n", ""), (Place("import", source="s"),)),
    Triple(9, Entity(2, "c,\\d\n", ""), "回", Entity(1, 'a"<b>&', "人", ("x", "y"))),
]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_what_is_written_is_read_again(form: str) -> None:
    text = "".join(write(TRIPLES, form))  # type: ignore[arg-type]
    again = [x[1] for x in read(text.removeprefix("\ufeff"), f"a.{form}") if not isinstance(x, BadRow)]
    assert again == [
        Fact('a"<b>&', "关系", "c,\\d", Place("import", source="s"), "人", "", ("x", "y")),
        Fact("c,\\d", "回", 'a"<b>&', Place("import"), "", "人"),
    ]


def test_graphml_is_well_formed() -> None:
    tree = ElementTree.fromstring("".join(write(TRIPLES, "graphml")))
    space = "{http://graphml.graphdrawing.org/xmlns}"
    assert len(tree.findall(f".//{space}node")) == 2 and len(tree.findall(f".//{space}edge")) == 2
    assert tree.find(f".//{space}data[@key='name']").text == 'a"<b>&'  # type: ignore[union-attr]
