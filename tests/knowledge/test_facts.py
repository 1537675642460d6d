"""Facts of graphs as texts: found, cited, kept up with the graph whatever happens to it, gone without a trace."""

from __future__ import annotations

import io
import os
import random
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, func, select

from qzbrain.brain import Brain, build
from qzbrain.domain import Caller, Hit
from qzbrain.errors import Conflict, IndexUnavailable
from qzbrain.graph.base import Fact, Place
from qzbrain.graph.heads import MOST_FACTS
from qzbrain.jobs.leases import GiveWay
from qzbrain.knowledge import facts_due
from qzbrain.knowledge.facts import FactsJob, forget_told
from qzbrain.knowledge.facts_due import FactsDue
from qzbrain.knowledge.packs.writing import Choice, write_pack
from qzbrain.retrieval.hybrid import SearchQuery
from qzbrain.retrieval.shelves import FACTS, facts_shelf
from qzbrain.settings import Settings
from qzbrain.storage.tables import chunks, document_texts, documents, graph_told, graph_versions, jobs, outbox
from qzbrain.worker import Workplace

COMPANY = [("晨光公司", "董事长", "李明"), ("晨光公司", "高管", "王芳"), ("晨光公司", "高管", "赵刚"), ("李明", "出生地", "杭州")]


class Base:
    """A knowledge base with a graph."""

    def __init__(self, brain: Brain, caller: Caller, name: str = "kb") -> None:
        self.brain, self.caller = brain, caller
        self.id = brain.knowledge.create(caller, name=name).id

    def say(self, *triples: tuple[str, str, str], place: Place | None = None, **more: Any) -> None:
        self.brain.graph.add(self.id, [Fact(*one, place or Place("import"), **more) for one in triples])

    def tell(self) -> dict[str, Any]:
        """Run the job; gives its result."""
        job = FactsJob(self.brain.db, lambda: self.brain.feeder, self.brain.courtesy)
        with self.brain.db.write() as connection:
            job_id = self.brain.jobs.submit(connection, facts_due.KIND, kb_id=self.id)
        kinds = self.brain.jobs.begin({facts_due.KIND: job.kind}, lambda: False)
        while self.brain.jobs.work(kinds):
            pass
        record = self.brain.jobs.get(job_id)
        assert record.status == "done", record
        return dict(record.result or {})

    def hits(self, question: str, **more: Any) -> tuple[Hit, ...]:
        scope = self.brain.access.scope(self.caller, [self.id])
        return self.brain.retriever.search(SearchQuery(question, **more), scope).hits

    def texts(self) -> dict[str, str]:
        """What is told, by entity."""
        query = select(documents.c.title, document_texts.c.text).join(document_texts).where(documents.c.kb_id == self.id, documents.c.kind == FACTS)
        return {row.title: row.text for row in self.brain.db.rows(query)}


@pytest.fixture
def kb(brain: Brain, caller: Caller) -> Base:
    return Base(brain, caller)


def count(brain: Brain, table: Any, *where: Any) -> int:
    return int(brain.db.rows(select(func.count()).select_from(table).where(*where))[0][0])


def test_facts_are_found_and_cited(kb: Base) -> None:
    kb.say(*COMPANY, head_type="公司", aliases=("晨光",))
    assert kb.tell() == {"told": 2, "removed": 0}
    (first, *_) = kb.hits("晨光的董事长是谁")
    assert (first.kind, first.document, first.kb_id, first.heading_path) == ("facts", "知识图谱：晨光公司", kb.id, ("晨光公司", "晨光"))
    assert first.confidence > 0.8 and "lexical" in first.sources and "晨光公司的董事长：李明。" in first.text
    assert kb.brain.knowledge.content(kb.caller, first.document_id)[first.start : first.end] == first.text
    assert [hit.document for hit in kb.hits("谁的出生地是杭州")] == ["知识图谱：李明"]


