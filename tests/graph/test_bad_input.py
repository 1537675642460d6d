"""Files as nobody should make them: each costs what it must and tells what is wrong; beside each stands the like that is read whole."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qzbrain.errors import InvalidRequest, ParseFailed
from qzbrain.graph.base import Fact, Place, Triple
from qzbrain.graph.embedded import SqlGraph
from qzbrain.graph.merging import MOST_MOVED
from qzbrain.graph.qa import Answerer
from qzbrain.graph.reading import LINE_CHARS, examined
from qzbrain.graph.rows import NAME_CHARS
from qzbrain.graph.transfer import BadRow, read
from qzbrain.graph.view import GraphView
from qzbrain.graph.walks import neighbors, path
from qzbrain.storage.database import Database
from qzbrain.storage.migrate import upgrade

Read = tuple[list[tuple[str, str, str]], dict[int, str]]
GOOD = ("甲", "与", "乙")


@pytest.fixture
def store(tmp_path: Path) -> SqlGraph:
    database = Database(tmp_path / "brain.sqlite")
    upgrade(database)
    return SqlGraph(database)


def told(text: str, name: str = "a.csv") -> Read:
    """Triples, and what is said of bad rows."""
    every = list(read(text, name))
    return [(x[1].head, x[1].relation, x[1].tail) for x in every if not isinstance(x, BadRow)], {x.row: x.en for x in every if isinstance(x, BadRow)}


def told_of(file: Path, data: bytes) -> Read:
    file.write_bytes(data)
    with examined(file).facts(file.name) as found:
        every = list(found)
    return [(x[1].head, x[1].relation, x[1].tail) for x in every if not isinstance(x, BadRow)], {x.row: x.en for x in every if isinstance(x, BadRow)}


# -- rows

BAD_CELLS = [
    ("", "empty"), ("  \u3000", "empty"), ("\u200b\ufeff", "empty"), ("甲\x00", "U+0000"), ("甲\x1b", "U+001B"), ("\ufffd甲", "U+FFFD"),
    ("长" * (NAME_CHARS + 1), "at most 2000"),
]  # fmt: skip
GOOD_CELLS = ["。", "甲\u3000乙", "a\tb", "长" * NAME_CHARS, "0", "𠮷野家", "👨‍👩‍👧", "-1", "=1+1", "<b>", "null"]


@pytest.mark.parametrize(("cell", "said"), BAD_CELLS)
@pytest.mark.parametrize("column", [0, 1, 2])
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_cell_that_is_no_name_costs_its_row_and_is_told(form: str, column: int, cell: str, said: str) -> None:
    triples, bad = told(_file(form, [GOOD, tuple(cell if n == column else x for n, x in enumerate(GOOD)), GOOD]), f"a.{form}")
    assert triples == [GOOD, GOOD]
    (row,), (text,) = bad.keys(), bad.values()
    assert row == (3 if form == "csv" else 2)
    assert ("head", "relation", "tail")[column] in text
    assert said in text or (column == 1 and "at most 255" in text)


@pytest.mark.parametrize("cell", GOOD_CELLS)
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_strange_name_is_a_name(form: str, cell: str) -> None:
    triples, bad = told(_file(form, [GOOD, (cell, "与", "乙"), ("甲", "与", cell)]), f"a.{form}")
    assert (triples, bad) == ([GOOD, (cell, "与", "乙"), ("甲", "与", cell)], {})


def _file(form: str, rows: list[tuple[str, ...]]) -> str:
    import csv
    import io

    import orjson

    if form == "jsonl":
        return "".join(orjson.dumps(dict(zip(("head", "relation", "tail"), row, strict=True))).decode() + "\n" for row in rows)
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([("head", "relation", "tail"), *rows])
    return out.getvalue()


# -- literals of ten megabytes

TEN_MB = 10 << 20


@pytest.mark.parametrize(
    ("name", "before", "after", "row"),
    [
        ("a.csv", "head,relation,tail\n甲,与,", "\n甲,与,乙\n", 2),
        ("a.csv", 'head,relation,tail\n甲,与,"', '"\n甲,与,乙\n', 2),
        ("a.jsonl", '{"head":"甲","relation":"与","tail":"', '"}\n{"head":"甲","relation":"与","tail":"乙"}\n', 1),
    ],
)
def test_a_literal_of_ten_megabytes_costs_its_row_alone_and_little_memory(tmp_path: Path, name: str, before: str, after: str, row: int) -> None:
    tracemalloc.start()
    data = before.encode() + b"x" * TEN_MB + after.encode()
    tracemalloc.reset_peak()
    held = tracemalloc.get_traced_memory()[0]
    triples, bad = told_of(tmp_path / name, data)
    peak = tracemalloc.get_traced_memory()[1] - held
    tracemalloc.stop()
    assert triples == [GOOD] and list(bad) == [row] and str(LINE_CHARS) in bad[row]
    assert peak < 24 << 20, "a sample of four megabytes, decoded; never the line"


def test_a_graphml_value_of_ten_megabytes_costs_its_edge_alone() -> None:
    nodes = '<node id="a"><data key="name">甲</data></node><node id="b"><data key="name">' + "长\n" * (TEN_MB // 4) + "</data></node>"
    edges = '<edge source="a" target="b" label="与"/>\n<edge source="a" target="a" label="与"/>'
    triples, bad = told(f"<graphml><graph>{nodes}\n{edges}</graph></graphml>", "a.graphml")
    assert triples == [("甲", "与", "甲")] and len(bad) == 1 and "at most 2000" in next(iter(bad.values()))


def test_a_file_that_is_one_long_line_is_read_where_its_kind_has_no_lines() -> None:
    nodes = "".join(f'<node id="n{n}"><data key="name">企业{n}</data></node>' for n in range(20_000))
    edges = "".join(f'<edge source="n{n}" target="n{n + 1}" label="之后"/>' for n in range(19_999))
    graphml = f"<?xml version='1.0'?><graphml><graph>{nodes}{edges}</graph></graphml>"
    array = "[" + ",".join(f'{{"head":"企业{n}","relation":"之后","tail":"企业{n + 1}","source":"表"}}' for n in range(19_999)) + "]"
    for text, name in ((graphml, "a.graphml"), (array, "a.json")):
        assert len(text) > LINE_CHARS and "\n" not in text
        triples, bad = told(text, name)
        assert not bad and len(triples) == 19_999 and triples[-1] == ("企业19998", "之后", "企业19999")


def test_a_literal_as_long_as_may_be_is_read(tmp_path: Path) -> None:
    triples, bad = told_of(tmp_path / "a.csv", ("head,relation,tail\n甲,与," + "长" * NAME_CHARS).encode())
    assert (triples, bad) == ([("甲", "与", "长" * NAME_CHARS)], {})


def test_open_quotation_marks_cost_their_rows_and_bounded_time() -> None:
    rows = 3000
    text = "head,relation,tail\n" + "".join('甲,"与,乙\n' + "甲,与,丙\n" * 3 for _ in range(rows))
    begun = time.thread_time()
    _, bad = told(text)
    assert time.thread_time() - begun < 10
    assert bad and all("quotation" in said or "cannot be read" in said for said in bad.values())
    few, bad_few = told('head,relation,tail\n甲,"与,乙\n甲,与,丙\n甲,与,丁\n')
    assert few == [("甲", "与", "丙"), ("甲", "与", "丁")] and list(bad_few) == [2]


# -- encodings

CHINESE = "头实体,关系,尾实体\n" + "".join(f"公司{n},董事长,张三{n}\n" for n in range(300))


@pytest.mark.parametrize("encoding", ["gbk", "gb18030", "big5", "utf-16", "utf-8-sig", "utf-8"])
def test_files_of_other_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    text = CHINESE.replace("头", "頭").replace("实体", "實體").replace("关系", "關係") if encoding == "big5" else CHINESE
    text = text.replace("頭實體,關係,尾實體", "head,relation,tail").replace("头实体,关系,尾实体", "head,relation,tail")
    text = text.replace("张", "張").replace("长", "長").replace("董事", "董事") if encoding == "big5" else text
    triples, bad = told_of(tmp_path / "a.csv", text.encode(encoding))
    assert len(triples) == 300 and not bad and triples[7][0] == "公司7"


def test_bytes_that_are_no_text_are_refused_and_a_broken_one_costs_its_row(tmp_path: Path) -> None:
    with pytest.raises(ParseFailed) as refused:
        told_of(tmp_path / "a.csv", bytes(range(256)) * 64)
    assert refused.value.code == "garbled" and refused.value.zh
    lines = [f"公司{n},董事长,张三{n}\n".encode() for n in range(300)]
    lines[9] = "公司9,董事长,张".encode() + b"\xff\xfe" + "三\n".encode()
    triples, bad = told_of(tmp_path / "a.csv", b"".join(lines))
    assert len(triples) == 299 and list(bad) == [10] and "U+FFFD" in bad[10]


def test_nul_bytes_in_a_file_cost_their_rows(tmp_path: Path) -> None:
    triples, bad = told_of(tmp_path / "a.csv", ("head,relation,tail\n" + "甲,与,乙\n" * 50 + "甲\0,与,丙\n" + "甲,与,丁\n").encode())
    assert len(triples) == 51 and list(bad) == [52] and "U+0000" in bad[52]


# -- files that are not what they seem

@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("head,tail\n甲,乙\n", "missing_columns"), ("主语,谓语,备注\n甲,与,乙\n", "missing_columns"), ("[{}\n", "bad_json"),
        ("<graphml><graph><node id='a'/>", "bad_graphml"), ("<html></html>", "bad_graphml"),
        ('<!DOCTYPE g [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><graphml>&b;</graphml>', "xml_entities"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_says_why(text: str, code: str) -> None:
    with pytest.raises(ParseFailed) as refused:
        told(text)
    assert refused.value.code == code and refused.value.zh and refused.value.en


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("tail,备注,head,relation\n乙,?,甲,与\n", "a.csv"), ("主语,谓语,宾语\n甲,与,乙\n", "a.csv"), ("甲;与;乙\n", "a.txt"),
        ("Source,Target,Label\n甲,乙,与\n", "a.csv"),
        ('[{"head":"甲","relation":"与","tail":"乙"}]', "a.json"), ('{"主语":"甲","谓语":"与","宾语":"乙"}\n', "a.txt"),
        ("<graphml><graph><edge source='甲' target='乙'><data key='relation'>与</data></edge></graph></graphml>", "a.graphml"),
    ],
)  # fmt: skip
def test_its_like_that_can(text: str, name: str) -> None:
    assert told(text, name) == ([GOOD], {})


# -- names that go round in a circle

def test_aliases_that_go_round_in_a_circle_name_each_entity_once(store: SqlGraph) -> None:
    text = "head,relation,tail,aliases\n甲,与,丁,乙|甲\n乙,与,丁,丙|甲\n丙,与,丁,甲\n"
    facts = [x[1] for x in read(text, "a.csv") if not isinstance(x, BadRow)]
    assert len(facts) == 3
    for _ in range(2):
        store.add("kb", facts)
        stats = store.stats("kb")
        assert (stats.entities, stats.triples) == (2, 1), "甲, 乙 and 丙 are one, since each says so; no longer chain comes of asking again"
    (entity,) = store.search("kb", "丙", limit=5)
    assert sorted([entity.name, *entity.aliases]) == ["丙", "乙", "甲"]


def test_a_name_that_two_claim_stays_its_own(store: SqlGraph) -> None:
    text = "head,relation,tail,aliases\n甲,与,丁,丙\n乙,与,丁,丙\n丙,与,丁,\n"
    store.add("kb", [x[1] for x in read(text, "a.csv") if not isinstance(x, BadRow)])
    assert {one.name for one in store.search("kb", "丙", limit=5)} >= {"甲", "乙", "丙"}
    assert store.stats("kb").entities == 4


# -- hubs

def test_a_hub_of_a_million_triples_is_asked_and_walked_at_a_bounded_cost() -> None:
    size = 1_000_000
    names = ["中心", *(f"节点{n}号" for n in range(2000))]
    heads = (np.arange(size, dtype=np.int32) % 2000) + 1
    kinds = ((np.arange(size) // 2000) % 500).astype(np.int32)
    tails = np.zeros(size, np.int32)
    heads[:2000], tails[:2000] = 0, np.arange(1, 2001)
    relations = [f"关系{n}号" for n in range(500)]
    numbers = np.arange(1, size + 1)
    view = GraphView(1, np.arange(1, 2002), names, [""] * 2001, [], relations, numbers, heads, kinds, tails)
    asked = Answerer(view)
    assert view.degree(0) == size and len(view.linker) == 2001
    for act in (
        lambda: asked.ranked("中心的关系7号是什么", top_k=10),
        lambda: asked.ranked("节点8号的关系3号的关系2号是什么", top_k=10),
        lambda: neighbors(view, 0, depth=3, relation=None, most=200),
        lambda: path(view, 1, 2000, max_hops=6),
    ):
        _within(act, 1.0)
    assert len(neighbors(view, 0, depth=1, relation=None, most=200)) == 200


def _within(act: Callable[[], object], seconds: float) -> None:
    begun = time.thread_time()
    assert act() is not None
    assert time.thread_time() - begun < seconds


def test_what_is_told_of_a_hub_costs_no_more_than_of_others(store: SqlGraph) -> None:
    place = Place("import")
    for start in range(0, 40_000, 10_000):
        store.add("kb", [Fact(f"叶{n}", "属于", "中心", place) for n in range(start, start + 10_000)])
    store.add("kb", [Fact("枝", "长于", "干", place)])
    ids = [one.id for one in _first(store, 100)]
    small, large = (min(_took(store, some) for _ in range(5)) for some in ([ids[0], 40_001], ids[:2]))
    assert large < small * 5 + 0.005
    (hub,) = store.search("kb", "中心", limit=1)
    assert hub.degree == 40_000
    (leaf,) = store.search("kb", "叶39999", limit=1)
    with pytest.raises(InvalidRequest) as refused:
        store.merge("kb", leaf.id, [hub.id], author="local")
    assert refused.value.code == "too_much_to_merge" and str(MOST_MOVED) in refused.value.zh
    before = store.stats("kb").triples
    merge_id = store.merge("kb", hub.id, [leaf.id], author="local")
    store.undo_merge("kb", merge_id)
    assert store.stats("kb").triples == before


def _first(store: SqlGraph, count: int) -> list[Triple]:
    return [one for one, _ in zip(store.every_triple("kb"), range(count), strict=False)]


def _took(store: SqlGraph, ids: list[int]) -> float:
    begun = time.thread_time()
    assert len(store.triples("kb", ids)) == len(ids)
    return time.thread_time() - begun
