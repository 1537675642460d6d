"""`qzbrain restore` killed (-9) where a brain is on servers: the database's tables, the search server's indexes and the copies of graphs come right by
running it again, or by the worker."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import insert, select

from qzbrain.brain import beside_backup, build
from qzbrain.errors import SettingsInvalid
from qzbrain.graph.base import Fact, Place
from qzbrain.graph.embedded import SqlGraph
from qzbrain.graph.mirror.store import MirroredGraph
from qzbrain.ops import restoring
from qzbrain.ops.doctor import examine
from qzbrain.settings import Settings
from qzbrain.storage.backups import REINDEX
from qzbrain.storage.backups.checking import faults
from qzbrain.storage.backups.of_settings import repository_of
from qzbrain.storage.backups.repository import Backup
from qzbrain.storage.backups.taking import take
from qzbrain.storage.tables import graph_mirrors
from tests.flows.backup_process import command, killed, talk
from tests.flows.mysql_brain import running_on
from tests.flows.worker_process import WorkerProcess, until
from tests.ops.backed_up import answers, fill, rows_of
from tests.servers.cutting_proxy import Cut, CuttingProxy
from tests.servers.mariadb import MariaDb
from tests.servers.neo4j_server import Neo4jServer
from tests.servers.search_server import SearchServer

pytestmark = pytest.mark.servers

UNMARKED = (b"INSERT INTO qzbrain_restoring", "before")
EMPTIED, FILLED = (b"DROP TABLE knowledge_bases", "after"), (b"m00001000", "before")
INDEXED = (b"JOIN documents ON documents.id = chunks.document_id", "after")
"""Statements at which it is killed: before anything is changed; half of the tables are gone; half of the rows are there; all rows are there, no index is."""


def silent(_stage: str, _done: int, _total: int) -> None:
    """Nobody looks."""


def variables(settings: dict[str, Any]) -> dict[str, str]:
    """Settings as the environment has them."""
    return {name.upper(): str(value) for name, value in settings.items()}


def backed_up(settings: Settings) -> Backup:
    """A backup of it."""
    with closing(build(settings)) as brain, (repository := repository_of(settings, make=True)).locked():
        return take(brain.db, brain.files, repository, "manual", beside_backup(settings), silent)


def delete(settings: Settings, kb: str) -> None:
    """A knowledge base with all that is in it."""
    with closing(build(settings)) as brain:
        brain.knowledge.delete(brain.access.local_caller("zh"), kb)


def refusal(settings: Settings) -> str:
    """What a brain says that does not start; '' when it does."""
    try:
        build(settings).close()
    except SettingsInvalid as exc:
        assert exc.code == "restore_interrupted"
        return exc.en
    return ""


@pytest.fixture
def worker(make_settings: Callable[..., Settings]) -> Iterator[Callable[..., WorkerProcess]]:
    """Starts one over the test's data folder."""
    made: list[WorkerProcess] = []

    def start(**more: str) -> WorkerProcess:
        one = WorkerProcess(make_settings().data, more)
        made.append(one)
        one.start("import qzbrain.worker as w; from qzbrain.jobs import lane; lane._LOOK_S = 0.2; w.main()")
        return one

    yield start
    for one in made:
        one.kill()


@pytest.fixture
def proxy(mariadb: MariaDb) -> Iterator[CuttingProxy]:
    made = CuttingProxy(mariadb.port)
    yield made
    made.close()


def test_a_database_server_refuses_until_the_command_is_run_again(
    mysql: dict[str, Any], proxy: CuttingProxy, make_settings: Callable[..., Settings], worker: Callable[..., WorkerProcess], tmp_path: Path
) -> None:
    settings, environment = make_settings(**mysql), variables({**mysql, "mysql_port": proxy.port})
    fill(settings)
    talk(settings, 1500)
    backup, old = backed_up(settings), (rows_of(settings), answers(settings))
    delete(settings, "rules")
    fill(settings, kb="other", number=2)
    with closing(build(settings)) as brain, brain.db.write() as connection:
        connection.execute(insert(graph_mirrors).values(kb_id="copied", version=3))
    now = rows_of(settings)

    def killed_at(mark: bytes, cut: Cut, *more: str) -> None:
        process, before = command(settings, "restore", backup.id, *more, **environment), proxy.cuts
        proxy.arm(mark, cut, process.kill)
        _, said = process.communicate(timeout=60)
        assert (process.returncode, proxy.cuts) == (-9, before + 1), f"it was not killed in the middle: {said.decode()}"

    killed_at(*UNMARKED, "--replace")
    assert not refusal(settings) and rows_of(settings) == now, "nothing was begun"
    killed_at(*EMPTIED, "--replace")
    again = f"qzbrain restore {backup.id}"
    assert again in refusal(settings)
    running = running_on(settings.data, mysql)
    assert running.launch().wait(30) != 0
    assert again in running.output()
    told = {one.id: one for one in examine(settings, "en", step=7)}
    assert (told["revision"].status, told["revision"].next, told["index"].status) == ("fail", again, "skip")
    killed_at(*FILLED)
    assert again in refusal(settings)
    noted = orjson.loads((settings.data / REINDEX).read_bytes())
    assert {row[0] for row in now["knowledge_bases"]} < set(noted["shelves"]), "what had indexes before is known still"
    killed_at(*INDEXED)
    with closing(build(settings)) as brain:
        assert [tuple(row) for row in brain.db.rows(select(graph_mirrors))] == [("copied", -1)], "a copy of what is gone is taken away"
    worker(**variables(mysql))
    until(lambda: not (settings.data / REINDEX).exists(), within_s=30, what="the worker has built the indexes")
    until(lambda: not rows_of(settings)["graph_mirrors"], within_s=30, what="the worker is at work")
    assert ({**rows_of(settings), "jobs": old[0]["jobs"]}, answers(settings)) == old

    repository = repository_of(settings)
    saved = [one for one in repository.backups() if one.reason == "before-restore"]
    assert len(saved) == 2 and not any(list(faults(repository, one, silent)) for one in [backup, *saved])
    there = restoring.elsewhere(settings, tmp_path / "there")
    restoring.restore(there, repository, saved[-1], replace=False, progress=silent)
    assert rows_of(there) == now, "nothing of what was there before is lost"


