"""A curated entry as a value: its fields checked, its question as it is compared, its text as a search and a citation see it. Pure but for the clock."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from typing import Any, Literal

from qzbrain.domain import LEVELS, Block, ParsedDocument
from qzbrain.errors import InvalidRequest
from qzbrain.knowledge.names import checked_level, checked_text
from qzbrain.text.normalize import searchable

QUESTION_CHARS = 2000
ANSWER_CHARS = 50_000
SOURCE_CHARS = 2000
MOST_VARIANTS = 100
Status = Literal["proposed", "approved"]


@dataclass(frozen=True, slots=True)
class EntryFields:
    """What an entry says. `question` '' for a text that answers no single question; dates as `utc_now` writes them, None for no limit."""

    question: str
    answer: str
    variants: tuple[str, ...] = ()
    negatives: tuple[str, ...] = ()
    source: str = ""
    valid_from: str | None = None
    valid_until: str | None = None
    level: str = "internal"

    def content(self) -> dict[str, Any]:
        """As a version keeps it."""
        return {
            "question": self.question, "answer": self.answer, "variants": list(self.variants), "negatives": list(self.negatives), "source": self.source,
            "valid_from": self.valid_from, "valid_until": self.valid_until, "level": self.level,
        }  # fmt: skip

    @property
    def key(self) -> str:
        """What makes two questions the same: of a text without one, the text itself."""
        bare = "".join(c for c in searchable(self.question or self.answer) if c.isalnum())
        return hashlib.sha256(f"{'q' if self.question else 't'}:{bare}".encode("utf-8", "replace")).hexdigest()

    @property
    def level_place(self) -> int:
        """Its level as a place in LEVELS."""
        return LEVELS.index(self.level)

    @property
    def title(self) -> str:
        """For lists and citations: the question, or how the text begins."""
        line = self.question or next((one for one in self.answer.split("\n") if one.strip()), "")
        return re.sub(r"\s+", " ", line).strip(" #*>-`")[:200]

    def document(self) -> tuple[ParsedDocument, int]:
        """The text that a search finds and a citation quotes, and where the answer begins in it."""
        head = [*([self.question] if self.question else []), *self.variants]
        text = "\n".join(head)
        blocks, at = [], 0
        for one in head:
            blocks.append(Block(at, at + len(one)))
            at += len(one) + 1
        start = len(text) + 2 if text else 0
        text = f"{text}\n\n{self.answer}" if text else self.answer
        at = start
        for line in self.answer.split("\n"):
            if line.strip():
                blocks.append(Block(at, at + len(line)))
            at += len(line) + 1
        return ParsedDocument(text, tuple(blocks), self.title, "text/markdown"), start


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry as the API shows it. `approved_version`: the one in force, 0 for none; a newer one may wait for approval."""

    id: str
    kb_id: str
    status: Status
    fields: EntryFields
    author: str
    approver: str
    version: int
    approved_version: int
    document_id: str
    origin: Mapping[str, Any] = field(default_factory=dict)
    created_at: str = ""
    updated_at: str = ""


def checked_fields(
    *,
    question: str = "",
    answer: str,
    variants: Sequence[str] = (),
    negatives: Sequence[str] = (),
    source: str = "",
    valid_from: str | None = None,
    valid_until: str | None = None,
    level: str | None = None,
) -> EntryFields:
    """The fields, trimmed. Raises InvalidRequest with the field's name."""
    question = _one_line(checked_text(question, param="question", longest=QUESTION_CHARS))
    answer = checked_text(answer.replace("\r\n", "\n"), param="answer", longest=ANSWER_CHARS).strip()
    if not any(map(str.isalnum, answer)):
        raise InvalidRequest("empty", zh="answer 没有内容。", en="answer is empty.", param="answer")
    begins, ends = moment(valid_from, param="valid_from"), moment(valid_until, param="valid_until", end=True)
    if begins and ends and ends <= begins:
        raise InvalidRequest(zh="valid_until 须晚于 valid_from。", en="valid_until must be later than valid_from.", param="valid_until")
    return EntryFields(
        question=question,
        answer=answer,
        variants=_questions(variants, "variants", question),
        negatives=_questions(negatives, "negatives", ""),
        source=checked_text(source, param="source", longest=SOURCE_CHARS).strip(),
        valid_from=begins,
        valid_until=ends,
        level=LEVELS[checked_level(level or "internal")],
    )


def moment(value: str | None, *, param: str, end: bool = False) -> str | None:
    """A date or time as `utc_now` writes it; a day alone begins at its first moment, or with `end` ends with its last. Raises InvalidRequest."""
    given = (value or "").strip()
    if not given:
        return None
    text = given
    if re.match(r"\d{4}[年/.]", text):
        text = re.sub(r"[年月/.](?=\d)", "-", text, count=2).replace("日", " ").strip()
    text = re.sub(r"^(\d{4})-(\d{1,2})-(\d{1,2})", lambda m: f"{m[1]}-{int(m[2]):02}-{int(m[3]):02}", text)
    try:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            found = datetime.combine(date.fromisoformat(text), time.max if end else time.min).astimezone()
        else:
            found = datetime.fromisoformat(text)
            found = found if found.tzinfo else found.astimezone()
        return found.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"
    except (ValueError, OverflowError, OSError) as exc:
        raise InvalidRequest(
            zh=f"{param} 不是日期或时间：“{given[:40]}”。请写成 2026-01-31 或 2026-01-31T08:00:00+08:00。",
            en=f'{param} is no date or time: "{given[:40]}". Write 2026-01-31 or 2026-01-31T08:00:00+08:00.',
            param=param,
        ) from exc


def _questions(given: Sequence[str], param: str, question: str) -> tuple[str, ...]:
    """Each once, without blank ones and the question itself."""
    if len(given) > MOST_VARIANTS:
        raise InvalidRequest(zh=f"{param} 最多 {MOST_VARIANTS} 条。", en=f"{param}: at most {MOST_VARIANTS}.", param=param)
    lines = [_one_line(checked_text(one, param=param, longest=QUESTION_CHARS)) for one in given]
    return tuple(one for one in dict.fromkeys(lines) if one and one != question)


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()

