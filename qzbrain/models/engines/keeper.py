"""Keeps one engine up: starts it, tries it with a real call, watches it, starts it again when it is gone, and ends it without breaking answers off.

A thread of the engine manager. It alone starts and ends its engine (the kernel ties a child's death signal to the thread that made it).
What it is told is only whether the engine shall run; what it finds goes into the reports.
"""

from __future__ import annotations

import threading
import time

from qzbrain import logs
from qzbrain.errors import EngineUnavailable
from qzbrain.models import probing
from qzbrain.models.engines import gauges, processes
from qzbrain.models.engines.launchers.local_serve import ANOTHER_RUNS
from qzbrain.models.engines.launching import clauses, state_path, unavailable
from qzbrain.models.engines.memory_back import MemoryWatch
from qzbrain.models.engines.on_demand import OnDemandEngines, Running
from qzbrain.models.engines.reports import Report as Told
from qzbrain.models.engines.reports import ReportWriter, State
from qzbrain.models.engines.room import obstacles
from qzbrain.settings import ModelSettings, Settings

log = logs.get(__name__)

LOOK_S = 0.1
HEALTH_EVERY_S = 10.0
HEALTH_TRIES = 3
PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""Before each further start of an engine that ended by itself or could not be used."""
STUMBLED_S = 5.0
GIVE_UP = 6
"""Starts in a row that never led to a working engine, after which it is left alone until somebody asks for it again."""
STABLE_S = 60.0
"""An engine that worked this long has forgotten its failures."""
DRAIN_S = 120.0
"""Longest wait for running answers before an engine is ended."""
UNKNOWN_WORK_S = 3.0
"""How long an engine that does not tell whether it is at work is given before it is ended."""
IDLE_LOOKS = 3
STOP_S = 25.0
PROBE_S = 120.0


class Keeper:
    """One model's engine. `want` and `close` may be called from any thread."""

    def __init__(
        self, name: str, model: ModelSettings, settings: Settings, engines: OnDemandEngines, reports: ReportWriter, *, drain_s: float = DRAIN_S
    ) -> None:
        self._thread = threading.Thread(target=self._run, name=f"keeper-{name}", daemon=True)
        self.model_name, self.model = name, model
        self._settings, self._engines, self._reports = settings, engines, reports
        self._drain_s = drain_s
        self._change = threading.Condition()
        self._wanted = self._closed = False
        self._asked = 0
        self._restarts = 0
        self._start_s = 0.0

    def start(self) -> None:
        """Begin; nothing is started before it is wanted."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether there is still something to end."""
        return self._thread.is_alive()

    def join(self) -> None:
        """Wait until the engine has ended, after `close`."""
        self._thread.join()

    def want(self, wanted: bool) -> None:
        """Whether the engine shall run from now on."""
        with self._change:
            if wanted != self._wanted:
                self._wanted = wanted
                self._asked += 1
                self._change.notify_all()

    def ask_again(self) -> None:
        """Start an engine that was given up, or whose pause is long, at once."""
        with self._change:
            self._asked += 1
            self._change.notify_all()

    def close(self, drain_s: float) -> None:
        """End the engine, and the thread; `join` waits for it."""
        with self._change:
            self._drain_s = min(self._drain_s, drain_s)
            self._wanted, self._closed = False, True
            self._asked += 1
            self._change.notify_all()

    def _run(self) -> None:
        """Until `close`."""
        self._sweep()
        while True:
            try:
                self._down()
                with self._change:
                    self._change.wait_for(lambda: self._wanted or self._closed)
                    if self._closed:
                        return
                self._restarts = 0
                self._keep_up()
            except Exception as exc:
                log.error("keeper_stumbled", engine=self.model_name, exc_info=exc)
                self._tell("failed", f"管理该引擎时出错：{exc}", f"an error while keeping this engine: {exc}")
                time.sleep(STUMBLED_S)

    # -- while it is wanted

    def _keep_up(self) -> None:
        """Return when it is no longer wanted; it may run then."""
        failures, asked = 0, self._asked
        while self._wanted:
            if asked != self._asked:
                failures, asked = 0, self._asked
            try:
                self._started()
            except EngineUnavailable as exc:
                failures += 1
                self._kill()
                self._pause(exc, failures, asked)
                continue
            ready_at = time.monotonic()
            why = self._watched() if self._wanted else None
            if why is None:
                return
            failures = 0 if time.monotonic() - ready_at >= STABLE_S else failures + 1
            self._restarts += 1
            log.warning("engine_ended", engine=self.model_name, reason=why[1], restarts=self._restarts)
            self._kill()
            self._tell("starting", f"{why[0]}，正在重新启动", f"{why[1]}; it is started again")
            self._wait(PAUSES_S[min(max(failures - 1, 0), len(PAUSES_S) - 1)], asked)

    def _started(self) -> None:
        """Up, tried, reported as ready; or no longer wanted. Raises EngineUnavailable."""
        self._tell("starting", "正在启动", "it is being started")
        if wrong := obstacles(self._settings, self.model_name):
            refused = unavailable(self.model_name, "；".join(x.zh.rstrip("。") for x in wrong), "; ".join(x.en.rstrip(".") for x in wrong))
            refused.request_refused = True
            raise refused
        began_at = time.monotonic()
        deadline = began_at + self.model.start_timeout_s
        running = self._up(deadline)
        if running is None:
            return
        self._tell("starting", "正在试用", "it is being tried")
        left_s = max(1.0, min(PROBE_S, deadline - time.monotonic()))
        took_s = probing.probe(self.model_name, self.model, base_url=f"{running.url}/v1", key=running.key, timeout_s=left_s)
        self._start_s = time.monotonic() - began_at
        log.info("engine_ready", engine=self.model_name, pid=running.pid, start_s=round(self._start_s, 3), probe_ms=round(took_s * 1e3))
        self._tell("ready")

    def _up(self, deadline: float) -> Running | None:
        """The engine when it listens; None when it is no longer wanted. Raises EngineUnavailable."""
        begun = False
        while self._wanted:
            if (running := self._engines.running(self.model_name)) is not None:
                return running
            code = self._engines.ended(self.model_name)
            if begun and code is not None and code != ANOTHER_RUNS:
                raise self._engines.failure(self.model_name, code)
            if not begun or code is not None:
                self._engines.begin(self.model_name)
                begun = True
            if time.monotonic() > deadline:
                limit_s = self.model.start_timeout_s
                said = self._engines.said(self.model_name)
                raise unavailable(
                    self.model_name, f"{limit_s:g} 秒内没有启动完毕：{said}", f"it was not up within {limit_s:g} s (start_timeout_s): {said}"
                )
            time.sleep(LOOK_S / 2)
        return None

    def _watched(self) -> tuple[str, str] | None:
        """Why it cannot be used any more, as clauses; None when it is no longer wanted."""
        looked = time.monotonic()
        missed = 0
        doubted = self._doubted()
        while True:
            with self._change:
                if self._wanted:
                    self._change.wait(LOOK_S)
                if not self._wanted:
                    return None
            running = self._engines.running(self.model_name)
            if running is None:
                code = self._engines.ended(self.model_name)
                said = self._engines.said(self.model_name)
                return f"引擎自行退出（{code}）：{said}", f"the engine ended by itself ({code}): {said}"
            if (doubt := self._doubted()) != doubted:
                doubted = doubt
                if (why := self._disproved(running)) is not None:
                    return why
            if time.monotonic() - looked >= HEALTH_EVERY_S:
                looked = time.monotonic()
                missed = 0 if gauges.listens(running.url, running.key) else missed + 1
                if missed >= HEALTH_TRIES:
                    missed = 0
                    if (why := self._disproved(running)) is not None:
                        return why

    def _disproved(self, running: Running) -> tuple[str, str] | None:
        """Try it twice with a real call; None when it works, or only has too much to do."""
        for _ in range(2):
            try:
                probing.probe(
                    self.model_name, self.model, base_url=f"{running.url}/v1", key=running.key, timeout_s=self.model.first_token_timeout_s
                )
            except EngineUnavailable as exc:
                if exc.engine_full:
                    return None
                why = exc
            else:
                return None
        return f"引擎在运行却不能回答：{why.zh}", f"the engine runs but does not answer: {why.en}"

    def _doubted(self) -> int:
        try:
            return state_path(self._settings, self.model_name).with_suffix(".doubt").stat().st_mtime_ns
        except OSError:
            return 0

    def _pause(self, exc: EngineUnavailable, failures: int, asked: int) -> None:
        """Wait before the next try: longer each time, and in the end until somebody asks."""
        zh, en = clauses(self.model_name, exc)
        if exc.request_refused or (failures >= GIVE_UP and not self._start_s):
            self._tell("failed", f"{zh}。", f"{en}.")
            log.error("engine_given_up", engine=self.model_name, failures=failures, reason=exc.en)
            self._wait(None, asked)
            return
        pause_s = PAUSES_S[min(failures - 1, len(PAUSES_S) - 1)]
        self._tell("failed", f"{zh}。{pause_s:g} 秒后重试（第 {failures} 次）。", f"{en}. Tried again in {pause_s:g} s (failure {failures}).")
        log.warning("engine_not_started", engine=self.model_name, failures=failures, retry_s=pause_s, reason=exc.en)
        self._wait(pause_s, asked)

    def _wait(self, seconds: float | None, asked: int) -> None:
        """Until the time is over, or somebody asked for something."""
        with self._change:
            self._change.wait_for(lambda: asked != self._asked, seconds)

    # -- when it is not

    def _down(self) -> None:
        """Let running answers end, end the engine, see that everything of it is gone and that its memory came back."""
        before = self._reports.get(self.model_name)
        running = self._engines.running(self.model_name)
        pids = processes.of_engine(state_path(self._settings, self.model_name))
        if running is None and not pids:
            self._tell("stopped", *self._kept_reason(before))
            return
        if running is not None:
            self._tell("draining", "正在等待进行中的回答结束", "running answers are being finished")
            self._drain(running)
        memory = MemoryWatch(pids)
        self._kill()
        odd = memory.missing()
        self._tell("stopped", *(odd or ("", "")))
        if odd:
            log.error("memory_not_back", engine=self.model_name, reason=odd[1])

    @staticmethod
    def _kept_reason(before: Told | None) -> tuple[str, str]:
        """One that was stopped because it failed still says why."""
        return (before.zh, before.en) if before is not None and before.state in ("failed", "stopped") else ("", "")

    def _drain(self, running: Running) -> None:
        end, idle, unknown_since = time.monotonic() + self._drain_s, 0, time.monotonic()
        while idle < IDLE_LOOKS and time.monotonic() < end:
            if self._engines.running(self.model_name) is None:
                return
            busy = gauges.at_work(running.url, running.key)
            if busy is not None:
                unknown_since = time.monotonic()
            elif time.monotonic() - unknown_since > UNKNOWN_WORK_S:
                return
            idle = idle + 1 if busy == 0 else 0
            time.sleep(LOOK_S)

    def _kill(self) -> None:
        self._engines.stop(self.model_name, STOP_S)
        self._sweep()

    def _sweep(self) -> None:
        """Nothing of an engine outlives it: what its launcher could not end, because it was killed itself, ends here."""
        if self._engines.running(self.model_name) is None:
            left = processes.kill(state_path(self._settings, self.model_name))
            if left:
                log.warning("engine_remains_killed", engine=self.model_name, pids=left)

    def _tell(self, state: State, zh: str = "", en: str = "") -> None:
        self._reports.tell(self.model_name, Told(state, zh, en, restarts=self._restarts, start_s=self._start_s))
