"""What a question asks of a graph, by its words: a number, a list, a person, a place, a time, a comparison, a way between two things. Pure.

A question is looked at with the name that it is about taken out: MARK stands where it stood, so that what comes before and after it can be told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from qzbrain.text.normalize import searchable

MARK = "\ufffc"
Span = tuple[int, int]


def words(text: str) -> tuple[str, ...]:
    """The words of a list, parted by blanks; with `_` for a blank in one."""
    return tuple(one.replace("_", " ") for one in text.split())


_COUNT = re.compile(
    r"(?:有)?(?:多少|(?<!哪)几)(?:个|位|名|家|种|类|条|项|部|本|只|人|篇|座|所|支|台|款|次|首|集|门|张|枚|颗|届)|总共有?多少|一共有?(?:多少|几)|数量是多少"
    r"|(?<![a-z])how many(?![a-z])|(?<![a-z])number of(?![a-z])"
)
_LIST = re.compile(r"哪些|有哪|哪几|都有谁|都有什么|有什么|所有|列出|列举|分别|(?<![a-z])(?:which|list|what are|who are|all)(?![a-z])")
_PERSON = re.compile(r"谁|哪位|何人|什么人|哪个人|叫什么名字|(?<![a-z])who(?:m|se)?(?![a-z])")
_PLACE = re.compile(r"哪里|哪儿|在哪|何处|什么地方|哪个(?:国家|城市|省|市|县|地方|地区|区)|哪国|(?<![a-z])where(?![a-z])")
_TIME = re.compile(r"何时|什么时候|哪(?:一)?年|哪(?:一)?天|几(?:月|号|年)|什么时间|多久|(?<![a-z])(?:when|what year|which year)(?![a-z])")
_AMOUNT = re.compile(r"多少|多大|多高|多长|多重|多远|多宽|多深|几|(?<![a-z])how (?:much|many|big|large|tall|high|long|old|far|deep|heavy)(?![a-z])")

_KINDS = (
    (_PERSON, "者人员员长师编导演主手家父母子女妻夫友偶"),
    (_PLACE, "地址处址国省市区州站点"),
    (_TIME, "时期年月日代间刻"),
    (_AMOUNT, "数量率额价积度高长重宽深龄号码分值米吨"),
)
_OF_A_SORT = re.compile(r"(?:哪(?:些|几)?(?:一)?[个家本部位首条]?|什么)(?:公司|企业|书|电影|人|歌|作品)")
_NOISE = re.compile(
    r"请问|告诉我|我想知道|想知道|你知道|谁知道|知道|谁能|能不能|吗|呢|呀|啊|的|是|了|吧|有|我|你|请|这个|那个|一下"
    r"|[\s，。？?！!、；;：:“”\"'《》（）()\[\]]"
)
_ASKS = re.compile(r"谁|什么|哪|多少|几|何|怎|啥|多[大高长重远久宽深快]|(?<![a-z])(?:who|whom|whose|what|which|where|when|how|why)(?![a-z])")
_YES_NO = re.compile(
    r"吗$|吗[,，]|是不是|是否|对不对|对吧|是吧|有没有|^(?:is|are|was|were|did|does|do|has|have)(?![a-z])|(?:,|，)\s?(?:right|isn't (?:it|he|she))\??$"
)
_EMPTY = re.compile(
    r"(?<![a-z])(?:which|what) (?:actor|actress|author|writer|director|singer|person|people"
    r"|compan(?:y|ies)|films?|movies?|books?|cit(?:y|ies)|countr(?:y|ies))s?(?![a-z])|"
    r"请问|请告诉我|告诉我|能告诉我|我想知道|我想了解|我要知道|想知道|你知道|有谁知道|谁知道|大家知道|知道|谁能|能不能|可不可以|可以|帮我|查一下|查查|查询|说说|说一下|问一下|讲讲|列出|列举"
    r"|哪(?:些|几)?(?:一)?(?:个|家|本|部|位|座|所|种|款|只|首|篇|条|年|天|里|儿|国|类|项|支|届|月|号|路|台)?(?:公司|企业|国家|城市|地方|人|书|电影|作品|省份|省|市|单位|机构|学校|医院|时候)?"
    r"|什么(?:样的?|时候|时间|地方|人|名字|方式|形式)?|多少(?:个|位|名|家|种|条|项|部|本|人|钱|篇|所|座|次|首|岁|公里|平方公里|平方米|米|厘米|公斤|吨|元|年|天|页)?|多(?:大|高|长|重|远|久|宽|深|快)"
    r"|几(?:个|位|名|家|种|条|项|部|本|人|篇|所|座|次|首|岁|月|号|年|点)?"
    r"|怎么样?|怎样|如何|为什么|为何|何时|何地|何处|何人|谁|啥|吗|嘛|呢|呀|啊|哦|吧|么|的|地|得|之|是|了|过|着|有|我|你|您|请|这个|那个|这|那|它|他|她|其|们|一下|一共|总共|共|都|还|也|又|就|叫做?|名叫|为"
    r"|分别|所有|全部|哪|该|在|于|和|与|跟|及|以|由|被|把|从|到|对|属于|担任|当|任|做|出任|作为|成为|等|吗|具体|究竟|到底|那么|现在|目前|当前"
)
_EMPTY_WORDS = frozenset(
    words(
        "a an the of in on at by for to from with as is are was were be been being am do does did has have had who whom whose "
        "what which where when how many much it its he his she her they their them him that this these those there and or me "
        "tell please can could you i would like know give list show name s all any both about named called so than then hey hi whats "
        "if"
    )
)
_NO_MORE = re.compile(
    rf"^[请问你知道告诉我想有人谁吗,，]*(?:(?:谁|什么|哪[些个位家本部]\S{{0,2}})(?:是|在)?)?的?{MARK}(?:都|分别|一共|现在)?(?:是|有|叫|为)?(?:什么|谁|哪[些个位家本部]\S{{0,2}}|多少\S?|几\S|啥)?(?:吗|呢|呀|啊)?$"
    rf"|^(?:(?:who|what|which|where) (?:is|are|was|were) )?(?:the )?{MARK}$"
)
_WORD = re.compile(r"[a-z][a-z']*")
_PLAIN = re.compile(r"[\s，。？?！!、；;：:“”\"'’‘《》〈〉「」（）()\[\]…—~·,.\-/]+")
_BLANK = re.compile(r"\s+")


_THINGS = (
    "公司|企业|集团|股份|书|小说|电影|影片|电视剧|剧|片子|歌曲|歌|游戏|城市|国家|人物|人|先生|女士|学校|大学|医院|疾病|病|药物|药"
    "|产品|机构|软件|节目|网站|地方|地区|词|作品"
)
_BEHIND = re.compile(
    rf"(?<={MARK})(?:的?(?:这|那|该)(?:一)?(?:个|家|本|部|位|座|所|种|款|首|篇|条|支|只|场|台)?(?:{_THINGS})|(?:{_THINGS})(?=的)|的(?:那个|那家|那部)?(?:公司|企业|人|电影|书)(?=的|是哪|是谁|是做|是干)|本人)"
)
_AHEAD = re.compile(
    rf"(?:小说|电影|影片|电视剧|歌曲|游戏|作家|诗人|演员|导演|歌手|公司|企业|城市|国家)(?={MARK})"
    rf"|(?<![a-z])(?:the )?(?:novel|film|movie|book|company|city|country|song|game|actor|writer|author|director|poet) (?={MARK})"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a question wants, by its words alone."""

    counts: bool
    lists: bool
    kinds: tuple[str, ...]
    place: bool
    time: bool
    amount: bool
    yes_no: bool


