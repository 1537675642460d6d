"""`qzbrain backup`, its list, check and prune, and `qzbrain restore`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from qzbrain.cli.session import open_brain, saying_what_is_not_logged
from qzbrain.cli.terminal import LANG, Json, Progress, WrongUsage, note, progress, result, result_json, t, table
from qzbrain.errors import NotFound
from qzbrain.settings import Settings, load_settings
from qzbrain.storage.backups.of_settings import repository_of
from qzbrain.storage.backups.repository import Backup, require_key

app = typer.Typer(help=t("备份：生成、列出、核对、清理", "Backups: make, list, check, prune"), invoke_without_command=True)

Folder = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="DIR", help=t("备份目录，默认 BACKUP_DIR", "The folder of backups; BACKUP_DIR by default"))
]
Source = Annotated[Path | None, typer.Option("--from", metavar="DIR", help=t("备份目录，默认 BACKUP_DIR", "The folder of backups; BACKUP_DIR by default"))]
KeyFile = Annotated[
    Path | None, typer.Option("--key-file", metavar="FILE", help=t("密钥文件，默认 BACKUP_KEY_FILE", "The key's file; BACKUP_KEY_FILE by default"))
]
Named = Annotated[str, typer.Argument(metavar="BACKUP", help=t("备份的 id，或 latest", "Id of a backup, or latest"))]

_STAGES = {
    "rows": t("数据", "rows"),
    "files": t("原始文件", "originals"),
    "check": t("核对", "checking"),
    "index": t("建立索引", "building indexes"),
}


@app.callback(help=t("备份整个 qzbrain；运行中也可以。", "Back up the whole brain, which may run on meanwhile."))
def backup(context: typer.Context, output: Folder = None, key_file: KeyFile = None, json: Json = False) -> None:
    """Back up the whole brain, which may run on meanwhile."""
    if context.invoked_subcommand is not None:
        if output or key_file or json:
            said = context.invoked_subcommand
            raise WrongUsage("option_misplaced", zh=f"请把选项写在 {said} 之后。", en=f"Write the options behind {said}.", param=said)
        return
    from qzbrain.brain import beside_backup
    from qzbrain.storage.backups.taking import take

    with open_brain() as (brain, _), _stages() as shown:
        repository = repository_of(brain.settings, output, key_file, make=True)
        with repository.locked():
            made = take(brain.db, brain.files, repository, "manual", beside_backup(brain.settings), shown)
    if json:
        result_json(_plain(made))
        return
    rows, files = sum(made.rows.values()), made.files
    result(
        t(
            f"已备份为 {made.id}：{rows:,} 行，{files} 个原始文件（新增 {made.new_files} 个），用时 {made.seconds:.1f} 秒。目录：{repository.folder}",
            f"Backed up as {made.id}: {rows:,} rows, {files} originals ({made.new_files} new), {made.seconds:.1f} s, in {repository.folder}.",
        )
    )
    if made.missing:
        note(
            t(
                f"注意：有 {made.missing} 个原始文件已丢失或损坏，无法备份；其文本仍在备份中。",
                f"NOTICE: {made.missing} originals are lost or damaged and could not be backed up; their texts are in the backup.",
            )
        )


@app.command("list", help=t("列出备份。", "List backups."))
def show(output: Folder = None, json: Json = False) -> None:
    """List backups, oldest first."""
    settings = load_settings()
    try:
        found = repository_of(settings.model_copy(update={"backup_key_file": ""}), output).backups()
    except NotFound:
        found = []
    if json:
        result_json({"backups": [_plain(one) for one in found]})
        return
    headings = [t("备份", "backup"), t("原因", "reason"), t("表结构", "schema"), t("行", "rows"), t("原始文件", "originals"), "MB", t("加密", "encrypted")]
    table(headings, [_cells(one) for one in found])


@app.command(help=t("从头到尾读一遍备份并核对。", "Read a backup to its end and compare."))
def verify(backup: Named = "latest", output: Folder = None, key_file: KeyFile = None, json: Json = False) -> None:
    """Read a backup to its end and compare."""
    from qzbrain.storage.backups.checking import faults

    repository = repository_of(load_settings(), output, key_file)
    found = repository.find(backup)
    require_key(repository)
    with repository.locked(alone=False), _stages() as shown:
        wrong = list(faults(repository, found, shown))
    if json:
        result_json({"backup": found.id, "whole": not wrong, "faults": [one.body(LANG)["error"] for one in wrong]})
    elif not wrong:
        rows = sum(found.rows.values())
        result(t(f"{found.id} 完好：{rows:,} 行，{found.files} 个原始文件。", f"{found.id} is whole: {rows:,} rows, {found.files} originals."))
    else:
        for one in wrong:
            note(one.message(LANG))
    if wrong:
        raise typer.Exit(1)


@app.command(help=t("只保留最新的几份，并清理不再需要的原始文件。", "Keep the newest backups alone, and remove originals that none of them needs."))
def prune(
    keep: Annotated[int, typer.Option("--keep", min=1, help=t("每类（手动、定时、升级前、恢复前）保留几份", "How many of each kind to keep"))],
    output: Folder = None,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Keep the newest backups alone, and remove originals that none of them needs."""
    from qzbrain.ops.mending import record

    settings = load_settings()
    repository = repository_of(settings, output, key_file)
    require_key(repository)
    with repository.locked():
        gone, freed = repository.prune(keep)
    with saying_what_is_not_logged():
        record(settings, "command.backup.prune", outcome="done", details={"removed": gone})
    if json:
        result_json({"removed": gone, "freed_bytes": freed})
    else:
        result(t(f"已删除 {len(gone)} 份备份，释放原始文件 {freed / 1e6:.1f} MB。", f"{len(gone)} backups removed, {freed / 1e6:.1f} MB of originals freed."))


