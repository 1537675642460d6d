"""`qzbrain db …`: the schema, and moving a brain from one kind of database to another."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from qzbrain.cli.session import open_brain
from qzbrain.cli.terminal import Json, WrongUsage, note, progress, result, result_json, t
from qzbrain.settings import load_settings

app = typer.Typer(help=t("数据库", "The database"), no_args_is_help=True)

_SIDE = t("sqlite:路径，或 mysql（设置中的服务器）", "sqlite:PATH, or mysql (the server of the settings)")
_HEADER = {
    "mysql": """\
-- qzbrain: 全部数据表，适用于 MySQL 8 及以上、MariaDB 10.6 及以上。 · all tables, for MySQL 8 or later and MariaDB 10.6 or later.
-- 在空数据库中执行：mysql chatglm < chatglm.sql，或在客户端中 source chatglm.sql；与 qzbrain db upgrade 的结果相同。
-- Run it in an empty database; `qzbrain db upgrade` gives the same. Made by `make docs`; do not edit.
SET NAMES utf8mb4;""",
    "sqlite": "-- qzbrain: 全部数据表，SQLite。 · all tables, SQLite.",
}


@app.command(help=t("把数据库升级到当前版本。", "Bring the database to the newest schema."))
def upgrade(json: Json = False) -> None:
    """Bring the database to the newest schema."""
    from qzbrain.storage.migrate import HEAD

    with open_brain() as (brain, _):  # opening migrates
        place = brain.db.place
    if json:
        result_json({"database": place, "revision": HEAD})
    else:
        result(t(f"数据库 {place} 的版本是 {HEAD}。", f"The database {place} is at revision {HEAD}."))


@app.command(
    help=t(
        "退回升级前的数据库，供旧版本程序使用（现有内容会先备份）。",
        "Go back to the database from before an upgrade, for the older program; what is there is backed up first.",
    )
)
def downgrade(json: Json = False) -> None:
    """Go back to the database from before an upgrade, for the older program; what is there is backed up first."""
    from qzbrain.cli.backing_up import go_back

    go_back(load_settings(), json=json)


@app.command(help=t("以 SQL 打印全部表结构。", "Print the schema as SQL."))
def schema(
    dialect: Annotated[
        Literal["sqlite", "mysql"] | None,
        typer.Option("--dialect", help=t("数据库种类；默认是设置中的那一种", "Kind of database; by default the one of the settings")),
    ] = None,
    json: Json = False,
) -> None:
    """Print the schema as SQL."""
    from qzbrain.storage import migrate

    kind = dialect or ("mysql" if load_settings().mysql_host else "sqlite")
    statements = migrate.schema(kind)
    if json:
        result_json({"dialect": kind, "statements": statements})
    else:
        result("\n\n".join([_HEADER[kind], *(f"{x};" for x in statements)]))


@app.command(help=t("把整个数据库搬到另一种数据库。", "Move the whole database to another kind of database."))
def copy(
    source: Annotated[str, typer.Option("--from", metavar="DATABASE", help=_SIDE)],
    target: Annotated[str, typer.Option("--to", metavar="DATABASE", help=_SIDE)],
    resume: Annotated[bool, typer.Option("--resume", help=t("继续一次中断的复制", "Go on with a copy that was interrupted"))] = False,
    json: Json = False,
) -> None:
    """Move the whole database to another kind of database."""
    from qzbrain.ops import copying

    settings = load_settings()
    try:
        sides = copying.side(source, settings), copying.side(target, settings)
    except copying.UnknownSide as exc:
        raise WrongUsage("unknown_database", zh=exc.zh, en=exc.en, param=exc.param) from exc
    with progress(t("复制并核对", "copying and checking")) as bar:
        done = copying.copy(*sides, resume=resume, progress=bar.update)
    if json:
        result_json(done)
        return
    result(t(f"已复制并核对 {done.rows} 行，用时 {done.seconds:.1f} 秒。", f"{done.rows} rows copied and checked, {done.seconds:.1f} s."))
    for name, rows in done.tables.items():
        result(f"  {name}: {rows}")
    if done.target.startswith("mysql:"):
        note(t("现在设置 MYSQL_HOST 等变量后启动即可；文件和索引仍在数据目录中。", "Start with MYSQL_HOST set; files and indexes stay in the data folder."))
