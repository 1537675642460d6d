"""The worker killed at random moments of an ingest: every acknowledged upload ends ready, and the index is what a rebuild gives."""

from __future__ import annotations

import io
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from qzbrain.brain import Brain
from qzbrain.domain import Caller
from qzbrain.jobs.lock import WorkerLock, worker_is_alive
from qzbrain.retrieval.hybrid import SearchQuery
from qzbrain.storage.tables import chunks, jobs, outbox
from qzbrain.worker import work_inline
from tests.flows.worker_process import WorkerProcess, until

HOSTILE = Path(__file__).parents[1] / "knowledge" / "hostile_child.py"
LAWS = Path(__file__).parents[2] / "qzbrain" / "samples" / "laws"
QUESTIONS = ("行政处罚的种类有哪些", "劳动合同应当具备哪些条款", "民法典第一千零四十二条", "谁可以申请行政复议", "食品安全标准由谁制定", "第7号规定由谁批准")


@pytest.fixture
def worker(brain: Brain) -> Iterator[WorkerProcess]:
    made = WorkerProcess(brain.settings.data)
    yield made
    made.kill()


def _open_jobs(brain: Brain) -> int:
    return int(brain.db.rows(select(func.count()).where(jobs.c.status.in_(("pending", "running"))))[0][0])


def _answers(brain: Brain, caller: Caller) -> list[list[tuple[str, str]]]:
    """By the index alone: the graph's part comes when it has been read, which nobody waits long for."""
    scope = brain.access.scope(caller)
    return [[(hit.document_id, hit.text) for hit in brain.retriever.search(SearchQuery(q, mode="lexical"), scope).hits] for q in QUESTIONS]


