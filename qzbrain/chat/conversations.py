"""Conversations and their messages: list, change, delete, share, feedback. Each belongs to one owner; another's answers as if it were not there.

Those with whom it is shared may read it. Whoever reads is shown of stored answers what he may see now (`rereading`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from sqlalchemy import ColumnElement, Row, and_, delete, func, insert, or_, select, update

from qzbrain.auth.access import Access
from qzbrain.chat.plan import checked_model
from qzbrain.chat.query import Earlier, full_question
from qzbrain.chat.rereading import Rereading
from qzbrain.chat.shares import ShareRows, Shares, forget_shares, readable_by, shared_with
from qzbrain.chat.store import answer_of, new_conversation_row
from qzbrain.domain import Answer, Caller, Conversation, Page, StoredMessage
from qzbrain.errors import InvalidRequest, NotFound, PermissionRefused
from qzbrain.models.registry import AUTO, ModelRegistry
from qzbrain.storage.database import Database
from qzbrain.storage.tables import conversations, messages

LONGEST_TITLE = 200
LONGEST_COMMENT = 4000
_COUNT = select(func.count()).where(messages.c.conversation_id == conversations.c.id).scalar_subquery().label("messages")
_CONVERSATION = select(conversations, _COUNT)


class Conversations:
    """Every method takes the caller first. It changes only conversations that the caller owns, and shows those and what is shared with him."""

    def __init__(self, db: Database, access: Access, models: ModelRegistry, rereading: Rereading) -> None:
        self._db, self._access, self._models, self._rereading = db, access, models, rereading
        self._shares = ShareRows(db)

    def create(self, caller: Caller, *, title: str = "", knowledge_bases: Sequence[str] | None = None, model: str = AUTO) -> Conversation:
        """A new, empty conversation. Raises NotFound for an unknown knowledge base or model."""
        kb_ids = self._kb_ids(caller, knowledge_bases)
        row = new_conversation_row(owner=caller.id, title=_title(title), model=checked_model(model, self._models), kb_ids=kb_ids, origin="console")
        with self._db.write() as connection:
            connection.execute(insert(conversations), row)
        return self.get(caller, row["id"])

    def page(
        self, caller: Caller, *, limit: int = 50, after: str | None = None, include_api: bool = False, query: str = "", shared: bool = False
    ) -> Page[Conversation]:
        """Latest first. One-off calls over the API are left out unless asked for. `query`: only titles that hold it. `shared`: others', shared with the
        caller, instead of his own."""
        own = conversations.c.owner == caller.id
        wanted: list[ColumnElement[bool]] = [~own, shared_with(caller)] if shared else [own]
        if not include_api:
            wanted.append(conversations.c.origin == "console")
        if query:
            wanted.append(conversations.c.title.icontains(query, autoescape=True))
        if after:
            when, _, last = after.partition("|")
            wanted.append(or_(conversations.c.updated_at < when, and_(conversations.c.updated_at == when, conversations.c.id < last)))
        statement = _CONVERSATION.where(*wanted).order_by(conversations.c.updated_at.desc(), conversations.c.id.desc()).limit(limit + 1)
        rows = self._db.rows(statement)
        data = tuple(self._shown(caller, row) for row in rows[:limit])
        more = len(rows) > limit
        return Page(data, more, f"{data[-1].updated_at}|{data[-1].id}" if more else None)

    def get(self, caller: Caller, conversation_id: str) -> Conversation:
        """A conversation that the caller owns, or that is shared with him. Raises NotFound."""
        rows = self._db.rows(_CONVERSATION.where(conversations.c.id == conversation_id, readable_by(caller))) if _is_id(conversation_id) else ()
        if not rows:
            raise _unknown("conversation_not_found", zh="没有这个会话，或它已被删除。", en="There is no such conversation, or it was deleted.")
        return self._shown(caller, rows[0])

    def own(self, caller: Caller, conversation_id: str) -> Conversation:
        """A conversation that the caller may go on with and change. Raises NotFound, PermissionRefused for another's that he may read."""
        found = self.get(caller, conversation_id)
        if not found.mine:
            raise _not_yours()
        return found

    def share(self, caller: Caller, conversation_id: str, *, users: Sequence[str] = (), groups: Sequence[str] = ()) -> Shares:
        """Let these (names or ids) read a conversation, and nobody else. Raises NotFound, InvalidRequest, PermissionRefused."""
        self._shares.set(self.own(caller, conversation_id).id, users, groups)
        return self._shares.of(conversation_id)

    def shares(self, caller: Caller, conversation_id: str) -> Shares:
        """Who may read a conversation of the caller's. Raises NotFound, PermissionRefused."""
        return self._shares.of(self.own(caller, conversation_id).id)

    def update(
        self, caller: Caller, conversation_id: str, *, title: str | None = None, model: str | None = None, knowledge_bases: Sequence[str] | None = None
    ) -> Conversation:
        """Change what is given. Raises NotFound, InvalidRequest, PermissionRefused."""
        self.own(caller, conversation_id)
        values: dict[str, Any] = {}
        if title is not None:
            values["title"] = _title(title)
        if model is not None:
            values["model"] = checked_model(model, self._models)
        if knowledge_bases is not None:
            values["knowledge_bases"] = self._kb_ids(caller, knowledge_bases)
        if values:
            with self._db.write() as connection:
                connection.execute(update(conversations).where(conversations.c.id == conversation_id).values(**values))
        return self.get(caller, conversation_id)

    def delete(self, caller: Caller, conversation_id: str) -> None:
        """Forget a conversation with all its messages. Raises NotFound, PermissionRefused."""
        self.own(caller, conversation_id)
        with self._db.write() as connection:
            forget_shares(connection, conversation_id)
            connection.execute(delete(messages).where(messages.c.conversation_id == conversation_id))
            connection.execute(delete(conversations).where(conversations.c.id == conversation_id))

    def messages(self, caller: Caller, conversation_id: str, *, limit: int = 100, after: str | None = None) -> Page[StoredMessage]:
        """In order, oldest first. Raises NotFound."""
        self.get(caller, conversation_id)
        statement = select(messages).where(messages.c.conversation_id == conversation_id)
        if after:
            if not after.isdecimal():
                raise InvalidRequest(zh="after 不是本接口给出的游标。", en="after is not a cursor that this route gave.", param="after")
            statement = statement.where(messages.c.position > int(after))
        rows = self._db.rows(statement.order_by(messages.c.position, messages.c.id).limit(limit + 1))
        more = len(rows) > limit
        return Page(tuple(self._messages(caller, rows[:limit])), more, str(rows[limit - 1].position) if more else None)

    def message(self, caller: Caller, message_id: str, *, own: bool = False) -> StoredMessage:
        """One message that the caller may read; `own`: of a conversation of his. Raises NotFound, PermissionRefused."""
        statement = select(messages, conversations.c.owner).join(conversations, conversations.c.id == messages.c.conversation_id)
        rows = self._db.rows(statement.where(messages.c.id == message_id, readable_by(caller))) if _is_id(message_id) else ()
        if not rows:
            raise _unknown("message_not_found", zh="没有这条消息，或它已被删除。", en="There is no such message, or it was deleted.")
        if own and rows[0].owner != caller.id:
            raise _not_yours()
        return self._messages(caller, rows)[0]

    def question_of(self, caller: Caller, conversation_id: str, message_id: str) -> tuple[str, StoredMessage]:
        """The full question (a follow-up with the subject that it lacks) that an answer replied to, and the answer. Raises NotFound."""
        answer = self.message(caller, message_id, own=True)
        if answer.role != "assistant" or answer.conversation_id != conversation_id:
            raise _unknown("message_not_found", zh="这个会话里没有这条回答。", en="This conversation has no such answer.")
        rows = self._db.rows(
            select(messages.c.id, messages.c.role, messages.c.content).where(messages.c.conversation_id == conversation_id).order_by(messages.c.position)
        )
        before = [row for row in rows[: next(n for n, row in enumerate(rows) if row.id == message_id)] if row.role == "user"]
        if not before:
            raise _unknown("message_not_found", zh="找不到这条回答所对应的问题。", en="The question that this answer replied to is not there.")
        return full_question(before[-1].content, [Earlier(row.content) for row in before[:-1]]), answer

    def feedback(self, caller: Caller, message_id: str, rating: Literal["up", "down"], comment: str = "", *, conversation_id: str | None = None) -> None:
        """Say whether an answer was good; saying it again replaces it. Raises NotFound, InvalidRequest."""
        message = self.message(caller, message_id, own=True)
        if message.role != "assistant" or conversation_id not in (None, message.conversation_id):
            raise _unknown("message_not_found", zh="这个会话里没有这条回答。", en="This conversation has no such answer.")
        if rating not in ("up", "down"):
            raise InvalidRequest(zh="rating 只能是 up 或 down。", en="rating is up or down.", param="rating")
        if len(comment) > LONGEST_COMMENT:
            raise InvalidRequest(zh=f"评论超过 {LONGEST_COMMENT} 个字符。", en=f"The comment is longer than {LONGEST_COMMENT} characters.", param="comment")
        with self._db.write() as connection:
            connection.execute(update(messages).where(messages.c.id == message_id).values(rating=rating, comment=comment))

    def _messages(self, caller: Caller, rows: Sequence[Row[Any]]) -> list[StoredMessage]:
        """The messages of these rows, as the caller may see them now."""
        stored = [_message(row) for row in rows]
        shown = iter(self._rereading.answers(caller, [one.answer for one in stored if one.answer is not None]))
        return [one if one.answer is None else _with_answer(one, next(shown)) for one in stored]

    def _shown(self, caller: Caller, row: Row[Any]) -> Conversation:
        """Of another's conversation nothing that names what the caller may not read."""
        found = Conversation(row.id, row.title, row.model, tuple(row.knowledge_bases), row.origin, row.created_at, row.updated_at, row.messages)
        if row.owner == caller.id:
            return found
        readable = tuple(kb_id for kb_id in found.knowledge_bases if self._access.allows(caller, "read", kb_id))
        return replace(found, model=found.model.partition("@")[0], knowledge_bases=readable, mine=False)

    def _kb_ids(self, caller: Caller, names: Sequence[str] | None) -> list[str]:
        return [ref.id for ref in self._access.resolve(caller, names)] if names else []


