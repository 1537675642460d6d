"""The doctor's look at the Neo4j server that gets copies of graphs: who answers, and whether it lets us in. Nothing is changed."""

from __future__ import annotations

import time

from qzbrain.errors import MirrorUnavailable, MissingExtra
from qzbrain.ops.finding import Finding
from qzbrain.settings import Settings

_STEP = 3
_TITLE = ("Neo4j", "Neo4j")


def neo4j(settings: Settings) -> list[Finding]:
    """Who answers."""
    if not settings.neo4j_url:
        without = ("设置 NEO4J_URL 可在 Neo4j 上保留图谱副本", "set NEO4J_URL to keep copies of graphs on Neo4j")
        return [Finding.skip("neo4j", _STEP, _TITLE, ("图谱在数据库中", "graphs are in the database"), without)]
    from qzbrain.graph.mirror.link import Link

    started = time.monotonic()
    try:
        link = Link(settings)
        server = link.server()
        link.close()
    except MissingExtra as exc:
        return [Finding.fail("neo4j", _STEP, _TITLE, (exc.code, exc.code), (exc.zh, exc.en))]
    except MirrorUnavailable as exc:
        advice = (
            "核对 NEO4J_URL、NEO4J_USER、NEO4J_PASSWORD，并确认它正在运行（见 docs/graph_neo4j.md）",
            "check NEO4J_URL, NEO4J_USER and NEO4J_PASSWORD, and that it runs (docs/graph_neo4j.md)",
        )
        return [Finding.fail("neo4j", _STEP, _TITLE, (exc.zh, exc.en), advice)]
    shown = f"{server.name} {server.version} ({server.edition}), {link.where}, {(time.monotonic() - started) * 1000:.0f} ms"
    return [Finding.ok("neo4j", _STEP, _TITLE, (shown, shown))]
