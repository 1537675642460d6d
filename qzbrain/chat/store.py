"""Rows of conversations and messages: what a turn writes, and how a row becomes a value again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, bindparam, insert, select, update

from qzbrain.chat.plan import LONGEST_MODEL
from qzbrain.chat.query import Earlier
from qzbrain.chat.rereading import Judged, Kept
from qzbrain.domain import Answer, Citation, CitedFact, Degraded, Usage, new_id, utc_now
from qzbrain.jobs.owner import died_here
from qzbrain.models.base import ChatMessage
from qzbrain.storage.database import Database, Submitted
from qzbrain.storage.tables import conversations, messages

HISTORY_MESSAGES = 12
"""Messages of a conversation that can matter for the next answer."""
TITLE_CHARS = 40

_NEW_CONVERSATION = insert(conversations)
_NEW_MESSAGE = insert(messages)
_TOUCH = update(conversations).where(conversations.c.id == bindparam("b_id")).values(updated_at=bindparam("b_updated_at"), title=bindparam("b_title"))
_FINISH = (
    update(messages)
    .where(messages.c.id == bindparam("b_id"))
    .values({name: bindparam(f"b_{name}") for name in ("status", "content", "model", "rung", "rung_reason", "confidence", "details", "finished_at")})
)
_RUNNING = select(messages.c.id, messages.c.runner, messages.c.created_at).where(messages.c.status == "running")
_LAST = (
    select(messages.c.role, messages.c.content, messages.c.status, messages.c.details, messages.c.position)
    .where(messages.c.conversation_id == bindparam("id"))
    .order_by(messages.c.position.desc())
    .limit(HISTORY_MESSAGES)
)


def title_of(question: str) -> str:
    """A conversation's title from its first question: one line, at most 40 characters."""
    line = " ".join(question.split())
    return line if len(line) <= TITLE_CHARS else line[: TITLE_CHARS - 1] + "…"


def kept_model(asked: str, name: str) -> str:
    """What is stored of `NAME@KB,KB…`: all of it, or the name alone where that is too long; the conversation keeps its knowledge bases anyway."""
    return asked if len(asked) <= LONGEST_MODEL else name


def new_conversation_row(*, owner: str, title: str, model: str, kb_ids: list[str], origin: str) -> dict[str, Any]:
    """A row of `conversations` that begins now."""
    now = utc_now()
    return {
        "id": new_id(), "owner": owner, "title": title, "model": model, "knowledge_bases": kb_ids, "origin": origin, "created_at": now, "updated_at": now,
    }  # fmt: skip


def add_conversation(db: Database, row: dict[str, Any]) -> Submitted:
    """Queue the row."""
    return db.submit(_NEW_CONVERSATION, row)


def touch_conversation(db: Database, conversation_id: str, title: str) -> Submitted:
    """Queue the conversation's new time and title."""
    return db.submit(_TOUCH, {"b_id": conversation_id, "b_updated_at": utc_now(), "b_title": title})


def add_messages(
    db: Database, *, conversation_id: str, message_id: str, question: str, model: str, position: int, runner: str
) -> list[Submitted]:
    """Queue the question and the running answer `message_id` after it; `runner`: the process that gives it (jobs/owner.py)."""
    now = utc_now()
    common = {"conversation_id": conversation_id, "model": model, "details": {}, "created_at": now}
    asked = {
        **common, "id": new_id(), "role": "user", "status": "complete", "content": question, "finished_at": now, "position": position, "runner": "",
    }  # fmt: skip
    answer = {
        **common, "id": message_id, "role": "assistant", "status": "running", "content": "", "finished_at": None, "position": position + 1, "runner": runner,
    }  # fmt: skip
    return [db.submit(_NEW_MESSAGE, asked), db.submit(_NEW_MESSAGE, answer)]


