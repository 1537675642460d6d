"""Chat, embedding and reranking under a real llama.cpp, with models made on the spot, as the product starts and asks them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from qzbrain.errors import Cancelled, EngineUnavailable
from qzbrain.models.base import Cancellation, ChatMessage, Generation, Piece
from qzbrain.models.embedders import HttpEmbedder
from qzbrain.models.engines import gauges, processes
from qzbrain.models.engines.launching import state_path
from qzbrain.models.engines.local import LocalEngines
from qzbrain.models.registry import ModelRegistry
from qzbrain.models.rerankers import HttpReranker
from qzbrain.settings import ModelSettings, Settings
from tests.local_engine import local_python, need_embedder, tiny_model
from tests.running import wait_for

LONG = {"max_tokens": 3000, "ignore_eos": True}
"""Runs for a second or so: the models are that small."""


class House:
    """The tiny models by kind, each with an engine of its own."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engines = LocalEngines(settings)
        self.models = ModelRegistry(settings, self.engines)

    def pieces(
        self, options: dict[str, object] | None = None, prompt: str = "你好", cancellation: Cancellation | None = None, model: str = "chat"
    ) -> Iterator[Piece]:
        generation = Generation([ChatMessage("user", prompt)], options or {"max_tokens": 40})
        return self.models.chat_model(model).generate(generation, cancellation or Cancellation())

    def at_work(self) -> int:
        running = self.engines.running("chat")
        assert running is not None
        found = gauges.at_work(running.url, running.key)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    need_embedder()
    models = {
        "chat": ModelSettings(engine="llamacpp", path=str(tiny_model("chat")), context=4096, slots=4),
        "wide": ModelSettings(engine="llamacpp", path=str(tiny_model("chat")), context=512, slots=8),
        "vectors": ModelSettings(engine="llamacpp", kind="embedding", path=str(tiny_model("embedding")), context=512, slots=2),
        "order": ModelSettings(engine="llamacpp", kind="rerank", path=str(tiny_model("rerank")), context=512, slots=2),
    }
    made = House(Settings(qzbrain_data=tmp_path_factory.mktemp("house"), qzbrain_embedder="none", models=models))
    yield made
    made.engines.close()


def test_it_is_up_within_two_seconds_and_streams(house: House) -> None:
    begun = time.monotonic()
    house.engines.address("chat", timeout_s=10)
    assert time.monotonic() - begun < 2
    pieces = list(house.pieces({"max_tokens": 60, "ignore_eos": True}))
    assert len([one for one in pieces if one.text]) > 2
    assert pieces[-1].finish_reason == "length"
    assert pieces[-1].usage.completion_tokens == 60


@pytest.mark.parametrize("model", ["chat", "wide"])
def test_eight_at_once_are_all_answered_whole(house: House, model: str) -> None:
    """On four slots, where the engine lets four wait, and on eight."""

    def ask(n: int) -> tuple[int, str]:
        pieces = list(house.pieces({"max_tokens": 100, "ignore_eos": True, "seed": n}, f"问题 {n}", model=model))
        return pieces[-1].usage.completion_tokens, "".join(one.text for one in pieces)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert [tokens for tokens, _ in answers] == [100] * 8
    assert all(text for _, text in answers)


def test_characters_that_are_split_over_tokens_come_whole(house: House) -> None:
    sentence = "罚款由行政机关决定，𠮷野巷"
    pieces = list(house.pieces({"max_tokens": 100, "grammar": f'root ::= "{sentence}"'}))
    assert "".join(one.text for one in pieces) == sentence
    assert all("\ufffd" not in one.text for one in pieces)


@pytest.mark.parametrize("stage", ["in mid answer", "while the prompt is read"])
def test_who_leaves_frees_the_engine_within_a_tenth_of_a_second(house: House, stage: str) -> None:
    house.engines.address("chat", timeout_s=10)
    took = min(leave(house, stage) for _ in range(3))
    assert took <= 0.1


