"""Answers that are being given in this process, and those that ended in the last ten minutes: what a second tab or a client that came back is shown.

A turn keeps the log of its events. Whoever runs the turn appends to it; any number of readers take from it, each at its own
pace and from its own place, so that a slow reader delays nobody and nothing is lost between replay and what comes new.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from qzbrain import tracing
from qzbrain.domain import Caller, StreamEvent
from qzbrain.models.base import Cancellation
from qzbrain.storage.database import Submitted

if TYPE_CHECKING:
    from qzbrain.chat.plan import Plan

KEPT_S = 600.0
KEPT_EVENTS = 200_000


class Turn:
    """One question and its answer on the way. Made by `ChatService.begin`, run by `ChatService.answer`."""

    __slots__ = (
        "_subscribers", "awaited_until", "caller", "cancellation", "conversation_id", "ended_at", "events", "message_id", "pending", "place", "plan",
        "started", "trace",
    )  # fmt: skip

    def __init__(self, *, message_id: str, conversation_id: str, caller: Caller, plan: Plan, pending: Sequence[Submitted]) -> None:
        """`pending`: the turn's rows on their way to the database, awaited before the turn ends."""
        self.message_id, self.conversation_id = message_id, conversation_id
        self.caller, self.plan, self.pending = caller, plan, pending
        self.started = time.perf_counter()
        self.trace = tracing.here()
        """What the request that asked belongs to, as traces know it."""
        self.cancellation = Cancellation()
        self.place: Callable[[], None] = lambda: None
        """Gives back the place among the answers that the caller may be given at a time."""
        self.events: list[StreamEvent] = []
        self.ended_at: float | None = None
        self.awaited_until = 0.0
        """Until then (time.monotonic) clients of another process wait for the end; they say so again in time."""
        self._subscribers: tuple[Callable[[], None], ...] = ()

    @property
    def finished(self) -> bool:
        """Whether the turn is over; then Done or Failed is the log's last event."""
        return self.ended_at is not None

    def publish(self, event: StreamEvent) -> None:
        """Append to the log and tell the subscribers. Called only by whoever runs the turn."""
        self.events.append(event)
        for callback in self._subscribers:
            callback()

    def subscribe(self, callback: Callable[[], None]) -> None:
        """Call after each new event, in the greenlet that runs the turn: read the log, and never wait."""
        self._subscribers = (*self._subscribers, callback)

    def unsubscribe(self, callback: Callable[[], None]) -> None:
        """Call no more; one that is not subscribed is no error."""
        self._subscribers = tuple(x for x in self._subscribers if x != callback)

    @property
    def followed(self) -> bool:
        """Whether anybody reads this turn now."""
        return bool(self._subscribers)

    def close(self, now: float) -> None:
        """Mark the end, before Done or Failed is published."""
        self.ended_at = now


class Turns:
    """The turns of this process by message id. Ended ones are kept for ten minutes, and at most 200,000 events of them (some 40 MB)."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._running: dict[str, Turn] = {}
        self._ended: dict[str, Turn] = {}
        self._kept_events = 0

    def add(self, turn: Turn) -> None:
        """Know a turn that begins."""
        self._running[turn.message_id] = turn

    def get(self, message_id: str) -> Turn | None:
        """The turn, running or ended within ten minutes; None when it is not known (any more)."""
        self._forget()
        return self._running.get(message_id) or self._ended.get(message_id)

    def end(self, turn: Turn, *, keep: bool) -> None:
        """The turn is over; with `keep` it can be replayed for ten minutes."""
        if self._running.pop(turn.message_id, None) is None:
            return
        turn.close(self._clock())
        if keep:
            self._ended[turn.message_id] = turn
            self._kept_events += len(turn.events)
        self._forget()

    def running(self) -> list[Turn]:
        """All turns that have not ended, oldest first."""
        return list(self._running.values())

    def _forget(self) -> None:
        horizon = self._clock() - KEPT_S
        while self._ended:
            oldest = next(iter(self._ended.values()))
            if (oldest.ended_at or 0.0) >= horizon and (self._kept_events <= KEPT_EVENTS or len(self._ended) == 1):
                return
            del self._ended[oldest.message_id]
            self._kept_events -= len(oldest.events)
