"""Who may write a knowledge base's index, and how far it is: one small document each, in an index of their own.

The right to write is a lease in that document, taken and extended by compare-and-set (if_seq_no), so that of two writers one wins. It runs
out by the clock; a holder that died on this host gives way at once. The watermark is written when what it stands for can be found.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from qzbrain.errors import IndexUnavailable
from qzbrain.jobs.owner import died_here, new_owner
from qzbrain.retrieval.elastic import faults
from qzbrain.retrieval.elastic.connection import WRITE_TIMEOUT_S, Server

LEASE_S = 180.0
"""Longer than any request may take, its retry on another node included; the clocks of hosts may differ by a minute."""
RENEW_S = 1.0
"""A lease older than this is extended before anything is sent: who was away for longer than a lease finds out before doing harm."""
_BODY = {
    "settings": {"number_of_shards": 1, "auto_expand_replicas": "0-1"},
    "mappings": {"dynamic": False, "properties": {"watermark": {"type": "long"}}},
}


@dataclass(frozen=True, slots=True)
class State:
    """`index`: the physical index that `watermark` is about; `owner`: who holds the lease, '' for nobody, until `lease_until` (s since 1970)."""

    index: str = ""
    watermark: int = -1
    owner: str = ""
    lease_until: float = 0.0
    version: tuple[int, int] | None = None
    """Sequence number and primary term, for compare-and-set; None: there is no document yet."""


class States:
    """The documents, by knowledge base."""

    def __init__(self, server: Server, prefix: str, clock: Callable[[], float] = time.time) -> None:
        self._server, self._index, self._clock = server, f"{prefix}.state", clock
        self._owner = new_owner()
        self._mine: set[str] = set()
        self._lock = threading.Lock()

    def read(self, kb_id: str) -> State:
        """As it is now: reads by id need no refresh."""
        reply = self._server.request("GET", f"/{self._index}/_doc/{kb_id}", expected=(404,))
        if not reply.found:
            return State()
        given, version = reply.body["_source"], (reply.body["_seq_no"], reply.body["_primary_term"])
        return State(given["index"], given["watermark"], given["owner"], given["lease_until"], version)

    @contextmanager
    def writing(self, kb_id: str) -> Iterator[Writing]:
        """Be the one writer. Raises IndexUnavailable `index_busy` when somebody else is."""
        with self._lock:
            if kb_id in self._mine:
                raise faults.another_writer().error()
            self._mine.add(kb_id)
        try:
            held = Writing(self, kb_id, self._take(kb_id))
            try:
                yield held
            finally:
                with suppress(IndexUnavailable):  # the lease runs out by itself
                    held.give_back()
        finally:
            with self._lock:
                self._mine.discard(kb_id)

    def extended(self, kb_id: str, state: State) -> State:
        """With the lease held from now on. Raises `index_busy` when the document was changed meanwhile."""
        return self.write(kb_id, replace(state, owner=self._owner, lease_until=self._clock() + LEASE_S))

    def write(self, kb_id: str, state: State) -> State:
        """Compare and set. Raises IndexUnavailable `index_busy` when the document is not the one that was read."""
        if state.version is None:
            params = {"op_type": "create"}
        else:
            params = {"if_seq_no": str(state.version[0]), "if_primary_term": str(state.version[1])}
        body = {"index": state.index, "watermark": state.watermark, "owner": state.owner, "lease_until": state.lease_until}
        reply = self._server.request("PUT", f"/{self._index}/_doc/{kb_id}", body, params=params, expected=(409,), timeout_s=WRITE_TIMEOUT_S)
        if reply.status == 409:
            raise faults.another_writer().error()
        return replace(state, version=(reply.body["_seq_no"], reply.body["_primary_term"]))

    def remove(self, kb_id: str) -> None:
        """Forget the document; none is no error."""
        self._server.request("DELETE", f"/{self._index}/_doc/{kb_id}", expected=(404,), timeout_s=WRITE_TIMEOUT_S)

    def _take(self, kb_id: str) -> State:
        found = self.read(kb_id)
        if found.owner and found.owner != self._owner and found.lease_until > self._clock() and not died_here(found.owner):
            raise faults.another_writer().error()
        if found.version is None:
            self._make_index()
        return self.extended(kb_id, found)

    def _make_index(self) -> None:
        """Made by us, because a cluster may forbid that indexes come into being by themselves. There already is no error."""
        reply = self._server.request("PUT", f"/{self._index}", _BODY, expected=(400,), timeout_s=WRITE_TIMEOUT_S)
        if reply.status == 400 and faults.reason(reply.body)[0] != "resource_already_exists_exception":
            raise faults.from_reply(self._server.where, 400, reply.body).error()


class Writing:
    """The lease that one writer holds."""

    def __init__(self, states: States, kb_id: str, state: State) -> None:
        self._states, self._kb_id, self._state = states, kb_id, state
        self._renewed = time.monotonic()
        self._gone = False

    def watermark_of(self, index: str) -> int:
        """What was written for this physical index; -1 when the document is about another one."""
        return self._state.watermark if self._state.index == index else -1

    def still_mine(self) -> None:
        """Extend the lease, unless that was done a moment ago. Raises IndexUnavailable `index_busy` when it is not ours any more."""
        if time.monotonic() - self._renewed >= RENEW_S:
            self._state = self._states.extended(self._kb_id, self._state)
            self._renewed = time.monotonic()

    def finish(self, index: str, watermark: int) -> None:
        """Write the watermark, and give the lease back with it."""
        self._state = self._states.write(self._kb_id, replace(self._state, index=index, watermark=watermark, owner="", lease_until=0.0))
        self._gone = True

    def forget(self) -> None:
        """The knowledge base is gone, and the document with it."""
        self._states.remove(self._kb_id)
        self._gone = True

    def give_back(self) -> None:
        """Let others write, with the watermark as it was; nothing to do after `finish`."""
        if not self._gone:
            self._gone = True
            self._states.write(self._kb_id, replace(self._state, owner="", lease_until=0.0))


