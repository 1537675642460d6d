"""`qzbrain service …`: the brain as a service of the host."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Annotated

import typer

from qzbrain.cli.terminal import Json, WrongUsage, note, result, result_json, t
from qzbrain.settings import Settings, load_settings

app = typer.Typer(help=t("作为系统服务运行", "Run as a service of the host"), no_args_is_help=True)
User = Annotated[
    str | None, typer.Option("--user", help=t("运行服务的系统用户；默认为当前用户，root 下为 qzbrain", "Who runs it; by default you, or, as root, qzbrain"))
]
Output = Annotated[Path | None, typer.Option("--output", "-o", help=t("写入这个文件；默认打印", "Write it into this file; printed by default"))]
Force = Annotated[bool, typer.Option("--force", help=t("覆盖已有的不同文件", "Overwrite a file that differs"))]


@app.command(help=t("生成加固的 systemd 单元。", "Make a hardened systemd unit."))
def systemd(user: User = None, output: Output = None, force: Force = False, json: Json = False) -> None:
    """Make a hardened systemd unit."""
    from qzbrain.ops.service_units import systemd_unit

    settings = load_settings()
    name = _user(user)
    unit = output.stem if output is not None else "qzbrain"
    _give(settings, systemd_unit(settings, name), output, force=force, json=json)
    _tell_rest(settings, name, f"systemctl daemon-reload && systemctl enable --now {unit}" if output else "")


@app.command(help=t("生成主机 supervisord 的配置段。", "Make sections for the host's own supervisord."))
def supervisor(user: User = None, output: Output = None, force: Force = False, json: Json = False) -> None:
    """Make sections for the host's own supervisord."""
    from qzbrain.ops.service_units import supervisor_sections
    from qzbrain.ops.supervision import log_folder

    settings = load_settings()
    name = _user(user)
    _give(settings, supervisor_sections(settings, name), output, force=force, json=json)
    if not log_folder(settings).is_dir():
        make = f"install -d -m 700 -o {name} {log_folder(settings)}"
        note(t(f"supervisord 需要日志目录。请先创建：{make}", f"supervisord wants the log folder. Make it first: {make}"))
    _tell_rest(settings, name, "supervisorctl update" if output else "")


def _user(given: str | None) -> str:
    if given is None:
        return "qzbrain" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    if not given or not all(sign.isalnum() or sign in "-_." for sign in given) or given.startswith("-"):
        raise WrongUsage("unknown_user", zh=f"{given!r} 不是用户名。", en=f"{given!r} is no user name.", param="user")
    return given


def _give(settings: Settings, text: str, output: Path | None, *, force: bool, json: bool) -> None:
    from qzbrain.ops.service_units import settings_left_out, write

    if output is not None:
        write(output, text, force=force)
    if json:
        result_json({"path": str(output) if output else None, "text": text, "left_out": settings_left_out(settings, dict(os.environ))})
    elif output is not None:
        result(t(f"已写入 {output}。", f"Wrote {output}."))
    else:
        result(text.rstrip("\n"))


def _tell_rest(settings: Settings, user: str, command: str) -> None:
    """What must be there before it starts, and how it is started; on standard error."""
    from qzbrain.ops.service_units import ENVIRONMENT_FILE, settings_left_out

    try:
        pwd.getpwnam(user)
    except KeyError:
        make = f"useradd --system --home-dir {settings.data} --shell /usr/sbin/nologin {user}"
        note(t(f"没有用户 {user}。请先创建：{make}", f"There is no user {user}. Make it first: {make}"))
    if not settings.data.is_dir():
        make = f"install -d -m 700 -o {user} {settings.data}"
        note(t(f"数据目录尚不存在。请先创建：{make}", f"The data folder is not there yet. Make it first: {make}"))
    if left := settings_left_out(settings, dict(os.environ)):
        names = ", ".join(left)
        note(
            t(
                f"这些设置来自当前环境，服务中不会有：{names}。请写入 config.toml 或 {ENVIRONMENT_FILE}（权限 600）。",
                f"These settings come from your environment, and the service would not have them: {names}. "
                f"Put them into config.toml or {ENVIRONMENT_FILE} (mode 600).",
            )
        )
    if command:
        note(t(f"然后：{command}", f"Then: {command}"))
