"""Ten thousand documents at mixed levels: who is cleared for little finds what he would find were there nothing else, by words, by meaning, by both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from qzbrain.brain import Brain, build
from qzbrain.domain import LEVELS, Hit
from qzbrain.knowledge.levels import set_level
from qzbrain.retrieval.hybrid import Mode, SearchQuery
from qzbrain.settings import Settings
from tests import levelled

DOCUMENTS, QUESTIONS, WIDTH = 10_000, 5, 256
EVERYTHING = 4000
"""So far down the list of all is looked."""
pytestmark = pytest.mark.timeout(600)
MODES: tuple[Mode, ...] = ("lexical", "semantic", "hybrid")
BACKENDS = ["embedded", pytest.param("elasticsearch", marks=pytest.mark.servers)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The data of a brain with the documents, and their knowledge base."""
    data = tmp_path_factory.mktemp("levels") / "data"
    brain = build(Settings(qzbrain_data=data, qzbrain_embedder="none"))
    kb_id = levelled.fill(brain, DOCUMENTS, levelled.ByWords(WIDTH))
    brain.close()
    return data, kb_id


@pytest.fixture(scope="module", params=BACKENDS)
def brain(folder: tuple[Path, str], request: pytest.FixtureRequest) -> Iterator[Brain]:
    """Over them, with indexes of its own."""
    server = {} if request.param == "embedded" else {**request.getfixturevalue("elasticsearch_server").settings, "qizhibrain_index": "levels"}
    made = build(Settings(qzbrain_data=folder[0], qzbrain_embedder="none", **server))
    made.__dict__["embedder"] = levelled.ByWords(WIDTH)
    levelled.index(made, folder[1])
    yield made
    made.close()


@pytest.fixture
def kb_id(folder: tuple[Path, str]) -> str:
    return folder[1]


def search(brain: Brain, question: str, mode: Mode, scope: levelled.ReadScope, top_k: int = 10) -> list[Hit]:
    found = brain.retriever.search(SearchQuery(question, top_k=top_k, mode=mode), scope)
    assert not found.degraded
    return list(found.hits)


@pytest.mark.parametrize("mode", MODES)
def test_the_best_ten_are_those_of_what_may_be_seen(brain: Brain, kb_id: str, mode: Mode) -> None:
    levels = levelled.levels(brain, kb_id)
    assert len(levels) == DOCUMENTS
    for question in levelled.questions(QUESTIONS):
        whole = search(brain, question, mode, levelled.scope(kb_id), top_k=EVERYTHING) if mode != "hybrid" else []
        for most in range(len(LEVELS) - 1):
            hits = search(brain, question, mode, levelled.scope(kb_id, most))
            assert len(hits) == 10
            assert all(levels[hit.document_id] <= most for hit in hits), "nothing hidden is shown"
            visible = [one for one, level in levels.items() if level <= most]
            assert hits == search(brain, question, mode, levelled.scope(kb_id, None, visible)), "as if nothing else were there"
            if mode != "hybrid":  # of both together a passage's score depends on what else is fused
                seen = [hit for hit in whole if levels[hit.document_id] <= most]
                assert [hit.chunk_id for hit in hits] == [hit.chunk_id for hit in seen[:10]], "the list of all, filtered and cut"


def test_levels_that_change_are_obeyed_at_once_and_followed(brain: Brain, kb_id: str) -> None:
    question = next(levelled.questions(1))
    for mode in MODES:
        before = search(brain, question, mode, levelled.scope(kb_id, 1))
        changed = sorted({hit.document_id for hit in before})
        with brain.db.write() as connection:
            set_level(connection, brain.jobs, changed, 3)
        levels = levelled.levels(brain, kb_id)
        at_once = search(brain, question, mode, levelled.scope(kb_id, 1))
        assert len(at_once) == 10
        assert all(levels[hit.document_id] <= 1 for hit in at_once)
        brain.feeder.catch_up(kb_id)
        visible = [one for one, level in levels.items() if level <= 1]
        followed = search(brain, question, mode, levelled.scope(kb_id, 1))
        assert [hit.chunk_id for hit in followed] == [hit.chunk_id for hit in search(brain, question, mode, levelled.scope(kb_id, None, visible))]
        assert not {hit.chunk_id for hit in _of_indexes(brain, kb_id, question)} & {hit.chunk_id for hit in before}
        with brain.db.write() as connection:
            set_level(connection, brain.jobs, changed, 1)
        brain.feeder.catch_up(kb_id)
        assert {hit.chunk_id for hit in _of_indexes(brain, kb_id, question)} >= {hit.chunk_id for hit in before}, "they are found again"


def _of_indexes(brain: Brain, kb_id: str, question: str) -> list[levelled.AnyHit]:
    """What the indexes themselves give to somebody who is cleared for little."""
    space = brain.spaces.active(kb_id)
    assert space is not None
    vector = levelled.ByWords(WIDTH).embed_query(question, timeout_s=1)
    return [*brain.index.search(kb_id, question, top_k=500, max_level=1), *brain.vectors.search(space.id, vector, top_k=500, max_level=1)]
