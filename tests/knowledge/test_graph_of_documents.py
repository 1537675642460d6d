"""What documents state about themselves is in the graph with them, and goes with them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import func, select, update

from qzbrain.brain import Brain, build
from qzbrain.domain import AddedDocument, Caller, Document
from qzbrain.graph.base import Fact, Place
from qzbrain.knowledge.packs.writing import Choice
from qzbrain.settings import Settings
from qzbrain.storage.tables import chunks, documents, graph_links, graph_names
from qzbrain.worker import Workplace

Triples = set[tuple[str, str, str, str, str, str, str]]

NAMES = ("甲", "乙", "丙", "丁")


def law(name: str, random: Random) -> str:
    """A regulation that names its own articles and those of others, and defines some terms."""
    lines = [f"# {name}类采购办法", "", "## 第一章 总则", ""]
    for number in range(1, random.randrange(5, 9)):
        other = random.choice(NAMES)
        said = random.choice(
            [
                f"违反本办法第{'一二三四五六七八'[random.randrange(8)]}条规定的，处以罚款。",
                f"依照《{other}类采购办法》第{'一二三四'[random.randrange(4)]}条的规定办理。",
                f"本办法所称{other}类货物，是指用于{name}的各种货物和服务。",
                "采购应当公开、公平、公正，保护供应商的合法权益。",
            ]
        )
        lines += [f"第{'一二三四五六七八'[number - 1]}条 {said}", ""]
    return "\n".join(lines)


def said(brain: Brain, kb_id: str) -> Triples:
    """All that a graph says and where, by the names of documents; ids aside."""
    names = {row.id: row.name for row in brain.db.rows(select(documents.c.id, documents.c.name))}
    places = {row.id: (row.start, row.end) for row in brain.db.rows(select(chunks.c.id, chunks.c.start, chunks.c.end))}
    found: Triples = set()
    for one in brain.graph.every_triple(kb_id):
        for place in one.places:
            if place.document_id:
                first, last = places[place.chunk_id]
                assert first <= place.start < last or place.quote == "", (first, last, place)
            aliases = "|".join(sorted(one.head.aliases))
            found.add((one.head.name, one.head.type, aliases, one.relation, one.tail.name, names.get(place.document_id, ""), place.quote))
    return found


def links(brain: Brain, kb_id: str) -> set[tuple[str, str, int, int]]:
    """(name, document, ordinal of its chunk, times)."""
    query = select(graph_names.c.name_key, documents.c.name, chunks.c.ordinal, graph_links.c.count)
    query = query.join(graph_links, graph_links.c.name_id == graph_names.c.id).join(chunks, chunks.c.id == graph_links.c.chunk_id)
    return {tuple(row) for row in brain.db.rows(query.join(documents, documents.c.id == chunks.c.document_id).where(graph_names.c.kb_id == kb_id))}  # type: ignore[misc]


def kb_id_of(brain: Brain, caller: Caller, name: str) -> str:
    return brain.access.resolve(caller, [name])[0].id


@pytest.fixture
def put(brain: Brain, caller: Caller) -> Callable[[str, str, str], AddedDocument]:
    """Upload a text under a name."""
    return lambda kb, name, text: brain.knowledge.add_file(caller, kb, name, io.BytesIO(text.encode()))


@pytest.mark.parametrize("seed", range(6))
def test_the_graph_is_what_the_documents_that_are_left_make(
    brain: Brain, caller: Caller, work: Callable[[], None], put: Callable[..., AddedDocument], seed: int
) -> None:
    random = Random(seed)
    texts: dict[str, str] = {}
    brain.knowledge.create(caller, name="changed")
    brain.knowledge.create(caller, name="fresh")
    ids = {name: kb_id_of(brain, caller, name) for name in ("changed", "fresh")}
    imported = [Fact("甲类采购办法", "发布机关", "财政部", Place("import", source="表"), head_type="法规"), Fact("罚款", "属于", "处罚", Place("import"))]
    for kb in ids.values():
        brain.graph.add(kb, imported)
    there: dict[str, str] = {}
    for _ in range(9):
        name = random.choice(NAMES)
        if name in there and random.random() < 0.4:
            brain.knowledge.delete_document(caller, there.pop(name))
            texts.pop(name)
        elif name not in there or random.random() < 0.7:
            if name in there:
                brain.knowledge.delete_document(caller, there.pop(name))
            texts[name] = law(name, random)
            there[name] = put("changed", f"{name}.md", texts[name]).id or ""
        if random.random() < 0.5:
            work()
    work()
    for name in random.sample(sorted(texts), len(texts)):
        put("fresh", f"{name}.md", texts[name])
    work()
    assert said(brain, ids["changed"]) == said(brain, ids["fresh"])
    assert links(brain, ids["changed"]) == links(brain, ids["fresh"])
    stats = [brain.graph.stats(one) for one in ids.values()]
    assert replace(stats[0], version=0) == replace(stats[1], version=0)
    for name in list(there):
        brain.knowledge.delete_document(caller, there.pop(name))
    work()
    assert {one[0] for one in said(brain, ids["changed"])} == {"甲类采购办法", "罚款"} and links(brain, ids["changed"]) == set()


LAW = """# 采购管理办法