def _with_answer(message: StoredMessage, answer: Answer) -> StoredMessage:
    return replace(message, answer=answer, content=answer.answer) if answer.withheld else replace(message, answer=answer)


def _message(row: Row[Any]) -> StoredMessage:
    answer: Answer | None = answer_of(row) if row.role == "assistant" and row.status in ("complete", "stopped") else None
    return StoredMessage(
        id=row.id,
        conversation_id=row.conversation_id,
        role=row.role,
        status=row.status,
        content=row.content,
        created_at=row.created_at,
        finished_at=row.finished_at,
        rating=row.rating,
        comment=row.comment,
        answer=answer,
        error=(row.details or {}).get("error"),
    )


def _title(title: str) -> str:
    line = " ".join(title.split())
    if len(line) > LONGEST_TITLE:
        raise InvalidRequest(zh=f"标题超过 {LONGEST_TITLE} 个字符。", en=f"The title is longer than {LONGEST_TITLE} characters.", param="title")
    return line


def _is_id(value: str) -> bool:
    return len(value) <= 64 and value.isascii() and value.isprintable()


def _not_yours() -> PermissionRefused:
    return PermissionRefused(
        "conversation_not_yours",
        zh="这是他人与您共享的会话，只能查看。请新建会话来提问。",
        en="This conversation is shared with you for reading. Begin one of your own to ask.",
    )


def _unknown(code: str, *, zh: str, en: str) -> NotFound:
    return NotFound(code, zh=zh, en=en, param="id")
