"""`qzbrain kb watch|watched|unwatch`: folders that a knowledge base follows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qzbrain.brain import Brain
from qzbrain.cli.session import open_brain, work_until
from qzbrain.cli.terminal import LANG, Json, note, result, result_json, t, table
from qzbrain.domain import Caller, WatchedFolder
from qzbrain.web import render

Name = Annotated[str, typer.Argument(metavar="KB", help=t("知识库的名称或 id", "Name or id of the knowledge base"))]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(help=t("监视目录：其中文件的新增、修改、删除同步到知识库。", "Follow a folder: what is added, changed or removed there is so here."))(watch)
    app.command(help=t("列出被监视的目录。", "List the watched folders."))(watched)
    app.command(help=t("不再监视目录，已入库的文档保留。", "No longer watch a folder; its documents stay."))(unwatch)


def watch(
    kb: Name,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help=t("目录", "The folder"))],
    once: Annotated[bool, typer.Option("--once", help=t("只同步这一次，完成后返回", "Bring in line once, and return when it is done"))] = False,
    every: Annotated[int, typer.Option(help=t("两次扫描之间的秒数", "Seconds from one look to the next"))] = 60,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help=t("包括子目录", "The folder with all that is in it"))] = False,
    exclude: Annotated[list[str] | None, typer.Option(metavar="GLOB", help=t("排除的文件名或路径", "Names or paths to leave out"))] = None,
    json: Json = False,
) -> None:
    """Watch a folder."""
    with open_brain() as (brain, caller):
        options = {"every_s": every, "recursive": recursive, "exclude": exclude or []}
        one = brain.folders.watch(caller, kb, str(folder), active=not once, anywhere=True, **options)  # type: ignore[arg-type]
        if once:
            note(t(f"正在扫描 {one.path} …", f"Looking through {one.path}…"))
            work_until(brain, lambda: _settled(brain, caller, kb, one.id))
            one = next(x for x in brain.folders.watched(caller, kb) if x.id == one.id)
    if json:
        result_json(render.folder(one, LANG))
    elif once:
        _show([one])
    else:
        result(t(f"正在监视 {one.path}；结果见 qzbrain kb watched {kb}。", f"Watching {one.path}; qzbrain kb watched {kb} shows what it finds."))
    if once and (one.result is None or one.result["error_count"]):
        raise typer.Exit(1)


def watched(kb: Name, json: Json = False) -> None:
    """List the watched folders."""
    with open_brain() as (brain, caller):
        found = brain.folders.watched(caller, kb)
    if json:
        for one in found:
            result_json(render.folder(one, LANG))
    elif found:
        _show(found)
    else:
        note(t("没有监视任何目录。开始监视：qzbrain kb watch 知识库 目录", "No folder is watched. Watch one: qzbrain kb watch KB DIR"))


def unwatch(
    kb: Name,
    folder: Annotated[str, typer.Argument(metavar="DIR", help=t("目录或其 id", "The folder, or its id"))],
    json: Json = False,
) -> None:
    """No longer watch a folder."""
    with open_brain() as (brain, caller):
        gone = brain.folders.unwatch(caller, kb, folder)
    if json:
        result_json({"unwatched": gone.path})
    else:
        result(t(f"不再监视 {gone.path}；文档保留。", f"No longer watching {gone.path}; its documents stay."))


def _settled(brain: Brain, caller: Caller, kb: str, folder_id: str) -> bool:
    job_id = brain.folders.scan_job(folder_id)
    if job_id is not None and brain.jobs.get(job_id).status in ("pending", "running"):
        return False
    return not brain.knowledge.knowledge_base(caller, kb).documents.pending


def _show(found: list[WatchedFolder]) -> None:
    counts = ("added", "changed", "removed", "unchanged", "skipped", "waiting", "error_count")
    headings = [t("目录", "folder"), t("上次扫描", "last look"), *(t(zh, en) for zh, en in _HEADINGS)]
    table(headings, [[x.path, x.last_scan_at or "–", *(str(x.result[name]) if x.result else "–" for name in counts)] for x in found])
    for one in found:
        for error in (one.result or {}).get("errors", ()):
            note(f"{error['path'] or one.path}: {t(error['zh'], error['en'])}")


_HEADINGS = (("新增", "added"), ("修改", "changed"), ("删除", "removed"), ("未变", "unchanged"), ("跳过", "skipped"), ("待写完", "waiting"), ("错误", "errors"))
