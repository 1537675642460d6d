"""What a knowledge graph costs: 320,000 triples of 55,000 entities brought in by the running brain, then answered over.

    python bench/graph.py [--triples 320000] [--entities 55000] [--seed 7] [--mysql] [--hub 0] [--only import|answers] [--json]

The graph is made from the seed: a few entities are hubs of 4,000 triples and more, most have a handful, as in encyclopedic graphs. The file goes in over HTTP
and the worker takes it in, while a client asks in a conversation. Then single facts go in, and a client asks until the web process knows them. With the brain
stopped the questions are asked of its database in this process, one thread. `--mysql` does all on a MariaDB of the bench's own; `--hub N` also brings in an
entity of N triples and asks about that. Prints a table, or JSON; exit 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import csv
import http.client
import importlib
import importlib.util
import io
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.running import RunningBrain, wait_for

_LABELS = (
    "国籍 出生地 职业 性别 民族 毕业院校 主要成就 代表作品 出生日期 所属行业 董事长 总经理 注册资本 成立时间 总部地点 "
    "经营范围 公司类型 股票代码 导演 主演 编剧 制片人 上映时间 片长 语言 作者 出版社 页数 定价 出版时间 字数 装帧 症状 "
    "病因 就诊科室 传染性 治疗方法 常用药物 并发症 易感人群 界 门 纲 目 科 属 分布区域 海拔 气候 面积 人口 行政区类别 "
    "所属地区 电话区号 邮政区码 车牌代码 机场 火车站 著名景点 开放时间 门票价格 校训 校长 学校类型 主管部门 院系设置 朝代 "
    "在位时间 年号 庙号 谥号 配偶 子女 父亲 母亲 弟子 老师"
)
LABELS = _LABELS.split()
CHARACTERS = (
    "安宝北本昌长成城川春大德东丰福富高光广国海合和河恒红洪鸿湖华怀黄辉惠吉佳嘉家建江金津京晶景敬静九俊凯康科兰乐理力立利丽良林玲龙隆鲁罗洛茂梅美明南宁鹏平普启"
    "千青清庆泉群仁荣瑞润山善尚绍深生盛石世寿书舒水顺思泰唐天田通同万望维文武西祥向新信兴雄秀旭学雅阳耀义益银英永友宇玉元源远云泽增振正志中忠洲庄卓宗祖"
)
WHAT: dict[str, tuple[str, float | None]] = {
    "import_s": ("file over HTTP, upload to job done, s", 10.0),
    "added_mb": ("memory added by the graph when it has been asked, all processes (PSS), MB", 150.0),
    "added_peak_mb": ("the most while it came in and was asked, MB", None),
    "chat_idle_p99_ms": ("question in a conversation before, p99, ms", None),
    "chat_p99_ms": ("the same while the file came in, p99, ms", 1000.0),
    "seen_p95_s": ("one fact: upload acknowledged to answered by web, p95, s", 1.0),
    "http_p50_ms": ("question over HTTP, p50, ms", None),
    "read_s": ("graph read into memory, s", 1.0),
    "linking_us": ("linking of a question, mean, us", 50.0),
    "one_p50_ms": ("one hop, p50, ms", 3.0),
    "one_p95_ms": ("one hop, p95, ms", 25.0),
    "list_p95_ms": ("lists, p95, ms", 25.0),
    "two_p95_ms": ("two hops, a third of them by hubs of 4,000, p95, ms", 30.0),
    "around_p95_ms": ("neighbours within two hops, a third of hubs, 200 triples told, p95, ms", 30.0),
    "path_p95_ms": ("way between two entities, up to 4 hops, p95, ms", None),
    "pagerank_ms": ("PageRank from a question's entities, p95, ms", 40.0),
    "hub_import_s": ("hub: its file read and stored, s", None),
    "hub_answer_ms": ("hub: question about it, the longest, ms", None),
    "hub_around_ms": ("hub: 200 of its triples, ms", None),
    "hub_entity_ms": ("hub: looked up with the number of its triples, ms", None),
    "hub_forget_s": ("hub: a document forgotten that says 100 of its triples, s", None),
}
"""By name: what it is, and what it must not exceed."""


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
        head, relation, tail = chance.choice(hubs if hubs and number % 3 == 0 else made.triples)
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


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--triples", type=int, default=320_000)
    parser.add_argument("--entities", type=int, default=55_000)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--hub", type=int, default=0)
    parser.add_argument("--mysql", action="store_true")
    parser.add_argument("--only", choices=["import", "answers"])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    made = make(entities=given.entities, triples=given.triples, seed=given.seed)
    with tempfile.TemporaryDirectory() as folder:
        figures = _measured(made, Path(folder), given)
    if given.json:
        print(json.dumps({"triples": len(made.triples), "entities": len(made.names), "hubs": len(made.hubs), **figures}, ensure_ascii=False))
    else:
        print(f"{len(made.triples):,} triples, {len(made.names):,} names, {len(made.hubs)} hubs of 4,000 and more\n\n{table(figures)}")
    sys.exit(1 if any(_missed(name, value) for name, value in figures.items()) else 0)


def table(figures: dict[str, float]) -> str:
    """All that can be measured, as rows of Markdown."""
    rows = ["| what | figure | bound |", "| --- | --- | --- |"]
    for name, (what, bound) in WHAT.items():
        figure = f"{figures[name]:g}" if name in figures else "not measured"
        rows.append(f"| {what} | {figure} | {'' if bound is None else f'{bound:g}'}{': missed' if _missed(name, figures.get(name, 0)) else ''} |")
    return "\n".join(rows)


def _missed(name: str, value: float) -> bool:
    bound = WHAT[name][1]
    return bound is not None and value > bound


def _measured(made: Made, folder: Path, given: argparse.Namespace) -> dict[str, float]:
    from qzbrain.storage.database import Database

    figures: dict[str, float] = {}
    if given.mysql:
        from tests.servers.mariadb import MariaDb

        server = MariaDb(folder / "mariadb").start()
    brain = RunningBrain(folder / "data")
    (folder / "data" / "brain.sample").write_text("added", encoding="utf-8")
    brain.environment |= server.environment if given.mysql else {}
    try:
        if given.only != "answers" or given.mysql:
            kb_id = _live(brain, made, given.seed, figures)
            database = _database(brain)
        else:
            kb_id, database = "graph", Database(folder / "own.sqlite")
            _store(database, kb_id, made.triples)
        if given.only != "import":
            _answers(database, kb_id, made, given.seed, figures)
        if given.hub:
            _hub(database, given.hub, figures)
        database.close()
    finally:
        if brain.process is not None:
            brain.stop()
        if given.mysql:
            server.remove()
    return figures


def _database(brain: RunningBrain) -> Any:
    """The database of a brain that was stopped."""
    import os

    from qzbrain.brain import build
    from qzbrain.settings import Settings

    os.environ.update({name: value for name, value in brain.environment.items() if name.startswith(("MYSQL_", "QZBRAIN_"))})
    return build(Settings(qzbrain_data=brain.data)).db


# -- the running brain


def _live(brain: RunningBrain, made: Made, seed: int, figures: dict[str, float]) -> str:
    """Bring the graph in, ask, change it; the knowledge base's id. The brain is stopped then."""
    brain.start()
    kb_id = str(brain.call("POST", "/api/knowledge-bases", {"name": "graph"})[1]["id"])
    brain.call("POST", "/api/knowledge-bases", {"name": "chat"})
    talk = brain.call("POST", "/api/conversations", {"title": "bench", "knowledge_bases": ["chat"]})[1]["id"]
    idle = _chat(brain, talk, seconds=3)
    memory = _Memory(brain)
    finished, during = threading.Event(), list[float]()
    chatting = threading.Thread(target=lambda: during.extend(_chat(brain, talk, until=finished)))
    chatting.start()
    begun = time.perf_counter()
    job = _import(brain, as_csv(made))
    figures["import_s"] = round(time.perf_counter() - begun, 2)
    finished.set()
    chatting.join()
    assert job["result"]["triples"] == len(made.triples), job
    asked = questions(made, seed)["one"][:200]
    _ask(brain, asked[0])
    over_http = [timed(lambda one=one: _ask(brain, one)) * 1e3 for one in asked]
    figures["added_mb"], figures["added_peak_mb"] = memory.added()
    figures["chat_idle_p99_ms"], figures["chat_p99_ms"] = _p99(idle), _p99(during)
    figures["http_p50_ms"] = spread(over_http, 2)["p50"]
    figures["seen_p95_s"] = spread([_seen(brain, number) for number in range(20)])["p95"]
    brain.stop()
    return kb_id


