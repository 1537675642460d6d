"""`qzbrain insert`: curated knowledge into a knowledge base, one entry or a file of them, and out again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from qzbrain.cli.session import open_brain, work_until
from qzbrain.cli.terminal import LANG, Json, WrongUsage, note, progress, result, result_json, t


def insert(
    kb: Annotated[str, typer.Argument(metavar="KB", help=t("知识库的名称或 id", "Name or id of the knowledge base"))],
    question: Annotated[str, typer.Option(help=t("问题；省略则为一段文字", "The question; without one it is a text"))] = "",
    answer: Annotated[str, typer.Option(help=t("答案（Markdown）", "The answer (Markdown)"))] = "",
    variant: Annotated[list[str] | None, typer.Option(help=t("同一问题的其他问法，可重复", "Another way to ask, repeatable"))] = None,
    negative: Annotated[list[str] | None, typer.Option(help=t("不适用的问题，可重复", "A question that it does not answer, repeatable"))] = None,
    source: Annotated[str, typer.Option(help=t("来源", "Source"))] = "",
    valid_from: Annotated[str, typer.Option(help=t("生效日期", "In force from this day or time"))] = "",
    valid_until: Annotated[str, typer.Option(help=t("失效日期", "In force until this day or time"))] = "",
    approve: Annotated[bool, typer.Option("--approve", help=t("立即生效", "In force at once"))] = False,
    file: Annotated[Path | None, typer.Option("--import", help=t("导入 xlsx、xls、csv 或 jsonl 文件", "Take in an xlsx, xls, csv or jsonl file"))] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help=t("只检查导入文件，不写入", "Only look at the file"))] = False,
    export: Annotated[Path | None, typer.Option("--export", help=t("导出为 xlsx、csv 或 jsonl 文件", "Write all into an xlsx, csv or jsonl file"))] = None,
    json: Json = False,
) -> None:
    """Put curated knowledge into a knowledge base."""
    if sum((bool(answer), file is not None, export is not None)) != 1:
        raise WrongUsage(zh="请给出 --answer、--import、--export 三者之一。", en="Give one of --answer, --import and --export.")
    if file is not None:
        _import(kb, file, dry_run=dry_run, approve=approve, json=json)
    elif export is not None:
        _export(kb, export, json=json)
    else:
        given = {"question": question, "answer": answer, "variants": variant or [], "negatives": negative or [], "source": source}
        _one(kb, {**given, "valid_from": valid_from or None, "valid_until": valid_until or None}, approve=approve, json=json)


def _one(kb: str, given: dict[str, Any], *, approve: bool, json: bool) -> None:
    from qzbrain.web.entries_api import conflicts, shown

    with open_brain() as (brain, caller):
        made = brain.entries.create(caller, kb, approve=approve, **given)
        _bring_in(brain, caller, kb)
        found = shown(made, conflicts(brain, caller, made))
    if json:
        result_json(found)
        return
    state = t("已生效", "in force") if found["in_force"] else t("待批准", "waits for approval")
    result(t(f"已插入条目 {made.id}（{state}）。", f"Inserted entry {made.id} ({state})."))
    for one in found["conflicts"]:
        note(t(f"注意，与已有内容不一致：{one['quote']}", f"Note, this says otherwise: {one['quote']}"))


def _import(kb: str, file: Path, *, dry_run: bool, approve: bool, json: bool) -> None:
    from qzbrain.web.entries_api import error_rows

    if not file.is_file():
        raise WrongUsage(zh=f"没有文件 {file}。", en=f"There is no file {file}.")
    with open_brain() as (brain, caller):
        told = brain.entry_files.load(caller, kb, file.name, file.read_bytes(), dry_run=dry_run, approve=approve)
        if not dry_run:
            _bring_in(brain, caller, kb)
    counts = {"created": told.created, "updated": told.updated, "skipped": told.skipped}
    errors = error_rows(told.errors, LANG)
    if json:
        result_json({**counts, "errors": errors, "conflicts": [{"row": row, **_plain(one)} for row, one in told.conflicts], "dry_run": dry_run})
    else:
        would = t("（仅检查，未写入）", " (only looked at)") if dry_run else ""
        result(
            t(
                f"新增 {told.created}，更新 {told.updated}，未变 {told.skipped}，错误 {len(errors)} 行{would}。",
                f"{told.created} new, {told.updated} changed, {told.skipped} as before, {len(errors)} bad rows{would}.",
            )
        )
        for one in errors[:20]:
            note(t(f"第 {one['row']} 行：{one['message']}", f"row {one['row']}: {one['message']}"))
    if errors:
        raise typer.Exit(1)


def _export(kb: str, path: Path, *, json: bool) -> None:
    from qzbrain.knowledge.entries.transfer import Format

    form = path.suffix.lstrip(".").lower()
    if form not in get_args(Format):
        raise WrongUsage(zh="导出文件的扩展名须为 xlsx、csv 或 jsonl。", en="The file's extension must be xlsx, csv or jsonl.")
    with open_brain() as (brain, caller):
        data = brain.entry_files.dump(caller, kb, form)  # type: ignore[arg-type]
    path.write_bytes(data)
    if json:
        result_json({"file": str(path), "size_bytes": len(data)})
    else:
        result(t(f"已写入 {path}（{len(data)} 字节）。", f"Wrote {path} ({len(data)} bytes)."))


def _bring_in(brain: Any, caller: Any, kb: str) -> None:
    """Wait until what was put in can be found."""
    from sqlalchemy import select

    from qzbrain.storage.tables import outbox

    left = select(outbox.c.seq).where(outbox.c.kb_id == brain.access.resolve(caller, [kb])[0].id).limit(1)
    with progress(t("写入索引", "indexing")):
        work_until(brain, lambda: not brain.db.rows(left))


def _plain(one: Any) -> dict[str, Any]:
    return {name: getattr(one, name) for name in one.__dataclass_fields__}
