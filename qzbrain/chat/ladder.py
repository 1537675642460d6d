"""The rungs of an answer: a curated entry that is just what was asked → language model → what the knowledge graph says → extractive → passages, or an
honest refusal.

Yields events; fills the draft.

A rung that fails before it said anything gives way to the next one without a trace in the text; one that breaks off leaves what it
said, followed by a visible note and the next rung's answer.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from qzbrain import metrics, tracing
from qzbrain.auth.access import Access
from qzbrain.chat import prompts, wording
from qzbrain.chat.citations import MarkFilter, check
from qzbrain.chat.citations import marks as marks_of
from qzbrain.chat.context import Passage, passages, to_citations, whole_answer
from qzbrain.chat.draft import Draft
from qzbrain.chat.extracts import extracts, readable
from qzbrain.chat.graph_reply import reply as graph_reply
from qzbrain.chat.known import GraphKnowledge, Known
from qzbrain.chat.query import full_question
from qzbrain.chat.rereading import Rereading
from qzbrain.chat.turns import Turn
from qzbrain.domain import Citation, Degraded, Delta, Hit, Queued, ReadScope, SearchResult, SourcesFound, StreamEvent, Usage
from qzbrain.errors import Cancelled, EngineUnavailable
from qzbrain.models.base import Cancellation, ChatMessage, Generation, Piece
from qzbrain.models.registry import AUTO, EXTRACTIVE, ModelRegistry, RegisteredModel
from qzbrain.retrieval.shelves import FACTS
from qzbrain.settings import Settings
from qzbrain.storage.database import Database
from qzbrain.storage.shared import SharedState

if TYPE_CHECKING:
    from qzbrain.retrieval.entry_hits import EntryInForce
    from qzbrain.retrieval.hybrid import Retriever

HITS = 10
EXTRACTIVE_PASSAGES = 5
MODEL_PASSAGES = 12
SHOWN_PASSAGES = 3
HISTORY_CHARS = 2000
ANSWER_TOKENS = 1024
"""Room left for the answer in a model's context when the caller names no max_tokens."""
MOST_MODELS = 4
"""A swap that is undone sends a question to the new model and back."""
MOST_PAUSE_S = 1.0
"""Longest pause before a full engine is asked again: someone waits, and the extractive answer is there at once."""


