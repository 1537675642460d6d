"""RATE_LIMIT_PER_MINUTE: questions of one caller, however they are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from qzbrain.brain import Brain, build
from qzbrain.chat.plan import Ask
from qzbrain.domain import Caller
from qzbrain.errors import InvalidRequest, RateLimited
from qzbrain.settings import Settings


@pytest.fixture
def limited(make_settings: Callable[..., Settings]) -> Iterator[Brain]:
    made = build(make_settings(rate_limit_per_minute=3))
    made.knowledge.create(made.access.local_caller(), name="laws")
    yield made
    made.close()


def test_beyond_the_limit_a_question_is_refused_and_nothing_is_stored(limited: Brain) -> None:
    me, chat = limited.access.local_caller(), limited.chat
    conversation = chat.conversations.create(me)
    for _ in range(4):
        with pytest.raises(InvalidRequest):  # what cannot be answered does not count
            chat.begin(me, Ask(" "))
    asks = [Ask("x"), Ask("x", conversation_id=conversation.id), Ask("x", origin="api")]
    for ask in asks:
        list(chat.answer(chat.begin(me, ask)))
    for ask in asks:
        with pytest.raises(RateLimited) as refused:
            chat.begin(me, ask)
        assert (refused.value.code, refused.value.type) == ("rate_limit_exceeded", "rate_limit_error")
        assert 0 < (refused.value.retry_after_s or 0) <= 60
    assert len(chat.conversations.messages(me, conversation.id).data) == 2
    other = Caller(id="somebody", name="somebody")
    with pytest.raises(RateLimited):
        chat.begin(me, Ask("x"))
    assert chat._shared.take(other.id, limit=3, window_s=60) == 0
    list(chat.answer(chat.begin(me, Ask("x"), limited=False)))  # the command line, at the machine itself


def test_without_a_limit_nothing_is_counted(make_settings: Callable[..., Settings]) -> None:
    brain = build(make_settings())
    me = brain.access.local_caller()
    for _ in range(30):
        list(brain.chat.answer(brain.chat.begin(me, Ask("x", origin="api"))))
    brain.close()