def asked(text: str) -> Asked:
    """`text` as `squeezed` gives it."""
    kinds = tuple(marks for pattern, marks in _KINDS if pattern.search(text))
    time, amount = bool(_TIME.search(text)), bool(_AMOUNT.search(text))
    return Asked(
        bool(_COUNT.search(text)),
        bool(_LIST.search(text)),
        kinds,
        bool(_PLACE.search(text)),
        time,
        amount,
        bool(_YES_NO.search(text)) and not _ASKS.search(text),
    )


def squeezed(text: str) -> str:
    """A text as it is compared, without blanks but those between Latin words."""
    text = searchable(text)
    if not _BLANK.search(text):
        return text
    return _BLANK.sub(lambda m: " " if _latin(text, m.start() - 1) and _latin(text, m.end()) else "", text)


def _latin(text: str, at: int) -> bool:
    return 0 <= at < len(text) and (text[at].isascii() or text[at] == MARK) and not text[at].isspace()


@dataclass(frozen=True)
class Rest:
    """A question with MARK for what it is about. Knows what of it is content, for `confidence`."""

    text: str
    memo: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def mark(self) -> int:
        """Where MARK stands."""
        return self.text.find(MARK)

    @cached_property
    def asked(self) -> Asked:
        """What it wants."""
        return asked(self.text)

    @cached_property
    def bare(self) -> str:
        """Without words that say nothing."""
        return _NOISE.sub("", _OF_A_SORT.sub("哪", self.text))

    @cached_property
    def stems(self) -> frozenset[str]:
        """Of its Latin words."""
        return frozenset(stem(word) for word in _WORD.findall(self.text))

    def without(self, spans: Iterable[Span]) -> str:
        """The text with these stretches taken out, blanks in their place."""
        kept = list(self.text)
        for start, end in spans:
            kept[start:end] = " " * (end - start)
        return "".join(kept)

    def left(self, spans: Iterable[Span]) -> float:
        """How many words of content there are besides these stretches and what every question has; two Chinese characters are a word."""
        return content(self.without(spans))

    @cached_property
    def goes_on(self) -> bool:
        """Whether it asks more than who or what that is."""
        return not _NO_MORE.match(self.text)

    def joined(self, span: Span) -> Rest | None:
        """With MARK for what this stretch and the name before or behind it mean together (□的作者的出生地 -> □的出生地)."""
        start, end = span
        if self.mark < 0:
            return None
        low, high = min(start, self.mark), max(end, self.mark + 1)
        if high - low - (end - start) - 1 <= 4:
            return Rest(tidied(f"{self.text[:low]}{MARK}{self.text[high:]}"))
        return Rest(tidied(self.without([span])))


def tidied(text: str) -> str:
    """A text without what only says of what sort the thing is that MARK stands for (the film □, □这本书的)."""
    return _AHEAD.sub("", _BEHIND.sub("", text))


def content(text: str) -> float:
    """How many words of content a text has."""
    text = _EMPTY.sub(" ", text.replace(MARK, " "))
    latin = [word for word in _WORD.findall(text) if word not in _EMPTY_WORDS]
    others = _PLAIN.sub("", _WORD.sub("", text))
    return len(latin) + len(others) / 2


def stem(word: str) -> str:
    """A Latin word without its ending, roughly."""
    word = word.removesuffix("'s")
    for ending in ("ing", "ors", "ers", "ed", "es", "or", "er", "s", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word


def last_mark_fits(label: str, asked_for: Asked) -> bool:
    """Whether a label ends as those do that tell what is asked for (…地 for where)."""
    return bool(label) and any(label[-1] in marks for marks in asked_for.kinds)
