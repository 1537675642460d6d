"""Chat models under llama.cpp, for real: started by the first question, streaming, several at once, left, killed, asked for too much, ended.

The model is tiny and has random weights, so a grammar makes it say a known number of Chinese characters, three tokens each.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qzbrain.errors import Cancelled, EngineUnavailable
from qzbrain.models.base import Cancellation, ChatMessage, Generation, Piece
from qzbrain.models.engines import processes
from qzbrain.models.engines.gauges import at_work, get
from qzbrain.models.engines.launching import state_path
from qzbrain.models.engines.local import LocalEngines
from qzbrain.models.registry import ModelRegistry
from qzbrain.settings import ModelSettings, Settings
from tests.local_engine import tiny_model
from tests.running import wait_for

CHARACTERS = 100
CHINESE = {"grammar": f"root ::= [一-龥]{{{CHARACTERS}}}", "max_tokens": 4 * CHARACTERS}
ENDLESS = {"ignore_eos": True, "max_tokens": 1_000_000}
CONTEXT = 4096
IDLE_S = 0.1
"""Longest time from a client's leaving to an idle engine."""
TRIES_S = 40.0
"""For so long the best of all tries counts: what else the machine does in that tenth of a second is not the engine's."""


class Machine:
    """One llama.cpp chat model `m`, and its engine as the product runs it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.engines = LocalEngines(settings)
        self.models = ModelRegistry(settings, self.engines)

    def stream(self, text: str, cancellation: Cancellation | None = None, **options: object) -> Iterator[Piece]:
        return self.models.chat_model("m").generate(Generation([ChatMessage("user", text)], options), cancellation or Cancellation())

    def ask(self, text: str = "你好") -> list[Piece]:
        return list(self.stream(text, **CHINESE))

    def pid(self) -> int:
        running = self.engines.running("m")
        assert running is not None
        return running.pid

    def at_work(self) -> tuple[int, int]:
        """Requests that the engine answers, and those that it keeps waiting."""
        return self.metric("requests_processing"), self.metric("requests_deferred")

    def metric(self, name: str) -> int:
        running = self.engines.running("m")
        text = get(running.url, "/metrics", running.key) if running else None
        assert text is not None
        return next(int(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"llamacpp:{name} "))

    def idle_after(self, leave: Callable[[], None]) -> float:
        """Seconds from `leave` until the engine has nothing to do."""
        began = time.monotonic()
        leave()
        wait_for(lambda: self.at_work() == (0, 0), "idle", 20, step_s=0.001)
        return time.monotonic() - began


class Leaver:
    """A client in a thread of its own, which asks for more than it will stay for."""

    def __init__(self, machine: Machine, text: str, **options: object) -> None:
        self.cancellation, self.pieces, self.ended = Cancellation(), 0, ""
        self._stream = machine.stream(text, self.cancellation, **{**ENDLESS, "cache_prompt": False, **options})
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def leave(self) -> None:
        self.cancellation.cancel()

    def join(self) -> str:
        self._thread.join(20)
        return self.ended

    def _run(self) -> None:
        try:
            for _ in self._stream:
                self.pieces += 1
            self.ended = "whole"
        except Cancelled:
            self.ended = "cancelled"
        except EngineUnavailable as exc:
            self.ended = exc.en


Make = Callable[..., Machine]


@pytest.fixture
def make(make_settings: Callable[..., Settings]) -> Iterator[Make]:
    """A machine whose model has these settings besides; the engine sleeps."""
    made: list[Machine] = []

    def one(**changes: object) -> Machine:
        table = {"engine": "llamacpp", "path": str(tiny_model("chat")), "context": CONTEXT, "slots": 4, "first_token_timeout_s": 20, **changes}
        made.append(Machine(make_settings(models={"m": ModelSettings.model_validate(table)})))
        return made[-1]

    yield one
    for machine in made:
        machine.engines.close()
        assert processes.of_engine(state_path(machine.settings, "m")) == []


def best_of(leave: Callable[[], float]) -> float:
    """The shortest time that `leave` told, of as many tries as it takes, for `TRIES_S` at most: others may be busy on the same cores meanwhile."""
    until, took_s = time.monotonic() + TRIES_S, leave()
    while took_s >= IDLE_S and time.monotonic() < until:
        took_s = min(took_s, leave())
    return took_s


def text_of(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def is_whole(pieces: list[Piece]) -> bool:
    """All that was asked for, each character put together from its three tokens, and the end told once."""
    text = text_of(pieces)
    chinese = len(text) == CHARACTERS and all("一" <= one <= "龥" for one in text)
    return chinese and [piece.finish_reason for piece in pieces if piece.finish_reason] == ["stop"] and pieces[-1].finish_reason == "stop"


def prompt_tokens(text: str) -> int:
    """A byte is a token, and the template adds three of its own."""
    return 3 + len(f"user\n{text}\nassistant\n".encode())


def test_the_first_question_starts_it_and_the_answer_streams(make: Make) -> None:
    machine = make()
    began = time.monotonic()
    first = next(machine.stream("你好", **CHINESE))
    assert time.monotonic() - began < 2 and 0 < len(first.text) < CHARACTERS and first.finish_reason is None
    pieces = machine.ask("你好")
    assert is_whole(pieces)
    usage = pieces[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (prompt_tokens("你好"), 3 * CHARACTERS + 1)


def test_the_end_by_length_is_told_as_such(make: Make) -> None:
    last = list(make().stream("你好", max_tokens=7, ignore_eos=True))[-1]
    assert last.finish_reason == "length" and last.usage is not None and last.usage.completion_tokens == 7


@pytest.mark.parametrize("slots", [4, 8])
def test_eight_streams_at_once_are_all_whole(make: Make, slots: int) -> None:
    machine = make(slots=slots)
    questions = [f"第{number}个问题" * (1 + number) for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(machine.ask, questions))
    assert all(map(is_whole, answers))
    assert [pieces[-1].usage.prompt_tokens for pieces in answers if pieces[-1].usage] == [prompt_tokens(one) for one in questions]
    assert len({text_of(pieces) for pieces in answers}) == 8
    assert machine.at_work() == (0, 0)


def test_who_leaves_in_the_middle_frees_the_engine(make: Make) -> None:
    machine = make()

    def leave() -> float:
        client = Leaver(machine, "你好")
        wait_for(lambda: client.pieces > 5, "streaming")
        assert machine.at_work() == (1, 0)
        took_s = machine.idle_after(client.leave)
        assert client.join() == "cancelled"
        return took_s

    assert best_of(leave) < IDLE_S


def test_who_leaves_while_the_prompt_is_read_frees_the_engine(make: Make) -> None:
    machine = make(slots=8)
    machine.ask()

    def leave() -> float:
        clients = [Leaver(machine, f"{number}" * (CONTEXT - 100)) for number in range(8)]
        wait_for(lambda: machine.at_work()[0] == 8, "reading", step_s=0.001)
        took_s = machine.idle_after(lambda: [client.leave() for client in clients] and None)
        assert {client.join() for client in clients} == {"cancelled"}
        assert sum(client.pieces for client in clients) == 0
        return took_s

    assert best_of(leave) < IDLE_S


def test_who_leaves_while_waiting_for_a_slot_costs_the_engine_nothing(make: Make) -> None:
    """llama.cpp itself keeps such a request until its turn, and drops it then before it reads any of it. The brain's own gate lets none wait there."""
    machine = make(slots=2)

    def leave() -> float:
        working = [Leaver(machine, "你好"), Leaver(machine, "再见")]
        wait_for(lambda: all(client.pieces for client in working), "streaming")
        waiting = Leaver(machine, "请等一等" * 300)
        wait_for(lambda: machine.at_work() == (2, 1), "waiting", step_s=0.001)
        waiting.leave()
        assert (waiting.join(), waiting.pieces) == ("cancelled", 0)
        for client in working:
            client.leave()
        return machine.idle_after(lambda: None)

    assert best_of(leave) < IDLE_S
    assert machine.metric("prompt_tokens_total") < prompt_tokens("请等一等" * 300)