def _p99(times: list[float]) -> float:
    return round(sorted(times)[int(0.99 * (len(times) - 1))] * 1e3, 1)


def _chat(brain: RunningBrain, talk: str, *, seconds: float = 0, until: threading.Event | None = None) -> list[float]:
    """Seconds of questions in a conversation, ten a second: each reads its history and has its rows committed."""
    end, times = time.monotonic() + seconds, []
    body = {"content": "试用期最长多久？", "model": "extractive"}
    while not until.is_set() if until else time.monotonic() < end:
        times.append(timed(lambda: brain.call("POST", f"/api/conversations/{talk}/messages", body)))
        time.sleep(0.1)
    return times


def _import(brain: RunningBrain, content: bytes) -> Any:
    """Have a file taken in; the job."""
    job_id = _upload(brain, content)
    return wait_for(lambda: _settled(brain, job_id), "imported", 120)


def _settled(brain: RunningBrain, job_id: str) -> Any:
    job = next(one for one in brain.call("GET", "/api/jobs")[1]["data"] if one["id"] == job_id)
    assert job["status"] != "failed", job
    return job if job["status"] == "done" else None


def _upload(brain: RunningBrain, content: bytes) -> str:
    mark = "----qzbrain-bench"
    body = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="graph.csv"\r\n\r\n'.encode() + content + f"\r\n--{mark}--\r\n".encode()
    connection = http.client.HTTPConnection("127.0.0.1", brain.port, timeout=60)
    connection.request("POST", "/api/graph/graph/import", body, {"Content-Type": f"multipart/form-data; boundary={mark}"})
    reply = connection.getresponse()
    told = json.loads(reply.read())
    connection.close()
    assert reply.status == 202, told
    return str(told["job_id"])


