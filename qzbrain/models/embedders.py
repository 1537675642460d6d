"""Embedding models over `/v1/embeddings`, whatever engine is behind it: external, or one of this machine.

What an engine may do wrong is settled here: a text over its limit fails the whole request (so texts are cut first, and a request that
is refused is halved until the text at fault stands alone), replies come in another order, with another width, or with numbers that are none.
numpy is imported with the first vector: processes that embed nothing do not pay for it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import orjson

from qzbrain import metrics
from qzbrain.errors import Cancelled, EngineUnavailable
from qzbrain.models.base import Cancellation, EmbeddingProfile, EngineAddresses
from qzbrain.models.calls import EngineCalls
from qzbrain.models.catalog import SET_UP_ENGINES
from qzbrain.models.embedding_habits import Habits, cut_by_estimate, habits_of, surely_fits
from qzbrain.models.embedding_reply import fingerprint, rows_of
from qzbrain.models.faults import EngineFault
from qzbrain.models.sse import said_by
from qzbrain.settings import ModelSettings
from qzbrain.stages import ingest_stage

if TYPE_CHECKING:
    from qzbrain.models.base import Vector

_KEPT_QUERIES = 256
_REQUEST_TEXTS, _REQUEST_CHARS = 32, 8_000
_REQUEST_S = 120.0
_PAUSES_S = (0.1, 0.4, 1.0)
"""Between the tries of one request while the engine is away or full; after them it is the caller's turn to wait."""
_WAKE_S = 6.0
"""Longest that the start of an engine may take while a question waits: on a busy or slow machine several times the half second that it takes."""
_STEP_S = 0.1
_LEAST_CHARS = 16
_AGAIN = frozenset({0, 408, 429, 502, 503, 504})
_PROBES = ("采购金额超过五十万元的，须经董事会批准。", "The committee meets every quarter.")


