"""What well-known embedding models expect of a text: prefixes, pooling, length. From their model cards; the configuration wins."""

from __future__ import annotations

from dataclasses import dataclass

_INSTRUCTION = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
_UNKNOWN_TOKENS = 1 << 20


@dataclass(frozen=True, slots=True)
class Habits:
    """`pooling` '': as the model's files say. `tokens`: the longest text, prefix included."""

    query_prefix: str = ""
    passage_prefix: str = ""
    pooling: str = ""
    tokens: int = _UNKNOWN_TOKENS


_KNOWN = (
    ("qwen3-embedding", Habits(_INSTRUCTION, "", "last", 32_768)),
    ("multilingual-e5", Habits("query: ", "passage: ", "mean", 512)),
    ("e5-", Habits("query: ", "passage: ", "mean", 512)),
    ("bge-m3", Habits("", "", "cls", 8192)),
    ("m3e", Habits("", "", "mean", 512)),
)


def habits_of(name: str) -> Habits:
    """By what a model's name contains; of an unknown one no prefix and no limit."""
    plain = name.lower().replace("_", "-")
    return next((habits for part, habits in _KNOWN if part in plain), Habits())


def surely_fits(text: str, limit: int) -> bool:
    """Whether no tokeniser can make more than `limit` tokens of it: a token is at least one byte; a start, an end and a leading blank come on top."""
    return len(text) + 3 <= limit and (len(text) * 4 + 3 <= limit or len(text.encode("utf-8", "replace")) + 3 <= limit)


def cut_by_estimate(text: str, limit: int) -> str:
    """The beginning that should have at most `limit` tokens: a Han character counts one, three characters of other writing count one."""
    thirds = 0
    for position, character in enumerate(text):
        thirds += 3 if ord(character) > 0x2E7F else 1
        if thirds > (limit - 3) * 3:
            return text[:position]
    return text
