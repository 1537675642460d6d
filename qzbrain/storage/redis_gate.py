"""Slots and queue of one model, shared by all processes through Redis.

Redis decides who is admitted; this process keeps its own tickets as the in-process gate does, so that it can go on alone when Redis is
away. Every ticket is a lease there: `sync`, once a second, extends them, takes the places in the queue from Redis, and takes in again
what a Redis that was restarted or emptied does not know.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from qzbrain.storage import redis_scripts
from qzbrain.storage.gate import SMOOTHING, Gate, Load, Ticket
from qzbrain.storage.redis_link import Away, RedisLink

LEASE_S = 10.0
"""What a process held is free so long after its last word."""

Program = Callable[[Sequence[str], Sequence[str | int]], Any]


class SharedTicket(Ticket):
    """A ticket that Redis knows by its id."""

    __slots__ = ("id", "place")

    def __init__(self, gate: Gate, user: str, ticket_id: str) -> None:
        super().__init__(gate, user)
        self.id = ticket_id
        self.place = 0


class Programs:
    """The Lua programs of all gates of a process."""

    def __init__(self, link: RedisLink) -> None:
        self.enter: Program = link.program(redis_scripts.ENTER)
        self.leave: Program = link.program(redis_scripts.LEAVE)
        self.sync: Program = link.program(redis_scripts.SYNC)
        self.load: Program = link.program(redis_scripts.LOAD)


class RedisGate(Gate):
    """See `Gate`. While Redis is away each process gives all slots by itself."""

    def __init__(self, name: str, *, slots: int, queue: int, link: RedisLink, programs: Programs, news: str, holder: str) -> None:
        """`news`: the channel under which holders are told; `holder`: this process."""
        super().__init__(name, slots=slots, queue=queue)
        self._link, self._programs = link, programs
        self._keys = (f"{news}:gate:{name}", news)
        self._epoch = ""
        self._holder, self._number = holder, count(1)
        self._tickets: dict[str, SharedTicket] = {}

    def enter(self, user: str) -> Ticket:
        """See `Gate.enter`."""
        ticket = SharedTicket(self, user, f"{self._holder}/{_short(user)}/{next(self._number)}")
        self._tickets[ticket.id] = ticket  # before Redis knows it: the word that it is admitted may overtake the reply
        try:
            self._ask_for(ticket)
        except BaseException:
            ticket.over = True
            self._forget(ticket)
            raise
        return ticket

    def release(self, ticket: Ticket) -> None:
        """See `Ticket.release`."""
        if ticket.over:
            return
        super().release(ticket)
        if isinstance(ticket, SharedTicket):
            self._forget(ticket)

    def position(self, ticket: Ticket) -> int:
        """See `Gate.position`; as Redis told it last."""
        if self._link.up and isinstance(ticket, SharedTicket):
            return 0 if ticket.admitted else ticket.place
        return super().position(ticket)

    def load(self) -> Load:
        """How busy the model is now, over all processes."""
        try:
            return Load(*self._programs.load(self._keys, self._given()))
        except Away:
            return super().load()

    def admit(self, ticket_id: str) -> bool:
        """Redis gave this ticket a slot; False when it is not one of this gate's (any more)."""
        ticket = self._tickets.get(ticket_id)
        if ticket is None:
            return False
        with self._lock:
            if not ticket.over and not ticket.admitted:
                if self._is_waiting(ticket):
                    self._leave(ticket)
                self._admit(ticket)
        return True

    def sync(self) -> None:
        """Agree with Redis about this process's tickets, if it has any."""
        tickets = list(self._tickets.values())
        held, waiting = [x.id for x in tickets if x.admitted], [x for x in tickets if not x.admitted]
        if not tickets:
            return
        try:
            answer_ms, added, places, epoch = self._programs.sync(self._keys, (*self._given(), len(held), *held, *(x.id for x in waiting)))
            self._answer_s, self._epoch = answer_ms / 1e3, epoch.decode()
            for ticket, place in zip(waiting, places, strict=True):
                if place:
                    ticket.place = place
                    if ticket.ready is not None:
                        ticket.ready.set()  # told at once: a place that is a second old is another one
                else:
                    self.admit(ticket.id)
            for ticket_id in (x.decode() for x in added):
                if ticket_id not in self._tickets:  # it ended while Redis was asked
                    self._leave_redis(ticket_id, 0)
        except Away:
            self.go_on_alone()

    def go_on_alone(self) -> None:
        """Redis is away: this process gives the slots meanwhile."""
        with self._lock:
            self._admit_waiting()

    def close(self) -> None:
        """Give everything back."""
        for ticket in list(self._tickets.values()):
            self.release(ticket)

    def _given(self) -> tuple[str | int, ...]:
        """What every program is told first."""
        return self._slots, round(LEASE_S * 1e3), self._epoch, secrets.token_hex(4)

    def _ask_for(self, ticket: SharedTicket) -> None:
        try:
            place, queued, answer_ms, epoch = self._programs.enter(self._keys, (*self._given(), self._bound, ticket.id))
        except Away:
            self._take(ticket)
            return
        self._answer_s, self._epoch = answer_ms / 1e3, epoch.decode()
        if place < 0:
            raise self._full(queued)
        with self._lock:
            if ticket.admitted:
                return
            if place:
                ticket.place = place
                self._line_up(ticket)
                self._admit_waiting()  # Redis may have gone away just now
            else:
                self._admit(ticket)

    def _admit_waiting(self) -> None:
        if not self._link.up:
            super()._admit_waiting()

    def _is_waiting(self, ticket: Ticket) -> bool:
        return any(x is ticket for x in self._waiting.get(ticket.user, ()))

    def _forget(self, ticket: SharedTicket) -> None:
        self._tickets.pop(ticket.id, None)
        self._leave_redis(ticket.id, round((time.monotonic() - ticket.admitted_at) * 1e3) if ticket.admitted else 0)

    def _leave_redis(self, ticket_id: str, took_ms: int) -> None:
        try:
            self._programs.leave(self._keys, (*self._given(), ticket_id, took_ms, str(SMOOTHING)))
        except Away:  # its lease runs out
            return


def _short(user: str) -> str:
    return hashlib.blake2b(user.encode(), digest_size=8).hexdigest()
