"""The seam for what the web processes of one brain must agree on: slots of models, rate limits, and news from one to all.

Each promise holds over all processes that share the state: one process for `local_state.py`, any number for `redis_state.py`. Text of
answers never travels here: the process that owns a client's connection runs its answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from qzbrain.storage.gate import Gate, Load


@dataclass(frozen=True, slots=True)
class News:
    """What one process tells all.

    `stop`: whoever runs this message, or turns of this conversation, ends them. `ended`: the turn is over and stored. `followed`: a
    client of another process waits for the end of this message.
    """

    kind: Literal["stop", "ended", "followed"]
    message_id: str = ""
    conversation_id: str = ""


class SharedState(Protocol):
    """Thread-safe. Nothing here is kept: what must not be lost is in SQL."""

    several: bool
    """Whether other processes may take part; without them nobody needs to be told anything."""

    @property
    def connected(self) -> bool:
        """Whether the promises hold over all processes now; while they do not, each process keeps them by itself."""

    def gate(self, name: str, *, slots: int, queue: int) -> Gate:
        """Slots and queue of this model, made when first used: never more than `slots` tickets admitted, nor more than `queue` waiting.

        What a process that dies held is free again within 15 s.
        """

    def load(self, name: str) -> Load:
        """How busy a model is now; nothing for one that was never used."""

    def take(self, key: str, *, limit: int, window_s: float) -> float:
        """Count one event of `key` and return 0; when there were `limit` within the last `window_s`, count nothing and return the seconds until one fits."""

    def publish(self, news: News) -> None:
        """Tell all processes, this one too. Raises Unavailable when the others cannot be told."""

    def subscribe(self, hear: Callable[[News], None]) -> Callable[[], None]:
        """Call `hear` (which must not wait) for all news from now on, until what is returned is called."""

    def close(self) -> None:
        """Give slots and connections back; nobody hears anything any more."""