def test_they_are_no_documents_of_the_lists(kb: Base) -> None:
    kb.say(*COMPANY)
    kb.tell()
    assert kb.brain.knowledge.documents(kb.caller, "kb").data == ()
    assert kb.brain.knowledge.knowledge_base(kb.caller, "kb").chunks == 0
    with pytest.raises(Conflict, match="document_is_facts"):
        kb.brain.knowledge.delete_document(kb.caller, kb.hits("晨光公司")[0].document_id)


def test_only_what_changed_is_told_again(kb: Base) -> None:
    kb.say(*COMPANY)
    kb.tell()
    before = kb.hits("李明的出生地")[0].chunk_id
    assert kb.tell() == {"told": 0, "removed": 0}
    kb.say(("晨光公司", "董事长", "李明"), place=Place("import", source="another file"))
    assert kb.tell() == {"told": 0, "removed": 0}  # said twice, and no other text
    kb.say(("晨光公司", "成立时间", "1998年"))
    assert kb.tell() == {"told": 1, "removed": 0}
    assert kb.hits("晨光公司成立于哪一年")[0].text.endswith("晨光公司的成立时间：1998年。")
    assert kb.hits("李明的出生地")[0].chunk_id == before


def test_what_documents_say_is_not_told(kb: Base) -> None:
    kb.say(("本法", "定义", "某词"), place=Place("definition", document_id="d1", quote="某词"))
    kb.say(("甲公司", "董事长", "张三"), place=Place("llm:m", document_id="d1", quote="张三"))
    assert kb.tell() == {"told": 0, "removed": 0}
    kb.say(("甲公司", "董事长", "张三"))
    assert kb.tell() == {"told": 1, "removed": 0}
    kb.brain.graph.forget_document(kb.id, "d1")
    assert (kb.tell(), kb.texts()) == ({"told": 0, "removed": 0}, {"知识图谱：甲公司": "甲公司的董事长：张三。"})


def test_merging_undoing_and_dropping_are_followed(kb: Base) -> None:
    kb.say(("清华大学", "所在地", "北京"), ("清华", "建校时间", "1911年"))
    kb.tell()
    apart = kb.texts()
    ids = [kb.brain.graph.search(kb.id, name, limit=1)[0].id for name in ("清华大学", "清华")]
    merge = kb.brain.graph.merge(kb.id, ids[0], ids[1:], author="")
    assert kb.tell() == {"told": 1, "removed": 1}
    assert kb.hits("清华的建校时间")[0].document == "知识图谱：清华大学"
    kb.brain.graph.undo_merge(kb.id, merge)
    kb.tell()
    assert kb.texts() == apart
    kb.brain.graph.drop(kb.id)
    assert kb.tell() == {"told": 0, "removed": 2}
    assert kb.hits("清华的建校时间") == () and count(kb.brain, graph_told) == 0 and count(kb.brain, chunks) == 0


def _act(kb: Base, chance: random.Random, merges: list[str]) -> None:
    """One change of the graph, or a telling."""
    names = chance.sample("甲乙丙丁", 2)
    match chance.choice(("say", "say", "name", "document", "forget", "merge", "merge", "undo", "tell")):
        case "say":
            kb.say((names[0], chance.choice(("董事长", "地点")), names[1]))
        case "name":
            kb.say((names[0], "地点", "北京"), aliases=(f"老{names[1]}",))
        case "document":
            kb.say(("甲", "董事长", "戊"), ("己", "地点", "甲"), place=Place("llm:m", document_id="d"))
        case "forget":
            kb.brain.graph.forget_document(kb.id, "d")
        case "tell":
            kb.tell()
        case "merge":
            found = [one.id for name in names for one in kb.brain.graph.search(kb.id, name, limit=1)]
            if len(set(found)) == 2:
                merges.append(kb.brain.graph.merge(kb.id, found[0], found[1:], author=""))
        case "undo" if merges:
            with suppress(Conflict):
                kb.brain.graph.undo_merge(kb.id, merges.pop())


