"""`qzbrain graph mirror …`: the copies of graphs on a Neo4j server: how far they are, and making one anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from sqlalchemy import select

from qzbrain.cli.session import open_brain
from qzbrain.cli.terminal import Json, progress, result, result_json, t, table
from qzbrain.errors import Conflict
from qzbrain.graph.embedded import SqlGraph
from qzbrain.storage.tables import knowledge_bases

if TYPE_CHECKING:
    from qzbrain.brain import Brain
    from qzbrain.graph.mirror.feeding import Mirror

app = typer.Typer(help=t("Neo4j 上的图谱副本", "The copies of graphs on a Neo4j server"), no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="KB", help=t("知识库", "Knowledge base"))]


def register(group: typer.Typer) -> None:
    """Add the commands to those of `qzbrain graph`."""
    group.add_typer(app, name="mirror")


@app.command(help=t("各图谱的副本是否与数据库一致", "Whether the copy of each graph is where the database is"))
def status(json: Json = False) -> None:
    """Say how far each copy is."""
    with open_brain() as (brain, _):
        mirror = _mirror(brain)
        server, found = mirror.link.server(), mirror.standing()
        names = {row.id: row.name for row in brain.db.rows(select(knowledge_bases.c.id, knowledge_bases.c.name))}
    rows = [
        {"kb": names.get(x.kb_id, x.kb_id), "version": x.version, "copied": x.copied, "phase": x.phase, "current": x.exact and x.copied == x.version}
        for x in found
    ]  # fmt: skip
    if json:
        result_json({"server": server, "url": mirror.link.where, "graphs": rows})
        return
    result(f"{server.name} {server.version} ({server.edition}), {mirror.link.where}")
    headings = [t("知识库", "knowledge base"), t("数据库版本", "version"), t("副本版本", "copy"), t("状态", "state")]
    current, behind = t("一致", "current"), t("正在补齐", "behind")
    table(headings, [[str(x["kb"]), str(x["version"]), str(x["copied"]), current if x["current"] else f"{behind} ({x['phase'] or '-'})"] for x in rows])


@app.command(help=t("清空并重建一个图谱的副本，然后核对数量", "Make the copy of a graph anew, then compare the counts"))
def rebuild(kb: Name, json: Json = False) -> None:
    """Wipe and fill the copy of a knowledge base's graph."""
    with open_brain() as (brain, caller):
        ref = brain.access.resolve(caller, [kb])[0]
        brain.access.require(caller, "write", ref.id)
        mirror = _mirror(brain)
        mirror.rebuild(ref.id)
        with progress(t("复制图谱", "copying the graph")) as bar:
            mirror.catch_up(ref.id, bar.update)
        here, there = SqlGraph(brain.db).stats(ref.id), mirror.counts(ref.id)
    counts = {name: [getattr(here, name), getattr(there, name)] for name in ("entities", "relations", "triples", "mentions")}
    same = all(one == other for one, other in counts.values())
    if json:
        result_json({"kb": kb, "same": same, **counts})
    else:
        shown = ", ".join(f"{name} {there}/{here}" for name, (here, there) in counts.items())
        result(t(f"副本已重建（副本/数据库）：{shown}。", f"The copy is made anew (copy/database): {shown}."))
        if not same:
            zh = "数量不一致：期间可能有更改，请稍后用 qzbrain graph mirror status 查看。"
            result(t(zh, "The counts differ: the graph may have changed meanwhile; see: qzbrain graph mirror status"))
    if not same:
        raise typer.Exit(1)


def _mirror(brain: Brain) -> Mirror:
    if brain.mirror is None:
        raise Conflict(
            "neo4j_not_set",
            zh="没有设置 NEO4J_URL，图谱只在数据库中，没有副本。要使用 Neo4j，请设置 NEO4J_URL（见 docs/graph_neo4j.md）。",
            en="NEO4J_URL is not set: graphs are in the database alone and have no copies. To use Neo4j, set it (docs/graph_neo4j.md).",
            param="neo4j_url",
        )
    return brain.mirror
