"""What supervisord does not count itself: how often each process was started. A namespace of its RPC, `qzbrain.starts()`.

Imported by the process that stays: only supervisor is needed.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from supervisor import events


class StartCounts:
    """Counts from supervisord's own start on."""

    def __init__(self) -> None:
        self._starts: Counter[str] = Counter()
        events.subscribe(events.ProcessStateStartingEvent, self._started)

    def starts(self) -> dict[str, int]:
        """Starts by the name of the process, the first one included."""
        return dict(self._starts)

    def _started(self, event: Any) -> None:
        self._starts[event.process.config.name] += 1


def make(_supervisord: Any, **_options: Any) -> StartCounts:
    """What supervisord.conf names as the factory."""
    return StartCounts()
