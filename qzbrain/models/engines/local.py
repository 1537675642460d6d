"""This machine's engines as those see them who ask models: where one listens, whether it is there, what to wait for.

Brings together what was asked for (wishes), what the manager tells (reports), and engines that the first call starts (on_demand).
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

from qzbrain.errors import Cancelled
from qzbrain.models.base import Cancellation
from qzbrain.models.catalog import LOCAL_ENGINES, all_models
from qzbrain.models.engines.launching import state_path, unavailable
from qzbrain.models.engines.on_demand import OnDemandEngines, Running
from qzbrain.models.engines.reports import Report, ReportReader, State
from qzbrain.models.engines.wishes import Wishes, WishStore, manager_runs
from qzbrain.settings import Settings

_POLL_S = 0.02
_STARTING = ("正在启动", "it is being started")


@dataclass(frozen=True, slots=True)
class EngineState:
    """One engine now. `expected_s`: about how long until it is ready, 0 when it is or nobody knows. `asleep`: its first call starts it."""

    state: State
    zh: str = ""
    en: str = ""
    expected_s: float = 0.0
    asleep: bool = False
    restarts: int = 0


class LocalEngines:
    """The `models.base.EngineAddresses` of this machine. Thread-safe; nothing is started before it is asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._models = {name: model for name, model in all_models(settings).items() if model.engine in LOCAL_ENGINES}
        self._store = WishStore(settings)
        self._reports = ReportReader(settings)
        self.children = OnDemandEngines(settings)

    def manages(self, name: str) -> bool:
        """Whether the engine of this model runs on this machine, started by the brain."""
        return name in self._models

    def wishes(self) -> Wishes:
        """What was asked for by start, stop and swap."""
        return self._store.read()

    def address(self, name: str, *, timeout_s: float, cancellation: Cancellation | None = None) -> str:
        """See `EngineAddresses.address`. The new engine of a swap is waited for as long as it may take to start."""
        if name not in self._models:
            raise unavailable(name, "没有这个本机模型", "there is no such local model")
        end = time.monotonic() + timeout_s
        while True:
            now = self.state(name)
            if now.asleep:
                return self.children.address(name, timeout_s=max(0.1, end - time.monotonic()), cancellation=cancellation)
            if now.state == "ready" and (url := self.children.address_now(name)):
                return url
            if now.state not in ("ready", "starting"):
                raise unavailable(name, now.zh.rstrip("。"), now.en.rstrip("."))
            swap = self.wishes().swap
            if time.monotonic() > end and not (swap is not None and swap.new == name):
                raise unavailable(name, f"引擎仍在启动（已等待 {timeout_s:g} 秒）", f"its engine is still starting ({timeout_s:g} s were waited)")
            if cancellation is not None and cancellation.cancelled:
                raise Cancelled
            time.sleep(_POLL_S)

    def wake(self, name: str, *, timeout_s: float) -> None:
        """See `EngineAddresses.wake`."""
        if name in self._models and self.state(name).asleep:
            self.children.wake(name, timeout_s=timeout_s)

    def key(self, name: str) -> str:
        """See `EngineAddresses.key`."""
        return self.children.key(name)

    def running(self, name: str) -> Running | None:
        """The engine when it listens, whoever started it."""
        return self.children.running(name)

    def state(self, name: str) -> EngineState:
        """What holds of a local model now."""
        model, wishes = self._models[name], self.wishes()
        report = None if model.on_demand else self._reports.get(name)
        wanted = wishes.runs(name, model)
        if report is not None and report.state == "ready" and wanted and self.running(name) is not None:
            return EngineState("ready", report.zh, report.en, restarts=report.restarts)
        if not model.on_demand and (report is not None or wanted) and manager_runs(self._settings):
            if report is not None and report.state == "failed" and wishes.swap is not None and wishes.swap.new == name:
                return EngineState("starting", *_STARTING)  # the manager is about to undo the swap: then the old one answers
            told = self._told(report, wanted=wanted)
            return told if told.state != "stopped" or told.zh else _stopped(name)
        if not wanted:
            return _stopped(name) if self.running(name) is None else EngineState("draining", "正在停止", "it is being stopped")
        if self.running(name) is None:
            return EngineState("ready", "引擎休眠中，第一次使用会启动它。", "The engine is asleep; the first use starts it.", asleep=True)
        return EngineState("ready")

    def doubt(self, name: str) -> None:
        """Tell the manager that this engine did not answer: it is tried, and started again if it does not work."""
        with contextlib.suppress(OSError):
            state_path(self._settings, name).with_suffix(".doubt").touch()

    def close(self) -> None:
        """End the engines that this process started."""
        self.children.close()

    @staticmethod
    def _told(report: Report | None, *, wanted: bool) -> EngineState:
        """By the manager, which lives. What it told before a wish reached it is passed over."""
        if report is None or (wanted and report.state in ("stopped", "draining", "ready")):
            return EngineState("starting", *_STARTING)
        if not wanted and report.state in ("ready", "starting"):
            return EngineState("draining", "正在停止", "it is being stopped")
        expected_s = max(0.0, report.since + report.start_s - time.time()) if report.state == "starting" and report.start_s else 0.0
        return EngineState(report.state, report.zh, report.en, expected_s=expected_s, restarts=report.restarts)


def _stopped(name: str) -> EngineState:
    return EngineState("stopped", f"已停止。启动：qzbrain model start {name}", f"It was stopped. To start it: qzbrain model start {name}")
