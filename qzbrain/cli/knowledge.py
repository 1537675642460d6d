"""`qzbrain kb …`: knowledge bases and their documents."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from qzbrain.cli import adding, packs
from qzbrain.cli.session import open_brain, work_until
from qzbrain.cli.terminal import LANG, Json, note, progress, result, result_json, t, table
from qzbrain.domain import JobRecord, KnowledgeBase
from qzbrain.errors import Conflict
from qzbrain.knowledge.names import checked_level
from qzbrain.web import render

app = typer.Typer(help=t("知识库与文档", "Knowledge bases and documents"), no_args_is_help=True)
packs.commands(app)

Level = Annotated[
    str | None, typer.Option(metavar="LEVEL", help=t("密级：公开、内部、秘密、机密或绝密", "Level: public, internal, confidential, secret or top_secret"))
]
Name = Annotated[str, typer.Argument(metavar="KB", help=t("知识库的名称或 id", "Name or id of the knowledge base"))]


@app.command(help=t("新建知识库。", "Make a knowledge base."))
def create(
    name: Annotated[str, typer.Argument(metavar="KB", help=t("名称：1–64 个字母、汉字、数字或 - _ .", "Name: 1-64 letters of any script, digits, - _ ."))],
    title: Annotated[str, typer.Option(help=t("显示用的标题", "Title to show"))] = "",
    description: Annotated[str, typer.Option(help=t("说明", "Description"))] = "",
    chunk_chars: Annotated[int, typer.Option(help=t("每段字符数", "Characters of a chunk"))] = 250,
    overlap_chars: Annotated[int, typer.Option(help=t("相邻段重叠字符数", "Characters that neighbours share"))] = 50,
    without_evidence: Annotated[
        Literal["refuse", "model"],
        typer.Option(help=t("没有依据时：拒答，或允许模型自行回答", "Without evidence: refuse, or the model answers from itself")),
    ] = "refuse",
    level: Level = None,
    json: Json = False,
) -> None:
    """Make a knowledge base."""
    with open_brain() as (brain, caller):
        made = brain.knowledge.create(
            caller,
            name=name,
            title=title,
            description=description,
            chunk_chars=chunk_chars,
            overlap_chars=overlap_chars,
            without_evidence=without_evidence,
            level=None if level is None else checked_level(level),
        )
    if json:
        result_json(render.knowledge_base(made, LANG))
    else:
        result(t(f"已建立知识库 {made.name}。添加文档：qzbrain kb add {made.name} 路径", f"Made {made.name}. Add documents: qzbrain kb add {made.name} PATH"))


@app.command("list", help=t("列出知识库。", "List the knowledge bases."))
def show(json: Json = False) -> None:
    """List the knowledge bases."""
    found = list[KnowledgeBase]()
    with open_brain() as (brain, caller):
        page = brain.knowledge.knowledge_bases(caller, limit=100)
        found.extend(page.data)
        while page.has_more:
            page = brain.knowledge.knowledge_bases(caller, limit=100, after=page.next)
            found.extend(page.data)
    if json:
        for one in found:
            result_json(render.knowledge_base(one, LANG))
    elif found:
        headings = [t("名称", "name"), t("标题", "title"), t("文档", "documents"), t("就绪", "ready"), t("失败", "failed"), t("段落", "chunks")]
        table(headings, [[x.name, x.title, str(x.documents.total), str(x.documents.ready), str(x.documents.failed), str(x.chunks)] for x in found])
    else:
        note(t("还没有知识库。新建：qzbrain kb create 名称", "There is no knowledge base yet. Make one: qzbrain kb create NAME"))


@app.command(help=t("添加文件或目录中的文档。", "Add documents from files or folders."))
def add(
    kb: Name,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH…", help=t("文件或目录", "Files or folders"))],
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help=t("包括子目录", "Folders with all that is in them"))] = False,
    create: Annotated[bool, typer.Option("--create", help=t("知识库不存在时新建", "Make the knowledge base when it is missing"))] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help=t("交给后台处理，不等待", "Queue only, do not wait"))] = False,
    level: Level = None,
    json: Json = False,
) -> None:
    """Add documents from files or folders."""
    files = adding.files_of(paths, recursive=recursive)
    with open_brain() as (brain, caller):
        place = None if level is None else checked_level(level)
        report = adding.add(brain, caller, kb, files, create=create, wait=not no_wait, level=place)
    if json:
        result_json(report)
    else:
        adding.show(report, waited=not no_wait)
    if report.failed:
        raise typer.Exit(1)


@app.command(help=t("删除知识库，或其中的文档。", "Remove a knowledge base, or documents of it."))
def rm(
    kb: Name,
    documents: Annotated[list[str] | None, typer.Argument(metavar="[DOCUMENT_ID…]", help=t("只删除这些文档", "Remove only these documents"))] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help=t("不询问", "Do not ask"))] = False,
    json: Json = False,
) -> None:
    """Remove a knowledge base, or documents of it."""
    with open_brain() as (brain, caller):
        found = brain.knowledge.knowledge_base(caller, kb)
        question = t(
            f"删除知识库 {found.name} 及其全部 {found.documents.total} 个文档？", f"Remove {found.name} with all its {found.documents.total} documents?"
        )
        if not documents and not yes and not json and sys.stdin.isatty():
            typer.confirm(question, abort=True, err=True)
        for document_id in documents or ():
            if brain.knowledge.document(caller, document_id).kb_id != found.id:
                raise Conflict(
                    "other_knowledge_base",
                    zh=f"文档 {document_id} 不在知识库 {found.name} 中，没有删除。",
                    en=f"The document {document_id} is not in {found.name}; it was not removed.",
                )
        for document_id in documents or ():
            brain.knowledge.delete_document(caller, document_id)
        if not documents:
            brain.knowledge.delete(caller, found.id)
    if json:
        result_json({"removed": documents or [found.name]})
    else:
        result(t("已删除。", "Removed."))


@app.command(help=t("重新处理失败的文档。", "Read the failed documents again."))
def retry(
    kb: Name,
    code: Annotated[str | None, typer.Option(help=t("只处理因该原因失败的，例如 timeout", "Only those that failed with this code, say timeout"))] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help=t("交给后台处理，不等待", "Queue only, do not wait"))] = False,
    json: Json = False,
) -> None:
    """Read the failed documents of a knowledge base again."""
    with open_brain() as (brain, caller):
        retried = brain.knowledge.retry_documents(caller, kb, code)
        if retried and not no_wait:
            note(t(f"正在重新处理 {retried} 个文档…", f"Reading {retried} documents again…"))
            work_until(brain, lambda: not brain.knowledge.knowledge_base(caller, kb).documents.pending)
        failed = brain.knowledge.knowledge_base(caller, kb).documents.failed
    if json:
        result_json({"retried": retried, "failed": failed})
    else:
        result(t(f"重新处理 {retried} 个文档，仍有 {failed} 个失败。", f"Read {retried} documents again; {failed} failed."))
    if failed and not no_wait:
        raise typer.Exit(1)


@app.command(help=t("由数据库重建检索索引。", "Rebuild the search index from the database."))
def reindex(kb: Name, json: Json = False) -> None:
    """Rebuild the search index from the database."""
    with open_brain() as (brain, caller):
        job_id = brain.knowledge.reindex(caller, kb)
        work_until(brain, lambda: _settled_or_waits(brain.knowledge.job(caller, job_id)))
        job = brain.knowledge.job(caller, job_id)
    if json:
        result_json({"job_id": job_id, "status": job.status, "reason": t(job.reason_zh or "", job.reason_en or "") or None})
    else:
        result(t("索引已重建。", "The index is rebuilt.") if job.status == "done" else t(job.reason_zh or "", job.reason_en or ""))
    if job.status != "done":
        raise typer.Exit(1)


@app.command(help=t("预览其他分段大小的效果，不保存。", "See how other chunk sizes would cut a document; nothing is stored."))
def preview(
    kb: Name,
    document: Annotated[str, typer.Argument(metavar="DOCUMENT_ID", help=t("文档的 id", "Id of the document"))],
    chunk_chars: Annotated[int, typer.Option(help=t("每段字符数", "Characters of a chunk"))],
    overlap_chars: Annotated[int, typer.Option(help=t("相邻段重叠字符数", "Characters that neighbours share"))] = 0,
    json: Json = False,
) -> None:
    """How other chunk sizes would cut a document."""
    with open_brain() as (brain, caller):
        brain.knowledge.knowledge_base(caller, kb)
        found = brain.previews.preview(caller, document, chunk_chars=chunk_chars, overlap_chars=overlap_chars)
    if json:
        result_json(render.chunk_preview(found))
        return
    for label, cut in ((t("现在", "now"), found.now), (t("将会", "then"), found.then)):
        result(t(f"{label}：{cut.count} 段，平均 {cut.mean_chars:.0f} 字", f"{label}: {cut.count} chunks, {cut.mean_chars:.0f} characters each on average"))
    for start, end, text in found.then.chunks:
        result(f"\n[{start}–{end}]\n{text}")


@app.command(help=t("修改分段大小，并重新切分全部文档。", "Change the size of chunks and cut all documents anew."))
def rechunk(
    kb: Name,
    chunk_chars: Annotated[int | None, typer.Option(help=t("每段字符数", "Characters of a chunk"))] = None,
    overlap_chars: Annotated[int | None, typer.Option(help=t("相邻段重叠字符数", "Characters that neighbours share"))] = None,
    json: Json = False,
) -> None:
    """Change the size of chunks and cut all documents anew."""
    job = None
    with open_brain() as (brain, caller):
        job_id = brain.knowledge.rechunk(caller, kb, chunk_chars=chunk_chars, overlap_chars=overlap_chars)
        if job_id is not None:
            with progress(t("重新切分", "cutting anew")) as bar:

                def settled() -> bool:
                    now = brain.knowledge.job(caller, job_id)
                    bar.update(now.progress_done, now.progress_total)
                    return _settled_or_waits(now)

                work_until(brain, settled)
            job = brain.knowledge.job(caller, job_id)
        shown = render.knowledge_base(brain.knowledge.knowledge_base(caller, kb), LANG)
    status, counts = ("done", {}) if job is None else (job.status, job.result or {})
    reason = "" if job is None else t(job.reason_zh or "", job.reason_en or "")
    if json:
        result_json({**shown, "job_id": job_id, "status": status, "reason": reason or None, "failed": counts.get("failed", 0)})
    elif job is None:
        result(t("分段大小没有变化。", "The sizes are as they were."))
    elif status != "done":
        result(reason)
    else:
        done, failed = counts.get("documents", 0), counts.get("failed", 0)
        kept = t(f"{failed} 个无法再次读取而保留原样。", f"{failed} could not be read again and stay as they were.")
        result(t(f"已重新切分 {done} 个文档，{kept}", f"{done} documents are cut anew; {kept}"))
    if status != "done":
        raise typer.Exit(1)


@app.command(help=t("重新向量化：在现用向量之外另建一份，检索效果不差时切换。", "Make the vectors anew beside those in use."))
def reembed(
    kb: Name,
    embedder: Annotated[str | None, typer.Option(help=t("应为当前使用的向量模型", "The embedder that is meant: the one in use"))] = None,
    force: Annotated[bool, typer.Option("--force", help=t("效果更差也切换", "Change over even when they find less"))] = False,
    wait: Annotated[bool, typer.Option("--wait", help=t("等待完成", "Wait until it is done"))] = False,
    json: Json = False,
) -> None:
    """Make the vectors of a knowledge base anew."""
    with open_brain() as (brain, caller):
        job_id = brain.knowledge.reembed(caller, kb, embedder=embedder, force=force)
        if wait:
            work_until(brain, lambda: _settled_or_waits(brain.knowledge.job(caller, job_id)))
        job = brain.knowledge.job(caller, job_id)
    reason = t(job.reason_zh or "", job.reason_en or "")
    if json:
        result_json({"job_id": job_id, "status": job.status, "reason": reason or None, "result": job.result})
    elif not wait:
        result(t("已开始重新向量化，进度见 qzbrain kb list --json。", "The vectors are being made anew; qzbrain kb list --json shows how far it is."))
    else:
        result(t("已切换到新的向量。", "The new vectors are in use.") if job.status == "done" else reason)
    if wait and job.status != "done":
        raise typer.Exit(1)


@app.command(help=t("恢复上一次重新向量化之前的向量。", "Go back to the vectors before the last embedding anew."))
def rollback(kb: Name, json: Json = False) -> None:
    """Go back to the vectors before."""
    with open_brain() as (brain, caller):
        found = brain.knowledge.roll_back(caller, kb)
    if json:
        result_json(render.knowledge_base(found, LANG))
    else:
        result(t("已恢复之前的向量。", "The vectors before are in use again."))


def _settled_or_waits(job: JobRecord) -> bool:
    """Done with, or waiting for something that may take long (a search server that is away): then the reason is said instead."""
    return job.status not in ("pending", "running") or job.reason_code is not None
