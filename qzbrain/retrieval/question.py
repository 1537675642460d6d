"""What a question asks for, as weighted terms. In a told case the last sentence asks, the ones before it only set the scene. Pure."""

from __future__ import annotations

from qzbrain.text.sentences import sentences
from qzbrain.text.tokenize import query_terms

ASKING = 2.0
"""Weight of a term of the last sentence of several; every other term weighs 1. Chosen on scenario questions (docs/benchmarks.md)."""


def asked_terms(question: str) -> dict[str, float]:
    """Each term once with its weight, in order of appearance; {} when the question has no content words."""
    spans = sentences(question)
    if len(spans) < 2:
        return dict.fromkeys(query_terms(question), 1.0)
    start = spans[-1][0]
    weights = dict.fromkeys(query_terms(question[:start]), 1.0)
    for term in query_terms(question[start:]):
        weights[term] = ASKING
    return weights
