"""A circuit breaker: after failures in a row nothing is asked for a while, so that nobody waits for what is away.

While it is open nobody's question is the trial: a thread of its own (a greenlet, where threads are such) tries again after growing pauses, and closes it when
that went well. Knows no network.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from qzbrain import logs

log = logs.get(__name__)

FAILURES = 3
PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0)


class GraphFault(Exception):
    """Why the service's reply cannot be used. `zh` and `en` are clauses without a full stop.

    `weight`: how many failures it counts for; 0 where the service works and this one request is at fault, FAILURES where waiting again would hurt.
    """

    def __init__(self, zh: str, en: str, *, weight: int = 1) -> None:
        super().__init__(en)
        self.zh, self.en, self.weight = zh, en, weight


@dataclass(frozen=True, slots=True)
class State:
    """`half_open`: it is being tried. `fault`: what opened it. `retry_after_s`: how long it stays so, at least."""

    name: Literal["closed", "open", "half_open"]
    fault: GraphFault | None = None
    retry_after_s: float = 0.0


class Breaker:
    """Closed until FAILURES failures in a row. Thread-safe."""

    def __init__(self, probe: Callable[[], None], *, pauses_s: Sequence[float] = PAUSES_S) -> None:
        """`probe` raises GraphFault where the trial fails. Pauses begin anew only when a caller, not a trial alone, had a reply."""
        self._probe, self._pauses_s = probe, pauses_s
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._state = State("closed")
        self._failures = self._step = 0

    @property
    def state(self) -> State:
        """As it is now."""
        return self._state

    def succeeded(self) -> None:
        """A caller had a reply that can be used."""
        with self._lock:
            if self._state.name == "closed":  # a reply that was long under way says nothing of now
                self._failures = self._step = 0

    def failed(self, fault: GraphFault) -> None:
        """A caller had none."""
        with self._lock:
            self._failures += fault.weight
            if not fault.weight or self._failures < FAILURES or self._state.name != "closed" or self._ended.is_set():
                return
            self._state = State("open", fault, self._pause_s())
        log.warning("graph_service_away", reason=fault.en)
        threading.Thread(target=self._try_again, name="graph-service-trial", daemon=True).start()

    def close(self) -> None:
        """Try no more."""
        self._ended.set()

    def _pause_s(self) -> float:
        return self._pauses_s[min(self._step, len(self._pauses_s) - 1)]

    def _try_again(self) -> None:
        while not self._ended.wait(self._pause_s()):
            self._step += 1
            before = self._state
            self._state = State("half_open", before.fault, before.retry_after_s)
            try:
                self._probe()
            except GraphFault as fault:
                self._state = State("open", fault, self._pause_s())
            except Exception as exc:
                log.error("graph_service_trial_failed", exc_info=exc)
                self._state = State("open", before.fault, self._pause_s())
            else:
                with self._lock:
                    self._failures, self._state = 0, State("closed")
                log.info("graph_service_back")
                return