## 第一章 总则

第一条 为了规范采购，制定本办法。

第二条 采购金额超过五十万元的，须经董事会批准。本办法所称董事会，是指公司的决策机关。

## 第二章 附则

第三条 违反本办法第二条规定的，依照《公司法》第二十条的规定处理。
"""


def facts(brain: Brain, kb: str) -> list[tuple[str, str, str]]:
    return sorted((one.head.name, one.relation, one.tail.name) for one in brain.graph.every_triple(kb))


REFERS = ("采购管理办法第三条", "引用", "采购管理办法第二条")


def test_facts_are_there_when_the_document_is_ready(brain: Brain, caller: Caller, kb: str, add: Callable[..., AddedDocument], work: Callable[[], None]) -> None:
    add(LAW, "a.md")
    work()
    found = facts(brain, kb_id_of(brain, caller, kb))
    assert REFERS in found and ("采购管理办法第三条", "引用", "公司法第二十条") in found and ("董事会", "是指", "公司的决策机关") in found
    assert ("采购管理办法", "包含", "采购管理办法 第一章 总则") in found and ("采购管理办法 第一章 总则", "包含", "采购管理办法第一条") in found


def test_a_corpus_and_a_text_of_no_regulation_state_nothing(
    brain: Brain, caller: Caller, kb: str, add: Callable[..., AddedDocument], work: Callable[[], None]
) -> None:
    add("\n".join(json.dumps({"id": f"x{n}", "text": f"第{n}条 本文所称甲，是指乙。"}, ensure_ascii=False) for n in range(5)), "c.jsonl")
    add("# 报告\n\n## 概述\n\n内容。\n\n## 结论\n\n内容二。\n", "r.md")
    work()
    assert facts(brain, kb_id_of(brain, caller, kb)) == []


def test_edits_of_chunks_change_what_is_stated(
    brain: Brain, caller: Caller, kb: str, add: Callable[..., AddedDocument], work: Callable[[], None]
) -> None:
    document_id = add(LAW, "a.md").id or ""
    work()
    kb_id = kb_id_of(brain, caller, kb)
    before = facts(brain, kb_id)
    chunk = next(x for x in brain.knowledge.chunks(caller, document_id).data if "违反" in x.text)
    edited = brain.knowledge.edit_chunk(caller, document_id, chunk.id, text=chunk.text.replace("第二条", "第一条"))
    assert REFERS not in facts(brain, kb_id) and ("采购管理办法第三条", "引用", "采购管理办法第一条") in facts(brain, kb_id)
    off = brain.knowledge.edit_chunk(caller, document_id, edited.id, enabled=False)
    assert not any(one[0] == "采购管理办法第三条" for one in facts(brain, kb_id))
    on = brain.knowledge.edit_chunk(caller, document_id, off.id, enabled=True)
    brain.knowledge.edit_chunk(caller, document_id, on.id, text=chunk.text)
    assert facts(brain, kb_id) == before
    work()
    assert said(brain, kb_id)


def test_a_rechunked_base_states_the_same(brain: Brain, caller: Caller, kb: str, add: Callable[..., AddedDocument], work: Callable[[], None]) -> None:
    add(LAW, "a.md")
    work()
    kb_id = kb_id_of(brain, caller, kb)
    before = said(brain, kb_id)
    brain.knowledge.rechunk(caller, kb, chunk_chars=60, overlap_chars=10)
    work()
    assert said(brain, kb_id) == before


def test_an_older_brain_gets_its_graph_in_the_background(
    brain: Brain, caller: Caller, kb: str, add: Callable[..., AddedDocument], work: Callable[[], None]
) -> None:
    add(LAW, "a.md")
    work()
    kb_id = kb_id_of(brain, caller, kb)
    before = said(brain, kb_id)
    brain.graph.drop(kb_id)
    with brain.db.write() as connection:  # as the migration leaves documents that were there
        connection.execute(update(documents).values(graph_rules=0))
    work()
    assert said(brain, kb_id) == before


def test_a_pack_brings_its_graph(brain: Brain, caller: Caller, kb: str, add: Callable[..., AddedDocument], work: Callable[[], None], tmp_path: Path) -> None:
    add(LAW, "a.md")
    work()
    path = brain.packs.write(caller, kb, tmp_path, Choice(), lambda *_: None).path
    brain.packs.submit_import(caller, path, name="again")
    work()
    assert facts(brain, kb_id_of(brain, caller, "again")) == facts(brain, kb_id_of(brain, caller, kb)) != []


TOLD = "话说天下大势，分久必合，合久必分。" * 150
BOOK = "# 三国演义\n\n" + "\n\n".join(f"## 第{n}回 桃园结义之{n}\n\n### 一、缘起\n\n{TOLD}" for n in "一二三四五六七八九")


def test_a_book_states_its_chapters(brain: Brain, caller: Caller, kb: str, add: Callable[..., AddedDocument], work: Callable[[], None]) -> None:
    add(BOOK, "b.md")
    work()
    found = facts(brain, kb_id_of(brain, caller, kb))
    assert ("三国演义", "包含", "三国演义 第二回 桃园结义之二") in found
    assert ("三国演义 第二回 桃园结义之二", "包含", "三国演义 第二回 桃园结义之二 一、缘起") in found and len(found) == 18


@pytest.fixture
def off(make_settings: Callable[..., Settings]) -> Iterator[Brain]:
    """A brain that does not look documents through."""
    made = build(make_settings(graph_at_ingest="off"))
    yield made
    made.close()


def test_it_can_be_switched_off(off: Brain) -> None:
    caller = off.access.local_caller("zh")
    off.knowledge.create(caller, name="办法")
    off.knowledge.add_file(caller, "办法", "a.md", io.BytesIO(LAW.encode()))
    place = Workplace(off)
    idle: list[float] = []
    place.run(lambda: bool(idle), idle=idle.append)
    (document,) = off.knowledge.documents(caller, "办法", limit=5).data
    assert document.status == "ready" and facts(off, kb_id_of(off, caller, "办法")) == []


def test_known_names_are_looked_for_in_chunks_old_and_new(
    brain: Brain, caller: Caller, kb: str, add: Callable[..., AddedDocument], work: Callable[[], None], documents: Callable[[], dict[str, Document]]
) -> None:
    add("# 新闻\n\n晨光公司发布年报。晨光公司的董事长李明出席。2024年营收增长。\n", "old.md")
    work()
    kb_id = kb_id_of(brain, caller, kb)
    facts_of = [Fact("晨光公司", "董事长", "李明", Place("import"), aliases=("晨光",)), Fact("晨光公司", "成立", "2024年", Place("import"))]
    brain.graph.add(kb_id, facts_of)
    work()
    assert {(one[0], one[3]) for one in links(brain, kb_id)} == {("晨光公司", 2), ("晨光", 2), ("李明", 1)}
    add("李明在晨光任职。", "new.txt")
    work()
    assert ("李明", "new.txt", 0, 1) in links(brain, kb_id)
    brain.knowledge.delete_document(caller, documents()["old.md"].id)
    assert {one[1] for one in links(brain, kb_id)} == {"new.txt"}
    brain.graph.drop(kb_id)
    work()
    assert brain.db.rows(select(func.count()).select_from(graph_links))[0][0] == 0