def restore(
    backup: Annotated[str, typer.Argument(metavar="BACKUP", help=t("备份的 id、latest，或备份所在的目录", "Id of a backup, latest, or the folder of one"))],
    output: Source = None,
    into: Annotated[
        Path | None, typer.Option("--into", metavar="DATA", help=t("恢复到另一个数据目录（SQLite）", "Restore into another data folder (SQLite)"))
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help=t("取代现有内容（先自动备份）", "Put it in the place of what is there, which is backed up first"))
    ] = False,
    key_file: KeyFile = None,
    json: Json = False,
) -> None:
    """Put a backup into the place of what is there, which is backed up first."""
    from qzbrain.ops.restoring import elsewhere

    settings = load_settings()
    given = Path(backup)
    if output is None and (given / "backup.json").is_file():
        output, backup = given.absolute().parent.parent, given.absolute().name
    _restored(settings if into is None else elsewhere(settings, into), backup, output, key_file, replace=replace, keep_schema=False, json=json)


def go_back(settings: Settings, *, json: bool) -> None:
    """Put the newest backup from before an upgrade back, with the schema that it has."""
    from qzbrain.ops.restoring import downgrade_backup

    found = downgrade_backup(repository_of(settings))
    _restored(settings, found.id, None, None, replace=True, keep_schema=True, json=json)


def _restored(settings: Settings, backup: str, folder: Path | None, key_file: Path | None, *, replace: bool, keep_schema: bool, json: bool) -> None:
    from qzbrain.ops import restoring

    repository = repository_of(settings, folder, key_file)
    found = repository.find(backup)
    require_key(repository)
    if key_file is not None and repository.folder == settings.backup_folder.absolute():  # what is there is saved into the same folder
        settings = settings.model_copy(update={"backup_key_file": str(key_file.absolute())})
    with _stages() as shown:
        done = restoring.restore(settings, repository, found, replace=replace, keep_schema=keep_schema, progress=shown)
    if json:
        result_json(done)
        return
    result(
        t(
            f"已恢复 {done.backup}（{done.made_at}）：{done.rows:,} 行，{done.files} 个原始文件，用时 {done.seconds:.1f} 秒。",
            f"{done.backup} of {done.made_at} is restored: {done.rows:,} rows, {done.files} originals, {done.seconds:.1f} s.",
        )
    )
    if done.saved:
        note(t(f"恢复前的内容已备份为 {done.saved}。", f"What was there before is backed up as {done.saved}."))
    if done.aside:
        zh = f"原数据库已损坏，无法备份；其文件已复制到 {done.aside}。"
        note(t(zh, f"The database that was there is damaged and could not be backed up; its files are in {done.aside}."))
    if done.unindexed and keep_schema:
        zh = f"检索服务不可用（{done.unindexed}），其索引仍是恢复前的；请在旧版本程序中对每个知识库运行 qzbrain kb reindex。"
        note(t(zh, f"The search server cannot be used ({done.unindexed}): run qzbrain kb reindex of the older program for each knowledge base."))
    elif done.unindexed:
        zh = f"检索服务不可用（{done.unindexed}），索引尚未重建；后台处理进程会在服务恢复后重建，不必再次恢复。"
        note(t(zh, f"The search server cannot be used ({done.unindexed}): the worker builds the indexes when it can; there is no need to restore again."))
    if keep_schema:
        note(
            t(
                f"数据库现为版本 {done.revision}。请改用旧版本的程序启动；用本程序打开会再次升级。",
                f"The database is at revision {done.revision}. Start the older program now; this one would upgrade it again.",
            )
        )


def _cells(one: Backup) -> list[str]:
    encrypted = t("是", "yes") if one.encrypted else ""
    return [one.id, one.reason, one.revision, f"{sum(one.rows.values()):,}", str(one.files), f"{one.size_bytes / 1e6:.1f}", encrypted]


def _plain(backup: Backup) -> dict[str, Any]:
    told = asdict(backup)
    return {**{key: told[key] for key in told if key not in ("numbers", "audit", "parts")}, "size_bytes": backup.size_bytes}


@contextmanager
def _stages() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for each stage as it comes."""
    with ExitStack() as bars:
        open_: dict[str, Progress] = {}

        def shown(stage: str, done: int, total: int) -> None:
            if stage not in open_:
                bars.close()
                open_.clear()
                open_[stage] = bars.enter_context(progress(_STAGES.get(stage, stage)))
            open_[stage].update(done, total)

        yield shown