def _ask(brain: RunningBrain, question: str) -> Any:
    status, told = brain.call("POST", "/chat-process-txt", {"text": question, "kb_ids": ["graph"]})
    assert status == 200, told
    return told


def _seen(brain: RunningBrain, number: int) -> float:
    """Seconds from a fact's acknowledgement until an answer tells it."""
    content = f"head,relation,tail\n新来者{number}号,新任务,任务{number}号\n".encode()
    _upload(brain, content)
    begun = time.perf_counter()
    wait_for(lambda: any(one["tail"] == f"任务{number}号" for one in _ask(brain, f"新来者{number}号的新任务是什么？")["triples"]), "seen", 20, step_s=0.01)
    return time.perf_counter() - begun


class _Memory(threading.Thread):
    """Memory of all processes of a brain, looked at four times a second."""

    def __init__(self, brain: RunningBrain) -> None:
        super().__init__(daemon=True)
        self._brain, self._ended = brain, threading.Event()
        self._before = self._peak = self._now()
        self.start()

    def run(self) -> None:
        while not self._ended.wait(0.25):
            self._peak = max(self._peak, self._now())

    def added(self) -> tuple[float, float]:
        """MB now and at most, above what there was at first."""
        self._ended.set()
        self.join()
        now = self._now()
        return round(now - self._before, 1), round(max(self._peak, now) - self._before, 1)

    def _now(self) -> float:
        return sum(_pss_mb(pid) for pid in self._brain.processes())