def test_one_that_was_killed_answers_the_next_question(make: Make) -> None:
    machine = make()
    client = Leaver(machine, "你好")
    wait_for(lambda: client.pieces > 5, "streaming")
    before = machine.pid()
    os.kill(before, signal.SIGKILL)
    assert "broke off" in client.join() or "lost" in client.join()
    began = time.monotonic()
    assert is_whole(machine.ask())
    assert time.monotonic() - began < 6 and machine.pid() != before


def test_a_prompt_over_the_context_is_refused_with_the_next_step_and_does_no_harm(make: Make) -> None:
    machine = make(context=512)
    with pytest.raises(EngineUnavailable) as refusal:
        list(machine.stream("长" * 500))
    assert refusal.value.request_refused and not refusal.value.engine_full
    assert "512" in refusal.value.en and "512" in refusal.value.zh
    assert "shorten" in refusal.value.en and "请缩短" in refusal.value.zh and "引擎是否在运行" not in refusal.value.zh
    assert is_whole(machine.ask())
    healthy = machine.models.first_healthy()
    assert healthy is not None and healthy.name == "m"


def test_an_answer_that_fills_the_context_ends_by_length(make: Make) -> None:
    pieces = list(make(context=512).stream("你好", **ENDLESS))
    usage = pieces[-1].usage
    assert pieces[-1].finish_reason == "length" and usage is not None
    assert usage.prompt_tokens + usage.completion_tokens <= 512


def test_a_stop_gives_all_its_memory_back(make: Make) -> None:
    machine = make()
    machine.ask()
    mark = state_path(machine.settings, "m")
    pids = processes.of_engine(mark)
    assert pids == [machine.pid()] and resident_bytes(pids[0]) > 10 << 20
    machine.engines.children.stop("m", 10)
    assert processes.of_engine(mark) == [] and resident_bytes(pids[0]) == 0
    running = machine.engines.running("m")
    assert running is None and not mark.exists()


def test_nobody_without_the_key_is_answered(make: Make) -> None:
    machine = make()
    machine.ask()
    running = machine.engines.running("m")
    assert running is not None
    assert (at_work(running.url, ""), at_work(running.url, "wrong"), at_work(running.url, running.key)) == (None, None, 0)


def resident_bytes(pid: int) -> int:
    """0 for a process that has ended."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
