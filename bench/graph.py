"""What a knowledge graph costs: 320,000 triples of 55,000 entities brought in by the running brain, then answered over.

    python bench/graph.py [--triples 320000] [--entities 55000] [--seed 7] [--mysql] [--only import|answers|live] [--json]

The graph is made from the seed: a few entities are hubs of 4,000 triples and more, most have a handful, as in encyclopedic graphs. The file goes in over HTTP
and the worker takes it in, while a client writes rows like a chat's. `--mysql` does the same on a MariaDB of the bench's own.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

LABELS = (
    "国籍 出生地 职业 性别 民族 毕业院校 主要成就 代表作品 出生日期 所属行业 董事长 总经理 注册资本 成立时间 总部地点 经营范围 公司类型 股票代码 导演 主演 编剧 制片人 上映时间 "
    "片长 语言 作者 出版社 页数 定价 出版时间 字数 装帧 症状 病因 就诊科室 传染性 治疗方法 常用药物 并发症 易感人群 界 门 纲 目 科 属 分布区域 海拔 气候 面积 人口 行政区类别 "
    "所属地区 电话区号 邮政区码 车牌代码 机场 火车站 著名景点 开放时间 门票价格 校训 校长 学校类型 主管部门 院系设置 朝代 在位时间 年号 庙号 谥号 配偶 子女 父亲 母亲 弟子 老师"
).split()
CHARACTERS = (
    "安宝北本昌长成城川春大德东丰福富高光广国海合和河恒红洪鸿湖华怀黄辉惠吉佳嘉家建江金津京晶景敬静九俊凯康科兰乐理力立利丽良林玲龙隆鲁罗洛茂梅美明南宁鹏平普启"
    "千青清庆泉群仁荣瑞润山善尚绍深生盛石世寿书舒水顺思泰唐天田通同万望维文武西祥向新信兴雄秀旭学雅阳耀义益银英永友宇玉元源远云泽增振正志中忠洲庄卓宗祖"
)
BOUNDS = {
    "import_s": 10.0, "added_mb": 150.0, "linking_us": 50.0, "answer_p50_ms": 3.0, "answer_p95_ms": 25.0, "two_hops_p95_ms": 30.0, "around_p95_ms": 30.0,
    "seen_p95_s": 1.0, "chat_write_p99_ms": 1000.0,
}  # fmt: skip


@dataclass(frozen=True)
class Made:
    """A graph and questions about it, each with the answer that one of its triples gives."""

    triples: list[tuple[str, str, str]]
    names: list[str]
    hubs: list[str]


def make(*, entities: int, triples: int, seed: int) -> Made:
    """A graph from a seed. Tails by a power law whose first ranks have thousands, heads by a flatter one; each head has relations of its kind."""
    chance = random.Random(seed)
    names = list(dict.fromkeys(_name(chance) for _ in range(entities * 2)))[:entities]
    tails = list(accumulate(1 / (rank + 5) for rank in range(entities)))
    heads = list(accumulate(1 / (rank + 300) ** 0.6 for rank in range(entities)))
    shuffled = chance.sample(names, len(names))
    kinds = [chance.sample(LABELS, 12) for _ in range(40)]
    kind_of = {name: chance.choice(kinds) for name in names}
    found: dict[tuple[str, str, str], None] = {}
    while len(found) < triples:
        for head, tail in zip(chance.choices(shuffled, cum_weights=heads, k=10_000), chance.choices(names, cum_weights=tails, k=10_000), strict=True):
            found[head, chance.choice(kind_of[head]), tail] = None
    some = list(found)[:triples]
    degrees = Counter(tail for _, _, tail in some)
    return Made(some, names, [name for name, count in degrees.most_common(50) if count >= 4000])


def _name(chance: random.Random) -> str:
    return "".join(chance.choices(CHARACTERS, k=chance.choices((2, 3, 4, 5, 6, 8), (8, 35, 25, 15, 12, 5))[0]))


def as_csv(made: Made) -> bytes:
    """The file as an export from elsewhere would be."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["head", "relation", "tail", "source"])
    writer.writerows((*one, "百科") for one in made.triples)
    return out.getvalue().encode()


def questions(made: Made, seed: int) -> dict[str, list[str]]:
    """By kind: `one` hop, `list` (the triples that end in a hub or elsewhere), `two` hops, half of them through or from a hub."""
    chance, out = random.Random(seed), defaultdict(list)
    for head, relation, tail in made.triples:
        out[head].append((relation, tail))
    hubs = [one for one in made.triples if one[2] in set(made.hubs)]
    told: dict[str, list[str]] = {"one": [], "list": [], "two": []}
    for number in range(600):
        head, relation, tail = chance.choice(hubs if number % 3 == 0 else made.triples)
        told["one"].append(chance.choice((f"{head}的{relation}是什么？", f"请问{head}{relation}是谁", f"{head}的{relation}")))
        if number % 4 == 0:
            told["list"].append(f"{relation}是{tail}的有哪些？")
        if onward := out.get(tail):
            told["two"].append(f"{head}的{relation}的{chance.choice(onward)[0]}是什么？")
    return told


def spread(times: list[float], digits: int = 3) -> dict[str, float]:
    """Median, 95th percentile and the longest."""
    times = sorted(times)
    at = {"p50": times[len(times) // 2], "p95": times[int(0.95 * (len(times) - 1))], "max": times[-1]}
    return {name: round(value, digits) for name, value in at.items()}


def timed(action: Callable[[], Any]) -> float:
    """Seconds."""
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun
