"""A header is told from the cells."""

from __future__ import annotations

import pytest

from qzbrain.knowledge.parsers.headers import header_of
from qzbrain.knowledge.parsers.tables import plain_rows

STAFF = [("姓名", "部门", "职务"), ("张三", "财务处", "处长"), ("李四", "装备处", "会计")]


def labels(*rows: tuple[str, ...], trusted: bool = False) -> tuple[str, ...]:
    header = header_of(list(plain_rows(rows)), trusted=trusted)
    return header.labels if header else ()


@pytest.mark.parametrize(("rows", "expected"), [
    (STAFF, ("姓名", "部门", "职务")),
    ([("关于人员的表", "", ""), ("制表：办公室", "", "日期：2023年"), *STAFF], ("姓名", "部门", "职务")),
    ([("地区", "面积"), ("甲县", "12.5"), ("乙县", "1,300")], ("地区", "面积")),
    ([("", "2022", "2023"), ("粮食", "1", "2"), ("棉花", "3", "4")], ("", "2022", "2023")),
    ([("指标", "1月", "2月"), ("利润率", "5%", "6%"), ("名称", "x", "y")], ("指标", "1月", "2月")),
    ([("姓  名", "联系\n电话", "住 址"), ("张三", "6601", "北京")], ("姓名", "联系电话", "住址")),
    ([("甲", "乙", "丙"), ("按照规定的程序办理", "由主管部门批准", "三十日内完成")], ("甲", "乙", "丙")),
    ([("Name", "Qty"), ("paper", "3"), ("ink", "4")], ("Name", "Qty")),
])  # fmt: skip
def test_headers(rows: list[tuple[str, ...]], expected: tuple[str, ...]) -> None:
    assert labels(*rows) == expected


@pytest.mark.parametrize("rows", [
    [("张三", "13800000000"), ("李四", "13900000000")],
    [("1", "2", "3"), ("4", "5", "6")],
    [("姓名", "张三", "性别", "男"), ("部门", "财务处", "职务", "会计"), ("电话", "6601", "备注", "无")],
    [("首页", "新闻动态", "通知公告"), ("政策法规", "办事指南", "下载专区"), ("联系我们", "网站地图", "意见箱")],
    [("只有一行", "没有内容", "的表")],
    [("这一行的文字很长，长到不可能是一个表头里面的名称，因为从来没有人会这样写表头的名称的吧", "二", "三"), ("1", "2", "3")],
    [("单列",), ("的表",)],
    [],
])  # fmt: skip
def test_tables_without_a_header(rows: list[tuple[str, ...]]) -> None:
    assert not labels(*rows)


def test_what_calls_itself_a_table_is_trusted() -> None:
    assert labels(("甲县", "乙县"), ("丙县", "丁县"), trusted=True) == ("甲县", "乙县")
