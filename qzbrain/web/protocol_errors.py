"""What gunicorn finds wrong with a request's bytes, as errors of the brain's own tree. Knows no Flask: gunicorn's master imports it too."""

from __future__ import annotations

from ssl import SSLError

from gunicorn.http import errors as http_errors

from qzbrain.errors import BrainError, InvalidRequest


def refusal(exc: BaseException) -> BrainError | None:
    """The error to answer with; None when `exc` is not the sender's doing."""
    if isinstance(exc, http_errors.LimitRequestLine):
        return _too_long()
    if isinstance(exc, http_errors.LimitRequestHeaders):
        return _too_large()
    ours = isinstance(exc, http_errors.InvalidResponseHeader | http_errors.InvalidResponseHeaderName)  # parse errors by class, made by the application
    if not ours and isinstance(exc, http_errors.ParseException | http_errors.NoMoreData | SSLError):
        return InvalidRequest(
            "bad_request",
            zh="请求不符合 HTTP 格式，或在中途断开。请检查客户端或中间代理发出的请求行、请求头与请求体。",
            en="The request is not valid HTTP, or broke off. Check the request line, headers and body that the client, or a proxy in between, sends.",
        )
    return None


def _too_long() -> BrainError:
    error = InvalidRequest(
        "request_line_too_long",
        zh="请求地址过长。请把参数放进请求体（POST）。",
        en="The address of the request is too long. Send its parameters in the body (POST).",
    )
    error.status = 414
    return error


def _too_large() -> BrainError:
    error = InvalidRequest(
        "headers_too_large",
        zh="请求头过多或过大。请清除本站的 Cookie，或减少请求头。",
        en="The request's headers are too many or too large. Clear this site's cookies, or send fewer headers.",
    )
    error.status = 431
    return error
