"""Rows of a spreadsheet, read in a process of its own: what people upload must not be able to end, fill or hold up the web process.

The file goes to its standard input; one JSON object comes back: `{"sheets": [[[number, [cell, …]], …], …]}`, or `{"zh", "en"}` for one that cannot be read.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Sequence

import orjson

from qzbrain.errors import InvalidRequest, ParseFailed
from qzbrain.knowledge.parsers.base import ParseLimits
from qzbrain.settings import ROOT

Rows = Sequence[tuple[int, list[str]]]
TIMEOUT_S = 120
_ADDRESS_SPACE = 2 << 30
_MOST_CELLS = 5_000_000


def sheets(data: bytes) -> list[Rows]:
    """Each sheet's rows with their numbers, as the spreadsheet shows them. Raises InvalidRequest (`unreadable_file`)."""
    command = [sys.executable, "-m", "qzbrain.knowledge.entries.sheet_rows"]
    try:
        told = subprocess.run(command, input=data, capture_output=True, timeout=TIMEOUT_S, cwd=ROOT, check=False)
        answer = orjson.loads(told.stdout)
    except (subprocess.TimeoutExpired, orjson.JSONDecodeError, OSError):
        answer = {}
    if "sheets" not in answer:
        raise InvalidRequest(
            "unreadable_file",
            zh=answer.get("zh") or "无法读取该表格文件，可能已损坏或过大。请另存为 xlsx 或 CSV 后重试。",
            en=answer.get("en") or "The spreadsheet cannot be read; it may be damaged or too large. Save it as xlsx or CSV and try again.",
            param="file",
        )
    return [[(row[0], row[1]) for row in rows] for rows in answer["sheets"]]


def main() -> None:
    """The process: see the module's docstring."""
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, resource.getrlimit(resource.RLIMIT_AS)[1]))
    try:
        answer: dict[str, object] = {"sheets": _read(sys.stdin.buffer.read())}
    except ParseFailed as exc:
        answer = {"zh": exc.zh, "en": exc.en}
    sys.stdout.buffer.write(orjson.dumps(answer))


def _read(data: bytes) -> list[list[tuple[int, list[str]]]]:
    from qzbrain.knowledge.parsers.workbook import visible_sheets

    found: list[list[tuple[int, list[str]]]] = []
    cells = 0
    for sheet in visible_sheets(data, ParseLimits()):
        rows: list[tuple[int, list[str]]] = []
        for index, values in sheet.rows:
            held = dict(values)
            width = max(held, default=-1) + 1
            cells += width
            if cells > _MOST_CELLS:
                raise ParseFailed("too_large", zh="表格过大，请拆分后导入。", en="The spreadsheet is too large; split it.")
            rows.append((index + 1, [held.get(column, "") for column in range(width)]))
        found.append(rows)
    return found


if __name__ == "__main__":
    main()
