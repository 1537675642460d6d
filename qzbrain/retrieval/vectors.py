"""What every vector backend promises. One contract test class runs unchanged on each of them.

A backend holds vectors by space (`vector_spaces` in SQL): one embedder's view of one knowledge base. It is derived: it can be dropped and
rebuilt from SQL. numpy is only imported by who computes: an idle process must not pay for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from qzbrain.retrieval.base import Parts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Vector = NDArray[np.float32]
else:
    Vector = Any


@dataclass(frozen=True, slots=True)
class StoredVectors:
    """Some rows of the table `vectors`, in ascending order of `chunk_ids`. `vectors`: (n, width) float16 or float32, rows of unit length.

    `levels`: that of each row's document, place in `domain.LEVELS`; () where nobody has said any (`DEFAULT_LEVEL`).
    """

    chunk_ids: Sequence[int]
    document_ids: Sequence[str]
    vectors: Any
    levels: Sequence[int] = ()


class DenseHit(NamedTuple):
    """A chunk found: cosine similarity to the question, -1..1."""

    chunk_id: int
    document_id: str
    cosine: float


class VectorIndex(Protocol):
    """Nearest neighbours by cosine, within one space.

    Where the index is a server's, every method raises IndexUnavailable when the server cannot be used now. One writer at a time for a
    space; a second one raises IndexUnavailable `index_busy`.
    """

    def upto(self, space_id: str) -> int:
        """Every vector of a chunk with an id up to this one is in the index; -1 when there is no usable index (it must be rebuilt)."""

    def append(self, space_id: str, rows: StoredVectors, *, upto: int) -> None:
        """Add vectors of chunks with higher ids than any before, and commit them with `upto`. Adding the same rows again changes nothing.

        Visible to `search` of every process when it returns. When it raises, `upto` is as before.
        """

    def forget(self, space_id: str, document_ids: Collection[str], *, keep: Collection[int] = ()) -> None:
        """Forget the vectors of these documents, but for the chunks in `keep`. Unknown documents, and an unknown space, are no error."""

    def set_levels(self, space_id: str, levels: Mapping[str, int], stored: Callable[[Sequence[str]], Iterable[StoredVectors]]) -> None:
        """These documents have these levels now. Unknown documents, and an unknown space, are no error; what is so already is not written again.

        `stored`: gives the rows of some documents as the database has them now, for a store that can only write them anew.
        """

    def rebuild(self, space_id: str, width: int, rows: Iterable[StoredVectors], *, upto: int) -> None:
        """Build anew beside the one in use, then swap; also how a space begins (with no rows). When it raises, the old one stays."""

    def parts(self, space_id: str) -> Parts | None:
        """What `gather` would do something about; None when there is nothing to gain, or no index. Costs little, asks no server."""

    def gather(self, space_id: str, goes_on: Callable[[], bool]) -> bool:
        """Put what lies in many parts together, beside what is in use; True when that was done. Finds the same.

        Others write meanwhile; what they write makes it void. `goes_on` is asked all the time: False ends it. Then, and when it raises, the index is as
        others left it.
        """

    def drop(self, space_id: str) -> None:
        """Forget a space; an unknown one is no error."""

    def search(
        self, space_id: str, vector: Vector, *, top_k: int, document_ids: Sequence[str] | None = None, max_level: int | None = None
    ) -> list[DenseHit]:
        """Nearest first, ties by chunk id, at most `top_k`. An unknown space: empty list. Thread-safe.

        Filters apply before the cut: only these documents, only those of at most this level. `vector`: (width,) float32, unit length.
        """

    def cosines(self, space_id: str, vector: Vector, chunk_ids: Sequence[int], *, max_level: int | None = None) -> dict[int, float]:
        """The cosine of each of these chunks that the space holds with at most this level; the others are left out.

        For fusing: what words found, seen by meaning.
        """

    def count(self, space_id: str) -> int:
        """Vectors that a search can find now."""
