"""Engines that are started by the first call: small models that sleep when nobody calls, and any local model where no manager runs.

Whoever needs one starts it as a child of its own; a lock lets only one live, and its state file lets every process of the brain share it.
So the same is true in the web process, in the worker, in a command without a running brain, and under any process manager. An engine dies
with the process that started it, and the next call of another one starts it again: a small model is up in half a second.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass

from qzbrain import logs
from qzbrain.errors import Cancelled, EngineUnavailable
from qzbrain.models.base import Cancellation
from qzbrain.models.catalog import LOCAL_ENGINES, all_models
from qzbrain.models.engines.launchers.local_serve import ANOTHER_RUNS, began
from qzbrain.models.engines.launching import launch, log_path, state_path, unavailable
from qzbrain.settings import ModelSettings, Settings

log = logs.get(__name__)

_POLL_S = 0.02
_TOUCH_EVERY_S = 1.0
_TOLD_CHARS = 300


@dataclass(frozen=True, slots=True)
class Running:
    """An engine that listens."""

    pid: int
    url: str
    key: str


class OnDemandEngines:
    """The `models.base.EngineAddresses` of this machine's local models. Thread-safe; nothing is started before it is asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._models = {name: model for name, model in all_models(settings).items() if model.engine in LOCAL_ENGINES}
        self._lock = threading.Lock()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._launched_at: dict[str, float] = {}
        self._touched: dict[str, float] = {}

    def address(self, name: str, *, timeout_s: float, cancellation: Cancellation | None = None) -> str:
        """See `EngineAddresses.address`."""
        return self._used(name, self.running(name) or self._started(name, timeout_s, cancellation))

    def address_now(self, name: str) -> str:
        """`address` of an engine that is up; '' for one that is not, which is left alone."""
        running = self.running(name)
        return self._used(name, running) if running is not None else ""

    def wake(self, name: str, *, timeout_s: float) -> None:
        """See `EngineAddresses.wake`."""
        if self.running(name) is None:
            self._started(name, timeout_s, None, of_its_start=True)

    def key(self, name: str) -> str:
        """See `EngineAddresses.key`."""
        running = self.running(name)
        return running.key if running else ""

    def running(self, name: str) -> Running | None:
        """The engine when it is up, whoever started it."""
        try:
            state = json.loads(state_path(self._settings, name).read_bytes())
            if began(state["pid"]) == state["began"]:
                return Running(state["pid"], state["url"], state["key"])
        except (OSError, ValueError, KeyError, IndexError):
            return None
        return None

    def ended(self, name: str) -> int | None:
        """The exit code of this process's own attempt at this engine; None while it lives, and when there was none."""
        child = self._children.get(name)
        return child.poll() if child is not None else None

    def begin(self, name: str) -> None:
        """Start the engine without waiting for it, unless this process's own attempt lives. Raises EngineUnavailable."""
        self._child(name, self._model(name))

    def stop(self, name: str, wait_s: float) -> None:
        """End this process's own attempt, or the engine that another process started; returns when it is gone or the time is over."""
        with self._lock:
            child = self._children.pop(name, None)
        running = self.running(name)
        if child is not None and child.poll() is None:
            child.terminate()
        elif running is not None:
            with contextlib.suppress(OSError):
                os.kill(running.pid, 15)
        end = time.monotonic() + wait_s
        while time.monotonic() < end and ((child is not None and child.poll() is None) or self.running(name) is not None):
            time.sleep(_POLL_S)

    def said(self, name: str) -> str:
        """The end of what the engine printed."""
        with contextlib.suppress(OSError):
            return log_path(self._settings, name).read_text(encoding="utf-8", errors="replace").strip()[-_TOLD_CHARS:]
        return ""

    def close(self) -> None:
        """End the engines that this process started."""
        with self._lock:
            for child in self._children.values():
                if child.poll() is None:
                    child.terminate()
            for child in self._children.values():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(25)
            self._children.clear()

    # -- steps

    def _used(self, name: str, running: Running) -> str:
        self._launched_at.pop(name, None)  # its start is over
        self._touch(name)
        return running.url + "/v1"

    def _touch(self, name: str) -> None:
        now = time.monotonic()
        if now - self._touched.get(name, -_TOUCH_EVERY_S) >= _TOUCH_EVERY_S:
            self._touched[name] = now
            with contextlib.suppress(OSError):
                os.utime(state_path(self._settings, name))

    def _model(self, name: str) -> ModelSettings:
        if name not in self._models:
            raise unavailable(name, "没有这个本机模型", "there is no such local model")
        return self._models[name]

    def _started(self, name: str, timeout_s: float, cancellation: Cancellation | None, *, of_its_start: bool = False) -> Running:
        """Raises EngineUnavailable: no such model, no environment, it ended at once (with the end of its log), or it is not up in time,

        which counts from the call or, `of_its_start`, from when this process began to start it.
        """
        model = self._model(name)
        called = time.monotonic()
        (child, fresh), fell_asleep = self._child(name, model), False
        deadline = timeout_s + (self._launched_at.get(name, called) if of_its_start else called)
        while time.monotonic() < deadline:
            if (running := self.running(name)) is not None:
                log.info("engine_up", engine=name, pid=running.pid)
                return running
            if cancellation is not None and cancellation.cancelled:
                raise Cancelled
            code = child.poll()
            if code is not None:
                if fresh and code != ANOTHER_RUNS and (code or fell_asleep):
                    raise self.failure(name, code)
                fell_asleep = fell_asleep or not code  # one that was ending just when it was called, or another's, which may end: begin again
                child, fresh = self._child(name, model)
            time.sleep(_POLL_S)
        raise unavailable(name, f"{timeout_s:g} 秒内没有启动完毕", f"it was not up within {timeout_s:g} s")

    def _child(self, name: str, model: ModelSettings) -> tuple[subprocess.Popen[bytes], bool]:
        """This process's own attempt, and whether it was begun just now: unless there is one that has not ended."""
        with self._lock:
            child = self._children.get(name)
            if child is not None and child.poll() is None:
                return child, False
            self._launched_at[name] = time.monotonic()
            child = self._children[name] = self._launched(name, model)
            return child, True

    def _launched(self, name: str, model: ModelSettings) -> subprocess.Popen[bytes]:
        """By a thread that lives as long as the engine: the kernel ends a child with the very thread that made it, and a caller's may be short."""
        made: Future[subprocess.Popen[bytes]] = Future()

        def run() -> None:
            try:
                made.set_result(launch(self._settings, name, model))
            except BaseException as exc:  # noqa: BLE001  # the caller's to handle
                made.set_exception(exc)
            else:
                made.result().wait()

        threading.Thread(target=run, name=f"engine-{name}", daemon=True).start()
        return made.result()

    def failure(self, name: str, code: int) -> EngineUnavailable:
        """What is told of an engine that ended by itself."""
        said = self.said(name)
        if said:
            return unavailable(name, f"引擎退出（{code}）：{said}", f"the engine ended ({code}): {said}")
        return unavailable(name, f"引擎退出（{code}）", f"the engine ended ({code})")
