"""A follow-up as a full question, by rules. Pure.

What makes a question depend on the one before: it begins with a conjunction or a pronoun (那…, 它…), points back (该, 上述, 第三款呢), or has
too few content words of its own to be about anything (由谁决定？). Then the words that name the subject are taken from the last full
question, and from the heading of what the last answer cited. A question that names a subject of its own is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from qzbrain.text.tokenize import query_terms

LONGEST_FOLLOW_UP = 40
_OWN_HAN = 1
"""A question that asks for a relation (由谁决定) has a subject of its own when it holds more content characters than this besides."""
_ZH_POINTS_BACK = re.compile(
    r"^(?:那么?|那|还有|另外|其中|然后|再|接着|如果是|要是|它|他|她|它们|他们|其|这|此|该|上述|前者|后者|具体|详细|为什么呢|为何呢|比如|例如|除此|除了这)"
    r"|[它他她](?:们)?(?:的|是|由|在|有|和|需|要|会|能|可|怎|何|什)|这(?:个|种|些|条|部|项|类)|那(?:个|种|些|条|部|项|类)|该(?:法|条|款|项|规定|机关|行为|决定)|上述|前述|前者|后者|呢[？?]?$"
)
_ZH_CLAUSE = re.compile(r"第[零〇一二三四五六七八九十百\d]+(?:款|项|目)")
_ZH_ARTICLE = re.compile(r"第[零〇一二三四五六七八九十百千\d]+条(?:之[一二三四五六七八九十])?")
_ZH_ELLIPTICAL = re.compile(
    r"^(?:由|向|在|到|从|对|被|按|依)?(?:谁|哪里|哪儿|哪个(?:部门|机关|机构|单位)?|什么时候|何时|多久|多少|多长时间|几年|几天|怎么|如何|为什么|什么|有哪些|哪些)|"
    r"^(?:需要|可以|能不能|能|是否|有没有|要不要|会不会|必须|应当|多少|怎么|如何|为什么|有什么|有哪些|是谁|是什么|期限|期间|条件|程序|后果|例外|依据|处罚|标准)"
)
_EN_POINTS_BACK = re.compile(
    r"\b(?:it|its|they|them|their|this|that|these|those|he|she|his|her|him|former|latter|same)\b"
    r"|^(?:and|but)\b|^(?:what|how) about\b|^(?:why|when|where|who|how|which)\W*$",
    re.I,
)
_PUNCTUATION = re.compile(r"[？?。.!！，,\s]+$")
_ZH_RELATIONS = re.compile(
    r"条件|期限|期间|时间|程序|流程|后果|例外|依据|处罚|标准|申请|决定|负责|批准|审批|设定|规定|延长|需要|要求|费用|金额|比例|范围|内容|对象|责任|办理|提交|材料|生效|施行|实施|执行|适用|作用|原因|区别|好处"
)
_SAYS = re.compile(r"规定|内容|说|讲|写")
_LAW = re.compile(r"《[^》]{2,40}》")
_HAN = re.compile(r"[\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class Earlier:
    """A question asked before, and the heading paths that its answer cited, the document's title first."""

    question: str
    headings: tuple[tuple[str, ...], ...] = ()


def is_follow_up(question: str) -> bool:
    """Whether the question leans on what was said before."""
    bare = _PUNCTUATION.sub("", question.strip())
    if len(bare) > LONGEST_FOLLOW_UP * (1 if _HAN.search(bare) else 3) or _LAW.search(bare):
        return False
    if not _HAN.search(bare):
        return bool(_EN_POINTS_BACK.search(bare)) and len(query_terms(bare)) <= 6
    if _ZH_POINTS_BACK.search(question.strip()) or _ZH_CLAUSE.search(bare):
        return True
    if _ZH_ARTICLE.search(bare):
        return not query_terms(_SAYS.sub("", _ZH_ARTICLE.sub("", bare)))
    elliptical = _ZH_ELLIPTICAL.match(bare)
    return elliptical is not None and len(set("".join(query_terms(_ZH_RELATIONS.sub(" ", bare[elliptical.end() :]))))) <= _OWN_HAN


def full_question(question: str, earlier: Sequence[Earlier]) -> str:
    """The question with the subject that it lacks put before it; as it is when it stands alone. `earlier`: oldest first."""
    if not earlier or not is_follow_up(question):
        return question
    subject = _subject(question, earlier)
    return f"{subject} {question.strip()}" if subject else question


def _subject(question: str, earlier: Sequence[Earlier]) -> str:
    """The last question that stands alone, without its asking words; for 第三款 and 第五条 the article or law last cited."""
    last = earlier[-1]
    if _ZH_CLAUSE.search(question) or _ZH_ARTICLE.search(question):
        whole_article = _ZH_ARTICLE.search(question) is None
        for path in last.headings:
            named = [path[0], *(x for x in path[1:] if whole_article and _ZH_ARTICLE.match(x))] if path else []
            if named:
                return " ".join(named)
    for one in reversed(earlier):
        if not is_follow_up(one.question):
            return _without_asking(one.question)
    return _without_asking(earlier[0].question)


def _without_asking(question: str) -> str:
    """A question's content: its end of asking words and punctuation cut off."""
    text = _PUNCTUATION.sub("", question.strip())
    return re.sub(r"(?:有哪些|是什么|有什么|是谁|怎么办|如何|怎么样|多少|吗|呢|哪些|什么)$", "", text) or text
