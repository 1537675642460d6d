"""Replies: JSON, and every error in the OpenAI shape, in the reader's language."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
from flask import Response, g, send_file
from pydantic import ValidationError
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from qzbrain import logs
from qzbrain.domain import Failed
from qzbrain.errors import BrainError, Conflict, InvalidRequest, Lang, NotFound, PayloadTooLarge, UnsupportedMedia
from qzbrain.web.protocol_errors import refusal
from qzbrain.web.validation import invalid

log = logs.get(__name__)

_ROUTE_UNKNOWN = NotFound("route_not_found", zh="没有这个接口或页面。接口列表见 /docs。", en="There is no such route or page. See /docs for those that exist.")
_TOO_LARGE = PayloadTooLarge(zh="请求体过大。请拆分后再上传。", en="The body is too large. Split it and send it again.")
_MEDIA = UnsupportedMedia(zh="不支持的内容类型。请对照 /docs。", en="This content type is not taken here. See /docs.")
_UNREADABLE = InvalidRequest("bad_request", zh="请求无法理解。请检查其格式。", en="The request cannot be understood. Check its form.")
_INTERNAL = BrainError(
    zh="服务器内部错误，已记录。请稍后重试；若再次出现，请把请求编号（X-Request-Id）告诉管理员。",
    en="Internal error; it was logged. Try again; if it stays, tell the operator the request id (X-Request-Id).",
)


def reply(data: Any, status: int = 200) -> Response:
    """A JSON reply."""
    return Response(orjson.dumps(data), status, mimetype="application/json")


def no_content() -> Response:
    """204."""
    return Response(status=204)


def error_reply(error: BrainError, lang: Lang) -> Response:
    """An error in the OpenAI shape, with Retry-After where it is known."""
    response = reply(error.body(lang), error.status)
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def failed_error(event: Failed) -> BrainError:
    """A turn's failure as the error that a plain reply shows."""
    error = BrainError(event.code, zh=event.zh, en=event.en, retry_after_s=event.retry_after_s)
    error.status, error.type = event.status, event.type
    return error


def handle_error(exc: Exception) -> Response:
    """Flask's edge for whatever a view or the routing raised."""
    response = error_reply(as_brain_error(exc), g.get("lang", "zh"))
    if isinstance(exc, MethodNotAllowed) and exc.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(exc.valid_methods))
    return response


def as_brain_error(exc: Exception) -> BrainError:
    """Any exception as one of the tree; what nobody expected is logged with its traceback."""
    if isinstance(exc, BrainError):
        if exc.status >= 500 and not exc.retry_after_s:
            log.error("request_failed", code=exc.code, exc_info=exc)
        return exc
    if isinstance(exc, ValidationError):
        return invalid(exc)
    if isinstance(exc, HTTPException):
        return _from_http(exc)
    if (refused := refusal(exc)) is not None:  # met while the body was read
        return refused
    log.error("request_failed", code="internal_error", exc_info=exc)
    return _INTERNAL


def _from_http(exc: HTTPException) -> BrainError:
    if isinstance(exc, MethodNotAllowed):
        allowed = ", ".join(sorted(exc.valid_methods or ()))
        error: BrainError = InvalidRequest("method_not_allowed", zh=f"此接口只支持 {allowed} 方法。", en=f"This route takes only {allowed}.")
        error.status = 405
        return error
    known = {404: _ROUTE_UNKNOWN, 413: _TOO_LARGE, 415: _MEDIA, 409: Conflict(zh="状态冲突。", en="The state does not allow this.")}
    if exc.code in known:
        return known[exc.code]
    if exc.code is not None and 400 <= exc.code < 500:
        return _UNREADABLE
    log.error("request_failed", code="internal_error", exc_info=exc)
    return _INTERNAL


def download(where: Path | bytes, name: str) -> Response:
    """A file of a stranger: never shown or run in the browser's page, whatever it holds."""
    response = send_file(BytesIO(where) if isinstance(where, bytes) else where, mimetype="application/octet-stream", etag=False, max_age=0)
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%;' else "_" for c in name)
    response.headers["Content-Disposition"] = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
    response.headers["Content-Security-Policy"] = "sandbox; default-src 'none'"
    response.headers["Cache-Control"] = "private, no-cache"
    return response
