"""POST /v1/embeddings over a real engine."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient

from qzbrain.brain import build
from qzbrain.settings import Settings
from qzbrain.web.app import create_app
from tests.servers.embedding_engine import TINY, EmbeddingEngine


@pytest.fixture(scope="module")
def engine() -> Iterator[EmbeddingEngine]:
    made = EmbeddingEngine(TINY).start()
    yield made
    made.kill()


@pytest.fixture
def client(engine: EmbeddingEngine, make_settings: Callable[..., Settings]) -> Iterator[FlaskClient]:
    model = {"engine": "external", "base_url": engine.base_url, "kind": "embedding", "context": 512}
    brain = build(make_settings(qzbrain_embedder="tiny", models={"tiny": model}))
    yield create_app(brain).test_client()
    brain.close()


def post(client: FlaskClient, **body: Any) -> Any:
    return client.post("/v1/embeddings", json=body, headers={"Accept-Language": "en"})


def test_floats_and_base64_are_the_same_vectors_in_order(client: FlaskClient) -> None:
    floats = post(client, input=["采购金额", "员工请假"], model="tiny").get_json()
    packed = post(client, input=["采购金额", "员工请假"], model="auto", encoding_format="base64").get_json()
    assert floats["object"] == "list" and floats["model"] == packed["model"] == "tiny" and floats["usage"]["total_tokens"] > 0
    for one, other in zip(floats["data"], packed["data"], strict=True):
        assert one["index"] == other["index"]
        assert np.allclose(one["embedding"], np.frombuffer(base64.b64decode(other["embedding"]), "<f4"), atol=1e-3)
        assert abs(np.linalg.norm(one["embedding"]) - 1) < 1e-5


def test_one_text_and_the_own_width(client: FlaskClient) -> None:
    width = len(post(client, input="采购金额").get_json()["data"][0]["embedding"])
    assert post(client, input="采购金额", dimensions=width).status_code == 200
    refused = post(client, input="采购金额", dimensions=width + 1)
    assert refused.status_code == 400 and refused.get_json()["error"]["param"] == "dimensions"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"input": [1, 2, 3]}, 400, "tokens_not_supported"),
        ({"input": [[1, 2], [3]]}, 400, "tokens_not_supported"),
        ({"input": []}, 400, "invalid_value"),
        ({"input": ""}, 400, "invalid_value"),
        ({"input": ["a"] * 257}, 400, "invalid_value"),
        ({"input": "a" * 100_001}, 400, "invalid_value"),
        ({"input": "a", "model": "gpt-4"}, 404, "model_not_found"),
        ({"input": "a", "encoding_format": "int8"}, 400, "invalid_value"),
        ({}, 400, "missing_field"),
    ],
)
def test_what_cannot_be_embedded_is_refused_clearly(client: FlaskClient, body: dict[str, Any], status: int, code: str) -> None:
    refused = post(client, **body)
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (status, code)


def test_an_engine_that_is_away_is_a_503(make_settings: Callable[..., Settings]) -> None:
    model = {"engine": "external", "base_url": "http://127.0.0.1:9/v1", "kind": "embedding"}
    brain = build(make_settings(qzbrain_embedder="away", models={"away": model}))
    refused = post(create_app(brain).test_client(), input="a")
    assert refused.status_code == 503 and "Retry-After" in refused.headers
    brain.close()
