"""Turns that run in another web process of the same brain: stop them, wait for their end.

Their text does not come here; what a client can be given is the stored answer, when it is there. SQL is the truth, news only save the
wait: a lost one costs a second.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from qzbrain.chat.turns import Turns
from qzbrain.domain import StoredMessage
from qzbrain.errors import Unavailable
from qzbrain.storage.shared import News, SharedState

LOOK_EVERY_S = 1.0
ANNOUNCED_EVERY_S = 10.0
AWAITED_S = 25.0
"""How long an announced wait keeps an answer from being given up for lack of readers."""


class Waiting:
    """A client of this process that waits for the end of a message elsewhere."""

    __slots__ = ("_wake", "left", "message_id")

    def __init__(self, message_id: str) -> None:
        self.message_id = message_id
        self.left = False
        self._wake = threading.Event()

    def leave(self) -> None:
        """Wait no more."""
        self.left = True
        self._wake.set()

    def look(self) -> None:
        """Something happened."""
        self._wake.set()

    def pause(self, seconds: float) -> None:
        """Return when something happened, or after `seconds`."""
        self._wake.wait(seconds)
        self._wake.clear()


class Elsewhere:
    """What this process tells others about turns, and does at their word."""

    def __init__(self, shared: SharedState, turns: Turns) -> None:
        self._shared, self._turns = shared, turns
        self._waiting: set[Waiting] = set()
        if shared.several:
            shared.subscribe(self._hear)

    def may_run(self, message: StoredMessage) -> bool:
        """Whether a message that is not known here may be under way in another process."""
        return self._shared.several and message.status == "running"

    def stop(self, message: StoredMessage) -> bool:
        """Have it stopped where it runs; False when it runs nowhere. Raises Unavailable when the others cannot be told."""
        if not self.may_run(message):
            return False
        self._shared.publish(News("stop", message_id=message.id))
        return True

    def stop_conversation(self, conversation_id: str, count: Callable[[], int]) -> int:
        """Have its turns stopped wherever they run; `count` gives how many do elsewhere. Raises Unavailable."""
        running = count() if self._shared.several else 0
        if running:
            self._shared.publish(News("stop", conversation_id=conversation_id))
        return running

    def tell_ended(self, message_id: str) -> None:
        """Wake whoever waits for it in another process."""
        if self._shared.several:
            self._tell(News("ended", message_id=message_id))

    def until_ended(self, waiting: Waiting, running: Callable[[], bool]) -> bool:
        """Return True when `running()` says no, False when the client has left. What `running` raises comes out."""
        self._waiting.add(waiting)
        told = 0.0
        try:
            while not waiting.left:
                if not told or time.monotonic() - told >= ANNOUNCED_EVERY_S:
                    told = time.monotonic()
                    self._tell(News("followed", message_id=waiting.message_id))
                if not running():
                    return True
                waiting.pause(LOOK_EVERY_S)
            return False
        finally:
            self._waiting.discard(waiting)

    def _tell(self, news: News) -> None:
        with suppress(Unavailable):
            self._shared.publish(news)

    def _hear(self, news: News) -> None:
        if news.kind == "ended":
            for waiting in tuple(self._waiting):
                if waiting.message_id == news.message_id:
                    waiting.look()
            return
        for turn in self._turns.running():
            if turn.message_id == news.message_id or turn.conversation_id == news.conversation_id:
                if news.kind == "stop":
                    turn.cancellation.cancel()
                else:
                    turn.awaited_until = time.monotonic() + AWAITED_S
