"""`qzbrain group …`: groups of users."""

from __future__ import annotations

from typing import Annotated

import typer

from qzbrain.cli.session import open_brain
from qzbrain.cli.terminal import Json, note, result, result_json, t, table
from qzbrain.web import account_render as render

app = typer.Typer(help=t("用户组", "Groups of users"), no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="GROUP", help=t("用户组的名称或 id", "Name or id of the group"))]
Members = Annotated[list[str] | None, typer.Option("--member", help=t("成员，可多次使用", "A user in it; repeatable"))]


@app.command(help=t("新建用户组。", "Make a group."))
def add(
    name: Annotated[str, typer.Argument(metavar="GROUP", help=t("名称", "Name"))],
    description: Annotated[str, typer.Option(help=t("说明", "Description"))] = "",
    member: Members = None,
    json: Json = False,
) -> None:
    """Make a group."""
    with open_brain() as (brain, caller):
        made = brain.accounts.groups.create(caller, name=name, description=description, members=member or ())
    if json:
        result_json(render.group(made))
    else:
        result(t(f"已建立用户组 {made.name}。", f"Made the group {made.name}."))


@app.command("list", help=t("列出用户组。", "List the groups."))
def show(json: Json = False) -> None:
    """List the groups."""
    with open_brain() as (brain, caller):
        found = brain.accounts.groups.groups(caller)
    if json:
        for one in found:
            result_json(render.group(one))
    elif found:
        headings = [t("用户组", "group"), t("说明", "description"), t("成员", "members")]
        table(headings, [[x.name, x.description, ", ".join(name for _, name in x.members)] for x in found])
    else:
        note(t("还没有用户组。新建：qzbrain group add 名称", "There are no groups yet. Make one: qzbrain group add NAME"))


@app.command("set", help=t("修改用户组：名称、说明，加入或移出成员。", "Change a group: name, description, who comes in or leaves."))
def change(
    name: Name,
    rename: Annotated[str | None, typer.Option(help=t("新的名称", "New name"))] = None,
    description: Annotated[str | None, typer.Option(help=t("说明", "Description"))] = None,
    add_member: Annotated[list[str] | None, typer.Option("--add", metavar="USER", help=t("加入成员", "A user to take in"))] = None,
    remove_member: Annotated[list[str] | None, typer.Option("--remove", metavar="USER", help=t("移出成员", "A user to leave out"))] = None,
    json: Json = False,
) -> None:
    """Change a group."""
    with open_brain() as (brain, caller):
        members = None
        if add_member or remove_member:
            there = {user_id for user_id, _ in brain.accounts.groups.group(caller, name).members}
            there |= {brain.accounts.users.user(caller, one).id for one in add_member or ()}
            members = sorted(there - {brain.accounts.users.user(caller, one).id for one in remove_member or ()})
        changed = brain.accounts.groups.update(caller, name, name=rename, description=description, members=members)
    if json:
        result_json(render.group(changed))
    else:
        result(t(f"已修改用户组 {changed.name}。", f"Changed the group {changed.name}."))


@app.command(help=t("删除用户组及授予它的权限。", "Remove a group with the rights that it was given."))
def rm(name: Name, json: Json = False) -> None:
    """Remove a group."""
    with open_brain() as (brain, caller):
        gone = brain.accounts.groups.delete(caller, name)
    if json:
        result_json({"removed": gone.name})
    else:
        result(t("已删除。", "Removed."))
