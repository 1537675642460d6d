"""Which rows of a table are its header: told from the cells, never assumed.

Above a header there may be lines over the whole table (its title, 单位：万元). A header has short texts where the rows under it have
values; a cell of it that spans columns is a group, named before the columns under it (`产量/2023`). A form (姓名 | 张三 | 性别 | 男) has none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from qzbrain.knowledge.parsers.qa import QaColumns, qa_columns

LONGEST_LABEL = 40
_DEEPEST = 4
_NUMBER = re.compile(r"[-+±<>≤≥~≈￥¥$€]?\s*\d[\d,.，]*\s*(?:[-~～至]\s*\d[\d,.]*)?\s*[%‰元]?")
_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?:[ T]\d{1,2}:\d\d(?::\d\d)?)?|\d{1,2}:\d\d(?::\d\d)?")
_PERIOD = re.compile(r"(?:19|20)\d\d\s*(?:年度?|A|E)?|\d{1,2}月份?|(?:19|20)\d\d\s*[-/.年]\s*\d{1,2}月?|Q[1-4]")
_STATED = re.compile(r"[^：:]{1,12}[：:].*")
_WORD = re.compile(
    r".*(?:名称?|项目?|内容|说明|编?号|序号|代码|数量?|时间|日期|备注|类[别型]|种类|部门|单位|职[务责称]|电话|手机|[单定售]?价格?|金额|费用?|指标|标准|要求|方[法式案]"
    r"|姓名|性别|年龄|问题?|答案?|回[答复]|[率值量额度级]|地[址区点]|城市|省份|功能|参数|描述|定义|规格|型号|品牌|结果|状态|原因|措施|来源|年份?|月份|学历|专业|邮箱"
    r"|责任人|负责人|周期|期限|条件|等级|版本|用途|材料|步骤|依据|范围|关键[词字]|术语|解释)(?:[（(].*[)）])?"
    r"|(?:name|id|no\.?|type|date|time|value|price|amount|count|qty|description|status|code|title|email|phone|unit|item|question|answer|term|definition"
    r"|category|version|note|notes|remark|remarks)",
    re.IGNORECASE,
)
_INNER_BLANK = re.compile(r"(?<=[\u3400-\u9fff）)])\s+(?=[\u3400-\u9fff（(])")


@dataclass(slots=True, eq=False)
class Cell:
    """A cell: its text, how many columns and rows it spans, whether the file calls it a header. Compared as an object: a span is one cell."""

    text: str
    columns: int = 1
    rows: int = 1
    marked: bool = False


Row = list[Cell | None]


@dataclass(frozen=True, slots=True)
class Header:
    """Labels by column ('' where there is none), after `rows` rows of `titles` and header; the question and answer columns if it has them."""

    labels: tuple[str, ...]
    titles: tuple[str, ...]
    rows: int
    qa: QaColumns | None = None


def header_of(rows: Sequence[Row], *, trusted: bool) -> Header | None:
    """The header of a table whose first rows these are, None when it has none. `trusted`: a first row that can be a header is one."""
    width = max(map(len, rows), default=0)
    if width < 2:
        return None
    first = _titles(rows)
    if first >= len(rows) - 1:
        return None
    depth = 1
    while depth < _DEEPEST and first + depth < len(rows) - 1 and _goes_on(rows[first + depth - 1], rows[first + depth]):
        depth += 1
    labels = _labels(rows[first : first + depth], width)
    body = rows[first + depth :]
    if not _can_be(labels, rows[first + depth - 1]) or not (depth > 1 or _stands_out(labels, rows[first], body, trusted=trusted)):
        return None
    titles = tuple(text for row in rows[:first] for text in dict.fromkeys(cell.text for cell in row if cell is not None and cell.text))
    return Header(labels, titles, first + depth, qa_columns(labels))


def is_number(text: str) -> bool:
    """A number, an amount, a date: what stands under a header, not in it."""
    return _NUMBER.fullmatch(text) is not None or _DATE.fullmatch(text) is not None


def _distinct(row: Row) -> list[Cell]:
    return list({id(cell): cell for cell in row if cell is not None and cell.text}.values())


def _titles(rows: Sequence[Row]) -> int:
    """How many rows at the top are lines over the table: one cell, or several of the kind 编制单位：某某."""
    count = 0
    for row in rows:
        cells = _distinct(row)
        if not (len(cells) == 1 or (cells and all(_STATED.fullmatch(cell.text) for cell in cells))):
            break
        count += 1
    return count


def _labelish(text: str) -> bool:
    return len(text) <= LONGEST_LABEL and (not is_number(text) or _PERIOD.fullmatch(text) is not None)


def _goes_on(upper: Row, lower: Row) -> bool:
    """Whether `lower` names the columns under the groups of `upper`."""
    columns = range(max(len(upper), len(lower)))
    above = [upper[i] if i < len(upper) else None for i in columns]
    below = [lower[i] if i < len(lower) else None for i in columns]
    new = [i for i in columns if below[i] is not None and below[i] is not above[i] and _text(below[i])]
    if len(new) < 2 or not all(_labelish(_text(below[i])) for i in new):
        return False
    grouped = {i for i in columns if above[i] is not None and ((i > 0 and above[i - 1] is above[i]) or (i + 1 < len(above) and above[i + 1] is above[i]))}
    if any(i in grouped for i in new) and (0 not in new or all(i in grouped for i in new)):
        return not any(below[i] is not None and i + 1 < len(below) and below[i] is below[i + 1] and above[i] is above[i + 1] for i in new) or len(grouped) > 2
    unnamed = [i for i in new if not _text(above[i])]
    starts = bool(unnamed) and not _text(below[0]) and bool(_text(above[0]))
    return starts and all(_text(above[i]) or _text(below[i]) for i in columns) and all(i in new for i in columns if not _text(above[i]))


def _text(cell: Cell | None) -> str:
    return "" if cell is None else cell.text


def _labels(rows: Sequence[Row], width: int) -> tuple[str, ...]:
    """Label by column: the texts above each other, groups that were not merged carried to the right."""
    named: list[list[str]] = [[] for _ in range(width)]
    for depth, row in enumerate(rows):
        group = ""
        for column in range(width):
            text = _text(row[column]) if column < len(row) else ""
            deeper = rows[depth + 1] if depth + 1 < len(rows) else None
            if not text and deeper is not None and group and column < len(deeper) and _text(deeper[column]):
                text = group
            group = text or group
            clean = _INNER_BLANK.sub("", " ".join(text.split()))
            if clean and (not named[column] or named[column][-1] != clean):
                named[column].append(clean)
    return tuple("/".join(parts) for parts in named)


def _can_be(labels: Sequence[str], lowest: Row) -> bool:
    filled = [label for label in labels if label]
    if len(filled) < 2 or len(filled) < 0.6 * len(labels) or not all(_labelish(_text(cell)) for cell in lowest if cell is not None):
        return False
    if all(_PERIOD.fullmatch(label) or is_number(label) for label in filled) and labels[0]:
        return False
    half = len(filled) // 2
    return len(set(filled)) == len(filled) or (half > 0 and filled[:half] == filled[half:]) or len(set(filled)) > 0.8 * len(filled)


def _stands_out(labels: Sequence[str], top: Row, body: Sequence[Row], *, trusted: bool) -> bool:
    """Whether the top row differs from the rows under it, or says itself what it is."""
    cells = _distinct(top)
    if cells and all(cell.marked for cell in cells):
        return True
    filled = [label for label in labels if label]
    words = sum(_WORD.fullmatch(label) is not None for label in filled) / len(filled)
    if trusted or words >= 0.75 or all(_PERIOD.fullmatch(label) for label in labels[1:]):
        return True
    valued = sum(_valued(labels[column], [_text(row[column]) for row in body if column < len(row)]) for column in range(1, len(labels)))
    first = [_text(row[0]) for row in body if row and _text(row[0])]
    a_form = first and sum(_WORD.fullmatch(text) is not None for text in first) >= 0.5 * len(first)
    if valued >= 0.5 * (len(filled) - 1):
        return True
    return not a_form and (valued > 0 or (len(filled) > 2 and (words >= 0.3 or _shorter(filled, body))))


def _shorter(labels: Sequence[str], body: Sequence[Row]) -> bool:
    """Whether the labels are shorter than what stands under them: in lists laid out in columns they are not."""
    texts = [cell.text for row in body for cell in _distinct(row)]
    return len("".join(labels)) / len(labels) < 0.7 * len("".join(texts)) / max(len(texts), 1)


def _valued(label: str, texts: Sequence[str]) -> bool:
    """Whether numbers stand under a label that is none."""
    held = [text for text in texts if text]
    return bool(label) and not is_number(label) and sum(map(is_number, held)) > 0.5 * len(held)
