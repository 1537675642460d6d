"""What a chat model promises, whatever engine is behind it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from qzbrain.domain import Usage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]
else:
    Vector = Any


@dataclass(frozen=True, slots=True)
class ChatMessage:
    """One message as engines take it; role system, user or assistant."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Generation:
    """What to generate. `options` go through to the engine as they are: max_tokens, temperature, top_p, stop, seed, user."""

    messages: Sequence[ChatMessage]
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Piece:
    """Some text as it came; all deltas of one read merged. The last piece has `finish_reason` and perhaps `usage`.

    Not frozen, as `domain.Delta`: one is made for each token, and a frozen one takes three times as long to make.
    """

    text: str
    finish_reason: str | None = None
    usage: Usage | None = None


class Cancellation:
    """A stop button that works across threads and greenlets. `cancel()` is idempotent and calls what was registered, once."""

    __slots__ = ("_callbacks", "cancelled")

    def __init__(self) -> None:
        self.cancelled = False
        self._callbacks: list[Callable[[], None]] = []

    def cancel(self) -> None:
        """Stop; runs the registered callbacks (they must not block)."""
        if self.cancelled:
            return
        self.cancelled = True
        for callback in self._callbacks:
            callback()
        self._callbacks.clear()

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Call `callback` at the stop; at once when it has come already."""
        if self.cancelled:
            callback()
        else:
            self._callbacks.append(callback)


class ChatModel(Protocol):
    """Generates text. Thread-safe."""

    name: str

    def generate(self, generation: Generation, cancellation: Cancellation) -> Iterator[Piece]:
        """Stream pieces; the last one carries a finish_reason.

        Raises EngineUnavailable (could not connect, an error status, silence, garbage, an end without finish_reason) and Cancelled.
        Leaving the iterator early (close) frees the engine at once.
        """


@dataclass(frozen=True, slots=True)
class EmbeddingProfile:
    """What vectors of an embedder are. `tokens`: longest text that it takes; longer ones are cut first. `prefix`es stand before each text."""

    width: int
    tokens: int
    pooling: str
    query_prefix: str
    passage_prefix: str
    fingerprint: str


class Embedder(Protocol):
    """Makes vectors of texts. Thread-safe. Raises EngineUnavailable (the engine is away, slow, or talks nonsense) and Cancelled."""

    name: str

    def profile(self) -> EmbeddingProfile:
        """Found out at the first call, which may start the engine; kept from then on."""

    def embed_query(self, text: str, *, timeout_s: float) -> Vector:
        """(width,) float32, unit length."""

    def embed_passages(self, texts: Sequence[str], cancellation: Cancellation) -> Vector:
        """(len(texts), width) float32, rows of unit length, in order."""


class Reranker(Protocol):
    """Judges passages by a question. Thread-safe."""

    name: str

    def rerank(self, query: str, passages: Sequence[str], *, timeout_s: float) -> list[float]:
        """Relevance 0..1 of each passage, in the order given. Raises EngineUnavailable, also when fewer scores come than were asked for."""


class EngineAddresses(Protocol):
    """Where the engines of this machine listen. Thread-safe."""

    def address(self, name: str, *, timeout_s: float) -> str:
        """`http://127.0.0.1:PORT/v1` of a running engine; one that is `on_demand` is started first, by whoever may, and shared by all processes.

        Raises EngineUnavailable: stopped, failed, or not ready within `timeout_s`.
        """

    def wake(self, name: str, *, timeout_s: float) -> None:
        """Start an engine that sleeps, and wait until it is up or its start has taken `timeout_s`, whoever waited before; leave others alone.

        Raises EngineUnavailable: it failed, or its start has taken longer than that.
        """

    def key(self, name: str) -> str:
        """The API key that this engine wants, '' for none."""
