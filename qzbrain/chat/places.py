"""How many answers one user may be given at a time, over all web processes; 429 beyond it. Nobody waits here: the models' queues are for that."""

from __future__ import annotations

from collections.abc import Callable

from qzbrain.auth.access import LOCAL_USER
from qzbrain.domain import Caller
from qzbrain.errors import RateLimited
from qzbrain.storage.shared import SharedState

RETRY_S = 5


class Places:
    """The places of all users. `most`: 0 for no bound."""

    def __init__(self, shared: SharedState, *, most: int) -> None:
        self._shared, self._most = shared, most

    def take(self, caller: Caller) -> Callable[[], None]:
        """A place, until what is returned is called (any number of times). Raises RateLimited."""
        if not self._most or caller.id == LOCAL_USER:
            return _nothing
        try:
            ticket = self._shared.gate(f"answers of {caller.id}", slots=self._most, queue=0).enter(caller.id)
        except RateLimited as exc:
            raise RateLimited(
                "too_many_answers",
                zh=f"您已有 {self._most} 个回答正在生成（ANSWERS_PER_USER）。请等其中一个完成或停止后再提问。",
                en=f"{self._most} answers to you are under way already (ANSWERS_PER_USER). Wait for one of them to end, or stop it.",
                retry_after_s=RETRY_S,
            ) from exc
        return ticket.release


def _nothing() -> None:
    """There was no place to give back."""
