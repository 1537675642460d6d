"""The shared state of a brain whose web is one process: nothing leaves it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from qzbrain.storage.gate import Gate, Load
from qzbrain.storage.shared import News

_KEYS_KEPT = 10_000


class LocalState:
    """See `SharedState`."""

    several = False
    connected = True

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._gates: dict[str, Gate] = {}
        self._hearing: tuple[Callable[[News], None], ...] = ()
        self._windows = Windows(clock)

    def gate(self, name: str, *, slots: int, queue: int) -> Gate:
        """See `SharedState.gate`."""
        gate = self._gates.get(name)
        return gate if gate is not None else self._gates.setdefault(name, Gate(name, slots=slots, queue=queue))

    def load(self, name: str) -> Load:
        """See `SharedState.load`."""
        gate = self._gates.get(name)
        return gate.load() if gate is not None else Load(0, 0)

    def take(self, key: str, *, limit: int, window_s: float) -> float:
        """See `SharedState.take`."""
        return self._windows.take(key, limit=limit, window_s=window_s)

    def publish(self, news: News) -> None:
        """See `SharedState.publish`."""
        for hear in self._hearing:
            hear(news)

    def subscribe(self, hear: Callable[[News], None]) -> Callable[[], None]:
        """See `SharedState.subscribe`."""
        self._hearing = (*self._hearing, hear)

        def leave() -> None:
            self._hearing = tuple(x for x in self._hearing if x is not hear)

        return leave

    def close(self) -> None:
        """See `SharedState.close`."""
        self._hearing = ()


class Windows:
    """Sliding windows: the times of the last events by key. Exact, and what is refused does not count."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._times: dict[str, deque[float]] = {}

    def take(self, key: str, *, limit: int, window_s: float) -> float:
        """See `SharedState.take`."""
        now = self._clock()
        with self._lock:
            if len(self._times) > _KEYS_KEPT:
                self._times = {k: times for k, times in self._times.items() if times[-1] > now - window_s}
            times = self._times.setdefault(key, deque())
            while times and times[0] <= now - window_s:
                times.popleft()
            if len(times) >= limit:
                return times[len(times) - limit] + window_s - now
            times.append(now)
            return 0.0
