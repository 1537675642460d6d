"""The doctor on a real Redis: what is wrong is told with what to do, and a worker is seen, idle or busy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from qzbrain.brain import Brain, build
from qzbrain.ops.doctor import Check, examine
from qzbrain.settings import Settings
from qzbrain.storage.tables import jobs
from tests.flows.worker_process import WorkerProcess
from tests.running import free_port, wait_for
from tests.servers.redis_server import RedisServer


def found(settings: Settings) -> dict[str, Check]:
    return {check.id: check for check in examine(settings, "en", step=2)}


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.stop()


def test_without_redis_nothing_is_looked_for(make_settings: Callable[..., Settings]) -> None:
    assert [(x.id, x.status) for x in found(make_settings()).values()] == [("redis", "skip")]


@pytest.mark.servers
def test_a_good_server_passes_and_its_workers_are_missed(make_settings: Callable[..., Settings], redis: RedisServer) -> None:
    checks = found(make_settings(**redis.settings))
    assert {name: check.status for name, check in checks.items()} == {
        "redis": "ok", "redis_password": "ok", "redis_memory": "ok", "redis_databases": "ok", "redis_writes": "ok", "celery": "skip",
    }  # fmt: skip
    assert "run_celery.sh" in checks["celery"].next


@pytest.mark.servers
@pytest.mark.parametrize("password", ["", "wrong"])
def test_a_wrong_password(password: str, make_settings: Callable[..., Settings], redis: RedisServer) -> None:
    checks = found(make_settings(**{**redis.settings, "redis_password": password}))
    assert {name: check.status for name, check in checks.items()} == {"redis": "fail", "celery": "skip"}
    assert "REDIS_PASSWORD" in checks["redis"].next


def test_a_server_that_is_away(make_settings: Callable[..., Settings]) -> None:
    checks = found(make_settings(redis_host="127.0.0.1", redis_port=free_port()))
    assert checks["redis"].status == "fail"
    assert "REDIS_PORT" in checks["redis"].next


@pytest.mark.servers
def test_a_database_number_that_is_not_there(make_settings: Callable[..., Settings], redis: RedisServer) -> None:
    checks = found(make_settings(**redis.settings, celery_db=99))
    assert (checks["redis"].status, "CELERY_DB" in checks["redis"].next) == ("fail", True)


@pytest.mark.servers
def test_one_database_for_both_is_told(make_settings: Callable[..., Settings], redis: RedisServer) -> None:
    assert found(make_settings(**redis.settings, redis_db=1))["redis_databases"].status == "warn"


@pytest.mark.servers
@pytest.mark.parametrize(("bound", "status"), [("64mb", "fail"), ("0", "warn")])
def test_a_policy_that_may_drop_the_queue(bound: str, status: str, make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "lossy", arguments=("--maxmemory", bound, "--maxmemory-policy", "allkeys-lru")).start()
    try:
        check = found(make_settings(**server.settings))["redis_memory"]
    finally:
        server.stop()
    assert check.status == status
    assert f"-p {server.port}" in check.next
    assert "CONFIG SET maxmemory-policy noeviction" in check.next


@pytest.mark.servers
def test_no_password_is_told_unless_the_server_is_on_this_machine(
    make_settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = RedisServer(tmp_path / "open", password="").start()
    try:
        settings = make_settings(**server.settings)
        assert found(settings)["redis_password"].status == "ok"
        monkeypatch.setattr("qzbrain.ops.doctor_redis._is_loopback", lambda host: False)
        check = found(settings)["redis_password"]
    finally:
        server.stop()
    assert (check.status, "requirepass" in check.next) == ("warn", True)


@pytest.mark.servers
def test_a_worker_is_seen_idle_and_busy(brain: Brain, redis: RedisServer) -> None:
    settings = brain.settings.model_copy(update=redis.settings)
    told = build(settings)
    with told.db.write() as connection:
        job_id = told.jobs.submit(connection, "unknown")
    told.close()
    assert found(settings)["celery"].status == "fail", "a job is due and nobody is there"
    worker = WorkerProcess(settings.data, redis.environment)
    worker.start()
    try:
        wait_for(lambda: "1 workers answer" in found(settings)["celery"].evidence, "the worker answers", 30)
    finally:
        worker.kill()
    with brain.db.write() as connection:
        connection.execute(update(jobs).where(jobs.c.id == job_id).values(status="running", lease_owner="elsewhere:1:1:a", lease_until=2e9))
    assert (found(settings)["celery"].status, "busy" in found(settings)["celery"].evidence) == ("ok", True)
