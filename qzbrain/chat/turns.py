"""Answers that are being given in this process, and those that ended in the last ten minutes: what a second tab or a client that came back is shown.

A turn keeps the log of its events. Whoever runs the turn appends to it; any number of followers read it, each at its own
pace and from its own place, so that a slow reader delays nobody and nothing is lost between replay and what comes new.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from qzbrain.domain import Caller, Delta, Done, Failed, SourcesFound, StreamEvent
from qzbrain.models.base import Cancellation

if TYPE_CHECKING:
    from qzbrain.chat.plan import Plan

KEPT_S = 600.0
KEPT_TURNS = 2000


class Turn:
    """One question and its answer on the way. Made by `ChatService.begin`, run by `ChatService.answer`."""

    __slots__ = ("_followers", "caller", "cancellation", "conversation_id", "ended_at", "events", "message_id", "plan")

    def __init__(self, *, message_id: str, conversation_id: str, caller: Caller, plan: Plan) -> None:
        self.message_id, self.conversation_id = message_id, conversation_id
        self.caller, self.plan = caller, plan
        self.cancellation = Cancellation()
        self.events: list[StreamEvent] = []
        self.ended_at: float | None = None
        self._followers: list[Callable[[], None]] = []

    @property
    def finished(self) -> bool:
        """Whether Done or Failed is in the log."""
        return self.ended_at is not None

    def publish(self, event: StreamEvent) -> None:
        """Append to the log and wake the followers. Called only by whoever runs the turn."""
        self.events.append(event)
        for follower in tuple(self._followers):
            follower()

    def close(self) -> None:
        """Mark the end, after Done or Failed was published."""
        self.ended_at = time.monotonic()
        for follower in tuple(self._followers):
            follower()

    def subscribe(self, wake: Callable[[], None]) -> None:
        """Call `wake` after each event and at the end, in the runner's own thread or greenlet: it must neither block nor raise."""
        self._followers.append(wake)

    def unsubscribe(self, wake: Callable[[], None]) -> None:
        """Undo `subscribe`; unknown is no error."""
        if wake in self._followers:
            self._followers.remove(wake)

    @property
    def followed(self) -> bool:
        """Whether anybody reads this turn now."""
        return bool(self._followers)

    def follow(self, after_seq: int = -1, *, left: Callable[[], bool] | None = None, poll_s: float = 5.0) -> Iterator[StreamEvent]:
        """The events after the delta `after_seq`, first those of the log, then new ones as they come, up to Done or Failed.

        With -1 also SourcesFound and Queued that came before the first delta. `left` is asked every `poll_s` seconds of silence
        and after each event: when it says true, the following ends.
        """
        place, news = 0, threading.Event()
        self.subscribe(news.set)
        try:
            while True:
                news.clear()
                while place < len(self.events):
                    event = self.events[place]
                    place += 1
                    if _is_new(event, after_seq):
                        yield event
                if self.finished or (left is not None and left()):
                    return
                news.wait(poll_s)
        finally:
            self.unsubscribe(news.set)


def _is_new(event: StreamEvent, after_seq: int) -> bool:
    if isinstance(event, Delta):
        return event.seq > after_seq
    return isinstance(event, Done | Failed) or after_seq < 0 or not isinstance(event, SourcesFound)


class Turns:
    """The turns of this process by message id. Ended ones are forgotten after ten minutes, and the oldest beyond 2,000 sooner."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._running: dict[str, Turn] = {}
        self._ended: dict[str, Turn] = {}

    def add(self, turn: Turn) -> None:
        """Know a turn that begins."""
        self._running[turn.message_id] = turn

    def get(self, message_id: str) -> Turn | None:
        """The turn, running or ended within ten minutes; None when it is not known (any more)."""
        self._forget()
        return self._running.get(message_id) or self._ended.get(message_id)

    def end(self, turn: Turn, *, keep: bool) -> None:
        """The turn is over; with `keep` it can be replayed for ten minutes."""
        self._running.pop(turn.message_id, None)
        if keep:
            self._ended[turn.message_id] = turn
        self._forget()

    def running(self) -> list[Turn]:
        """All turns that have not ended, oldest first."""
        return list(self._running.values())

    def _forget(self) -> None:
        horizon = self._clock() - KEPT_S
        for message_id, turn in list(self._ended.items()):  # in order of ending: stops at the first that is kept
            if len(self._ended) <= KEPT_TURNS and (turn.ended_at or 0.0) >= horizon:
                return
            del self._ended[message_id]
