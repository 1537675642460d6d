"""Conversations and their messages under /api."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from qzbrain.brain import Brain
from qzbrain.chat.plan import Ask
from qzbrain.chat.shares import Shares
from qzbrain.chat.turns import Turn
from qzbrain.domain import Caller, Conversation, StoredMessage, StreamEvent
from qzbrain.errors import Lang
from qzbrain.web import render, replies, schemas
from qzbrain.web.guards import caller
from qzbrain.web.responses import error_reply, failed_error, no_content, reply
from qzbrain.web.sse import EventStream, cancelled_on_leaving
from qzbrain.web.turns import counted, event_payload, finished
from qzbrain.web.validation import validated


def routes(brain: Brain) -> APIBlueprint:
    """The routes of this module over a brain."""
    api = APIBlueprint("chat", __name__, url_prefix="/api", abp_tags=[Tag(name="conversations")])
    _conversations(api, brain)
    _messages(api, brain)
    return api


def _conversations(api: APIBlueprint, brain: Brain) -> None:
    @api.post("/conversations", responses={"201": replies.ConversationReply})
    @validated
    def create_conversation(body: schemas.ConversationCreate) -> Response:
        """Make an empty conversation."""
        given = body.model_dump(exclude_none=True, exclude_defaults=True)
        return reply(_conversation(brain.chat.conversations.create(caller(brain.access), **given)), 201)

    @api.get("/conversations", responses={"200": replies.page_of(replies.ConversationReply)})
    @validated
    def list_conversations(query: schemas.ConversationQuery) -> Response:
        """Your conversations, latest first, or those that others share with you."""
        shared = query.shared in ("1", "true")
        found = brain.chat.conversations.page(caller(brain.access), limit=query.limit, after=query.after, query=query.q, shared=shared)
        return reply(render.page(found, _conversation))

    @api.get("/conversations/<conversation_id>", responses={"200": replies.ConversationReply})
    @validated
    def get_conversation(path: schemas.ConversationPath) -> Response:
        """One conversation."""
        return reply(_conversation(brain.chat.conversations.get(caller(brain.access), path.conversation_id)))

    @api.patch("/conversations/<conversation_id>", responses={"200": replies.ConversationReply})
    @validated
    def update_conversation(path: schemas.ConversationPath, body: schemas.ConversationUpdate) -> Response:
        """Change title, model or knowledge bases."""
        changes = body.model_dump(exclude_none=True)
        return reply(_conversation(brain.chat.conversations.update(caller(brain.access), path.conversation_id, **changes)))

    @api.delete("/conversations/<conversation_id>", responses={"204": None})
    @validated
    def delete_conversation(path: schemas.ConversationPath) -> Response:
        """Delete a conversation with its messages."""
        brain.chat.conversations.delete(caller(brain.access), path.conversation_id)
        return no_content()

    @api.get("/conversations/<conversation_id>/share", responses={"200": replies.SharesReply, "403": replies.ErrorReply})
    @validated
    def get_shares(path: schemas.ConversationPath) -> Response:
        """Who may read a conversation of yours."""
        return reply(_shares(brain.chat.conversations.shares(caller(brain.access), path.conversation_id)))

    @api.post("/conversations/<conversation_id>/share", responses={"200": replies.SharesReply, "403": replies.ErrorReply})
    @validated
    def share_conversation(path: schemas.ConversationPath, body: schemas.ShareBody) -> Response:
        """Let these users and groups read a conversation, and nobody else. Each is shown of it what he may see himself."""
        return reply(_shares(brain.chat.conversations.share(caller(brain.access), path.conversation_id, users=body.users, groups=body.groups)))


def _messages(api: APIBlueprint, brain: Brain) -> None:
    @api.get("/conversations/<conversation_id>/messages", responses={"200": replies.page_of(replies.MessageReply)})
    @validated
    def list_messages(path: schemas.ConversationPath, query: schemas.ListQuery) -> Response:
        """Messages of a conversation, oldest first."""
        who = caller(brain.access)
        found = brain.chat.conversations.messages(who, path.conversation_id, limit=query.limit, after=query.after)
        return reply(render.page(found, lambda one: _message(one, who.lang)))

    @api.post("/conversations/<conversation_id>/messages", responses={"200": replies.AnswerReply, "429": replies.ErrorReply, "503": replies.ErrorReply})
    @validated
    def ask(path: schemas.ConversationPath, body: schemas.MessageCreate) -> Response:
        """Ask within a conversation: the answer object, or with `Accept: text/event-stream` the events as they come."""
        who = caller(brain.access)
        question = Ask(body.content, conversation_id=path.conversation_id, model=body.model or "", knowledge_bases=body.knowledge_bases, options=body.options)
        turn = brain.chat.begin(who, question)
        if "text/event-stream" in request.headers.get("Accept", ""):
            events = counted(brain.chat.answer(turn), "sse")
            return EventStream(turn, events, _frames(turn, who), failed=lambda event: error_reply(failed_error(event), who.lang))
        with cancelled_on_leaving(request.environ, turn):
            return reply(render.answer(finished(brain.chat.answer(turn))))

    @api.post("/conversations/<conversation_id>/stop", responses={"200": replies.StoppedReply})
    @validated
    def stop(path: schemas.ConversationPath) -> Response:
        """Stop the answers of a conversation that are under way."""
        who = caller(brain.access)
        return reply({"stopped": brain.chat.stop_conversation(who, path.conversation_id)})

    @api.post("/conversations/<conversation_id>/messages/<message_id>/feedback", responses={"204": None})
    @validated
    def give_feedback(path: schemas.MessagePath, body: schemas.Feedback) -> Response:
        """Say whether an answer was good; saying it again replaces it."""
        brain.chat.conversations.feedback(caller(brain.access), path.message_id, body.rating, body.comment, conversation_id=path.conversation_id)
        return no_content()


def _frames(turn: Turn, who: Caller) -> Any:
    def frame(event: StreamEvent) -> bytes:
        name, payload = event_payload(turn, event, who.lang)
        return b"event: %b\ndata: %b\n\n" % (name.encode(), orjson.dumps(payload))

    return frame


def _conversation(one: Conversation) -> dict[str, Any]:
    return {
        "id": one.id,
        "title": one.title,
        "model": one.model,
        "knowledge_bases": one.knowledge_bases,
        "messages": one.messages,
        "created_at": one.created_at,
        "updated_at": one.updated_at,
        "mine": one.mine,
    }


def _shares(found: Shares) -> dict[str, Any]:
    users, groups = ([{"id": id_, "name": name} for id_, name in some] for some in (found.users, found.groups))
    return {"users": users, "groups": groups}


def _message(one: StoredMessage, lang: Lang) -> dict[str, Any]:
    shown: dict[str, Any] = render.answer(one.answer) if one.answer is not None else {}
    if one.error is not None:
        shown["error"] = {"code": one.error.get("code"), "message": one.error.get(lang) or one.error.get("message")}
    return {
        **shown,
        "id": one.id,
        "message_id": one.id,
        "conversation_id": one.conversation_id,
        "role": one.role,
        "status": one.status,
        "content": one.content,
        "rating": one.rating,
        "comment": one.comment,
        "created_at": one.created_at,
        "finished_at": one.finished_at,
    }
