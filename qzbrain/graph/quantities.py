"""Dates and amounts with units, as values of a graph have them: 1949年10月1日, 前221年, 1.5万人, 8,848.86米, 180 cm, 三百元. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

from qzbrain.text.normalize import searchable
from qzbrain.text.numerals import chinese_number

_NUMBER = re.compile(
    r"(?P<minus>(?<![\d\w])-)?(?P<n>\d{1,3}(?:[,，]\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|[零〇一二两三四五六七八九十百千万]+)\s*(?P<times>[十百千万亿兆]+|million|billion|thousand|trillion)?"
)
_TIMES = {"十": 10.0, "百": 1e2, "千": 1e3, "万": 1e4, "亿": 1e8, "兆": 1e12, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12}
_SIZES: tuple[tuple[str, float, str], ...] = (
    ("length", 1e-3, "毫米 mm"),
    ("length", 1e-2, "厘米 公分 cm"),
    ("length", 0.0254, "英寸 inch inches"),
    ("length", 0.3048, "英尺 ft feet foot"),
    ("length", 1.0, "米 公尺 m meters metres meter metre"),
    ("length", 500.0, "里"),
    ("length", 1e3, "公里 千米 km kilometers kilometres"),
    ("length", 1609.34, "英里 mi miles mile"),
    ("length", 1852.0, "海里"),
    ("area", 1.0, "平方米 平米 m2 m² ㎡"),
    ("area", 666.67, "亩"),
    ("area", 1e4, "公顷 ha hectares"),
    ("area", 1e6, "平方公里 平方千米 km2 km²"),
    ("area", 2.59e6, "平方英里"),
    ("mass", 1e-6, "毫克 mg"),
    ("mass", 1e-3, "克 g"),
    ("mass", 0.4536, "磅 lb lbs pounds"),
    ("mass", 0.5, "斤"),
    ("mass", 1.0, "千克 公斤 kg kilograms"),
    ("mass", 1e3, "吨 t tons tonnes"),
    ("time", 1.0, "秒 s seconds"),
    ("time", 60.0, "分钟 分 min minutes"),
    ("time", 3600.0, "小时 时 h hours"),
    ("time", 86400.0, "天 日 days"),
    ("time", 604800.0, "周 weeks"),
    ("time", 2.63e6, "个月"),
    ("time", 3.156e7, "周年 岁 years"),
    ("speed", 1.0, "km/h 公里/小时 千米/小时 公里每小时"),
    ("speed", 3.6, "m/s 米/秒"),
    ("yuan", 1.0, "元 人民币 rmb 块 圆 cny"),
    ("dollar", 1.0, "美元 usd dollars"),
    ("euro", 1.0, "欧元 eur euros"),
)
_UNITS = {searchable(name): (kind, size) for kind, size, names in _SIZES for name in names.split()}
_UNIT = re.compile("|".join(re.escape(one) + (r"(?![a-z])" if one.isascii() else "") for one in sorted(_UNITS, key=len, reverse=True)))
_SIGNS = {"$": "dollar", "¥": "yuan", "€": "euro"}
_DATE = re.compile(
    r"(?P<before>公元前|前|bc\s?)?(?P<y>\d{1,4}|[零〇一二三四五六七八九]{4})\s?(?:年|[-./](?=\d)|$|(?=\D))(?:\s?(?P<m>\d{1,2})\s?(?:月|[-./](?=\d)|$|(?=\D)))?(?:\s?(?P<d>\d{1,2})(?:日|号|$|(?=\D)))?"
)
_MONTHS = {name: number for number, name in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1)}
_ENGLISH_DATE = re.compile(
    r"(?:(?P<d1>\d{1,2})(?:st|nd|rd|th)?\s+)?(?P<m>jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?\s*(?:(?P<d2>\d{1,2})(?:st|nd|rd|th)?,?\s+)?(?P<y>\d{3,4})"
)
_CENTURY = re.compile(r"(?P<before>公元前|前)?(?P<n>\d{1,2}|[一二三四五六七八九十]+)\s?世纪|(?P<e>\d{1,2})(?:st|nd|rd|th) century")
_BC = re.compile(r"\d\s?(?:bc|bce)(?![a-z])")


@dataclass(frozen=True, slots=True)
class Quantity:
    """An amount in the base unit of its kind; `kind` is "date" (in years), that of a unit, or "" for a bare number."""

    kind: str
    amount: float


def date(text: str) -> Quantity | None:
    """The first date in a text, as years with the rest of the year as a fraction; before our era below 0."""
    text = searchable(text)
    english = _ENGLISH_DATE.search(text)
    if english:
        return Quantity("date", _year(int(english["y"]), int(_MONTHS[english["m"]]), int(english["d1"] or english["d2"] or 1), before=bool(_BC.search(text))))
    century = _CENTURY.search(text)
    if century:
        number = int(century["e"] or chinese_number(century["n"]))
        return Quantity("date", float(-100 * number) if century["before"] else 100.0 * (number - 1))
    for match in _DATE.finditer(text):
        year = int(match["y"]) if match["y"].isdecimal() else chinese_number(match["y"])
        named = text[match.end("y") :].lstrip().startswith("年") or match["before"] or _BC.search(text)
        if len(match["y"]) < 3 and not named:
            continue
        month = int(match["m"] or 0)
        day = int(match["d"] or 0) if 1 <= month <= 12 else 0
        return Quantity("date", _year(year, month if month <= 12 else 0, day if day <= 31 else 0, before=bool(match["before"] or _BC.search(text))))
    return None


def _year(year: int, month: int, day: int, *, before: bool) -> float:
    within = (max(month, 1) - 1) / 12 + (max(day, 1) - 1) / 372
    return -year + within if before else year + within


def amount(text: str) -> Quantity | None:
    """The first number in a text with its unit; for a range (10-20米) its beginning."""
    text = searchable(text)
    for match in _NUMBER.finditer(text):
        value = _value(match["n"])
        if value is None:
            continue
        for unit in match["times"].strip() if match["times"] and not match["times"].isascii() else [match["times"]] if match["times"] else []:
            value *= _TIMES[unit]
        if match["minus"]:
            value = -value
        sign = _SIGNS.get(text[: match.start()].rstrip()[-1:], "")
        found = _UNIT.search(text, match.end())
        if found and not re.search(r"[\d，,;；]", text[match.end() : found.start()]) and found.start() - match.end() <= 3:
            kind, size = _UNITS[found[0]]
            return Quantity(kind, value * size)
        return Quantity(sign, value)
    return None


def _value(number: str) -> float | None:
    if number[0].isdigit():
        return float(number.replace(",", "").replace("，", ""))
    try:
        return float(chinese_number(number))
    except ValueError:
        return None
