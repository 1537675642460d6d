"""The worker killed in the middle of an extraction, again and again: what was answered is not asked again, and the graph is that of an undisturbed run."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from qzbrain.brain import Brain, build
from qzbrain.settings import ModelSettings, Settings
from qzbrain.storage.tables import graph_extractions, jobs
from qzbrain.worker import work_inline
from tests.engine import Engine, Script
from tests.flows.worker_process import WorkerProcess, until
from tests.graph.reading_model import reply

SLOTS = 3


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as made:
        made.script(answer=lambda body: Script(texts=reply(body), first_delay_s=0.15))
        yield made


@pytest.fixture
def brain(tmp_path: Path, engine: Engine) -> Iterator[Brain]:
    data = tmp_path / "data"
    data.mkdir()
    (data / "config.toml").write_text(f'[models.scripted]\nengine = "external"\nbase_url = "{engine.base_url}"\nslots = {SLOTS}\n')
    models = {"scripted": ModelSettings(engine="external", base_url=engine.base_url, slots=SLOTS)}
    made = build(Settings(qzbrain_data=data, qzbrain_embedder="none", models=models))
    yield made
    made.close()


@pytest.fixture
def worker(brain: Brain) -> Iterator[WorkerProcess]:
    process = WorkerProcess(brain.settings.data)
    yield process
    process.kill()


def content(brain: Brain, kb_id: str) -> list[Any]:
    """The graph, each mention by itself, so that one said twice is seen."""
    return sorted(
        (t.head.name, t.relation, t.tail.name, p.document_id, p.chunk_id, p.start, p.quote) for t in brain.graph.every_triple(kb_id) for p in t.places
    )


def test_a_killed_worker_goes_on_where_it_was(brain: Brain, engine: Engine, worker: WorkerProcess) -> None:
    caller = brain.access.local_caller("zh")
    kb_id = brain.knowledge.create(caller, name="kb").id
    for n in range(6):
        facts = [f"第{n}分厂{m}号公司的董事长是李{n}{m}。" + f"公司{m}的经营情况良好，各项制度已经建立，并由各部门分别执行。" * 10 for m in range(12)]
        brain.knowledge.add_file(caller, "kb", f"{n}.txt", io.BytesIO("\n\n".join(facts).encode()))
    work_inline(brain, lambda: not any(x.status in ("pending", "running") for x in brain.jobs.jobs(limit=100).data))
    calls = brain.extractions.cost(kb_id).calls
    assert calls >= 15
    job_id = brain.extractions.submit(kb_id, model="scripted")

    def kept() -> int:
        return int(brain.db.rows(select(func.count()).select_from(graph_extractions))[0][0])

    kills = 0
    worker.start()
    for share in (0.2, 0.45, 0.7):
        until(lambda share=share: kept() >= calls * share, within_s=40, what=f"{share:.0%} of the calls")  # type: ignore[misc]
        assert brain.jobs.get(job_id).status == "running"
        worker.kill()
        kills += 1
        worker.start()
    until(lambda: brain.jobs.get(job_id).status == "done", within_s=60, what="the job is done")
    result = brain.jobs.get(job_id).result
    assert result is not None and (result["documents"], result["failed_chunks"], result["rejected"]) == (6, 0, {})
    assert kept() == calls and brain.db.rows(select(jobs.c.lost).where(jobs.c.id == job_id))[0].lost == kills
    times = Counter(str(one.body["messages"]) for one in engine.requests)
    assert len(times) == calls and len(engine.requests) <= calls + kills * SLOTS
    found = content(brain, kb_id)
    assert len(found) == len(set(found)) == 72
    worker.stop()
    brain.graph.drop(kb_id)
    assert brain.extractions.cost(kb_id).cached_calls == 0
    again = brain.extractions.submit(kb_id, model="scripted")
    work_inline(brain, lambda: brain.jobs.get(again).status == "done")
    assert content(brain, kb_id) == found


def test_a_worker_that_is_asked_to_end_gives_the_job_back_and_frees_the_engine(brain: Brain, engine: Engine, worker: WorkerProcess) -> None:
    engine.script(fault="silence")
    caller = brain.access.local_caller("zh")
    kb_id = brain.knowledge.create(caller, name="kb").id
    brain.knowledge.add_file(caller, "kb", "a.txt", io.BytesIO("甲公司的董事长是李明。".encode()))
    work_inline(brain, lambda: not any(x.status in ("pending", "running") for x in brain.jobs.jobs(limit=100).data))
    job_id = brain.extractions.submit(kb_id, model="scripted")
    worker.start()
    until(lambda: engine.active == 1, within_s=30, what="the engine is asked")
    assert worker.stop() < 3.0
    until(lambda: engine.active == 0, within_s=5, what="the engine is left")
    job = brain.jobs.get(job_id)
    assert (job.status, job.attempts) == ("pending", 0)


def test_a_cancelled_job_frees_the_engine_at_once(brain: Brain, engine: Engine, worker: WorkerProcess) -> None:
    engine.script(fault="silence")
    caller = brain.access.local_caller("zh")
    kb_id = brain.knowledge.create(caller, name="kb").id
    brain.knowledge.add_file(caller, "kb", "a.txt", io.BytesIO("甲公司的董事长是李明。".encode()))
    work_inline(brain, lambda: not any(x.status in ("pending", "running") for x in brain.jobs.jobs(limit=100).data))
    job_id = brain.extractions.submit(kb_id, model="scripted")
    worker.start()
    until(lambda: engine.active == 1, within_s=30, what="the engine is asked")
    brain.jobs.cancel(job_id)
    until(lambda: engine.active == 0, within_s=5, what="the engine is left")
    assert brain.jobs.get(job_id).status == "cancelled"
    engine.script(answer=reply)
    brain.jobs.retry(job_id)
    until(lambda: brain.jobs.get(job_id).status == "done", within_s=30, what="it is done after a retry")
    assert brain.graph.stats(kb_id).triples == 1
