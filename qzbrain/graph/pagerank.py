"""Personalised PageRank over an undirected weighted graph in compressed rows, with numpy alone. Pure.

Haveliwala, WWW 2002; damping as HippoRAG (Gutiérrez et al., NeurIPS 2024) takes it for passages: half of the weight returns to the seeds at each step, so a
few steps are enough and hubs far away do not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DAMPING = 0.5
STEPS = 5
LEAST = 1e-4
"""Less than this share of all weight is not carried on: it cannot make a passage one of the best, and would touch the whole graph."""
_FEW = 0.2
"""While no more than this share of all edges is touched, only those are."""

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


@dataclass(frozen=True)
class Rows:
    """`others[starts[n]:starts[n + 1]]` are the neighbours of node n, `weights` the shares of n's weight that go to each, together 1."""

    starts: Ints
    others: Ints
    weights: Floats

    @property
    def nodes(self) -> int:
        """How many nodes there are."""
        return len(self.starts) - 1


def rows(nodes: int, left: Ints, right: Ints, weights: Floats) -> Rows:
    """The graph with these edges, each in both directions."""
    sources, others = np.concatenate([left, right]), np.concatenate([right, left])
    both = np.concatenate([weights, weights])
    order = np.argsort(sources, kind="stable")
    starts = np.zeros(nodes + 1, np.int32)
    np.cumsum(np.bincount(sources, minlength=nodes), out=starts[1:])
    total = np.bincount(sources, weights=both, minlength=nodes)
    shares = both / np.maximum(total, 1e-12)[sources]
    return Rows(starts, others[order].astype(np.int32), shares[order].astype(np.float32))


def spread(graph: Rows, seeds: Ints, shares: Floats, *, damping: float = DAMPING, steps: int = STEPS, least: float = LEAST) -> Floats:
    """The weight of each node when `shares` (together 1) start at `seeds`; together at most 1."""
    begun = np.zeros(graph.nodes, np.float32)
    np.add.at(begun, seeds, shares)
    found = begun * (1 - damping)
    moving = begun
    for _ in range(steps):
        moving = _step(graph, moving, least) * damping
        found += moving * (1 - damping)
    return found


def _step(graph: Rows, moving: Floats, least: float) -> Floats:
    """All weight goes on to the neighbours, but for what is too little."""
    active = np.flatnonzero(moving > least)
    counts = graph.starts[active + 1] - graph.starts[active]
    total = int(counts.sum())
    if total > _FEW * len(graph.others):
        carried = np.repeat(moving, np.diff(graph.starts)) * graph.weights
        return np.bincount(graph.others, weights=carried, minlength=graph.nodes).astype(np.float32)
    ends = np.cumsum(counts)
    edges = np.arange(total, dtype=np.int64) + np.repeat(graph.starts[active] - (ends - counts), counts)
    carried = np.repeat(moving[active], counts) * graph.weights[edges]
    return np.bincount(graph.others[edges], weights=carried, minlength=graph.nodes).astype(np.float32)