def _pss_mb(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


# -- one thread of this process


def _store(database: Any, kb_id: str, triples: Sequence[tuple[str, str, str]]) -> None:
    from qzbrain.graph.base import Fact, Place
    from qzbrain.graph.filling import Filling
    from qzbrain.graph.importing import AT_ONCE
    from qzbrain.storage.migrate import upgrade

    upgrade(database)
    filling, place = Filling(kb_id), Place("import", source="百科")
    for start in range(0, len(triples), AT_ONCE):
        with database.write() as connection:
            filling.add(connection, [Fact(*one, place) for one in triples[start : start + AT_ONCE]])


def _answers(database: Any, kb_id: str, made: Made, seed: int, figures: dict[str, float]) -> None:
    from qzbrain.graph.embedded import SqlGraph
    from qzbrain.graph.service import GraphService

    store = SqlGraph(database)
    store.view("none")  # brings numpy
    service = GraphService(store)
    figures["read_s"] = round(timed(lambda: service.process("一", [kb_id])), 2)
    view = store.view(kb_id)
    asked = questions(made, seed)
    every = [one for some in asked.values() for one in some]
    _ = view.linker
    figures["linking_us"] = round(timed(lambda: [view.linker.mentions(one) for one in every]) / len(every) * 1e6, 1)
    for kind, some in asked.items():
        times = spread([timed(lambda one=one: service.process(one, [kb_id])) * 1e3 for one in some], 2)
        figures |= {f"{kind}_{name}_ms": times[name] for name in ("p50", "p95") if f"{kind}_{name}_ms" in WHAT}
    chance = random.Random(seed)
    numbers = {name: number for number, name in reversed(list(enumerate(view.names)))}
    known = [name for name in made.names if name in numbers]
    some = [int(view.ids[numbers[made.hubs[n % len(made.hubs)] if made.hubs and n % 3 == 0 else chance.choice(known)]]) for n in range(300)]
    around = [timed(lambda one=one: service.neighbors(kb_id, one, depth=2, relation=None, limit=200)) * 1e3 for one in some]
    figures["around_p95_ms"] = spread(around, 2)["p95"]
    ways = [timed(lambda a=a, b=b: service.path(kb_id, a, b, max_hops=4)) * 1e3 for a, b in zip(some, reversed(some), strict=True)]
    figures["path_p95_ms"] = spread(ways, 2)["p95"]
    _pagerank(view, every, figures)


def _pagerank(view: Any, asked: Sequence[str], figures: dict[str, float]) -> None:
    """Where this version has it."""
    if importlib.util.find_spec("qzbrain.graph.pagerank") is None:
        return
    import numpy as np

    pagerank = importlib.import_module("qzbrain.graph.pagerank")
    graph = pagerank.rows(len(view.names), view.heads, view.tails, np.ones(len(view.heads), np.float32))
    times = []
    for question in asked[:300]:
        seeds = sorted({entity for mention in view.linker.mentions(question) for entity in mention.entity_ids})
        if seeds:
            shares = np.full(len(seeds), 1 / len(seeds), np.float32)
            times.append(timed(lambda s=seeds, w=shares: pagerank.spread(graph, np.array(s, np.int32), w)) * 1e3)
    figures["pagerank_ms"] = spread(times, 2)["p95"]


def _hub(database: Any, size: int, figures: dict[str, float]) -> None:
    """An entity with so many triples, of twenty relations, in a graph of its own."""
    from qzbrain.graph.base import Fact, Place
    from qzbrain.graph.embedded import SqlGraph
    from qzbrain.graph.service import GraphService

    store, triples = SqlGraph(database), [(f"分支{n}号", LABELS[n % 20], "总中心") for n in range(size)]
    figures["hub_import_s"] = round(timed(lambda: _store(database, "hub", triples)), 1)
    store.add("hub", [Fact(*one, Place("structure", "d", 1, n, n + 1)) for n, one in enumerate(triples[:100])])
    service = GraphService(store)
    service.process("总中心", ["hub"])
    asked = ("总中心是谁的国籍？", "国籍是总中心的有哪些？", "总中心", "分支8号的片长的国籍是什么？")
    figures["hub_answer_ms"] = round(max(timed(lambda one=one: service.process(one, ["hub"])) for one in asked) * 1e3, 1)
    (entity,) = store.search("hub", "总中心", limit=1)
    figures["hub_entity_ms"] = round(timed(lambda: store.entity("hub", entity.id)) * 1e3, 1)
    figures["hub_around_ms"] = round(timed(lambda: service.neighbors("hub", entity.id, depth=2, relation=None, limit=200)) * 1e3, 1)
    figures["hub_forget_s"] = round(timed(lambda: store.forget_document("hub", "d")), 2)


if __name__ == "__main__":
    main()
