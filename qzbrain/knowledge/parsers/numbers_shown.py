"""Numbers of a spreadsheet as people see them: dates for day counts, `25%` for 0.25, `3` for 3.0, long numbers whole. Pure."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation

_PERCENTS, _MOMENT = (9, 10), (22,)
_DAYS = (14, 15, 16, 17, 27, 28, 29, 30, 31, 36, 50, 51, 52, 53, 54, 57, 58)
_CLOCKS = (18, 19, 20, 21, 32, 33, 34, 35, 45, 46, 47, 55, 56)
_BUILT_IN = {str(n): kind for kind, numbers in (("percent", _PERCENTS), ("date", _DAYS), ("datetime", _MOMENT), ("time", _CLOCKS)) for n in numbers}
_LITERAL = re.compile(r'"[^"]*"|\\.|\[(?!h|m|s)[^\]]*\]|_.|\*.', re.IGNORECASE)
_LONGEST_DATE = 2_958_466


def format_kind(number: str, code: str) -> str:
    """How cells of a number format are shown: date, datetime, time, percent, zeros:N (padded to N digits) or ''. `code` is '' for built-in formats."""
    if not code:
        return _BUILT_IN.get(number, "")
    bare = _LITERAL.sub("", code.split(";")[0]).lower()
    day, clock = bool(re.search(r"[yd年日]", bare)) or bare.strip() in ("m", "mm", "mmm", "mmmm"), bool(re.search(r"[hs]", bare))
    if (day or clock) and not re.search(r"[0#]", bare.replace("ss.0", "ss")) and "general" not in bare:
        return "datetime" if day and clock else "date" if day else "time"
    if "%" in bare:
        return "percent"
    return f"zeros:{len(bare)}" if len(bare) > 1 and set(bare) == {"0"} else ""


def date_shown(raw: str, kind: str, *, from_1904: bool) -> str:
    """`2023-05-01`, with the time where there is one; '' when the cell is no date."""
    if kind not in ("date", "datetime", "time"):
        return ""
    try:
        days = float(raw)
    except ValueError:
        return ""
    if not 0 <= days < _LONGEST_DATE:
        return ""
    epoch = datetime(1904, 1, 1) if from_1904 else datetime(1899, 12, 30) if days >= 60 else datetime(1899, 12, 31)
    moment = epoch + timedelta(seconds=round(days * 86_400))
    if kind == "time" and days < 1:
        return clock_shown(moment.time())
    return moment_shown(moment)


def moment_shown(moment: datetime | date | time | timedelta) -> str:
    """A date, a time or both; midnight is not told. A duration in hours, minutes and seconds."""
    if isinstance(moment, datetime):
        day = moment.date().isoformat()
        return day if moment.time() == time() else f"{day} {clock_shown(moment.time())}"
    if isinstance(moment, time):
        return clock_shown(moment)
    if isinstance(moment, timedelta):
        seconds = round(moment.total_seconds())
        return f"{seconds // 3600}:{seconds % 3600 // 60:02}:{seconds % 60:02}"
    return moment.isoformat()


def clock_shown(moment: time) -> str:
    """`08:30`, with seconds when there are some."""
    return moment.strftime("%H:%M:%S" if moment.second else "%H:%M")


def number_shown(raw: str, kind: str = "") -> str:
    """Digits without exponent, without `.0`, to the fifteen places that a spreadsheet keeps."""
    if not kind and raw.isdecimal() and raw[0] != "0":
        return raw
    try:
        number = Decimal(raw)
    except InvalidOperation:
        return raw
    if not number.is_finite() or abs(number.adjusted()) > 40:
        return raw
    if kind == "percent":
        return f"{_plain(number * 100)}%"
    text = _plain(number)
    return text.zfill(int(kind[6:])) if kind.startswith("zeros:") and text.isdecimal() else text


def _plain(number: Decimal) -> str:
    if number != number.to_integral_value():
        number = Decimal(f"{float(number):.15g}")
    text = f"{number:f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) or "0"
