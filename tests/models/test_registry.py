"""Models by name, what `auto` means, and what is known of their health."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qzbrain.errors import EngineUnavailable, NotFound
from qzbrain.models.base import Cancellation, ChatMessage, Generation
from qzbrain.models.registry import ModelRegistry
from qzbrain.settings import ModelSettings, Settings
from tests.engine import Engine

AWAY = "http://127.0.0.1:9/v1"


def registry(make_settings: Callable[..., Settings], **models: ModelSettings) -> ModelRegistry:
    return ModelRegistry(make_settings(models=models))


def external(url: str) -> ModelSettings:
    return ModelSettings(engine="external", base_url=url)


def test_without_configuration_there_is_the_extractive_answerer(make_settings: Callable[..., Settings]) -> None:
    models = registry(make_settings)
    assert models.names() == ["auto", "extractive"]
    assert models.first_healthy() is None
    assert [(x.name, x.status) for x in models.describe()] == [("extractive", "ready")]


def test_auto_is_the_first_model_in_order_whose_engine_is_there(make_settings: Callable[..., Settings]) -> None:
    with Engine() as engine:
        models = registry(make_settings, away=external(AWAY), local=ModelSettings(engine="vllm"), one=external(engine.base_url), two=external(engine.base_url))
        assert models.names() == ["auto", "away", "local", "one", "two", "extractive"]
        first = models.first_healthy()
        assert first is not None and first.name == "one"


def test_a_model_that_failed_is_passed_over_and_the_failure_is_told(make_settings: Callable[..., Settings]) -> None:
    with Engine() as first, Engine() as second:
        models = registry(make_settings, one=external(first.base_url), two=external(second.base_url))
        first.script(status=500)
        with pytest.raises(EngineUnavailable):
            list(models.chat_model("one").generate(Generation([ChatMessage("user", "x")]), Cancellation()))
        healthy = models.first_healthy()
        assert healthy is not None and healthy.name == "two"
        state = models.describe()[0]
        assert (state.name, state.status) == ("one", "failed") and "HTTP 500" in state.reason_en


def test_a_request_that_the_engine_refuses_says_nothing_about_its_health(make_settings: Callable[..., Settings]) -> None:
    with Engine() as engine:
        models = registry(make_settings, one=external(engine.base_url))
        engine.script(status=400, message="too long")
        with pytest.raises(EngineUnavailable):
            list(models.chat_model("one").generate(Generation([ChatMessage("user", "x")]), Cancellation()))
        assert models.first_healthy() is not None


def test_states_say_what_to_do(make_settings: Callable[..., Settings]) -> None:
    models = registry(
        make_settings, local=ModelSettings(engine="llamacpp"), off=ModelSettings(engine="external", base_url=AWAY, alive=False),
        vectors=ModelSettings(engine="external", base_url=AWAY, kind="embedding"),
    )  # fmt: skip
    states = {x.name: x for x in models.describe()}
    assert {name: x.status for name, x in states.items()} == {"local": "failed", "off": "stopped", "vectors": "failed", "extractive": "ready"}
    assert "runs on this machine" in states["local"].reason_en
    assert "alive" in states["off"].reason_zh
    assert "connect" in states["vectors"].reason_en and states["vectors"].kind == "embedding"
    assert models.names() == ["auto", "local", "extractive"]


def test_an_unknown_model_is_not_found(make_settings: Callable[..., Settings]) -> None:
    with pytest.raises(NotFound) as failure:
        registry(make_settings).chat_model("nothing" * 100)
    assert failure.value.code == "model_not_found"
    assert len(failure.value.zh) < 200
