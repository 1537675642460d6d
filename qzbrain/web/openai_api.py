"""OpenAI's protocol under /v1: the models by name, and chat completions, plain and streamed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import orjson
from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from qzbrain.brain import Brain
from qzbrain.chat.plan import PASSED_THROUGH, Ask
from qzbrain.chat.turns import Turn
from qzbrain.domain import Answer, Caller, Delta, Done, Failed, StreamEvent
from qzbrain.errors import InvalidRequest
from qzbrain.models.base import ChatMessage
from qzbrain.web import render, replies, schemas
from qzbrain.web.guards import caller
from qzbrain.web.responses import error_reply, failed_error, reply
from qzbrain.web.sse import EventStream, cancelled_on_leaving
from qzbrain.web.turns import counted, finished
from qzbrain.web.validation import validated

_STARTED = int(time.time())


def routes(brain: Brain) -> APIBlueprint:
    """The routes of this module over a brain."""
    api = APIBlueprint("openai", __name__, url_prefix="/v1", abp_tags=[Tag(name="openai")])

    @api.get("/models", responses={"200": replies.ModelList})
    def list_models() -> Response:
        """What `model` may be: names, `NAME@KB` and `NAME@none`."""
        names = brain.chat.model_names(caller(brain.access))
        return reply({"object": "list", "data": [{"id": name, "object": "model", "created": _STARTED, "owned_by": "qzbrain"} for name in names]})

    @api.post("/chat/completions", responses={"200": replies.CompletionReply, "429": replies.ErrorReply, "503": replies.ErrorReply})
    @validated
    def create_completion(body: schemas.ChatCompletionBody) -> Response:
        """Answer the last user message; with `stream` as server-sent chunks."""
        who = caller(brain.access)
        turn = brain.chat.begin(who, _ask(body))
        if body.stream:
            frames = CompletionFrames(turn, body.model, who, with_usage=bool(body.stream_options and body.stream_options.include_usage))
            return EventStream(
                turn,
                counted(brain.chat.answer(turn), "sse"),
                frames.render,
                opening=frames.opening,
                failed=lambda event: error_reply(failed_error(event), who.lang),
            )
        with cancelled_on_leaving(request.environ, turn):
            return reply(_completion(finished(brain.chat.answer(turn)), body.model))

    return api


def _ask(body: schemas.ChatCompletionBody) -> Ask:
    """The last message is the question, those before are the history. Raises InvalidRequest."""
    messages = [ChatMessage(_role(one.role), _text(one.content)) for one in body.messages]
    if messages[-1].role != "user":
        raise InvalidRequest("no_question", zh="messages 的最后一条须是 user 消息。", en="The last of messages must be a user message.", param="messages")
    options: dict[str, Any] = {name: value for name in PASSED_THROUGH if (value := getattr(body, name, None)) is not None}
    history = () if body.conversation_id else messages[:-1]
    return Ask(messages[-1].content, conversation_id=body.conversation_id, model=body.model, options=options, history=history, origin="api")


def _role(role: str) -> str:
    return "system" if role == "developer" else role


def _text(content: str | list[schemas.ContentPart] | None) -> str:
    if isinstance(content, list):
        return "\n".join(part.text for part in content if part.type == "text")
    return content or ""


def _completion(answer: Answer, model: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": answer.answer, "annotations": render.url_citations(answer)}
    return {
        "id": f"chatcmpl-{answer.message_id}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": answer.finish_reason, "logprobs": None}],
        "usage": render.usage(answer),
        **_own_fields(answer),
    }


def _own_fields(answer: Answer) -> dict[str, Any]:
    return {**render.answer_fields(answer), "conversation_id": answer.conversation_id, "message_id": answer.message_id}


class CompletionFrames:
    """One turn's events as OpenAI's chunks. A delta's frame is a fixed prefix, the text as JSON, and a fixed suffix."""

    __slots__ = ("_chunk", "_head", "_lang", "_with_usage", "opening", "render")

    _SUFFIX = b'},"finish_reason":null}]}\n\n'

    def __init__(self, turn: Turn, model: str, who: Caller, *, with_usage: bool) -> None:
        """`opening`: the first chunk, with the role."""
        self._chunk = {"id": f"chatcmpl-{turn.message_id}", "object": "chat.completion.chunk", "created": int(time.time()), "model": model}
        self._lang, self._with_usage = who.lang, with_usage
        head = b"data: " + orjson.dumps(self._chunk)[:-1]
        self.opening = head + b',"choices":[{"index":0,"delta":{"role":"assistant","content":""' + self._SUFFIX
        self._head = head + b',"choices":[{"index":0,"delta":{"content":'
        self.render: Callable[[StreamEvent], bytes] = self._frame

    def _frame(self, event: StreamEvent) -> bytes:
        if type(event) is Delta:
            return b"%b%b%b" % (self._head, orjson.dumps(event.text), self._SUFFIX)
        if isinstance(event, Done):
            return self._end(event.answer)
        if isinstance(event, Failed):
            return b"data: " + orjson.dumps(failed_error(event).body(self._lang)) + b"\n\ndata: [DONE]\n\n"
        return b""

    def _end(self, answer: Answer) -> bytes:
        delta = {"annotations": render.url_citations(answer)} if answer.citations else {}
        last = {**self._chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": answer.finish_reason}], **_own_fields(answer)}
        frames = [last]
        if self._with_usage:
            frames.append({**self._chunk, "choices": [], "usage": render.usage(answer)})
        return b"".join(b"data: " + orjson.dumps(frame) + b"\n\n" for frame in frames) + b"data: [DONE]\n\n"


