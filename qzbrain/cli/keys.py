"""`qzbrain key …`: API keys of users."""

from __future__ import annotations

from typing import Annotated

import typer

from qzbrain.cli.session import open_brain
from qzbrain.cli.terminal import Json, note, result, result_json, t, table
from qzbrain.domain import Right
from qzbrain.web import account_render as render

app = typer.Typer(help=t("API 密钥", "API keys"), no_args_is_help=True)


@app.command(help=t("为用户创建 API 密钥；密钥只显示这一次。", "Make an API key for a user; it is shown this once."))
def create(
    user: Annotated[str, typer.Argument(metavar="USER", help=t("用户名或 id", "Name or id of the user"))],
    name: Annotated[str, typer.Argument(metavar="NAME", help=t("用途", "What it is for"))],
    right: Annotated[Right, typer.Option(help=t("最高权限", "At most this right"))] = "manage",
    kb: Annotated[list[str] | None, typer.Option("--kb", help=t("只限这些知识库，可多次使用", "Only in this knowledge base; repeatable"))] = None,
    expires: Annotated[str | None, typer.Option(metavar="TIME", help=t("到期时间，如 2027-01-31", "When it ends, say 2027-01-31"))] = None,
    requests_per_minute: Annotated[int, typer.Option(min=0, help=t("每分钟请求数，0 按设置", "Requests a minute; 0: as the setting says"))] = 0,
    json: Json = False,
) -> None:
    """Make an API key."""
    with open_brain() as (brain, caller):
        made, secret = brain.accounts.keyring.create(
            caller, name=name, user=user, right=right, knowledge_bases=kb or (), expires_at=expires, requests_per_minute=requests_per_minute
        )
        names = brain.accounts.users.names([made.user_id])
    if json:
        result_json({**render.keys([made], names)[0], "key": secret})
    else:
        note(t("请妥善保存，密钥不会再次显示：", "Keep it safe; the key is not shown again:"))
        result(secret)


@app.command("list", help=t("列出 API 密钥。", "List the API keys."))
def show(
    user: Annotated[str | None, typer.Option(help=t("只列出该用户的", "Only this user's"))] = None,
    json: Json = False,
) -> None:
    """List the API keys."""
    with open_brain() as (brain, caller):
        found = brain.accounts.keyring.keys(caller, everybody=True, user=user)
        shown = render.keys(found, brain.accounts.users.names([one.user_id for one in found]))
    if json:
        for one in shown:
            result_json(one)
    elif shown:
        headings = ["id", t("用户", "user"), t("用途", "name"), t("开头", "begins"), t("权限", "right"), t("到期", "ends"), t("上次使用", "last used")]
        table(headings, [[x["id"], x["username"], x["name"], x["shown"], x["right"], x["expires_at"] or "–", x["used_at"] or "–"] for x in shown])
    else:
        note(t("还没有密钥。创建：qzbrain key create 用户 用途", "There are no keys yet. Make one: qzbrain key create USER NAME"))


@app.command(help=t("删除 API 密钥，立即失效。", "End an API key at once."))
def rm(key: Annotated[str, typer.Argument(metavar="KEY_ID", help=t("密钥的 id", "Id of the key"))], json: Json = False) -> None:
    """End an API key."""
    with open_brain() as (brain, caller):
        gone = brain.accounts.keyring.delete(caller, key)
    if json:
        result_json({"removed": gone.id})
    else:
        result(t("已删除。", "Removed."))
