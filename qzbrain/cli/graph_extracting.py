"""`qzbrain graph extract`: a language model reads documents for facts; what it costs is said first."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qzbrain.cli.session import open_brain, work_until
from qzbrain.cli.terminal import LANG, Json, note, progress, result, result_json, t

if TYPE_CHECKING:
    from qzbrain.brain import Brain
    from qzbrain.domain import JobRecord
    from qzbrain.graph.extraction_plan import Cost

Name = Annotated[str, typer.Argument(metavar="KB", help=t("知识库的名称或 id", "Name or id of the knowledge base"))]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(help=t("用语言模型从文档中抽取事实（先显示开销）。", "Have a language model read documents for facts; the cost is shown first."))(extract)


def extract(
    kb: Name,
    model: Annotated[str, typer.Option(help=t("语言模型的名称", "The language model's name"))] = "auto",
    document: Annotated[list[str] | None, typer.Option(metavar="ID", help=t("只处理该文档，可多次给出", "This document alone; may be repeated"))] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=t("只显示开销", "Only show the cost"))] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help=t("不询问，直接开始", "Begin without asking"))] = False,
    json: Json = False,
) -> None:
    """Extract."""
    with open_brain() as (brain, caller):
        ref = brain.access.resolve(caller, [kb])[0]
        brain.access.require(caller, "write", ref.id)
        cost = brain.extractions.cost(ref.id, model=model, document_ids=document)
        if not json:
            _show_cost(cost)
        if dry_run:
            if json:
                result_json(cost)
            return
        if cost.calls > cost.cached_calls and not (yes or json) and sys.stdin.isatty() and not typer.confirm(t("继续？", "Go on?"), err=True):
            raise typer.Exit(1)
        job = _follow(brain, brain.extractions.submit(ref.id, model=cost.model, document_ids=document))
    _report(job, json=json)
    if job.status != "done" or (job.result or {}).get("failed_chunks"):
        raise typer.Exit(1)


def _show_cost(cost: Cost) -> None:
    new = cost.calls - cost.cached_calls
    measured = cost.basis == "measured"
    basis = t("按该模型的实测速度", "measured from this model's calls") if measured else t("未实测，按假设估计", "an assumption, never measured")
    note(
        t(
            f"{cost.documents} 个文档，{cost.chunks} 段；模型 {cost.model} 需调用 {cost.calls} 次，其中 {cost.cached_calls} 次已有结果，{new} 次要计算："
            f"约 {cost.prompt_tokens} + {cost.completion_tokens} 个 token，约 {_time(cost.estimate_s)}（{basis}）。",
            f"{cost.documents} documents, {cost.chunks} chunks; {cost.calls} calls of {cost.model}, {cost.cached_calls} of them answered before, {new} to be "
            f"made: about {cost.prompt_tokens} + {cost.completion_tokens} tokens, about {_time(cost.estimate_s)} ({basis}).",
        )
    )


def _time(seconds: float) -> str:
    if seconds < 90:
        return t(f"{seconds:.0f} 秒", f"{seconds:.0f} s")
    return t(f"{seconds / 60:.0f} 分钟", f"{seconds / 60:.0f} min") if seconds < 5400 else t(f"{seconds / 3600:.1f} 小时", f"{seconds / 3600:.1f} h")


def _follow(brain: Brain, job_id: str) -> JobRecord:
    """Wait for the job; where no worker runs, do it here."""
    said = set[str]()
    with progress(t("抽取", "extracting")) as bar:

        def look() -> bool:
            job = brain.jobs.get(job_id)
            bar.update(job.progress_done, job.progress_total)
            if job.reason_code and job.status == "pending" and job.reason_code not in said:
                said.add(job.reason_code)
                note(t(f"等待中：{job.reason_zh}", f"waiting: {job.reason_en}"))
            return job.status not in ("pending", "running")

        work_until(brain, look)
    return brain.jobs.get(job_id)


def _report(job: JobRecord, *, json: bool) -> None:
    told: dict[str, Any] = job.result or {}
    reason = t(job.reason_zh or "", job.reason_en or "")
    if json:
        result_json({"job_id": job.id, "status": job.status, **told, **({"reason": {"code": job.reason_code, "message": reason}} if reason else {})})
        return
    if told:
        rejected = "，".join(f"{name} {count}" for name, count in told.get("rejected", {}).items())
        result(
            t(
                f"{told['documents']} 个文档读完，{told['triples']} 条事实，丢弃 {sum(told['rejected'].values())} 条{f'（{rejected}）' if rejected else ''}，"
                f"{told['failed_chunks']} 段失败，{told.get('suggestions', 0)} 条合并建议待审。",
                f"{told['documents']} documents read, {told['triples']} facts, {sum(told['rejected'].values())} refused{f' ({rejected})' if rejected else ''}, "
                f"{told['failed_chunks']} chunks failed, {told.get('suggestions', 0)} suggestions for merges to review.",
            )
        )
        for one in told.get("failures", ())[:5]:
            note(f"  {one['document_id']}: {one[LANG]}")
    if job.status != "done":
        note(reason or job.status)
