"""What commands write: results on standard output, everything else on standard error, in the reader's language."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Protocol

import orjson
import typer

from qzbrain.errors import InvalidRequest
from qzbrain.settings import environment_language

LANG = environment_language()
_LINE_S = 10.0


def t(zh: str, en: str) -> str:
    """The text for this reader."""
    return zh if LANG == "zh" else en


class WrongUsage(InvalidRequest):
    """The command cannot be meant as it was typed, as with a path that is not there: exit code 2."""


Json = Annotated[bool, typer.Option("--json", help=t("以 JSON 输出结果（供程序使用）", "Print the result as JSON (for programs)"))]


def result(text: str = "") -> None:
    """A line of the result."""
    sys.stdout.write(text + "\n")


def result_json(value: Any) -> None:
    """One JSON object on a line of its own; dataclasses become objects."""
    sys.stdout.write(orjson.dumps(value, default=_plain).decode() + "\n")


def piece(text: str) -> None:
    """Part of a result that is still coming."""
    sys.stdout.write(text)
    sys.stdout.flush()


def note(text: str) -> None:
    """A line for the person who waits."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return str(value)


class Progress(Protocol):
    """A bar, or nothing."""

    def update(self, done: int, total: int) -> None:
        """Show `done` of `total`."""


class _Silent:
    def update(self, done: int, total: int) -> None:
        """Nobody looks."""


@contextmanager
def progress(label: str) -> Iterator[Progress]:
    """A bar on standard error while the block runs; nothing where that is not a terminal."""
    if not sys.stderr.isatty():
        yield _Silent()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(label, total=None)

        class Bar:
            def update(self, done: int, total: int) -> None:
                """Move the bar."""
                bars.update(task, completed=done, total=total)

        yield Bar()


@contextmanager
def transfer(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for bytes, with their rate and the time left, on standard error; where that is not a terminal a line now and then."""
    if not sys.stderr.isatty():
        yield _lines(label)
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(label, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total or None)


def _lines(label: str) -> Callable[[int, int], None]:
    began, told = time.monotonic(), time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= _LINE_S:
            told = now
            note(f"{label}: {done / 1e6:,.0f} / {total / 1e6:,.0f} MB ({done / 1e6 / (now - began):.1f} MB/s)")

    return tell


@contextmanager
def waiting(label: str) -> Iterator[Callable[[str], None]]:
    """A turning sign and a text that may change, on standard error, while the block runs; nothing where that is not a terminal."""
    if not sys.stderr.isatty():
        yield lambda _text: None
        return
    from rich.console import Console

    with Console(stderr=True).status(label) as status:
        yield status.update


def table(headings: list[str], rows: list[list[str]]) -> None:
    """Rows under headings, as wide as the terminal allows."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(*headings, box=None, pad_edge=False, header_style="bold")
    shown.columns[0].no_wrap = True  # a name that is cut short cannot be typed
    for row in rows:
        shown.add_row(*row)
    Console(soft_wrap=not sys.stdout.isatty()).print(shown)
