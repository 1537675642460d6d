"""Reads documents in a child process, several ahead, so that parsing and tokenising run beside the caller's SQL and index work.

The child is started when it is first needed and killed when a document takes too long: too long without a step forward, or too long in
all. One that dies takes no other document with it:
what it had not answered is asked again, one by one, and only the document that kills it twice has failed. What the child says is
checked like any stranger's input: it may have been taken over by a file that it read.
"""

from __future__ import annotations

import fcntl
import math
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
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from qzbrain import logs
from qzbrain.errors import ParseFailed
from qzbrain.knowledge import frames
from qzbrain.knowledge.answers import Reached, ReadDocument, checked_answer, checked_progress
from qzbrain.settings import ROOT, Settings

log = logs.get(__name__)
_AHEAD = 2000
_PIPE_BYTES = 1 << 20
_SMALLEST_PIPE_BYTES = 1 << 14
_AHEAD_BYTES = 1 << 21
_WAIT_S = 0.2
_DEATHS = 2
CHILD = (sys.executable, "-m", "qzbrain.knowledge.reader_child")


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A document to read: a file by `path`, of about `size_bytes`, or a `text` given directly with its `title`.

    `tokens`: wanted too, for the index.
    """

    document_id: str
    kb_id: str
    name: str
    chunk_chars: int
    overlap_chars: int
    path: Path | None = None
    text: str | None = None
    title: str = ""
    size_bytes: int = 0
    tokens: bool = True

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
                "tokens": self.tokens,
            }
        )


Progress = Callable[[ReadRequest, Reached], None]
"""Told of the document that is being read how far it is."""


def unheard(_request: ReadRequest, _reached: Reached) -> None:
    """Nobody listens."""


class PutOff:
    """What comes of a document that takes longer than its caller would have others wait: it is not read, and no fault of its own."""


class Patience(Protocol):
    """Decides which documents are put off."""

    def seconds(self, request: ReadRequest) -> float:
        """How long this one may keep the others waiting."""

    def took_long(self, request: ReadRequest) -> None:
        """This one has kept the others waiting so long; it is put off now."""

    def expects_long(self, request: ReadRequest) -> bool:
        """Whether one is put off without being tried."""


Outcome = ReadDocument | ParseFailed | PutOff


class Reader:
    """A reading child and the conversation with it. For one thread; `read` must be finished or closed before it is called again.

    `program`: the child's command line, to which its bounds are added.
    """

    def __init__(self, settings: Settings, program: Sequence[str] = CHILD) -> None:
        self._settings, self._program = settings, program
        self._child: _Child | None = None

    def read(
        self,
        requests: Iterable[ReadRequest],
        *,
        beat: Callable[[ReadRequest], None],
        progress: Progress = unheard,
        patience: Patience | None = None,
    ) -> Iterator[tuple[ReadRequest, Outcome]]:
        """Each request with what came of it, in their order but for those put off.

        `beat` is called some times a second while waiting, with the document waited for. `progress`: told of each step forward that the
        child reports. What either raises ends the reading and the child, which may be in the middle of a document.
        """
        conversation = _Conversation(self, iter(requests), self._settings, beat, progress, patience)
        try:
            while conversation.fill():
                yield conversation.next()
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

    def __init__(
        self,
        reader: Reader,
        source: Iterator[ReadRequest],
        settings: Settings,
        beat: Callable[[ReadRequest], None],
        progress: Progress,
        patience: Patience | None,
    ) -> None:
        self._reader, self._source, self._settings = reader, source, settings
        self._beat, self._progress, self._patience = beat, progress, patience
        self._off: deque[ReadRequest] = deque()  # put off without being tried, and not told yet
        self._again: deque[ReadRequest] = deque()  # to be asked once more, one at a time
        self._waiting: deque[tuple[ReadRequest, bytes]] = deque()
        self._held: tuple[ReadRequest, bytes] | None = None
        self._pipe_bytes = self._ahead_bytes = 0
        self._clock = _Clock(settings)
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
                self._clock = _Clock(self._settings)
            self._waiting.append(one)
            self._pipe_bytes += len(frame)
            self._ahead_bytes += request.size_bytes
            self._reader.child().ask(frame)
        return bool(self._waiting or self._off)

    def next(self) -> tuple[ReadRequest, Outcome]:
        """What came of the oldest request under way."""
        if self._off:
            return self._off.popleft(), PutOff()
        while True:
            request = self._waiting[0][0]
            answer = self._reader.child().answer(_WAIT_S)
            self._beat(request)
            if answer is None:
                self._hear(request)
                if (late := self._clock.late()) is not None:
                    return self._give_up(late)
                if self._patience is not None and self._clock.waited_s(self._reader.child()) > self._patience.seconds(request):
                    return self._put_off(self._patience)
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

    def _hear(self, request: ReadRequest) -> None:
        reached = checked_progress(self._reader.child().told())
        if reached is not None and self._clock.moved(reached):
            self._progress(request, reached)

    def _next_to_ask(self) -> tuple[ReadRequest, bytes] | None:
        if self._held is not None:
            held, self._held = self._held, None
            return held
        if self._again:
            return None if self._waiting else (one := self._again.popleft(), one.frame())
        for request in self._source:
            if self._patience is None or not self._patience.expects_long(request):
                return request, request.frame()
            self._off.append(request)
        return None

    def _has_room(self, request: ReadRequest, frame: bytes) -> bool:
        fits = self._pipe_bytes + len(frame) <= self._reader.child().capacity
        return fits and self._ahead_bytes + request.size_bytes <= _AHEAD_BYTES and len(self._waiting) < _AHEAD

    def _answered(self) -> None:
        request, frame = self._waiting.popleft()
        self._pipe_bytes -= len(frame)
        self._ahead_bytes -= request.size_bytes
        self._clock = _Clock(self._settings)

    def _put_off(self, patience: Patience) -> tuple[ReadRequest, PutOff]:
        """Others go first: a new child is asked what comes after this one, all at a time as before."""
        request = self._waiting[0][0]
        self._answered()
        patience.took_long(request)
        self._source = chain(self._unanswered(), self._source)
        return request, PutOff()

    def _child_died(self) -> tuple[ReadRequest, ParseFailed] | None:
        """Ask again, one by one, what is not answered; the oldest is the suspect, and failed when this is not its first time."""
        if self._reader.child().ready_at == math.inf:
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
        self._again.extendleft(reversed(self._unanswered()))

    def _unanswered(self) -> list[ReadRequest]:
        """What was asked without an answer; the child is ended."""
        self._reader.close()
        unanswered = [request for request, _ in self._waiting]
        if self._held is not None:
            unanswered.append(self._held[0])
            self._held = None
        self._waiting.clear()
        self._pipe_bytes = self._ahead_bytes = 0
        return unanswered


class _Clock:
    """The time of one document: it has `PARSE_TIMEOUT_S` from each step forward to the next, and `PARSE_TOTAL_TIMEOUT_S` in all.

    A step forward is a count of its unit that was not reached before, so a child that only talks gains nothing.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._begun = self._moved = time.monotonic()
        self._most: dict[str, int] = {}

    def moved(self, reached: Reached) -> bool:
        """Note how far it is; tells whether that is a step forward."""
        if reached.done <= self._most.get(reached.unit, 0):
            return False
        self._most[reached.unit] = reached.done
        self._moved = time.monotonic()
        return True

    def waited_s(self, child: _Child) -> float:
        """How long others have waited for it; not for its child, which may have had to start first."""
        return time.monotonic() - max(self._begun, child.ready_at)

    def late(self) -> ParseFailed | None:
        """Why the document has had its time, if it has."""
        now = time.monotonic()
        if now - self._moved > self._settings.parse_timeout_s:
            return _timeout(self._settings.parse_timeout_s)
        if now - self._begun > self._settings.parse_total_timeout_s:
            return _total_timeout(self._settings.parse_total_timeout_s)
        return None


