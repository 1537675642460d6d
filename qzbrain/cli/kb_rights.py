"""`qzbrain kb rights`: who may what in a knowledge base, and its level."""

from __future__ import annotations

from typing import Annotated

import typer

from qzbrain.auth.grants import Grant, KbRights
from qzbrain.auth.standing import EVERYONE
from qzbrain.cli.session import open_brain
from qzbrain.cli.terminal import Json, WrongUsage, note, result, result_json, t, table
from qzbrain.domain import RIGHTS, Level, Right
from qzbrain.web import account_render as render

Name = Annotated[str, typer.Argument(metavar="KB", help=t("知识库的名称或 id", "Name or id of the knowledge base"))]
GivenTo = Annotated[
    list[str] | None,
    typer.Option(
        "--grant",
        metavar="WHO=RIGHT",
        help=t("授权：用户=read、group:用户组=write、everyone=read 等", "Give a right: USER=read, group:GROUP=write, everyone=read and so on"),
    ),
]
TakenFrom = Annotated[list[str] | None, typer.Option("--revoke", metavar="WHO", help=t("收回授权：用户、group:用户组、everyone", "Take a right away"))]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("rights", help=t("查看或修改知识库的授权与密级。", "Show or change who may what in a knowledge base, and its level."))(rights)


def rights(
    kb: Name,
    grant: GivenTo = None,
    revoke: TakenFrom = None,
    level: Annotated[Level | None, typer.Option(help=t("知识库的密级", "Level of the knowledge base"))] = None,
    json: Json = False,
) -> None:
    """Show or change the rights in a knowledge base."""
    given, taken = [_given(one) for one in grant or ()], [_who(one) for one in revoke or ()]
    with open_brain() as (brain, caller):
        found = brain.accounts.grants.of(caller, kb)
        if given or taken or level is not None:
            changed = [(one.user, one.group) for one in given] + taken
            kept = [Grant(one.right, user=one.user, group=one.group) for one in found.grants if (one.user, one.group) not in changed]
            found = brain.accounts.grants.put(caller, kb, grants=kept + given, level=level)
    if json:
        result_json(render.rights(found))
    else:
        _show(found)


def _show(found: KbRights) -> None:
    result(t(f"知识库 {found.knowledge_base}，密级 {found.level}", f"Knowledge base {found.knowledge_base}, level {found.level}"))
    if found.grants:
        headings = [t("对象", "who"), t("权限", "right")]
        table(headings, [[one.user or (EVERYONE if one.group == EVERYONE else f"group:{one.group}"), one.right] for one in found.grants])
    else:
        note(t("没有授权：只有管理员可以使用。", "Nobody was given a right: only administrators may use it."))


def _given(text: str) -> Grant:
    who, _, right = text.rpartition("=")
    known: dict[str, Right] = {one: one for one in RIGHTS}
    if not who or right not in known:
        raise WrongUsage(
            zh=f"“{text}”不是有效的授权。格式：用户=read|write|manage，用户组写作 group:名称",
            en=f'"{text}" is no grant. Write USER=read|write|manage, or group:GROUP=…',
        )
    user, group = _who(who)
    return Grant(known[right], user=user, group=group)


def _who(text: str) -> tuple[str, str]:
    plain = text.strip().lower()
    if plain == EVERYONE:
        return "", EVERYONE
    return ("", plain.removeprefix("group:")) if plain.startswith("group:") else (plain, "")
