"""Names of relations and a question in meaning: in the background, kept, bounded, and never in anybody's way."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from qzbrain.errors import EngineUnavailable
from qzbrain.graph import label_meanings
from qzbrain.graph.label_meanings import LabelVectors
from qzbrain.models.base import Cancellation, EmbeddingProfile
from qzbrain.models.embedders import HttpEmbedder
from qzbrain.settings import ModelSettings
from tests.servers.embedding_engine import E5, EmbeddingEngine

WIDTH = 8


def vector(text: str) -> np.ndarray:
    """Of unit length, the same for the same text; texts that share characters are near."""
    found = np.zeros(WIDTH, np.float32)
    for c in text:
        found[ord(c) % WIDTH] += 1
    return found / np.linalg.norm(found)


class Embedder:
    """As the protocol says. `gate`: passages wait for it; `fault`: is raised instead."""

    name = "standing-in"

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.fault: Exception | None = None
        self.seen: list[str] = []

    def profile(self) -> EmbeddingProfile:
        raise AssertionError("nobody needs it")

    def embed_query(self, text: str, *, timeout_s: float) -> Any:
        raise AssertionError("the search has made the question's vector already")

    def embed_passages(self, texts: Sequence[str], cancellation: Cancellation) -> Any:
        self.gate.wait(10)
        if self.fault is not None:
            raise self.fault
        self.seen += texts
        return np.stack([vector(text) for text in texts])


def test_the_first_question_goes_without_and_the_next_ones_have_it() -> None:
    embedder = Embedder()
    meanings = LabelVectors(lambda _kb: ["作者", "出生地"], embedder)
    assert meanings.nearness(["kb"], vector("作者")) is None
    meanings.wait()
    found = meanings.nearness(["kb"], vector("作者"))
    assert found is not None and found["作者"] == pytest.approx(1, abs=1e-3) and list(found) == ["作者", "出生地"]
    assert embedder.seen == ["作者", "出生地"]


def test_a_slow_embedder_delays_nobody_and_is_asked_once() -> None:
    embedder = Embedder()
    embedder.gate.clear()
    meanings = LabelVectors(lambda _kb: ["作者"], embedder)
    began = time.perf_counter()
    for _ in range(50):
        assert meanings.nearness(["kb"], vector("作者")) is None
    assert time.perf_counter() - began < 10
    embedder.gate.set()
    meanings.wait()
    assert embedder.seen == ["作者"] and meanings.nearness(["kb"], vector("作者")) is not None


def test_a_graph_that_grows_has_only_its_new_names_embedded() -> None:
    embedder, labels = Embedder(), ["作者", "出生地"]
    meanings = LabelVectors(lambda _kb: labels, embedder)
    meanings.nearness(["kb"], vector("作者"))
    meanings.wait()
    labels = ["作者", "导演", "出生地"]
    assert meanings.nearness(["kb"], vector("作者")) is not None, "what was known serves meanwhile"
    meanings.wait()
    assert embedder.seen == ["作者", "出生地", "导演"]
    found = meanings.nearness(["kb"], vector("导演"))
    assert found is not None and next(iter(found)) == "导演"


def test_thousands_of_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_meanings, "MOST_LABELS", 100)
    monkeypatch.setattr(label_meanings, "OPEN_GRAPHS", 2)
    embedder = Embedder()
    meanings = LabelVectors(lambda kb: [f"{kb}{n}" for n in range(5000)], embedder)
    for kb in ("a", "b", "c"):
        meanings.nearness([kb], vector("a1"))
        meanings.wait()
    assert len(embedder.seen) == 300
    found = meanings.nearness(["c"], vector("c1"))
    assert found is not None and len(found) == label_meanings.NEAREST
    assert meanings.nearness(["a"], vector("a1")) is None, "the one that was asked least lately is forgotten"
    meanings.wait()


def test_an_embedder_that_is_away_is_asked_again_after_a_while() -> None:
    embedder, now = Embedder(), [0.0]
    embedder.fault = EngineUnavailable(zh="不在。", en="Away.")
    meanings = LabelVectors(lambda _kb: ["作者"], embedder, clock=lambda: now[0])
    assert meanings.nearness(["kb"], vector("作者")) is None
    meanings.wait()
    embedder.fault = None
    assert meanings.nearness(["kb"], vector("作者")) is None
    meanings.wait()
    assert embedder.seen == [], "not at once"
    now[0] = label_meanings.RETRY_S + 1
    meanings.nearness(["kb"], vector("作者"))
    meanings.wait()
    assert meanings.nearness(["kb"], vector("作者")) is not None


def test_vectors_of_another_model_say_nothing() -> None:
    meanings = LabelVectors(lambda _kb: ["作者"], Embedder())
    meanings.nearness(["kb"], vector("作者"))
    meanings.wait()
    assert meanings.nearness(["kb"], np.ones(WIDTH + 1, np.float32)) is None


def test_no_graph_no_names() -> None:
    embedder = Embedder()
    meanings = LabelVectors(lambda _kb: [], embedder)
    assert meanings.nearness(["kb"], vector("作者")) is None
    meanings.wait()
    assert embedder.seen == []


def test_the_built_in_model_finds_the_relation_that_is_meant() -> None:
    engine = EmbeddingEngine(E5).start()
    try:
        embedder = HttpEmbedder("e5", ModelSettings(engine="ctranslate2", kind="embedding", context=512, path="x"), engine)
        labels = ["作者", "出生地", "配偶", "主要成就", "总部地点", "注册资本"]
        meanings = LabelVectors(lambda _kb: labels, embedder)
        meanings.nearness(["kb"], embedder.embed_query("他太太叫什么？", timeout_s=5))
        meanings.wait()
        asked = {"他的妻子叫什么名字？": "配偶", "这家公司的总部设在哪个城市？": "总部地点"}
        for question, label in asked.items():
            found = meanings.nearness(["kb"], embedder.embed_query(question, timeout_s=5))
            assert found is not None and next(iter(found)) == label, (question, found)
    finally:
        engine.kill()


class Asked(Embedder):
    """Makes vectors of questions, too."""

    def embed_query(self, text: str, *, timeout_s: float) -> Any:
        self.gate.wait(5)
        if self.fault is not None:
            raise self.fault
        return vector(text)


def test_a_question_gets_a_vector_of_its_own_only_if_that_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_meanings, "QUESTION_S", 5.0)
    embedder = Asked()
    meanings = LabelVectors(lambda _kb: ["作者"], embedder)
    assert meanings.vector("作者") is None, "no graph has names yet"
    meanings.nearness(["kb"], None)
    meanings.wait()
    assert meanings.vector("作者") == pytest.approx(vector("作者"))
    monkeypatch.setattr(label_meanings, "QUESTION_S", 0.02)
    embedder.gate.clear()
    began = time.perf_counter()
    assert meanings.vector("作者") is None and time.perf_counter() - began < 4
    embedder.gate.set()
    monkeypatch.setattr(label_meanings, "QUESTION_S", 5.0)
    embedder.fault = EngineUnavailable(zh="不在。", en="Away.")
    assert meanings.vector("作者") is None
    embedder.fault = None
    assert meanings.vector("作者") is None, "not asked again at once"
