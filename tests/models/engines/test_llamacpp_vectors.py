"""Embedding models and rerankers under llama.cpp: what comes back is what the model's own numbers give, computed here a second time with numpy."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import orjson
import pytest

from qzbrain.models.base import Cancellation
from qzbrain.models.calls import EngineCalls
from qzbrain.models.embedders import HttpEmbedder
from qzbrain.models.engines.local import LocalEngines
from qzbrain.models.rerankers import HttpReranker
from qzbrain.settings import ModelSettings, Settings
from tests.local_engine import tiny_model

REFERENCE = Path(__file__).parents[2] / "servers" / "tiny_reference.py"
TEXTS = ["行政处罚", "合同自成立时生效", "公务车辆由后勤部门统一调度", "年假", "the committee", *(f"第{n}条" + "报销须附发票" * (n % 5) for n in range(35))]
PASSAGES = ["公务车辆由后勤部门统一调度", "食堂每日供应三餐", "新入职的同事试用期为三个月", "报销须附发票原件", "机房温度二十二度"]
NEAR = 5e-3
QUESTION = "轿车可以自己拿来用吗"

Make = Callable[[str], tuple[ModelSettings, LocalEngines]]


@pytest.fixture
def make(make_settings: Callable[..., Settings]) -> Iterator[Make]:
    """A tiny model `m` of a kind, and its engine, asleep."""
    made: list[LocalEngines] = []

    def one(kind: str) -> tuple[ModelSettings, LocalEngines]:
        pooling = "mean" if kind == "embedding" else ""
        table = {"engine": "llamacpp", "path": str(tiny_model(kind)), "kind": kind, "context": 512, "slots": 4, "pooling": pooling}
        model = ModelSettings.model_validate(table)
        made.append(LocalEngines(make_settings(models={"m": model})))
        return model, made[-1]

    yield one
    for engines in made:
        engines.close()


def reference(kind: str, texts: list[str]) -> np.ndarray:
    """By the same tensors and another program."""
    done = subprocess.run([sys.executable, REFERENCE, tiny_model(kind)], input=json.dumps(texts), capture_output=True, text=True, check=True)
    return np.array(json.loads(done.stdout), np.float32)


def test_vectors_are_what_the_models_tensors_give(make: Make) -> None:
    model, engines = make("embedding")
    vectors = HttpEmbedder("m", model, engines).embed_passages(TEXTS, Cancellation())
    expected = reference("embedding", TEXTS)
    assert vectors.shape == expected.shape == (len(TEXTS), 64)
    assert (np.sum(vectors * expected, axis=1) / np.linalg.norm(expected, axis=1)).min() > 0.999


def test_a_text_has_one_vector_alone_in_a_batch_and_under_load(make: Make) -> None:
    model, engines = make("embedding")
    embedder = HttpEmbedder("m", model, engines)
    batch = embedder.embed_passages(TEXTS, Cancellation())
    alone = np.stack([embedder.embed_query(text, timeout_s=20) for text in TEXTS[:8]])
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(lambda n: embedder.embed_passages(TEXTS[n:] + TEXTS[:n], Cancellation()), range(8)))
    assert np.abs(alone - batch[:8]).max() < 1e-3
    assert max(np.abs(np.roll(one, n, axis=0) - batch).max() for n, one in enumerate(loaded)) < 1e-3
    likeness = batch @ batch.T - np.eye(len(TEXTS))
    same = {(a, b) for a in range(len(TEXTS)) for b in range(len(TEXTS)) if a != b and likeness[a, b] > 0.99999}
    assert same == set()


def test_the_rerankers_scores_are_the_models_and_their_order_is_told(make: Make) -> None:
    model, engines = make("rerank")
    expected = reference("rerank", [f"{QUESTION}\t{passage}" for passage in PASSAGES])[:, 0]
    scores = HttpReranker("m", model, engines).rerank(QUESTION, PASSAGES, timeout_s=20)
    assert all(0 < one < 1 for one in scores)
    body = orjson.dumps({"model": "m", "query": QUESTION, "documents": PASSAGES, "top_n": len(PASSAGES)})
    results = orjson.loads(EngineCalls("m", model, engines).post("/rerank", body, Cancellation(), float("inf")).body)["results"]
    raw = {one["index"]: one["relevance_score"] for one in results}
    assert np.abs([raw[n] for n in range(len(PASSAGES))] - expected).max() < NEAR  # half precision inside
    assert np.argsort(scores).tolist() == sorted(range(len(PASSAGES)), key=raw.__getitem__)
    assert scores[int(np.argmax(expected))] > scores[int(np.argmin(expected))] and np.ptp(expected) > 2 * NEAR
    assert HttpReranker("m", model, engines).rerank(QUESTION, PASSAGES[::-1], timeout_s=20)[::-1] == pytest.approx(scores, abs=1e-4)
