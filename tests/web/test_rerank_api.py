"""POST /v1/rerank over a real engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient

from qzbrain.brain import build
from qzbrain.settings import Settings
from qzbrain.web.app import create_app
from tests.local_engine import tiny_model

TEXTS = ["采购金额超过五十万元的。", "员工请假三天以上的。", "涉密文件。"]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    model = {"engine": "llamacpp", "kind": "rerank", "path": str(tiny_model("rerank")), "on_demand": True, "context": 256, "slots": 1}
    brain = build(Settings(qzbrain_data=tmp_path_factory.mktemp("data"), qzbrain_embedder="none", models={"judge": model}))
    yield create_app(brain).test_client()
    brain.close()


def post(client: FlaskClient, **body: Any) -> Any:
    return client.post("/v1/rerank", json=body, headers={"Accept-Language": "en"})


def test_best_first_with_indexes_into_the_request(client: FlaskClient) -> None:
    reply = post(client, query="采购", documents=TEXTS, return_documents=True).get_json()
    assert reply["model"] == "judge" and reply["usage"]["total_tokens"] > 0
    results = reply["results"]
    assert sorted(one["index"] for one in results) == [0, 1, 2]
    assert [one["relevance_score"] for one in results] == sorted((one["relevance_score"] for one in results), reverse=True)
    assert all(one["document"]["text"] == TEXTS[one["index"]] for one in results)
    best = post(client, query="采购", documents=[{"text": text} for text in TEXTS], top_n=1, model="judge", unknown=1).get_json()["results"]
    assert [one["index"] for one in best] == [results[0]["index"]] and "document" not in best[0]


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"documents": TEXTS}, 400, "query"),
        ({"query": "", "documents": TEXTS}, 400, "query"),
        ({"query": "采购", "documents": []}, 400, "documents"),
        ({"query": "采购", "documents": ["a", ""]}, 400, "documents.1"),
        ({"query": "采购", "documents": ["a", {"txt": "b"}]}, 400, "documents.1"),
        ({"query": "采购", "documents": TEXTS, "top_n": 0}, 400, "top_n"),
        ({"query": "采购", "documents": TEXTS, "model": "nobody"}, 404, "model"),
    ],
)
def test_bad_requests_are_told(client: FlaskClient, body: dict[str, Any], status: int, param: str) -> None:
    reply = post(client, **body)
    assert (reply.status_code, reply.get_json()["error"]["param"]) == (status, param)


def test_without_a_reranker_it_says_how_to_get_one(make_settings: Callable[..., Settings]) -> None:
    brain = build(make_settings())
    try:
        reply = create_app(brain).test_client().post("/v1/rerank", json={"query": "采购", "documents": TEXTS}, headers={"Accept-Language": "en"})
        assert reply.status_code == 404 and "config.toml" in reply.get_json()["error"]["message"]
    finally:
        brain.close()
