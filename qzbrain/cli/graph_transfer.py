"""`qzbrain graph import` and `qzbrain graph export`: triples from files and into files."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from qzbrain.brain import Brain
from qzbrain.cli.session import open_brain, work_until
from qzbrain.cli.terminal import LANG, Json, WrongUsage, note, progress, result, result_json, t
from qzbrain.domain import JobRecord

Name = Annotated[str, typer.Argument(metavar="KB", help=t("知识库", "Knowledge base"))]
Given = Annotated[Path, typer.Argument(metavar="FILE", help=t("CSV、TSV、JSONL、JSON 数组或 GraphML 文件", "CSV, TSV, JSON lines, a JSON array or GraphML"))]
DryRun = Annotated[bool, typer.Option("--dry-run", help=t("只检查，不写入", "Look only; write nothing"))]
Create = Annotated[bool, typer.Option("--create", help=t("知识库不存在时先创建", "Make the knowledge base where there is none"))]
Output = Annotated[Path | None, typer.Option("--output", "-o", help=t("写到哪个文件；默认写到标准输出", "The file to write; standard output by default"))]
Form = Annotated[Literal["csv", "jsonl", "graphml", "cypher-csv"], typer.Option("--format", help=t("文件格式", "Form of the file"))]
_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the commands to those of `qzbrain graph`."""
    app.command("import", help=t("导入三元组；有问题的行按行号报告，其余照常导入", "Take triples in; bad rows are told by number, the rest is loaded"))(take_in)
    app.command(help=t("导出全部三元组", "Write all triples to a file"))(export)


def take_in(kb: Name, file: Given, dry_run: DryRun = False, create: Create = False, json: Json = False) -> None:
    """Take triples in from a file."""
    from qzbrain.graph.importing import submit

    if not file.is_file():
        raise WrongUsage("path_not_found", zh=f"没有这个文件：{file}", en=f"There is no such file: {file}", param="file")
    with open_brain() as (brain, caller):
        if create and kb not in {name for ref in brain.access.resolve(caller) for name in (ref.id, ref.name)}:
            brain.knowledge.create(caller, name=kb)
        ref = brain.access.resolve(caller, [kb])[0]
        brain.access.require(caller, "write", ref.id)
        payload, most = {"name": file.name, "lang": LANG, "dry_run": dry_run}, brain.settings.max_upload_mb << 20
        with file.open("rb") as stream:
            job_id = submit(brain.db, brain.jobs, brain.files, stream, kb_id=ref.id, payload=payload, limit_bytes=most)
        job = _followed(brain, job_id)
    _report(job, dry_run=dry_run, json=json)
    if job.status != "done" or (job.result or {}).get("errors"):
        raise typer.Exit(1)


def export(kb: Name, output: Output = None, form: Form = "csv", json: Json = False) -> None:
    """Write all triples to a file, or to standard output."""
    from qzbrain.graph.transfer import write

    if json and output is None:
        raise WrongUsage(zh="--json 需要与 --output 一起使用。", en="--json needs --output: the file itself goes to standard output.", param="json")
    with open_brain() as (brain, caller):
        ref = brain.access.resolve(caller, [kb])[0]
        total = brain.graph.stats(ref.id).triples
        pieces = write(brain.graph.every_triple(ref.id), form)
        if output is None:
            for piece in pieces:
                sys.stdout.buffer.write(piece.encode("utf-8", "replace"))
            sys.stdout.flush()
            return
        with output.open("wb") as stream:
            for piece in pieces:
                stream.write(piece.encode("utf-8", "replace"))
    if json:
        result_json({"path": str(output), "format": form, "triples": total})
    else:
        result(t(f"已把 {total} 条三元组写入 {output}。", f"{total} triples are in {output}."))


def _followed(brain: Brain, job_id: str) -> JobRecord:
    """Wait for the job with a bar; where no worker runs, do it here."""
    with progress(t("导入", "importing")) as bar:

        def over() -> bool:
            job = brain.jobs.get(job_id)
            bar.update(job.progress_done, job.progress_total)
            return job.status not in ("pending", "running")

        work_until(brain, over)
    return brain.jobs.get(job_id)


def _report(job: JobRecord, *, dry_run: bool, json: bool) -> None:
    told: dict[str, Any] = job.result or {}
    reason = t(job.reason_zh or "", job.reason_en or "")
    if json:
        why = {"code": job.reason_code, "message": reason} if reason else None
        result_json({"job_id": job.id, "status": job.status, "dry_run": dry_run, **told, "reason": why})
        return
    if job.status != "done":
        note(reason or job.status)
        return
    counts = told["triples"], told["entities"], told["relations"]
    taken, looked = "已导入 {} 条三元组（{} 个名称，{} 种关系）。", "检查完毕：可导入 {} 条三元组（{} 个名称，{} 种关系），未写入。"
    zh, en = (looked, "{} triples can be taken in ({} names, {} relations); nothing was written.") if dry_run else (
        taken, "{} triples are in ({} names, {} relations)."
    )  # fmt: skip
    result(t(zh, en).format(*counts))
    for error in told["errors"][:_SHOWN]:
        note(t(f"第 {error['row']} 行：{error['message']}", f"row {error['row']}: {error['message']}"))
    more = len(told["errors"]) + told.get("more_errors", 0) - _SHOWN
    if more > 0:
        note(t(f"……另有 {more} 行有问题；--json 给出全部。", f"… {more} more bad rows; --json names them."))
