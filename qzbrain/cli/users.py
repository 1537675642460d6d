"""`qzbrain user …`: users, on the server itself; whoever may run this could read the data folder anyway."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from qzbrain.auth.links import LIVES_S
from qzbrain.auth.setup import address
from qzbrain.auth.user_rows import UserShown
from qzbrain.brain import Brain
from qzbrain.cli.session import open_brain
from qzbrain.cli.terminal import Json, WrongUsage, note, result, result_json, t, table
from qzbrain.domain import Caller, Level, Role
from qzbrain.web import account_render as render

app = typer.Typer(help=t("用户", "Users"), no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help=t("用户名或 id", "Name or id of the user"))]
Roles = Annotated[Role | None, typer.Option(help=t("角色", "Role"))]
Clearances = Annotated[Level | None, typer.Option(help=t("可查看的最高密级", "Highest level that he may see"))]
Display = Annotated[str | None, typer.Option(help=t("显示的姓名", "Name to show"))]
Groups = Annotated[list[str] | None, typer.Option("--group", help=t("所属用户组，可多次使用", "A group that he is in; repeatable"))]
FromInput = Annotated[bool, typer.Option("--password-stdin", help=t("从标准输入读取密码", "Read the password from standard input"))]


@app.command(help=t("新建用户；不带密码时给出一次性密码链接。", "Make a user; without a password a one-time password link is printed."))
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help=t("用户名", "Name"))],
    role: Roles = "reader",
    clearance: Clearances = "internal",
    display_name: Display = None,
    group: Groups = None,
    password_stdin: FromInput = False,
    json: Json = False,
) -> None:
    """Make a user."""
    password = _password() if password_stdin else None
    with open_brain() as (brain, caller):
        made = brain.accounts.users.create(
            caller, name=name, password=password, display_name=display_name or "", role=role or "reader", clearance=clearance or "internal", groups=group or ()
        )
        link = "" if password is not None else _link(brain, caller, made.id)
    if json:
        result_json({**render.user(made), "link": link or None})
        return
    result(t(f"已建立用户 {made.username}。", f"Made the user {made.username}."))
    if link:
        _tell(link)


@app.command("list", help=t("列出用户。", "List the users."))
def show(json: Json = False) -> None:
    """List the users."""
    with open_brain() as (brain, caller):
        found = brain.accounts.users.users(caller)
    if json:
        for one in found:
            result_json(render.user(one))
    elif found:
        headings = [t("用户", "user"), t("姓名", "name"), t("角色", "role"), t("许可密级", "clearance"), t("用户组", "groups"), t("状态", "state")]
        table(headings, [[x.username, x.display_name, x.role, x.clearance, ", ".join(name for _, name in x.groups), _state(x)] for x in found])
    else:
        note(t("还没有用户。建立管理员：qzbrain user setup-link", "There are no users yet. Make an administrator: qzbrain user setup-link"))


@app.command("set", help=t("修改用户：角色、密级、停用、密码等。", "Change a user: role, clearance, disabled, password and so on."))
def change(
    name: Name,
    rename: Annotated[str | None, typer.Option(help=t("新的用户名", "New name"))] = None,
    role: Roles = None,
    clearance: Clearances = None,
    display_name: Display = None,
    group: Groups = None,
    disabled: Annotated[bool | None, typer.Option("--disable/--enable", help=t("停用或启用", "Disable or enable him"))] = None,
    no_totp: Annotated[bool, typer.Option("--no-totp", help=t("关闭两步验证", "Ask for one-time codes no more"))] = False,
    password_stdin: FromInput = False,
    json: Json = False,
) -> None:
    """Change a user."""
    given: dict[str, Any] = {
        "name": rename, "role": role, "clearance": clearance, "display_name": display_name, "groups": group, "disabled": disabled,
        "totp": False if no_totp else None, "password": _password() if password_stdin else None,
    }  # fmt: skip
    changes = {key: value for key, value in given.items() if value is not None}
    if not changes:
        raise WrongUsage(zh="没有指定要修改的内容。可用选项见 qzbrain user set --help", en="Nothing to change was given. See: qzbrain user set --help")
    with open_brain() as (brain, caller):
        changed = brain.accounts.users.update(caller, name, **changes)
    if json:
        result_json(render.user(changed))
    else:
        result(t(f"已修改用户 {changed.username}。", f"Changed the user {changed.username}."))


@app.command(help=t("删除用户；其会话和密钥立即失效。", "Remove a user; his sessions and keys end at once."))
def rm(name: Name, yes: Annotated[bool, typer.Option("--yes", "-y", help=t("不询问", "Do not ask"))] = False, json: Json = False) -> None:
    """Remove a user."""
    with open_brain() as (brain, caller):
        found = brain.accounts.users.user(caller, name)
        if not yes and not json and sys.stdin.isatty():
            typer.confirm(t(f"删除用户 {found.username}？", f"Remove the user {found.username}?"), abort=True, err=True)
        brain.accounts.users.delete(caller, found.id)
    if json:
        result_json({"removed": found.username})
    else:
        result(t("已删除。", "Removed."))


@app.command(help=t("给出一次性密码链接（24 小时）。", "Print a one-time link for choosing a password, good for a day."))
def link(name: Name, json: Json = False) -> None:
    """A one-time password link."""
    with open_brain() as (brain, caller):
        made = _link(brain, caller, name)
    _show_link(made, json=json)


@app.command("setup-link", help=t("给出一次性设置链接，用于创建第一个管理员。", "Print the one-time link that makes the first administrator."))
def setup_link(json: Json = False) -> None:
    """The set-up link, made anew."""
    with open_brain() as (brain, _caller):
        made = brain.accounts.setup.link()
    _show_link(made, json=json)


@app.command("sign-out", help=t("结束用户的全部会话。", "End all sessions of a user."))
def sign_out(name: Name, json: Json = False) -> None:
    """End all sessions of a user."""
    with open_brain() as (brain, caller):
        ended = brain.accounts.users.sign_out(caller, name)
    if json:
        result_json({"ended": ended})
    else:
        result(t(f"已结束 {ended} 个会话。", f"Ended {ended} sessions."))


def _link(brain: Brain, caller: Caller, name: str) -> str:
    return address(brain.settings, "password", brain.accounts.users.link(caller, name))


def _show_link(made: str, *, json: bool) -> None:
    if json:
        result_json({"url": made, "expires_in_s": int(LIVES_S)})
    else:
        _tell(made)


def _tell(made: str) -> None:
    note(t("此链接仅可使用一次，24 小时内有效：", "This link is good once, within 24 hours:"))
    result(made)


def _password() -> str:
    """The first line of standard input; typed unseen where that is a terminal."""
    if sys.stdin.isatty():
        return str(typer.prompt(t("密码", "Password"), hide_input=True, confirmation_prompt=True, err=True))
    return sys.stdin.readline().rstrip("\r\n")


def _state(user: UserShown) -> str:
    if user.disabled:
        return t("已停用", "disabled")
    return t("正常", "active") if user.password or user.external else t("未设密码", "no password yet")
