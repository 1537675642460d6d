"""One turn from question to stored answer, as a stream of typed events. Interfaces only render them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from qzbrain import logs, metrics, tracing
from qzbrain.auth.access import LOCAL_USER, Access
from qzbrain.chat import store
from qzbrain.chat.conversations import Conversations
from qzbrain.chat.draft import Draft
from qzbrain.chat.elsewhere import Elsewhere
from qzbrain.chat.known import GraphKnowledge
from qzbrain.chat.ladder import Ladder
from qzbrain.chat.places import Places
from qzbrain.chat.plan import BARE, Ask, Plan, make_plan
from qzbrain.chat.rereading import Kept, Rereading
from qzbrain.chat.turns import Turn, Turns
from qzbrain.domain import Caller, Done, Failed, SourcesFound, StreamEvent, new_id
from qzbrain.errors import BrainError, Cancelled, RateLimited
from qzbrain.jobs.owner import new_owner
from qzbrain.models.registry import EXTRACTIVE, ModelRegistry, ModelState
from qzbrain.settings import Settings
from qzbrain.storage.database import Database, Submitted
from qzbrain.storage.shared import SharedState

if TYPE_CHECKING:
    from qzbrain.retrieval.hybrid import Retriever

__all__ = ["Ask", "ChatService", "Turn"]

log = logs.get(__name__)

MINUTE_S = 60.0


class ChatService:
    """Answers questions.

    `turns`: those on the way in this process; `elsewhere`: those in other processes; `conversations`: what was said before.
    """

    def __init__(
        self,
        db: Database,
        access: Access,
        retriever: Retriever,
        models: ModelRegistry,
        settings: Settings,
        shared: SharedState,
        graph: GraphKnowledge,
        asked: Callable[[], None] = lambda: None,
        ended: Callable[[Turn, Done | Failed], None] = lambda _turn, _last: None,
    ) -> None:
        """`asked` is told when a turn begins, and of each of its events: somebody waits for them. `ended` is told of its end."""
        self.turns = Turns()
        self.elsewhere = Elsewhere(shared, self.turns)
        self.rereading = Rereading(db, access)
        self.conversations = Conversations(db, access, models, self.rereading)
        self._db, self._access, self._models, self._shared = db, access, models, shared
        self._ladder = Ladder(db, access, retriever, models, settings, shared, graph)
        self._runner, self._asked, self._ended = new_owner(), asked, ended
        self._per_minute = settings.rate_limit_per_minute
        self._places = Places(shared, most=settings.answers_per_user)
        self._slow_s, self._log_content = settings.slow_answer_s, settings.log_content == "on"

    def begin(self, caller: Caller, ask: Ask, *, limited: bool = True) -> Turn:
        """Check the question and store it with a running answer row. `limited`: it counts for RATE_LIMIT_PER_MINUTE and ANSWERS_PER_USER.

        Returns when both are committed; for a one-off call (`origin` api, no conversation) the commit overlaps with the answer and is
        awaited before its end. Raises InvalidRequest, NotFound (model, knowledge base, conversation), RateLimited, StorageFull.
        """
        self._asked()
        try:
            turn = self._begun(caller, ask, limited=limited)
        except RateLimited as exc:
            metrics.REFUSALS.labels(exc.code).inc()
            raise
        self.turns.add(turn)
        return turn

    def _begun(self, caller: Caller, ask: Ask, *, limited: bool) -> Turn:
        message_id = new_id()
        make = self._continue if ask.conversation_id else self._open
        give_back = self._places.take(caller) if limited else _nothing
        try:
            turn = make(caller, ask, message_id, limited=limited)
            if ask.conversation_id or ask.origin != "api":
                _await(turn.pending)
        except BaseException:
            give_back()
            raise
        turn.place = give_back
        return turn

    def answer(self, turn: Turn) -> Iterator[StreamEvent]:
        """Run the turn: Queued*, SourcesFound?, Delta*, then exactly one Done or Failed. Each event is in the turn's log when it comes here.

        `turn.cancellation.cancel()` (from anywhere) or closing the iterator stops it; what came is stored as stopped.
        """
        draft = Draft(model=turn.plan.model, lang=turn.caller.lang, started=turn.started)
        publish, asked = turn.publish, self._asked
        last: Done | Failed | None = None
        span = tracing.span_of(turn.trace, "answer", request_id=logs.bound("request_id"), knowledge_bases=len(turn.plan.kbs))
        span.enter()
        try:
            for event in self._ladder.climb(turn, draft):
                publish(event)
                asked()
                yield event
            last = self._finish(turn, draft)
        except Cancelled:
            last = self._finish(turn, draft, stopped=True)
        except BrainError as exc:
            last = self._fail(turn, draft, exc)
        except Exception:
            log.exception("turn_failed", message_id=turn.message_id)
            last = self._fail(turn, draft, _internal())
        finally:
            if last is None:  # closed from outside: nobody listens here, others may
                turn.cancellation.cancel()
                last = self._finish(turn, draft, stopped=True)
            turn.place()
            self._tell(turn, draft, last, span)
            publish(last)
            self.turns.end(turn, keep=turn.plan.origin != "api")
            self.elsewhere.tell_ended(turn.message_id)
            self._ended(turn, last)
        yield last

    def replayable(self, caller: Caller, turn: Turn) -> bool:
        """Whether the caller may be shown a turn of his from its beginning: he may see all that it stands on still."""
        if caller.id == LOCAL_USER:
            return True
        found = next((event.citations for event in turn.events if isinstance(event, SourcesFound)), ())
        judged = self.rereading.judged(caller, [Kept("", turn.plan.heard, found)])[0]
        return not judged.withheld and not any(one.hidden for one in judged.citations)

    def stop(self, caller: Caller, message_id: str) -> bool:
        """Stop a running turn of this caller, wherever it runs; False when it does not run.

        Raises NotFound for a message that is not the caller's, Unavailable when the process that runs it cannot be told.
        """
        turn = self.turns.get(message_id)
        if turn is None or turn.caller.id != caller.id:
            return self.elsewhere.stop(self.conversations.message(caller, message_id, own=True))
        running = not turn.finished
        turn.cancellation.cancel()
        return running

    def stop_conversation(self, caller: Caller, conversation_id: str) -> int:
        """Stop all running turns of a conversation; returns how many. Raises NotFound, Unavailable."""
        self.conversations.own(caller, conversation_id)
        running = [turn for turn in self.turns.running() if turn.conversation_id == conversation_id]
        for turn in running:
            turn.cancellation.cancel()
        here = {turn.message_id for turn in running}
        return len(running) + self.elsewhere.stop_conversation(conversation_id, lambda: len(store.running(self._db, conversation_id) - here))

    def model_names(self, caller: Caller) -> list[str]:
        """What `model` may be: each name, NAME@none for language models, and NAME@KB for each readable knowledge base."""
        kbs = [kb.name for kb in self._access.resolve(caller)]
        names = self._models.names()
        return [*names, *(f"{x}@{BARE}" for x in names if x != EXTRACTIVE), *(f"{x}@{kb}" for x in names for kb in kbs)]

    def model_states(self) -> list[tuple[ModelState, int, int]]:
        """Each model of the configuration with how many answers it gives now and how many wait for it."""
        loads = ((state, self._shared.load(state.name)) for state in self._models.describe())
        return [(state, load.in_use, load.queued) for state, load in loads]

    def _plan(self, ask: Ask, caller: Caller, *, limited: bool, default_model: str = "", default_kbs: Sequence[str] = ()) -> Plan:
        """A checked question that the caller may ask now."""
        plan = make_plan(ask, caller, self._access, self._models, default_model=default_model, default_kbs=default_kbs)
        if limited and self._per_minute and (wait_s := self._shared.take(caller.id, limit=self._per_minute, window_s=MINUTE_S)):
            raise _too_many(self._per_minute, math.ceil(wait_s))
        return plan

    def _open(self, caller: Caller, ask: Ask, message_id: str, *, limited: bool) -> Turn:
        """A turn in a conversation of its own."""
        plan = self._plan(ask, caller, limited=limited)
        kb_ids = [kb.id for kb in plan.kbs] if ask.knowledge_bases or "@" in ask.model else []
        model = store.kept_model(ask.model, plan.model)
        row = store.new_conversation_row(owner=caller.id, title=store.title_of(plan.question), model=model, kb_ids=kb_ids, origin=ask.origin)
        pending = [store.add_conversation(self._db, row)]
        pending += store.add_messages(
            self._db, conversation_id=row["id"], message_id=message_id, question=plan.question, model=model, position=0, runner=self._runner
        )
        return Turn(message_id=message_id, conversation_id=row["id"], caller=caller, plan=plan, pending=pending)

    def _continue(self, caller: Caller, ask: Ask, message_id: str, *, limited: bool) -> Turn:
        """A turn in a conversation that exists: its messages are the history, its model and knowledge bases the defaults."""
        conversation = self.conversations.own(caller, ask.conversation_id or "")
        plan = self._plan(ask, caller, limited=limited, default_model=conversation.model, default_kbs=conversation.knowledge_bases)
        past = store.past(self._db, conversation.id, lambda kept: self.rereading.judged(caller, kept))
        plan.history, plan.earlier, plan.heard = past.messages, past.earlier, past.level
        pending = [store.touch_conversation(self._db, conversation.id, conversation.title or store.title_of(plan.question))]
        model = store.kept_model(ask.model, plan.model)
        pending += store.add_messages(
            self._db,
            conversation_id=conversation.id,
            message_id=message_id,
            question=plan.question,
            model=model,
            position=past.position,
            runner=self._runner,
        )
        return Turn(message_id=message_id, conversation_id=conversation.id, caller=caller, plan=plan, pending=pending)

    def _finish(self, turn: Turn, draft: Draft, *, stopped: bool = False) -> Done | Failed:
        """Store the answer and make the last event of it."""
        answer = draft.answer(message_id=turn.message_id, conversation_id=turn.conversation_id, stopped=stopped)
        began = time.perf_counter()
        try:
            end = store.finish_message(self._db, answer, status="stopped" if stopped else "complete")
            with tracing.span("store"):
                _await([end, *turn.pending])  # one transaction for all of a quick answer
        except BrainError as exc:
            return _failed(exc)
        draft.stored_s = time.perf_counter() - began
        return Done(answer)

    def _tell(self, turn: Turn, draft: Draft, last: Done | Failed, span: tracing.Span) -> None:
        """What the answer took its time for: to the metrics, the trace, and the log where it was slow."""
        for part, seconds in draft.parts.items():
            metrics.ANSWER_PART_SECONDS.labels(part).observe(seconds)
        metrics.ANSWER_PART_SECONDS.labels("store").observe(draft.stored_s)
        if isinstance(last, Failed) and (last.status == 429 or last.code == "queue_timeout"):
            metrics.REFUSALS.labels(last.code).inc()
        total_s = sum(draft.parts.values()) + draft.stored_s
        told: dict[str, str | float | bool] = {
            "model": draft.model, "rung": draft.rung, "citations": len(draft.citations), "prompt_tokens": draft.usage.prompt_tokens,
            "completion_tokens": draft.usage.completion_tokens, "stopped": isinstance(last, Done) and last.answer.stopped,
        }  # fmt: skip
        span.set(**told)
        span.content(question=turn.plan.question, answer=draft.text)
        span.leave()
        span.end(last.code if isinstance(last, Failed) else "")
        if 0 < self._slow_s < total_s:
            metrics.SLOW.labels("answer").inc()
            more: dict[str, object] = {"question": turn.plan.question} if self._log_content else {}
            log.warning(
                "slow_answer", message_id=turn.message_id, conversation_id=turn.conversation_id, took_ms=round(total_s * 1e3, 1), **told,
                error=last.code if isinstance(last, Failed) else "", question_chars=len(turn.plan.question), knowledge_bases=len(turn.plan.kbs),
                degraded=[one.part for one in draft.degraded], timings=draft.timings, store_ms=round(draft.stored_s * 1e3, 3), **more,
            )  # fmt: skip

    def _fail(self, turn: Turn, draft: Draft, exc: BrainError) -> Failed:
        answer = draft.answer(message_id=turn.message_id, conversation_id=turn.conversation_id)
        try:
            _await(turn.pending)
            store.finish_message(self._db, answer, status="failed", error={"code": exc.code, "zh": exc.zh, "en": exc.en}).wait()
        except BrainError as worse:
            log.warning("turn_not_stored", message_id=turn.message_id, code=worse.code)
        return _failed(exc)


def _nothing() -> None:
    """No place was taken."""


def _await(pending: Sequence[Submitted]) -> None:
    for one in pending:
        one.wait()


def _failed(exc: BrainError) -> Failed:
    return Failed(exc.code, exc.zh, exc.en, exc.status, exc.type, exc.retry_after_s)


def _too_many(limit: int, wait_s: int) -> RateLimited:
    return RateLimited(
        "rate_limit_exceeded",
        zh=f"每分钟最多提 {limit} 个问题（RATE_LIMIT_PER_MINUTE），已达上限。请在 {wait_s} 秒后重试。",
        en=f"At most {limit} questions a minute are answered (RATE_LIMIT_PER_MINUTE), and that many were asked. Try again in {wait_s} s.",
        retry_after_s=wait_s,
    )


def _internal() -> BrainError:
    return BrainError(
        zh="回答时发生内部错误，已记录在日志中。请重试；若再次发生，请把请求编号告诉管理员。",
        en="An internal error occurred while answering; it is in the log. Try again; if it happens again, tell the operator the request id.",
    )
