"""Engines behind https: a CA of the operator's own, and certificates that must not be accepted."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qzbrain.errors import Cancelled, EngineUnavailable
from qzbrain.models.base import Cancellation, ChatMessage, Generation
from qzbrain.models.openai_client import OpenAIChatModel
from qzbrain.settings import ModelSettings
from tests.authority import Authority
from tests.engine import Engine

TEXTS = ["行政", "处罚", "。😀"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture
def engine(authority: Authority) -> Iterator[Engine]:
    with Engine(tls=authority.context("IP:127.0.0.1,DNS:localhost")) as running:
        yield running


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an operator makes a CA known."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))


def model_of(engine: Engine, **settings: Any) -> OpenAIChatModel:
    return OpenAIChatModel("qwen", ModelSettings(engine="external", base_url=engine.base_url, **settings))


def answer(model: OpenAIChatModel, cancellation: Cancellation | None = None) -> str:
    pieces = model.generate(Generation([ChatMessage("user", "有几种？")], {}), cancellation or Cancellation())
    return "".join(piece.text for piece in pieces)


@pytest.mark.usefixtures("trusted")
def test_answers_come_and_the_connection_is_kept(engine: Engine) -> None:
    engine.script(TEXTS)
    model = model_of(engine)
    assert [answer(model) for _ in range(3)] == ["行政处罚。😀"] * 3
    assert engine.connections == 1


@pytest.mark.usefixtures("trusted")
def test_large_answers_arrive_whole(engine: Engine) -> None:
    texts = ["法" * 20_000] * 30
    engine.script(texts)
    assert answer(model_of(engine)) == "".join(texts)


@pytest.mark.usefixtures("trusted")
def test_a_kept_connection_that_the_engine_closed_is_replaced(engine: Engine) -> None:
    engine.script(TEXTS)
    model = model_of(engine)
    answer(model)
    engine.drop_connections()
    assert answer(model) == "行政处罚。😀"
    assert engine.connections == 2


@pytest.mark.usefixtures("trusted")
def test_stopping_returns_at_once(engine: Engine) -> None:
    engine.script(["一"] * 3, first_delay_s=30)
    cancellation = Cancellation()
    timer = threading.Timer(0.3, cancellation.cancel)
    timer.start()
    begun = time.monotonic()
    with pytest.raises(Cancelled):
        answer(model_of(engine), cancellation)
    assert time.monotonic() - begun < 5


@pytest.mark.usefixtures("trusted")
def test_a_connection_that_breaks_is_told(engine: Engine) -> None:
    engine.script(TEXTS, fault="reset", after=1)
    with pytest.raises(EngineUnavailable):
        answer(model_of(engine))


def untrusted(engine: Engine) -> EngineUnavailable:
    """The refusal; nothing of the question may have been sent."""
    with pytest.raises(EngineUnavailable) as refused:
        answer(model_of(engine))
    assert engine.requests == []
    assert refused.value.code == "engine_unavailable"
    return refused.value


def test_a_certificate_of_an_unknown_authority_is_refused_with_the_way_out(engine: Engine) -> None:
    refused = untrusted(engine)
    for text in (refused.zh, refused.en):
        assert "SSL_CERT_FILE" in text
        assert str(engine.port) in text
    assert "证书不受信任" in refused.zh


@pytest.mark.usefixtures("trusted")
def test_a_certificate_for_another_name_is_refused(authority: Authority) -> None:
    with Engine(tls=authority.context("DNS:other.example")) as engine:
        assert "127.0.0.1" in untrusted(engine).en


def test_an_authority_that_is_not_ours_does_not_help(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(Authority(tmp_path / "theirs").file))
    untrusted(engine)


@pytest.mark.usefixtures("trusted")
def test_plain_http_where_tls_is_expected_is_told() -> None:
    with Engine() as engine:
        url = engine.base_url.replace("http:", "https:")
        with pytest.raises(EngineUnavailable) as refused:
            answer(OpenAIChatModel("qwen", ModelSettings(engine="external", base_url=url)))
        assert engine.requests == []
        assert str(engine.port) in refused.value.en
