"""A pace for the hub while many answers stream: it collects what arrives in a few milliseconds and handles that together.

Each token of each stream comes alone, and waking up for one costs more than relaying it. libev calls this an io collect interval;
gevent does not offer it, so a `prepare` watcher sleeps, natively, before the hub looks for events. A busy hub never sleeps: the
pace counts from the last look. With few streams there is no pace at all, so a single reader's tokens are not held up.
"""

from __future__ import annotations

import time
from typing import Any

INTERVAL_S = 0.003
FROM_STREAMS = 100


class Pace:
    """Counts the answers that run; from `FROM_STREAMS` on the hub looks for events at most every `INTERVAL_S`."""

    def __init__(self) -> None:
        self._running = 0
        self._watcher: Any = None
        self._looked = 0.0
        self._sleep = time.sleep

    def enter(self) -> None:
        """One answer more."""
        self._running += 1
        if self._running >= FROM_STREAMS and self._watcher is None:
            self._start()

    def leave(self) -> None:
        """One answer less."""
        self._running -= 1
        if self._running < FROM_STREAMS // 2 and self._watcher is not None:
            self._watcher.stop()
            self._watcher.close()
            self._watcher = None

    def _start(self) -> None:
        from gevent import get_hub, monkey

        if not monkey.is_module_patched("time"):
            return
        self._sleep = monkey.get_original("time", "sleep")
        self._watcher = get_hub().loop.prepare(ref=False, priority=-2)
        self._watcher.start(self._collect)

    def _collect(self) -> None:
        left = self._looked + INTERVAL_S - time.perf_counter()
        if left > 0:
            self._sleep(left)
        self._looked = time.perf_counter()


pace = Pace()