def finish_message(db: Database, answer: Answer, *, status: str, error: dict[str, Any] | None = None) -> Submitted:
    """Queue the end of an answer: complete, stopped or failed, with the text that it has."""
    details = {
        "citations": answer.citations, "degraded": answer.degraded, "usage": answer.usage, "timings": answer.timings,
        "unsupported": answer.unsupported, "finish_reason": answer.finish_reason, "error": error, "level": answer.level,
    }  # fmt: skip
    return db.submit(
        _FINISH,
        {
            "b_id": answer.message_id, "b_status": status, "b_content": answer.answer, "b_model": answer.model, "b_rung": answer.rung,
            "b_rung_reason": answer.rung_reason, "b_confidence": answer.confidence, "b_details": details,
            "b_finished_at": utc_now(),
        },
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Past:
    """What was said in a conversation, oldest first, and the position of the next message. `level`: the highest of the answers among it."""

    messages: list[ChatMessage]
    earlier: list[Earlier]
    position: int
    level: int = 0


def past(db: Database, conversation_id: str, judge: Callable[[Sequence[Kept]], Sequence[Judged]]) -> Past:
    """The last messages; failed and empty ones are left out, and answers of which `judge` says that the reader may not see them (any more).

    Questions come with the headings that their answers cited.
    """
    rows = db.rows(_LAST, {"id": conversation_id})
    position = rows[0].position + 1 if rows else 0
    kept = [row for row in reversed(rows) if row.status != "failed" and row.content]
    answers = {n: citations_of(row.details) for n, row in enumerate(kept) if row.role != "user"}
    levels = {n: level_of(kept[n].details, citations) for n, citations in answers.items()}
    verdicts = dict(zip(answers, judge([Kept(kept[n].content, levels[n], x) for n, x in answers.items()]), strict=True))
    said: list[ChatMessage] = []
    earlier: list[Earlier] = []
    level = 0
    for n, row in enumerate(kept):
        if row.role == "user":
            earlier.append(Earlier(row.content))
        elif verdicts[n].withheld:
            continue
        else:
            level = max(level, levels[n])
            if earlier:
                cited = [x for x in verdicts[n].citations if x.cited and not x.hidden]
                earlier[-1] = Earlier(earlier[-1].question, tuple((x.title, *x.heading_path) for x in cited))
        said.append(ChatMessage(row.role, row.content))
    return Past(said, earlier, position, level)


def answer_of(row: Row[Any]) -> Answer:
    """The answer object of a stored assistant message."""
    details: dict[str, Any] = row.details or {}
    usage = details.get("usage") or {}
    citations = citations_of(details)
    return Answer(
        message_id=row.id,
        conversation_id=row.conversation_id,
        model=row.model,
        answer=row.content,
        rung=row.rung or "refused",
        rung_reason=row.rung_reason,
        confidence=row.confidence,
        citations=citations,
        degraded=tuple(Degraded(**x) for x in details.get("degraded") or ()),
        usage=Usage(usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)),
        timings=dict(details.get("timings") or {}),
        stopped=row.status == "stopped",
        finish_reason=details.get("finish_reason") or "stop",
        unsupported=tuple((x[0], x[1]) for x in details.get("unsupported") or ()),
        level=level_of(details, citations),
    )


def citations_of(details: dict[str, Any]) -> tuple[Citation, ...]:
    """The citations of a stored answer."""
    return tuple(_citation(x) for x in details.get("citations") or ())


def level_of(details: dict[str, Any], citations: Sequence[Citation]) -> int:
    """The level of a stored answer; of one from before there were levels, that of its sources."""
    kept = details.get("level")
    return max((one.level for one in citations), default=0) if kept is None else int(kept)


def _citation(kept: dict[str, Any]) -> Citation:
    """One of a stored answer; those of before there were facts have none. One whose document was deleted (see knowledge/scrub.py) is hidden."""
    known = {name: value for name, value in kept.items() if name in Citation.__dataclass_fields__}
    facts = tuple(CitedFact(**one) for one in kept.get("facts") or ())
    gone = bool(kept.get("hidden") or kept.get("deleted"))
    return Citation(**{**known, "heading_path": tuple(kept["heading_path"]), "facts": facts, "hidden": gone})


def running(db: Database, conversation_id: str) -> set[str]:
    """Ids of the answers of a conversation that are under way in any process."""
    return {row.id for row in db.rows(_RUNNING.where(messages.c.conversation_id == conversation_id))}


def mark_interrupted(db: Database, *, before: str) -> int:
    """Mark running answers whose process is gone as stopped; returns how many there were.

    Gone is a process of this host that ended, and what has not finished an answer that it began at `before` (a time) or earlier. Answers
    of other processes are left alone.
    """
    gone = [row for row in db.rows(_RUNNING) if not row.runner or died_here(row.runner) or row.created_at <= before]
    if not gone:
        return 0
    with db.write() as connection:
        statement = update(messages).where(messages.c.id.in_([row.id for row in gone]), messages.c.status == "running")
        return int(connection.execute(statement.values(status="stopped", finished_at=utc_now())).rowcount)