@pytest.mark.parametrize("seed", range(12))
def test_told_step_by_step_is_told_at_once(kb: Base, seed: int) -> None:
    chance, merges = random.Random(seed), list[str]()
    for _ in range(25):
        _act(kb, chance, merges)
    kb.tell()
    stepwise, shelf = kb.texts(), facts_shelf(kb.id)
    found = [(hit.document, hit.text) for hit in kb.hits("甲乙丙丁的董事长和地点", top_k=20)]
    assert kb.brain.index.chunk_count(shelf) == count(kb.brain, chunks, chunks.c.kb_id == shelf) > 0
    with kb.brain.db.write() as connection:
        forget_told(connection, kb.id, connection.execute(select(graph_told.c.document_id)).scalars().all())
        connection.execute(delete(graph_told))
    kb.tell()
    kb.brain.feeder.rebuild(shelf)
    assert kb.texts() == stepwise
    assert sorted((hit.document, hit.text) for hit in kb.hits("甲乙丙丁的董事长和地点", top_k=20)) == sorted(found)


def test_a_hub_is_told_in_part_and_says_so(kb: Base) -> None:
    kb.say(*[("中心", "成员", f"成员{n}") for n in range(MOST_FACTS + 5)])
    kb.say(("旁边", "成员", "一人"))
    assert kb.tell()["told"] == 2
    text = kb.texts()["知识图谱：中心"]
    assert f"成员{MOST_FACTS - 1}" in text and f"成员{MOST_FACTS}、" not in text and "另有 5 条" in text
    assert kb.hits("旁边的成员")[0].document == "知识图谱：旁边"


def test_facts_stand_beside_texts_and_do_not_drown_them(kb: Base) -> None:
    kb.brain.knowledge.add_file(kb.caller, "kb", "a.txt", io.BytesIO("海洋环境保护由海事部门负责监督管理。".encode()))
    _work(kb.brain)
    alone = [(hit.chunk_id, hit.score, hit.confidence) for hit in kb.hits("海洋环境由谁监督管理")]
    kb.say(*[(f"第{n}号海洋", "管理", "某部门") for n in range(300)])
    kb.tell()
    beside = kb.hits("海洋环境由谁监督管理")
    assert [(hit.chunk_id, hit.score, hit.confidence) for hit in beside if hit.kind == "file"] == alone
    assert beside[0].kind == "file" and sum(hit.kind == FACTS for hit in beside) <= 3
    assert kb.hits("第7号海洋的管理是谁")[0].document == "知识图谱：第7号海洋"
    assert all(hit.kind == "file" for hit in kb.hits("海洋环境由谁监督管理", mode="semantic"))


def test_a_deleted_knowledge_base_leaves_nothing(kb: Base) -> None:
    kb.say(*COMPANY)
    kb.tell()
    folder = kb.brain.settings.index_path / facts_shelf(kb.id)
    assert folder.is_dir()
    kb.brain.knowledge.delete(kb.caller, "kb")
    for table in (documents, document_texts, chunks, graph_told, graph_versions):
        assert count(kb.brain, table) == 0
    _work(kb.brain)
    assert not folder.exists() and count(kb.brain, outbox) == 0


def test_a_lost_index_is_built_again(kb: Base) -> None:
    kb.say(*COMPANY)
    kb.tell()
    found = kb.hits("晨光公司的董事长")
    kb.brain.index.drop(facts_shelf(kb.id))
    assert kb.hits("晨光公司的董事长") == ()
    assert count(kb.brain, jobs, jobs.c.kind == "index") == 1
    _work(kb.brain)
    assert kb.hits("晨光公司的董事长") == found
    kb.brain.knowledge.reindex(kb.caller, "kb")
    _work(kb.brain)
    assert kb.hits("晨光公司的董事长") == found


def test_packs_leave_facts_out(kb: Base, tmp_path: Path) -> None:
    kb.say(*COMPANY)
    kb.tell()
    exported = write_pack(kb.brain.db, kb.brain.files, kb.id, tmp_path / "a.qzkb", Choice(), lambda *_: None)
    with zipfile.ZipFile(exported.path) as pack:
        assert [pack.read(f"{name}.jsonl") for name in ("documents", "texts", "chunks")] == [b"", b"", b""]


