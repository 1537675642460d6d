"""Jobs that Celery dispatches, on a real Redis: what is sent and when, and that nobody waits for a broker that is away."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from qzbrain.brain import Brain, build
from qzbrain.jobs import broker
from qzbrain.jobs.celery import CeleryRunner
from qzbrain.jobs.leases import Kind, LeaseRunner
from qzbrain.jobs.lock import WorkerLock
from qzbrain.jobs.shift import Shift
from qzbrain.settings import Settings
from tests.running import free_port, wait_for
from tests.servers.redis_server import PASSWORD, RedisServer

pytestmark = pytest.mark.servers
_CLOSED_TIMES = 20
"""Each waits a second at most for what is still to be sent, and none when nothing is: enough for a busy machine."""


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.stop()


@pytest.fixture
def told(brain: Brain, redis: RedisServer) -> Iterator[Brain]:
    """A brain that dispatches by Celery."""
    made = build(brain.settings.model_copy(update=redis.settings))
    yield made
    made.close()


def messages(brain: Brain) -> list[tuple[str, str]]:
    """Task and first argument of what waits, the oldest first; read as Redis has it."""
    settings = brain.settings
    for _ in range(_CLOSED_TIMES):
        brain.jobs.close()
    with Redis(host=settings.redis_host, port=settings.redis_port, password=settings.redis_password, db=settings.celery_db) as client:
        raw = client.lrange(broker.prefix(settings) + broker.QUEUE, 0, -1)
    found = [json.loads(one) for one in reversed(raw)]
    return [(one["headers"]["task"], one["headers"]["argsrepr"].strip("[]'")) for one in found]


def submit(brain: Brain, count: int = 1) -> list[str]:
    with brain.db.write() as connection:
        return brain.jobs.submit_many(connection, "read", [f"s{n}" for n in range(count)])


def run(environment: dict[str, str], first: str = "") -> subprocess.CompletedProcess[str]:
    """A process that submits one job and prints its id."""
    code = f"""{first}
