"""Reads documents in a child process, several ahead, so that parsing and tokenising run beside the caller's SQL and index work.

The child is started when it is first needed and killed when a document takes too long. One that dies takes no other document with it:
what it had not answered is asked again, one by one, and only the document that kills it twice has failed. What the child says is
checked like any stranger's input: it may have been taken over by a file that it read.
"""

from __future__ import annotations

import fcntl
import os
import queue
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qzbrain import logs
from qzbrain.errors import ParseFailed
from qzbrain.knowledge import frames
from qzbrain.knowledge.answers import ReadDocument, checked_answer
from qzbrain.settings import ROOT, Settings

log = logs.get(__name__)
_AHEAD = 2000
_PIPE_BYTES = 1 << 20
_SMALLEST_PIPE_BYTES = 1 << 14
_AHEAD_BYTES = 1 << 20
_WAIT_S = 0.2
_DEATHS = 2
CHILD = (sys.executable, "-m", "qzbrain.knowledge.reader_child")


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A document to read: a file by `path`, of about `size_bytes`, or a `text` given directly with its `title`."""

    document_id: str
    kb_id: str
    name: str
    chunk_chars: int
    overlap_chars: int
    path: Path | None = None
    text: str | None = None
    title: str = ""
    size_bytes: int = 0

    def frame(self) -> bytes:
        """As the child gets it."""
        return frames.pack(
            {
                "name": self.name,
                "chunk_chars": self.chunk_chars,
                "overlap_chars": self.overlap_chars,
                "path": None if self.path is None else str(self.path),
                "text": self.text,
                "title": self.title,
            }
        )


class Reader:
    """A reading child and the conversation with it. For one thread; `read` must be finished or closed before it is called again.

    `program`: the child's command line, to which its bounds are added.
    """

    def __init__(self, settings: Settings, program: Sequence[str] = CHILD) -> None:
        self._settings, self._program = settings, program
        self._child: _Child | None = None

    def read(self, requests: Iterable[ReadRequest], *, beat: Callable[[ReadRequest], None]) -> Iterator[tuple[ReadRequest, ReadDocument | ParseFailed]]:
        """Each request with what came of it, in their order. `beat` is called some times a second while waiting, with the document waited for.

        What `beat` raises ends the reading and the child, which may be in the middle of a document.
        """
        conversation = _Conversation(self, iter(requests), self._settings)
        try:
            while conversation.fill():
                yield conversation.next(beat)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def child(self) -> _Child:
        """The child, started when there is none."""
        if self._child is None:
            self._child = _Child(self._settings, self._program)
        return self._child


class _Conversation:
    """One call of `read`: what was asked, what is not answered yet, who is suspected of killing the child."""

    def __init__(self, reader: Reader, source: Iterator[ReadRequest], settings: Settings) -> None:
        self._reader, self._source, self._settings = reader, source, settings
        self._again: deque[ReadRequest] = deque()  # to be asked once more, one at a time
        self._waiting: deque[tuple[ReadRequest, bytes]] = deque()
        self._held: tuple[ReadRequest, bytes] | None = None
        self._pipe_bytes = self._ahead_bytes = 0
        self._begun = time.monotonic()
        self._deaths: dict[str, int] = {}

    def fill(self) -> bool:
        """Ask as much as may be under way; False when everything is answered.

        No more than the pipe holds is ever under way (but one request, when the child waits for it), so that writing never blocks on a
        child that hangs; and not much more than the caller can use at once, so that answers do not pile up in memory.
        """
        while (one := self._next_to_ask()) is not None:
            request, frame = one
            if self._waiting and not self._has_room(request, frame):
                self._held = one
                break
            if not self._waiting:
                self._begun = time.monotonic()
            self._waiting.append(one)
            self._pipe_bytes += len(frame)
            self._ahead_bytes += request.size_bytes
            self._reader.child().ask(frame)
        return bool(self._waiting)

    def next(self, beat: Callable[[ReadRequest], None]) -> tuple[ReadRequest, ReadDocument | ParseFailed]:
        """What came of the oldest request under way."""
        while True:
            request = self._waiting[0][0]
            answer = self._reader.child().answer(_WAIT_S)
            beat(request)
            if answer is None:
                if time.monotonic() - self._begun > self._settings.parse_timeout_s:
                    return self._give_up(_timeout(self._settings.parse_timeout_s))
                continue
            outcome = checked_answer(answer, request.document_id, request.text, max_text_chars=self._settings.max_text_chars)
            if outcome is None:
                if (failed := self._child_died()) is not None:
                    return failed
                continue
            self._answered()
            if isinstance(outcome, ParseFailed) and "out_of_memory" in answer:
                self._start_over()
            return request, outcome

    def _next_to_ask(self) -> tuple[ReadRequest, bytes] | None:
        if self._held is not None:
            held, self._held = self._held, None
            return held
        if self._again:
            return None if self._waiting else (one := self._again.popleft(), one.frame())
        request = next(self._source, None)
        return None if request is None else (request, request.frame())

    def _has_room(self, request: ReadRequest, frame: bytes) -> bool:
        fits = self._pipe_bytes + len(frame) <= self._reader.child().capacity
        return fits and self._ahead_bytes + request.size_bytes <= _AHEAD_BYTES and len(self._waiting) < _AHEAD

    def _answered(self) -> None:
        request, frame = self._waiting.popleft()
        self._pipe_bytes -= len(frame)
        self._ahead_bytes -= request.size_bytes
        self._begun = time.monotonic()

    def _child_died(self) -> tuple[ReadRequest, ParseFailed] | None:
        """Ask again, one by one, what is not answered; the oldest is the suspect, and failed when this is not its first time."""
        if not self._reader.child().ready:
            raise RuntimeError("the reading process does not start")
        request = self._waiting[0][0]
        self._deaths[request.document_id] = self._deaths.get(request.document_id, 0) + 1
        log.warning("reading_child_died", document_id=request.document_id, times=self._deaths[request.document_id])
        if self._deaths[request.document_id] >= _DEATHS:
            return self._give_up(_crashed())
        self._start_over()
        self.fill()
        return None

    def _give_up(self, error: ParseFailed) -> tuple[ReadRequest, ParseFailed]:
        request = self._waiting[0][0]
        self._answered()
        self._start_over()
        return request, error

    def _start_over(self) -> None:
        """A new child, to be asked all that is not answered, one at a time."""
        self._reader.close()
        unanswered = [request for request, _ in self._waiting]
        if self._held is not None:
            unanswered.append(self._held[0])
            self._held = None
        self._again.extendleft(reversed(unanswered))
        self._waiting.clear()
        self._pipe_bytes = self._ahead_bytes = 0


class _Child:
    """The process and its pipes; a thread takes its answers, so that it never waits for us while we write to the index."""

    def __init__(self, settings: Settings, program: Sequence[str]) -> None:
        ocr_page_timeout_s = 0 if settings.ocr == "off" else settings.ocr_page_timeout_s
        arguments = [os.getpid(), settings.parse_memory_mb, settings.max_text_chars, ocr_page_timeout_s, settings.ocr_threads]
        self._process = subprocess.Popen(
            [*program, *(str(x) for x in arguments)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self.capacity = _widened(self._stdin.fileno())
        self.ready = False
        self._answers: queue.Queue[Any] = queue.Queue()
        longest = 64 * settings.max_text_chars + (1 << 24)
        self._thread = threading.Thread(target=self._listen, args=(frames.FrameReader(self._stdout.fileno(), longest=longest),), daemon=True)
        self._thread.start()

    def ask(self, frame: bytes) -> None:
        """Send a request; a child that is gone shows in `answer`."""
        try:
            frames.write_all(self._stdin.fileno(), frame)
        except BrokenPipeError:
            log.debug("reading_child_gone")

    def answer(self, timeout_s: float) -> Any:
        """The next answer; None when there is none yet, False when the child is gone or talks nonsense."""
        try:
            return self._answers.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._thread.join()
        self._stdin.close()
        self._stdout.close()

    def _listen(self, reader: frames.FrameReader) -> None:
        try:
            self.ready = reader.next() == {"ready": True}
            while (answer := reader.next()) is not None:
                self._answers.put(answer)
        except (ValueError, OSError) as exc:
            log.warning("reading_child_nonsense", error=repr(exc)[:200])
        self._answers.put(False)


def _widened(pipe: int) -> int:
    """The bytes that a pipe holds, made as many as an ordinary user may ask for: the child goes on while its caller writes to the index."""
    if not hasattr(fcntl, "F_SETPIPE_SZ"):
        return _SMALLEST_PIPE_BYTES
    with suppress(OSError):  # many pipes of this user are wide already
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ)


def _timeout(seconds: int) -> ParseFailed:
    return ParseFailed(
        "timeout",
        zh=f"读取该文件超过 {seconds} 秒仍未完成，已停止。请拆分文件，或调高 PARSE_TIMEOUT_S。",
        en=f"Reading this file took more than {seconds} seconds and was stopped. Split the file, or raise PARSE_TIMEOUT_S.",
    )


def _crashed() -> ParseFailed:
    return ParseFailed(
        "crashed",
        zh="读取该文件时程序两次异常终止，文件可能已损坏。请用原软件打开并另存后重新上传。",
        en="The program that reads this file died twice on it; the file is probably damaged. Open it with its own software, save it anew, upload that.",
    )
