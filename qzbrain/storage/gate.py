"""A bounded queue before each model: as many answers at once as it has slots, users in turn, 429 beyond the bound.

In this process alone; `redis_gate.py` builds on it for several processes. A slot is always given back: `Ticket.release` may be
called at any time, any number of times.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from qzbrain.domain import Queued
from qzbrain.errors import Cancelled, EngineUnavailable, RateLimited

NEWS_EVERY_S = 1.0
"""How often a waiting caller hears of its place."""
SMOOTHING = 0.2
"""Weight of the last answer in the estimate of how long one takes."""


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a model is now."""

    in_use: int
    queued: int


class Stoppable(Protocol):
    """What a waiting caller is stopped by: a `models.base.Cancellation`."""

    @property
    def cancelled(self) -> bool:
        """Whether it was stopped."""

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Call at the stop; at once when it has come already."""


class Ticket:
    """One answer's claim on a slot: waiting, admitted, or over."""

    __slots__ = ("_gate", "admitted", "admitted_at", "over", "ready", "user")

    def __init__(self, gate: Gate, user: str) -> None:
        self._gate, self.user = gate, user
        self.admitted = False
        self.over = False
        self.admitted_at = 0.0
        self.ready: threading.Event | None = None

    def wait(self, cancellation: Stoppable, timeout_s: float) -> Iterator[Queued]:
        """Return when the slot is there; meanwhile tell the place once at the start, and whenever it is better than any told before.

        Users take turns, so the first question of a user who just came goes before the second of one who waits: a step back that is not told.
        Raises Cancelled, and EngineUnavailable (code `queue_timeout`) after `timeout_s`. Gives the claim up when left early.
        """
        if self.admitted:
            return
        ready = self.ready = threading.Event()
        cancellation.on_cancel(ready.set)
        deadline, told = time.monotonic() + timeout_s, 0
        try:
            while not self._gate.is_admitted(self):
                position = self._gate.position(self)
                if position and (not told or position < told):
                    told = position
                    yield Queued(position, self._gate.eta_s(position))
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    raise _waited_too_long(timeout_s)
                ready.wait(min(NEWS_EVERY_S, remaining))
                ready.clear()  # it may also mean that there is news of the place
                if cancellation.cancelled:
                    raise Cancelled
        finally:
            if not self.admitted:
                self.release()

    def release(self) -> None:
        """Give the slot, or the place in the queue, back."""
        self._gate.release(self)


class Gate:
    """Slots and queue of one model. Waiting users are admitted in turn, each user's questions in their order."""

    def __init__(self, name: str, *, slots: int, queue: int) -> None:
        self._name, self._slots, self._bound = name, slots, queue
        self._lock = threading.Lock()
        self._in_use = 0
        self._waiting: dict[str, deque[Ticket]] = {}  # by user, the next to be served first
        self._queued = 0
        self._answer_s = 0.0

    def enter(self, user: str) -> Ticket:
        """A ticket, admitted at once when a slot is free. Raises RateLimited when the queue is full."""
        ticket = Ticket(self, user)
        self._take(ticket)
        return ticket

    def release(self, ticket: Ticket) -> None:
        """See `Ticket.release`."""
        with self._lock:
            if ticket.over:
                return
            ticket.over = True
            if ticket.admitted:
                self._in_use -= 1
                took = time.monotonic() - ticket.admitted_at
                self._answer_s = took if not self._answer_s else self._answer_s + SMOOTHING * (took - self._answer_s)
            else:
                self._leave(ticket)
            self._admit_waiting()

    def is_admitted(self, ticket: Ticket) -> bool:
        """Whether the slot is there."""
        return ticket.admitted

    def position(self, ticket: Ticket) -> int:
        """Place in the queue from 1, as users take turns; 0 when it is not waiting."""
        with self._lock:
            place = next((i for i, x in enumerate(self._waiting.get(ticket.user, ())) if x is ticket), None)
            if place is None:
                return 0
            users = list(self._waiting)
            before = users.index(ticket.user)
            return 1 + sum(min(len(line), place + (i < before)) for i, line in enumerate(self._waiting.values()) if i != before) + place

    def eta_s(self, position: int) -> float | None:
        """Estimated wait at this place from the length of past answers; None before the first one ended."""
        return round(self._answer_s * position / self._slots, 1) if self._answer_s else None

    def load(self) -> Load:
        """How busy it is now."""
        return Load(self._in_use, self._queued)

    def _take(self, ticket: Ticket) -> None:
        with self._lock:
            if self._in_use < self._slots and not self._queued:
                self._admit(ticket)
            elif self._queued >= self._bound:
                raise self._full(self._queued)
            else:
                self._line_up(ticket)

    def _line_up(self, ticket: Ticket) -> None:
        self._waiting.setdefault(ticket.user, deque()).append(ticket)
        self._queued += 1

    def _admit_waiting(self) -> None:
        while self._queued and self._in_use < self._slots:
            self._admit_next()

    def _admit(self, ticket: Ticket) -> None:
        self._in_use += 1
        ticket.admitted = True
        ticket.admitted_at = time.monotonic()
        if ticket.ready is not None:
            ticket.ready.set()

    def _admit_next(self) -> None:
        user, line = next(iter(self._waiting.items()))
        ticket = line.popleft()
        del self._waiting[user]
        if line:
            self._waiting[user] = line  # to the end: the other users come first
        self._queued -= 1
        self._admit(ticket)

    def _leave(self, ticket: Ticket) -> None:
        line = self._waiting[ticket.user]
        line.remove(ticket)
        self._queued -= 1
        if not line:
            del self._waiting[ticket.user]

    def _full(self, queued: int) -> RateLimited:
        wait_s = max(1, round(self.eta_s(queued + 1) or 5))
        return RateLimited(
            zh=f"模型 {self._name} 正忙，排队已满（{queued} 个等待）。请在 {wait_s} 秒后重试。",
            en=f"The model {self._name} is busy and its queue is full ({queued} waiting). Try again in {wait_s} s.",
            retry_after_s=wait_s,
        )


def _waited_too_long(timeout_s: float) -> EngineUnavailable:
    return EngineUnavailable(
        "queue_timeout",
        zh=f"排队超过 {timeout_s:g} 秒仍未轮到。请稍后重试。",
        en=f"No slot became free within {timeout_s:g} s. Try again later.",
        retry_after_s=10,
    )
