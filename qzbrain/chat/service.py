"""One turn from question to stored answer, as a stream of typed events. Interfaces only render them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from qzbrain import logs
from qzbrain.auth.access import Access
from qzbrain.chat import store
from qzbrain.chat.conversations import Conversations
from qzbrain.chat.draft import Draft
from qzbrain.chat.ladder import Ladder
from qzbrain.chat.plan import BARE, Ask, make_plan
from qzbrain.chat.turns import Turn, Turns
from qzbrain.domain import Caller, Done, Failed, StreamEvent, new_id
from qzbrain.errors import BrainError, Cancelled
from qzbrain.models.registry import EXTRACTIVE, ModelRegistry, ModelState
from qzbrain.settings import Settings
from qzbrain.storage.database import Database, Submitted

if TYPE_CHECKING:
    from qzbrain.retrieval.hybrid import Retriever

__all__ = ["Ask", "ChatService", "Turn"]

log = logs.get(__name__)


class ChatService:
    """Answers questions. `turns`: those on the way in this process; `conversations`: what was said before."""

    def __init__(self, db: Database, access: Access, retriever: Retriever, models: ModelRegistry, settings: Settings) -> None:
        self.turns = Turns()
        self.conversations = Conversations(db, access, models)
        self._db, self._access, self._models = db, access, models
        self._ladder = Ladder(db, access, retriever, models, settings)

    def begin(self, caller: Caller, ask: Ask) -> Turn:
        """Check the question and store it with a running answer row.

        Returns when both are committed; for a one-off call (`origin` api, no conversation) the commit overlaps with the answer and is
        awaited before its end. Raises InvalidRequest, NotFound (model, knowledge base, conversation), StorageFull.
        """
        message_id = new_id()
        turn = self._continue(caller, ask, message_id) if ask.conversation_id else self._open(caller, ask, message_id)
        if ask.conversation_id or ask.origin != "api":
            _await(turn.pending)
        self.turns.add(turn)
        return turn

    def answer(self, turn: Turn) -> Iterator[StreamEvent]:
        """Run the turn: Queued*, SourcesFound?, Delta*, then exactly one Done or Failed. Each event is in the turn's log when it comes here.

        `turn.cancellation.cancel()` (from anywhere) or closing the iterator stops it; what came is stored as stopped.
        """
        draft = Draft(model=turn.plan.model, lang=turn.caller.lang, started=turn.started)
        publish = turn.publish
        last: Done | Failed | None = None
        try:
            for event in self._ladder.climb(turn, draft):
                publish(event)
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
            publish(last)
            self.turns.end(turn, keep=turn.plan.origin != "api")
        yield last

    def stop(self, caller: Caller, message_id: str) -> bool:
        """Stop a running turn of this caller; False when it is not running here. Raises NotFound for a message that is not the caller's."""
        turn = self.turns.get(message_id)
        if turn is None or turn.caller.id != caller.id:
            self.conversations.message(caller, message_id)
            return False
        running = not turn.finished
        turn.cancellation.cancel()
        return running

    def stop_conversation(self, caller: Caller, conversation_id: str) -> int:
        """Stop all running turns of a conversation; returns how many. Raises NotFound."""
        self.conversations.get(caller, conversation_id)
        running = [turn for turn in self.turns.running() if turn.conversation_id == conversation_id]
        for turn in running:
            turn.cancellation.cancel()
        return len(running)

    def model_names(self, caller: Caller) -> list[str]:
        """What `model` may be: each name, NAME@none for language models, and NAME@KB for each readable knowledge base."""
        kbs = [kb.name for kb in self._access.resolve(caller)]
        names = self._models.names()
        return [*names, *(f"{x}@{BARE}" for x in names if x != EXTRACTIVE), *(f"{x}@{kb}" for x in names for kb in kbs)]

    def model_states(self) -> list[tuple[ModelState, int, int]]:
        """Each model of the configuration with how many answers it gives now and how many wait for it."""
        loads = ((state, self._ladder.admission.load(state.name)) for state in self._models.describe())
        return [(state, load.in_use, load.queued) for state, load in loads]

    def _open(self, caller: Caller, ask: Ask, message_id: str) -> Turn:
        """A turn in a conversation of its own."""
        plan = make_plan(ask, caller, self._access, self._models)
        kb_ids = [kb.id for kb in plan.kbs] if ask.knowledge_bases or "@" in ask.model else []
        model = store.kept_model(ask.model, plan.model)
        row = store.new_conversation_row(owner=caller.id, title=store.title_of(plan.question), model=model, kb_ids=kb_ids, origin=ask.origin)
        pending = [store.add_conversation(self._db, row)]
        pending += store.add_messages(self._db, conversation_id=row["id"], message_id=message_id, question=plan.question, model=model, position=0)
        return Turn(message_id=message_id, conversation_id=row["id"], caller=caller, plan=plan, pending=pending)

    def _continue(self, caller: Caller, ask: Ask, message_id: str) -> Turn:
        """A turn in a conversation that exists: its messages are the history, its model and knowledge bases the defaults."""
        conversation = self.conversations.get(caller, ask.conversation_id or "")
        plan = make_plan(ask, caller, self._access, self._models, default_model=conversation.model, default_kbs=conversation.knowledge_bases)
        past = store.past(self._db, conversation.id)
        plan.history, plan.earlier = past.messages, past.earlier
        pending = [store.touch_conversation(self._db, conversation.id, conversation.title or store.title_of(plan.question))]
        model = store.kept_model(ask.model, plan.model)
        pending += store.add_messages(
            self._db, conversation_id=conversation.id, message_id=message_id, question=plan.question, model=model, position=past.position
        )
        return Turn(message_id=message_id, conversation_id=conversation.id, caller=caller, plan=plan, pending=pending)

    def _finish(self, turn: Turn, draft: Draft, *, stopped: bool = False) -> Done | Failed:
        """Store the answer and make the last event of it."""
        answer = draft.answer(message_id=turn.message_id, conversation_id=turn.conversation_id, stopped=stopped)
        try:
            end = store.finish_message(self._db, answer, status="stopped" if stopped else "complete")
            _await([end, *turn.pending])  # one transaction for all of a quick answer
        except BrainError as exc:
            return _failed(exc)
        return Done(answer)

    def _fail(self, turn: Turn, draft: Draft, exc: BrainError) -> Failed:
        answer = draft.answer(message_id=turn.message_id, conversation_id=turn.conversation_id)
        try:
            _await(turn.pending)
            store.finish_message(self._db, answer, status="failed", error={"code": exc.code, "zh": exc.zh, "en": exc.en}).wait()
        except BrainError as worse:
            log.warning("turn_not_stored", message_id=turn.message_id, code=worse.code)
        return _failed(exc)


def _await(pending: Sequence[Submitted]) -> None:
    for one in pending:
        one.wait()


def _failed(exc: BrainError) -> Failed:
    return Failed(exc.code, exc.zh, exc.en, exc.status, exc.type, exc.retry_after_s)


def _internal() -> BrainError:
    return BrainError(
        zh="回答时发生内部错误，已记录在日志中。请重试；若再次发生，请把请求编号告诉管理员。",
        en="An internal error occurred while answering; it is in the log. Try again; if it happens again, tell the operator the request id.",
    )