def leave(house: House, stage: str) -> float:
    """Seconds from the moment that somebody leaves to the moment that the engine is idle. (Who waits for a slot waits in the brain, not in the engine.)"""
    mine = Cancellation()
    prompt = "长" * 1200 if "prompt" in stage else "x"
    asking = threading.Thread(target=consume, args=(house, LONG, prompt, mine))
    asking.start()
    wait_for(lambda: house.at_work() == 1, "at work", 10)
    if stage == "in mid answer":
        time.sleep(0.05)
    mine.cancel()
    left = time.monotonic()
    while house.at_work():
        assert time.monotonic() - left < 10
        time.sleep(0.002)
    took = time.monotonic() - left
    asking.join(10)
    return took


def consume(house: House, options: dict[str, object], prompt: str, cancellation: Cancellation) -> None:
    try:
        for _ in house.pieces(options, prompt, cancellation):
            pass
    except Cancelled:
        pass


def test_a_prompt_over_the_context_is_refused_clearly_and_the_engine_goes_on(house: House) -> None:
    with pytest.raises(EngineUnavailable) as refused:
        list(house.pieces(prompt="长" * 5000))
    assert refused.value.request_refused
    assert "400" in refused.value.en and "context" in refused.value.en
    assert list(house.pieces())[-1].finish_reason
    assert house.models.chat_model("chat").failure() is None


def test_killed_it_answers_again_within_six_seconds(house: House) -> None:
    house.engines.address("chat", timeout_s=10)
    running = house.engines.running("chat")
    assert running is not None
    os.kill(running.pid, signal.SIGKILL)
    killed = time.monotonic()
    assert list(house.pieces())[-1].finish_reason
    assert time.monotonic() - killed < 6


def test_vectors_equal_a_computation_of_our_own(house: House) -> None:
    texts = ["罚款由行政机关决定", "董事会批准采购", "猫", "长" * 200]
    program = Path(__file__).parents[2] / "servers/tiny_reference.py"
    reference = np.array(json.loads(subprocess.run([local_python(), program, tiny_model("embedding"), *texts], check=True, capture_output=True).stdout))
    embedder = HttpEmbedder("vectors", house.settings.models["vectors"], house.engines)
    together = embedder.embed_passages(texts, Cancellation())
    assert np.einsum("ij,ij->i", together, reference).min() > 0.999
    with ThreadPoolExecutor(8) as pool:
        alone = list(pool.map(lambda text: embedder.embed_passages([text], Cancellation())[0], texts * 4))
    assert np.abs(np.array(alone) - np.tile(together, (4, 1))).max() < 2e-3
    others = together @ together.T - np.eye(len(texts))
    assert others.max() < 0.9999


def test_a_reranker_gives_each_passage_its_own_score_whatever_their_order(house: House) -> None:
    reranker = HttpReranker("order", house.settings.models["order"], house.engines)
    passages = ["罚款由行政机关决定", "猫在屋顶", "董事会批准采购"]
    scores = reranker.rerank("谁决定罚款", passages, timeout_s=20)
    assert all(0 <= one <= 1 for one in scores) and len(set(scores)) == 3
    turned = reranker.rerank("谁决定罚款", passages[::-1], timeout_s=20)
    assert np.allclose(scores, turned[::-1], atol=1e-3)


def test_its_memory_is_free_after_the_end(make_settings: Callable[..., Settings]) -> None:
    need_embedder()
    settings = make_settings(models={"m": ModelSettings(engine="llamacpp", path=str(tiny_model("chat")), context=4096, slots=8)})
    engines = LocalEngines(settings)
    engines.address("m", timeout_s=10)
    pids = processes.of_engine(state_path(settings, "m"))
    assert pids and all(Path(f"/proc/{pid}/statm").read_text().split()[1] != "0" for pid in pids)
    engines.children.stop("m", 10)
    assert processes.of_engine(state_path(settings, "m")) == [] and all(processes.has_ended(pid) for pid in pids)
    assert engines.running("m") is None


def test_more_memory_than_its_limit_is_not_taken(make_settings: Callable[..., Settings]) -> None:
    need_embedder()
    settings = make_settings(
        models={"m": ModelSettings(engine="llamacpp", path=str(tiny_model("chat")), context=1_000_000, slots=8, memory_limit="256MiB")}
    )
    engines = LocalEngines(settings)
    with pytest.raises(EngineUnavailable) as refused:
        engines.address("m", timeout_s=30)
    assert "ended" in refused.value.en
    engines.close()
