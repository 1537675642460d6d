"""Asking a language model about one group of passages: schema-constrained where the engine can, with bounded retries, behind the model's gate.

An engine that refuses `response_format` is asked without it from then on. A reply that is cut off at its longest is asked for in halves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qzbrain.domain import Usage
from qzbrain.errors import BrainError, Cancelled, EngineUnavailable, RateLimited
from qzbrain.graph.extraction import Said, read
from qzbrain.graph.grouping import INSTRUCTIONS, RESPONSE_FORMAT, Group, Passage, messages, question, tokens
from qzbrain.models.base import Cancellation, Generation
from qzbrain.models.registry import RegisteredModel
from qzbrain.storage.shared import SharedState

USER = "graph-extraction"
MOST_TRIES = 3
MOST_CALLS = 5
"""Tries where the engine itself was away: with their pauses some 15 s, in which an engine comes back that was started anew."""
MOST_ANSWER_TOKENS = 2048
LEAST_ANSWER_TOKENS = 256
MOST_PAUSE_S = 10.0
HUNG_S = 20.0
"""An engine that took longer than this to fail is not tried again for the same passages: each try may hold everything up for minutes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said of a group."""

    said: Said
    prompt_tokens: int
    completion_tokens: int
    took_s: float


class NotExtracted(Exception):
    """A group got no usable reply. `away`: the engine itself is to blame, so that the next group will hardly fare better."""

    def __init__(self, cause: BrainError, *, away: bool) -> None:
        super().__init__(cause.en)
        self.cause, self.away = cause, away


class Asker:
    """One model. Thread-safe."""

    def __init__(self, model: RegisteredModel, shared: SharedState) -> None:
        self._model, self._shared = model, shared
        self._structured = True

    def ask(self, group: Group, cancellation: Cancellation) -> Answer:
        """Raises NotExtracted, Cancelled."""
        return self._ask(group, list(enumerate(group.passages, 1)), cancellation)

    def _ask(self, group: Group, numbered: Sequence[tuple[int, Passage]], cancellation: Cancellation) -> Answer:
        asked = question(group.title, numbered)
        tries = 0
        while True:
            began = time.monotonic()
            try:
                text, reason, usage = self._generate(asked, tries, cancellation)
            except EngineUnavailable as exc:
                tries += 1
                if not self._again(exc, tries, time.monotonic() - began, cancellation):
                    raise NotExtracted(exc, away=not exc.request_refused) from exc
                continue
            took_s = time.monotonic() - began
            said = read(text)
            if said is not None and (said.whole or reason == "length"):
                answer = Answer(said, usage.prompt_tokens or tokens(INSTRUCTIONS + asked), usage.completion_tokens or tokens(text), took_s)
                return answer if said.whole or len(numbered) == 1 else self._in_halves(group, numbered, answer, cancellation)
            if said is None and reason == "length" and len(numbered) > 1:
                return self._in_halves(group, numbered, Answer(Said(), usage.prompt_tokens, usage.completion_tokens, took_s), cancellation)
            tries += 1
            if tries >= MOST_TRIES:
                raise NotExtracted(_nonsense(self._model.name, text), away=False)

    def _in_halves(self, group: Group, numbered: Sequence[tuple[int, Passage]], first: Answer, cancellation: Cancellation) -> Answer:
        middle = len(numbered) // 2
        parts = [self._ask(group, some, cancellation) for some in (numbered[:middle], numbered[middle:])]
        return Answer(
            Said(tuple(x for one in parts for x in one.said.entities), tuple(x for one in parts for x in one.said.triples)),
            first.prompt_tokens + sum(one.prompt_tokens for one in parts),
            first.completion_tokens + sum(one.completion_tokens for one in parts),
            first.took_s + sum(one.took_s for one in parts),
        )

    def _again(self, exc: EngineUnavailable, tries: int, took_s: float, cancellation: Cancellation) -> bool:
        """Whether to try once more; waits first."""
        if exc.request_refused or tries >= MOST_CALLS or took_s > HUNG_S:
            return False
        pause_s = min(MOST_PAUSE_S, float(exc.retry_after_s or 1) if exc.engine_full else 2.0 ** (tries - 1))
        stopped = threading.Event()
        cancellation.on_cancel(stopped.set)
        if stopped.wait(pause_s):
            raise Cancelled
        return True

    def _generate(self, asked: str, tries: int, cancellation: Cancellation) -> tuple[str, str, Usage]:
        """Text, finish_reason, usage. Without a schema where the engine refuses one."""
        structured = self._structured
        try:
            return self._behind_gate(asked, tries, cancellation, structured=structured)
        except EngineUnavailable as exc:
            if not (exc.request_refused and structured):
                raise
        found = self._behind_gate(asked, tries, cancellation, structured=False)
        self._structured = False
        return found

    def _behind_gate(self, asked: str, tries: int, cancellation: Cancellation, *, structured: bool) -> tuple[str, str, Usage]:
        settings = self._model.settings
        try:
            ticket = self._shared.gate(self._model.name, slots=settings.slots, queue=settings.queue).enter(USER)
        except RateLimited as exc:
            raise _full(self._model.name, exc) from exc
        try:
            for _ in ticket.wait(cancellation, settings.queue_timeout_s + self._model.starting_s()[0]):
                pass
            text, reason, usage = [], "", Usage()
            for piece in self._model.generate(Generation(messages(asked), self._options(asked, tries, structured=structured)), cancellation):
                text.append(piece.text)
                reason, usage = piece.finish_reason or reason, piece.usage or usage
        finally:
            ticket.release()
        return "".join(text), reason, usage

    def _options(self, asked: str, tries: int, *, structured: bool) -> dict[str, Any]:
        room = self._model.settings.context - tokens(INSTRUCTIONS) - tokens(asked) - 64
        options: dict[str, Any] = {"temperature": 0.0 if not tries else 0.3, "max_tokens": max(LEAST_ANSWER_TOKENS, min(MOST_ANSWER_TOKENS, room))}
        return {**options, "response_format": RESPONSE_FORMAT} if structured else options


def _nonsense(name: str, text: str) -> EngineUnavailable:
    shown = " ".join(text.split())[:120]
    return EngineUnavailable(
        "not_extracted",
        zh=f"语言模型 {name} 没有给出可用的 JSON（{shown or '空回复'}）。请换用更强的模型，或使用支持 response_format 的引擎后重试。",
        en=f"The language model {name} gave no usable JSON ({shown or 'an empty reply'}). Retry with a stronger model, or with an engine "
        "that takes response_format.",
    )


def _full(name: str, exc: RateLimited) -> EngineUnavailable:
    error = EngineUnavailable(zh=exc.zh, en=exc.en, retry_after_s=exc.retry_after_s)
    error.engine_full = True
    return error