from qzbrain.brain import build; from qzbrain.settings import load_settings
brain = build(load_settings())
with brain.db.write() as connection: print(brain.jobs.submit(connection, "read"))
for _ in range({_CLOSED_TIMES}): brain.jobs.close()
"""
    given = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])


def shift(brain: Brain, done: list[str]) -> Shift:
    def handle(leases: object) -> None:
        done.extend(lease.job.subject for lease in leases)  # type: ignore[attr-defined]

    return Shift(broker.application(brain.settings), brain.jobs, {"read": Kind(handle, batch=4)})


def test_a_message_for_each_job_once_it_is_committed(told: Brain) -> None:
    with told.db.write() as connection:
        job_id = told.jobs.submit(connection, "read")
        assert messages(told) == []
    assert messages(told) == [(broker.DO, job_id)]
    assert messages(told) + [(broker.DO, x) for x in submit(told, 3)] == messages(told)


def test_what_is_rolled_back_sends_nothing_and_a_retry_sends_again(told: Brain) -> None:
    with pytest.raises(ZeroDivisionError), told.db.write() as connection:
        told.jobs.submit(connection, "read")
        raise ZeroDivisionError
    assert messages(told) == []
    (job_id,) = submit(told)
    told.jobs.cancel(job_id)
    told.jobs.retry(job_id)
    assert messages(told) == [(broker.DO, job_id)] * 2


def test_brains_on_one_redis_do_not_take_each_others_messages(told: Brain, redis: RedisServer, tmp_path: Path) -> None:
    other = build(Settings(qzbrain_data=tmp_path / "other", **redis.settings))
    submit(other)
    assert messages(told) == []
    assert len(messages(other)) == 1
    other.close()


def test_a_message_takes_its_job_first_and_others_of_the_kind_along(told: Brain) -> None:
    done: list[str] = []
    ids = submit(told, 6)
    worker = shift(told, done)
    worker.do(ids[5])
    assert done == ["s5", "s0", "s1", "s2"]
    for job_id in (ids[0], ids[5], "gone"):
        worker.do(job_id)
    assert len(done) == 4, "those of jobs that are done, or deleted, do nothing"
    worker.do(ids[3])
    assert done[4:] == ["s3", "s4"]


def test_a_sweep_sends_what_is_missing_and_no_more(told: Brain, redis: RedisServer) -> None:
    done: list[str] = []
    ids = submit(told, 5)
    worker = shift(told, done)
    before = messages(told)
    worker.sweep()
    assert messages(told) == before, "each row has its message"
    with Redis(port=redis.port, password=PASSWORD) as client:
        client.flushall()
    for _ in range(3):
        worker.sweep()
    assert sorted(messages(told)) == sorted((broker.DO, job_id) for job_id in ids)


def test_a_silent_broker_has_jobs_done_from_the_rows(told: Brain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qzbrain.jobs.shift.SILENCE_S", 0.3)
    done: list[str] = []
    submit(told, 5)
    worker = shift(told, done)
    worker.start()
    try:
        wait_for(lambda: len(done) == 5, "done without a message", 10)
    finally:
        worker.close()


def test_while_the_broker_speaks_the_rows_are_left_to_it(told: Brain) -> None:
    done: list[str] = []
    submit(told, 5)
    idle: list[float] = []
    worker = Shift(broker.application(told.settings), told.jobs, {"read": Kind(lambda leases: done.append("x"))}, idle.append)
    worker.start()
    wait_for(lambda: len(idle) >= 4, "idle was told")
    worker.close()
    assert done == []


def test_a_broker_that_is_away_costs_the_caller_nothing(brain: Brain, redis: RedisServer) -> None:
    away = build(brain.settings.model_copy(update={**redis.settings, "redis_port": free_port()}))
    assert isinstance(away.jobs, CeleryRunner)
    began = time.monotonic()
    for _ in range(20):
        submit(away)
    assert time.monotonic() - began < 3
    began = time.monotonic()
    away.close()
    assert time.monotonic() - began < 1.5
    assert len(LeaseRunner(brain.db).due({"read": Kind(lambda leases: None)}, 100)) == 20


@pytest.mark.parametrize("wrong", ["", "wrong"])
def test_a_wrong_password_is_told_in_the_log(wrong: str, brain: Brain, redis: RedisServer) -> None:
    done = run({**redis.environment, "REDIS_PASSWORD": wrong, "QZBRAIN_DATA": str(brain.settings.data)})
    assert "jobs_not_announced" in done.stderr
    assert "uthentication" in done.stderr or "password" in done.stderr
    assert PASSWORD not in done.stderr
    assert brain.jobs.get(done.stdout.strip()).status == "pending"


def test_celery_is_not_imported_before_a_job_is_submitted(redis: RedisServer, tmp_path: Path) -> None:
    code = (
        "import sys, qzbrain.worker; from qzbrain.brain import build; from qzbrain.settings import load_settings; build(load_settings());"
        " print([x for x in ('celery', 'kombu') if x in sys.modules])"
    )
    environment = {**redis.environment, "QZBRAIN_DATA": str(tmp_path / "data"), "PATH": "/usr/bin:/bin"}
    printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]).stdout
    assert printed.strip() == "[]"


def test_the_web_process_sends_too(told: Brain, redis: RedisServer) -> None:
    done = run({**redis.environment, "QZBRAIN_DATA": str(told.settings.data)}, "from gevent import monkey; monkey.patch_all()")
    assert messages(told) == [(broker.DO, done.stdout.strip())]


def test_a_shared_data_folder_is_not_waited_for(brain: Brain) -> None:
    from qzbrain.worker import _await

    first, second = WorkerLock(brain.settings.data), WorkerLock(brain.settings.data)
    _await(first, shared=False)
    _await(second, shared=True)
    assert not second.acquire(), "the first one still shows that there is a worker"
    first.release()
    assert second.acquire()


def test_an_address_keeps_every_character_of_the_password(brain: Brain) -> None:
    from kombu import Connection

    settings = brain.settings.model_copy(update={"redis_host": "::1", "redis_port": 7, "celery_db": 3, "redis_password": "a@b:c/d#e?f%20 密"})
    seen = Connection(broker.address(settings))
    assert (seen.hostname, seen.port, seen.virtual_host, seen.password) == ("::1", 7, "3", "a@b:c/d#e?f%20 密")
