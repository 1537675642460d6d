"""How passages that a knowledge graph leads to join what words and meaning found: the arithmetic, and the seam to the graph. Pure.

Text always counts: a passage that it found gains a little when the graph leads there too, one that only the graph leads to stands below the best of those,
and of the first few, however many, no more than half are such.
What a graph says changes no passage's confidence, so no question is answered or refused because of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

DEPTH = 30
"""So many passages are taken from each graph."""
GAIN = 0.25
"""What a passage found by text gains at most, of the best score."""
ALONE = 0.9
"""What one that only the graph leads to gets at most, of the best score."""


class NearPassage(Protocol):
    """A chunk and how near it is, 0..1, to what the question names."""

    @property
    def chunk_id(self) -> int:
        """The chunk."""

    @property
    def score(self) -> float:
        """How near."""


class PassageGraphs(Protocol):
    """Graphs of knowledge bases, as retrieval sees them."""

    def near(self, kb_id: str, question: str, chunk_ids: Sequence[int], *, top_k: int, ceiling: int | None = None) -> Sequence[NearPassage]:
        """Passages nearest to what the question names, best first; `chunk_ids` are articles that it names by number, and are not among them.

        `ceiling`: as if documents above this level were not there.
        [] when it names nothing that the graph knows. Raises nothing because a graph is not there; Unavailable when the service that has it is away.
        """


def joined(score: float | None, near: float, best: float) -> float:
    """The score of a passage that is so near: `score` by text, None where text did not find it; `best` of all by text."""
    return round(ALONE * near * best if score is None else score + GAIN * near * best, 6)


def placed(scored: Sequence[tuple[float, bool]]) -> list[tuple[int, float]]:
    """`scored`: the score of each, and whether text found it. Returns where each stands there, and its score, best first, scores falling.

    One that only the graph leads to waits for the next by text where it would make more of those than of these; it then counts no more than that one.
    """
    best_first = sorted(range(len(scored)), key=lambda at: -scored[at][0])
    text, alone = ([at for at in best_first if scored[at][1] is by_text] for by_text in (True, False))
    found: list[tuple[int, float]] = []
    t = a = 0
    while t < len(text) or a < len(alone):
        higher = a < len(alone) and (t == len(text) or scored[alone[a]][0] > scored[text[t]][0])
        if higher and (a < t or t == len(text)):
            at, a = alone[a], a + 1
        else:
            at, t = text[t], t + 1
        found.append((at, min(scored[at][0], found[-1][1] if found else scored[at][0])))
    return found
