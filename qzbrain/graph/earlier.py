"""What a question leaves to the questions before it: whom 他 and it stand for, what is asked when there is but a name (那广州呢, and Globex?). Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from qzbrain.graph.intent import MARK, Span, content, squeezed
from qzbrain.graph.linking import Mention

_PERSON = re.compile(r"他们|她们|[他她](?!们)|(?<!尤)其(?![他它中实余次间])|此人|这个人|那个人|(?<![a-z])(?:he|she|his|him|her|hers)(?![a-z])")
_THING = re.compile(
    r"它们?|[这该此](?:一)?(?:个|家|本|部|位|座|所|种|款|首|篇|条)?(?:公司|企业|书|小说|电影|影片|片子|歌|游戏|城市|国家|学校|大学|医院|疾病|病|药|产品|机构|法规?|条例|规定|东西|作品)"
    r"|(?<![a-z])(?:it|its|they|their|them|this|that)(?![a-z])"
)
_ONLY_A_NAME = re.compile(r"(?:^(?:那么?|然后|还有|再)|呢[?？]?$|^(?:and|what about|how about)(?![a-z]))", re.IGNORECASE)


def pronoun(question: str, mentions: Sequence[Mention]) -> tuple[Span, bool] | None:
    """The first word that stands for something said before, and whether it stands for a person; None without one."""
    lowered = question.lower()
    for pattern, person in ((_PERSON, True), (_THING, False)):
        for match in pattern.finditer(lowered):
            if not any(one.start < match.end() and match.start() < one.end for one in mentions):
                return match.span(), person
    return None


def only_names(question: str, mentions: Sequence[Mention]) -> bool:
    """Whether a question names something and asks nothing of it, so that what was asked before is asked of it."""
    if len(mentions) != 1 or not _ONLY_A_NAME.search(question.strip()):
        return False
    one = mentions[0]
    return content(squeezed(f"{question[: one.start]}{MARK}{question[one.end :]}")) == 0


def refers(question: str) -> bool:
    """Whether a question without a name goes on from one before: it is short, or begins so."""
    return len(question) <= 24 or bool(_ONLY_A_NAME.search(question.strip()))
