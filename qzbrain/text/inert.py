"""Texts of strangers made inert before a language model reads them: what would end a marker, pass for a turn of its own, or cannot be seen.

Engines turn control tokens into what they stand for wherever they meet them, also in the middle of a message: `<|im_end|>` in a document would end the
user's turn and begin one of the system. So do lookalikes for a model that reads by meaning. Pure.
"""

from __future__ import annotations

import re

_UNSEEN = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\U000e0000-\U000e007f]")
"""Zero width, turned direction, and tags: letters that no reader sees and every tokeniser does."""
_TOKENS = re.compile(
    r"<[|｜]|[|｜]>|</?s>|\[/?INST\]|<</?SYS>>|</?(?:start|end)_of_turn>|<(?:bos|eos|pad|unk|sop|eop)>|\[(?:gMASK|sMASK)\]|</?think>|</?tool_call>",
    re.IGNORECASE,
)
_OPENING, _CLOSING = re.compile("[<＜]{3,}"), re.compile("[>＞]{3,}")
_MARKS = re.compile(r"[\[［【]\s*(\d{1,3}(?:\s*[,，、]\s*\d{1,3}){0,7})\s*[\]］】]")
_PLAIN = str.maketrans({"<": "‹", ">": "›", "[": "(", "]": ")"})


def without_controls(text: str) -> str:
    """A text without characters that cannot be seen, its control tokens made such as no engine knows."""
    return _TOKENS.sub(lambda found: found[0].translate(_PLAIN), _UNSEEN.sub("", text))


def inert(text: str) -> str:
    """As `without_controls`; and it neither closes nor opens the `<<<`, `>>>` of a passage, nor holds a mark that passes for a citation."""
    text = _CLOSING.sub("›››", _OPENING.sub("‹‹‹", without_controls(text)))
    return _MARKS.sub(r"(\1)", text)


def in_a_line(text: str) -> str:
    """As `inert`, in one line: for names and titles, which stand outside of a passage's text."""
    return " ".join(inert(text).split())
