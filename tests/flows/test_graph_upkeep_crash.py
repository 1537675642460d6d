"""The worker killed (-9) while it makes a graph from documents: in the end the graph is that of documents read in peace, and nothing is there twice."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import func, select

from qzbrain.brain import Brain
from qzbrain.domain import Caller
from qzbrain.graph.statements import RULES
from qzbrain.graph.upkeep import KIND
from qzbrain.storage.tables import chunks, documents, graph_linking, graph_links, graph_mentions, graph_names, graph_triples, jobs
from qzbrain.worker import work_inline
from tests.flows.worker_process import WorkerProcess, until

LAWS = 24
ARTICLES = 12
ROUNDS = 5
SMALL_STEPS = "import qzbrain.worker as w; from qzbrain.graph import links, upkeep; upkeep._DOCUMENTS = 1; links._CHUNKS = 1; w.main()"


@pytest.fixture
def worker(brain: Brain) -> Iterator[WorkerProcess]:
    made = WorkerProcess(brain.settings.data)
    yield made
    made.kill()


def _law(number: int) -> str:
    """With chapters, references within it and to the next one, and terms that other laws speak of."""
    lines = [f"# 第{number}号试验条例", ""]
    for article in range(1, ARTICLES + 1):
        if article % 8 == 1:
            lines += [f"## 第{_said(article // 8 + 1)}章 第{article // 8 + 1}类事项", ""]
        body = f"试验术语{(number + 1) % LAWS}之3须经登记。"
        if article % 3 == 0:
            body = f"本条例所称试验术语{number}之{article}，是指由第{article}类机构登记的事项。"
        other = f"《第{(number + 1) % LAWS}号试验条例》第{_said(article)}条"
        lines += [f"**第{_said(article)}条** {body}违反本条例第{_said(article % ARTICLES + 1)}条的，依照{other}处理。" + "登记机构应当妥善保管资料。" * 12, ""]
    return "\n".join(lines)


def _said(number: int) -> str:
    tens, ones = divmod(number, 10)
    digits = " 一二三四五六七八九"
    return (("" if tens == 1 else digits[tens]) + "十" if tens else "") + (digits[ones] if ones else "")


def _add(brain: Brain, caller: Caller, number: int) -> str:
    return str(brain.knowledge.add_file(caller, "kb", f"{number}.md", io.BytesIO(_law(number).encode())).id)


def _count(brain: Brain, *where: Any) -> int:
    return int(brain.db.rows(select(func.count()).where(*where))[0][0])


def _open(brain: Brain) -> int:
    return _count(brain, jobs.c.status.in_(("pending", "running")))


def _graph(brain: Brain, kb_id: str) -> list[Any]:
    """Every mention of every triple by itself, so that one said twice is seen."""
    return sorted(
        (t.head.name, t.head.type, t.head.aliases, t.relation, t.tail.name, t.tail.type, p.extractor, p.document_id, p.chunk_id, p.start, p.end, p.quote)
        for t in brain.graph.every_triple(kb_id)
        for p in t.places
    )


def _links(brain: Brain, kb_id: str) -> list[Any]:
    rows = select(graph_names.c.name_key, graph_links.c.chunk_id, graph_links.c.count).join(graph_links, graph_links.c.name_id == graph_names.c.id)
    return sorted(tuple(row) for row in brain.db.rows(rows.where(graph_names.c.kb_id == kb_id)))


def _anew(brain: Brain, kb_id: str) -> str:
    """The graph gone, and a job that makes it; its id."""
    brain.graph.drop(kb_id)
    assert _graph(brain, kb_id) == _links(brain, kb_id) == []
    return brain.graph_upkeep.rebuild(kb_id)


def _made_in_peace(brain: Brain, kb_id: str) -> tuple[list[Any], list[Any]]:
    """The graph and its links, made anew by a job that nobody disturbs."""
    _anew(brain, kb_id)
    work_inline(brain, lambda: _open(brain) == 0)
    return _graph(brain, kb_id), _links(brain, kb_id)


def _consistent(brain: Brain, kb_id: str) -> None:
    """Counts of rows are those of what is told; no row stands without what it belongs to."""
    told = _graph(brain, kb_id)
    assert len(told) == len(set(told)) == _count(brain, graph_mentions.c.kb_id == kb_id)
    assert len({(one[0], one[1], one[3], one[4], one[5]) for one in told}) == _count(brain, graph_triples.c.kb_id == kb_id)
    gone = select(graph_links.c.name_id).outerjoin(chunks, chunks.c.id == graph_links.c.chunk_id).where(chunks.c.id.is_(None))
    assert brain.db.rows(gone) == []


def _linked(brain: Brain, kb_id: str) -> int:
    """How far chunks were looked through: those for new names, then those of all names."""
    rows = brain.db.rows(select(graph_linking.c.again, graph_linking.c.upto).where(graph_linking.c.kb_id == kb_id))
    return max(rows[0]) if rows else 0


def test_kills_while_documents_are_gone_through_and_while_names_are_looked_for(brain: Brain, caller: Caller, worker: WorkerProcess) -> None:
    kb_id = brain.knowledge.create(caller, name="kb").id
    ids = [_add(brain, caller, number) for number in range(LAWS)]
    work_inline(brain, lambda: _open(brain) == 0)
    expected, expected_links = _made_in_peace(brain, kb_id)
    assert {one[6] for one in expected} == {"structure", "reference", "definition"} and len(expected) > 2 * LAWS * ARTICLES and len(expected_links) > LAWS
    job_id = _anew(brain, kb_id)

    def ended() -> bool:
        return brain.jobs.get(job_id).status == "done"

    def stated() -> int:
        return _count(brain, documents.c.id.in_(ids), documents.c.graph_rules == RULES)

    def kill_when_further(far: Callable[[], int]) -> bool:
        """Let the worker get somewhat further and kill it; whether that was in the middle of this stage."""
        before = far()
        worker.start(SMALL_STEPS)
        until(lambda: far() > before or ended(), within_s=60, what="a step more")
        worker.kill()
        return not ended()

    first = [kill_when_further(stated) for _ in range(3)]
    amid_documents = stated()
    assert all(first) and 3 <= amid_documents < LAWS, "the kills came while documents were gone through"
    second = [kill_when_further(lambda: _linked(brain, kb_id)) for _ in range(3)]
    assert any(second) and stated() == LAWS, "a kill came while names were looked for"
    lost = brain.db.rows(select(jobs.c.lost).where(jobs.c.id == job_id))[0].lost
    worker.start()
    until(lambda: _open(brain) == 0, within_s=90, what="all is done")
    assert ended() and lost >= 3
    assert _graph(brain, kb_id) == expected
    assert _links(brain, kb_id) == expected_links
    _consistent(brain, kb_id)


def test_kills_while_documents_come_in(brain: Brain, caller: Caller, worker: WorkerProcess) -> None:
    kb_id = brain.knowledge.create(caller, name="kb").id
    chance = random.Random(11)
    for number in range(ROUNDS):
        worker.start(SMALL_STEPS)
        _add(brain, caller, number)
        _add(brain, caller, ROUNDS + number)
        if number == 3:
            brain.graph_upkeep.rebuild(kb_id)
        before = brain.graph.version(kb_id)
        until(lambda before=before: brain.graph.version(kb_id) > before or not _open(brain), within_s=60, what="something is in the graph")  # type: ignore[misc]
        time.sleep(chance.uniform(0, 0.1))  # spreads the kills over the stages of the work
        worker.kill()
    worker.start()
    until(lambda: _open(brain) == 0, within_s=90, what="all is done")
    brain.graph_upkeep.submit_due()  # what the worker looks for by itself every so often
    until(lambda: _open(brain) == 0, within_s=30, what="names are looked for")
    worker.stop()
    assert {job.status for job in brain.jobs.jobs(limit=1000).data} == {"done"} and any(job.kind == KIND for job in brain.jobs.jobs(limit=1000).data)
    graph, links = _graph(brain, kb_id), _links(brain, kb_id)
    assert {one[7] for one in graph} == {x.id for x in brain.knowledge.documents(caller, "kb", "ready", limit=1000).data}
    _consistent(brain, kb_id)
    assert (graph, links) == _made_in_peace(brain, kb_id)
