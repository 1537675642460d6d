"""Small graphs for questions: books and people, films, companies, a law, places in English. Made by hand: none of it is from the sets that are measured."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from qzbrain.graph.qa import Answerer
from qzbrain.graph.view import GraphView

Rows = tuple[tuple[str, ...], ...]


def _rows(text: str) -> Rows:
    """Triples as `head|relation|tail[|head's type|tail's type]`, parted by `;`."""
    return tuple(tuple(one.strip().split("|")) for one in text.split(";") if one.strip())


BOOKS = _rows(
    """
    红楼梦|作者|曹雪芹; 红楼梦|成书时间|1784年; 红楼梦|主要人物|贾宝玉; 红楼梦|主要人物|林黛玉; 红楼梦|主要人物|薛宝钗; 曹雪芹|出生地|南京;
    曹雪芹|出生日期|1715年; 曹雪芹|父亲|曹颙; 南京|所属省份|江苏; 呐喊|作者|鲁迅; 彷徨|作者|鲁迅; 朝花夕拾|作者|鲁迅; 呐喊|出版社|新潮社;
    呐喊|出版时间|1923年8月; 彷徨|出版时间|1926年8月; 鲁迅|出生地|绍兴; 鲁迅|出生日期|1881年9月25日; 鲁迅|妻子|朱安; 鲁迅|妻子|许广平; 鲁迅|职业|作家;
    周海婴|父亲|鲁迅; 鲁迅|母亲|鲁瑞; 鲁瑞|出生地|安桥头; 周作人|出生日期|1885年1月16日; 周作人|哥哥|鲁迅; 周作人|毕业院校|立教大学;
    鲁迅|毕业院校|仙台医学专门学校; 家|作者|巴金; 绍兴|所属省份|浙江; 杨绛|丈夫|钱钟书; 围城|作者|钱钟书; 围城|题材|讽刺小说;
    """
)
FILMS = _rows(
    """
    霸王别姬|导演|陈凯歌|电影|人物; 霸王别姬|主演|张国荣|电影|人物; 霸王别姬|主演|巩俐|电影|人物; 霸王别姬|上映时间|1993-01-01|电影|;
    活着|导演|张艺谋|电影|人物; 活着|主演|巩俐|电影|人物; 活着|主演|葛优|电影|人物; 活着|上映时间|1994-05-18|电影|; 活着|作者|余华|小说|人物;
    大红灯笼高高挂|导演|张艺谋|电影|人物; 大红灯笼高高挂|主演|巩俐|电影|人物; 大红灯笼高高挂|片长|125分钟|电影|; 霸王别姬|片长|171分钟|电影|;
    张艺谋|出生地|西安|人物|城市; 张艺谋|配偶|陈婷|人物|人物; 陈凯歌|妻子|陈红|人物|人物; 张艺谋|代表作品|红高粱|人物|电影; 巩俐|身高|168cm|人物|;
    葛优|身高|1.75米|人物|; 西安|人口|1299万人|城市|; 巩俐|国籍|新加坡|人物|; 葛优|国籍|中国|人物|;
    """
)
COMPANIES = _rows(
    """
    晨光科技|创始人|李明远; 晨光科技|成立时间|2003年5月; 晨光科技|总部地点|杭州; 晨光科技|注册资本|1.2亿元; 晨光科技|员工人数|3500人;
    晨光科技|子公司|晨光云; 晨光科技|子公司|晨光物流; 晨光科技|产品|晨光笔记本; 晨光科技|官网|www.chenguang.example; 远海集团|成立时间|1998年;
    远海集团|总部地点|上海; 远海集团|注册资本|9000万元; 远海集团|董事长|王海; 远海集团|所属行业|航运; 蓝鲸航运|所属行业|航运; 蓝鲸航运|董事长|赵宁;
    蓝鲸航运|总部地点|上海; 王海|毕业院校|大连海事大学; 赵宁|毕业院校|大连海事大学; 李明远|妻子|陈洁; 陈洁|职务|晨光科技财务总监; 远海集团|收购|蓝鲸航运;
    晨光云|负责人|周涛; 周涛|籍贯|湖南长沙;
    """
)
LAW = _rows(
    """
    中华人民共和国劳动合同法|包含|中华人民共和国劳动合同法 第二章|法规|章节;
    中华人民共和国劳动合同法 第二章|包含|中华人民共和国劳动合同法第十九条|章节|条款;
    中华人民共和国劳动合同法 第二章|包含|中华人民共和国劳动合同法第二十条|章节|条款;
    中华人民共和国劳动合同法第八十三条|引用|中华人民共和国劳动合同法第十九条|条款|条款;
    非全日制用工|是指|以小时计酬为主，劳动者在同一用人单位一般平均每日工作时间不超过四小时的用工形式|术语|;
    试用期|是指|包含在劳动合同期限内的考察期|术语|;
    """
)
ENGLISH = _rows(
    """
    Hamlet|author|William Shakespeare; Macbeth|author|William Shakespeare; William Shakespeare|place of birth|Stratford-upon-Avon;
    William Shakespeare|spouse|Anne Hathaway; William Shakespeare|date of birth|April 1564; Acme Corporation|founder|Jane Miller;
    Acme Corporation|headquarters|Boston; Acme Corporation|inception|1987; Globex|inception|1991; Globex|headquarters|Boston;
    Jane Miller|alma_mater|Stanford University; France|capital|Paris; Paris|population|2.1 million; Lyon|population|522,000;
    Inception|directedBy|Christopher Nolan; Dunkirk|directedBy|Christopher Nolan; Inception|starring|Leonardo DiCaprio;
    Titanic|starring|Leonardo DiCaprio; Titanic|release date|1997-12-19; Titanic|directedBy|James Cameron;
    """
)
HOSPITAL = _rows(
    """
    偏头痛|典型症状|恶心; 偏头痛|典型症状|畏光; 偏头痛|就诊科室|神经内科; 偏头痛|常用药物|布洛芬; 牙周炎|常用药物|布洛芬; 牙周炎|就诊科室|口腔科;
    偏头痛|治疗周期|1-3个月;
    """
)


Cued = dict[str, tuple[tuple[str, ...], tuple[str, ...]]]


def view_of(rows: Iterable[tuple[str, ...]], *, cues: Cued | None = None, aliases: Iterable[tuple[str, str]] = ()) -> GraphView:
    """A graph of (head, relation, tail[, head's type, tail's type])."""
    entities: dict[tuple[str, str], int] = {}
    labels: dict[str, int] = {}
    triples: list[tuple[int, int, int]] = []
    for head, label, tail, *types in rows:
        kinds = [*types, "", ""][:2]
        ends = [entities.setdefault((name, kind), len(entities)) for name, kind in ((head, kinds[0]), (tail, kinds[1]))]
        triples.append((ends[0], labels.setdefault(label, len(labels)), ends[1]))
    array = np.array(triples, np.int32).reshape(-1, 3)
    names = [name for name, _ in entities]
    numbers = np.arange(1, len(triples) + 1, dtype=np.int64)
    set_words = [(cues or {}).get(label, ((), ())) for label in labels]
    also = [(alias, names.index(name)) for alias, name in aliases]
    ids = np.arange(1, len(names) + 1, dtype=np.int64)
    kinds_of = [kind for _, kind in entities]
    return GraphView(1, ids, names, kinds_of, also, list(labels), numbers, *(array[:, n].copy() for n in range(3)), cues=set_words)


@lru_cache
def answerer(rows: Rows) -> Answerer:
    """Over one of the graphs above."""
    return Answerer(view_of(rows))