def test_a_search_servers_indexes_are_built_by_the_worker(
    elasticsearch_server: SearchServer, make_settings: Callable[..., Settings], worker: Callable[..., WorkerProcess]
) -> None:
    prefix = f"restored{secrets.token_hex(4)}"
    given = {**elasticsearch_server.settings, "qizhibrain_index": prefix, "kginsert_index": f"{prefix}-facts"}
    settings, environment = make_settings(**given), variables(given)

    def indexed() -> list[bool]:
        """Of each knowledge base, whether it has an index; then whether there are indexes of others."""
        names = [one["index"] for one in elasticsearch_server.call("GET", f"/_cat/indices/{prefix}-*?format=json")[1]]
        bases = [row[0] for row in rows_of(settings)["knowledge_bases"]]
        return [*(any(kb in name for name in names) for kb in bases), any(not any(kb in name for kb in bases) for name in names)]

    fill(settings)
    backup, old = backed_up(settings), (rows_of(settings), answers(settings))
    delete(settings, "rules")
    fill(settings, kb="other", number=2)
    now = rows_of(settings), answers(settings)
    assert now[1] != old[1] and indexed() == [True, False]
    elasticsearch_server.pause()  # so it is killed before the first index is built, however busy the machine is
    try:
        assert killed(settings, (settings.data / REINDEX).exists, 0, "restore", backup.id, "--replace", **environment)
    finally:
        elasticsearch_server.resume()
    assert (settings.data / REINDEX).exists() and rows_of(settings) == old[0] and answers(settings) != old[1], "the rows are there, the indexes are not"
    running = worker(**environment)
    until(lambda: not (settings.data / REINDEX).exists(), within_s=30, what="the worker has built the indexes")
    assert answers(settings) == old[1] and indexed() == [True, False]
    running.stop()
    repository = repository_of(settings)
    restoring.restore(settings, repository, repository.find("latest"), replace=True, progress=silent)
    assert (rows_of(settings), answers(settings)) == now and indexed() == [True, False]
    restoring.restore(settings, repository, backup, replace=True, keep_schema=True, progress=silent)
    assert indexed() == [False, False], "an older program builds its own"


def test_a_graphs_copy_comes_after_the_restored_rows(
    neo4j_server: Neo4jServer, make_settings: Callable[..., Settings], worker: Callable[..., WorkerProcess]
) -> None:
    settings = make_settings(**neo4j_server.settings)
    fill(settings, number=2)
    with closing(build(settings)) as brain:
        assert brain.mirror is not None
        caller = brain.access.local_caller("zh")
        kb = brain.knowledge.knowledge_base(caller, "rules").id
        brain.graph.add(kb, [Fact(f"局{n}", "批准", f"规定{n % 7}", Place("import", source="表")) for n in range(50)])
        brain.mirror.catch_up(kb)
        old = list(SqlGraph(brain.db).every_triple(kb))
        backup = backed_up(settings)
        later = brain.knowledge.create(caller, name="later").id
        for one in (kb, later):
            brain.graph.add(one, [Fact(f"后来{n}", "批准", "规定1", Place("import", source="表")) for n in range(9)])
            brain.mirror.catch_up(one)
        assert brain.mirror.counts(later).triples == 9 and len(old) >= 50
    restoring.restore(settings, repository_of(settings), backup, replace=True, progress=silent)
    with closing(build(settings)) as brain:
        assert brain.mirror is not None and later in brain.mirror.due()
    running = worker(**neo4j_server.environment)
    with closing(build(settings)) as brain:
        mirror = brain.mirror
        assert mirror is not None
        until(lambda: not mirror.due(), within_s=60, what="the copies are where the rows are")
        running.stop()
        assert [(one.kb_id, one.copied == one.version, one.exact) for one in mirror.standing() if one.kb_id in (kb, later)] == [(kb, True, True)]
        copied = MirroredGraph(brain.db, mirror)
        assert list(copied.every_triple(kb)) == list(SqlGraph(brain.db).every_triple(kb)) == old
        assert copied.stats(kb) == SqlGraph(brain.db).stats(kb) and not copied.reads["sql"], copied.standing_in
        assert mirror.counts(later).entities == 0
        mirror.forget(kb)
