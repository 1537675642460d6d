"""The client of OpenAI-protocol engines against a real socket server that behaves, and misbehaves, as a script says."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from qzbrain.domain import Usage
from qzbrain.errors import Cancelled, EngineUnavailable
from qzbrain.models.base import Cancellation, ChatMessage, Generation, Piece
from qzbrain.models.openai_client import OpenAIChatModel
from qzbrain.settings import ModelSettings
from tests.engine import Engine

TEXTS = ["行政", "处罚", "。😀"]
DEADLINE_S = 10.0


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as running:
        yield running


def model_of(engine: Engine, **settings: Any) -> OpenAIChatModel:
    return OpenAIChatModel("qwen", ModelSettings(engine="external", base_url=engine.base_url, api_key="secret", **settings))


def ask(model: OpenAIChatModel, cancellation: Cancellation | None = None, **options: Any) -> list[Piece]:
    return list(model.generate(Generation([ChatMessage("user", "有几种？")], options), cancellation or Cancellation()))


def text_of(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def eventually(true: Any) -> None:
    end = time.monotonic() + DEADLINE_S
    while not true():
        assert time.monotonic() < end, "did not come true"
        time.sleep(0.005)


def test_text_finish_reason_and_usage_arrive(engine: Engine) -> None:
    engine.script(TEXTS, finish_reason="length")
    pieces = ask(model_of(engine), temperature=0.2, user="u")
    assert text_of(pieces) == "行政处罚。😀"
    assert (pieces[-1].finish_reason, pieces[-1].usage) == ("length", Usage(8, 3))
    assert all(piece.finish_reason is None for piece in pieces[:-1])


def test_the_request_is_what_engines_expect(engine: Engine) -> None:
    ask(OpenAIChatModel("qwen", ModelSettings(engine="external", base_url=engine.base_url, model="Qwen3-8B", api_key="secret")), max_tokens=5, seed=1)
    seen = engine.requests[0]
    assert seen.path == "/v1/chat/completions"
    assert seen.headers["authorization"] == "Bearer secret"
    assert seen.body == {
        "model": "Qwen3-8B", "stream": True, "stream_options": {"include_usage": True}, "max_tokens": 5, "seed": 1,
        "messages": [{"role": "user", "content": "有几种？"}],
    }  # fmt: skip


@pytest.mark.parametrize("fault", ["json", "comments", "split", "crlf", "no_done", "no_usage", "no_content_type", "usage_without_choices"])
def test_dialects_of_the_protocol_are_understood(engine: Engine, fault: str) -> None:
    engine.script(TEXTS, fault=fault, after=1)
    pieces = ask(model_of(engine))
    assert text_of(pieces) == "行政处罚。😀"
    assert pieces[-1].finish_reason == "stop"


def test_characters_that_the_engine_cut_in_two_are_joined_or_replaced(engine: Engine) -> None:
    engine.script(TEXTS, fault="surrogates", after=1)
    assert text_of(ask(model_of(engine))) == "行政😀处罚。😀"
    engine.script(TEXTS, fault="bad_utf8", after=1)
    assert text_of(ask(model_of(engine))) == "行政\ufffd处罚。😀"


@pytest.mark.parametrize(
    ("fault", "said", "sent"),
    [
        ("html", "no event stream", 0), ("garbage", "no event stream", 0), ("empty", "empty", 0), ("close", "broke off", 2), ("half", "no JSON", 2),
        ("error", "out of memory", 2), ("broken_json", "no JSON", 2), ("huge", "longer than", 2),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_a_failure_that_says_why(engine: Engine, fault: str, said: str, sent: int) -> None:
    engine.script(TEXTS, fault=fault, after=1)
    with pytest.raises(EngineUnavailable) as failure:
        ask(model_of(engine))
    assert said in failure.value.en
    assert "qwen" in failure.value.zh
    assert failure.value.sent_chars == sent


@pytest.mark.parametrize(("status", "refused"), [(500, False), (503, False), (429, False), (400, True), (401, False)])
def test_an_error_status_carries_the_engines_own_words(engine: Engine, status: int, refused: bool) -> None:
    engine.script(status=status, message="显存不足" + "x" * 5000, headers=("retry-after: 7",))
    with pytest.raises(EngineUnavailable) as failure:
        ask(model_of(engine))
    assert f"HTTP {status}" in failure.value.en
    assert "显存不足" in failure.value.zh
    assert len(failure.value.zh) < 600
    assert failure.value.retry_after_s == 7
    assert failure.value.request_refused is refused


def test_a_reset_connection_is_a_failure(engine: Engine) -> None:
    engine.script(["x"] * 50, fault="reset", after=40, delay_s=0.001)
    with pytest.raises(EngineUnavailable, match=r"lost|broke off"):
        ask(model_of(engine))


def test_nothing_listens(engine: Engine) -> None:
    engine.close()
    with pytest.raises(EngineUnavailable, match="cannot connect"):
        ask(model_of(engine))


@pytest.mark.parametrize(
    ("fault", "limits", "said"),
    [
        ("mute", {"first_token_timeout_s": 0.2}, "no answer began within 0.2 s"),
        ("silence", {"first_token_timeout_s": 0.2}, "no answer began within 0.2 s"),
        ("stall", {"idle_timeout_s": 0.2}, "nothing new came for 0.2 s"),
    ],
)
def test_silence_is_cut_off_and_frees_the_engine(engine: Engine, fault: str, limits: dict[str, float], said: str) -> None:
    engine.script(TEXTS, fault=fault, after=1)
    with pytest.raises(EngineUnavailable, match=said):
        ask(model_of(engine, **limits))
    eventually(lambda: engine.cancelled)


def test_an_endless_answer_is_cut_off(engine: Engine) -> None:
    engine.script(["x"] * 1000, delay_s=0.02)
    with pytest.raises(EngineUnavailable, match=r"longer than 0\.3 s"):
        ask(model_of(engine, total_timeout_s=0.3))


def test_cancelling_ends_a_blocked_read_and_frees_the_engine_at_once(engine: Engine) -> None:
    engine.script(["x"] * 3, fault="stall", after=1)
    cancellation = Cancellation()
    pieces = model_of(engine).generate(Generation([ChatMessage("user", "x")]), cancellation)
    assert next(pieces).text == "x"
    cancelled_at: list[float] = []

    def cancel() -> None:
        cancelled_at.append(time.monotonic())
        cancellation.cancel()

    threading.Timer(0.1, cancel).start()
    with pytest.raises(Cancelled):
        next(pieces)
    assert time.monotonic() - cancelled_at[0] < 0.5
    eventually(lambda: engine.cancelled)
    assert engine.cancelled[0][1] - cancelled_at[0] < 0.5


def test_closing_the_iterator_frees_the_engine(engine: Engine) -> None:
    engine.script(["x"] * 1000, delay_s=0.01)
    pieces = model_of(engine).generate(Generation([ChatMessage("user", "x")]), Cancellation())
    next(pieces)
    pieces.close()
    eventually(lambda: engine.cancelled and not engine.active)


def test_cancelled_before_the_start(engine: Engine) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(Cancelled):
        ask(model_of(engine), cancellation)


def test_connections_are_used_again(engine: Engine) -> None:
    model = model_of(engine)
    for _ in range(5):
        ask(model)
    assert (len(engine.requests), engine.connections) == (5, 1)


def test_a_kept_connection_that_died_is_replaced_unnoticed(engine: Engine) -> None:
    model = model_of(engine)
    ask(model)
    engine.drop_connections()
    assert text_of(ask(model)) == "你好！"
    assert engine.connections == 2


def test_a_cancelled_connection_is_not_used_again(engine: Engine) -> None:
    engine.script(["x"] * 100, delay_s=0.01, user="long")
    model, cancellation = model_of(engine), Cancellation()
    pieces = model.generate(Generation([ChatMessage("user", "x")], {"user": "long"}), cancellation)
    next(pieces)
    cancellation.cancel()
    with pytest.raises(Cancelled):
        list(pieces)
    assert text_of(ask(model)) == "你好！"


def test_a_late_cancel_does_not_touch_the_next_request(engine: Engine) -> None:
    model, first = model_of(engine), Cancellation()
    ask(model, first)
    engine.script(["a", "b", "c"], delay_s=0.02)
    pieces = model.generate(Generation([ChatMessage("user", "x")]), Cancellation())
    got = [next(pieces)]
    first.cancel()
    assert text_of([*got, *pieces]) == "abc"


def test_an_engine_that_refuses_stream_options_is_asked_without(engine: Engine) -> None:
    class Strict(Engine):
        def _reply(self, sock: socket.socket, request: Any) -> bool:
            if "stream_options" in request.body:
                self.script(status=400, message="unknown field stream_options")
            else:
                self.script(["ok"])
            return super()._reply(sock, request)

    with Strict() as strict:
        model = model_of(strict)
        assert text_of(ask(model)) == "ok"
        assert text_of(ask(model)) == "ok"
        assert ["stream_options" in seen.body for seen in strict.requests] == [True, False, False]


def test_many_answers_at_once(engine: Engine) -> None:
    engine.script([str(i) for i in range(20)], delay_s=0.005)
    model, results = model_of(engine), []
    threads = [threading.Thread(target=lambda: results.append(text_of(ask(model)))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert results == ["".join(str(i) for i in range(20))] * 20