class Ladder:
    """Answers one turn after another; keeps nothing of them."""

    def __init__(
        self, db: Database, access: Access, retriever: Retriever, models: ModelRegistry, settings: Settings, shared: SharedState, graph: GraphKnowledge
    ) -> None:
        self._graph = graph
        self._db, self._access, self._retriever, self._models, self._settings = db, access, retriever, models, settings
        self._shared = shared
        self._rereading = Rereading(db, access)

    def climb(self, turn: Turn, draft: Draft) -> Iterator[StreamEvent]:
        """All events but the last one. Raises Cancelled, RateLimited, and EngineUnavailable for the bare model."""
        plan = turn.plan
        model = self._model(plan.model)
        if model is not None:
            draft.model = model.name
        if plan.bare:
            yield from self._bare(turn, draft, model)
        elif (reply := wording.courtesy(plan.question)) is not None:
            yield from self._courtesy(turn, draft, model, reply)
        else:
            yield from self._from_knowledge(turn, draft, model)

    def _model(self, name: str) -> RegisteredModel | None:
        if name == EXTRACTIVE:
            return None
        return self._models.first_healthy() if name == AUTO else self._models.chat_model(name)

    def _bare(self, turn: Turn, draft: Draft, model: RegisteredModel | None) -> Iterator[StreamEvent]:
        if model is None:
            raise EngineUnavailable(zh=wording.NO_MODEL["zh"], en=wording.NO_MODEL["en"], retry_after_s=10)
        draft.stands_on("model", wording.BARE_MODEL, model=model.name)
        messages = [*turn.plan.history, ChatMessage("user", turn.plan.question)]
        yield from self._generate(turn, draft, model, messages)

    def _courtesy(self, turn: Turn, draft: Draft, model: RegisteredModel | None, reply: wording.Wording) -> Iterator[StreamEvent]:
        lang = prompts.language_of(turn.plan.question)
        if model is not None:
            draft.stands_on("model", wording.COURTESY_REASON)
            try:
                yield from self._generate(turn, draft, model, prompts.courtesy(turn.plan.question, _recent(turn.plan.history)))
            except EngineUnavailable as exc:
                if draft.begun:
                    raise
                draft.degraded = (*draft.degraded, _degraded(model.name, exc))
            if draft.begun:
                return
        draft.stands_on("extractive", wording.COURTESY_REASON)
        yield draft.delta(reply[lang])

    def _from_knowledge(self, turn: Turn, draft: Draft, model: RegisteredModel | None) -> Iterator[StreamEvent]:
        question = full_question(turn.plan.question, turn.plan.earlier)
        scope = self._access.scope(turn.caller, [kb.id for kb in turn.plan.kbs])
        result = self._search(scope, draft, question)
        if turn.cancellation.cancelled:
            raise Cancelled
        if (entry := self._entry(result)) is not None:
            yield from self._by_entry(draft, result, entry)
            return
        known = self._known(turn, scope, draft, result)
        if turn.cancellation.cancelled:
            raise Cancelled
        if not result.answerable and not known:
            yield from self._without_evidence(turn, draft, model, result)
            return
        found = self._sources(turn, draft, model, result, known)
        yield SourcesFound(draft.citations)
        why = wording.EXTRACTIVE_CHOSEN[draft.lang] if turn.plan.model == EXTRACTIVE else wording.EXTRACTIVE_DEFAULT[draft.lang]
        if model is not None:
            failure = yield from self._by_model(turn, draft, model)
            if failure is None:
                return
            why = wording.EXTRACTIVE_INSTEAD[draft.lang].format(why=failure)
        draft.to("compose")
        if known and not (draft.begun and found):
            yield from _by_graph(turn.plan.question, known, draft)
        else:
            yield from _in_own_words(question, found, draft, why)

    def _known(self, turn: Turn, scope: ReadScope, draft: Draft, result: SearchResult) -> Known:
        """What the graph answers. A question that names an article by its number asks for its text, which is found for certain."""
        if any("reference" in hit.sources for hit in result.hits):
            return Known()
        draft.to("graph")
        plan = turn.plan
        names = {kb.id: kb.name for kb in plan.kbs}
        with tracing.span("graph", knowledge_bases=len(names)) as span:
            known = self._graph.look(plan.question, [one.question for one in plan.earlier], scope, names, result.vector, alone=not result.answerable)
            span.set(facts=len(known.sources.citations))
        draft.to("other")
        draft.degraded = tuple(dict.fromkeys((*draft.degraded, *known.degraded)))
        return known

    def _sources(self, turn: Turn, draft: Draft, model: RegisteredModel | None, result: SearchResult, known: Known) -> list[Passage]:
        """The draft's citations: what the graph says, then the passages found, which are given back."""
        draft.to("evidence")
        facts = known.sources.citations
        budget = self._settings.context_chars if model is None else self._room(turn, model)
        budget = max(1, budget - sum(len(one.quote) for one in _within(facts, budget // 2)))
        most = EXTRACTIVE_PASSAGES if model is None else MODEL_PASSAGES
        hits = [hit for hit in result.hits if not (hit.kind == FACTS and any(_holds(hit, one) for one in facts))]
        found = passages(self._db, hits, limit_chars=budget, most=most, parent_chars=self._settings.parent_chars)
        draft.citations = (*self._rereading.levelled(facts, known.answered.kb_id), *to_citations(found, first=len(facts) + 1))
        draft.to("other")
        return found

    def _search(self, scope: ReadScope, draft: Draft, question: str) -> SearchResult:
        from qzbrain.retrieval.hybrid import SearchQuery

        draft.to("search")
        result = self._retriever.search(SearchQuery(text=question, top_k=HITS), scope)
        draft.to("other")
        draft.searched(result.stages)
        draft.confidence = result.confidence
        draft.degraded = result.degraded
        return result

    def _entry(self, result: SearchResult) -> EntryInForce | None:
        """The curated entry that answers by itself, if there is one: that which matches best, where two match alike the one found first."""
        sure = [hit for hit in result.hits if "entry" in hit.sources and hit.sources["entry"].score >= self._settings.entry_direct_confidence]
        if not sure:
            return None
        best = max(sure, key=lambda hit: hit.sources["entry"].score).document_id
        return self._retriever.entries.in_force([best]).get(best)

    def _by_entry(self, draft: Draft, result: SearchResult, entry: EntryInForce) -> Iterator[StreamEvent]:
        """The entry's answer as it stands, cited; what else was found stands below as sources."""
        draft.to("compose")
        hit = next(one for one in result.hits if one.document_id == entry.document_id)
        others = [one for one in result.hits if one.document_id != entry.document_id]
        found = [whole_answer(self._db, hit, entry.answer), *passages(self._db, others, limit_chars=self._settings.context_chars, most=EXTRACTIVE_PASSAGES)]
        draft.citations = tuple(replace(x, cited=x.index == 1, supported=True if x.index == 1 else None) for x in to_citations(found))
        draft.confidence = max(draft.confidence or 0.0, hit.sources["entry"].score)
        draft.stands_on("entry", wording.BY_ENTRY, sure=hit.sources["entry"].score)
        yield SourcesFound(draft.citations)
        yield draft.delta(f"{entry.answer}{_gap(entry.answer)}[1]")

    def _by_model(self, turn: Turn, draft: Draft, model: RegisteredModel) -> Generator[StreamEvent, None, str | None]:
        """Its return value says why the model did not answer, None when it did."""
        draft.to("evidence")
        draft.stands_on("model", wording.BY_MODEL, model=model.name)
        facts = _within([one for one in draft.citations if one.facts], self._room(turn, model) // 2)
        evidence = [*facts, *(one for one in draft.citations if not one.facts)]
        messages = prompts.from_passages(turn.plan.question, evidence, _recent(turn.plan.history))
        try:
            yield from self._generate(turn, draft, model, messages, marks=MarkFilter(len(draft.citations)))
        except EngineUnavailable as exc:
            draft.degraded = (*draft.degraded, _degraded(model.name, exc))
            if draft.begun:
                yield draft.delta(wording.BROKEN_OFF[draft.lang])
            return exc.message(draft.lang)
        draft.to("check")
        if not draft.text.strip():
            return wording.EMPTY_ANSWER[draft.lang].format(model=model.name)
        checked = check(draft.text, draft.citations, question=turn.plan.question)
        draft.citations, draft.unsupported = checked.citations, checked.unsupported
        return None

    def _without_evidence(self, turn: Turn, draft: Draft, model: RegisteredModel | None, result: SearchResult) -> Iterator[StreamEvent]:
        plan = turn.plan
        if result.incomplete:
            draft.stands_on("refused", wording.SEARCH_AWAY_REASON)
            yield draft.delta(wording.SEARCH_AWAY[prompts.language_of(plan.question)])
            return
        reason = wording.REFUSED_REASON if result.hits else wording.REFUSED_EMPTY
        draft.stands_on("refused", reason, confidence=result.confidence, threshold=self._settings.answer_threshold)
        if model is not None and plan.kbs and all(kb.without_evidence == "model" for kb in plan.kbs):
            try:
                yield from self._own_knowledge(turn, draft, model)
            except EngineUnavailable as exc:
                if draft.begun:
                    raise
                draft.degraded = (*draft.degraded, _degraded(model.name, exc))
                draft.stands_on("refused", wording.REFUSED_NO_MODEL, why=exc.message(draft.lang))
        if not draft.begun:
            yield draft.delta(wording.REFUSED[prompts.language_of(plan.question)])

    def _own_knowledge(self, turn: Turn, draft: Draft, model: RegisteredModel) -> Iterator[StreamEvent]:
        label = wording.OWN_KNOWLEDGE_LABEL[prompts.language_of(turn.plan.question)]
        for event in self._generate(turn, draft, model, prompts.from_own_knowledge(turn.plan.question, _recent(turn.plan.history)), prefix=label):
            if isinstance(event, Delta) and event.seq == 0:
                draft.stands_on("model", wording.OWN_KNOWLEDGE, model=model.name)
            yield event

    def _generate(
        self, turn: Turn, draft: Draft, model: RegisteredModel, messages: Sequence[ChatMessage], *, marks: MarkFilter | None = None, prefix: str = ""
    ) -> Iterator[Queued | Delta]:
        """The model's text as deltas. One that went away before it said anything gives way to the model that answers in its place now, if there is one."""
        draft.heard = turn.plan.heard
        for _ in range(MOST_MODELS):
            try:
                yield from self._from_model(turn, draft, model, messages, marks=marks, prefix=prefix)
                return
            except EngineUnavailable as exc:
                other = None if draft.begun or exc.sent_chars or exc.request_refused else self._model(turn.plan.model)
                if other is None or other is model:
                    raise
                draft.degraded = (*draft.degraded, _degraded(model.name, exc))
                model = other
                draft.given_by(model.name)
        raise EngineUnavailable(zh=wording.NO_MODEL["zh"], en=wording.NO_MODEL["en"], retry_after_s=10)

    def _from_model(
        self, turn: Turn, draft: Draft, model: RegisteredModel, messages: Sequence[ChatMessage], *, marks: MarkFilter | None, prefix: str
    ) -> Iterator[Queued | Delta]:
        """One model's text, behind its gate; the slot is given back however this ends. While its engine starts, waiting for a slot may take longer."""
        plan, settings = turn.plan, model.settings
        gate = self._shared.gate(model.name, slots=settings.slots, queue=settings.queue)
        draft.to("queue")
        ticket = gate.enter(f"{turn.caller.id}/{plan.options.get('user', '')}")
        try:
            longest_s, expected_s = model.starting_s()
            with metrics.QUEUE_WAIT_SECONDS.labels(model.name).time():
                yield from ticket.wait(turn.cancellation, settings.queue_timeout_s + longest_s)
            draft.to("engine")
            if longest_s:
                yield Queued(1, expected_s)
            for piece in self._pieces(model, Generation(messages, plan.options), turn.cancellation):
                if isinstance(piece, Queued):
                    yield piece
                    continue
                text = piece.text
                if text:
                    if marks is not None:
                        text = marks.push(text)
                    if prefix:
                        text, prefix = prefix + text, ""
                    if text:
                        yield draft.delta(text)
                if piece.finish_reason is not None:
                    draft.finish_reason = piece.finish_reason
                    draft.usage = piece.usage or Usage()
            if marks is not None and (rest := marks.finish()):
                yield draft.delta(rest)
        finally:
            draft.to("other")
            ticket.release()

    @staticmethod
    def _pieces(model: RegisteredModel, generation: Generation, cancellation: Cancellation) -> Iterator[Piece | Queued]:
        """What the model says. An engine that is full is asked a second time after the pause it named.

        The slot is kept meanwhile, which is the front of the queue: nobody else can ask a full engine with it, and nobody is overtaken.
        """
        try:
            yield from model.generate(generation, cancellation)
            return
        except EngineUnavailable as exc:
            if not exc.engine_full:
                raise
            pause_s = min(exc.retry_after_s or MOST_PAUSE_S, MOST_PAUSE_S)
        yield Queued(1, pause_s)
        stopped = threading.Event()
        cancellation.on_cancel(stopped.set)
        if stopped.wait(pause_s):
            raise Cancelled
        try:
            yield from model.generate(generation, cancellation)
        except EngineUnavailable as exc:
            if exc.engine_full:
                model.report(exc)
            raise

    def _room(self, turn: Turn, model: RegisteredModel) -> int:
        """Characters of passages that fit the model: a Chinese character is about one token, and the prompt around them is short."""
        answer_tokens = turn.plan.options.get("max_tokens") or ANSWER_TOKENS
        taken = ANSWER_TOKENS // 2 + len(turn.plan.question) + sum(len(x.content) for x in _recent(turn.plan.history))
        return max(500, min(self._settings.context_chars, model.settings.context - int(answer_tokens) - taken))


def _gap(markdown: str) -> str:
    """What stands before a mark at the end: a table's last row, a closing fence, code and a rule would swallow it or be broken by it."""
    last = markdown.rsplit("\n", 1)[-1]
    return "\n\n" if "|" in last or last.startswith(("    ", "\t")) or last.strip()[:3] in ("```", "~~~", "---", "***", "___", "===") else ""


def _by_graph(question: str, known: Known, draft: Draft) -> Iterator[StreamEvent]:
    """The graph's answer in a sentence; what was found in texts stands below as sources."""
    answered, sources = known.answered, known.sources
    said = sum(1 for one in sources.citations if one.document_id)
    draft.stands_on("graph", wording.BY_GRAPH, sure=answered.confidence, facts=len(answered.steps) + answered.left_out, places=said)
    draft.confidence = answered.confidence
    text = graph_reply(answered, sources.numbers, question, prompts.language_of(question))
    cited = {mark.index for mark in marks_of(text, len(sources.citations))}
    draft.citations = tuple(replace(x, cited=True, supported=True) if x.index in cited else x for x in draft.citations)
    yield draft.delta(text)


def _in_own_words(question: str, found: Sequence[Passage], draft: Draft, why: str) -> Iterator[Delta]:
    """The documents' own sentences, each with its mark; whole passages when no sentence fits."""
    shown = extracts(question, found)
    first = len(draft.citations) - len(found) + 1  # the graph's facts come before
    draft.rung, draft.reason = "extractive", why
    if not shown:
        draft.rung, draft.reason = "passages", f"{why}{wording.PASSAGES[draft.lang]}"
    used = {one.passage for one in shown} if shown else set(range(min(SHOWN_PASSAGES, len(found))))
    draft.citations = tuple(replace(x, cited=True, supported=True) if x.index - first in used else x for x in draft.citations)
    parts = [(x.passage, found[x.passage].text[x.start : x.end]) for x in shown] or [(i, found[i].text) for i in sorted(used)]
    before = -1
    for passage, text in parts:
        gap = "" if before < 0 else "\n" if passage == before else "\n\n"
        before = passage
        yield draft.delta(f"{gap}{readable(text)}[{passage + first}]")


def _within(facts: Sequence[Citation], chars: int) -> list[Citation]:
    """The first of them whose quotes have so many characters together."""
    shown: list[Citation] = []
    for one in facts:
        chars -= len(one.quote)
        if chars < 0:
            break
        shown.append(one)
    return shown


def _holds(hit: Hit, citation: Citation) -> bool:
    """Whether the passage has all that the citation quotes."""
    return hit.document_id == citation.document_id and hit.start <= citation.start and citation.end <= hit.end


def _recent(history: Sequence[ChatMessage]) -> list[ChatMessage]:
    """The last messages that fit, without citation marks, whose numbers mean other passages now."""
    kept: list[ChatMessage] = []
    room = HISTORY_CHARS
    for message in reversed(history):
        if message.role == "system":
            continue
        content = MarkFilter(0).push(message.content)
        room -= len(content)
        if room < 0:
            break
        kept.append(ChatMessage(message.role, content))
    return kept[::-1]


def _degraded(model: str, exc: EngineUnavailable) -> Degraded:
    return Degraded(f"model {model}", exc.en)