def child_command(settings: Settings, program: Sequence[str] = CHILD, *, max_text_chars: int | None = None) -> list[str]:
    """What starts a child that reads documents, bounded by the settings; with a lower bound for texts when one is given."""
    ocr_page_timeout_s = 0 if settings.ocr == "off" else settings.ocr_page_timeout_s
    bounds = [settings.parse_memory_mb, max_text_chars or settings.max_text_chars, ocr_page_timeout_s, settings.ocr_threads]
    return [*program, *(str(x) for x in (os.getpid(), *bounds))]


class _Child:
    """The process and its pipes; a thread takes its answers, so that it never waits for us while we write to the index."""

    def __init__(self, settings: Settings, program: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            child_command(settings, program),
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
        self.ready_at = math.inf
        self._answers: queue.Queue[Any] = queue.Queue()
        self._given = self._taken = 0
        self._told: tuple[int, Any] = (0, None)
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
            answer = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            return None
        self._taken += 1
        return answer

    def told(self) -> Any:
        """What the child said last of the document whose answer comes next; None when it has said nothing."""
        after, told = self._told
        return told if after == self._taken else None

    def kill(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        self._thread.join()
        self._stdin.close()
        self._stdout.close()

    def _listen(self, reader: frames.FrameReader) -> None:
        try:
            if reader.next() != {"ready": True}:
                raise ValueError("no greeting")
            self.ready_at = time.monotonic()
            while (answer := reader.next()) is not None:
                if isinstance(answer, dict) and "progress" in answer:
                    self._told = (self._given, answer)  # only the last counts: one that talks without end fills no queue
                    continue
                self._given += 1
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
        zh=f"读取该文件时连续 {seconds} 秒没有进展，已停止。请拆分文件，或调高 PARSE_TIMEOUT_S。",
        en=f"Reading this file made no step forward for {seconds} seconds and was stopped. Split the file, or raise PARSE_TIMEOUT_S.",
    )


def _total_timeout(seconds: int) -> ParseFailed:
    return ParseFailed(
        "timeout",
        zh=f"读取该文件总共超过 {seconds} 秒，已停止。请拆分文件，或调高 PARSE_TOTAL_TIMEOUT_S。",
        en=f"Reading this file took more than {seconds} seconds in all and was stopped. Split the file, or raise PARSE_TOTAL_TIMEOUT_S.",
    )


def _crashed() -> ParseFailed:
    return ParseFailed(
        "crashed",
        zh="读取该文件时程序两次异常终止，文件可能已损坏。请用原软件打开并另存后重新上传。",
        en="The program that reads this file died twice on it; the file is probably damaged. Open it with its own software, save it anew, upload that.",
    )
