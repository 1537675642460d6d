"""`qzbrain snapshot` and `qzbrain rollback`: a knowledge base as it was."""

from __future__ import annotations

from typing import Annotated

import typer

from qzbrain.cli.session import open_brain, work_until
from qzbrain.cli.terminal import Json, WrongUsage, note, progress, result, result_json, t, table

_WORDS = t("知识库的名称或 id；或 list [知识库]、remove 知识库 快照", "A knowledge base; or list [KB], remove KB SNAPSHOT")


def snapshot(
    words: Annotated[list[str], typer.Argument(metavar="KB", help=_WORDS)],
    name: Annotated[str | None, typer.Option("--name", help=t("快照的名称，默认为当前时间", "What the snapshot is called; by default the time"))] = None,
    json: Json = False,
) -> None:
    """Keep a knowledge base as it is now; `list` and `remove` look after those that are kept."""
    match words:
        case ["list"]:
            _list(None, json=json)
        case ["list", kb]:
            _list(kb, json=json)
        case ["remove", kb, one]:
            _remove(kb, one, json=json)
        case [kb]:
            _make(kb, name, json=json)
        case _:
            raise WrongUsage("too_many_words", zh=f"无法理解“{' '.join(words)}”。{_WORDS}", en=f'"{" ".join(words)}" is not known. {_WORDS}', param="words")


def rollback(
    kb: Annotated[str, typer.Argument(metavar="KB", help=t("知识库的名称或 id", "Name or id of the knowledge base"))],
    snapshot: Annotated[str, typer.Argument(metavar="SNAPSHOT", help=t("快照的名称", "Name of the snapshot"))],
    json: Json = False,
) -> None:
    """Bring a knowledge base back to a snapshot; what it is now is kept as another one."""
    from qzbrain.ops import snapshots

    with open_brain() as (brain, caller):
        with progress(t("保存现状", "keeping what is there")) as bar:
            job_id, before = snapshots.submit_rollback(brain, caller, kb, snapshot, lambda _stage, done, total, _unit: bar.update(done, total))
        with progress(t("退回", "going back")) as bar:

            def ended() -> bool:
                job = brain.knowledge.job(caller, job_id)
                bar.update(job.progress_done, job.progress_total)
                return job.status not in ("pending", "running")

            work_until(brain, ended)
        job = brain.knowledge.job(caller, job_id)
    reason = t(job.reason_zh or "", job.reason_en or "")
    if json:
        told = {"code": job.reason_code, "message": reason} if reason else None
        result_json({"job_id": job_id, "status": job.status, "reason": told, "knowledge_base": before.knowledge_base, "before": before.name})
    elif job.status == "done":
        result(
            t(
                f"知识库 {before.knowledge_base} 已退回到快照 {snapshot}；退回前的内容保存为 {before.name}。",
                f"The knowledge base {before.knowledge_base} is as {snapshot} has it; what it was is kept as {before.name}.",
            )
        )
    else:
        note(reason)
    if job.status != "done":
        raise typer.Exit(1)


def _make(kb: str, name: str | None, *, json: bool) -> None:
    from qzbrain.ops import snapshots

    with open_brain() as (brain, caller), progress(t("建立快照", "keeping")) as bar:
        made, left_out = snapshots.make(brain, caller, kb, name, lambda _stage, done, total, _unit: bar.update(done, total))
    if json:
        result_json({"snapshot": made, "left_out": left_out})
        return
    result(t(f"知识库 {made.knowledge_base} 的快照：{made.name}。退回：qzbrain rollback {made.knowledge_base} {made.name}",
             f"{made.knowledge_base} is kept as {made.name}. Back to it: qzbrain rollback {made.knowledge_base} {made.name}"))  # fmt: skip
    if left_out:
        note(t(f"有 {left_out} 个文档尚未处理完，不在快照中。", f"{left_out} documents were not read to their end and are left out."))


def _list(kb: str | None, *, json: bool) -> None:
    from qzbrain.ops import snapshots

    with open_brain() as (brain, _):
        found = snapshots.kept(brain, kb)
    if json:
        result_json({"snapshots": found})
        return
    headings = [t("知识库", "knowledge base"), t("快照", "snapshot"), t("时间", "made"), "MB"]
    table(headings, [[one.knowledge_base, one.name, one.made_at, f"{one.size_bytes / 1e6:.1f}"] for one in found])


def _remove(kb: str, name: str, *, json: bool) -> None:
    from qzbrain.ops import snapshots

    with open_brain() as (brain, _):
        snapshots.remove(brain, kb, name)
    if json:
        result_json({"removed": name})
    else:
        result(t(f"已删除快照 {name}。", f"The snapshot {name} is gone."))
