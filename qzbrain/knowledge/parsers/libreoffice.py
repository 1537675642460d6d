"""Old office formats by way of LibreOffice: turned into docx, xlsx or pptx, which the parsers here read.

LibreOffice is not part of the installation; where it is missing the file is refused with the command that installs it. It runs
under a guard (see conversion_guard), a process of its own, because the process that reads documents may write no file; the guard ends it, and all
that it started, when its time is over or the reader is gone.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from qzbrain.domain import ParsedDocument
from qzbrain.errors import ParseFailed
from qzbrain.knowledge.parsers import refusals
from qzbrain.knowledge.parsers.base import ParseLimits, Parser, Source
from qzbrain.knowledge.parsers.legacy import Legacy, legacy

CONVERSION_S = 90
"""Longest time that a conversion may take; a document's own limit (PARSE_TIMEOUT_S) may end it before."""
_ROOT = Path(__file__).parents[3]
_GUARD = "qzbrain.knowledge.parsers.conversion_guard"
_PARSERS = {"docx": "word", "pptx": "slides", "xlsx": "workbook"}


def parse(source: Source, limits: ParseLimits) -> ParsedDocument:
    """What the parser of the newer format makes of it. Raises ParseFailed: unsupported (without LibreOffice), broken, too_large …"""
    kind = legacy(source.data)
    if kind is None:
        raise refusals.broken("Office")
    converted = convert(source.data, kind, CONVERSION_S)
    parser: Parser = import_module(f"qzbrain.knowledge.parsers.{_PARSERS[kind.target]}").parse
    return parser(Source(converted, f"{source.stem}.{kind.target}", source.progress), limits)


def program() -> str | None:
    """LibreOffice's command, None when it is not installed."""
    return shutil.which("soffice") or shutil.which("libreoffice")


def convert(data: bytes, kind: Legacy, limit_s: float) -> bytes:
    """The document as `kind.target`. Raises ParseFailed: unsupported when LibreOffice is missing, broken when it gives nothing in time."""
    soffice = program()
    if soffice is None:
        raise _missing(kind)
    arguments = [sys.executable, "-m", _GUARD, soffice, kind.extension, kind.target, str(limit_s), str(len(data))]
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(arguments, stdin=pipe, stdout=pipe, stderr=nowhere, cwd=_ROOT) as guard:
        assert guard.stdin is not None
        assert guard.stdout is not None
        try:
            guard.stdin.write(data)
            guard.stdin.flush()
        except BrokenPipeError as exc:
            raise _failed(kind) from exc
        converted = guard.stdout.read()  # its standard input stays open: were we killed, its end would tell the guard
        with suppress(BrokenPipeError):
            guard.stdin.close()
        guard.wait()
    if guard.returncode == 0 and converted.startswith(b"PK"):
        return converted
    raise _failed(kind)


def _missing(kind: Legacy) -> ParseFailed:
    install = "apt-get install libreoffice-writer-nogui libreoffice-calc-nogui libreoffice-impress-nogui"
    return refusals.unsupported(
        kind.zh, kind.en,
        f"读取它需要 LibreOffice：请在服务器上运行 {install}，然后重试；或者另存为 {kind.target} 后上传。",
        f"Reading it takes LibreOffice: run {install} on the server and try again, or save it as {kind.target} and upload that.",
    )


def _failed(kind: Legacy) -> ParseFailed:
    return ParseFailed(
        "broken",
        zh=f"LibreOffice 无法转换这个文件（{kind.zh}）：文件可能已损坏、有密码保护，或转换时间过长。请用原程序另存为 {kind.target} 后上传。",
        en=f"LibreOffice could not convert this file ({kind.en}): it may be damaged, protected by a password, or take too long. "
        f"Save it as {kind.target} in the program it came from and upload that.",
    )
