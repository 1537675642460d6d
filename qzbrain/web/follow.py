"""One reader of one turn: takes the turn's log from a place of its own and writes it to a client, as fast as the client takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from qzbrain.chat.turns import Turn
from qzbrain.domain import Delta, Done, Failed, Queued, SourcesFound, StreamEvent
from qzbrain.web.wire import BACKLOG_BYTES


class Sink(Protocol):
    """Where a follower writes: a `Wire`, or something that behaves like one."""

    backlog: int
    broken: bool

    def write(self, data: bytes) -> None:
        """Send, without waiting."""

    def on_drained(self, call: Callable[[], None]) -> None:
        """Call once when there is room again."""


class Follower:
    """Writes `render(event)` for each event of the turn's log; `ended` is called once, after the last one or when the client is gone."""

    __slots__ = ("_after_seq", "_ended", "_place", "_render", "_sink", "_waiting", "turn")

    def __init__(self, turn: Turn, sink: Sink, render: Callable[[StreamEvent], bytes], *, after_seq: int = -1, ended: Callable[[], None] | None = None) -> None:
        """`after_seq`: the last delta that the client has; -1 for all, sources included."""
        self.turn = turn
        self._sink, self._render, self._after_seq, self._ended = sink, render, after_seq, ended
        self._place = 0
        self._waiting = False

    def start(self) -> None:
        """Write what is in the log, and from now on what comes."""
        self.turn.subscribe(self.advance)
        self.advance()

    def stop(self) -> None:
        """Read no more. `ended` is not called."""
        self.turn.unsubscribe(self.advance)
        self._ended = None

    def advance(self) -> None:
        """Write what is new; with a slow client pause, and go on when it has taken what was kept for it."""
        if self._waiting:
            return
        events, sink = self.turn.events, self._sink
        while self._place < len(events):
            if sink.backlog > BACKLOG_BYTES:
                self._waiting = True
                sink.on_drained(self._resume)
                return
            event = events[self._place]
            self._place += 1
            if self._after_seq >= 0 and _known(event, self._after_seq):
                continue
            if data := self._render(event):
                sink.write(data)
        if sink.broken or (events and isinstance(events[-1], Done | Failed)):
            self._finish()

    def _resume(self) -> None:
        self._waiting = False
        self.advance()

    def _finish(self) -> None:
        self.turn.unsubscribe(self.advance)
        ended, self._ended = self._ended, None
        if ended is not None:
            ended()


def _known(event: StreamEvent, after_seq: int) -> bool:
    """Whether a client that has the delta `after_seq` has this event too."""
    if isinstance(event, Delta):
        return event.seq <= after_seq
    return isinstance(event, Queued | SourcesFound)
