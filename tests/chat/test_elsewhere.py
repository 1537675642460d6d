"""Turns of another process: told, not only looked up; and only whom it concerns."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from qzbrain.brain import Brain
from qzbrain.chat import elsewhere
from qzbrain.chat.elsewhere import Elsewhere, Waiting
from qzbrain.chat.plan import Ask
from qzbrain.chat.turns import Turns
from qzbrain.domain import Caller
from qzbrain.errors import NotFound, Unavailable
from qzbrain.storage.local_state import LocalState
from qzbrain.storage.shared import News


class Several(LocalState):
    """One state for what plays two processes here."""

    several = True

    def __init__(self) -> None:
        super().__init__()
        self.published: list[News] = []
        self.away = False

    def publish(self, news: News) -> None:
        if self.away:
            raise Unavailable(zh="", en="")
        self.published.append(news)
        super().publish(news)


@pytest.fixture
def shared() -> Several:
    return Several()


def wait_in_thread(place: Elsewhere, waiting: Waiting, running: Any) -> tuple[threading.Thread, list[bool]]:
    ended: list[bool] = []
    thread = threading.Thread(target=lambda: ended.append(place.until_ended(waiting, running)))
    thread.start()
    return thread, ended


def test_the_end_is_told_and_then_looked_up(shared: Several, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "LOOK_EVERY_S", 60.0)
    here, there = Elsewhere(shared, Turns()), Elsewhere(shared, Turns())
    status = {"m": "running"}
    looked = threading.Event()

    def running() -> bool:
        looked.set()
        return status["m"] == "running"

    thread, ended = wait_in_thread(here, Waiting("m"), running)
    assert looked.wait(10)
    there.tell_ended("other")
    status["m"] = "complete"
    there.tell_ended("m")
    thread.join(10)
    assert ended == [True]
    assert News("followed", message_id="m") in shared.published


def test_a_lost_word_costs_one_look(shared: Several, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "LOOK_EVERY_S", 0.05)
    shared.away = True
    left = [3]

    def running() -> bool:
        left[0] -= 1
        return left[0] > 0

    thread, ended = wait_in_thread(Elsewhere(shared, Turns()), Waiting("m"), running)
    thread.join(10)
    assert ended == [True]


def test_who_leaves_waits_no_more_and_what_goes_wrong_comes_out(shared: Several) -> None:
    here, waiting = Elsewhere(shared, Turns()), Waiting("m")
    thread, ended = wait_in_thread(here, waiting, lambda: True)
    waiting.leave()
    thread.join(10)
    assert ended == [False]

    def gone() -> bool:
        raise NotFound(zh="", en="")

    with pytest.raises(NotFound):
        here.until_ended(Waiting("m"), gone)
    assert not here._waiting


def test_news_concern_the_turns_that_they_name(knowing: Brain, me: Caller, shared: Several) -> None:
    turns = [knowing.chat.begin(me, Ask("x", model="m@none")) for _ in range(4)]
    stopped, in_conversation, followed, untouched = turns
    known = Turns()
    for turn in turns:
        known.add(turn)
    Elsewhere(shared, known)
    shared.publish(News("stop", message_id=stopped.message_id))
    shared.publish(News("stop", conversation_id=in_conversation.conversation_id))
    shared.publish(News("followed", message_id=followed.message_id))
    shared.publish(News("ended", message_id=untouched.message_id))
    assert [turn.cancellation.cancelled for turn in turns] == [True, True, False, False]
    assert [turn.awaited_until > time.monotonic() for turn in turns] == [False, False, True, False]
    for turn in turns:
        list(knowing.chat.answer(turn))


def test_in_one_process_nothing_is_told_to_anybody(knowing: Brain, me: Caller) -> None:
    turn = knowing.chat.begin(me, Ask("x", model="m@none"))
    message = knowing.chat.conversations.message(me, turn.message_id)
    alone = Elsewhere(LocalState(), Turns())
    assert message.status == "running"
    assert (alone.may_run(message), alone.stop(message), alone.stop_conversation(turn.conversation_id, lambda: 1)) == (False, False, 0)
    list(knowing.chat.answer(turn))
