"""What a real llama.cpp does with characters that are split over tokens, and with a bound on its memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qzbrain.errors import EngineUnavailable
from qzbrain.models.base import Cancellation, ChatMessage, Generation
from qzbrain.models.engines.local import LocalEngines
from qzbrain.models.registry import ModelRegistry
from qzbrain.settings import ModelSettings, Settings
from tests.local_engine import need_embedder, tiny_model


def test_characters_that_are_split_over_tokens_come_whole(make_settings: Callable[..., Settings]) -> None:
    need_embedder()
    settings = make_settings(models={"m": ModelSettings(engine="llamacpp", path=str(tiny_model("chat")), context=512, slots=2)})
    engines = LocalEngines(settings)
    sentence = "罚款由行政机关决定，𠮷野巷"
    generation = Generation([ChatMessage("user", "x")], {"max_tokens": 100, "grammar": f'root ::= "{sentence}"'})
    pieces = list(ModelRegistry(settings, engines).chat_model("m").generate(generation, Cancellation()))
    engines.close()
    assert "".join(one.text for one in pieces) == sentence
    assert all("\ufffd" not in one.text for one in pieces)


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
