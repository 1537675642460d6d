"""`qzbrain model …`: the models of the configuration and their engines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from qzbrain.cli import getting
from qzbrain.cli.session import open_brain
from qzbrain.cli.terminal import LANG, Json, note, result, result_json, t, table, waiting
from qzbrain.errors import Conflict, EngineUnavailable

if TYPE_CHECKING:
    from qzbrain.brain import Brain
    from qzbrain.models.registry import ModelState
    from qzbrain.ops.engine_control import EngineControl

app = typer.Typer(help=t("语言模型、向量模型及其引擎", "Models and their engines"), no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help=t("config.toml 中 [models.名称] 的名称", "The name of its table [models.NAME] in config.toml"))]
app.command("pull", help=t("下载一个模型，写入配置，启动并提问。", "Fetch a model, configure it, start it, and ask it a question."))(getting.pull)
app.command(
    "import", help=t("从文件或目录导入一个模型（离线环境），写入配置，启动并提问。", "Bring in a model from a file or folder, configure and ask it.")
)(getting.import_model)
NoWait = Annotated[bool, typer.Option("--no-wait", help=t("不等待完成", "Do not wait until it is done"))]
_SETTLING = ("starting", "draining")
_POLL_S = 0.1
_NOTICED_S = 2.0
"""How long the engine manager may take to notice a wish."""


@app.command("list", help=t("列出模型及其状态。", "List the models and their state."))
def show(json: Json = False) -> None:
    """List the models and their state."""
    from qzbrain.web import render

    with open_brain() as (brain, _):
        states = brain.models.describe()
    if json:
        result_json({"data": [render.model(one, 0, 0, LANG) for one in states]})
        return
    headings = [t("名称", "Name"), t("用途", "Kind"), t("引擎", "Engine"), t("状态", "State"), t("设备", "Devices"), t("说明", "Note")]
    table(headings, [[x.name, x.kind, x.engine, _status(x), x.devices or "CPU" if x.local else "", _reason(x)] for x in states])


@app.command(help=t("启动模型的引擎，重启后仍保持运行。", "Start a model's engine; it stays wanted after a restart."))
def start(name: Name, no_wait: NoWait = False, json: Json = False) -> None:
    """Start a model's engine; it stays wanted after a restart."""
    with _control() as (brain, control):
        began = time.monotonic()
        if not _noted(lambda: control.start(name), brain, json=json):
            return
        _finish(brain, name, ("ready",), began, no_wait=no_wait, json=json)


@app.command(help=t("等待进行中的回答结束后停止引擎，重启后仍保持停止。", "Let running answers end, then stop the engine; it stays down after a restart."))
def stop(name: Name, no_wait: NoWait = False, json: Json = False) -> None:
    """Let running answers end, then stop the engine; it stays down after a restart."""
    with _control() as (brain, control):
        began = time.monotonic()
        control.stop(name)
        _finish(brain, name, ("stopped",), began, no_wait=no_wait, json=json)


@app.command(
    help=t("用一个模型替换同一设备上正在运行的模型；失败时恢复原来的。", "Have a model take the place of those on its devices; if it fails, they come back.")
)
def swap(
    name: Name,
    replace: Annotated[
        list[str] | None, typer.Option("--replace", metavar="NAME", help=t("要替换的模型（可重复）", "The model to replace; may be repeated"))
    ] = None,
    no_wait: NoWait = False,
    json: Json = False,
) -> None:
    """Have a model take the place of those on its devices; if it fails, they come back."""
    with _control() as (brain, control):
        began = time.monotonic()
        replaced = control.swap(name, replace or ())
        if not json and replaced:
            note(t(f"{name} 正在替换 {'、'.join(replaced)}", f"{name} takes the place of {', '.join(replaced)}"))
        _finish(brain, name, ("ready",), began, no_wait=no_wait, json=json)


@app.command(help=t("向模型发出一次真实调用，确认它能用。", "Make one real call to a model, to see that it works."))
def probe(name: Name, json: Json = False) -> None:
    """Make one real call to a model, to see that it works."""
    with _control() as (_, control), waiting(t(f"正在试用 {name}…", f"trying {name} …")):
        try:
            took_s, failure = control.probe(name), None
        except EngineUnavailable as exc:
            took_s, failure = 0.0, exc
    if json:
        result_json({"name": name, "ok": failure is None, "took_ms": round(took_s * 1e3, 1), "reason": failure.message(LANG) if failure else ""})
    elif failure is None:
        result(t(f"{name} 可用，{took_s * 1e3:.0f} 毫秒", f"{name} works, {took_s * 1e3:.0f} ms"))
    else:
        note(failure.message(LANG))
    if failure is not None:
        raise typer.Exit(1)


@contextmanager
def _control() -> Iterator[tuple[Brain, EngineControl]]:
    from qzbrain.ops.engine_control import EngineControl

    with open_brain() as (brain, _):
        yield brain, EngineControl(brain.settings, brain.models, brain.engines, keeps=False)


def _noted(ask: Callable[[], None], brain: Brain, *, json: bool) -> bool:
    """Whether there is something to wait for. Without a running brain a wish is only noted, which is what was asked for."""
    from qzbrain.ops.start import running_brain

    try:
        ask()
    except Conflict as exc:
        if exc.code != "manager_not_running" or running_brain(brain.settings):
            raise
        if json:
            result_json({"status": "noted", "reason": exc.message(LANG)})
        else:
            result(t("已记下：qzbrain 启动后引擎随之启动（./run.sh）。", "Noted: the engine starts with the brain (./run.sh)."))
        return False
    return True


def _finish(brain: Brain, name: str, wanted: tuple[str, ...], began: float, *, no_wait: bool, json: bool) -> None:
    """Wait until the engine is where it was wanted, or failed, and tell. Ends with exit code 1 for another end."""
    state = _state(brain, name)
    if not no_wait:
        with waiting(t(f"{name}…", f"{name} …")) as say:
            while not _settled(brain, state, wanted, began):
                say(f"{name}: {_status(state)} {_reason(state)} ({time.monotonic() - began:.0f} s)")
                time.sleep(_POLL_S)
                state = _state(brain, name)
    from qzbrain.web import render

    took_s = time.monotonic() - began
    if json:
        result_json({**render.model(state, 0, 0, LANG), "seconds": round(took_s, 2)})
    else:
        result(f"{name}: {_status(state)} ({took_s:.1f} s) {_reason(state)}".rstrip())
    if not no_wait and state.status not in wanted:
        raise typer.Exit(1)


def _settled(brain: Brain, state: ModelState, wanted: tuple[str, ...], began: float) -> bool:
    if brain.engines.wishes().swap is not None or state.status in _SETTLING:
        return False
    return state.status in wanted or time.monotonic() - began > _NOTICED_S


def _state(brain: Brain, name: str) -> ModelState:
    return next(one for one in brain.models.describe() if one.name == name)


def _status(state: ModelState) -> str:
    words = {"ready": t("就绪", "ready"), "starting": t("启动中", "starting"), "stopped": t("已停止", "stopped"), "failed": t("失败", "failed")}
    return t("休眠", "asleep") if state.asleep else words.get(state.status, t("正在停止", "draining"))


def _reason(state: ModelState) -> str:
    reason = state.reason_zh if LANG == "zh" else state.reason_en
    return t(f"由 {state.answered_by} 代答。{reason}", f"{state.answered_by} answers for it. {reason}") if state.answered_by else reason

