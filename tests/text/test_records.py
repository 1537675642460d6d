"""Records of `label：value` lines are told from prose."""

from __future__ import annotations

import pytest

from qzbrain.text.records import is_pair, records


@pytest.mark.parametrize("text", [
    "姓名：张三\n部门：财务处", "name: a\nid: 3\n价格：5元", "问：几点上班？\n答：九点。", "问：标题\n问题的细节\n答：第一行\n第二行\n部门：内科",
])  # fmt: skip
def test_records(text: str) -> None:
    around = f"前面的一段话。\n\n{text}\n\n后面的一段话：\n它有两行。"
    assert [around[start:end] for start, end in records(around)] == [text]


@pytest.mark.parametrize("text", [
    "", "第一条：为了规范。", "他说：好。\n然后他走了。\n没有回来。\n再也没有。", "一段话\n两行", "申请材料如下：\n（一）身份证；\n（二）户口簿。",
])  # fmt: skip
def test_prose_is_none(text: str) -> None:
    assert not list(records(text))


def test_a_question_without_an_answer_is_no_pair() -> None:
    assert not is_pair("问：几点上班？", 0)
    assert not is_pair("问：几点上班？\n\n答：九点。", 0)
