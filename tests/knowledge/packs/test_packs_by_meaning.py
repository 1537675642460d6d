"""Vectors travel: searched at once where the same embedder is there, kept aside where another one is."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from qzbrain.brain import Brain, build
from qzbrain.knowledge.packs.writing import Choice
from qzbrain.settings import Settings
from qzbrain.storage.tables import vector_spaces, vectors
from tests.knowledge.packs.test_packs import SUBJECTS, found, take_in, text, work
from tests.servers.embedding_engine import TINY, EmbeddingEngine


@pytest.fixture(scope="module")
def engine() -> Iterator[EmbeddingEngine]:
    made = EmbeddingEngine(TINY).start()
    yield made
    made.kill()


def brain_of(folder: Path, engine: EmbeddingEngine, name: str) -> Brain:
    model = {"engine": "external", "base_url": engine.base_url, "kind": "embedding", "context": 512}
    return build(Settings(qzbrain_data=folder, qzbrain_embedder=name, models={name: model}))


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory, engine: EmbeddingEngine) -> Iterator[Brain]:
    brain = brain_of(tmp_path_factory.mktemp("origin"), engine, "tiny")
    caller = brain.access.local_caller("zh")
    brain.knowledge.create(caller, name="rules")
    for subject in SUBJECTS:
        brain.knowledge.add_file(caller, "rules", f"{subject}.md", io.BytesIO(f"# {subject}办法\n\n{text(subject)}".encode()))
    while not brain.db.rows(select(vector_spaces.c.id).where(vector_spaces.c.status == "active")):
        work(brain)
    brain.knowledge.reindex(caller, "rules")
    work(brain)
    yield brain
    brain.close()


@pytest.fixture(scope="module")
def pack(origin: Brain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pack") / "x.qzkb"
    origin.packs.write(origin.access.local_caller("zh"), "rules", path, Choice(), lambda *_: None)
    return path


@pytest.mark.parametrize("name", ["tiny", "same-under-another-name"])
def test_the_same_embedder_finds_the_same_in_every_mode(origin: Brain, pack: Path, tmp_path: Path, engine: EmbeddingEngine, name: str) -> None:
    there = brain_of(tmp_path / "there", engine, name)
    try:
        job = take_in(there, pack)
        assert (job.status, job.result["vectors"]) == ("done", "taken_over"), job
        assert there.db.rows(select(func.count()).select_from(vectors)) == origin.db.rows(select(func.count()).select_from(vectors))
        for mode in ("semantic", "hybrid", "lexical"):
            assert found(there, "rules", mode) == found(origin, "rules", mode), mode
    finally:
        there.close()


def test_another_embedder_does_not_search_them_and_says_what_to_do(pack: Path, tmp_path: Path, engine: EmbeddingEngine, monkeypatch: Any) -> None:
    there = brain_of(tmp_path / "there", engine, "other")
    profile = there.embedder_of("other").profile()
    monkeypatch.setattr(type(there.embedder_of("other")), "profile", lambda _self: _other(profile))
    try:
        job = take_in(there, pack)
        assert (job.status, job.result["vectors"]) == ("done", "wrong_embedder"), job
        caller = there.access.local_caller("zh")
        semantics = there.knowledge.knowledge_base(caller, "rules").manifest
        assert semantics["state"] == "refused"
        assert "reembed" in semantics["reason"]["en"]
        assert all(found(there, "rules", "lexical"))
    finally:
        there.close()


def _other(profile: Any) -> Any:
    from dataclasses import replace

    return replace(profile, width=profile.width + 1)