@pytest.mark.slow
def test_kills_at_random_moments(brain: Brain, caller: Caller, worker: WorkerProcess) -> None:
    kb_id = brain.knowledge.create(caller, name="crash").id
    chance, acknowledged = random.Random(7), set[str]()
    # of forty lengths: more passages of one score than are looked at would be chosen by how they lie in the index
    texts = (f"第{n}号规定由第{n}局批准。" + "附录。" * (n % 40) for n in range(1200))
    lines = b"".join(json.dumps({"id": str(n), "text": text}, ensure_ascii=False).encode() + b"\n" for n, text in enumerate(texts))
    uploads: list[tuple[str, bytes]] = [(path.name, path.read_bytes()) for path in sorted(LAWS.glob("*.md"))]
    uploads += [(f"{n}.txt", f"第{n}份文件：独角兽{n}号须登记。".encode()) for n in range(60)]
    uploads.insert(len(uploads) // 3, ("corpus.jsonl", lines))
    for step, (name, data) in enumerate(uploads):
        if step % (len(uploads) // 5) == 0:
            worker.kill()
            worker.start()
        added = brain.knowledge.add_file(caller, "crash", name, io.BytesIO(data))
        acknowledged.add(added.id or str(added.job_id))
        time.sleep(chance.uniform(0, 0.06))  # spreads the kills over the stages of the work
    until(lambda: _open_jobs(brain) == 0, within_s=90, what="all jobs done")
    counts = brain.knowledge.knowledge_base(caller, "crash").documents
    assert (counts.ready, counts.failed, counts.pending) == (len(uploads) - 1 + 1200, 0, 0)
    assert {x.status for x in brain.jobs.jobs(limit=1000).data} == {"done"}
    assert brain.db.rows(select(func.count()).select_from(outbox))[0][0] == 0
    in_sql = brain.db.rows(select(func.count()).select_from(chunks))[0][0]
    assert brain.index.chunk_count(kb_id) == in_sql
    worker.stop()
    before = _answers(brain, caller)
    brain.feeder.rebuild(kb_id)
    assert brain.index.chunk_count(kb_id) == in_sql
    assert _answers(brain, caller) == before
    assert all(before)


def test_a_job_is_taken_at_once_and_sigterm_ends_the_worker_in_time(brain: Brain, caller: Caller, worker: WorkerProcess) -> None:
    brain.knowledge.create(caller, name="x")
    worker.start()
    until(lambda: worker_is_alive(brain.settings.data), within_s=20, what="worker up")
    until(lambda: _ready(brain, caller, "先来的文件。"), within_s=30, what="first document")
    job_id = str(brain.knowledge.add_file(caller, "x", "b.txt", io.BytesIO("第二份文件。".encode())).job_id)
    waited = until(lambda: brain.jobs.get(job_id).status != "pending", within_s=10, what="job taken")
    assert waited < 1.0  # 0.08 s between looks; the rest is for a busy machine
    for n in range(40):
        brain.knowledge.add_file(caller, "x", f"{n}.md", io.BytesIO((f"{n}号。\n" + "采购须经批准。\n" * 3000).encode()))
    until(lambda: any(x.status == "running" for x in brain.jobs.jobs(limit=100).data), within_s=10, what="work begun")
    assert worker.stop() < 2.5
    assert worker.process is not None and worker.process.returncode == 0
    given_back = brain.jobs.jobs(limit=100).data
    assert {x.status for x in given_back} <= {"pending", "done"} and any(x.status == "pending" for x in given_back)
    assert {x.attempts for x in given_back if x.status == "pending"} == {0}


def _ready(brain: Brain, caller: Caller, content: str) -> bool:
    added = brain.knowledge.add_file(caller, "x", "a.txt", io.BytesIO(content.encode()))
    return added.status == "ready"


def test_a_worker_killed_in_the_middle_of_a_long_document_goes_on_with_it(
    brain: Brain, caller: Caller, worker: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(HOSTILE.parents[2]))
    code = (
        "import sys, qzbrain.worker as w; from qzbrain.knowledge import ingest; ingest.PATIENCE_S = 2; "
        f"w.Workplace.__init__.__defaults__ = ((sys.executable, {str(HOSTILE)!r}),); w.main()"
    )
    brain.knowledge.create(caller, name="x")
    text = "STEPS 采购须经批准。\n\n" + "文件。" * 8000
    long = brain.knowledge.add_file(caller, "x", "scan.pdf", io.BytesIO(text.encode()))
    worker.start(code)
    until(lambda: brain.knowledge.document(caller, str(long.id)).progress_unit == "pages", within_s=40, what="its progress is shown")
    assert brain.jobs.get(str(long.job_id)).status == "running"
    worker.kill()
    worker.start(code)
    until(lambda: brain.knowledge.document(caller, str(long.id)).status == "ready", within_s=60, what="it is ready")
    assert brain.jobs.get(str(long.job_id)).status == "done"
    assert brain.db.rows(select(jobs.c.lost).where(jobs.c.id == long.job_id))[0].lost == 1


def test_one_worker_for_a_data_folder_and_the_next_takes_over(brain: Brain, caller: Caller, worker: WorkerProcess) -> None:
    brain.knowledge.create(caller, name="x")
    lock = WorkerLock(brain.settings.data)
    assert not worker_is_alive(brain.settings.data)
    assert lock.acquire()
    assert not WorkerLock(brain.settings.data).acquire()
    assert worker_is_alive(brain.settings.data)
    worker.start()
    job_id = str(brain.knowledge.add_file(caller, "x", "a.txt", io.BytesIO("文件。".encode())).job_id)
    with pytest.raises(AssertionError):
        until(lambda: brain.jobs.get(job_id).status != "pending", within_s=2, what="taken although the folder is held")
    lock.release()
    until(lambda: brain.jobs.get(job_id).status == "done", within_s=30, what="done by the worker that waited")


def test_a_command_waits_for_the_worker_and_takes_over_when_it_dies(brain: Brain, caller: Caller, worker: WorkerProcess) -> None:
    brain.knowledge.create(caller, name="x")
    worker.start()
    until(lambda: worker_is_alive(brain.settings.data), within_s=20, what="worker up")
    ids = [str(brain.knowledge.add_file(caller, "x", f"{n}.txt", io.BytesIO(f"第{n}份。".encode() * 2000)).job_id) for n in range(20)]
    asked = 0

    def done() -> bool:
        nonlocal asked
        asked += 1
        if asked == 2:
            worker.kill()
        return all(brain.jobs.get(x).status == "done" for x in ids)

    work_inline(brain, done)
    assert done()
    assert not worker_is_alive(brain.settings.data)


def test_a_worker_that_grew_large_starts_itself_anew_and_keeps_the_lock(brain: Brain, caller: Caller, worker: WorkerProcess) -> None:
    brain.knowledge.create(caller, name="x")
    process = worker.start("import qzbrain.worker as w; w._RENEW_S = 0.2; w._RENEW_ABOVE_MB = 1; w.main()")
    seen_free: list[bool] = []

    def renewed() -> bool:
        if worker_is_alive(brain.settings.data):
            seen_free.append(False)
        elif seen_free:
            seen_free.append(True)
        return b"--lock" in Path(f"/proc/{process.pid}/cmdline").read_bytes()

    until(renewed, within_s=20, what="started anew")
    assert not any(seen_free), "the lock was free for a moment"
    assert worker_is_alive(brain.settings.data)
    until(lambda: _ready(brain, caller, "文件。"), within_s=30, what="work goes on")
    assert worker.stop() < 2.5
    assert process.returncode == 0
    assert not worker_is_alive(brain.settings.data)
