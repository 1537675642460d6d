"""`qzbrain status`, `stop`, `restart`: the processes of the running brain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qzbrain.cli.terminal import LANG, Json, WrongUsage, result, result_json, t, table, waiting
from qzbrain.errors import Conflict, InvalidRequest
from qzbrain.settings import load_settings

if TYPE_CHECKING:
    from qzbrain.ops.supervised import Process, Processes

_NOT_RUNNING = 3
"""Exit code of `status` where nothing runs, as init scripts have it."""
Name = Annotated[
    str | None, typer.Argument(help=t("进程名：web、worker、engines、graph；不写为全部", "A process: web, worker, engines or graph; all by default"))
]


def status(json: Json = False) -> None:
    """Show the running processes."""
    found = _processes()
    try:
        brain, processes = found.supervisor(), found.look()
    except Conflict as exc:
        if exc.code != "not_running":
            raise
        if json:
            result_json({"running": False, "processes": []})
        else:
            result(exc.message(LANG))
        raise typer.Exit(_NOT_RUNNING) from exc
    if json:
        result_json({"running": True, "pid": brain.get("pid"), "url": brain.get("url"), "processes": [{**asdict(one), "well": one.well} for one in processes]})
    else:
        result(t(f"qzbrain 正在运行：{brain.get('url')}（PID {brain.get('pid')}）", f"qzbrain is running: {brain.get('url')} (PID {brain.get('pid')})"))
        headings = [t("进程", "process"), t("状态", "state"), "PID", t("已运行", "uptime"), t("重启次数", "restarts"), t("日志", "log")]
        table(headings, [_row(one) for one in processes])
        result(t(f"日志目录：{load_settings().data / 'logs'}", f"Logs: {load_settings().data / 'logs'}"))
    if not all(one.well for one in processes):
        raise typer.Exit(1)


def stop(name: Name = None, json: Json = False) -> None:
    """Stop the brain, or one of its processes."""
    processes = _processes()
    with waiting(t("正在等待回答完成…", "waiting for running answers …")):
        _checked(processes.stop, name)
    if json:
        result_json({"stopped": name or "all"})
    else:
        result(t(f"已停止 {name or 'qzbrain'}。", f"Stopped {name or 'qzbrain'}."))


def restart(name: Name = None, json: Json = False) -> None:
    """Start the brain, or one of its processes, again."""
    processes = _processes()
    with waiting(t("正在重新启动…", "restarting …")):
        _checked(processes.restart, name)
    if json:
        result_json({"restarted": name or "all"})
    else:
        result(t(f"已重新启动 {name or 'qzbrain'}。", f"Restarted {name or 'qzbrain'}."))


def _processes() -> Processes:
    from qzbrain.ops.supervised import Processes

    return Processes(load_settings())


def _checked(do: Callable[[str], None], name: str | None) -> None:
    """Run it; a name that is none is wrong usage."""
    try:
        do(name or "")
    except InvalidRequest as exc:
        raise WrongUsage(exc.code, zh=exc.zh, en=exc.en, param=exc.param) from exc


_STATES = {"running": "运行中", "stopped": "未运行", "starting": "启动中", "stopping": "停止中", "backoff": "反复退出", "exited": "已退出", "fatal": "无法启动"}


def _row(process: Process) -> list[str]:
    idle = process.state == "stopped" and not process.needed
    state = t("不需要", "not needed") if idle else t(_STATES.get(process.state, process.state), process.state)
    pid = str(process.pid) if process.pid else "-"
    return [process.name, state, pid, _duration(process.uptime_s) if process.pid else "-", str(process.restarts), Path(process.log).name]


def _duration(seconds: int) -> str:
    days, rest = divmod(seconds, 86_400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return t(f"{days} 天 {clock}", f"{days} d {clock}") if days else clock
