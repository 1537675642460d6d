"""The job `graph-extract`: a language model reads documents, and what holds of its replies becomes facts.

Each reply is kept before its facts are added, and both can be done twice: a killed worker's successor asks only what nobody has answered, and adds what
is there already without harm. A document's facts of this extractor are forgotten first when its chunks are no longer those that were read.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from qzbrain import logs
from qzbrain.errors import BrainError, Cancelled, EngineUnavailable
from qzbrain.graph.asking import Answer, Asker, NotExtracted
from qzbrain.graph.base import Fact, GraphStore
from qzbrain.graph.extraction import Said, checked
from qzbrain.graph.extraction_rows import Document, ExtractionRows, passages_by_group
from qzbrain.graph.grouping import Group
from qzbrain.graph.turns import MOST_AT_ONCE, Turns
from qzbrain.jobs.leases import Kind, Lease
from qzbrain.models.base import Cancellation
from qzbrain.models.courtesy import Courtesy
from qzbrain.models.registry import AUTO, ModelRegistry, RegisteredModel
from qzbrain.storage.database import Database
from qzbrain.storage.shared import SharedState

log = logs.get(__name__)
MOST_IN_A_ROW = 5
"""Groups that fail one after the other before the job ends."""
MOST_AWAY = MOST_AT_ONCE
"""The same where the engine itself is away: each of them has been tried several times."""
_LOOK_S = 0.1
_FACTS_AT_ONCE = 2000
_FAILURES_TOLD = 20


def extractor_of(model: str) -> str:
    """What facts of this model are marked with."""
    return f"llm:{model}"[:64]


def identity_of(model: RegisteredModel) -> str:
    """What a kept reply is valid for: the name, and what stands behind it."""
    return f"{model.name}\0{model.settings.model}\0{model.settings.path}"


class GraphExtraction:
    """Handles jobs whose `kb_id` names a knowledge base; payload {"model", "document_ids"?, "auto"?}. `follow` comes after each: see to merges."""

    def __init__(
        self,
        database: Database,
        graph: GraphStore,
        models: Callable[[], ModelRegistry],
        shared: Callable[[], SharedState],
        courtesy: Courtesy,
        *,
        unwanted: Callable[[str], set[str]] = lambda _kb_id: set(),
        follow: Callable[[str], int] = lambda _kb_id: 0,
    ) -> None:
        """`unwanted`: marks (`alias_mark`) of aliases that people have refused. `follow`: returns how many suggestions are open."""
        self._db, self._graph, self._models, self._shared, self._courtesy = database, graph, models, shared, courtesy
        self._unwanted, self._follow = unwanted, follow

    @property
    def kind(self) -> Kind:
        """How the runner does these jobs."""
        return Kind(self.handle)

    def handle(self, leases: Sequence[Lease]) -> None:
        """Extract. Raises NotFound for an unknown model, Stopping, Cancelled."""
        for lease in leases:
            model = self._model(str(lease.job.payload.get("model", "")))
            run = _Run(self._db, self._graph, lease, model, self._shared(), self._courtesy, self._unwanted(lease.job.kb_id))
            failure = run.go()
            run.result["suggestions"] = self._follow(lease.job.kb_id)
            lease.progress("extract", run.chunks_done, max(run.chunks, run.chunks_done), "chunks", run.result)
            with self._db.write() as connection:
                if failure is None:
                    lease.complete(connection, run.result)
                else:
                    lease.fail(connection, failure)

    def _model(self, name: str) -> RegisteredModel:
        """Raises NotFound; EngineUnavailable when there is none for `auto` now: the job waits."""
        if name != AUTO:
            return self._models().chat_model(name)
        found = self._models().first_healthy()
        if found is None:
            raise EngineUnavailable(
                zh="没有可用的语言模型，抽取在等待。请启动一个引擎（qzbrain model list），或取消该任务。",
                en="No language model is there, so the extraction waits. Start an engine (qzbrain model list), or cancel the job.",
            )
        return found


@dataclass
class _Open:
    """A document whose groups are being read."""

    document: Document
    keys: list[str]
    left: int
    failed: bool = False


@dataclass
class _Call:
    """A call under way."""

    open: _Open
    group: Group
    key: str
    cancellation: Cancellation = field(default_factory=Cancellation)


class _Run:
    """One run of one job; for one thread. `result` is what can be said of it so far."""

    def __init__(
        self, database: Database, graph: GraphStore, lease: Lease, model: RegisteredModel, shared: SharedState, courtesy: Courtesy, unwanted: set[str]
    ) -> None:
        self._rows, self._graph, self._lease, self._model = ExtractionRows(database), graph, lease, model
        self._kb_id, self._extractor, self._identity = lease.job.kb_id, extractor_of(model.name), identity_of(model)
        self._asker, self._turns, self._unwanted = Asker(model, shared), Turns(model, courtesy, shared), unwanted
        self._waiting: list[tuple[Group, list[Fact]]] = []
        self._closed: list[_Open] = []
        self._rejected: Counter[str] = Counter()
        self._in_a_row = self._away = 0
        self._asked_chunks = 0
        self._began = time.monotonic()
        self.chunks = self.chunks_done = 0
        self.result: dict[str, Any] = {
            "model": model.name, "documents": 0, "chunks": 0, "calls": 0, "cached_calls": 0, "failed_chunks": 0, "failures": [], "triples": 0, "rejected": {},
            "prompt_tokens": 0, "completion_tokens": 0,
        }  # fmt: skip

    def go(self) -> BrainError | None:
        """Read everything; the reason when it came to nothing, or was given up."""
        payload = self._lease.job.payload
        among = payload.get("document_ids")
        ids = self._rows.document_ids(self._kb_id, None if among is None else set(among), changed_for=self._extractor if payload.get("auto") else "")
        self.chunks = self._rows.count_chunks(ids)
        calls: dict[Future[Answer], _Call] = {}
        with ThreadPoolExecutor(MOST_AT_ONCE, "extraction") as pool:
            try:
                self._work(pool, calls, self._to_ask(ids))
            finally:
                for call in calls.values():
                    call.cancellation.cancel()
        self._add_waiting()
        return self._verdict()

    def _work(self, pool: ThreadPoolExecutor, calls: dict[Future[Answer], _Call], source: Iterator[_Call]) -> None:
        """Keep as many calls under way as is allowed, until nothing is left or it is hopeless."""
        again: deque[_Call] = deque()
        more = True
        while (more or calls or again) and not self._is_hopeless():
            while len(calls) < self._turns.allowed() and (more or again):
                call = again.popleft() if again else next(source, None)
                if call is None:
                    more = False
                    break
                calls[pool.submit(self._asker.ask, call.group, call.cancellation)] = call
            self._show()
            if not calls:
                time.sleep(_LOOK_S)
                continue
            if self._turns.gives_up():
                for call in calls.values():
                    call.cancellation.cancel()
            for future in wait(calls, _LOOK_S, FIRST_COMPLETED).done:
                call = calls.pop(future)
                if call.cancellation.cancelled and isinstance(future.exception(), Cancelled):
                    again.append(_Call(call.open, call.group, call.key))
                else:
                    self._end(call, future)

    def _to_ask(self, ids: Sequence[str]) -> Iterator[_Call]:
        """Calls that nobody has answered yet; what is known of the others is taken in meanwhile."""
        for document_id in ids:
            document = self._rows.document(document_id)
            if document is None:
                continue
            groups = list(passages_by_group(document))
            keys = [one.key(self._identity) for one in groups]
            if self._rows.signature(document.id, self._extractor) != document.signature:
                self._rows.undone(document.id, self._extractor)
                self._graph.forget_document(self._kb_id, document.id, extractor=self._extractor)
            known = self._rows.said(keys)
            opened = _Open(document, keys, len(groups))
            for group, key in zip(groups, keys, strict=True):
                if key in known:
                    self.result["cached_calls"] += 1
                    self._take(opened, group, known[key])
                self._show()
            if not groups:
                self._close(opened)
            yield from (_Call(opened, group, key) for group, key in zip(groups, keys, strict=True) if key not in known)

    def _end(self, call: _Call, future: Future[Answer]) -> None:
        """A call came to its end, good or bad."""
        self._turns.ended()
        self.result["calls"] += 1
        self._asked_chunks += len(call.group.passages)
        try:
            answer = future.result()
        except NotExtracted as exc:
            self._fail(call, exc)
            return
        self._in_a_row = self._away = 0
        self.result["prompt_tokens"] += answer.prompt_tokens
        self.result["completion_tokens"] += answer.completion_tokens
        self._rows.keep(self._kb_id, call.group, key=call.key, extractor=self._extractor, answer=answer)
        self._take(call.open, call.group, answer.said)
        self._add_waiting()

    def _fail(self, call: _Call, exc: NotExtracted) -> None:
        self._in_a_row += 1
        self._away += exc.away
        call.open.failed = True
        self.result["failed_chunks"] += len(call.group.passages)
        if len(self.result["failures"]) < _FAILURES_TOLD:
            one = {"document_id": call.group.document_id, "chunks": len(call.group.passages), "code": exc.cause.code, "zh": exc.cause.zh, "en": exc.cause.en}
            self.result["failures"].append(one)
        log.warning("group_not_extracted", document_id=call.group.document_id, code=exc.cause.code, error=exc.cause.en[:300])
        self._count(call.open, call.group)

    def _take(self, opened: _Open, group: Group, said: Said) -> None:
        found = checked(said, group.passages, document_id=group.document_id, extractor=self._extractor, unwanted=self._unwanted)
        self._rejected += found.rejected
        self.result["triples"] += len(found.facts)
        self.result["rejected"] = dict(sorted(self._rejected.items()))
        self._waiting.append((group, found.facts))
        self._count(opened, group)
        if sum(len(facts) for _, facts in self._waiting) >= _FACTS_AT_ONCE:
            self._add_waiting()

    def _add_waiting(self) -> None:
        """Add facts, then look whether their documents are still there: whoever removes one afterwards forgets what was added before."""
        waiting, self._waiting = self._waiting, []
        self._graph.add(self._kb_id, [fact for _, facts in waiting for fact in facts])
        for group, facts in waiting:
            if facts and not self._rows.is_there(self._kb_id, group):
                self._graph.forget_document(self._kb_id, group.document_id, extractor=self._extractor)
        closed, self._closed = self._closed, []
        for one in closed:
            self._rows.done(self._kb_id, one.document, self._extractor, one.keys)

    def _count(self, opened: _Open, group: Group) -> None:
        opened.left -= 1
        self.chunks_done += len(group.passages)
        self.result["chunks"] = self.chunks_done - self.result["failed_chunks"]
        if not opened.left:
            self._close(opened)

    def _close(self, opened: _Open) -> None:
        if not opened.failed:
            self.result["documents"] += 1
            self._closed.append(opened)

    def _show(self) -> None:
        """Raises Cancelled, Stopping."""
        self._lease.heartbeat()
        rate = self._asked_chunks / max(time.monotonic() - self._began, 1e-3)
        left = max(0, self.chunks - self.chunks_done)
        told = {**self.result, "rate_per_s": round(rate, 2), "eta_s": round(left / rate) if rate else None}
        self._lease.progress("extract", self.chunks_done, max(self.chunks, self.chunks_done), "chunks", told)

    def _is_hopeless(self) -> bool:
        return self._in_a_row >= MOST_IN_A_ROW or self._away >= MOST_AWAY

    def _verdict(self) -> BrainError | None:
        failures = self.result["failures"]
        if not failures or not (self._is_hopeless() or self.result["chunks"] == 0):
            return None
        return _given_up(self.result, self.chunks, failures[-1])


def _given_up(result: dict[str, Any], chunks: int, last: dict[str, Any]) -> EngineUnavailable:
    done = result["chunks"]
    return EngineUnavailable(
        "extraction_failed",
        zh=f"抽取已停止：{chunks} 段中完成 {done} 段，随后接连失败。最后的原因：{last['zh']} 处理后重试该任务，已完成的部分不会重新计算。",
        en=f"Extraction has stopped: {done} of {chunks} chunks are done, then one failed after the other. The last reason: {last['en']} Then retry the job: "
        "what is done is not asked again.",
    )
