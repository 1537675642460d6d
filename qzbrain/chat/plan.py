"""From what a caller asks to what a turn will do: which model, which knowledge bases, what question. Checks every value first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from qzbrain.auth.access import Access, KbRef
from qzbrain.chat.query import Earlier
from qzbrain.domain import Caller
from qzbrain.errors import InvalidRequest
from qzbrain.models.base import ChatMessage
from qzbrain.models.registry import AUTO, EXTRACTIVE, ModelRegistry, unknown_model

LONGEST_QUESTION = 20_000
LONGEST_MODEL = 255
BARE = "none"
"""`NAME@none`: the model alone, without retrieval."""
PASSED_THROUGH = ("max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "seed", "user", "presence_penalty", "frequency_penalty")


@dataclass(frozen=True, slots=True)
class Ask:
    """A question as an interface received it.

    `model`: `auto`, a name, `NAME@KB[,KB]` (wins over `knowledge_bases`) or `NAME@none`. `knowledge_bases`: names or ids; None = the
    conversation's, else all that the caller may read. `history`: the messages sent along, when there is no conversation.
    `options`: only what engines take is passed on. `origin` api: a one-off call, its conversation is not listed.
    """

    message: str
    conversation_id: str | None = None
    model: str = AUTO
    knowledge_bases: Sequence[str] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    history: Sequence[ChatMessage] = ()
    origin: Literal["console", "api"] = "console"


@dataclass(slots=True)
class Plan:
    """A checked question. `kbs` is empty for the bare model; `model` is what was asked for, `auto` included."""

    question: str
    model: str
    bare: bool
    kbs: tuple[KbRef, ...]
    options: dict[str, Any]
    history: Sequence[ChatMessage]
    earlier: Sequence[Earlier]
    """The questions before this one, oldest first."""
    origin: str
    heard: int = 0
    """The level (place in LEVELS) of what earlier answers in `history` stand on: a model that is told them may repeat it."""


def split_model(value: str) -> tuple[str, list[str] | None, bool]:
    """`NAME@KB,KB` → name, knowledge bases (None when none is named), whether it is the bare model."""
    name, at, rest = value.partition("@")
    if not at:
        return name or AUTO, None, False
    if rest == BARE:
        return name or AUTO, [], True
    return name or AUTO, [x.strip() for x in rest.split(",") if x.strip()], False


def checked_model(value: str, models: ModelRegistry) -> str:
    """The model as it was named, when there is one of this name. Raises NotFound, InvalidRequest for one that is too long to be kept."""
    if len(value) > LONGEST_MODEL:
        raise InvalidRequest(
            zh=f"model 超过 {LONGEST_MODEL} 个字符。请用 knowledge_bases 指定知识库。",
            en=f"model is longer than {LONGEST_MODEL} characters. Name the knowledge bases in knowledge_bases.",
            param="model",
        )
    name, _, _ = split_model(value)
    if not models.knows(name):
        raise unknown_model(name)
    return value or AUTO


def checked_question(message: str) -> str:
    """The question without blanks around it. Raises InvalidRequest when it is empty or longer than 20,000 characters."""
    question = message.strip().replace("\x00", "")
    if not question or not any(c.isprintable() and not c.isspace() for c in question):
        raise InvalidRequest("empty_question", zh="问题是空的。请输入要问的内容。", en="The question is empty. Type what you want to know.", param="message")
    if len(question) > LONGEST_QUESTION:
        raise InvalidRequest(
            "question_too_long",
            zh=f"问题有 {len(question):,} 个字符，上限是 {LONGEST_QUESTION:,}。请缩短问题，或把长文本作为文档上传。",
            en=f"The question has {len(question):,} characters; the limit is {LONGEST_QUESTION:,}. Shorten it, or upload the long text as a document.",
            param="message",
        )
    return question.encode("utf-8", "replace").decode("utf-8")


def make_plan(ask: Ask, caller: Caller, access: Access, models: ModelRegistry, *, default_model: str = "", default_kbs: Sequence[str] = ()) -> Plan:
    """Check and resolve; the conversation's model and knowledge bases stand in for those that the question does not name.

    Raises InvalidRequest, NotFound (`model_not_found`, `knowledge_base_not_found`).
    """
    question = checked_question(ask.message)
    name, named, bare = split_model(default_model if ask.model in ("", AUTO) and default_model else ask.model)
    if not models.knows(name):
        raise unknown_model(name)
    if bare and name == EXTRACTIVE:
        raise InvalidRequest(
            "model_needs_knowledge",
            zh="extractive 只能从知识库的原文作答，不能与 @none 一起使用。请选择一个语言模型，或去掉 @none。",
            en="extractive answers from the texts of a knowledge base only; it cannot be used with @none. Choose a language model, or drop @none.",
            param="model",
        )
    wanted = named if named is not None else ask.knowledge_bases if ask.knowledge_bases is not None else default_kbs
    return Plan(
        question=question,
        model=name,
        bare=bare,
        kbs=() if bare else tuple(access.resolve(caller, wanted or None)),
        options={key: ask.options[key] for key in PASSED_THROUGH if ask.options.get(key) is not None},
        history=ask.history,
        earlier=[Earlier(x.content) for x in ask.history if x.role == "user"],
        origin=ask.origin,
    )
