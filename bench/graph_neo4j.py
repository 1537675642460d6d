"""What a copy of a graph on a Neo4j server costs: 320,000 triples of 55,000 entities copied, followed and answered from, beside SQL alone.

    python bench/graph_neo4j.py [--triples 320000] [--entities 55000] [--seed 7] [--json]

Starts a Neo4j of its own (Java, Maven). The graph is that of bench/graph.py. All in this process, one thread; the server is another one on the same machine.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.graph import Made, make, questions
from qzbrain.graph.base import Fact, Place
from qzbrain.graph.embedded import SqlGraph
from qzbrain.graph.mirror.feeding import Mirror
from qzbrain.graph.mirror.link import Link
from qzbrain.graph.mirror.store import MirroredGraph
from qzbrain.graph.service import GraphService
from qzbrain.settings import Settings
from qzbrain.storage.database import Database
from qzbrain.storage.migrate import upgrade
from tests.servers.neo4j_server import Neo4jServer

KB = "bench"
_PART = 10_000
_PLACE = Place("import", source="百科")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--triples", type=int, default=320_000)
    parser.add_argument("--entities", type=int, default=55_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    made = make(entities=given.entities, triples=given.triples, seed=given.seed)
    with tempfile.TemporaryDirectory() as folder:
        server = Neo4jServer(Path(folder) / "neo4j", heap="1g", quick=True).start()
        try:
            found = measured(made, Path(folder), server, given.seed)
        finally:
            server.kill()
    if given.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:24} {value}")


def measured(made: Made, folder: Path, server: Neo4jServer, seed: int) -> dict[str, Any]:
    database = Database(folder / "brain.sqlite")
    upgrade(database)
    sql = SqlGraph(database)
    facts = [Fact(*one, _PLACE) for one in made.triples]
    held, some = facts[:-20_000], facts[-20_000:]
    found: dict[str, Any] = {"triples": len(facts), "sql_import_s": taken(lambda: _import(sql, held))[0]}
    mirror = Mirror(database, Link(Settings(**server.settings), read_s=60))  # type: ignore[arg-type]
    found["copy_made_s"] = taken(lambda: mirror.catch_up(KB))[0]
    found["sql_import_more_s"] = taken(lambda: _import(sql, some))[0]
    found["copy_follows_s"] = taken(lambda: mirror.catch_up(KB))[0]
    copied = MirroredGraph(database, mirror)
    for name, store in (("sql", sql), ("neo4j", copied)):
        found[f"{name}_view_s"] = min(taken(lambda store=store: store.view(KB))[0] for _ in range(2))  # type: ignore[misc]
        found[f"{name}_stats_ms"] = round(min(taken(lambda store=store: store.stats(KB))[0] for _ in range(3)) * 1e3, 1)  # type: ignore[misc]
        found[f"{name}_search_ms"] = round(min(taken(lambda store=store: store.search(KB, "中国", limit=10))[0] for _ in range(3)) * 1e3, 1)  # type: ignore[misc]
        found[f"{name}_export_s"] = taken(lambda store=store: sum(1 for _ in store.every_triple(KB)))[0]  # type: ignore[misc]
        service = GraphService(store)
        for kind in ("one", "list", "two"):
            asked = questions(made, seed)[kind][:300]
            times = answered(service, asked)
            found[f"{name}_{kind}_p50_ms"], found[f"{name}_{kind}_p95_ms"] = times
    assert copied.stats(KB) == sql.stats(KB)
    assert not copied.reads["sql"], copied.standing_in
    one = copied.search(KB, made.hubs[0], limit=1)[0] if made.hubs else None
    found["hub_triples"] = one.degree if one else 0
    found["reads_from_sql"] = copied.reads["sql"]
    found["copy_dropped_s"] = taken(lambda: (sql.drop(KB), mirror.catch_up(KB)))[0]
    return found


def _import(store: SqlGraph, facts: Sequence[Fact]) -> None:
    for start in range(0, len(facts), _PART):
        store.add(KB, facts[start : start + _PART])


def answered(service: GraphService, asked: Sequence[str]) -> tuple[float, float]:
    """p50 and p95 of questions, in ms, after some that warm up."""
    for one in asked[:50]:
        service.process(one, [KB])
    times = sorted(taken(lambda one=one: service.process(one, [KB]))[0] for one in asked)  # type: ignore[misc]
    return tuple(round(times[int(len(times) * share)] * 1e3, 2) for share in (0.5, 0.95))  # type: ignore[return-value]


def taken(call: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.perf_counter()
    result = call()
    return round(time.perf_counter() - begun, 4), result


if __name__ == "__main__":
    main()