def test_the_index_away_is_waited_out(kb: Base, monkeypatch: pytest.MonkeyPatch) -> None:
    kb.say(*COMPANY)
    kb.brain.feeder.ensure(kb.id)

    def away(*_: Any, **__: Any) -> Any:
        raise IndexUnavailable("search_unreachable", zh="检索服务不可用", en="the search server is away", retry_after_s=1)

    with monkeypatch.context() as patch:
        patch.setattr(kb.brain.index, "ready", away)
        with kb.brain.db.write() as connection:
            job_id = kb.brain.jobs.submit(connection, facts_due.KIND, kb_id=kb.id)
        kinds = kb.brain.jobs.begin({facts_due.KIND: FactsJob(kb.brain.db, lambda: kb.brain.feeder, kb.brain.courtesy).kind}, lambda: False)
        assert kb.brain.jobs.work(kinds)
        record = kb.brain.jobs.get(job_id)
        assert (record.status, record.reason_code, record.attempts) == ("pending", "search_unreachable", 0)
    assert kb.tell()["told"] == 2


def test_others_go_first(kb: Base) -> None:
    kb.say(*COMPANY)
    with kb.brain.db.write() as connection:
        job_id = kb.brain.jobs.submit(connection, facts_due.KIND, kb_id=kb.id)
        kb.brain.jobs.submit(connection, "scan", kb_id=kb.id)
    job = FactsJob(kb.brain.db, lambda: kb.brain.feeder, kb.brain.courtesy)
    kinds = kb.brain.jobs.begin({facts_due.KIND: job.kind, "scan": lambda _job, _context: None}, lambda: False)
    (lease,) = kb.brain.jobs.claim({facts_due.KIND: job.kind}, job_id)
    with pytest.raises(GiveWay):
        job.handle([lease])
    while kb.brain.jobs.work(kinds):
        pass
    assert count(kb.brain, documents) == 0


def test_a_graph_that_changed_is_seen_when_it_has_settled(kb: Base) -> None:
    now = [0.0]
    due = FactsDue(kb.brain.db, kb.brain.jobs, lambda: now[0])

    def later(seconds: float) -> int:
        now[0] += seconds
        return due.look()

    assert later(5) == 0
    kb.say(*COMPANY)
    assert (later(1), later(1)) == (0, 0)
    kb.say(("李明", "职务", "董事长"))
    assert (later(1), later(1), later(1), later(1), later(60)) == (0, 0, 1, 0, 0)
    _work(kb.brain)
    assert kb.hits("李明的职务")[0].kind == FACTS and later(10) == 0
    kb.brain.graph.drop(kb.id)
    assert sum(later(1) for _ in range(5)) == 1


def test_a_killed_worker_goes_on_where_it_was(make_settings: Callable[..., Settings]) -> None:
    given = make_settings()
    brain = build(given)
    kb = Base(brain, brain.access.local_caller("zh"))
    kb.say(*[(f"实体{n}", "编号", f"第{n}号") for n in range(3000)])
    with brain.db.write() as connection:
        brain.jobs.submit(connection, facts_due.KIND, kb_id=kb.id)
    environment = {**os.environ, "QZBRAIN_DATA": str(given.qzbrain_data), "QZBRAIN_EMBEDDER": "none"}
    for least in (250, 1500):
        worker = subprocess.Popen([sys.executable, "-m", "qzbrain.worker"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while count(brain, graph_told) < least and time.monotonic() < until:
            time.sleep(0.01)
        worker.send_signal(signal.SIGKILL)
        worker.wait(30)
    _work(brain)
    assert count(brain, graph_told) == count(brain, documents) == brain.index.chunk_count(facts_shelf(kb.id)) == 3000
    assert kb.hits("实体1234的编号")[0].document == "知识图谱：实体1234"
    assert count(brain, outbox) == 0
    brain.close()


def _work(brain: Brain) -> None:
    """Until nothing is to do."""
    place = Workplace(brain)

    def over() -> bool:
        return count(brain, jobs, jobs.c.status.in_(("pending", "running"))) == 0

    place.run(over)

