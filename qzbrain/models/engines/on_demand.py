"""Engines that are started by the first call and sleep when nobody calls: small models, an embedder above all.

Whoever needs one starts it as a child of its own; a lock lets only one live, and its state file lets every process of the brain share it.
So the same is true in the web process, in the worker, in a command without a running brain, and under any process manager. An engine dies
with the process that started it, and the next call of another one starts it again: a small model is up in a third of a second.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from qzbrain import logs
from qzbrain.errors import EngineUnavailable
from qzbrain.models.catalog import all_models
from qzbrain.models.engines import llamacpp
from qzbrain.models.engines.llamacpp_serve import ANOTHER_RUNS, began
from qzbrain.settings import ROOT, ModelSettings, Settings

log = logs.get(__name__)

_POLL_S = 0.02
_TOUCH_EVERY_S = 1.0
_LOG_BYTES = 1_000_000
_TOLD_CHARS = 300
LOCAL_ENVIRONMENT = ".venv-local"
"""Beside the program: where the set-up puts llama.cpp."""


@dataclass(frozen=True, slots=True)
class Running:
    """An engine that listens."""

    pid: int
    url: str
    key: str


class OnDemandEngines:
    """The `models.base.EngineAddresses` of this machine's on-demand engines. Thread-safe; nothing is started before it is asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.data / "run" / "engines"
        self._models = {name: model for name, model in all_models(settings).items() if model.engine == "llamacpp" and model.alive}
        self._lock = threading.Lock()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._touched: dict[str, float] = {}

    def address(self, name: str, *, timeout_s: float) -> str:
        """See `EngineAddresses.address`."""
        return self._engine(name, timeout_s).url + "/v1"

    def key(self, name: str) -> str:
        """See `EngineAddresses.key`."""
        running = self.running(name)
        return running.key if running else ""

    def manages(self, name: str) -> bool:
        """Whether this is a model whose engine the first call starts: a llama.cpp one that is alive."""
        return name in self._models

    def running(self, name: str) -> Running | None:
        """The engine when it is up, whoever started it."""
        try:
            state = json.loads(self._state(name).read_bytes())
            if began(state["pid"]) == state["began"]:
                return Running(state["pid"], state["url"], state["key"])
        except (OSError, ValueError, KeyError, IndexError):
            return None
        return None

    def close(self) -> None:
        """End the engines that this process started."""
        with self._lock:
            for child in self._children.values():
                if child.poll() is None:
                    child.terminate()
            for child in self._children.values():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(5)
            self._children.clear()

    # -- steps

    def _engine(self, name: str, timeout_s: float) -> Running:
        if (running := self.running(name)) is None:
            running = self._started(name, timeout_s)
        now = time.monotonic()
        if now - self._touched.get(name, -_TOUCH_EVERY_S) >= _TOUCH_EVERY_S:
            self._touched[name] = now
            with contextlib.suppress(OSError):
                os.utime(self._state(name))
        return running

    def _started(self, name: str, timeout_s: float) -> Running:
        """Raises EngineUnavailable: no such model, no environment, it ended at once (with the end of its log), or it is not up in time."""
        model = self._models.get(name)
        if model is None:
            raise _unavailable(name, "没有这个按需启动的模型", "there is no such on-demand model")
        deadline = time.monotonic() + timeout_s
        (child, fresh), fell_asleep = self._child(name, model), False
        while time.monotonic() < deadline:
            if (running := self.running(name)) is not None:
                log.info("engine_up", engine=name, pid=running.pid)
                return running
            code = child.poll()
            if code is not None:
                if fresh and code != ANOTHER_RUNS and (code or fell_asleep):
                    raise self._ended(name, code)
                fell_asleep = fell_asleep or not code  # one that was ending just when it was called, or another's, which may end: begin again
                child, fresh = self._child(name, model)
            time.sleep(_POLL_S)
        raise _unavailable(name, f"{timeout_s:g} 秒内没有启动完毕", f"it was not up within {timeout_s:g} s")

    def _child(self, name: str, model: ModelSettings) -> tuple[subprocess.Popen[bytes], bool]:
        """This process's own attempt, and whether it was begun just now: unless there is one that has not ended."""
        with self._lock:
            child = self._children.get(name)
            if child is not None and child.poll() is None:
                return child, False
            child = self._children[name] = self._launched(name, model)
            return child, True

    def _launched(self, name: str, model: ModelSettings) -> subprocess.Popen[bytes]:
        path = self._path(model)
        if not path.is_file():
            raise _unavailable(name, f"模型文件 {path} 不存在", f"its file {path} does not exist")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        devices = model.devices or self._settings.cuda_visible_devices
        made = llamacpp.command(
            name, model, path=path, python=_python(self._settings, model), state=self._state(name), key=secrets.token_urlsafe(24), devices=devices
        )
        environment = {**os.environ, **{key: value for key, value in made.environment.items() if value is not None}}
        for key in (key for key, value in made.environment.items() if value is None):
            environment.pop(key, None)
        with self._log(name).open("wb") as out:
            return subprocess.Popen(
                made.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, cwd=self._folder, start_new_session=True
            )

    def _path(self, model: ModelSettings) -> Path:
        return self._settings.current_dir / model.path

    def _state(self, name: str) -> Path:
        return self._folder / f"{name}.json"

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _ended(self, name: str, code: int) -> EngineUnavailable:
        with contextlib.suppress(OSError):
            said = self._log(name).read_text(encoding="utf-8", errors="replace").strip()[-_TOLD_CHARS:]
            return _unavailable(name, f"引擎退出（{code}）：{said}", f"the engine ended ({code}): {said}")
        return _unavailable(name, f"引擎退出（{code}）", f"the engine ended ({code})")


def _python(settings: Settings, model: ModelSettings) -> Path:
    """The Python that has llama.cpp. Raises EngineUnavailable with the next step."""
    if model.environment:
        return settings.current_dir / model.environment / "bin" / "python"
    beside = ROOT / LOCAL_ENVIRONMENT / "bin" / "python"
    if beside.exists():
        return beside
    if importlib.util.find_spec("xllamacpp") is not None:
        return Path(sys.executable)
    raise EngineUnavailable(
        "engine_missing",
        zh='没有安装 llama.cpp。请运行 ./run.sh --setup-only，或 pip install "qzbrain[local]"。',
        en='llama.cpp is not installed. Run ./run.sh --setup-only, or: pip install "qzbrain[local]"',
    )


def _unavailable(name: str, zh: str, en: str) -> EngineUnavailable:
    return EngineUnavailable(zh=f"模型 {name} 不可用：{zh}。", en=f"The model {name} is not available: {en}.", retry_after_s=10)
