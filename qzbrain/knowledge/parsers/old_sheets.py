"""Sheets of xls, xlsb and ods, read by python-calamine in a process of its own.

Damaged files make that library ask for all memory at once, which ends its process; here it ends nobody else's. The document goes to its standard
input, frames come back: one that begins a sheet, then its rows, and a last one that says that all is told.
"""

from __future__ import annotations

import io
import re
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from qzbrain.knowledge import frames
from qzbrain.knowledge.parsers import refusals
from qzbrain.knowledge.parsers.grid import Merge, Sheet, SparseRow
from qzbrain.knowledge.parsers.numbers_shown import moment_shown, number_shown

_ERROR = re.compile(r"#(?:N/A|REF!|DIV/0!|VALUE!|NAME\?|NUM!|NULL!|GETTING_DATA|SPILL!|CALC!)|Err:\d+")
_ROWS_A_FRAME = 500
_LONGEST_FRAME = 1 << 28
_ADDRESS_SPACE = 1 << 30
_PROCESSOR_S = 100
_ROOT = Path(__file__).parents[3]


def old_sheets(data: bytes, kind: str) -> Iterator[Sheet]:
    """The visible work sheets; each is to be read before the next is asked for. Raises ParseFailed: broken, encrypted."""
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    command = [sys.executable, "-m", "qzbrain.knowledge.parsers.old_sheets"]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nowhere, cwd=_ROOT) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        feeder = threading.Thread(target=_feed, args=(process.stdin, data), daemon=True)
        feeder.start()
        try:
            told = _Told(frames.FrameReader(process.stdout.fileno(), longest=_LONGEST_FRAME), kind)
            while (beginning := told.next()) and "sheet" in beginning:
                yield Sheet(str(beginning["sheet"]), told.rows(), tuple(Merge(*(int(x) for x in one)) for one in beginning["merges"]))
        finally:
            process.kill()
            process.wait()
            feeder.join()


def _feed(stream: Any, data: bytes) -> None:
    with suppress(BrokenPipeError), stream:
        stream.write(data)


class _Told:
    """What the other process says, checked."""

    def __init__(self, reader: frames.FrameReader, kind: str) -> None:
        self._reader, self._kind = reader, kind
        self._ahead: dict[str, Any] | None = None

    def next(self) -> dict[str, Any]:
        """The frame that is due; one that ends early, or a fault that it tells, is raised."""
        try:
            frame, self._ahead = self._ahead or self._reader.next(), None
        except ValueError as exc:  # it died in the middle of a frame
            raise refusals.broken(self._kind) from exc
        if isinstance(frame, dict) and frame.get("fault") == "encrypted":
            raise refusals.encrypted(self._kind)
        if not isinstance(frame, dict) or "fault" in frame:
            raise refusals.broken(self._kind)
        return frame

    def rows(self) -> Iterator[SparseRow]:
        """Up to the next sheet."""
        while "rows" in (frame := self.next()):
            for number, cells in frame["rows"]:
                yield int(number), [(int(column), str(text)) for column, text in cells]
        self._ahead = frame


def main() -> None:
    """Read standard input, tell what it holds."""
    for limit, value in ((resource.RLIMIT_AS, _ADDRESS_SPACE), (resource.RLIMIT_CPU, _PROCESSOR_S), (resource.RLIMIT_CORE, 0)):
        soft, hard = resource.getrlimit(limit)
        resource.setrlimit(limit, (value if soft == resource.RLIM_INFINITY else min(value, soft), hard))
    for frame in _frames(sys.stdin.buffer.read()):
        frames.write_all(sys.stdout.fileno(), frames.pack(frame))


def _frames(data: bytes) -> Iterator[dict[str, Any]]:
    """An edge: python-calamine's own errors, and those of Rust, which are no Exception."""
    import python_calamine as calamine

    try:
        book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
        for listed in book.sheets_metadata:
            if listed.visible == calamine.SheetVisibleEnum.Visible and listed.typ == calamine.SheetTypeEnum.WorkSheet:
                yield from _sheet_frames(book.get_sheet_by_name(listed.name))
        yield {"end": True}
    except calamine.PasswordError:
        yield {"fault": "encrypted"}
    except (KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException:  # noqa: BLE001 - see above
        yield {"fault": "broken"}


def _sheet_frames(sheet: Any) -> Iterator[dict[str, Any]]:
    top, left = sheet.start or (0, 0)
    yield {"sheet": sheet.name, "merges": [[*first, *last] for first, last in sheet.merged_cell_ranges or ()]}
    rows: list[SparseRow] = []
    for number, row in enumerate(sheet.iter_rows()):
        if cells := [(column + left, text) for column, value in enumerate(row) if (text := _shown(value))]:
            rows.append((number + top, cells))
        if len(rows) == _ROWS_A_FRAME:
            yield {"rows": rows}
            rows = []
    yield {"rows": rows}


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return "" if _ERROR.fullmatch(value) else value.strip()
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, (int, float)):
        return number_shown(repr(value))
    if isinstance(value, (datetime, date, time, timedelta)):
        return moment_shown(value)
    return str(value)


if __name__ == "__main__":
    main()
