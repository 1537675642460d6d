"""What every search backend promises. One contract test class runs unchanged on each of them.

A backend holds, per knowledge base, the chunks that the outbox told it of. It is derived: it can be dropped and rebuilt from SQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from qzbrain.domain import LEVELS

DEFAULT_LEVEL = LEVELS.index("internal")
"""Of a document whose level nobody has said."""


@dataclass(frozen=True, slots=True)
class IndexedChunk:
    """One chunk as an index sees it. `tokens`: its text's tokens joined by blanks (text.tokenize), '' = the index tokenises by itself.

    `context`: heading path and document title, one a line, searched with the text but in a field of its own; `context_tokens`: as `tokens`.
    """

    chunk_id: int
    document_id: str
    text: str
    context: str
    tokens: str = ""
    context_tokens: str = ""


@dataclass(frozen=True, slots=True)
class PutDocument:
    """Replace all of a document's chunks by these. `level`: the document's, place in `domain.LEVELS`."""

    document_id: str
    chunks: Sequence[IndexedChunk]
    level: int = DEFAULT_LEVEL


@dataclass(frozen=True, slots=True)
class DeleteDocument:
    """Forget a document's chunks; an unknown document is no error."""

    document_id: str


IndexChange = PutDocument | DeleteDocument


class LexicalHit(NamedTuple):
    """A chunk found: raw `score` (higher is better), and `confidence` = idf-weighted query-term coverage in 0..1."""

    chunk_id: int
    score: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Parts:
    """An index that lies in so many parts that searches would gain if its chunks were written together. `unchanged_s`: since it was written last."""

    chunks: int
    count: int
    unchanged_s: float


class NoIndex(Exception):
    """Of this knowledge base there is no index of this schema, or none that can be read. It must be built, where there is anything to find."""


class SearchIndex(Protocol):
    """A lexical index over many knowledge bases; statistics never mix between them.

    Where the index is a server's, every method raises IndexUnavailable, with a code and the next step, when the server cannot be used now.
    """

    def ready(self) -> None:
        """Raises IndexUnavailable when the backend cannot be used now: asked before work whose end would be indexing."""

    def apply(self, kb_id: str, changes: Iterable[IndexChange], *, watermark: int) -> None:
        """Apply changes in order and commit them together with `watermark` (the last outbox seq applied).

        Applying the same changes again changes nothing. Visible to `search` of every process when it returns; a reader meanwhile sees none of
        them. When it raises, `watermark` is as before, and so is what a reader sees; but a backend without transactions may hold a part that
        comes into sight with the next `apply`, or when its server starts again, until the changes are applied anew.
        One writer at a time for a knowledge base, whoever it is; a second one raises IndexUnavailable `index_busy`.
        """

    def watermark(self, kb_id: str) -> int:
        """The last outbox seq that is committed; -1 when there is no index of this schema (it must be rebuilt)."""

    def rebuild(self, kb_id: str, changes: Iterable[IndexChange], *, watermark: int, chunks: int = 0) -> None:
        """Build a fresh index beside the one in use, then swap. Searches go on meanwhile on the old one.

        When it raises, the old one stays. A reader sees the old or the new one, never both or neither. `chunks`: how many will come, where that is
        known; a plan, by which only the way of writing is chosen.
        """

    def parts(self, kb_id: str) -> Parts | None:
        """What `gather` would do something about; None when there is nothing to gain, or no index. Costs little, asks no server."""

    def gather(
        self, kb_id: str, changes: Iterable[IndexChange], *, chunks: int, turn: AbstractContextManager[Any], goes_on: Callable[[], bool]
    ) -> bool:
        """As `rebuild` with the watermark that the index has, but others may write meanwhile; True when it is in use now.

        `changes` is begun after the watermark was read, so whoever reads SQL there misses nothing that the watermark covers. Whoever writes
        meanwhile, in whatever process, makes it void. `goes_on` is asked before every chunk: False ends it. Where it is void or ended, and when it
        raises, the index stays as others left it. `turn`: taken for the moments in which other writers are kept out, at the beginning and the end.
        """

    def drop(self, kb_id: str) -> None:
        """Forget a knowledge base; an unknown one is no error."""

    def search(
        self, kb_id: str, query: str, *, top_k: int, document_ids: Sequence[str] | None = None, max_level: int | None = None
    ) -> list[LexicalHit]:
        """Best first, ties by chunk id, at most `top_k`. Thread-safe. Raises NoIndex, also for an unknown kb_id: an empty list says that it was searched.

        Filters apply before the cut: only these documents, only those of at most this level (place in LEVELS; None: of any). What is hidden counts
        in the statistics of words, and in nothing else.
        """

    def chunk_count(self, kb_id: str) -> int:
        """Chunks that a search can find now."""

    def deleted_share(self, kb_id: str) -> float:
        """Share, 0..1, of deleted chunks that still count in the statistics; a rebuild makes it 0."""
