"""An answer while it is being given: its text so far, and what is known about it. Becomes the answer object at the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Literal

from qzbrain.domain import Answer, Citation, Degraded, Delta, Rung, Usage
from qzbrain.errors import Lang

Part = Literal["search", "graph", "evidence", "queue", "engine", "streaming", "check", "compose", "other"]
"""What an answer takes its time for: searching; asking the graph; fetching passages and writing the prompt; waiting for a slot of the model; the engine until
its first text; its text; checking the citations; an answer without a model; all else."""


class Draft:
    """One per turn; used by the greenlet that runs the turn alone. At each moment one part of the work is under way: see `to`."""

    __slots__ = (
        "_at",
        "_clock",
        "_part",
        "_parts",
        "_started",
        "_stated",
        "citations",
        "confidence",
        "degraded",
        "finish_reason",
        "heard",
        "lang",
        "model",
        "parts",
        "reason",
        "rung",
        "stored_s",
        "timings",
        "unsupported",
        "usage",
    )  # fmt: skip

    def __init__(self, *, model: str, lang: Lang, started: float, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock, self._started = clock, started
        self._part: Part = "other"
        self._at = started
        self.parts: dict[Part, float] = {}
        """Seconds by part, of those that are over."""
        self.stored_s = 0.0
        """What it took to store the answer; not in `timings`, which are stored with it."""
        self._parts: list[str] = []
        self._stated: tuple[dict[Lang, str], dict[str, object]] | None = None
        self.lang = lang
        self.model = model
        self.rung: Rung = "refused"
        self.reason = ""
        self.confidence: float | None = None
        self.citations: tuple[Citation, ...] = ()
        self.degraded: tuple[Degraded, ...] = ()
        self.unsupported: tuple[tuple[int, int], ...] = ()
        self.usage = Usage()
        self.timings: dict[str, float] = {}
        self.finish_reason = "stop"
        self.heard = 0

    def delta(self, text: str) -> Delta:
        """Append `text`, which is not empty, to the answer."""
        parts = self._parts
        if not parts:
            self.timings["first_token_ms"] = self._elapsed_ms()
        if self._part == "engine":
            self.to("streaming")
        parts.append(text)
        return Delta(len(parts) - 1, text)

    def to(self, part: Part) -> None:
        """Another part of the work begins now, and the one before has ended."""
        now = self._clock()
        self.parts[self._part] = self.parts.get(self._part, 0.0) + now - self._at
        self._part, self._at = part, now

    def searched(self, stages: Mapping[str, float]) -> None:
        """What the search took its time for, milliseconds; some of it went on side by side."""
        for name, ms in stages.items():
            self.timings[f"search_{name}_ms"] = round(ms, 3)

    def stands_on(self, rung: Rung, wording: dict[Lang, str], **values: object) -> None:
        """Say which rung gives the answer, and why, in the reader's language."""
        self.rung = rung
        self._stated = (wording, values)
        self.reason = wording[self.lang].format(**values)

    def given_by(self, model: str) -> None:
        """Another model answers than the one that was named so far."""
        self.model = model
        if self._stated is not None and "model" in self._stated[1]:
            self.stands_on(self.rung, self._stated[0], **{**self._stated[1], "model": model})

    @property
    def begun(self) -> bool:
        """Whether there is any text."""
        return bool(self._parts)

    @property
    def text(self) -> str:
        """All deltas joined."""
        return "".join(self._parts)

    def answer(self, *, message_id: str, conversation_id: str, stopped: bool = False) -> Answer:
        """The answer object as it stands now."""
        self.to("other")
        self.timings |= {f"{part}_ms": round(seconds * 1e3, 3) for part, seconds in self.parts.items()}
        self.timings["total_ms"] = round((self._at - self._started) * 1e3, 3)
        return Answer(
            message_id=message_id,
            conversation_id=conversation_id,
            model=self.model,
            answer=self.text,
            rung=self.rung,
            rung_reason=self.reason,
            confidence=self.confidence,
            citations=self.citations,
            degraded=self.degraded,
            usage=self.usage,
            timings=self.timings,
            stopped=stopped,
            finish_reason=self.finish_reason,
            unsupported=self.unsupported,
            level=max(self.heard, *(one.level for one in self.citations), 0),
        )

    def _elapsed_ms(self) -> float:
        return round((self._clock() - self._started) * 1e3, 3)
