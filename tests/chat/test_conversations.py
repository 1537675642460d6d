"""Conversations over turns: history, follow-ups, stop, replay, feedback, and what a crash leaves behind."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update

from qzbrain.brain import Brain
from qzbrain.chat import store
from qzbrain.chat.interrupted import Interrupted, longest_answer_s
from qzbrain.chat.plan import Ask
from qzbrain.chat.turns import KEPT_S, Turn, Turns
from qzbrain.domain import Caller, Delta, Done, StreamEvent
from qzbrain.errors import BrainError, InvalidRequest, NotFound, StorageFull
from qzbrain.jobs.owner import new_owner
from qzbrain.storage.tables import messages
from tests.chat.conftest import Asking, answer_of
from tests.engine import Engine

KINDS = "行政处罚的种类有哪些？"


def eventually(true: Callable[[], object]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


def running(brain: Brain, turn: Turn) -> tuple[threading.Thread, list[StreamEvent]]:
    """Run a turn in a thread of its own."""
    events: list[StreamEvent] = []
    thread = threading.Thread(target=lambda: events.extend(brain.chat.answer(turn)))
    thread.start()
    return thread, events


def test_a_conversation_keeps_questions_and_answers_in_order(asking: Asking, knowing: Brain, me: Caller) -> None:
    made = knowing.chat.conversations.create(me, knowledge_bases=["laws"], model="extractive")
    first = answer_of(asking(KINDS, "auto", conversation_id=made.id))
    second = answer_of(asking("由谁设定？", "auto", conversation_id=made.id))
    assert first.model == second.model == "extractive"
    page = knowing.chat.conversations.messages(me, made.id)
    assert [(m.role, m.status, m.content) for m in page.data] == [
        ("user", "complete", KINDS), ("assistant", "complete", first.answer), ("user", "complete", "由谁设定？"), ("assistant", "complete", second.answer),
    ]  # fmt: skip
    assert page.data[1].answer == first
    assert knowing.chat.conversations.get(me, made.id).title == KINDS


def test_a_follow_up_finds_what_it_is_about(asking: Asking) -> None:
    first = answer_of(asking("劳动合同法第十九条规定了什么？"))
    follow = answer_of(asking("那第三款呢？", conversation_id=first.conversation_id))
    assert follow.rung == "extractive"
    assert follow.answer.startswith("第十九条\u3000劳动合同期限三个月以上")


def test_history_goes_to_the_model(asking: Asking, engine: Engine) -> None:
    first = answer_of(asking("记住：蓝色", "m@none"))
    asking("什么颜色？", "m@none", conversation_id=first.conversation_id)
    assert [x["content"] for x in engine.requests[-1].body["messages"]] == ["记住：蓝色", "你好！", "什么颜色？"]


def test_stopping_keeps_what_came_and_frees_the_engine(knowing: Brain, me: Caller, engine: Engine) -> None:
    engine.script(["字"] * 500, delay_s=0.01, user="stop")
    turn = knowing.chat.begin(me, Ask("x", model="m@none", options={"user": "stop"}))
    thread, events = running(knowing, turn)
    eventually(lambda: sum(isinstance(e, Delta) for e in turn.events) >= 3)
    assert knowing.chat.stop(me, turn.message_id)
    thread.join(10)
    answer = answer_of(events)
    assert answer.stopped and answer.answer.startswith("字字字")
    stored = knowing.chat.conversations.message(me, turn.message_id)
    assert (stored.status, stored.content) == ("stopped", answer.answer)
    eventually(lambda: any(tag == "stop" for tag, _ in engine.cancelled))
    assert not knowing.chat.stop(me, turn.message_id)


def test_stopping_a_conversation(knowing: Brain, me: Caller, engine: Engine) -> None:
    engine.script(["字"] * 500, delay_s=0.01, user="stopall")
    turn = knowing.chat.begin(me, Ask("x", model="m@none", options={"user": "stopall"}))
    thread, events = running(knowing, turn)
    eventually(lambda: turn.events)
    assert knowing.chat.stop_conversation(me, turn.conversation_id) == 1
    thread.join(10)
    assert answer_of(events).stopped
    assert knowing.chat.stop_conversation(me, turn.conversation_id) == 0


def test_a_reader_that_leaves_ends_the_turn_as_stopped(knowing: Brain, me: Caller, engine: Engine) -> None:
    engine.script(["字"] * 500, delay_s=0.01, user="left")
    turn = knowing.chat.begin(me, Ask("x", model="m@none", options={"user": "left"}))
    events = knowing.chat.answer(turn)
    next(events)
    events.close()
    assert knowing.chat.conversations.message(me, turn.message_id).status == "stopped"
    assert isinstance(turn.events[-1], Done) and turn.finished
    eventually(lambda: any(tag == "left" for tag, _ in engine.cancelled))


def test_stopped_before_it_began(knowing: Brain, me: Caller) -> None:
    turn = knowing.chat.begin(me, Ask(KINDS, model="extractive@laws"))
    turn.cancellation.cancel()
    assert answer_of(list(knowing.chat.answer(turn))).stopped


def test_readers_see_every_event_from_their_own_place(knowing: Brain, me: Caller, engine: Engine) -> None:
    engine.script([str(i) for i in range(10)], delay_s=0.005)
    turn = knowing.chat.begin(me, Ask("x", model="m@none"))
    calls: list[int] = []
    callback = lambda: calls.append(len(turn.events))  # noqa: E731
    turn.subscribe(callback)
    events = list(knowing.chat.answer(turn))
    assert turn.events == events
    assert calls == list(range(1, len(events) + 1))
    assert knowing.chat.turns.get(turn.message_id) is turn
    turn.unsubscribe(callback)
    turn.unsubscribe(callback)


def test_ended_turns_are_forgotten_after_ten_minutes_and_api_turns_at_once(knowing: Brain, me: Caller) -> None:
    now = [0.0]
    turns = Turns(clock=lambda: now[0])
    kept = knowing.chat.begin(me, Ask("x", model="m@none"))
    gone = knowing.chat.begin(me, Ask("x", model="m@none", origin="api"))
    for turn in (kept, gone):
        turns.add(turn)
        assert turns.get(turn.message_id) is turn
    assert turns.running() == [kept, gone]
    turns.end(kept, keep=True)
    turns.end(gone, keep=False)
    assert (turns.get(kept.message_id), turns.get(gone.message_id)) == (kept, None)
    now[0] = KEPT_S + 1
    assert turns.get(kept.message_id) is None
    for turn in (kept, gone):
        list(knowing.chat.answer(turn))


def test_answers_whose_process_is_gone_become_stopped_and_those_of_others_go_on(knowing: Brain, me: Caller) -> None:
    turns = [knowing.chat.begin(me, Ask("x", model="m@none")) for _ in range(5)]
    gone, elsewhere, old, unknown, own = (turn.message_id for turn in turns)
    dead = new_owner().replace(f":{os.getpid()}:", f":{os.getpid()}:9")
    rows = {gone: {"runner": dead}, elsewhere: {"runner": "other:1:1:ab"}, old: {"runner": "other:1:1:ab", "created_at": "2001"}, unknown: {"runner": ""}}
    with knowing.db.write() as connection:
        for message_id, values in rows.items():
            connection.execute(update(messages).where(messages.c.id == message_id).values(**values))
    assert Interrupted(knowing.db, knowing.settings).mark() == 3
    assert Interrupted(knowing.db, knowing.settings).mark() == 0
    status = {name: knowing.chat.conversations.message(me, name).status for name in (gone, elsewhere, old, unknown, own)}
    assert status == {gone: "stopped", elsewhere: "running", old: "stopped", unknown: "stopped", own: "running"}
    for turn in turns:
        list(knowing.chat.answer(turn))


def test_an_answer_may_take_as_long_as_the_slowest_model_allows(make_settings: Any) -> None:
    slow = {"engine": "external", "base_url": "http://h/v1", "total_timeout_s": 5000, "queue_timeout_s": 700}
    assert longest_answer_s(make_settings(models={"slow": slow, "m": {"engine": "external", "base_url": "http://h/v1"}})) > 5700
    assert longest_answer_s(make_settings()) > 60


def test_one_off_calls_are_not_listed(asking: Asking, knowing: Brain, me: Caller) -> None:
    api = answer_of(asking(KINDS, origin="api"))
    assert api.conversation_id not in [x.id for x in knowing.chat.conversations.page(me, limit=100).data]
    assert api.conversation_id in [x.id for x in knowing.chat.conversations.page(me, limit=100, include_api=True).data]
    assert knowing.chat.conversations.message(me, api.message_id).status == "complete"


def test_conversations_can_be_changed_paged_and_deleted(knowing: Brain, me: Caller) -> None:
    chat = knowing.chat.conversations
    made = [chat.create(me, title=f"第{i}个会话") for i in range(5)]
    seen: list[str] = []
    after = None
    while True:
        page = chat.page(me, limit=2, after=after)
        seen += [x.id for x in page.data]
        after = page.next
        if not page.has_more:
            break
    assert [x for x in seen if x in {m.id for m in made}] == [m.id for m in reversed(made)]
    assert [x.id for x in chat.page(me, query="第3个").data] == [made[3].id]
    changed = chat.update(me, made[0].id, title="新 标题\n", model="m", knowledge_bases=["laws"])
    assert (changed.title, changed.model, len(changed.knowledge_bases)) == ("新 标题", "m", 1)
    for one in made:
        chat.delete(me, one.id)
    with pytest.raises(NotFound):
        chat.get(me, made[0].id)


def test_deleting_a_conversation_deletes_its_messages(asking: Asking, knowing: Brain, me: Caller) -> None:
    answer = answer_of(asking(KINDS))
    knowing.chat.conversations.delete(me, answer.conversation_id)
    with knowing.db.read() as connection:
        assert not connection.execute(select(messages.c.id).where(messages.c.conversation_id == answer.conversation_id)).all()
    with pytest.raises(NotFound):
        knowing.chat.conversations.message(me, answer.message_id)


def test_another_owners_conversation_is_not_there(asking: Asking, knowing: Brain) -> None:
    answer = answer_of(asking(KINDS))
    stranger = Caller(id="stranger", name="stranger")
    with pytest.raises(NotFound):
        knowing.chat.conversations.get(stranger, answer.conversation_id)
    with pytest.raises(NotFound):
        knowing.chat.stop(stranger, answer.message_id)


def test_feedback_is_kept_and_checked(asking: Asking, knowing: Brain, me: Caller) -> None:
    chat, answer = knowing.chat.conversations, answer_of(asking(KINDS))
    chat.feedback(me, answer.message_id, "down", "漏了一条", conversation_id=answer.conversation_id)
    chat.feedback(me, answer.message_id, "up")
    stored = chat.message(me, answer.message_id)
    assert (stored.rating, stored.comment) == ("up", "")
    question = chat.messages(me, answer.conversation_id).data[0]
    bad: list[tuple[type[BrainError], Callable[[], None]]] = [
        (NotFound, lambda: chat.feedback(me, "nothing", "up")),
        (NotFound, lambda: chat.feedback(me, question.id, "up")),
        (NotFound, lambda: chat.feedback(me, answer.message_id, "up", conversation_id="other")),
        (InvalidRequest, lambda: chat.feedback(me, answer.message_id, "sideways")),  # type: ignore[arg-type]
        (InvalidRequest, lambda: chat.feedback(me, answer.message_id, "up", "x" * 5000)),
    ]
    for error, call in bad:
        with pytest.raises(error):
            call()


def test_a_full_disk_is_said(knowing: Brain, me: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    turn = knowing.chat.begin(me, Ask(KINDS, model="extractive@laws"))

    def full(*_: object, **__: object) -> None:
        raise StorageFull

    monkeypatch.setattr(store, "finish_message", full)
    last = list(knowing.chat.answer(turn))[-1]
    assert getattr(last, "code", "") == "storage_full"


def test_names_for_every_model_and_knowledge_base(knowing: Brain, me: Caller) -> None:
    names = knowing.chat.model_names(me)
    assert {"auto", "extractive", "m", "m@none", "auto@laws", "extractive@open", "away@laws"} <= set(names)
    assert "extractive@none" not in names
