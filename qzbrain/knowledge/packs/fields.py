"""What a value of a pack's row must be: nothing of a stranger's file is used before it fits one of these."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_INT = 2**31 - 1
_ID = re.compile(r"[0-9A-Za-z_-]{1,32}")
_SHA = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Field:
    """What a value must be. `kind`: text, int, share (a number from 0 to 1), id, sha, texts (a list of texts), rows (a list of rows), json (an object).

    `most`: characters of a text, the highest number, or rows. `least`: characters or the lowest number. `rows`: the fields of such rows.
    """

    kind: str
    most: int = 0
    absent: bool = False
    of: tuple[str, ...] = ()
    least: int = 0
    rows: Mapping[str, Field] | None = None


def text(most: int = MOST_INT, *, least: int = 0, absent: bool = False) -> Field:
    """A text of so many characters."""
    return Field("text", most, absent, least=least)


def number(most: int = MOST_INT, *, least: int = 0, absent: bool = False) -> Field:
    """A whole number."""
    return Field("int", most, absent, least=least)


def one_of(*values: str) -> Field:
    """One of these texts."""
    return Field("text", 16, of=values)


ID, SHA, TIME, FLAG = Field("id"), Field("sha"), text(32), number(1)
MAYBE_TIME, MAYBE_SHA = text(32, absent=True), Field("sha", absent=True)


def read_row(value: Any, fields: Mapping[str, Field]) -> tuple[dict[str, Any], str]:
    """The fields of a row, those of a newer minor version left out; and the name of the first that does not fit, '' when all do."""
    if not isinstance(value, dict):
        return {}, "JSON"
    row = {name: value.get(name) for name in fields}
    for name, wanted in fields.items():
        if wanted.rows is not None:
            fault = _read_rows(row, name, wanted)
            if fault:
                return row, fault
        elif not fits(row[name], wanted):
            return row, name
    return row, ""


def _read_rows(row: dict[str, Any], name: str, wanted: Field) -> str:
    given = row[name]
    if not isinstance(given, list) or len(given) > wanted.most or wanted.rows is None:
        return name
    made = []
    for one in given:
        inner, fault = read_row(one, wanted.rows)
        if fault:
            return f"{name}.{fault}"
        made.append(inner)
    row[name] = made
    return ""


def fits(value: Any, wanted: Field) -> bool:
    """Whether a value is what it must be."""
    if value is None:
        return wanted.absent
    match wanted.kind:
        case "text":
            return isinstance(value, str) and wanted.least <= len(value) <= wanted.most and (not wanted.of or value in wanted.of)
        case "int":
            return type(value) is int and wanted.least <= value <= wanted.most
        case "share":
            return type(value) in (int, float) and math.isfinite(value) and 0 <= value <= 1
        case "id":
            return isinstance(value, str) and _ID.fullmatch(value) is not None
        case "sha":
            return isinstance(value, str) and _SHA.fullmatch(value) is not None
        case "texts":
            return isinstance(value, list) and all(isinstance(x, str) for x in value)
        case _:
            return isinstance(value, dict)
