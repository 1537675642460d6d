"""What a question asks of a graph, by its words: a number, a list, a person, a place, a time; and how far a relation's label answers it. Pure.

Words of everyday speech that stand for labels (写的 for 作者, 在哪 for 地点) are a small table: a relation is meant when its label, or a word for it,
stands in what is left of the question once the names are taken out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from qzbrain.text.normalize import searchable

_COUNT = re.compile(r"(?:有)?(?:多少|几)(?:个|位|名|家|种|类|条|项|部|本|只|人|篇|座|所|支|台|款|次)|总共有?多少|一共有?(?:多少|几)|数量是多少|how many")
_LIST = re.compile(r"哪些|有哪|哪几|都有谁|都有什么|有什么|所有|列出|列举|分别|which|list")
_PERSON = re.compile(r"谁|哪位|何人|什么人|哪个人|叫什么名字|who")
_PLACE = re.compile(r"哪里|哪儿|在哪|何处|什么地方|哪个(?:国家|城市|省|市|县|地方|地区|区)|哪国|where")
_TIME = re.compile(r"何时|什么时候|哪(?:一)?年|哪(?:一)?天|几(?:月|号|年)|什么时间|when|多久")
_AMOUNT = re.compile(r"多少|多大|多高|多长|多重|多远|多宽|多深|几|how much")

_KINDS = (
    (_PERSON, "者人员员长师编导演主手家父母子女妻夫友偶"),
    (_PLACE, "地址处址国省市区州站点"),
    (_TIME, "时期年月日代间刻"),
    (_AMOUNT, "数量率额价积度高长重宽深龄号码分值米吨"),
)
_MEANS: tuple[tuple[str, str], ...] = (
    (r"写|著|作者|编写|编著|笔下", "作者 著者 编者 作家 原著 编著"),
    (r"出生|生于|诞生|生日", "出生日期 出生地 出生时间 生日 出生年月 生卒 籍贯"),
    (r"去世|逝世|死于|死亡|过世|卒", "逝世日期 去世时间 逝世时间 死亡日期 逝世地 生卒"),
    (r"哪国|国家", "国籍 国家 所属国家 制片地区 产地"),
    (r"老婆|妻子|丈夫|老公|配偶|结婚|嫁|娶", "配偶 妻子 丈夫 夫人"),
    (r"创办|创立|创建|成立|建立|创始", "创始人 创办人 成立时间 创办时间 创建时间 创立时间 建立时间"),
    (r"又叫|别称|也叫|还叫|又名|外号|俗称|绰号", "别名 别称 又名 外号 绰号 俗称 中文别名"),
    (r"在哪|哪里|哪儿|位于|坐落|位置|地方", "地址 地理位置 位置 所在地 地点 所属地区 总部地点 所处地区"),
    (r"毕业|就读|母校", "毕业院校 毕业学校 母校"),
    (r"哪(?:一)?行|行业|做什么的", "所属行业 行业 主营 经营范围 职业"),
    (r"职业|干什么|做什么", "职业 职务"),
    (r"唱|演唱", "歌手 演唱者 原唱 歌曲原唱"),
    (r"演|主演|出演", "主演 演员 参演"),
    (r"拍|导演|执导", "导演"),
    (r"出版", "出版社 出版时间 出版日期"),
    (r"多高|身高", "身高 高度 海拔"),
    (r"多重|体重", "体重 重量 质量"),
    (r"多大|面积", "面积 占地面积 总面积 年龄"),
    (r"多长|长度", "长度 全长 片长 时长"),
    (r"价格|多少钱|卖多少|价钱|售价", "价格 定价 参考价格 售价 票价"),
    (r"人口|多少人", "人口 人口数量 总人口"),
    (r"电话|联系", "电话 联系电话 电话区号"),
    (r"邮编", "邮政编码 邮编"),
    (r"代码", "代码 股票代码 编码"),
    (r"英文|外文", "英文名 外文名 英文名称 外文名称"),
    (r"类型|类别|哪类|哪种|什么类|属于", "类型 类别 分类 所属类别 种类 类型"),
    (r"讲|内容|关于|讲述", "内容 简介 主题 剧情"),
    (r"老板|负责人|领导|总裁|董事长", "负责人 董事长 总裁 法人代表 公司领导"),
    (r"制造|生产|厂家", "生产厂家 制造商 生产商 厂商 产地 生产企业"),
    (r"属于|隶属|归属|管辖|下辖", "所属 隶属 隶属于 下辖地区 所属地区 主管部门"),
    (r"症状|表现", "症状 临床症状 常见症状 表现"),
    (r"治|疗法", "治疗 治疗方法 治疗方式"),
    (r"病因|引起|导致|原因|为什么", "病因 原因 常见病因"),
    (r"科室|挂什么科|哪个科", "科室 就诊科室 所属科室"),
)
_MEANT = tuple((re.compile(pattern), tuple(labels.split())) for pattern, labels in _MEANS)
_NOISE = re.compile(
    r"请问|告诉我|我想知道|想知道|你知道|谁知道|知道|谁能|能不能|吗|呢|呀|啊|的|是|了|吧|有|我|你|请|这个|那个|一下"
    r"|[\s，。？?！!、；;：:“”\"'《》（）()\[\]]"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is left of a question without the names in it, and what it wants."""

    rest: str
    counts: bool
    lists: bool
    kinds: tuple[str, ...]
    labels: frozenset[str]


def asked(rest: str) -> Asked:
    """`rest`: the question with each name replaced by one blank."""
    rest = searchable(rest)
    bare = _NOISE.sub("", rest)
    kinds = tuple(marks for pattern, marks in _KINDS if pattern.search(rest))
    labels = frozenset(label for pattern, some in _MEANT if pattern.search(rest) for label in some)
    return Asked(bare, bool(_COUNT.search(rest)), bool(_LIST.search(rest)), kinds, labels)


def fit(label: str, question: Asked, weights: dict[str, float]) -> float:
    """How well a relation of this label answers the question: 0 = not at all, about 1 = its label stands in it, more for a long one.

    `weights`: by pair of characters and by character, what it tells among this graph's labels (see `label_weights`).
    """
    key = "".join(searchable(label).split())
    if not key:
        return 0.0
    score = 0.0
    if key in question.rest:
        score = 1.2 + 0.1 * min(len(key), 8)
    else:
        grams = _grams(key)
        whole = sum(weights.get(gram, 1.0) for gram in grams)
        score = sum(weights.get(gram, 1.0) for gram in grams if gram in question.rest) / whole if whole else 0.0
    if key in question.labels or any(meant in key for meant in question.labels if len(meant) > 1):
        score += 0.5
    if any(key[-1] in marks for marks in question.kinds):
        score += 0.15
    return score


def label_weights(labels: Sequence[str]) -> dict[str, float]:
    """Inverse frequency of characters and pairs of them among labels."""
    counts: dict[str, int] = {}
    for label in labels:
        for gram in set(_grams("".join(searchable(label).split()))):
            counts[gram] = counts.get(gram, 0) + 1
    return {gram: (1.5 if len(gram) > 1 else 1.0) / (1 + count) ** 0.25 for gram, count in counts.items()}


def _grams(key: str) -> list[str]:
    return [*key, *(key[n : n + 2] for n in range(len(key) - 1))]
