"""Graphs for the console's tests and pictures, made up and always the same: firms with their people, industries and places."""

from __future__ import annotations

import random
import urllib.request
import uuid
from typing import Any

from server import Server, wait_until

SURNAMES = "李王张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗"
GIVEN = ("明", "芳", "伟", "静", "磊", "娜", "强", "敏", "军", "洋", "志远", "晓东", "雨桐", "建国", "秀英", "文博")
INDUSTRIES = ("造纸", "钢铁", "医药", "软件", "纺织", "航运", "水泥", "食品加工", "新能源汽车", "半导体")
CITIES = ("杭州", "宁波", "苏州", "成都", "武汉", "青岛", "厦门", "长沙", "西安", "沈阳", "郑州", "合肥")
HEAD = "head,relation,tail,head_type,tail_type,source,aliases"


def company_triples(firms: int = 60, seed: int = 7) -> str:
    """A CSV with about 7 triples a firm."""
    dice = random.Random(seed)
    people = [a + b for a in SURNAMES for b in GIVEN]
    names = [f"{dice.choice(CITIES)}{dice.choice('晨恒华东远盛泰嘉')}{dice.choice('光丰润达信和')}{n}公司" for n in range(firms)]
    names[0] = "晨光集团公司"
    rows = [HEAD]
    for n, name in enumerate(names):
        source = f"工商登记{2020 + n % 5}"
        chairman, *staff = dice.sample(people, 4)
        rows.append(f"{name},董事长,{chairman},公司,人物,{source},{name.removesuffix('公司')}")
        rows += [f"{name},高管,{one},公司,人物,{source}," for one in staff]
        rows.append(f"{name},所属行业,{INDUSTRIES[int(dice.random() ** 2 * len(INDUSTRIES))]},公司,行业,{source},")
        rows.append(f"{name},注册地,{dice.choice(CITIES)},公司,城市,{source},")
        if n:
            rows.append(f"{names[int(dice.random() ** 2 * n)]},控股,{name},公司,公司,{source},")
    rows.append("晨光集团公司,股票代码,600123,公司,,年报,")
    return "\n".join(rows) + "\n"


def load(server: Server, base: str, text: str, name: str = "triples.csv") -> dict[str, Any]:
    """Bring triples in through the API; the job when it has ended."""
    mark = uuid.uuid4().hex
    head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\nContent-Type: text/csv\r\n\r\n'
    data = head.encode() + text.encode() + f"\r\n--{mark}--\r\n".encode()
    request = urllib.request.Request(f"{server.url}/api/graph/{base}/import", data, {"Content-Type": f"multipart/form-data; boundary={mark}"})
    with urllib.request.urlopen(request, timeout=60) as reply:
        job_id = reply.read().decode().split('"job_id":"')[1].split('"')[0]

    def job() -> dict[str, Any]:
        return next(one for one in server.call("GET", "/api/jobs?limit=100")["data"] if one["id"] == job_id)

    wait_until(lambda: job()["status"] not in ("pending", "running"), 60)
    return job()


def entity(server: Server, base: str, name: str) -> str:
    """Id of the entity of this name."""
    from urllib.parse import quote

    return str(server.call("GET", f"/api/graph/{base}/search?q={quote(name)}")["data"][0]["id"])
