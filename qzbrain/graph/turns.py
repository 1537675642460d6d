"""How many calls extraction may have under way: people who ask come first.

Between processes of one host the only news is that somebody asks (`models.courtesy`); where web processes share their gates in Redis, also how busy
the model is. While nobody asks, one slot is left free for who comes. While somebody does, one call goes on where the model has slots enough, and
none where it has not: on a model with a single slot even the running call is given up, and made again later.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from qzbrain.models.courtesy import Courtesy
from qzbrain.models.registry import RegisteredModel
from qzbrain.storage.shared import SharedState

QUIET_S = 2.0
MOST_AT_ONCE = 4
_SLOTS_ENOUGH = 3
NOT_LATER_THAN_S = 600.0
"""Where questions never cease a call is made all the same, and not given up, after so long without one: the work ends some day."""


class Turns:
    """For one run of one job."""

    def __init__(self, model: RegisteredModel, courtesy: Courtesy, shared: SharedState, clock: Callable[[], float] = time.monotonic) -> None:
        self._model, self._courtesy, self._shared, self._clock = model, courtesy, shared, clock
        self._ended = clock()

    def ended(self) -> None:
        """A call came to its end."""
        self._ended = self._clock()

    def allowed(self) -> int:
        """Calls that may be under way now."""
        slots = self._model.settings.slots
        if not self._asked():
            return max(1, min(MOST_AT_ONCE, slots - 1))
        return 1 if slots >= _SLOTS_ENOUGH or self._is_late() else 0

    def gives_up(self) -> bool:
        """Whether what is under way is to be given up for somebody who asks."""
        return self._model.settings.slots == 1 and self._asked() and not self._is_late()

    def _asked(self) -> bool:
        return self._courtesy.quiet_s() < QUIET_S or self._shared.load(self._model.name).queued > 0

    def _is_late(self) -> bool:
        return self._clock() - self._ended > NOT_LATER_THAN_S
