"""Whether a question is the one that a curated entry answers: the arithmetic alone. Pure.

Both directions count: an entry's question that asks more or less than was asked is another question. What turns a question into another one by a single word
(a number, an article, a year, a negation, who for when) must agree. Figures: docs/benchmarks.md, `bench/entries.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from qzbrain.text.normalize import searchable
from qzbrain.text.numerals import article_label, article_mentions
from qzbrain.text.tokenize import query_terms

OTHER = 0.5
"""Most that is believed of two questions that differ in a number, a negation or what they ask for."""
_NUMBER = re.compile(r"\d+(?:\.\d+)*|[a-z]+[-/]?\d[a-z\d./-]*")
_NOT = re.compile(
    r"不(?!同|仅|但|论|管|久|过|断|少|错|动产)|没有?|无(?!锡|线|人机|论|形|机)|非(?!洲|常|法)|未(?!来|成年)|禁止|别(?!人|名|的)|拒绝|除外"
    r"|\bnot\b|n't\b|\bwithout\b|\bnever\b"
)
_ASKED = (
    ("who", re.compile(r"谁|哪位|何人|什么人|哪个(?:人|部门|单位|机关|机构)|\bwho(?:m|se)?\b")),
    ("when", re.compile(r"何时|什么时候|哪(?:一)?[年天日月]|几[月号点]|时间|日期|\bwhen\b")),
    ("where", re.compile(r"哪里|哪儿|何处|什么地方|在哪|地点|地址|\bwhere\b")),
    ("long", re.compile(r"多久|多长时间|期限|几[天年日]|多少(?:天|年|日|个月)|\bhow long\b")),
    ("much", re.compile(r"多少(?!天|年|日|个月)|几(?![月号点天年日乎])|多[大高长重远宽深]|金额|数量|\bhow (?:many|much)\b")),
    ("why", re.compile(r"为什么|为何|原因|怎么会|\bwhy\b")),
    ("how", re.compile(r"怎么(?!会|样)|如何|怎样|流程|步骤|方法|手续|\bhow (?!many|much|long)")),
    ("whether", re.compile(r"吗|是否|能不能|可不可以|有没有|是不是|会不会|\b(?:is|are|can|does|do|may|must) ")),
)  # fmt: skip
_WHAT = frozenset(["what"])
_ASKS = re.compile(r"什么|啥|哪些|哪个|哪种|何(?![时处人以况])|\b(?:what|which)\b")


@dataclass(frozen=True, slots=True)
class _Read:
    """A question as it is compared."""

    text: str
    terms: frozenset[str]
    numbers: frozenset[str]
    articles: frozenset[str]
    negations: int
    asks: frozenset[str]


def match(question: str, asked: str) -> float:
    """How surely `question` asks what `asked` does, 0..1; 1 for the same words, however spaced, punctuated or written."""
    one, other = _read(question), _read(asked)
    if not one.text or not other.text:
        return 0.0
    if one.text == other.text:
        return 1.0
    weight = sum(len(term) for term in one.terms | other.terms)
    alike = sum(len(term) for term in one.terms & other.terms) / weight if weight else 0.0
    same = one.numbers == other.numbers and one.articles == other.articles and one.negations % 2 == other.negations % 2
    agree = not one.asks or not other.asks or bool(one.asks & other.asks)
    return min(0.99, alike) if same and agree else min(OTHER, alike)


def best_match(question: str, asked: Sequence[str], negatives: Sequence[str] = ()) -> float:
    """The best over an entry's questions; 0 when one of `negatives`, which the entry does not answer, is asked as surely."""
    best = max((match(question, one) for one in asked), default=0.0)
    return 0.0 if any(match(question, one) >= best for one in negatives) else round(best, 4)


@lru_cache(maxsize=4096)
def _read(question: str) -> _Read:
    mentions = article_mentions(question)
    for mention in reversed(mentions):
        question = f"{question[: mention.start]}{article_label(mention.key)}{question[mention.end :]}"
    text = searchable(question)
    bare = "".join(c for c in text if c.isalnum())
    return _Read(
        bare,
        frozenset(query_terms(question)),
        frozenset(_NUMBER.findall(text)),
        frozenset(mention.key for mention in mentions),
        len(_NOT.findall(text)),
        frozenset(name for name, pattern in _ASKED if pattern.search(text)) or (_WHAT if _ASKS.search(text) else frozenset()),
    )
