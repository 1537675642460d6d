"""Real Celery workers on a real Redis: killed, stopped, emptied and away in the middle of the work; no job is lost, none is done twice over."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis
from sqlalchemy import func, select

from qzbrain.brain import Brain, build
from qzbrain.domain import Caller
from qzbrain.jobs.lock import worker_is_alive
from qzbrain.storage.tables import chunks, documents, jobs
from qzbrain.worker import work_inline
from tests.flows.worker_process import ROOT, WorkerProcess, until
from tests.running import stop_still
from tests.servers.programs import end
from tests.servers.redis_server import PASSWORD, RedisServer

pytestmark = pytest.mark.servers


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that a test may kill."""
    server = RedisServer(tmp_path / "redis").start()
    yield server
    server.stop()


@pytest.fixture
def told(brain: Brain, redis: RedisServer) -> Iterator[Brain]:
    """A brain that dispatches by Celery, with a knowledge base."""
    made = build(brain.settings.model_copy(update=redis.settings))
    made.knowledge.create(made.access.local_caller("zh"), name="x")
    yield made
    made.close()


@pytest.fixture
def worker(told: Brain, redis: RedisServer, tmp_path: Path) -> Iterator[WorkerProcess]:
    made = WorkerProcess(told.settings.data, {**redis.environment, "LOG_LEVEL": "info"}, tmp_path / "worker.log")
    yield made
    made.kill()


def up(worker: WorkerProcess) -> None:
    worker.start()
    until(lambda: "worker_started" in said(worker), within_s=20, what="worker up")


def said(worker: WorkerProcess) -> str:
    assert worker.log is not None
    return worker.log.read_text(encoding="utf-8", errors="replace") if worker.log.exists() else ""


def upload(brain: Brain, caller: Caller, numbers: range) -> list[float]:
    """One document for each number; seconds that each took."""
    took = []
    for n in numbers:
        began = time.monotonic()
        brain.knowledge.add_file(caller, "x", f"{n}.txt", io.BytesIO(f"第{n}份文件：独角兽{n}号须登记。".encode()))
        took.append(time.monotonic() - began)
    return took


def open_jobs(brain: Brain) -> int:
    return int(brain.db.rows(select(func.count()).where(jobs.c.status.in_(("pending", "running"))))[0][0])


def all_ready_once(brain: Brain, count: int, within_s: float = 45) -> None:
    until(lambda: open_jobs(brain) == 0, within_s=within_s, what="all jobs done")
    ready = brain.db.rows(select(documents.c.id, documents.c.kb_id).where(documents.c.status == "ready"))
    in_sql = brain.db.rows(select(func.count(), func.count(chunks.c.document_id.distinct())))[0]
    assert len(ready) == count
    assert tuple(in_sql) == (count, count), "one chunk for each of these short documents"
    assert brain.index.chunk_count(ready[0].kb_id) == count
    assert {x.status for x in brain.jobs.jobs(limit=1000).data} == {"done"}


def test_killed_workers_in_the_middle_of_many_jobs(told: Brain, caller: Caller, worker: WorkerProcess) -> None:
    for step in range(4):
        up(worker)
        upload(told, caller, range(step * 30, step * 30 + 30))
        done = told.db.rows(select(func.count()).where(jobs.c.status == "done"))[0][0]
        until(lambda before=done: told.db.rows(select(func.count()).where(jobs.c.status == "done"))[0][0] > before, within_s=20, what="some done")
        worker.kill()
    up(worker)
    all_ready_once(told, 120)


def test_redis_killed_and_started_again_in_the_middle_of_uploads(told: Brain, caller: Caller, worker: WorkerProcess, redis: RedisServer) -> None:
    up(worker)
    took = upload(told, caller, range(70))
    redis.kill()
    took += upload(told, caller, range(70, 140))
    redis.start()
    took += upload(told, caller, range(140, 200))
    assert max(took) < 1.5
    all_ready_once(told, 200)


def test_redis_emptied_in_the_middle_of_uploads(told: Brain, caller: Caller, worker: WorkerProcess, redis: RedisServer) -> None:
    up(worker)
    for step in range(4):
        upload(told, caller, range(step * 40, step * 40 + 40))
        with Redis(port=redis.port, password=PASSWORD) as client:
            client.flushall()
    all_ready_once(told, 160)
    assert "broker_silent" not in said(worker), "beat and consumer go on"
    upload(told, caller, range(160, 161))
    assert until(lambda: open_jobs(told) == 0, within_s=20, what="the next one") < 5, "by a message: silence lasts longer"


def test_jobs_go_on_while_redis_is_away_and_by_it_when_it_is_back(told: Brain, caller: Caller, worker: WorkerProcess, redis: RedisServer) -> None:
    redis.stop()
    up(worker)
    assert max(upload(told, caller, range(20))) < 1.5
    all_ready_once(told, 20)
    assert "broker_silent" in said(worker)
    assert "Cannot connect to redis" in said(worker)
    redis.start()
    until(lambda: "broker_heard" in said(worker), within_s=40, what="back")
    upload(told, caller, range(20, 21))
    until(lambda: open_jobs(told) == 0, within_s=20, what="the next one")


