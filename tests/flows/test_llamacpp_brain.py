"""A whole brain whose language model is a real llama.cpp, started by its first question: clients that leave, wait, and ask too much; a killed engine."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.local_engine import tiny_model
from tests.running import RunningBrain, wait_for
from tests.web.web_process import events_of, read_all

UP_S, AGAIN_S = 2.0, 6.0
QUESTION = [{"role": "user", "content": "你好"}]
LONG = {"stream": True, "messages": QUESTION, "max_tokens": 3000, "temperature": 0}
"""Thousands of tokens: at temperature 0 this model never ends by itself here."""


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBrain]:
    """Models `four` and `one` by their slots, and `small`, whose context holds no passage of the laws."""
    path = tiny_model("chat")
    config = "".join(
        f'[models.{name}]\nengine = "llamacpp"\npath = "{path}"\ncontext = {context}\nslots = {slots}\nthreads = 1\n\n'
        for name, slots, context in (("four", 4, 4096), ("one", 1, 4096), ("small", 1, 512))
    )
    running = RunningBrain(tmp_path_factory.mktemp("llamacpp") / "data", config).start()
    yield running
    assert running.stop() == 0
    assert running.processes() == {}


def state(brain: RunningBrain, model: str) -> dict[str, Any]:
    """The engine's own address, key and process."""
    return dict(json.loads(Path(brain.data / "run" / "engines" / f"{model}.json").read_text()))


def at_work(brain: RunningBrain, model: str) -> dict[str, int]:
    """The engine's own figures."""
    engine = state(brain, model)
    reply = urllib3.request("GET", f"{engine['url']}/metrics", headers={"authorization": f"Bearer {engine['key']}"}, timeout=20)
    return {name: int(value) for name, value in re.findall(r"^llamacpp:(requests_\w+) (\d+)", reply.data.decode(), re.MULTILINE)}


def load(brain: RunningBrain, model: str) -> tuple[int, int]:
    """In use and queued, as the brain shows it."""
    shown = next(one for one in brain.call("GET", "/api/models")[1]["data"] if one["name"] == model)
    return shown["in_use"], shown["queued"]


def opened(brain: RunningBrain, body: dict[str, Any]) -> socket.socket:
    """A streamed question whose reply is left to the test."""
    sock, data = socket.create_connection(("127.0.0.1", brain.port), timeout=60), json.dumps(body).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    sock.sendall(head.encode() + data)
    return sock


def asked(brain: RunningBrain, model: str, **more: Any) -> tuple[int, Any]:
    """A question that is not streamed."""
    return brain.call("POST", "/v1/chat/completions", {"model": model, "messages": QUESTION, "max_tokens": 8, **more})


def test_the_first_question_starts_the_engine(brain: RunningBrain) -> None:
    began = time.monotonic()
    stream = opened(brain, {**LONG, "model": "four@none", "max_tokens": 2000, "stream_options": {"include_usage": True}})
    first = stream.recv(65536)
    assert first.startswith(b"HTTP/1.1 200") and time.monotonic() - began < UP_S
    events = events_of(first + read_all(stream))
    ends = [choice["finish_reason"] for event in events[:-1] for choice in event["choices"] if choice["finish_reason"]]
    texts = [choice["delta"].get("content") for event in events[:-1] for choice in event["choices"]]
    assert (ends, events[-1]) == (["length"], "[DONE]")
    assert len([text for text in texts if text]) > 3, "tokens that arrive together leave together, but not all of them"
    assert [event["usage"]["completion_tokens"] for event in events[:-1] if event.get("usage")] == [2000]


def test_eight_on_four_slots_are_all_whole(brain: RunningBrain) -> None:
    asked(brain, "four@none")
    most, done = 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.is_set():
            most = max(most, sum(at_work(brain, "four").values()))

    watching = threading.Thread(target=watch)
    watching.start()
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: read_all(opened(brain, {**LONG, "model": "four@none", "max_tokens": 300})), range(8)))
    done.set()
    watching.join()
    answers = [events_of(reply) for reply in replies]
    assert all(events[-1] == "[DONE]" for events in answers)
    texts = ["".join(choice["delta"].get("content") or "" for event in events[:-1] for choice in event["choices"]) for events in answers]
    assert all(len(text) > 100 for text in texts)
    assert 2 <= most <= 4  # the engine itself never has anybody wait


def test_who_leaves_while_waiting_leaves_the_queue_and_was_never_sent(brain: RunningBrain) -> None:
    asked(brain, "one@none")
    first = opened(brain, {**LONG, "model": "one@none"})
    first.recv(65536)
    waiting = opened(brain, {**LONG, "model": "one@none"})
    wait_for(lambda: load(brain, "one") == (1, 1), "one waits", 10)
    assert at_work(brain, "one") == {"requests_processing": 1, "requests_deferred": 0}
    waiting.close()
    wait_for(lambda: load(brain, "one") == (1, 0), "it has left the queue", 2)
    first.close()
    wait_for(lambda: at_work(brain, "one") == {"requests_processing": 0, "requests_deferred": 0}, "idle", 2)
    wait_for(lambda: load(brain, "one") == (0, 0), "its slot is free", 2)
    assert asked(brain, "one@none")[0] == 200


def test_an_engine_that_was_killed_answers_the_next_question(brain: RunningBrain) -> None:
    asked(brain, "four@none")
    os.kill(state(brain, "four")["pid"], signal.SIGKILL)
    began = time.monotonic()
    status, reply = asked(brain, "four@none")
    assert status == 200 and reply["choices"][0]["message"]["content"]
    assert time.monotonic() - began < AGAIN_S


def test_a_bare_question_over_the_context_is_refused(brain: RunningBrain) -> None:
    status, reply = asked(brain, "small@none", messages=[{"role": "user", "content": "法" * 1000}])
    assert (status, reply["error"]["code"], reply["error"]["type"]) == (400, "request_refused", "invalid_request_error")
    assert "缩短" in reply["error"]["message"]
    assert asked(brain, "small@none")[0] == 200


def test_a_prompt_over_the_context_is_answered_from_the_documents_and_says_why(brain: RunningBrain) -> None:
    wait_for(lambda: brain.call("GET", "/api/knowledge-bases/laws")[1]["documents"]["pending"] == 0, "the laws are read", 90)
    status, reply = asked(brain, "small@laws", messages=[{"role": "user", "content": "行政处罚的种类有哪些？"}])
    assert status == 200 and reply["rung"] == "extractive"
    assert "context" in reply["rung_reason"] and "原文摘录" in reply["rung_reason"]
    assert [one["part"] for one in reply["degraded"]] == ["model small"]
    assert "警告" in reply["choices"][0]["message"]["content"]
    assert asked(brain, "small@none")[0] == 200
