"""A knowledge base takes its graph along: facts, sources, names, words that ask for a relation, merges and what people have decided about them."""

from __future__ import annotations

import io
import random
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import func, select

from qzbrain.brain import Brain, build
from qzbrain.errors import Conflict, InvalidRequest
from qzbrain.graph.base import Fact, Place
from qzbrain.graph.embedded import SqlGraph
from qzbrain.graph.extracting import extractor_of
from qzbrain.graph.extraction_rows import ExtractionRows
from qzbrain.knowledge import facts_due
from qzbrain.knowledge.facts import FactsJob
from qzbrain.knowledge.packs import importing
from qzbrain.knowledge.packs.checking import check
from qzbrain.knowledge.packs.graph_format import GRAPH_SECTIONS
from qzbrain.knowledge.packs.reading import Pack
from qzbrain.retrieval.hybrid import SearchQuery
from qzbrain.retrieval.shelves import FACTS
from qzbrain.settings import Settings
from qzbrain.storage.tables import (
    OF_A_GRAPH,
    chunks,
    documents,
    graph_links,
    graph_mentions,
    graph_names,
    graph_triples,
    graph_versions,
    jobs,
    knowledge_bases,
)
from qzbrain.web.app import create_app
from tests.knowledge.packs.test_packs import export, plain, rewrite, take_in, work

LAW = """# 采购办法

## 第一章 总则

第一条 本办法所称采购，是指以合同方式有偿取得货物和服务的行为。

第二条 违反本办法第一条规定的，处以罚款，由晨光公司监督执行。

第三条 依照《预算办法》第四条的规定办理。
"""
STORY = "晨光文具股份有限公司简称晨光文具，李明任董事长，王芳任经理。晨光公司的李明生于杭州。"
LLM = extractor_of("tiny")
IMPORTED = [
    Fact("晨光文具股份有限公司", "董事长", "李明", Place("import", source="工商表"), "公司", "人物", ("晨光", "晨光集团")),
    Fact("晨光文具", "经理", "王芳", Place("import", source="工商表"), "公司", "人物"),
    Fact("晨光公司", "所在地", "上海", Place("import"), "公司"),
    Fact("李明", "出生地", "杭州", Place("import", source="人物表"), "人物", aliases=("老李",)),
    Fact("李明", "同事", "王芳", Place("import", source="人物表"), "人物"),
    Fact("北极星", "是一种", "恒星", Place("import")),
    Fact("金星", "围绕", "太阳", Place("import"), "行星"),
    Fact("金星", "生产", "钢笔", Place("import"), "公司"),
]
QUESTIONS = (
    "晨光的董事长是谁？", "谁掌管着晨光文具股份有限公司？", "李明出生在哪里？", "采购办法第二条引用了什么？", "采购是指什么？",
    "上海有哪些公司？", "北极星是什么？",
)  # fmt: skip


def fill(brain: Brain, name: str = "rules") -> str:
    """A knowledge base with all that a graph can hold; gives its id."""
    caller = brain.access.local_caller("zh")
    brain.knowledge.create(caller, name=name)
    other = brain.knowledge.create(caller, name=f"{name}-before").id
    kb_id = brain.access.resolve(caller, [name])[0].id
    brain.graph.add(other, [Fact(f"别处{n}", "位于", f"别国{n}", Place("import")) for n in range(40)])
    brain.graph.add(kb_id, IMPORTED[:3])
    brain.graph.add(other, [Fact(f"他处{n}", "位于", f"他国{n}", Place("import")) for n in range(40)])
    for title, text in (("采购办法.md", LAW), ("人物.txt", STORY)):
        brain.knowledge.add_file(caller, name, title, io.BytesIO(text.encode()))
    work(brain)
    brain.graph.add(kb_id, IMPORTED[3:])
    _extract(brain, kb_id)
    brain.graph.set_cues(kb_id, "董事长", ["谁掌管", "谁主持"], ["掌管什么"])
    merged = [brain.graph.search(kb_id, one, limit=1)[0].id for one in ("晨光文具股份有限公司", "晨光文具", "晨光公司")]
    undone = brain.graph.merge(kb_id, merged[0], merged[2:], author="乙")
    brain.graph.undo_merge(kb_id, undone)
    brain.suggestions.refresh(kb_id)
    some, _ = brain.suggestions.listed(kb_id)
    by_reason = {one.reason: one for one in some}
    brain.suggestions.dismiss(kb_id, by_reason["same_name"].id, author="丙")
    brain.suggestions.accept(kb_id, by_reason["company"].id, author="甲")
    work(brain)
    return kb_id


