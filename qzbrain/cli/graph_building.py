"""`qzbrain graph rebuild`: take what documents state about themselves into the graph anew."""

from __future__ import annotations

from typing import Annotated

import typer

from qzbrain.cli.session import open_brain, work_until
from qzbrain.cli.terminal import Json, result, result_json, t

Name = Annotated[str, typer.Argument(metavar="KB", help=t("知识库", "Knowledge base"))]


def register(app: typer.Typer) -> None:
    """Add the command to those of `qzbrain graph`."""
    help_zh = "从文档重建图谱（结构、引用、定义、实体链接）；导入的三元组保留"
    app.command(help=t(help_zh, "Build the graph anew from the documents; imported triples stay"))(rebuild)


def rebuild(kb: Name, json: Json = False) -> None:
    """Build the graph anew from the documents."""
    with open_brain() as (brain, caller):
        ref = brain.access.resolve(caller, [kb])[0]
        brain.access.require(caller, "write", ref.id)
        job_id = brain.graph_upkeep.rebuild(ref.id)
        work_until(brain, lambda: brain.knowledge.job(caller, job_id).status not in ("pending", "running"))
        job, stats = brain.knowledge.job(caller, job_id), brain.graph.stats(ref.id)
    reason = t(job.reason_zh or "", job.reason_en or "") or None
    if json:
        result_json({"job_id": job_id, "status": job.status, "reason": reason, "entities": stats.entities, "triples": stats.triples})
    elif job.status == "done":
        size = (stats.entities, stats.triples)
        result(t("图谱已重建：{} 个实体，{} 个三元组。".format(*size), "The graph is rebuilt: {} entities, {} triples.".format(*size)))
    else:
        result(reason or job.status)
    if job.status != "done":
        raise typer.Exit(1)
