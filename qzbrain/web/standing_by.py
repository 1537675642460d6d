"""What goes on for long ends with the session or key that began it: connections that stay open, and answers on their way.

Asked before each event of a connection, and twice a second for all that only listen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from qzbrain import logs
from qzbrain.brain import Brain
from qzbrain.domain import Caller
from qzbrain.errors import BrainError
from qzbrain.storage.cooperation import cooperative
from qzbrain.web import rights
from qzbrain.web.callers import signed_out

log = logs.get(__name__)

EVERY_S = 0.5
_AT_ONCE = 500
_USED_EVERY_S = 60.0


class StandingBy:
    """`callers`: who opened each connection, by its id; `end` closes one. An answer is stopped, and kept as far as it came."""

    def __init__(self, brain: Brain, callers: Callable[[], Mapping[str, Caller]], end: Callable[[str], None]) -> None:
        self._brain, self._callers, self._end = brain, callers, end
        self._watching = False
        self._used_at: dict[str, float] = {}

    def watch(self) -> None:
        """Look twice a second from now on."""
        if not self._watching and cooperative():
            import gevent

            self._watching = True
            gevent.spawn(self._watch)

    def require(self, caller: Caller) -> None:
        """Before an event. Raises AuthenticationRequired, PermissionRefused."""
        if not self._good([caller]):
            raise signed_out()
        rights.require(self._brain.access, caller, "signed_in")
        now = time.monotonic()
        if caller.session_id and now - self._used_at.get(caller.session_id, float("-inf")) > _USED_EVERY_S:
            self._used_at[caller.session_id] = now
            self._brain.sessions.used(caller.session_id)

    def look(self) -> None:
        """End what is to end."""
        connected, turns = dict(self._callers()), self._brain.chat.turns.running()
        if not connected and not turns:
            return
        good = self._good([*connected.values(), *(turn.caller for turn in turns)])

        def over(caller: Caller) -> bool:
            return (caller.session_id or caller.key_id) not in good or not self._brain.access.standing(caller).active

        for sid, caller in connected.items():
            if over(caller):
                self._end(sid)
        for turn in turns:
            if over(turn.caller):
                turn.cancellation.cancel()
        self._used_at = {one: at for one, at in self._used_at.items() if one in good}

    def _good(self, callers: list[Caller]) -> set[str]:
        """Ids of sessions and keys among those of these callers that are not over."""
        good: set[str] = set()
        for asked, ids in (
            (self._brain.sessions.alive, {one.session_id for one in callers}),
            (self._brain.api_keys.alive, {one.key_id for one in callers}),
        ):
            wanted = sorted(ids - {""})
            for start in range(0, len(wanted), _AT_ONCE):
                good |= asked(wanted[start : start + _AT_ONCE])
        return good

    def _watch(self) -> None:
        import gevent

        while True:
            gevent.sleep(EVERY_S)
            try:
                self.look()
            except BrainError as exc:  # the database is away or busy: the next look is soon
                log.warning("connections_not_looked_at", code=exc.code)
