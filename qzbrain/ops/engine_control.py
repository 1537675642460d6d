"""Start, stop, swap and try models: what `qzbrain model` and /api/models do. Says what is wanted; the engine manager, or the first call, does it."""

from __future__ import annotations

import threading
import time
import xmlrpc.client
from collections.abc import Sequence
from dataclasses import replace
from http.client import HTTPException

from qzbrain import logs
from qzbrain.errors import Conflict
from qzbrain.models import probing
from qzbrain.models.catalog import LOCAL_ENGINES, SET_UP_ENGINES
from qzbrain.models.engines import gauges, launching
from qzbrain.models.engines.local import LocalEngines
from qzbrain.models.engines.manager import managed_models
from qzbrain.models.engines.room import fits_beside, obstacles
from qzbrain.models.engines.wishes import Swap, WishStore, manager_runs
from qzbrain.models.registry import EXTRACTIVE, ModelRegistry
from qzbrain.ops.supervision import ENGINES, GROUP, socket_path
from qzbrain.settings import ModelSettings, Settings

log = logs.get(__name__)
_DRAIN_S = 120.0
_STOP_S = 25.0
_MANAGER_UP_S = 5.0
_PROBE_S = 120.0


class EngineControl:
    """For one caller. Raises NotFound for a model that is not configured, and Conflict, with the next step, for what cannot be done."""

    def __init__(self, settings: Settings, registry: ModelRegistry, engines: LocalEngines, *, keeps: bool) -> None:
        """`keeps`: this process lives on, so that it may have engines as its children where no manager runs."""
        self._keeps = keeps
        self._settings, self._registry, self._engines = settings, registry, engines
        self._store = WishStore(settings)

    def start(self, name: str) -> None:
        """Have the engine run from now on, also after a restart of the brain. Returns at once; `/api/models` tells how it goes."""
        model = self._local(name)
        self._require_sound(name)
        self._require_no_swap()
        self._store.change(lambda now: now.started(name))
        log.info("engine_wanted", engine=name)
        if self._is_managed(name) and not (self._keeps and model.engine in SET_UP_ENGINES):
            self._ensure_manager()
        elif self._is_managed(name) and self._manager_comes():
            return
        elif self._keeps and self._engines.running(name) is None:
            self._engines.children.begin(name)

    def stop(self, name: str) -> None:
        """Let running answers end and end the engine; it stays down, also after a restart of the brain.

        Returns at once where a manager, or this process, goes on to do it; else when it is done.
        """
        self._local(name)
        self._require_no_swap()
        self._store.change(lambda now: now.stopped(name))
        log.info("engine_unwanted", engine=name)
        if (self._is_managed(name) and manager_runs(self._settings)) or self._engines.running(name) is None:
            return
        if self._keeps:
            threading.Thread(target=self._end, args=(name,), daemon=True).start()
        else:
            self._end(name)  # this process would not live to see it

    def swap(self, new: str, old: Sequence[str] = ()) -> tuple[str, ...]:
        """Have `new` take the place of `old`: by default, of the chat models that run on the same devices. Returns at once with the models replaced.

        When both fit into memory the old ones answer until the new one has proved itself; else questions wait meanwhile. A new one that does
        not start is given up, and the old ones run again.
        """
        model = self._local(new)
        self._require_sound(new)
        self._require_no_swap()
        replaced = tuple(dict.fromkeys(self._checked_old(new, old))) or self._running_beside(new, model)
        if not replaced:
            self.start(new)
            return ()
        if not self._is_managed(new) or not all(self._is_managed(one) for one in replaced):
            raise Conflict(
                "on_demand_model",
                zh="按需启动的模型（on_demand）不能这样替换：它在第一次使用时启动。请直接使用它，并用 qzbrain model stop 停止原来的模型。",
                en="A model that is on demand cannot be swapped: its first call starts it. Just use it, and end the other one with: qzbrain model stop",
            )
        self._ensure_manager()
        swap = Swap(new, replaced, fits_beside(self._settings, new), began=time.time())
        log.info("swap_begun", new=new, old=replaced, beside=swap.beside)
        self._store.change(lambda now: replace(now.started(new) if swap.beside else now.swapped(swap), swap=swap))
        return replaced

    def probe(self, name: str) -> float:
        """One real call, whatever the engine; how long it took, in seconds. One that is asleep is started. Raises EngineUnavailable."""
        if name == EXTRACTIVE:
            return 0.0
        model = self._registry.settings_of(name)
        if model.engine == EXTRACTIVE:
            return 0.0
        if model.engine == "external":
            return probing.probe(name, model, base_url=model.base_url, key=model.key(), timeout_s=min(_PROBE_S, model.first_token_timeout_s))
        url = self._engines.address(name, timeout_s=_PROBE_S)
        return probing.probe(name, model, base_url=url, key=self._engines.key(name), timeout_s=_PROBE_S)

    # -- what must hold first

    def _local(self, name: str) -> ModelSettings:
        if name == EXTRACTIVE:
            raise Conflict(
                "not_a_local_engine",
                zh="摘录式回答内置在程序中，始终可用，无需启停。",
                en="The extractive answerer is part of the program: it is always there, with nothing to start or stop.",
            )
        model = self._registry.settings_of(name)
        if not self._engines.manages(name):
            raise Conflict(
                "not_a_local_engine",
                zh=f"模型 {name} 的引擎（{model.engine}）不由本程序启停。请在运行它的地方操作；能启停的是 {'、'.join(LOCAL_ENGINES)}。",
                en=f"The engine of {name} ({model.engine}) is not started or stopped by this program: do that where it runs. "
                f"Those that can be are {', '.join(LOCAL_ENGINES)}.",
            )
        return model

    def _require_sound(self, name: str) -> None:
        if wrong := obstacles(self._settings, name):
            raise Conflict(f"model_{wrong[0].code}", zh=" ".join(one.zh for one in wrong), en=" ".join(one.en for one in wrong))

    def _require_no_swap(self) -> None:
        swap = self._store.read().swap
        if swap is not None:
            raise Conflict(
                "swap_under_way",
                zh=f"正在用 {swap.new} 替换 {'、'.join(swap.old)}。请等它完成，进度见 qzbrain model list。",
                en=f"{swap.new} is just taking the place of {', '.join(swap.old)}. Wait for its end: qzbrain model list",
            )

    def _checked_old(self, new: str, old: Sequence[str]) -> list[str]:
        for one in old:
            self._local(one)
            if one == new:
                raise Conflict("same_model", zh=f"{new} 不能替换它自己。", en=f"{new} cannot take its own place.")
        return list(old)

    def _running_beside(self, new: str, model: ModelSettings) -> tuple[str, ...]:
        """The models of the same kind that are wanted on one of the same devices; without devices, on the CPU."""
        wishes, mine = self._store.read(), _places(self._settings, model)
        others = managed_models(self._settings)
        return tuple(
            name
            for name, one in others.items()
            if name != new and one.kind == model.kind and wishes.runs(name, one) and mine & _places(self._settings, one)
        )

    def _is_managed(self, name: str) -> bool:
        return name in managed_models(self._settings)

    # -- doing it

    def _ensure_manager(self) -> None:
        """Raises Conflict when no engine manager runs nor can be started."""
        if not self._manager_comes():
            raise Conflict(
                "manager_not_running",
                zh="引擎管理进程没有运行。请启动 qzbrain（./run.sh）；由其他进程管理器看护时，请运行 qzbrain engines。所要求的状态已记下，启动后生效。",
                en="The engine manager does not run. Start the brain (./run.sh), or, under another process manager: qzbrain engines. "
                "What was asked for is noted and holds from then on.",
            )

    def _manager_comes(self) -> bool:
        """Whether an engine manager runs; supervisord starts it where it was not needed so far."""
        if manager_runs(self._settings):
            return True
        path = socket_path(self._settings)
        if path is not None and path.exists():
            from supervisor.xmlrpc import SupervisorTransport

            server = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=SupervisorTransport(serverurl=f"unix://{path}"))
            try:
                server.supervisor.startProcess(f"{GROUP}:{ENGINES}", False)
            except (OSError, xmlrpc.client.Error, HTTPException) as exc:
                log.warning("manager_not_started", exc_info=exc)
            end = time.monotonic() + _MANAGER_UP_S
            while time.monotonic() < end:
                if manager_runs(self._settings):
                    return True
                time.sleep(0.05)
        return False

    def _end(self, name: str) -> None:
        """End an engine that no manager keeps, when its answers are finished."""
        end = time.monotonic() + _DRAIN_S
        while (running := self._engines.running(name)) is not None and time.monotonic() < end and gauges.at_work(running.url, running.key):
            time.sleep(0.2)
        self._engines.children.stop(name, _STOP_S)


def _places(settings: Settings, model: ModelSettings) -> set[str]:
    return set(launching.devices(settings, model).split(","))
