"""Reranking by a real llama.cpp, and by servers that misbehave."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from qzbrain.errors import EngineUnavailable
from qzbrain.models.engines.on_demand import OnDemandEngines
from qzbrain.models.rerankers import HttpReranker
from qzbrain.settings import ModelSettings, Settings
from tests.local_engine import tiny_model


@pytest.fixture
def local(make_settings: Callable[..., Settings]) -> Iterator[HttpReranker]:
    model = ModelSettings(engine="llamacpp", kind="rerank", path=str(tiny_model("rerank")), on_demand=True, context=256, slots=1)
    engines = OnDemandEngines(make_settings(models={"judge": model}))
    yield HttpReranker("judge", model, engines)
    engines.close()


def test_a_real_engine_judges_each_passage(local: HttpReranker) -> None:
    scores = local.rerank("采购由谁批准", ["采购金额超过五十万元的，须经董事会批准。", "员工请假三天以上的。", "甲" * 5000], timeout_s=30)
    assert len(scores) == 3
    assert all(0 <= one <= 1 for one in scores)
    again = local.rerank("采购由谁批准", ["员工请假三天以上的。", "采购金额超过五十万元的，须经董事会批准。"], timeout_s=30)
    assert again == pytest.approx([scores[1], scores[0]], abs=1e-3), "in the order given"
    assert local.rerank("采购", [], timeout_s=1) == []


@pytest.fixture
def served() -> Iterator[tuple[HttpReranker, dict[str, Any]]]:
    """A reranker whose server replies as `reply` says: status, body (JSON or bytes), pause."""
    reply: dict[str, Any] = {"status": 200, "body": {}, "pause_s": 0.0}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            reply["asked"] = json.loads(self.rfile.read(int(self.headers["content-length"])))
            time.sleep(reply["pause_s"])
            body = reply["body"] if isinstance(reply["body"], bytes) else json.dumps(reply["body"]).encode()
            self.send_response(reply["status"])
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    model = ModelSettings(engine="external", kind="rerank", base_url=f"http://127.0.0.1:{server.server_port}/v1", context=64)
    yield HttpReranker("judge", model), reply
    server.shutdown()
    server.server_close()


def results(*scores: float, name: str = "relevance_score") -> dict[str, Any]:
    return {"results": [{"index": n, name: score} for n, score in enumerate(scores)]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (results(0.9, 0.1), [0.9, 0.1]),
        (results(0.0, 3.0), [0.5, 0.9526]),
        (results(-900.0, 900.0), [0.0, 1.0]),
        (results(0.9, 0.1, name="score"), [0.9, 0.1]),
        ({"results": [{"index": 1, "relevance_score": 0.2}, {"index": 0, "relevance_score": 0.7}]}, [0.7, 0.2]),
        ([{"index": 1, "score": 0.2}, {"index": 0, "score": 0.7}], [0.7, 0.2]),
    ],
)
def test_scores_are_relevance_whatever_the_engine_calls_them(served: tuple[HttpReranker, dict[str, Any]], body: object, expected: list[float]) -> None:
    reranker, reply = served
    reply["body"] = body
    assert reranker.rerank("问", ["一", "二"], timeout_s=5) == pytest.approx(expected, abs=1e-3)
    assert reply["asked"]["top_n"] == 2 and reply["asked"]["model"] == "judge"


@pytest.mark.parametrize(
    "broken",
    [
        {"body": {}},
        {"body": {"results": []}},
        {"body": results(0.5)},
        {"body": results(0.5, float("nan"))},
        {"body": {"results": [{"index": 0, "relevance_score": 0.5}, {"index": 0, "relevance_score": 0.5}]}},
        {"body": b"<html>"},
        {"status": 503, "body": {"error": {"message": "loading"}}},
        {"pause_s": 4.0, "body": results(0.5, 0.5)},
    ],
)
def test_what_is_no_reranking_is_told(served: tuple[HttpReranker, dict[str, Any]], broken: dict[str, Any]) -> None:
    reranker, reply = served
    reply.update(broken)
    started = time.monotonic()
    with pytest.raises(EngineUnavailable) as refused:
        reranker.rerank("问", ["一", "二"], timeout_s=0.3)
    assert "judge" in refused.value.en
    assert time.monotonic() - started < 3


def test_texts_are_cut_to_the_context(served: tuple[HttpReranker, dict[str, Any]]) -> None:
    reranker, reply = served
    reply["body"] = results(0.5, 0.5)
    reranker.rerank("问" * 1000, ["一" * 1000, "二"], timeout_s=5)
    assert len(reply["asked"]["query"]) + len(reply["asked"]["documents"][0]) <= 64
    assert reply["asked"]["documents"][1] == "二"
