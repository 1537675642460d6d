"""Bytes of an engine's reply → pieces of text. Pure: knows the OpenAI stream format and its dialects, not sockets.

All deltas of one `feed` are merged into one piece. Tolerant of form (comments, CRLF, no blank after `data:`, events cut anywhere,
characters split by the engine, replies that are plain JSON although a stream was asked for), strict about substance: an error
object, something that is no JSON, or an end without [DONE] and finish_reason is an `EngineFault`.
"""

from __future__ import annotations

import json
from typing import Any

import orjson

from qzbrain.domain import Usage
from qzbrain.models.base import Piece
from qzbrain.models.faults import EngineFault, quoted, shortened

LONGEST_EVENT_BYTES = 2 << 20
_NOTHING: dict[str, Any] = {}


class StreamDecoder:
    """State of one reply. `feed` each body part, then `finish` at its end or when `done` tells that nothing more is needed."""

    __slots__ = ("_chunks", "_fault", "_form", "_half", "_split_characters", "_tail", "done", "finish_reason", "sent_chars", "usage")

    def __init__(self) -> None:
        self._tail = b""
        self._form = ""  # "" until the first bytes tell: events | json
        self._half = ""  # the first half of a character that the engine escaped in two deltas
        self._split_characters = False
        self._chunks = 0
        self._fault: EngineFault | None = None
        self.done = False
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.sent_chars = 0

    def feed(self, body: bytes) -> str:
        """The text that these bytes bring, perhaps ''. Raises EngineFault."""
        if not body:
            return ""
        if self._form == "events" and not self._tail and body[:7] == b'data: {' and body[-2:] == b"\n\n" and body.find(b"\n", 7) == len(body) - 2:
            text = self._event(body[6:])
        else:
            text = self._feed_any(body)
        self.sent_chars += len(text)
        return text

    def finish(self) -> Piece:
        """The last piece, when the reply is over. Raises EngineFault when it broke off."""
        text = ""
        if self._fault is not None:
            raise self._fault
        if self._form == "json" and not self.done:
            text = self._whole()
        elif self._tail:
            text = self._line(self._tail)
            self._tail = b""
        if self._half:
            text, self._half = text + "\ufffd", ""
        if not self._chunks:
            raise EngineFault("回复为空", "the reply was empty", lost=True)
        if not self.done and self.finish_reason is None:
            raise EngineFault("回答在中途断开", "the reply broke off before its end", lost=True)
        self.sent_chars += len(text)
        return Piece(text, self.finish_reason or "stop", self.usage)

    def _feed_any(self, body: bytes) -> str:
        data = self._tail + body
        if not self._form and not self._recognise(data):
            self._tail = data
            return ""
        if self._form == "json":
            self._tail = _bounded(data)
            return ""
        lines = data.split(b"\n")
        self._tail = lines.pop()
        text = ""
        for line in lines:
            try:
                text += self._line(line)
            except EngineFault as fault:
                if not text:
                    raise
                self._fault, self.done = fault, True  # what came before it is shown first
                return text
        self._tail = _bounded(self._tail)
        return text

    def _recognise(self, data: bytes) -> bool:
        start = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:8]
        if not start:
            return False
        if start[:1] == b"{":
            self._form = "json"
        elif start[:1] == b":" or any(start.startswith(x) or x.startswith(start) for x in (b"data:", b"event:", b"id:", b"retry:")):
            self._form = "events"
        else:
            raise EngineFault(f"回复不是事件流：{quoted(data)}", f"the reply is no event stream: {quoted(data)}")
        return True

    def _line(self, line: bytes) -> str:
        line = line.rstrip(b"\r").removeprefix(b"\xef\xbb\xbf")
        if not line.startswith(b"data:"):
            if line and not line.startswith((b":", b"event:", b"id:", b"retry:", b"data")):
                raise EngineFault(f"事件流中有无法识别的内容：{quoted(line)}", f"the stream holds something that is no event: {quoted(line)}")
            return ""
        payload = line[5:].strip()
        if payload == b"[DONE]":
            self.done = True
            return ""
        return self._event(payload) if payload and not self.done else ""

    def _event(self, payload: bytes) -> str:
        try:
            chunk = orjson.loads(payload)
        except orjson.JSONDecodeError:
            chunk = _tolerant(payload)
            self._split_characters = True
        try:
            choices = chunk.get("choices")
            if chunk.get("usage"):
                self.usage = _usage(chunk["usage"])
            if not choices:
                if fault := error_text(chunk):
                    raise EngineFault(f"引擎报告错误：{fault}", f"the engine reports an error: {fault}")
                return ""
            choice = choices[0]
            if choice.get("finish_reason") is not None:
                self.finish_reason = str(choice["finish_reason"])
            content = (choice.get("delta") or choice.get("message") or _NOTHING).get("content")
        except (KeyError, TypeError, AttributeError, ValueError) as exc:
            raise EngineFault(f"事件的结构无法识别：{quoted(payload)}", f"an event of the stream has an unknown shape: {quoted(payload)}") from exc
        self._chunks += 1
        if not content:
            if chunk.get("error"):
                raise EngineFault(f"引擎报告错误：{error_text(chunk)}", f"the engine reports an error: {error_text(chunk)}")
            return ""
        if not isinstance(content, str):
            raise EngineFault(f"事件中的文本不是文本：{quoted(payload)}", f"the text of an event is no text: {quoted(payload)}")
        return self._mended(content) if self._split_characters else content

    def _whole(self) -> str:
        """A plain JSON reply of an engine that does not stream."""
        text = self._event(self._tail)
        self.done = self._chunks > 0
        return text

    def _mended(self, content: str) -> str:
        """Join surrogate halves that came in two deltas; a lone half becomes U+FFFD."""
        content, self._half = self._half + content, ""
        if "\ud800" <= content[-1] <= "\udbff":
            content, self._half = content[:-1], content[-1]
        return content.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _tolerant(payload: bytes) -> Any:
    """JSON with bytes that are no UTF-8 or with lone surrogate escapes, both made by engines that cut characters."""
    try:
        return json.loads(payload.decode("utf-8", "replace"), strict=False)
    except ValueError as exc:
        raise EngineFault(f"事件不是 JSON：{quoted(payload)}", f"an event of the stream is no JSON: {quoted(payload)}") from exc


def _usage(value: Any) -> Usage:
    return Usage(prompt_tokens=int(value.get("prompt_tokens") or 0), completion_tokens=int(value.get("completion_tokens") or 0))


def error_text(body: Any) -> str:
    """The engine's own message in an error body of any usual shape; '' when there is none."""
    if not isinstance(body, dict):
        return ""
    error = body.get("error") or body.get("detail") or body.get("message")
    text = error.get("message") or error.get("code") if isinstance(error, dict) else error
    return shortened(str(text)) if text else ""


def said_by(body: bytes) -> str:
    """What a body with an error status says, whatever it is."""
    try:
        return error_text(orjson.loads(body)) or shortened(body.decode("utf-8", "replace"))
    except orjson.JSONDecodeError:
        return shortened(body.decode("utf-8", "replace"))


def _bounded(data: bytes) -> bytes:
    if len(data) > LONGEST_EVENT_BYTES:
        raise EngineFault(f"单个事件超过 {LONGEST_EVENT_BYTES >> 20} MiB", f"one event is longer than {LONGEST_EVENT_BYTES >> 20} MiB")
    return data
