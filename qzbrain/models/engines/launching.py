"""From a model's settings to the process of its engine: which program, with which Python, and where its state, key and log are."""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

from qzbrain.errors import EngineUnavailable
from qzbrain.models.catalog import SET_UP_ENGINES, model_path, part_path
from qzbrain.models.engines import ctranslate2, llamacpp, sglang, vllm
from qzbrain.models.engines.base import EngineCommand
from qzbrain.models.engines.devices import devices as devices_of_machine
from qzbrain.models.engines.processes import MARK
from qzbrain.settings import ROOT, ModelSettings, Settings

LOCAL_ENVIRONMENT = ".venv-local"
"""Beside the program: where the set-up puts llama.cpp and CTranslate2."""
PACKAGES = {"llamacpp": "xllamacpp", "ctranslate2": "ctranslate2", "vllm": "vllm", "sglang": "sglang"}
"""The package that holds an engine."""
TITLES = {"llamacpp": "llama.cpp", "ctranslate2": "CTranslate2", "vllm": "vLLM", "sglang": "SGLang"}
KEY_VARIABLE = "QZBRAIN_ENGINE_KEY"


def engine_folder(settings: Settings) -> Path:
    """Where the engines of this data folder keep state, locks, logs and keys."""
    return settings.data / "run" / "engines"


def state_path(settings: Settings, name: str) -> Path:
    """The file that tells where an engine listens."""
    return engine_folder(settings) / f"{name}.json"


def log_path(settings: Settings, name: str) -> Path:
    """What an engine printed since its last start."""
    return engine_folder(settings) / f"{name}.log"


def devices(settings: Settings, model: ModelSettings) -> str:
    """The GPUs of this model by number, `0,1`; '' for the CPU."""
    if model.engine == "ctranslate2":
        return ""
    chosen = (model.devices or settings.cuda_visible_devices).strip().lower()
    return "" if chosen in ("none", "-1") else ",".join(one for one in re.split(r"[\s,]+", chosen) if one)


def engine_environment(settings: Settings, model: ModelSettings) -> Path:
    """The virtual environment that holds a model's engine; whether or not it is there."""
    if model.engine in SET_UP_ENGINES and not model.environment:
        return ROOT / LOCAL_ENVIRONMENT
    return ROOT / settings.current_dir / Path(model.environment or f".venv-{model.engine}").expanduser()


def command(settings: Settings, name: str, model: ModelSettings, key: str) -> EngineCommand:
    """How the engine of a local model is started. Raises EngineUnavailable: no file, or no environment with the engine."""
    path = model_path(settings, model)
    if not path.exists():
        raise unavailable(name, f"模型文件 {path} 不存在", f"its file {path} does not exist")
    chosen = devices(settings, model)
    if model.engine == "ctranslate2":
        return ctranslate2.command(name, model, path=path, python=_python(settings, model), state=state_path(settings, name), key=key)
    if model.engine == "llamacpp":
        python = _python(settings, model)
        return llamacpp.command(name, model, path=path, python=python, state=state_path(settings, name), key=key, devices=chosen)
    parts = {word: part_path(settings, given) for word, given in (("config", model.config_path), ("vocabulary", model.vocabulary_path)) if given}
    environment = engine_environment(settings, model)
    smallest = _smallest(chosen) if model.memory_limit_bytes else 0
    if model.engine == "vllm":
        return vllm.command(name, model, path=path, environment=environment, key=key, devices=chosen, parts=parts, device_bytes=smallest)
    return sglang.command(
        name, model, path=path, environment=environment, key=key, devices=chosen, parts=parts, device_bytes=smallest,
        secrets=engine_folder(settings) / f"{name}.key.yaml",
    )  # fmt: skip


def launch(settings: Settings, name: str, model: ModelSettings) -> subprocess.Popen[bytes]:
    """Start an engine as a child of this process, in a session of its own. Raises EngineUnavailable."""
    key = secrets.token_urlsafe(24)
    made = command(settings, name, model, key)
    state = state_path(settings, name)
    state.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, text in made.files.items():
        _write_privately(path, text)
    argv, folder = list(made.argv), state.parent
    environment = {**os.environ, KEY_VARIABLE: key, MARK: str(state), **{k: value for k, value in made.environment.items() if value is not None}}
    for variable in (k for k, value in made.environment.items() if value is None):
        environment.pop(variable, None)
    if made.health:
        argv = [sys.executable, "-m", "qzbrain.models.engines.program_serve", "--state", str(state), "--health", made.health, "--", *argv]
        folder = ROOT  # where `-m qzbrain…` is found without being installed; the engine itself runs in the other one
    try:
        with log_path(settings, name).open("wb") as out:
            return subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, cwd=folder, start_new_session=True
            )
    except OSError as exc:
        raise unavailable(name, f"无法启动 {argv[0]}：{exc.strerror}", f"{argv[0]} cannot be started: {exc.strerror}") from exc


def unavailable(name: str, zh: str, en: str) -> EngineUnavailable:
    """The error of a local model: why it cannot be used, as half a sentence in each language."""
    return EngineUnavailable(zh=f"模型 {name} 不可用：{zh}。", en=f"The model {name} is not available: {en}.", retry_after_s=10)


def clauses(name: str, exc: EngineUnavailable) -> tuple[str, str]:
    """What `unavailable` was given, out of the error that it made; another error's whole sentences."""
    zh, en = f"模型 {name} 不可用：", f"The model {name} is not available: "
    return exc.zh.removeprefix(zh).rstrip("。"), exc.en.removeprefix(en).rstrip(".")


def _smallest(chosen: str) -> int:
    """Memory of the smallest of these devices, bytes; 0 when it is not known."""
    wanted = {int(one) for one in chosen.split(",") if one.isdecimal()}
    return min((one.total for one in devices_of_machine() if one.index in wanted), default=0)


def _write_privately(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)


def _python(settings: Settings, model: ModelSettings) -> Path:
    """The Python that has one of the engines of the set-up. Raises EngineUnavailable with the next step."""
    python = engine_environment(settings, model) / "bin" / "python"
    if model.environment or python.exists():
        return python
    if importlib.util.find_spec(PACKAGES[model.engine]) is not None:
        return Path(sys.executable)
    title = TITLES[model.engine]
    raise EngineUnavailable(
        "engine_missing",
        zh=f'没有安装 {title}。请运行 ./run.sh --setup-only，或 pip install "qzbrain[local]"。',
        en=f'{title} is not installed. Run ./run.sh --setup-only, or: pip install "qzbrain[local]"',
    )