def _extract(brain: Brain, kb_id: str) -> None:
    """As if a language model had read the story."""
    query = select(chunks.c.id, chunks.c.document_id, chunks.c.text, chunks.c.start).join(documents, documents.c.id == chunks.c.document_id)
    row = brain.db.rows(query.where(chunks.c.kb_id == kb_id, documents.c.name == "人物.txt"))[0]
    at = row.text.index("李明任董事长")
    place = Place(LLM, row.document_id, row.id, row.start + at, row.start + at + 6, "李明任董事长", confidence=0.7)
    brain.graph.add(kb_id, [Fact("晨光文具", "董事长", "李明", place, "公司", "人物", ("晨光厂",)), Fact("王芳", "职务", "经理", place, "", "人物")])
    rows = ExtractionRows(brain.db)
    document = rows.document(row.document_id)
    assert document is not None
    rows.done(kb_id, document, LLM, [])


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Brain]:
    """A brain with `rules`. Nobody changes it."""
    brain = build(Settings(qzbrain_data=tmp_path_factory.mktemp("origin"), qzbrain_embedder="none"))
    fill(brain)
    yield brain
    brain.close()


@pytest.fixture(scope="module")
def pack(origin: Brain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack of `rules`."""
    return export(origin, tmp_path_factory.mktemp("pack") / "x.qzkb")


@pytest.fixture
def elsewhere(tmp_path: Path, make_settings: Callable[..., Settings]) -> Iterator[Brain]:
    """Another brain, with a graph of its own, so that ids are others."""
    made = build(make_settings(qzbrain_data=tmp_path / "elsewhere"))
    own = made.knowledge.create(made.access.local_caller("zh"), name="own").id
    made.graph.add(own, [Fact(f"此处{n}", "邻近", f"彼处{n}", Place("import")) for n in range(25)])
    yield made
    made.close()


@pytest.fixture
def copy(elsewhere: Brain, pack: Path) -> Brain:
    """The other brain, with the pack taken in."""
    job = take_in(elsewhere, pack)
    assert job.status == "done", job
    return elsewhere


def kb_id_of(brain: Brain, name: str = "rules") -> str:
    return brain.access.resolve(brain.access.local_caller("zh"), [name])[0].id


def graph(brain: Brain, name: str = "rules") -> dict[str, list[Any]]:
    """Every row of the graph as a pack holds it."""
    rows = plain(brain, name)
    return {section: [orjson.loads(line) for line in rows[f"{section}.jsonl"].splitlines()] for section in GRAPH_SECTIONS}


def unnamed(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The same without what ids of documents, merges and suggestions are."""
    seen: dict[str, int] = {}

    def plainer(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: plainer(one, name) for name, one in value.items()}
        if isinstance(value, list):
            return [plainer(one, key) for one in value]
        if key in ("document_id", "merge_id", "id") and isinstance(value, str) and value:
            return seen.setdefault(value, len(seen))
        return value

    return {section: [plainer(row) for row in some] for section, some in rows.items()}


def triples(brain: Brain, kb_id: str) -> list[Any]:
    """Every triple in order, with names, other names and places; chunks by their order."""
    ids = {one: n for n, one in enumerate(brain.db.rows(select(chunks.c.id).where(chunks.c.kb_id == kb_id).order_by(chunks.c.id)))}
    numbers = {row.id: n for row, n in ids.items()}
    return [
        (
            (one.head.name, one.head.type, one.head.aliases), one.relation, (one.tail.name, one.tail.type, one.tail.aliases),
            [(x.extractor, x.document_id, numbers.get(x.chunk_id), x.start, x.end, x.quote, x.source, x.confidence) for x in one.places],
        )
        for one in brain.graph.every_triple(kb_id)
    ]  # fmt: skip


def links(brain: Brain, kb_id: str) -> set[Any]:
    query = select(graph_names.c.name_key, documents.c.name, chunks.c.ordinal, graph_links.c.count)
    query = query.join(graph_links, graph_links.c.name_id == graph_names.c.id).join(chunks, chunks.c.id == graph_links.c.chunk_id)
    return {tuple(row) for row in brain.db.rows(query.join(documents, documents.c.id == chunks.c.document_id).where(graph_names.c.kb_id == kb_id))}


def said(brain: Brain, name: str = "rules") -> list[Any]:
    """What /chat-process-txt says to each question, but for ids, chunks' among them, and times."""
    client = create_app(brain).test_client()
    ids = {"id", "chunk_id", "took_ms", "version", "head_id", "tail_id", "kb_id", "knowledge_base"}

    def plainer(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plainer(one) for key, one in value.items() if key not in ids}
        return [plainer(one) for one in value] if isinstance(value, list) else value

    answers = [client.post("/chat-process-txt", json={"text": one, "kb_ids": [name]}) for one in QUESTIONS]
    assert {one.status_code for one in answers} == {200}, [one.get_data(as_text=True) for one in answers]
    return [plainer(one.get_json()) for one in answers]


def tell(brain: Brain, kb_id: str) -> list[str]:
    """Have the facts told as texts; gives the texts."""
    with brain.db.write() as connection:
        brain.jobs.submit(connection, facts_due.KIND, kb_id=kb_id)
    kinds = brain.jobs.begin({facts_due.KIND: FactsJob(brain.db, lambda: brain.feeder, brain.courtesy).kind}, lambda: False)
    while brain.jobs.work(kinds):
        pass
    caller = brain.access.local_caller("zh")
    rows = brain.db.rows(select(documents.c.id).where(documents.c.kb_id == kb_id, documents.c.kind == FACTS).order_by(documents.c.id))
    return [brain.knowledge.content(caller, row.id) for row in rows]


def left_of_graphs(brain: Brain) -> dict[str, int]:
    """Rows of each table of graphs."""
    tables = (*OF_A_GRAPH, graph_versions, graph_links)
    return {table.name: int(brain.db.rows(select(func.count()).select_from(table))[0][0]) for table in tables}


def test_the_graph_comes_back_as_it_was(origin: Brain, copy: Brain) -> None:
    here, there = graph(origin), graph(copy)
    assert {section: len(rows) for section, rows in here.items()} == {section: len(rows) for section, rows in there.items()}
    assert min(len(rows) for rows in here.values()) >= 1, "each section is tried"
    assert there == here
    assert triples(copy, kb_id_of(copy)) == triples(origin, kb_id_of(origin))
    assert {x.extractor for one in copy.graph.every_triple(kb_id_of(copy)) for x in one.places} >= {"import", "structure", "reference", "definition", LLM}
    assert copy.graph.cues(kb_id_of(copy)) == origin.graph.cues(kb_id_of(origin)) != {}
    assert links(copy, kb_id_of(copy)) == links(origin, kb_id_of(origin)) != set()


def test_graphs_answer_alike(origin: Brain, copy: Brain) -> None:
    answers = said(origin)
    assert said(copy) == answers
    assert sum(bool(one["triples"]) for one in answers) >= 6


def test_facts_are_told_again_and_found(origin: Brain, copy: Brain) -> None:
    assert tell(copy, kb_id_of(copy)) == tell(origin, kb_id_of(origin)) != []
    found = []
    for brain in (origin, copy):
        scope = brain.access.scope(brain.access.local_caller("zh"), [kb_id_of(brain)])
        found.append([[(hit.text, hit.score) for hit in brain.retriever.search(SearchQuery(one, top_k=8, mode="lexical"), scope).hits] for one in QUESTIONS])
    assert found[0] == found[1]
    assert any("晨光文具股份有限公司的董事长" in text for text, _ in found[1][0])


def test_a_worker_sees_by_itself_that_facts_are_to_be_told(copy: Brain) -> None:
    due = facts_due.FactsDue(copy.db, copy.jobs, clock=iter(range(0, 1000, 10)).__next__)
    assert sum(due.look() for _ in range(3)) == 2  # of `own` and of `rules`
    told = copy.db.rows(select(jobs.c.kb_id).where(jobs.c.kind == facts_due.KIND))
    assert kb_id_of(copy) in {row.kb_id for row in told}


def test_a_merge_is_undone_elsewhere_as_here(brain: Brain, elsewhere: Brain, tmp_path: Path) -> None:
    fill(brain)
    job = take_in(elsewhere, export(brain, tmp_path / "x.qzkb"))
    assert job.status == "done", job.reason_en
    ids = {one.merge_id for one in brain.suggestions.listed(kb_id_of(brain), "accepted")[0]}
    before = graph(elsewhere)
    for one in (brain, elsewhere):
        for merge_id in ids:
            one.graph.undo_merge(kb_id_of(one), merge_id)
            one.suggestions.undone(kb_id_of(one), merge_id)
    here, there = graph(brain), graph(elsewhere)
    for rows in (here, there):
        for merge in rows["graph_merges"]:
            merge["undone_at"] = bool(merge["undone_at"])
    assert len(there["graph_entities"]) > len(before["graph_entities"])
    assert there == here
    assert triples(elsewhere, kb_id_of(elsewhere)) == triples(brain, kb_id_of(brain))


def test_decisions_are_remembered(copy: Brain) -> None:
    kb_id = kb_id_of(copy)
    dismissed = copy.suggestions.listed(kb_id, "dismissed")[0]
    before = [one.id for one in copy.suggestions.listed(kb_id)[0]]
    assert [(one.reason, one.author) for one in dismissed] == [("same_name", "丙")]
    copy.suggestions.refresh(kb_id)
    assert [one.id for one in copy.suggestions.listed(kb_id)[0]] == before, "nothing is suggested a second time"
    accepted = copy.suggestions.listed(kb_id, "accepted")[0]
    assert [(one.author, one.keep.name if one.keep else "") for one in accepted] == [("甲", "晨光文具股份有限公司")]


def test_what_a_model_has_read_is_not_read_again(copy: Brain) -> None:
    rows, kb_id = ExtractionRows(copy.db), kb_id_of(copy)
    story = next(row.id for row in copy.db.rows(select(documents.c.id).where(documents.c.kb_id == kb_id, documents.c.name == "人物.txt")))
    document = rows.document(story)
    assert document is not None
    assert rows.signature(story, LLM) == document.signature
    assert story not in rows.document_ids(kb_id, changed_for=LLM)


def test_the_same_facts_again_change_nothing(copy: Brain) -> None:
    kb_id, before = kb_id_of(copy), graph(copy)
    copy.graph.add(kb_id, IMPORTED)
    assert copy.graph.stats(kb_id).mentions == len(before["graph_mentions"])
    copy.graph_upkeep.rebuild(kb_id)
    work(copy)
    assert copy.graph.stats(kb_id).mentions == len(before["graph_mentions"])


def test_a_copy_in_the_same_brain_has_ids_of_its_own(copy: Brain, pack: Path) -> None:
    job = take_in(copy, pack, name="twice")
    assert job.status == "done", job
    assert unnamed(graph(copy, "twice")) == unnamed(graph(copy))
    copy.knowledge.delete(copy.access.local_caller("zh"), "twice")
    work(copy)
    assert graph(copy)["graph_triples"]
    assert not copy.db.rows(select(graph_triples.c.id).where(graph_triples.c.kb_id.not_in(select(knowledge_bases.c.id))))


def test_a_graph_is_replaced_with_its_knowledge_base(copy: Brain, pack: Path) -> None:
    old = kb_id_of(copy)
    before = unnamed(graph(copy))
    copy.graph.add(old, [Fact("多余", "是", "多余的", Place("import"))])
    assert take_in(copy, pack, in_place=True).status == "done"
    assert kb_id_of(copy) != old
    assert unnamed(graph(copy)) == before
    assert not copy.db.rows(select(graph_triples.c.id).where(graph_triples.c.kb_id == old))


def _unfinished(brain: Brain, pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(_self: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(importing.Importer, "_take_files", killed)
        brain.packs.submit_import(brain.access.local_caller("zh"), pack)
        with pytest.raises(KeyboardInterrupt):
            work(brain)


def test_a_dropped_import_leaves_no_row_of_a_graph(elsewhere: Brain, pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = left_of_graphs(elsewhere)
    _unfinished(elsewhere, pack, monkeypatch)
    assert left_of_graphs(elsewhere)["graph_mentions"] > before["graph_mentions"]
    assert elsewhere.packs.drop(elsewhere.access.local_caller("zh"), pack)
    assert left_of_graphs(elsewhere) == before


def test_nobody_tends_the_graph_of_an_import_that_is_not_whole(elsewhere: Brain, pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _unfinished(elsewhere, pack, monkeypatch)
    hidden = elsewhere.db.rows(select(knowledge_bases.c.id).where(knowledge_bases.c.name.like("import:%")))[0].id
    elsewhere.graph_upkeep.submit_due(all_documents=True)
    assert hidden not in {row.kb_id for row in elsewhere.db.rows(select(jobs.c.kb_id))}


KILLED = """
import os, signal, sys
from qzbrain.brain import build
from qzbrain.knowledge.packs import importing
from qzbrain.settings import Settings
from tests.knowledge.packs.test_packs import work
importing._BATCH, importing._SMALLER = 3, 1
advance, left = importing.Importer._advance, int(sys.argv[2])
def killed(self, connection, **state):
    global left
    advance(self, connection, **state)
    left -= any(name.startswith("graph") for name in state)
    if left <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
importing.Importer._advance = killed
work(build(Settings(qzbrain_data=sys.argv[1], qzbrain_embedder="none")))
"""


def test_killed_in_the_middle_of_a_graph_it_goes_on(origin: Brain, elsewhere: Brain, pack: Path) -> None:
    caller = elsewhere.access.local_caller("zh")
    job_id = elsewhere.packs.submit_import(caller, pack)
    seen = []
    for left in (4, 9, 14):
        done = subprocess.run([sys.executable, "-c", KILLED, str(elsewhere.settings.data), str(left)], capture_output=True, timeout=100, check=False)
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
        seen.append(left_of_graphs(elsewhere))
        with elsewhere.db.write() as connection:  # its lease runs out
            connection.execute(jobs.update().where(jobs.c.id == job_id).values(status="pending", lease_owner="", lease_until=0))
    assert seen[0] != seen[1] != seen[2]
    work(elsewhere)
    assert elsewhere.knowledge.job(caller, job_id).status == "done"
    assert graph(elsewhere) == graph(origin)


def test_what_documents_say_that_are_left_out_is_left_out(brain: Brain, tmp_path: Path, elsewhere: Brain) -> None:
    kb_id = fill(brain)
    with brain.db.write() as connection:
        connection.execute(documents.update().where(documents.c.name == "采购办法.md").values(status="running"))
    job = take_in(elsewhere, export(brain, tmp_path / "x.qzkb"))
    assert job.status == "done", job.reason_en
    rows = graph(elsewhere)
    assert {one["extractor"] for one in rows["graph_mentions"]} == {"import", LLM}
    names = {one["name"] for one in rows["graph_entities"]}
    assert "北极星" in names
    assert "采购办法" not in names
    assert "包含" not in {one["name"] for one in rows["graph_relations"]}
    assert "采购办法" in {one.head.name for one in brain.graph.every_triple(kb_id)}


def test_a_pack_without_graph_rows_gets_its_graph_from_its_documents(origin: Brain, elsewhere: Brain, pack: Path) -> None:
    def older(members: dict[str, bytes]) -> None:
        """As version 1.0 wrote it."""
        about = orjson.loads(members["manifest.json"])
        about["version"], about["counts"] = [1, 0], {**{name: n for name, n in about["counts"].items() if name not in GRAPH_SECTIONS}, "graph": 0}
        members["manifest.json"] = orjson.dumps(about)
        for section in GRAPH_SECTIONS:
            del members[f"{section}.jsonl"]
        members["graph.jsonl"] = b""

    job = take_in(elsewhere, rewrite(pack, older))
    assert job.status == "done", job
    own = ("structure", "reference", "definition")
    found, wanted = (
        {(x.head.name, x.relation, x.tail.name, x.places[0].quote) for x in brain.graph.every_triple(kb_id_of(brain)) if x.places[0].extractor in own}
        for brain in (elsewhere, origin)
    )
    assert found == wanted != set()
    assert {one.places[0].extractor for one in elsewhere.graph.every_triple(kb_id_of(elsewhere))} <= set(own)


def test_without_a_graph_there_is_no_version_of_one(brain: Brain, elsewhere: Brain, tmp_path: Path) -> None:
    caller = brain.access.local_caller("zh")
    brain.knowledge.create(caller, name="rules")
    brain.knowledge.add_text(caller, "rules", "外部", "外部文件须归档。")
    work(brain)
    job = take_in(elsewhere, export(brain, tmp_path / "x.qzkb"))
    assert job.status == "done", job.reason_en
    assert elsewhere.graph.version(kb_id_of(elsewhere)) == 0


@pytest.mark.parametrize("seed", range(3))
def test_whatever_was_done_to_a_graph_comes_back(brain: Brain, elsewhere: Brain, tmp_path: Path, seed: int) -> None:
    chance, caller = random.Random(seed), brain.access.local_caller("zh")
    kb_id = brain.knowledge.create(caller, name="rules").id
    other = brain.knowledge.create(caller, name="other").id
    store: SqlGraph = brain.graph
    names, merges = [f"名{n}" for n in range(14)] + ["Ａ公司", "a公司", "长" * 90, "长" * 91], []
    for _ in range(60):
        do = chance.random()
        if do < 0.6:
            source = chance.choice(["", "表一", "表二"])
            some = [
                Fact(chance.choice(names), chance.choice(["关联", "属于", "Part Of"]), chance.choice(names), Place("import", source=source),
                     chance.choice(["", "公司"]), chance.choice(["", "人物"]), tuple(chance.sample(names, chance.randrange(2))))
                for _ in range(chance.randrange(1, 6))
            ]  # fmt: skip
            store.add(chance.choice([kb_id, kb_id, other]), some)
        elif do < 0.85:
            ids = store.view(kb_id).ids.tolist()
            if len(ids) > 3:
                keep, *gone = chance.sample(ids, chance.randrange(2, 4))
                merges.append(store.merge(kb_id, keep, gone, author="甲"))
        elif merges:
            try:
                store.undo_merge(kb_id, merges.pop(chance.randrange(len(merges))))
            except Conflict:
                continue
    brain.suggestions.refresh(kb_id)
    job = take_in(elsewhere, export(brain, tmp_path / "x.qzkb"))
    assert job.status == "done", job.reason_en
    assert graph(elsewhere) == graph(brain)
    assert triples(elsewhere, kb_id_of(elsewhere)) == triples(brain, kb_id)
    there = kb_id_of(elsewhere)
    for merge_id in reversed(merges):
        assert _undone(store, kb_id, merge_id) == _undone(elsewhere.graph, there, merge_id)
    assert triples(elsewhere, there) == triples(brain, kb_id)


def _undone(store: SqlGraph, kb_id: str, merge_id: str) -> str:
    try:
        store.undo_merge(kb_id, merge_id)
    except Conflict as exc:
        return exc.code
    return ""


# -- hostile rows


def change(section: str, number: int = 0, **values: Any) -> Callable[[dict[str, bytes]], None]:
    """Other values in one row; a function is given the value that was."""

    def changed(members: dict[str, bytes]) -> None:
        lines = members[f"{section}.jsonl"].splitlines()
        row = orjson.loads(lines[number])
        lines[number] = orjson.dumps({**row, **{name: value(row.get(name)) if callable(value) else value for name, value in values.items()}})
        members[f"{section}.jsonl"] = b"\n".join(lines) + b"\n"

    return changed


def again(section: str, **values: Any) -> Callable[[dict[str, bytes]], None]:
    """The first row a second time at the end, and the counts as many."""

    def added(members: dict[str, bytes]) -> None:
        row = {**orjson.loads(members[f"{section}.jsonl"].splitlines()[0]), **values}
        members[f"{section}.jsonl"] += orjson.dumps(row) + b"\n"
        about = orjson.loads(members["manifest.json"])
        about["counts"][section] += 1
        members["manifest.json"] = orjson.dumps(about)

    return added


def nested(within: str, **values: Any) -> Callable[[dict[str, bytes]], None]:
    """Other values in the first row of what the merge that stands has noted."""

    def changed(members: dict[str, bytes]) -> None:
        lines = members["graph_merges.jsonl"].splitlines()
        number = next(n for n, line in enumerate(lines) if orjson.loads(line)["undone_at"] is None and orjson.loads(line)[within])
        row = orjson.loads(lines[number])
        row[within][0] |= values
        lines[number] = orjson.dumps(row)
        members["graph_merges.jsonl"] = b"\n".join(lines) + b"\n"

    return changed


HOSTILE: dict[str, tuple[Callable[[dict[str, bytes]], None], str]] = {
    "number is 0": (change("graph_entities", id=0), "id in row 1 of graph_entities"),
    "number is huge": (change("graph_entities", id=2**31 - 1), "id in row 1 of graph_entities"),
    "number beyond all": (change("graph_triples", id=2**40), "id in row 1 of graph_triples"),
    "number as text": (change("graph_triples", head="1"), "head in row 1 of graph_triples"),
    "number twice": (again("graph_entities", name="别名"), "id in row"),
    "entity twice": (again("graph_entities", id=4000), "id in row"),
    "no name": (change("graph_entities", name=""), "name in row 1"),
    "name of marks alone": (change("graph_entities", name=" \u3000", key=None), "name in row 1"),
    "name too long": (change("graph_entities", name="长" * 70_000), "name in row 1"),
    "type too long": (change("graph_entities", type="长" * 65), "type in row 1"),
    "key too long": (change("graph_entities", key="k" * 65), "key in row 1"),
    "alias of nobody": (change("graph_aliases", entity=999), "entity in row 1"),
    "alias twice": (again("graph_aliases"), "graph_aliases is there twice"),
    "alias of a document that is not there": (change("graph_aliases", document_id="nobody"), "document_id in row 1"),
    "relation without name": (change("graph_relations", name=" "), "name in row 1"),
    "cues are a list": (change("graph_relations", cues=[1]), "cues in row 1"),
    "cues of another kind": (change("graph_relations", cues={"sideways": []}), "cues in row 1"),
    "cues are numbers": (change("graph_relations", cues={"forward": [1], "backward": []}), "cues in row 1"),
    "cues too long": (change("graph_relations", cues={"forward": ["长" * 65], "backward": []}), "cues in row 1"),
    "head of nobody": (change("graph_triples", head=999), "head in row 1"),
    "tail of nobody": (change("graph_triples", tail=999), "tail in row 1"),
    "relation of nobody": (change("graph_triples", relation=999), "relation in row 1"),
    "mention of nobody": (change("graph_mentions", triple=999), "triple in row 1"),
    "mention of another document": (change("graph_mentions", document_id="nobody"), "document_id in row 1"),
    "mention of a chunk that is not there": (change("graph_mentions", chunk=10**6), "chunk in row 1"),
    "mention of another document's chunk": (change("graph_mentions", document_id="", chunk=0), "chunk in row 1"),
    "end before start": (change("graph_mentions", start=9, end=3), "end in row 1"),
    "surer than sure": (change("graph_mentions", confidence=1.5), "confidence in row 1"),
    "confidence is truth": (change("graph_mentions", confidence=True), "confidence in row 1"),
    "no extractor": (change("graph_mentions", extractor=""), "extractor in row 1"),
    "quote is a list": (change("graph_mentions", quote=["x"]), "quote in row 1"),
    "mention twice": (again("graph_mentions", id=100), "graph_mentions is there twice"),
    "merge of nothing": (change("graph_merges", entities=[]), "entities in row 1"),
    "merge twice": (again("graph_merges"), "id in row"),
    "merged is a path": (nested("entities", name=["../../x"]), "entities.name in row"),
    "merged is still there": (nested("entities", id=2), "entities.id in row"),
    "moved of others": (nested("triples", head=1, tail=1), "triples.head in row"),
    "moved is still there": (nested("triples", id=1), "triples.id in row"),
    "said of others": (nested("mentions", triple=1), "mentions.triple in row"),
    "alias of others": (nested("aliases", entity=1), "aliases.entity in row"),
    "too many merged": (change("graph_merges", entities=lambda some: some * 60), "entities in row 1"),
    "suggestion of itself": (change("graph_suggestions", other=1, keep=1), "other in row 1"),
    "suggestion twice": (again("graph_suggestions", id="another"), "pair_key is there twice"),
    "suggestion of no merge": (change("graph_suggestions", merge_id="nobody"), "merge_id in row 1"),
    "decided otherwise": (change("graph_suggestions", status="perhaps"), "status in row 1"),
    "read by nobody": (change("graph_extracted", document_id="nobody"), "document_id in row 1"),
    "read beyond the end": (change("graph_extracted", upto=10**6), "upto in row 1"),
    "signature is none": (change("graph_extracted", signature="x"), "signature in row 1"),
    "rules of nobody": (change("graph_stated", document_id="nobody"), "document_id in row 1"),
    "rules twice": (again("graph_stated"), "graph_stated is there twice"),
    "no JSON": (lambda members: members.update({"graph_triples.jsonl": b"{\n"}), "JSON in row 1"),
    "deep JSON": (lambda members: members.update({"graph_triples.jsonl": b"[" * 5000 + b"\n"}), "JSON in row 1"),
    "many parts": (lambda members: members.update({"graph_merges.jsonl": b"[" + b"1," * 2_000_001 + b"1]\n"}), "JSON in row 1"),
    "line without end": (lambda members: members.update({"graph_aliases.jsonl": b"{}"}), "graph_aliases.jsonl"),
    "line too long": (lambda members: members.update({"graph_aliases.jsonl": random.Random(1).randbytes(17 << 20).replace(b"\n", b"") + b"\n"}), "too long"),
    "fewer rows than said": (lambda members: members.update({"graph_mentions.jsonl": b""}), "graph_mentions"),
    "section missing": (lambda members: members.__delitem__("graph_entities.jsonl"), "graph_entities"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_graph_is_found_out(pack: Path, what: str) -> None:
    how, reason = HOSTILE[what]
    with Pack(rewrite(pack, how), line_bytes=1 << 20) as hostile, pytest.raises(InvalidRequest) as refused:
        check(hostile, lambda *_: None)
    assert refused.value.code == "bad_pack"
    assert reason in refused.value.en
    assert "没有导入任何内容" in refused.value.zh


def test_of_a_pack_with_a_hostile_graph_nothing_is_kept(elsewhere: Brain, pack: Path) -> None:
    work(elsewhere)
    before = left_of_graphs(elsewhere)
    job = take_in(elsewhere, rewrite(pack, change("graph_mentions", confidence=7)))
    assert (job.status, job.reason_code) == ("failed", "bad_pack")
    assert "confidence" in job.reason_en and "confidence" in job.reason_zh
    assert left_of_graphs(elsewhere) == before
    assert not elsewhere.db.rows(select(documents.c.id).where(documents.c.kind == "file"))


def test_a_log_that_contradicts_its_graph_cannot_be_undone_and_says_so(elsewhere: Brain, pack: Path) -> None:
    def swapped(members: dict[str, bytes]) -> None:
        """Two mentions of one triple change their numbers: each is put back to what the other says."""
        lines = [orjson.loads(line) for line in members["graph_merges.jsonl"].splitlines()]
        row = next(one for one in lines if one["undone_at"] is None)
        row["mentions"] = [{**row["mentions"][0], "id": n, "source": f"s{n}"} for n in (1, 2)]
        members["graph_merges.jsonl"] = b"".join(orjson.dumps(one) + b"\n" for one in lines)
        said = [orjson.loads(line) for line in members["graph_mentions.jsonl"].splitlines()]
        first, second = (next(one for one in said if one["id"] == n) for n in (1, 2))
        second.update({name: first[name] for name in ("document_id", "chunk", "start", "end", "source", "extractor")})
        if second["triple"] == first["triple"]:
            second["triple"] = next(one["triple"] for one in said if one["triple"] != first["triple"])
        members["graph_mentions.jsonl"] = b"".join(orjson.dumps(one) + b"\n" for one in said)

    job = take_in(elsewhere, rewrite(pack, swapped))
    assert job.status == "done", job
    kb_id = kb_id_of(elsewhere)
    before = graph(elsewhere)
    merge_id = next(one["id"] for one in before["graph_merges"] if one["undone_at"] is None)
    with pytest.raises(Conflict) as refused:
        elsewhere.graph.undo_merge(kb_id, merge_id)
    assert refused.value.code == "merge_not_undoable"
    assert graph(elsewhere) == before


def test_progress_counts_the_graph(elsewhere: Brain, pack: Path) -> None:
    with Pack(pack, line_bytes=1 << 20) as opened:
        total = sum(opened.manifest.counts.values())
        assert sum(opened.manifest.counts[name] for name in GRAPH_SECTIONS) > total / 2
        shown: list[tuple[str, int, int, str]] = []
        importing.Importer(elsewhere.db, elsewhere.files, opened, lambda *one: shown.append(one)).run(None)
    rows = [(done, of) for stage, done, of, _ in shown if stage == "rows"]
    assert rows[-1] == (total, total)
    assert rows == sorted(rows)


def test_a_program_of_the_first_version_would_skip_it(pack: Path) -> None:
    with zipfile.ZipFile(pack) as archive:
        names = archive.namelist()
        assert orjson.loads(archive.read("manifest.json"))["version"] == [1, 1]
    assert "graph.jsonl" not in names, "a program of version 1.0 takes it for its own"
    assert [name for name in names if name.startswith("graph_")] == [f"{section}.jsonl" for section in GRAPH_SECTIONS]


@pytest.mark.servers
def test_from_sqlite_to_mysql_and_back(origin: Brain, pack: Path, tmp_path: Path, mysql: dict[str, Any], elsewhere: Brain) -> None:
    there = build(Settings(qzbrain_data=tmp_path / "mysql", qzbrain_embedder="none", **mysql))
    try:
        own = there.knowledge.create(there.access.local_caller("zh"), name="own").id
        there.graph.add(own, IMPORTED)
        assert (job := take_in(there, pack)).status == "done", job
        assert graph(there) == graph(origin)
        assert said(there) == said(origin)
        assert links(there, kb_id_of(there)) == links(origin, kb_id_of(origin))
        back = export(there, tmp_path / "back.qzkb")
        merge_id = next(one["id"] for one in graph(there)["graph_merges"] if one["undone_at"] is None)
        there.graph.undo_merge(kb_id_of(there), merge_id)
        there.graph.add(kb_id_of(there), IMPORTED)
        assert there.db.rows(select(func.count()).select_from(graph_mentions).where(graph_mentions.c.kb_id == own))[0][0] == len(IMPORTED)
    finally:
        there.close()
    assert take_in(elsewhere, back).status == "done"
    assert graph(elsewhere) == graph(origin)
    assert said(elsewhere) == said(origin)
