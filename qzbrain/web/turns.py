"""What every interface does with a running turn: count it, take its end, name its events."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from qzbrain import metrics
from qzbrain.chat.turns import Turn
from qzbrain.domain import Answer, Delta, Done, Failed, Queued, SourcesFound, StreamEvent
from qzbrain.errors import Cancelled, Lang
from qzbrain.web import render
from qzbrain.web.pace import pace
from qzbrain.web.responses import failed_error


def counted(events: Iterable[StreamEvent], transport: str) -> Iterator[StreamEvent]:
    """The events, counted as they pass; deltas in one sum at the end, because there are thousands a second."""
    begun, deltas = time.perf_counter(), 0
    pace.enter()
    try:
        for event in events:
            if type(event) is Delta:
                deltas += 1
            elif isinstance(event, Done):
                _count_answer(event.answer, time.perf_counter() - begun)
            elif isinstance(event, Failed):
                metrics.ANSWER_FAILURES.labels(event.code).inc()
            yield event
    finally:
        pace.leave()
        metrics.STREAM_DELTAS.labels(transport).inc(deltas)


def finished(events: Iterable[StreamEvent]) -> Answer:
    """Run a turn to its end and give the answer. Raises the error with which it failed."""
    last: StreamEvent | None = None
    for event in counted(events, "plain"):
        last = event
    if isinstance(last, Done):
        return last.answer
    raise failed_error(last) if isinstance(last, Failed) else Cancelled()


def event_payload(turn: Turn, event: StreamEvent, lang: Lang) -> tuple[str, dict[str, Any]]:
    """An event's name without prefix, and its payload: the same for Socket.IO and for a conversation's server-sent events."""
    if isinstance(event, Delta):
        return "delta", {"message_id": turn.message_id, "seq": event.seq, "text": event.text}
    if isinstance(event, Queued):
        return "queued", {"message_id": turn.message_id, "position": event.position, "eta_s": event.eta_s}
    if isinstance(event, SourcesFound):
        return "sources", {"message_id": turn.message_id, "citations": [render.citation(one) for one in event.citations]}
    if isinstance(event, Done):
        return "done", render.answer(event.answer)
    return "error", {"message_id": turn.message_id, "code": event.code, "message": event.zh if lang == "zh" else event.en}


def _count_answer(answer: Answer, seconds: float) -> None:
    metrics.ANSWERS.labels(answer.rung, str(answer.stopped).lower()).inc()
    metrics.ANSWER_SECONDS.labels(answer.rung).observe(seconds)
    metrics.COMPLETION_TOKENS.inc(answer.usage.completion_tokens)
