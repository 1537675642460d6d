"""Embedding models under CTranslate2: vectors are those that the source's numbers give, computed here a second time; and its server keeps its word."""

from __future__ import annotations

import base64
import http.client
import json
import math
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from qzbrain.models.base import Cancellation
from qzbrain.models.catalog import E5_SMALL, all_models
from qzbrain.models.embedders import HttpEmbedder
from qzbrain.models.engines import gauges
from qzbrain.models.engines.local import LocalEngines
from qzbrain.settings import ModelSettings, Settings
from tests.local_engine import need_embedder, tiny_encoder
from tests.running import wait_for
from tests.servers.tiny_encoder import CHARACTERS, FEED_FORWARD, HEADS, LAYERS, WIDTH

LONGEST = 64
TEXTS = ["采购", "采购金额 应当招标", "the cat", "罚款与许可", "a", *("报销" * (n % 20 + 1) + "车辆管理"[: n % 4] for n in range(35))]

erf = np.vectorize(math.erf)


class Served:
    """The tiny model behind its server."""

    def __init__(self, engines: LocalEngines) -> None:
        self.engines = engines
        self.url = engines.address("m", timeout_s=30)
        self.key = engines.key("m")

    def ask(self, path: str, body: Any = None, *, key: str | None = None, method: str = "", **headers: str) -> tuple[int, Any]:
        """Status and reply of one request."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        wanted = {"Authorization": f"Bearer {self.key if key is None else key}", **headers}
        connection.request(method or ("GET" if data is None else "POST"), path, data, wanted)
        reply = connection.getresponse()
        text = reply.read()
        connection.close()
        return reply.status, json.loads(text) if text.startswith(b"{") else text.decode()

    def at_work(self) -> int | None:
        """Requests without an answer."""
        return gauges.at_work(self.url.removesuffix("/v1"), self.key)


@pytest.fixture
def model() -> ModelSettings:
    return ModelSettings(engine="ctranslate2", kind="embedding", path=str(tiny_encoder()), context=LONGEST, pooling="mean", threads=2)


@pytest.fixture
def served(make_settings: Callable[..., Settings], model: ModelSettings) -> Iterator[Served]:
    engines = LocalEngines(make_settings(models={"m": model}))
    yield Served(engines)
    engines.close()


def reference(texts: list[str], pooling: str = "mean") -> np.ndarray:
    """A BERT with the norms behind, as Devlin et al. (2018) have it, in plain numbers; rows of unit length."""
    source = np.load(tiny_encoder() / "source.npz")
    rows = []
    for text in texts:
        ids = [0, *(4 + CHARACTERS.index(one) if one in CHARACTERS else 3 for one in "\u2581" + text.replace(" ", "\u2581")), 2]
        state = source["emb.word"][ids] + source["emb.pos"].reshape(-1, WIDTH)[: len(ids)] + source["emb.type"].reshape(-1, WIDTH)[0]
        state = normal(source, "emb.ln", state)
        for n in range(LAYERS):
            queries, keys, values = (
                linear(source, f"l{n}.{part}", state, WIDTH).reshape(len(ids), HEADS, -1).transpose(1, 0, 2) for part in ("q", "k", "v")
            )
            weights = np.exp(queries @ keys.transpose(0, 2, 1) / math.sqrt(WIDTH // HEADS))
            mixed = (weights / weights.sum(axis=-1, keepdims=True) @ values).transpose(1, 0, 2).reshape(len(ids), WIDTH)
            state = normal(source, f"l{n}.aln", state + linear(source, f"l{n}.ao", mixed, WIDTH))
            inner = linear(source, f"l{n}.fi", state, WIDTH)
            inner = inner * (1 + erf(inner / math.sqrt(2))) / 2
            state = normal(source, f"l{n}.oln", state + linear(source, f"l{n}.fo", inner, FEED_FORWARD))
        row = {"mean": state.mean(axis=0), "cls": state[0], "last": state[-1]}[pooling]
        rows.append(row / np.linalg.norm(row))
    return np.stack(rows)


def linear(source: Any, name: str, state: np.ndarray, ins: int) -> np.ndarray:
    result: np.ndarray = state @ source[f"{name}.w"].reshape(-1, ins).T + source[f"{name}.b"]
    return result


def normal(source: Any, name: str, state: np.ndarray) -> np.ndarray:
    middle = state - state.mean(axis=-1, keepdims=True)
    result: np.ndarray = middle / np.sqrt((middle**2).mean(axis=-1, keepdims=True) + 1e-12) * source[f"{name}.w"] + source[f"{name}.b"]
    return result


def test_vectors_are_what_the_sources_numbers_give(served: Served, model: ModelSettings) -> None:
    vectors = HttpEmbedder("m", model, served.engines).embed_passages(TEXTS, Cancellation())
    expected = reference(TEXTS)
    assert vectors.shape == expected.shape
    assert np.sum(vectors * expected, axis=1).min() > 0.998  # eight bits
    assert (vectors[:5] @ expected[:5].T - np.eye(5)).max() < 0.98  # no other text's


def test_a_text_has_one_vector_alone_in_a_batch_and_under_load(served: Served, model: ModelSettings) -> None:
    embedder = HttpEmbedder("m", model, served.engines)
    batch = embedder.embed_passages(TEXTS, Cancellation())
    alone = np.stack([embedder.embed_query(text, timeout_s=20) for text in TEXTS])
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(lambda n: embedder.embed_passages(TEXTS[n:] + TEXTS[:n], Cancellation()), range(8)))
    assert np.abs(alone - batch).max() < 1e-3
    assert max(np.abs(np.roll(one, n, axis=0) - batch).max() for n, one in enumerate(loaded)) < 1e-3


@pytest.mark.parametrize("pooling", ["cls", "last"])
def test_other_poolings(make_settings: Callable[..., Settings], model: ModelSettings, pooling: str) -> None:
    engines = LocalEngines(make_settings(models={"m": model.model_copy(update={"pooling": pooling})}))
    try:
        found = Served(engines).ask("/v1/embeddings", {"input": TEXTS[:5]})[1]["data"]
    finally:
        engines.close()
    rows = np.array([one["embedding"] for one in found])
    assert np.abs(np.linalg.norm(rows, axis=1) - 1).max() < 1e-5
    assert np.sum(rows * reference(TEXTS[:5], pooling), axis=1).min() > 0.99
    assert np.sum(rows * reference(TEXTS[:5]), axis=1).max() < 0.9


def test_both_forms_and_the_count_of_tokens(served: Served) -> None:
    status, plain = served.ask("/v1/embeddings", {"input": ["采购", "the cat"], "model": "whatever"})
    assert (status, plain["object"], plain["model"], [one["index"] for one in plain["data"]]) == (200, "list", "m", [0, 1])
    assert plain["usage"] == {"prompt_tokens": 5 + 10, "total_tokens": 15}
    packed = served.ask("/v1/embeddings", {"input": "采购", "encoding_format": "base64"})[1]
    row = np.frombuffer(base64.b64decode(packed["data"][0]["embedding"]), "<f4")
    assert np.abs(row - plain["data"][0]["embedding"]).max() < 1e-6


def test_tokens_are_told(served: Served) -> None:
    numbers = [4 + CHARACTERS.index(one) for one in "\u2581采购"]
    assert served.ask("/tokenize", {"content": "采购", "add_special": True}) == (200, {"tokens": [0, *numbers, 2]})
    assert served.ask("/tokenize", {"content": "采购"}) == (200, {"tokens": numbers})
    assert served.ask("/tokenize", {"content": "采龘", "add_special": True})[1]["tokens"][-2] == 3


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/v1/embeddings", {"input": "采" * LONGEST}, 400, f"a text has {LONGEST + 3} tokens, and this model takes {LONGEST}"),
        ("/v1/embeddings", {"input": ["a", "采" * 500]}, 400, "tokens"),
        ("/v1/embeddings", {"input": []}, 400, "input"),
        ("/v1/embeddings", {"input": [1, 2]}, 400, "input"),
        ("/v1/embeddings", {}, 400, "input"),
        ("/v1/embeddings", {"input": "a", "encoding_format": "hex"}, 400, "encoding_format"),
        ("/v1/embeddings", b"{", 400, "JSON"),
        ("/v1/embeddings", b"[" * 100_000, 400, "JSON"),
        ("/v1/embeddings", b"\xff\xfe", 400, "JSON"),
        ("/v1/embeddings", [1], 400, "object"),
        ("/tokenize", {"content": 3}, 400, "content"),
        ("/v1/chat/completions", {"input": "a"}, 404, "no such page"),
        ("/nothing", None, 404, "no such page"),
    ],
)
def test_bad_requests_are_told_and_harm_nothing(served: Served, path: str, body: Any, status: int, said: str) -> None:
    found, reply = served.ask(path, body)
    assert found == status and said in reply["error"]["message"]
    assert served.ask("/v1/embeddings", {"input": "a"})[0] == 200


def test_a_body_that_is_too_large_is_not_read(served: Served) -> None:
    with socket.create_connection(tuple(urlsplit(served.url).netloc.split(":")), timeout=10) as wire:  # type: ignore[arg-type]
        wire.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n")
        assert wire.recv(100).startswith(b"HTTP/1.1 413")


def test_nobody_without_the_key(served: Served) -> None:
    assert served.ask("/v1/embeddings", {"input": "a"}, key="wrong")[0] == 401
    assert served.ask("/tokenize", {"content": "a"}, key="")[0] == 401
    assert served.ask("/metrics", key="wrong")[0] == 401
    assert served.ask("/health", key="wrong") == (200, {"status": "ok"})
    assert served.ask("/v1/models")[1]["data"][0]["id"] == "m"


def test_a_client_that_leaves_is_not_worked_for(served: Served) -> None:
    body = json.dumps({"input": ["采购金额应当招标" * 7] * 4000}).encode()
    head = f"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.key}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(tuple(urlsplit(served.url).netloc.split(":")), timeout=10) as wire:  # type: ignore[arg-type]
        wire.sendall(head + body)
        wait_for(lambda: served.at_work() == 1, "at work")
    left = time.monotonic()
    wait_for(lambda: served.at_work() == 0, "idle")
    assert time.monotonic() - left < 2
    assert served.ask("/v1/embeddings", {"input": "a"})[0] == 200


def test_a_question_does_not_wait_for_passages(served: Served) -> None:
    ended: list[float] = []

    def fill() -> None:
        assert served.ask("/v1/embeddings", {"input": ["采购金额应当招标" * 7] * 3000})[0] == 200
        ended.append(time.monotonic())

    filling = threading.Thread(target=fill)
    filling.start()
    wait_for(lambda: served.at_work() == 1, "at work")
    for _ in range(5):
        assert served.ask("/v1/embeddings", {"input": "the cat"})[0] == 200
    answered = time.monotonic()
    filling.join()
    assert answered < ended[0]


def test_requests_of_many_texts_take_turns(served: Served) -> None:
    """A small one that comes later is not behind all of a large one."""
    order: list[str] = []

    def ask(name: str, count: int) -> None:
        assert served.ask("/v1/embeddings", {"input": ["采购金额应当招标" * 7] * count})[0] == 200
        order.append(name)

    large = threading.Thread(target=ask, args=("large", 3000))
    large.start()
    wait_for(lambda: served.at_work() == 1, "at work")
    ask("small", 20)
    large.join()
    assert order == ["small", "large"]


def test_its_memory_is_free_after_a_stop(served: Served) -> None:
    running = served.engines.running("m")
    assert running is not None and Path(f"/proc/{running.pid}").exists()
    served.engines.close()
    wait_for(lambda: not Path(f"/proc/{running.pid}").exists() or Path(f"/proc/{running.pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z", "gone")


def test_the_built_in_model_lies_in_huge_pages(make_settings: Callable[..., Settings]) -> None:
    need_embedder()
    release = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
    if release < (6, 1) or "[never]" in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text():
        pytest.skip("this kernel gives no huge pages on request")
    settings = make_settings(qzbrain_embedder="auto")
    engines = LocalEngines(settings)
    try:
        embedder = HttpEmbedder(E5_SMALL, all_models(settings)[E5_SMALL], engines)
        vectors = embedder.embed_passages(["违反规定的，由公安机关处以罚款。", "食堂每日供应三餐。"], Cancellation())
        question = embedder.embed_query("闯红灯会怎么样", timeout_s=20)
        assert (vectors @ question).argmax() == 0
        running = engines.running(E5_SMALL)
        assert running is not None
        wait_for(lambda: huge_bytes(running.pid) > 40_000_000, "huge pages")
    finally:
        engines.close()


def huge_bytes(pid: int) -> int:
    found = re.search(r"AnonHugePages:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text())
    assert found is not None
    return int(found[1]) * 1024
