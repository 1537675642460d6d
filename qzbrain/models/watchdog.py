"""Time-outs of all running replies, watched by one thread (a greenlet under gevent), because a timer for each read costs more than the read."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from qzbrain.models.reply import Reply, cut

if TYPE_CHECKING:
    from collections.abc import Callable

TICK_S = 0.1


class Watchdog:
    """Cuts replies that are past their deadline. Its thread runs only while there is something to watch."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._replies: set[Reply] = set()
        self._lock = threading.Lock()
        self._running = False

    def watch(self, reply: Reply) -> None:
        """Watch this one's deadline from now on, wherever it is moved."""
        with self._lock:
            self._replies.add(reply)
            if not self._running:
                self._running = True
                threading.Thread(target=self._watch, name="engine-deadlines", daemon=True).start()

    def forget(self, reply: Reply) -> None:
        """Watch it no more; one that is not watched is no error."""
        with self._lock:
            self._replies.discard(reply)

    def _watch(self) -> None:
        while True:
            time.sleep(TICK_S)
            with self._lock:
                if not self._replies:
                    self._running = False
                    return
                now = self._clock()
                late = [reply for reply in self._replies if reply.deadline < now]
            for reply in late:
                reply.overdue = True
                cut(reply)


watchdog = Watchdog()
