"""`qzbrain kb export` and `qzbrain kb import`: a knowledge base as one file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qzbrain.cli.session import open_brain, work_until
from qzbrain.cli.terminal import Json, Progress, WrongUsage, note, progress, result, result_json, t
from qzbrain.domain import JobRecord

Name = Annotated[str, typer.Argument(metavar="KB", help=t("知识库的名称或 id", "Name or id of the knowledge base"))]
Output = Annotated[Path | None, typer.Option("--output", "-o", help=t("写到哪个文件或目录", "The file or folder to write to"))]
PackFile = Annotated[Path, typer.Argument(metavar="PACK", help=t("知识包文件（.qzkb）", "The pack, a .qzkb file"))]


def commands(app: typer.Typer) -> None:
    """Add both to `qzbrain kb`."""
    app.command("export", help=t("导出为可携带的知识包（一个文件）。", "Write a knowledge base into one portable file."))(export)
    app.command("import", help=t("导入知识包；中断后重新运行即可继续。", "Take a pack in; run again it goes on where it was."))(take_in)


def export(
    kb: Name,
    output: Output = None,
    without_originals: Annotated[bool, typer.Option("--without-originals", help=t("不含原始文件", "Leave the original files out"))] = False,
    without_vectors: Annotated[bool, typer.Option("--without-vectors", help=t("不含向量", "Leave the vectors out"))] = False,
    json: Json = False,
) -> None:
    """Write a knowledge base into one portable file."""
    from qzbrain.knowledge.packs.writing import Choice

    choice = Choice(originals=not without_originals, vectors=not without_vectors)
    with open_brain() as (brain, caller), progress(t("导出", "exporting")) as bar:
        made = brain.packs.write(caller, kb, output, choice, lambda _stage, done, total, _unit: bar.update(done, total))
    if json:
        result_json(made)
        return
    counts, size_mb = made.counts, made.size_bytes / 1e6
    result(
        t(
            f"已导出 {counts['documents']} 个文档、{counts['chunks']} 段、{counts['graph_triples']} 条三元组到 {made.path}（{size_mb:.1f} MB）。",
            f"{counts['documents']} documents, {counts['chunks']} chunks, {counts['graph_triples']} triples are in {made.path} ({size_mb:.1f} MB).",
        )
    )
    if made.left_out:
        note(t(f"有 {made.left_out} 个文档尚未处理完，没有导出。", f"{made.left_out} documents were not read to their end and are left out."))


def take_in(
    pack: PackFile,
    name: Annotated[str | None, typer.Option(help=t("导入后的名称，默认为包内的名称", "Its name here; by default that in the pack"))] = None,
    replace: Annotated[bool, typer.Option("--replace", help=t("取代同名的知识库", "Put it in the place of the one of this name"))] = False,
    drop: Annotated[bool, typer.Option("--drop", help=t("放弃该包未完成的导入并清除已写入的内容", "Forget what an unfinished import has taken in"))] = False,
    json: Json = False,
) -> None:
    """Take a pack in."""
    if not pack.is_file():
        raise WrongUsage("path_not_found", zh=f"没有这个文件：{pack}", en=f"There is no such file: {pack}", param="pack")
    with open_brain() as (brain, caller):
        if drop:
            dropped = brain.packs.drop(caller, pack)
            _say_dropped(dropped, json=json)
            return
        job_id = brain.packs.submit_import(caller, pack, name=name, in_place=replace)
        with progress(t("导入", "importing")) as bar:
            work_until(brain, lambda: _ended(brain.knowledge.job(caller, job_id), bar))
        job = brain.knowledge.job(caller, job_id)
    outcome = job.result or {}
    reason = t(job.reason_zh or "", job.reason_en or "")
    if json:
        result_json({"job_id": job_id, "status": job.status, "reason": {"code": job.reason_code, "message": reason} if reason else None, "result": outcome})
    elif job.status != "done":
        note(reason)
    else:
        result(t(f"已导入知识库 {outcome['knowledge_base']}。", f"The knowledge base {outcome['knowledge_base']} is there."))
        _say_more(outcome)
    if job.status != "done":
        raise typer.Exit(1)


def _ended(job: JobRecord, bar: Progress) -> bool:
    bar.update(job.progress_done, job.progress_total)
    return job.status not in ("pending", "running")


def _say_more(outcome: dict[str, object]) -> None:
    if outcome["vectors"] == "wrong_embedder":
        note(
            t(
                "包内的向量由另一个向量模型生成，已保留但不使用，目前仅按字词检索。重新向量化：qzbrain kb reembed 知识库",
                "Its vectors are of another embedder: they are kept and not used, so it is searched by words. To make new ones: qzbrain kb reembed KB",
            )
        )
    if outcome["skipped"]:
        note(t(f"已跳过本版本不认识的内容：{outcome['skipped']}", f"This version does not know and skipped: {outcome['skipped']}"))


def _say_dropped(dropped: bool, *, json: bool) -> None:
    if json:
        result_json({"dropped": dropped})
    else:
        result(t("已清除。", "It is gone.") if dropped else t("该包没有未完成的导入。", "There is no unfinished import of this pack."))
