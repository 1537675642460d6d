"""The worker killed (-9) while it takes triples in: what was acknowledged ends done, nothing is lost, nothing is there twice."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import func, select

from qzbrain.brain import Brain
from qzbrain.domain import Caller
from qzbrain.graph.importing import submit
from qzbrain.graph.reading import read
from qzbrain.graph.rows import BadRow
from qzbrain.storage.tables import OF_A_GRAPH, graph_mentions, graph_triples, jobs
from tests.flows.worker_process import WorkerProcess, until

AT_ONCE = 250
SMALL_PARTS = f"import qzbrain.worker as w; from qzbrain.graph import importing; importing.AT_ONCE = {AT_ONCE}; w.main()"


@pytest.fixture
def worker(brain: Brain) -> Iterator[WorkerProcess]:
    made = WorkerProcess(brain.settings.data)
    yield made
    made.kill()


@pytest.fixture
def kb(brain: Brain, caller: Caller) -> str:
    return brain.knowledge.create(caller, name="graph").id


def _made(rows: int, seed: int = 1) -> str:
    chance = random.Random(seed)
    lines = (f"实体{chance.randrange(rows // 4)},关系{chance.randrange(30)},实体{chance.randrange(200)},别名{chance.randrange(rows)}" for _ in range(rows))
    return "head,relation,tail,aliases\n" + "\n".join(line if n % 500 else ",坏,行," for n, line in enumerate(lines, 1)) + "\n"


def _submit(brain: Brain, kb_id: str, text: str) -> str:
    """As the route does: acknowledged when this returns."""
    payload = {"name": "a.csv", "lang": "zh", "dry_run": False}
    return submit(brain.db, brain.jobs, brain.files, io.BytesIO(text.encode()), kb_id=kb_id, payload=payload, limit_bytes=1 << 30)


def _row(brain: Brain, job_id: str) -> Any:
    return brain.db.rows(select(jobs).where(jobs.c.id == job_id))[0]


def _taken(brain: Brain, job_id: str) -> int:
    return int((_row(brain, job_id).payload.get("taken_in") or {}).get("facts", 0))


def _killed_on_the_way(brain: Brain, worker: WorkerProcess, job_id: str, chance: random.Random) -> None:
    """Kill the worker when it has taken in some more than before, at a moment of its own."""
    before = _taken(brain, job_id)
    until(lambda: _taken(brain, job_id) > before or _row(brain, job_id).status == "done", within_s=60, what="a part more")
    time.sleep(chance.uniform(0, 0.15))
    worker.kill()


def _content(brain: Brain, kb_id: str) -> set[tuple[Any, ...]]:
    return {(t.head.name, t.head.aliases, t.relation, t.tail.name, t.tail.aliases, t.places) for t in brain.graph.every_triple(kb_id)}


def _undisturbed(brain: Brain, text: str) -> set[tuple[Any, ...]]:
    brain.graph.add("undisturbed", [x[1] for x in read(text, "a.csv") if not isinstance(x, BadRow)])
    return _content(brain, "undisturbed")


def test_kills_lose_nothing_and_bring_nothing_twice(brain: Brain, kb: str, worker: WorkerProcess) -> None:
    text, chance = _made(20_000), random.Random(3)
    job_id = _submit(brain, kb, text)
    for _ in range(4):
        worker.start(SMALL_PARTS)
        _killed_on_the_way(brain, worker, job_id, chance)
    at_the_last_kill, lost = _taken(brain, job_id), _row(brain, job_id).lost
    assert 0 < at_the_last_kill < 20_000 and lost >= 2, "the kills came in the middle of it"
    worker.start(SMALL_PARTS)
    until(lambda: _row(brain, job_id).status == "done", within_s=90, what="done")
    result = _row(brain, job_id).result
    assert result["triples"] == 20_000 - 40 and [one["row"] for one in result["errors"]] == [500 * n + 1 for n in range(1, 41)]
    assert brain.graph.version(kb) == -(-(20_000 - 40) // AT_ONCE), "each part was taken in once"
    assert _content(brain, kb) == _undisturbed(brain, text)
    counts, other = brain.graph.stats(kb), brain.graph.stats("undisturbed")
    assert (counts.entities, counts.relations, counts.triples, counts.mentions) == (other.entities, other.relations, other.triples, other.mentions)
    per_triple = select(func.count()).select_from(graph_mentions).where(graph_mentions.c.kb_id == kb)
    assert brain.db.rows(per_triple)[0][0] == brain.db.rows(select(func.count()).select_from(graph_triples).where(graph_triples.c.kb_id == kb))[0][0]


def test_what_others_did_between_two_kills_stays(brain: Brain, kb: str, worker: WorkerProcess) -> None:
    text = _made(6_000)
    job_id = _submit(brain, kb, text)
    worker.start(SMALL_PARTS)
    _killed_on_the_way(brain, worker, job_id, random.Random(5))
    keep, merged = (brain.graph.search(kb, name, limit=1)[0] for name in ("实体0", "实体1"))
    merge_id = brain.graph.merge(kb, keep.id, [merged.id], author="local")
    worker.start(SMALL_PARTS)
    until(lambda: _row(brain, job_id).status == "done", within_s=60, what="done although the graph had changed")
    kept = brain.graph.entity(kb, keep.id)
    assert kept is not None and "实体1" in kept.aliases and brain.graph.entity(kb, merged.id) is None
    brain.graph.undo_merge(kb, merge_id)
    assert brain.graph.entity(kb, merged.id) is not None
    assert len(_content(brain, kb)) == len(_undisturbed(brain, text)) or brain.graph.stats(kb).entities >= brain.graph.stats("undisturbed").entities


def test_a_knowledge_base_deleted_on_the_way_keeps_nothing(brain: Brain, caller: Caller, kb: str, worker: WorkerProcess) -> None:
    job_id = _submit(brain, kb, _made(20_000))
    worker.start(SMALL_PARTS)
    until(lambda: _taken(brain, job_id) > 0, within_s=60, what="begun")
    brain.knowledge.delete(caller, "graph")
    other = brain.knowledge.create(caller, name="other").id
    done = _submit(brain, other, "甲,与,乙\n")
    until(lambda: _row(brain, done).status == "done", within_s=60, what="the worker goes on")
    for table in OF_A_GRAPH:
        assert brain.db.rows(select(func.count()).select_from(table).where(table.c.kb_id == kb))[0][0] == 0, table.name


def test_a_file_that_holds_nothing_fails_after_a_kill_as_before(brain: Brain, kb: str, worker: WorkerProcess) -> None:
    job_id = _submit(brain, kb, "head,relation,tail\n" + ",与,乙\n" * 300_000)
    worker.start(SMALL_PARTS)
    until(lambda: _row(brain, job_id).status == "running", within_s=60, what="begun")
    worker.kill()
    worker.start(SMALL_PARTS)
    until(lambda: _row(brain, job_id).status == "failed", within_s=90, what="it has failed")
    row = _row(brain, job_id)
    assert row.reason_code == "no_triples" and "2: " in row.reason_zh
    assert brain.graph.stats(kb).triples == 0 and brain.graph.version(kb) == 0
