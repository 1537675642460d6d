"""`qzbrain doctor`: the deployment's checks, and what is safe to put right."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from qzbrain import logs
from qzbrain.cli.session import saying_what_is_not_logged
from qzbrain.cli.terminal import LANG, Json, WrongUsage, note, result, result_json, t, waiting
from qzbrain.errors import BrainError

if TYPE_CHECKING:
    from qzbrain.ops.doctor import Check
    from qzbrain.ops.mending import Action
    from qzbrain.settings import Settings

_MARKS = {"ok": "✓", "warn": "!", "fail": "✗", "skip": "-"}
_COLOURS = {"ok": "32", "warn": "33", "fail": "31", "skip": "2"}


def doctor(
    step: Annotated[int | None, typer.Option("--step", min=1, max=9, help=t("只检查部署手册的这一步", "Only this step of the deployment manual"))] = None,
    fix: Annotated[bool, typer.Option("--fix", help=t("修复可以安全修复的问题，然后再检查一次", "Put right what is safe to, then look again"))] = False,
    yes: Annotated[bool, typer.Option("--yes", help=t("--fix：不再询问", "--fix: do not ask"))] = False,
    json: Json = False,
) -> None:
    """Check the deployment, item by item, and say what to do. Exit code 1 when a check fails; warnings are named."""
    logs.configure("error", "cli")
    settings, found = _examined(step)
    fixed: list[dict[str, object]] = []
    if fix:
        if not json:
            _print(found)
        fixed = _mended(settings, ask=not yes)
        if fixed:
            settings, found = _examined(step)
    if json:
        result_json({"checks": found, **({"fixed": fixed} if fix else {})})
    elif not fix or fixed:
        _print(found)
    sys.stdout.flush()
    if any(check.status == "fail" for check in found) or any(not one["done"] for one in fixed):
        raise typer.Exit(1)


def _examined(step: int | None) -> tuple[Settings | None, list[Check]]:
    from qzbrain.ops.doctor import examine_machine

    with waiting(t("正在检查…", "looking …")):
        settings, found = examine_machine(LANG, step=step)
    return settings, found


def _mended(settings: Settings | None, *, ask: bool) -> list[dict[str, object]]:
    """What was done, each with whether it worked. Nothing where the settings cannot be used: then nobody knows which data is meant."""
    from qzbrain.ops.mending import plan
    from qzbrain.worker import work_inline

    os.umask(0o077)
    actions = plan(settings, work_inline) if settings is not None else []
    if settings is None or not actions:
        note(t("没有可以安全自动修复的问题。", "There is nothing that is safe to put right by itself."))
        return []
    note(t("将要修复：", "This will be done:"))
    for one in actions:
        note(f"  • {t(one.zh, one.en)}")
    if ask:
        if not sys.stdin.isatty():
            raise WrongUsage("needs_yes", zh="没有终端可以询问。请加上 --yes 再运行。", en="There is no terminal to ask at. Run it again with --yes.")
        if not typer.confirm(t("现在执行？", "Do it now?"), err=True):
            return []
    found = [_done(one) for one in actions]
    _write_down(settings, actions, found)
    return found


def _write_down(settings: Settings, actions: Sequence[Action], found: Sequence[dict[str, object]]) -> None:
    """In the audit log."""
    from qzbrain.ops.mending import write_down

    told = list(zip(actions, found, strict=True))
    with saying_what_is_not_logged():
        write_down(settings, [action for action, one in told if one["done"]], [action for action, one in told if not one["done"]])


def _done(action: Action) -> dict[str, object]:
    from sqlalchemy.exc import SQLAlchemyError

    said = t(action.zh, action.en)
    try:
        action.do()
    except (BrainError, OSError, SQLAlchemyError) as exc:
        reason = exc.message(LANG) if isinstance(exc, BrainError) else str(exc)
        note(f"{_MARKS['fail']} {said}: {reason}")
        return {"action": said, "done": False, "reason": reason}
    note(f"{_MARKS['ok']} {said}")
    return {"action": said, "done": True, "reason": None}


def _print(found: Sequence[Check]) -> None:
    """Step by step; what to do stands below what is not well. The last line counts, and names what failed and what is warned of."""
    from qzbrain.ops.doctor import STEPS

    for step, checks in groupby(found, key=lambda check: check.step):
        result(_coloured(f"{t('第', 'Step ')}{step}{t(' 步', '')} {t(*STEPS[step])}", "1"))
        for check in checks:
            result(f"  {_coloured(_MARKS[check.status], _COLOURS[check.status])} {check.title}: {_quiet(check.evidence, check.status)}")
            if check.next and check.status in ("warn", "fail"):
                result(f"      → {check.next}")
    counts = {status: [check for check in found if check.status == status] for status in ("ok", "warn", "fail", "skip")}
    words = {"ok": t("正常", "ok"), "warn": t("警告", "warnings"), "fail": t("失败", "failed"), "skip": t("跳过", "skipped")}
    named = {status: f" ({', '.join(check.id for check in checks)})" if checks and status in ("warn", "fail") else "" for status, checks in counts.items()}
    result(" · ".join(_coloured(f"{len(checks)} {words[status]}{named[status]}", _COLOURS[status]) for status, checks in counts.items()))


def _quiet(text: str, status: str) -> str:
    return _coloured(text, _COLOURS["skip"]) if status == "skip" else text


def _coloured(text: str, colour: str) -> str:
    return f"\033[{colour}m{text}\033[0m" if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text
