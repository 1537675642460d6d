"""The engine manager: one process that keeps this machine's large engines as they are wanted. `python -m qzbrain.models.engines.manager`

It reads the wishes, has one keeper for each local model that is not on demand, carries swaps through, and reports. Engines are its children and
die with it; started again it finds in the wishes what shall run, and a swap that was under way goes on where it was. Nobody talks to it:
wishes and reports are files, so that the web process, the worker and a command see the same, with the manager running or not.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace

from qzbrain import logs
from qzbrain.errors import SettingsInvalid
from qzbrain.models.catalog import LOCAL_ENGINES, all_models
from qzbrain.models.engines.keeper import DRAIN_S, Keeper
from qzbrain.models.engines.on_demand import OnDemandEngines
from qzbrain.models.engines.reports import ReportWriter
from qzbrain.models.engines.wishes import Swap, Wishes, WishStore, manager_lock
from qzbrain.settings import ModelSettings, Settings, config_path, load_settings, secrets_of

log = logs.get(__name__)
LOOK_S = 0.1
CONFIGURATION_S = 1.0
LAST_S = 5.0
"""What an engine may take to end, of STOP_WAIT_S; until then running answers may go on when the whole brain stops."""


def managed_models(settings: Settings) -> dict[str, ModelSettings]:
    """The models whose engines a manager keeps up: local ones that are not on demand."""
    return {name: model for name, model in all_models(settings).items() if model.engine in LOCAL_ENGINES and not model.on_demand}


def is_needed(settings: Settings) -> bool:
    """Whether there is an engine to be started with the brain."""
    wishes = WishStore(settings).read()
    return wishes.swap is not None or any(wishes.runs(name, model) for name, model in managed_models(settings).items())


class Manager:
    """All keepers of one data folder."""

    def __init__(self, settings: Settings, *, drain_s: float = DRAIN_S, changed: Callable[[], Settings | None] = lambda: None) -> None:
        """`changed`: asked again and again; new settings when there are some. Engines whose model stays as it is are left alone."""
        self._settings = settings
        self._store = WishStore(settings)
        self._reports = ReportWriter(settings)
        self._drain_s, self._changed = drain_s, changed
        self._keepers: dict[str, Keeper] = {}
        self._leaving: list[Keeper] = []
        self._stamps: dict[str, int] = {}
        self._incomplete = False

    def run(self, stop: Callable[[], bool]) -> None:
        """Until `stop()`; all engines have ended on return."""
        self._employ(self._settings)
        while not stop():
            if (settings := self._changed()) is not None or self._incomplete:
                self._employ(settings or self._settings)
            wishes = self._store.read()
            if wishes.swap is not None:
                try:
                    wishes = self._advanced(wishes, wishes.swap)
                except OSError as exc:  # a full disk must not cost the engines; the step is made at the next look
                    log.error("swap_step_not_kept", exc_info=exc)
            self._follow(wishes)
            time.sleep(LOOK_S)
        farewell_s = max(0.5, self._settings.stop_wait_s - LAST_S)
        for keeper in (*self._keepers.values(), *self._leaving):
            keeper.close(farewell_s)
        for keeper in (*self._keepers.values(), *self._leaving):
            keeper.join()

    def _employ(self, settings: Settings) -> None:
        """A keeper for each managed model. One whose model was changed or removed ends its engine and leaves; its successor waits for that."""
        models = managed_models(settings)
        for name in [name for name, keeper in self._keepers.items() if models.get(name) != keeper.model]:
            keeper = self._keepers.pop(name)
            keeper.close(self._drain_s)
            self._leaving.append(keeper)
        self._leaving = [one for one in self._leaving if one.is_alive()]
        busy = {one.model_name for one in self._leaving}
        engines = OnDemandEngines(settings)
        for name, model in models.items():
            if name not in self._keepers and name not in busy:
                self._keepers[name] = Keeper(name, model, settings, engines, self._reports, drain_s=self._drain_s)
                self._keepers[name].start()
        self._settings = settings
        self._incomplete = bool(busy & set(models))

    def _follow(self, wishes: Wishes) -> None:
        for name, keeper in self._keepers.items():
            keeper.want(wishes.runs(name, keeper.model) and not _must_wait(name, wishes.swap))
            stamp = wishes.asked.get(name, 0)
            if self._stamps.setdefault(name, stamp) != stamp:
                self._stamps[name] = stamp
                keeper.ask_again()

    def _advanced(self, wishes: Wishes, swap: Swap) -> Wishes:
        """The next step of a swap, when the one before it is done; what is wanted then."""
        new = self._state(swap.new, since=swap.began)
        if swap.new not in self._keepers:
            log.error("swap_ended", new=swap.new, reason="no longer configured")
            return self._store.change(lambda now: replace(now, swap=None))
        if not swap.beside and not swap.down:
            if all(self._state(name) in ("stopped", "failed") for name in swap.old if name in self._keepers):
                return self._store.change(lambda now: replace(now, swap=replace(swap, down=True)))
        elif new == "ready":
            log.info("swap_done", new=swap.new, old=swap.old)
            return self._store.change(lambda now: replace(now.swapped(swap), swap=None))
        elif new == "failed":
            log.error("swap_undone", new=swap.new, old=swap.old)
            return self._store.change(lambda now: now.unswapped(swap))
        return wishes

    def _state(self, name: str, since: float = 0.0) -> str:
        """A failure of before `since` says nothing."""
        report = self._reports.get(name)
        return "starting" if report is None or (report.state == "failed" and report.since < since) else report.state


def _must_wait(name: str, swap: Swap | None) -> bool:
    """Whether this is the new engine of a swap whose old ones still hold the memory."""
    return swap is not None and name == swap.new and not swap.beside and not swap.down


class ConfigurationWatch:
    """Settings anew when the configuration file has changed, looked at once a second; one that cannot be used is logged and passed over."""

    def __init__(self) -> None:
        self._seen, self._looked = _stamp(), time.monotonic()

    def __call__(self) -> Settings | None:
        """The new settings, once for each change."""
        if time.monotonic() - self._looked < CONFIGURATION_S:
            return None
        self._looked = time.monotonic()
        if (stamp := _stamp()) == self._seen:
            return None
        self._seen = stamp
        try:
            return load_settings()
        except SettingsInvalid as exc:
            log.warning("configuration_unusable", reason=exc.en)
            return None


def _stamp() -> tuple[str, int]:
    try:
        path = config_path()
        return (str(path), path.stat().st_mtime_ns) if path is not None else ("", 0)
    except (OSError, SettingsInvalid):
        return "", 0


def main() -> None:
    """Manage until SIGTERM or SIGINT. A second manager waits for the first one's end."""
    stopping: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda got, _frame: stopping.append(got))
    os.umask(0o077)
    settings = load_settings()
    logs.configure(settings.log_level, "engines")
    logs.hide(secrets_of(settings))
    path = manager_lock(settings)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("ab") as lock:
        while not stopping:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                time.sleep(LOOK_S)
        if not stopping:
            path.with_suffix(".due").unlink(missing_ok=True)
            log.info("engine_manager_started")
            Manager(settings, changed=ConfigurationWatch()).run(lambda: bool(stopping))
            log.info("engine_manager_ended")


if __name__ == "__main__":
    main()
