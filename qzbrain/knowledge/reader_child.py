"""The process that reads documents: parse, chunk, tokenise. Hostile files are met here, and nothing but this process can come to harm.

It holds no database, no settings, no secrets; its memory is bounded, it may write no file, and it dies with its parent.
Requests come on standard input, answers go to standard output in the same order (see `frames`).
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from qzbrain.domain import ChunkDraft
from qzbrain.errors import ParseFailed
from qzbrain.knowledge import frames
from qzbrain.knowledge.chunking import chunk
from qzbrain.knowledge.parsers import ocr, parse, parse_text
from qzbrain.knowledge.parsers.base import ParseLimits
from qzbrain.text.tokenize import index_tokens

_PR_SET_PDEATHSIG = 1
_NICE = 3
_FLUSH_BYTES = 1 << 16
_FLUSH_S = 0.05
_TELL_S = 0.25
_TELL_CHUNKS = 256
_LONGEST_REQUEST = 1 << 31


def main() -> None:
    """Serve until standard input ends. Arguments: the parent's process id, memory in MiB, longest text, seconds for a page of OCR, its threads."""
    parent, memory_mb, max_text_chars, ocr_page_timeout_s, ocr_threads = (int(x) for x in sys.argv[1:6])
    _confine(parent, memory_mb)
    limits = ParseLimits(max_text_chars=max_text_chars, ocr_page_timeout_s=ocr_page_timeout_s, ocr_threads=ocr_threads)
    requests = frames.FrameReader(sys.stdin.fileno(), longest=_LONGEST_REQUEST)
    answers = _Answers(sys.stdout.fileno())
    answers.add({"ready": True}, now=True)
    while (request := requests.next()) is not None:
        if request["text"] is None:
            answers.flush()  # should this file kill us, those before it are not lost
        answer = _answer(request, limits, _Teller(answers))
        answers.add(answer, now=not requests.at_hand())
        ocr.retire()
        if "out_of_memory" in answer:
            answers.flush()
            return  # what the parser left behind stays in the way of the next one
    answers.flush()  # the end of standard input looks like another request at hand


class _Answers:
    """Gathers small answers to one write, but never sits on them while there is nothing else to do."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting = bytearray()
        self._flushed = time.monotonic()

    def add(self, answer: dict[str, Any], *, now: bool) -> None:
        self._waiting += frames.pack(answer)
        if now or len(self._waiting) >= _FLUSH_BYTES or time.monotonic() - self._flushed > _FLUSH_S:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            frames.write_all(self._descriptor, bytes(self._waiting))
            self._waiting.clear()
        self._flushed = time.monotonic()


class _Teller:
    """Says how far the document at hand is, a few times a second at most: as long as that grows, its reader is given more time."""

    def __init__(self, answers: _Answers) -> None:
        self._answers = answers
        self._told = time.monotonic()

    def __call__(self, done: int, total: int, unit: str) -> None:
        now = time.monotonic()
        if now - self._told >= _TELL_S:
            self._told = now
            self._answers.add({"progress": [done, total, unit]}, now=True)


def _confine(parent: int, memory_mb: int) -> None:
    """Bound memory, forbid files, die with the parent, leave the processor to answers, ignore the terminal's Ctrl-C (the parent ends us).

    A program that we start to convert a document sets bounds of its own: ours are soft ones, which it may raise again.
    """
    for limit, value in ((resource.RLIMIT_AS, memory_mb << 20), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)):
        hard = resource.getrlimit(limit)[1]
        resource.setrlimit(limit, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(_NICE)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            sys.exit(0)


def _answer(request: dict[str, Any], limits: ParseLimits, tell: _Teller) -> dict[str, Any]:
    try:
        return _read(request, limits, tell)
    except ParseFailed as exc:
        return {"failed": {"code": exc.code, "zh": exc.zh, "en": exc.en}}
    except MemoryError:
        return {"out_of_memory": True}
    except Exception:  # noqa: BLE001 - the edge of this process: whatever a parser's bug throws is an answer
        return {"bug": traceback.format_exc()[-2000:]}


def _read(request: dict[str, Any], limits: ParseLimits, tell: _Teller) -> dict[str, Any]:
    if request["text"] is None:
        parsed = parse(Path(request["path"]), name=request["name"], limits=limits, progress=tell)
    else:
        parsed = parse_text(request["text"], name=request["name"], title=request["title"])
    drafts = chunk(parsed, chunk_chars=request["chunk_chars"], overlap_chars=request["overlap_chars"])
    title = request["title"] or parsed.title
    headings = {title, *(heading for x in drafts for heading in x.heading_path)} if request["tokens"] else set[str]()
    return {
        "text": parsed.text if request["text"] is None else None,
        "title": parsed.title,
        "mime_type": parsed.mime_type,
        "pages": parsed.pages,
        "ocr_pages": parsed.ocr_pages,
        "chunks": [[x.start, x.end, x.page, x.heading_path, x.reference] for x in drafts],
        "tokens": _tokens(drafts, tell) if request["tokens"] else [""] * len(drafts),
        "headings": {heading: _heading_tokens(heading) for heading in headings},
    }


def _tokens(drafts: Sequence[ChunkDraft], tell: _Teller) -> list[str]:
    found: list[str] = []
    for one in drafts:
        found.append(index_tokens(one.text))
        if len(found) % _TELL_CHUNKS == 0:
            tell(len(found), len(drafts), "chunks")
    return found


@lru_cache(maxsize=4096)
def _heading_tokens(heading: str) -> str:
    """Of one title or heading; those of a book return in each of its documents."""
    return index_tokens(heading)


if __name__ == "__main__":
    main()
