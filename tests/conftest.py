"""Fixtures that all tests share: settings and a wired brain over a data folder of their own."""

from __future__ import annotations

import secrets
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

from qzbrain.brain import Brain, build
from qzbrain.domain import Caller
from qzbrain.settings import Settings
from tests.running import RunningBrain
from tests.servers.mariadb import CRASHED, MariaDb
from tests.servers.neo4j_server import Neo4jServer
from tests.servers.search_server import SearchServer

MANUAL_NAMES = (
    "MYSQL_", "REDIS_", "CELERY_", "ES_", "QIZHI", "KGINSERT", "GRAPH_URL", "NEO4J", "QZBRAIN_", "MODEL_PATH", "CURRENT_DIR", "WEB_WORKERS", "RATE_LIMIT_",
    "OTEL_", "SLOW_", "LOG_CONTENT", "METRICS_TOKEN",
    "BACKUP_",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine leaks into a test."""
    import os

    for name in list(os.environ):
        if name.startswith(MANUAL_NAMES):
            monkeypatch.delenv(name)


@pytest.fixture
def make_settings(tmp_path: Path) -> Callable[..., Settings]:
    """Settings over `tmp_path/data`, with overrides by name."""

    def make(**overrides: object) -> Settings:
        return Settings(**{"qzbrain_data": tmp_path / "data", "qzbrain_embedder": "none", **overrides})

    return make


@pytest.fixture
def brain(make_settings: Callable[..., Settings]) -> Iterator[Brain]:
    """A wired brain with an empty database."""
    made = build(make_settings())
    yield made
    made.close()


@pytest.fixture
def caller(brain: Brain) -> Caller:
    """The local user."""
    return brain.access.local_caller("zh")


@pytest.fixture(scope="session")
def running_brain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBrain]:
    """A brain started as users start it, with its sample laws; shared by tests that leave it as they found it."""
    running = RunningBrain(tmp_path_factory.mktemp("running") / "data").start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def mariadb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaDb]:
    """A MariaDB shared by tests that leave it running and take a database of their own."""
    server = MariaDb(tmp_path_factory.mktemp("mariadb") / "server").start()
    yield server
    server.remove()


@pytest.fixture
def mysql(mariadb: MariaDb) -> Iterator[dict[str, object]]:
    """Settings, by name, of an empty database on a real MariaDB."""
    name = f"test_{secrets.token_hex(6)}"
    mariadb.create_database(name)
    yield {**mariadb.settings, "mysql_db": name}
    mariadb.drop_database(name)


@pytest.fixture(scope="session")
def elasticsearch_server() -> Iterator[SearchServer]:
    """A real Elasticsearch, shared by tests that leave it running and use index names of their own."""
    server = SearchServer("elasticsearch").start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def opensearch_server() -> Iterator[SearchServer]:
    """A real OpenSearch, shared likewise."""
    server = SearchServer("opensearch").start()
    yield server
    server.close()


@pytest.fixture(scope="session")
def neo4j_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neo4jServer]:
    """A real Neo4j, shared by tests that leave it running."""
    server = Neo4jServer(tmp_path_factory.mktemp("neo4j")).start()
    yield server
    server.kill()


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """A test that fails while MariaDB crashes by itself (see `MariaDb._watch`) is tried once more; whatever else fails, fails."""
    if item.get_closest_marker("servers") is None:
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    before = len(CRASHED)
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    if any(report.failed for report in reports):
        time.sleep(0.2)  # the crash may be seen a moment after its effect
        if len(CRASHED) > before:
            sys.stderr.write(f"\nMariaDB crashed by itself during {item.nodeid}: once more\n")
            reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