class HttpEmbedder:
    """One embedding model; see `models.base.Embedder`. A passage that the engine refuses however short it is cut has a row of zeros.

    `asked` is told of every question, so that work in the background can step aside.
    """

    def __init__(self, name: str, settings: ModelSettings, addresses: EngineAddresses | None = None, asked: Callable[[], None] = lambda: None) -> None:
        self.name = name
        self._settings, self._asked = settings, asked
        self._calls = EngineCalls(name, settings, addresses)
        self._model = settings.model or name
        self._habits = _habits(name, settings)
        self._lock = threading.Lock()
        self._profile: EmbeddingProfile | None = None
        self._queries: OrderedDict[str, Vector] = OrderedDict()

    def profile(self) -> EmbeddingProfile:
        """Found out by embedding fixed texts; forgotten when the engine goes away, because another may come back under its name."""
        found = self._profile
        if found is None:
            habits = self._habits
            texts = [habits.passage_prefix + _PROBES[0], habits.query_prefix + _PROBES[0], habits.passage_prefix + _PROBES[1]]
            rows = self._embed(texts, Cancellation(), time.monotonic() + _REQUEST_S, pauses=_PAUSES_S)
            found = EmbeddingProfile(
                rows.shape[1], habits.tokens, habits.pooling, habits.query_prefix, habits.passage_prefix, fingerprint(rows)
            )
            self._profile = found
        return found

    def embed_query(self, text: str, *, timeout_s: float) -> Vector:
        """(width,) float32, unit length; of the last questions from memory. An engine that sleeps is woken first, beside `timeout_s`."""
        self._asked()
        with self._lock:
            if (known := self._queries.get(text)) is not None:
                self._queries.move_to_end(text)
        metrics.CACHE_LOOKUPS.labels("question_vectors", "miss" if known is None else "hit").inc()
        if known is not None:
            return known
        self._calls.wake(max(_WAKE_S, timeout_s))
        deadline = time.monotonic() + timeout_s
        rows = self._embed(self._cut([text], self._habits.query_prefix, deadline), Cancellation(), deadline, pauses=_PAUSES_S[:1])
        if not rows[0].any():
            raise self._unavailable(EngineFault("这个问题得不到向量", "it makes no vector of this question"))
        vector: Vector = rows[0]
        with self._lock:
            self._queries[text] = vector
            if len(self._queries) > _KEPT_QUERIES:
                self._queries.popitem(last=False)
        return vector

    def embed_passages(self, texts: Sequence[str], cancellation: Cancellation) -> Vector:
        """(len(texts), width) float32, rows of unit length, in order."""
        import numpy as np

        parts = []
        for some in _requests(texts):
            deadline = time.monotonic() + _REQUEST_S
            with ingest_stage("embed"):
                cut = self._cut(some, self._habits.passage_prefix, deadline)
                parts.append(self._embed(cut, cancellation, deadline, pauses=_PAUSES_S))
        return np.concatenate(parts) if parts else np.zeros((0, self.profile().width), np.float32)

    def tokens_of(self, texts: Sequence[str]) -> int:
        """How many tokens the texts have, by estimate: four bytes of English, or one character of Chinese, are about one."""
        return sum(sum(1 if ord(x) > 0x2E7F else 0 for x in text) + sum(1 for x in text if ord(x) <= 0x2E7F) // 4 + 1 for text in texts)

    # -- one request

    def _embed(self, texts: Sequence[str], cancellation: Cancellation, deadline: float, *, pauses: Sequence[float]) -> Vector:
        """Vectors of texts that have their prefix. A request that is refused is halved; raises EngineUnavailable when all of it is."""
        try:
            return self._patiently(texts, cancellation, deadline, pauses)
        except EngineFault as fault:
            if fault.status in _AGAIN or fault.status in (401, 403, 404):
                raise self._unavailable(fault) from fault
            return self._by_halves(texts, cancellation, deadline, fault)

    def _by_halves(self, texts: Sequence[str], cancellation: Cancellation, deadline: float, fault: EngineFault) -> Vector:
        import numpy as np

        if len(texts) > 1:
            middle = len(texts) // 2
            halves = [self._embed(part, cancellation, deadline, pauses=_PAUSES_S[:1]) for part in (texts[:middle], texts[middle:])]
            return np.concatenate(halves)
        if len(texts[0]) > _LEAST_CHARS:
            return self._embed([texts[0][: len(texts[0]) // 2]], cancellation, deadline, pauses=_PAUSES_S[:1])
        try:  # the text, or the engine?
            width = self._patiently([_PROBES[1]], cancellation, deadline, ()).shape[1]
        except EngineFault:
            raise self._unavailable(fault) from fault
        return np.zeros((1, width), np.float32)

    def _patiently(self, texts: Sequence[str], cancellation: Cancellation, deadline: float, pauses: Sequence[float]) -> Vector:
        """As `_request`, again after a pause while the engine is away or full."""
        for pause_s in pauses:
            try:
                return self._request(texts, cancellation, deadline)
            except EngineFault as fault:
                if fault.status not in _AGAIN or time.monotonic() + pause_s >= deadline:
                    raise
                self._profile = None
                self._wait(max(pause_s, min(fault.retry_after_s or 0, 2)), cancellation)
        return self._request(texts, cancellation, deadline)

    def _request(self, texts: Sequence[str], cancellation: Cancellation, deadline: float) -> Vector:
        body = orjson.dumps({"model": self._model, "input": list(texts), "encoding_format": "base64"})
        reply = self._calls.post("/embeddings", body, cancellation, deadline)
        if (status := reply.status) != 200:
            said = said_by(reply.body)
            fault = f"引擎返回 HTTP {status}：{said}", f"the engine replied HTTP {status}: {said}"
            raise EngineFault(*fault, status=status, retry_after_s=reply.retry_after_s)
        return rows_of(reply.body, len(texts), self._profile.width if self._profile else 0)

    # -- limits

    def _cut(self, texts: Sequence[str], prefix: str, deadline: float) -> list[str]:
        """Prefix and text, cut to what the model takes. Engines of the set-up are asked for their tokens, for others they are estimated."""
        limit = self._habits.tokens
        return [one if surely_fits(one, limit) else self._shortened(one, limit, deadline) for one in (prefix + text for text in texts)]

    def _shortened(self, text: str, limit: int, deadline: float) -> str:
        if self._settings.engine not in SET_UP_ENGINES:
            return cut_by_estimate(text, limit)
        try:
            pieces = self._pieces(text[: limit * 16], deadline)
        except (EngineFault, KeyError, TypeError, orjson.JSONDecodeError):
            return cut_by_estimate(text, limit)
        while len(pieces) > limit and len(text) > 1:  # cut in proportion, and look again: tokens are uneven
            text = text[: min(len(text) - 1, len(text[: limit * 16]) * limit // len(pieces))]
            pieces = self._pieces(text, deadline)
        return text

    def _pieces(self, text: str, deadline: float) -> list[int]:
        body = orjson.dumps({"content": text, "add_special": True})
        reply = self._calls.post("/tokenize", body, Cancellation(), deadline, root=True)
        if reply.status != 200:
            raise EngineFault(f"HTTP {reply.status}", f"HTTP {reply.status}", status=reply.status)
        found: list[int] = orjson.loads(reply.body)["tokens"]
        return found

    def _wait(self, seconds: float, cancellation: Cancellation) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if cancellation.cancelled:
                raise Cancelled
            time.sleep(min(_STEP_S, left))

    def _unavailable(self, fault: EngineFault) -> EngineUnavailable:
        self._profile = None
        return EngineUnavailable(
            zh=f"向量模型 {self.name} 不可用：{fault.zh}。请检查该引擎是否在运行（qzbrain model list）。",
            en=f"The embedding model {self.name} is not available: {fault.en}. Check that its engine runs (qzbrain model list).",
            retry_after_s=fault.retry_after_s or 10,
        )


def _habits(name: str, settings: ModelSettings) -> Habits:
    """Of the model by its name, where the configuration says nothing else."""
    known = habits_of(f"{name} {settings.model} {settings.path}")
    return Habits(
        settings.query_prefix or known.query_prefix,
        settings.passage_prefix or known.passage_prefix,
        settings.pooling or known.pooling,
        min(settings.context, known.tokens),
    )


def _requests(texts: Sequence[str]) -> list[Sequence[str]]:
    """The texts in their order, by as many as go into one request."""
    found: list[Sequence[str]] = []
    start = chars = 0
    for position, text in enumerate(texts):
        if position > start and (position - start >= _REQUEST_TEXTS or chars + len(text) > _REQUEST_CHARS):
            found.append(texts[start:position])
            start, chars = position, 0
        chars += len(text)
    return [*found, texts[start:]] if texts else found
