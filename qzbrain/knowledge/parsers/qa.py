"""Tables of questions and answers: which columns they are, and a pair as text. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_MORE = r"(?:内容|描述|[（(].*[)）])?"
_QUESTION = re.compile(
    rf"(?:用户|客户|标准|常见|核心|咨询)?(?:问题?|提问|问句|疑问|题目|题干){_MORE}|标准问|questions?|query|queries|ask|q|prompt", re.IGNORECASE
)
_ANSWER = re.compile(
    rf"(?:标准|参考|正确|官方|最佳)?(?:答案?|回答|回复|答复|解答|作答){_MORE}|标准答|answers?|a|response|responses|reply|replies|completion", re.IGNORECASE
)
_SUBJECT = re.compile(r"标题|主题|问题标题|咨询标题|title|subject", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class QaColumns:
    """Labels of the question's columns (a title before its details) and of the answer's."""

    questions: tuple[str, ...]
    answer: str


def qa_columns(labels: Sequence[str]) -> QaColumns | None:
    """The columns of a question and its answer; None when the header does not name both."""
    answers = [label for label in labels if _ANSWER.fullmatch(label)]
    questions = [label for label in labels if _QUESTION.fullmatch(label)][:1]
    subjects = [label for label in labels if _SUBJECT.fullmatch(label)][:1]
    if not answers or not (questions or subjects):
        return None
    return QaColumns((*subjects, *questions), answers[0])


def record(columns: QaColumns, pairs: Sequence[tuple[str, str]]) -> str:
    """`问：…\\n答：…`, then what else the row holds; a row without one of the two gives what it has. `pairs`: label, value."""
    parts: list[str] = []
    for name in columns.questions:
        value = next((value for label, value in pairs if label == name), "")
        if value and not any(value in part for part in parts):
            parts = [part for part in parts if part not in value] + [value]
    answer = next((value for label, value in pairs if label == columns.answer), "")
    lines = ["问：" + "\n".join(parts)] if parts else []
    lines += [f"答：{answer}"] if answer else []
    used = {*columns.questions, columns.answer}
    lines += [f"{label}{': ' if label.isascii() else '：'}{value}" if label else value for label, value in pairs if label not in used]
    return "\n".join(lines)
