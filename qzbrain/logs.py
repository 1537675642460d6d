"""Structured logs: one JSON object a line on standard error, with the ids of what is being worked on.

    log = logs.get(__name__)
    log.info("document_ready", document_id=..., chunks=57, took_ms=840)

Ids (request_id, conversation_id, job_id) come from the context: `bind` sets them for the running greenlet or thread.
Never log question text (but where LOG_CONTENT wants it in lines about slow answers and searches), keys or file contents above debug, and
never log inside the hub's native thread pool (it hangs there).
What looks like a secret is made unreadable all the same.
A line costs some 10 µs (2026-11-24), so that one for each request does not show.
"""

from __future__ import annotations

import logging
import os
import re
import traceback
from collections.abc import Iterable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, FilteringBoundLogger

_STDERR = 2
_NO_IDS: dict[str, str] = {}
_ids: ContextVar[dict[str, str]] = ContextVar("qzbrain_log_ids", default=_NO_IDS)
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


_SECRETS = re.compile(
    rb"(?P<key>qzb_)[A-Za-z0-9_\-]{6,}"
    rb"|(?P<scheme>\bBearer\s+)[A-Za-z0-9._~+/=\-]{16,}"
    rb"|(?P<cookie>qzbrain_session_\d+=)[^;,\s\"'\\]+"
    rb"|(?P<userinfo>://[^/\s:@\"\\]{0,80}:)[^/\s@\"\\]+(?=@)"
    rb"|(?P<named>(?:pass(?:word|wd|phrase)|api_?key|secret|token|totp|authorization|cookie|x-api-key)\\*[\"']?\s*[:=]\s*\\*[\"']?(?:(?:Bearer|Basic|Token)\s+)?)"
    rb"(?!(?:null|true|false|None|True|False)\b)[^\s\"'\\,;&}\])]+",
    re.IGNORECASE,
)
"""What looks like a secret wherever it stands in a line: our keys, schemes of Authorization, cookies, passwords in addresses, values of telling names."""
_SIGNS = (b"qzb", b"pass", b"secret", b"token", b"api_key", b"apikey", b"api-key", b"totp", b"authorization", b"cookie", b"bearer", b"basic ", b"://")
"""One of these stands in every line that `_SECRETS` finds something in: looking for them costs a microsecond."""
_hidden: re.Pattern[bytes] | None = None
LEAST_HIDDEN_CHARS = 6


def hide(secrets: Iterable[str]) -> None:
    """Have these values never written, whatever they look like; shorter ones than six characters cannot be told from other text."""
    global _hidden
    known = {json for one in secrets if len(one) >= LEAST_HIDDEN_CHARS for json in (one.encode("utf-8", "replace"), orjson.dumps(one)[1:-1])}
    _hidden = re.compile(b"|".join(re.escape(one) for one in sorted(known, key=len, reverse=True))) if known else None


def redacted(line: bytes) -> bytes:
    """A line without the secrets in it."""
    if _hidden is not None:
        line = _hidden.sub(b"***", line)
    small = line.lower()
    if not any(sign in small for sign in _SIGNS):
        return line
    return _SECRETS.sub(lambda found: next(x for x in found.groups() if x is not None) + b"***", line)


def configure(level: str = "info", process: str = "") -> None:
    """Set the least level that is written, and the name of this process on every line. Call once, at the start."""

    def render(_logger: Any, method: str, event: EventDict) -> bytes:
        line: dict[str, Any] = {"time": datetime.now(UTC).isoformat(), "level": method, "event": event.pop("event", "")}
        if process:
            line["process"] = process
        line.update(_ids.get())
        line.update(event)
        return redacted(_json(line))

    structlog.configure(
        processors=[_with_traceback, render],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *_: _Lines(),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(_LEVELS[level], logging.WARNING), handlers=[_LibraryHandler()], force=True)


def get(name: str) -> FilteringBoundLogger:
    """A logger; `name` (the module's) stands on its lines as `module`."""
    logger: FilteringBoundLogger = structlog.get_logger(module=name)
    return logger


def bind(**ids: str) -> None:
    """Set ids for the lines of this greenlet or thread; those set before stay."""
    _ids.set({**_ids.get(), **ids})


def bound(name: str) -> str:
    """One of the ids of this greenlet or thread; '' when it is not set."""
    return _ids.get().get(name, "")


def clear() -> None:
    """Forget the ids of this greenlet or thread, at the end of a request or job."""
    _ids.set(_NO_IDS)


class _Lines:
    """Writes whole lines to standard error; a log that cannot be written must not stop the work it tells of."""

    def _write(self, line: bytes) -> None:
        try:
            os.write(_STDERR, line)
        except OSError:
            return

    debug = info = warning = error = critical = exception = msg = _write


class _LibraryHandler(logging.Handler):
    """Warnings of libraries that use the standard library's logging, as lines of the same form."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        fields: dict[str, Any] = {"detail": record.getMessage(), "library": record.name}
        if record.exc_info:
            fields["exc_info"] = record.exc_info
        structlog.get_logger().log(min(record.levelno, logging.ERROR), "library_log", **fields)


def _with_traceback(_logger: Any, method: str, event: EventDict) -> EventDict:
    """`exc_info=True` (or log.exception) becomes the text of the traceback."""
    given = event.pop("exc_info", None)
    if given:
        exc = given if isinstance(given, BaseException) else given[1] if isinstance(given, tuple) else None
        event["traceback"] = "".join(traceback.format_exception(exc)) if exc else traceback.format_exc()
    return event


def _json(line: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(line, default=str, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
    except (TypeError, ValueError):  # a lone surrogate, or a number beyond 64 bits
        return orjson.dumps({key: str(value).encode("utf-8", "backslashreplace").decode() for key, value in line.items()}, option=orjson.OPT_APPEND_NEWLINE)


configure()
