"""`qzbrain audit …`: who did or read what, and whether the log is whole."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from qzbrain.cli.session import open_brain
from qzbrain.cli.terminal import LANG, Json, note, result, result_json, t, table

app = typer.Typer(help=t("审计日志", "The audit log"), no_args_is_help=True)

_Actor = Annotated[str, typer.Option("--actor", help=t("只看这个用户（名称或编号）", "Only this user, by name or id"))]
_Action = Annotated[str, typer.Option("--action", help=t("只看这种操作，如 document 或 document.read", "Only this action, such as document or document.read"))]
_Since = Annotated[str, typer.Option("--since", help=t("从此时起（UTC，如 2026-11-28）", "From this time on (UTC, such as 2026-11-28)"))]
_Until = Annotated[str, typer.Option("--until", help=t("到此时止（UTC）", "Up to this time (UTC)"))]


@app.command("list", help=t("列出最近的事件，新的在前", "List the latest events, newest first"))
def list_events(
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help=t("最多多少条", "Most events"))] = 50,
    actor: _Actor = "",
    action: _Action = "",
    since: _Since = "",
    until: _Until = "",
    json: Json = False,
) -> None:
    """List the latest events, newest first; with --json one object a line."""
    from qzbrain.auth.audit_trail import Wanted

    with open_brain() as (brain, who):
        found = brain.audit_trail.page(who, Wanted(actor, action, since, until), limit=limit)
    if json:
        for one in found.data:
            result_json(one)
    elif not found.data:
        note(t("没有事件。", "No events."))
    else:
        names = (("编号", "number"), ("时间", "time"), ("用户", "user"), ("操作", "action"), ("对象", "subject"), ("结果", "outcome"), ("地址", "address"))
        table([t(*name) for name in names], [[str(x.number), x.at, x.actor, x.action, x.subject, x.outcome, x.address] for x in found.data])


@app.command(help=t("导出事件，旧的在前", "Export events, oldest first"))
def export(
    to: Annotated[Path | None, typer.Argument(help=t("文件；不写则为标准输出", "File; standard output without one"))] = None,
    form: Annotated[Literal["csv", "jsonl"], typer.Option("--format", help=t("格式", "Format"))] = "jsonl",
    actor: _Actor = "",
    action: _Action = "",
    since: _Since = "",
    until: _Until = "",
    json: Json = False,
) -> None:
    """Export events, oldest first, as JSON lines or CSV."""
    from qzbrain.auth.audit_trail import Wanted

    size = 0
    with open_brain() as (brain, who):
        pieces = brain.audit_trail.export(who, Wanted(actor, action, since, until), form)
        if to is None:
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            return
        with to.open("wb") as out:
            for piece in pieces:
                size += out.write(piece)
    if json:
        result_json({"file": str(to), "bytes": size})
    else:
        note(t(f"已写入 {to}（{size:,} 字节）。", f"Written to {to} ({size:,} bytes)."))


@app.command(help=t("核对整条校验链，指出被改动、缺失、调换或截断之处", "Verify the whole chain and name what was changed, taken out, moved or cut off"))
def verify(
    accept: Annotated[
        bool,
        typer.Option(
            "--accept-end",
            help=t("末尾缺失已查明（如恢复了旧备份）：记下此事，从现有末条继续", "A missing end is explained (a restored backup): note it and go on"),
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Verify the whole chain and name what was changed, taken out, moved or cut off; exit code 1 when something was."""
    with open_brain() as (brain, who):
        found = brain.verify_audit()
        if accept and found.faults and found.last is not None:
            brain.audit.head.accept(found.last.number, found.last.hash)
            brain.audit.record(None, who, "audit.end_accepted", details={"faults": [f"{x.kind} {x.number}" for x in found.faults]}).wait()
            brain.audit.flush()
            found = brain.verify_audit()
    if json:
        shown = [{**asdict(x), "message": x.zh if LANG == "zh" else x.en} for x in found.faults]
        result_json({"rows": found.rows, "last": found.last, "ok": not found.faults, "faults": shown})
    elif found.faults:
        for fault in found.faults:
            result(f"✗ {fault.zh if LANG == 'zh' else fault.en}")
    else:
        result(t(f"✓ {found.rows:,} 条，完整无缺。", f"✓ {found.rows:,} rows, whole and unchanged."))
    if found.faults:
        raise typer.Exit(1)
