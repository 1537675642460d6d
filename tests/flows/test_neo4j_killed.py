"""Neo4j, or the worker, killed (-9) while graphs are copied: what was acknowledged is answered all the time, and in the end the copy is whole."""

from __future__ import annotations

import io
import random
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import select

from qzbrain.brain import Brain, build
from qzbrain.domain import Caller
from qzbrain.graph.embedded import SqlGraph
from qzbrain.graph.importing import submit
from qzbrain.graph.mirror.job import MIRROR_JOB
from qzbrain.graph.mirror.store import MirroredGraph
from qzbrain.settings import Settings
from qzbrain.storage.tables import graph_changes, jobs
from tests.flows.worker_process import WorkerProcess, until
from tests.servers.neo4j_server import Neo4jServer

pytestmark = [pytest.mark.servers, pytest.mark.timeout(600)]

ROWS = 6_000
SMALL_STEPS = (
    "import qzbrain.worker as w; from qzbrain.graph.mirror import feeding, link; from qzbrain.jobs import lane, leases; lane._LOOK_S = 0.3;"
    "feeding.AT_ONCE = 1000; link._REST_S = 1.0; leases._PAUSE_S = 0.5; w.main()"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neo4jServer]:
    """One that is killed."""
    made = Neo4jServer(tmp_path_factory.mktemp("killed")).start()
    yield made
    made.kill()


@pytest.fixture
def brain(make_settings: Callable[..., Settings], server: Neo4jServer) -> Iterator[Brain]:
    if server.process is None or server.process.poll() is not None:
        server.start()
    made = build(make_settings(**server.settings))
    assert made.mirror is not None
    made.mirror.link._rest_s = 0.2
    yield made
    made.close()


@pytest.fixture
def worker(brain: Brain, server: Neo4jServer) -> Iterator[WorkerProcess]:
    made = WorkerProcess(brain.settings.data, server.environment, brain.settings.data.parent / "worker.log")
    yield made
    made.kill()


@pytest.fixture
def kb(brain: Brain, caller: Caller) -> str:
    return brain.knowledge.create(caller, name="graph").id


def _import(brain: Brain, kb_id: str, seed: int, rows: int = ROWS) -> str:
    chance = random.Random(seed)
    lines = (f"实体{chance.randrange(ROWS // 4)},关系{chance.randrange(30)},实体{chance.randrange(200)},别名{chance.randrange(ROWS)}" for _ in range(rows))
    stream, payload = io.BytesIO(("head,relation,tail,aliases\n" + "\n".join(lines)).encode()), {"name": "a.csv", "lang": "zh", "dry_run": False}
    return submit(brain.db, brain.jobs, brain.files, stream, kb_id=kb_id, payload=payload, limit_bytes=1 << 30)


def _is_done(brain: Brain, job_id: str) -> bool:
    return bool(brain.db.rows(select(jobs.c.status).where(jobs.c.id == job_id))[0].status == "done")


def _copied(brain: Brain) -> tuple[str, int]:
    """How far the making of the copy is; ("", 0) where that is not known."""
    assert brain.mirror is not None
    try:
        with brain.mirror.link._opened().session() as session:
            row = session.run("MATCH (s:QzMirror) RETURN s.phase, s.upto, s.version, s.exact ORDER BY s.kb DESC LIMIT 1").single()
    except Exception:
        return "", 0
    return ("", 0) if row is None else (str(row[0]), int(row[1]) + int(row[2]) * 1000 + int(row[3]))


def _require_whole(brain: Brain, kb_id: str) -> None:
    """The copy says what SQL says, and says it itself."""
    assert brain.mirror is not None
    until(lambda: brain.mirror.due() == [], within_s=400, what="the copy is where SQL is")
    brain.mirror.link.read_s = 60  # a machine may be busy: what is asked here is who answers
    graph, sql = MirroredGraph(brain.db, brain.mirror), SqlGraph(brain.db)
    assert list(graph.every_triple(kb_id)) == list(sql.every_triple(kb_id))
    assert graph.stats(kb_id) == sql.stats(kb_id) and sql.stats(kb_id).triples > ROWS * 0.9
    assert not graph.reads["sql"], graph.standing_in
    assert brain.mirror.counts(kb_id).mentions == sql.stats(kb_id).mentions
    assert len(brain.db.rows(select(graph_changes.c.version).where(graph_changes.c.kb_id == kb_id))) == 1


def test_neo4j_is_killed_while_an_import_is_copied(brain: Brain, kb: str, worker: WorkerProcess, server: Neo4jServer) -> None:
    worker.start(SMALL_STEPS)
    chance = random.Random(2)
    for seed in range(2):
        before = _copied(brain)
        job_id = _import(brain, kb, seed, 2000 if seed else ROWS)
        until(lambda job_id=job_id: _is_done(brain, job_id), within_s=150, what="imported")  # type: ignore[misc]
        until(lambda before=before: _copied(brain) not in (before, ("", 0)), within_s=150, what="some more is copied")  # type: ignore[misc]
        time.sleep(chance.uniform(0, 0.1))
        server.kill()
        assert brain.mirror is not None and brain.mirror.due() == [kb], "it was killed in the middle of it"
        assert brain.graph.stats(kb).triples > ROWS * 0.9, "SQL answers"
        assert isinstance(brain.graph, MirroredGraph) and brain.graph.standing_in
        keep, merged = (brain.graph.search(kb, f"实体{10 + 2 * seed + n}", limit=1)[0].id for n in range(2))
        brain.graph.merge(kb, keep, [merged], author="")
        brain.graph.forget_document(kb, "none")
        server.start()
    _require_whole(brain, kb)
    jobs_left = brain.db.rows(select(jobs.c.status, jobs.c.attempts).where(jobs.c.kind == MIRROR_JOB))
    assert all(row.status in ("done", "pending", "running") for row in jobs_left), "a server that is away fails no job"


def test_the_worker_is_killed_while_it_copies(brain: Brain, kb: str, worker: WorkerProcess, server: Neo4jServer) -> None:
    worker.start(SMALL_STEPS)
    job_id, chance = _import(brain, kb, 3), random.Random(4)
    until(lambda: _is_done(brain, job_id), within_s=150, what="imported")
    for n in range(2):
        before = _copied(brain)
        until(lambda before=before: _copied(brain) != before, within_s=150, what="some more is copied")  # type: ignore[misc]
        time.sleep(chance.uniform(0, 0.2))
        worker.kill()
        brain.graph.drop(f"{kb}-none")
        first = next(SqlGraph(brain.db).every_triple(kb))
        brain.graph.forget_alias(kb, first.head.id, (first.head.aliases or ("无",))[n % max(1, len(first.head.aliases))])
        worker.start(SMALL_STEPS)
    _require_whole(brain, kb)


def test_a_knowledge_base_that_is_deleted_leaves_no_copy(brain: Brain, caller: Caller, kb: str, worker: WorkerProcess) -> None:
    worker.start(SMALL_STEPS)
    brain.graph.add(kb, [])
    job_id = _import(brain, kb, 5)
    until(lambda: _is_done(brain, job_id), within_s=150, what="imported")
    until(lambda: _copied(brain)[1] > 0, within_s=150, what="some is copied")
    brain.knowledge.delete(caller, "graph")
    assert brain.mirror is not None

    def gone() -> bool:
        assert brain.mirror is not None
        return not brain.mirror.due() and kb not in {one.kb_id for one in brain.mirror.standing()}

    until(gone, within_s=150, what="the copy is gone")
    assert brain.mirror.counts(kb).entities == 0
