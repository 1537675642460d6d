"""HttpEmbedder against a real llama.cpp engine, and against one that does what engines do wrong."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from qzbrain.errors import EngineUnavailable
from qzbrain.models.base import Cancellation
from qzbrain.models.embedders import HttpEmbedder
from qzbrain.models.embedding_reply import same_embedder
from qzbrain.settings import ModelSettings
from tests.servers.embedding_engine import E5, TINY, EmbeddingEngine

Faulty = Callable[[dict[str, Any]], tuple[int, Any]]


def embedded(texts: list[str]) -> list[dict[str, Any]]:
    """A vector for each text that depends on it alone."""
    return [{"index": i, "embedding": [len(x) + 1.0, *(float(x.count(c)) for c in "采购员工ab")]} for i, x in enumerate(texts)]


@pytest.fixture
def scripted() -> Iterator[Callable[[Faulty], HttpEmbedder]]:
    """An embedder of an engine that answers as it is told."""
    servers: list[ThreadingHTTPServer] = []

    def make(answer: Faulty) -> HttpEmbedder:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                status, value = answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))
                body = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        settings = ModelSettings(engine="external", base_url=f"http://127.0.0.1:{server.server_port}/v1", kind="embedding", context=512)
        return HttpEmbedder("scripted", settings)

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="module")
def engine() -> Iterator[EmbeddingEngine]:
    made = EmbeddingEngine(TINY).start()
    yield made
    made.kill()


def local(engine: EmbeddingEngine, **more: Any) -> HttpEmbedder:
    return HttpEmbedder("tiny", ModelSettings(engine="llamacpp", kind="embedding", context=512, path="x.gguf", **more), engine)


def test_a_text_over_the_limit_is_cut_and_spoils_no_other(engine: EmbeddingEngine) -> None:
    embedder = local(engine)
    long = "采购金额超过五十万元的，须经董事会批准。" * 200
    rows = embedder.embed_passages(["短句", long, "another"], Cancellation())
    alone = embedder.embed_passages(["短句"], Cancellation())
    assert rows.shape == (3, embedder.profile().width) and np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    assert rows[0] @ alone[0] > 0.999
    assert rows[1].any(), "cut, not left out"


def test_two_processes_recognise_one_model_and_not_another(engine: EmbeddingEngine) -> None:
    one, again, other = local(engine).profile(), local(engine).profile(), local(engine, passage_prefix="a quite different beginning: ").profile()
    assert same_embedder(one.fingerprint, again.fingerprint) and not same_embedder(one.fingerprint, other.fingerprint)


def built_in(engine: EmbeddingEngine, **more: Any) -> HttpEmbedder:
    return HttpEmbedder("multilingual-e5-small", ModelSettings(engine="ctranslate2", kind="embedding", context=512, path="x", **more), engine)


def test_on_another_processor_it_is_the_same_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on one without AVX-512: a backup may be restored there. Without its prefixes it is another."""
    found = []
    for variables in ({}, {"MKL_ENABLE_INSTRUCTIONS": "AVX2", "CT2_FORCE_CPU_ISA": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        engine = EmbeddingEngine(E5).start()
        try:
            found.append(built_in(engine).profile().fingerprint)
            bare = built_in(engine, query_prefix=" ", passage_prefix=" ").profile().fingerprint
        finally:
            engine.kill()
    assert same_embedder(*found)
    assert not same_embedder(found[-1], bare)


def test_e5_finds_the_passage_that_answers() -> None:
    engine = EmbeddingEngine(E5).start()
    try:
        embedder = built_in(engine)
        profile = embedder.profile()
        assert (profile.width, profile.pooling, profile.query_prefix, profile.passage_prefix) == (384, "mean", "query: ", "passage: ")
        passages = ["采购金额超过五十万元的，须经董事会批准。", "员工请假三天以上的，须由部门经理批准。", "涉密文件不得带离办公区。"]
        rows = embedder.embed_passages(passages, Cancellation())
        for question, right in (("想休假一周找谁签字？", 1), ("能把机密材料带回家吗？", 2), ("花六十万买设备要谁同意？", 0)):
            assert int(np.argmax(rows @ embedder.embed_query(question, timeout_s=10))) == right
    finally:
        engine.kill()


def test_order_is_by_index_and_both_encodings_are_read(scripted: Callable[[Faulty], HttpEmbedder]) -> None:
    def answer(body: dict[str, Any]) -> tuple[int, Any]:
        data = embedded(body["input"])
        for one in data[::2]:
            one["embedding"] = base64.b64encode(np.array(one["embedding"], "<f4").tobytes()).decode()
        return 200, {"data": data[::-1]}

    rows = scripted(answer).embed_passages(["采购", "员工" * 3, "a"], Cancellation())
    wanted = np.array([x["embedding"] for x in embedded(["采购", "员工" * 3, "a"])], np.float32)
    assert np.allclose(rows, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), atol=1e-6)


def test_a_text_that_the_engine_refuses_has_no_vector_and_the_others_have_theirs(scripted: Callable[[Faulty], HttpEmbedder]) -> None:
    def answer(body: dict[str, Any]) -> tuple[int, Any]:
        if any("☠" in x for x in body["input"]):
            return 500, {"error": {"message": "input is too large"}}
        return 200, {"data": embedded(body["input"])}

    rows = scripted(answer).embed_passages(["采购", "☠" * 40, "员工", "a", "b"], Cancellation())
    assert [bool(row.any()) for row in rows] == [True, False, True, True, True]


def test_a_text_that_is_only_too_long_is_halved_until_it_is_taken(scripted: Callable[[Faulty], HttpEmbedder]) -> None:
    def answer(body: dict[str, Any]) -> tuple[int, Any]:
        if any(len(x) > 100 for x in body["input"]):
            return 400, {"error": {"message": "maximum context length is 100"}}
        return 200, {"data": embedded(body["input"])}

    assert all(row.any() for row in scripted(answer).embed_passages(["采购" * 150, "a"], Cancellation()))


@pytest.mark.parametrize(
    "wrong",
    [
        b"<html>gateway</html>",
        {"data": []},
        {"data": [{"index": 0, "embedding": ["x"]}]},
        {"data": [{"index": 7, "embedding": [1.0]}]},
        b'{"data":[{"index":0,"embedding":[1e400,1.0]}]}',
    ],
)
def test_nonsense_is_no_vector(scripted: Callable[[Faulty], HttpEmbedder], wrong: Any) -> None:
    with pytest.raises(EngineUnavailable, match="scripted"):
        scripted(lambda _body: (200, wrong)).embed_query("采购", timeout_s=2)


def test_a_full_engine_is_asked_again(scripted: Callable[[Faulty], HttpEmbedder]) -> None:
    refusals = [503, 429]
    embedder = scripted(lambda body: (refusals.pop(), {"error": {"message": "loading"}}) if refusals else (200, {"data": embedded(body["input"])}))
    assert embedder.embed_passages(["采购"], Cancellation())[0].any() and not refusals


def test_an_engine_that_is_away_is_named_with_what_to_do(engine: EmbeddingEngine) -> None:
    settings = ModelSettings(engine="external", base_url="http://127.0.0.1:9/v1", kind="embedding")
    with pytest.raises(EngineUnavailable, match=r"The embedding model away is not available.*qzbrain model list"):
        HttpEmbedder("away", settings).embed_query("采购", timeout_s=1)


def test_questions_are_remembered_and_told(engine: EmbeddingEngine) -> None:
    asked: list[int] = []
    embedder = HttpEmbedder("tiny", ModelSettings(engine="llamacpp", kind="embedding", context=512, path="x"), engine, lambda: asked.append(1))
    first = embedder.embed_query("采购", timeout_s=5)
    assert embedder.embed_query("采购", timeout_s=5) is first and len(asked) == 2
