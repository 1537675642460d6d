"""What is wrong with a model's table in config.toml by itself: keys that do not go with its engine, an engine that is not installed."""

from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

from qzbrain.models.catalog import LOCAL_ENGINES, SET_UP_ENGINES
from qzbrain.models.engines.base import Problem
from qzbrain.models.engines.launching import PACKAGES, TITLES, engine_environment
from qzbrain.settings import ROOT, ModelSettings, Settings

_LOCAL_ZH, _LOCAL_EN = "、".join(LOCAL_ENGINES), ", ".join(LOCAL_ENGINES)
_INSTALLS = {**PACKAGES, "ctranslate2": "ctranslate2 sentencepiece", "sglang": '"sglang[all]"'}


def option_problems(name: str, model: ModelSettings) -> Iterator[Problem]:
    """Keys that the engine does not have. Pure."""
    here, local = f"[models.{name}]", model.engine in LOCAL_ENGINES
    if model.on_demand and model.engine in ("vllm", "sglang"):
        yield Problem(
            "on_demand",
            zh=f'{here} on_demand：只有 llamacpp 与 ctranslate2 能按需启动，{model.engine} 启动需要数分钟。请删除 on_demand，或改用 engine = "llamacpp"。',
            en=f"{here} on_demand: only llamacpp and ctranslate2 start by their first call; {model.engine} takes minutes. "
            'Remove on_demand, or set engine = "llamacpp".',
        )
    if local and model.base_url:
        yield _unused(here, "base_url", "外部模型", "an external model", model)
    if not local:
        for key in ("path", "config_path", "vocabulary_path", "devices", "memory_limit", "environment", "command", "arguments"):
            if getattr(model, key):
                yield _unused(here, key, f"本机引擎（{_LOCAL_ZH}）", f"an engine of this machine ({_LOCAL_EN})", model)
    if model.command and model.engine in SET_UP_ENGINES:
        yield _unused(here, "command", "vllm 与 sglang", "vllm and sglang", model)
    if model.engine == "ctranslate2" and model.devices.strip().lower() not in ("", "none"):
        yield _unused(here, "devices", "llamacpp、vllm 与 sglang（ctranslate2 只用 CPU）", "llamacpp, vllm and sglang (ctranslate2 takes the CPU)", model)
    if model.pooling and model.kind != "embedding":
        yield _unused(here, "pooling", "kind = \"embedding\" 的模型", "a model of kind embedding", model)


def _unused(here: str, key: str, zh: str, en: str, model: ModelSettings) -> Problem:
    code = key if key in ("base_url", "path", "memory_limit") else "no_effect"
    return Problem(
        code,
        zh=f"{here} {key} 不起作用：它属于{zh}，而此处 engine = \"{model.engine}\"、kind = \"{model.kind}\"。请删除 {key}，或改正 engine。",
        en=f"{here} {key} has no effect: it is for {en}; here are engine = \"{model.engine}\", kind = \"{model.kind}\". Remove {key}, or correct engine.",
        severity="warning",
    )


def pip_of(environment: Path) -> str:
    """Its pip, as a shell takes it."""
    return shlex.quote(f"{environment}/bin/pip")


def engine_version(environment: Path, engine: str) -> str:
    """Of the engine installed in an environment; '' when none is."""
    package = PACKAGES[engine]
    found = next(iter(sorted(environment.glob(f"lib/python3*/site-packages/{package}-*.dist-info"))), None)
    return found.name.removeprefix(f"{package}-").removesuffix(".dist-info") if found else ""


def version_beyond(version: str, most: tuple[int, int]) -> bool:
    """Whether a version is later than the series `most`: 0.24.1 is beyond (0, 23); what cannot be read is."""
    found = re.match(r"(\d+)\.(\d+)", version)
    return found is None or (int(found[1]), int(found[2])) > most


def environment_problems(name: str, settings: Settings, model: ModelSettings) -> Iterator[Problem]:
    """The engine's environment, or the command in its place, is not there, or lacks the engine."""
    here = f"[models.{name}]"
    if model.engine not in SET_UP_ENGINES and model.command:
        program = model.command[0]
        if shutil.which(program, path=None) is None and not (ROOT / settings.current_dir / program).exists():
            yield Problem(
                "environment_missing",
                zh=f"{here} command：找不到程序 {program}。请写出完整路径，或删除 command 并使用虚拟环境。",
                en=f"{here} command: there is no program {program}. Give its full path, or remove command and use a virtual environment.",
            )
        return
    environment = engine_environment(settings, model)
    if model.engine in SET_UP_ENGINES and not model.environment and not (environment / "bin/python").exists():
        if importlib.util.find_spec(PACKAGES[model.engine]) is None:
            title = TITLES[model.engine]
            yield Problem(
                "environment_missing",
                zh=f"{here} engine：没有安装 {title}。请运行 ./run.sh --setup-only。",
                en=f"{here} engine: {title} is not installed. Run: ./run.sh --setup-only",
            )
        return
    make = f"python3 -m venv {shlex.quote(str(environment))}"
    install = f"{pip_of(environment)} install {_INSTALLS[model.engine]}"
    if not (environment / "bin/python").exists():
        yield Problem(
            "environment_missing",
            zh=f"{here} environment：{model.engine} 的虚拟环境 {environment} 不存在。请运行：{make} && {install}",
            en=f"{here} environment: {environment}, the virtual environment of {model.engine}, is not there. Run: {make} && {install}",
        )
    elif not any(environment.glob(f"lib/python3*/site-packages/{PACKAGES[model.engine]}")):
        yield Problem(
            "environment_missing",
            zh=f"{here} environment：{environment} 中没有安装 {model.engine}。请运行：{install}",
            en=f"{here} environment: {model.engine} is not installed in {environment}. Run: {install}",
        )