def test_a_redis_that_hangs_delays_nobody(told: Brain, caller: Caller, worker: WorkerProcess, redis: RedisServer) -> None:
    up(worker)
    upload(told, caller, range(1))
    all_ready_once(told, 1)
    assert redis.process is not None
    stop_still(redis.process.pid)
    try:
        assert max(upload(told, caller, range(1, 5))) < 1.5
        all_ready_once(told, 5)
    finally:
        redis.process.send_signal(signal.SIGCONT)


def test_a_wrong_password_is_told_and_stops_nothing(told: Brain, caller: Caller, redis: RedisServer, tmp_path: Path) -> None:
    wrong = {**redis.environment, "REDIS_PASSWORD": "wrong"}
    worker = WorkerProcess(told.settings.data, {**wrong, "LOG_LEVEL": "info"}, tmp_path / "worker.log")
    try:
        up(worker)
        upload(told, caller, range(3))
        all_ready_once(told, 3)
        until(lambda: "invalid username-password pair" in said(worker), within_s=20, what="the reason in the log")
    finally:
        worker.kill()


def test_sigterm_ends_it_in_time_and_jobs_are_given_back(told: Brain, caller: Caller, worker: WorkerProcess) -> None:
    up(worker)
    for n in range(40):
        told.knowledge.add_file(caller, "x", f"{n}.md", io.BytesIO((f"{n}号。\n" + "采购须经批准。\n" * 3000).encode()))
    until(lambda: any(x.status == "running" for x in told.jobs.jobs(limit=100).data), within_s=10, what="work begun")
    assert worker.stop() < 5
    assert worker.process is not None and worker.process.returncode == 0
    left = told.jobs.jobs(limit=100).data
    assert {x.status for x in left} <= {"pending", "done"} and any(x.status == "pending" for x in left)
    assert {x.attempts for x in left if x.status == "pending"} == {0}
    assert not worker_is_alive(told.settings.data)


def test_a_second_worker_waits_for_the_data_folder_and_takes_over(
    told: Brain, caller: Caller, worker: WorkerProcess, redis: RedisServer, tmp_path: Path
) -> None:
    up(worker)
    second = WorkerProcess(told.settings.data, {**redis.environment, "LOG_LEVEL": "info"}, tmp_path / "second.log")
    second.start()
    try:
        until(lambda: "worker_waits" in said(second), within_s=20, what="it waits")
        upload(told, caller, range(2))
        all_ready_once(told, 2)
        assert "worker_started" not in said(second)
        worker.kill()
        upload(told, caller, range(2, 4))
        all_ready_once(told, 4)
        assert "worker_started" in said(second)
    finally:
        second.kill()


def test_a_command_does_its_part_where_no_worker_is(told: Brain, caller: Caller) -> None:
    upload(told, caller, range(5))
    work_inline(told, lambda: open_jobs(told) == 0)
    all_ready_once(told, 5)


def test_a_worker_that_grew_large_starts_itself_anew_and_keeps_the_lock(told: Brain, caller: Caller, worker: WorkerProcess) -> None:
    process = worker.start("import qzbrain.worker as w; w._RENEW_S = 0.2; w._RENEW_ABOVE_MB = 1; w.main()")
    seen_free: list[bool] = []

    def renewed() -> bool:
        alive = worker_is_alive(told.settings.data)
        if alive or seen_free:
            seen_free.append(not alive)
        return b"--lock" in Path(f"/proc/{process.pid}/cmdline").read_bytes()

    until(renewed, within_s=20, what="started anew")
    assert not any(seen_free), "the lock was free for a moment"
    upload(told, caller, range(3))
    all_ready_once(told, 3)
    assert worker.stop() < 5
    assert process.returncode == 0


def test_two_workers_share_jobs_and_do_none_twice(told: Brain, redis: RedisServer, tmp_path: Path) -> None:
    record = tmp_path / "record"
    environment = {**os.environ, **redis.environment, "QZBRAIN_EMBEDDER": "none", "QZBRAIN_DATA": str(told.settings.data), "LOG_LEVEL": "warning"}
    command = [sys.executable, "-m", "tests.flows.celery_recorder", str(record)]
    workers = [subprocess.Popen(command, cwd=ROOT, env=environment) for _ in range(2)]

    def lines() -> list[list[str]]:
        return [line.split() for line in record.read_text().splitlines()] if record.exists() else []

    try:
        until(lambda: len(lines()) == 2, within_s=30, what="both take messages")
        for n in range(30):
            with told.db.write() as connection:
                told.jobs.submit_many(connection, "record", [f"{n}-{i}" for i in range(10)])
        with told.db.write() as connection:
            told.jobs.submit_many(connection, "second", ["again-1", "again-2"])
        until(lambda: open_jobs(told) == 0, within_s=40, what="all done")
    finally:
        for process in workers:
            end(process)
    done = [line for line in lines() if line[0] != "ready"]
    assert sorted(subject for subject, _ in done) == sorted(["again-1", "again-2", *(f"{n}-{i}" for n in range(30) for i in range(10))])
    assert min(Counter(pid for _, pid in done).values()) > 30, "both took their share"
