"""What every request and every reply of a web application has: a request id, the reader's language, a check of who is calling, headers, a log line."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from qzbrain import logs, metrics, tracing
from qzbrain.domain import Caller, new_id
from qzbrain.errors import BrainError, Lang
from qzbrain.web import guards
from qzbrain.web.responses import handle_error
from qzbrain.web.sse import EventStream

log = logs.get(__name__)

_REQUEST_ID = re.compile(r"[\w.\-]{1,64}")
_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=(), display-capture=(), browsing-topics=()",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
_OVER_TLS = ("Strict-Transport-Security", "max-age=31536000")
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})


Check = Callable[[dict[str, Any], Lang], Caller]
"""Takes the WSGI environment of a request and its reader's language; gives who is calling. Raises BrainError for a request that may not be."""


def attach(app: Flask, *, lang: Lang, check: Check) -> None:
    """`lang`: of readers who name none."""
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.url_map.merge_slashes = False  # an address is found or not; no redirects
    app.before_request(_begin(lang, check))
    app.after_request(_finish)
    for kind in (BrainError, HTTPException, Exception):
        app.register_error_handler(kind, handle_error)


def _begin(default: Lang, check: Check) -> Callable[[], None]:
    def begin() -> None:
        environ = request.environ
        g.begun = time.perf_counter()
        g.lang = guards.language(environ, default)
        given = environ.get("HTTP_X_REQUEST_ID", "")
        g.request_id = given if _REQUEST_ID.fullmatch(given) else new_id()
        logs.clear()
        logs.bind(request_id=g.request_id)
        tracing.begin_anew()
        g.span = _span(environ)
        g.caller = check(environ, g.lang)

    return begin


def _finish(response: Response) -> Response:
    headers = response.headers
    span: tracing.Span = g.get("span", tracing.NOTHING)
    span.set(**{"http.response.status_code": response.status_code})
    if isinstance(response, EventStream):
        response.span = span
    else:
        span.end(str(response.status_code) if response.status_code >= 500 else "")
    headers["X-Request-Id"] = g.request_id
    for name, value in _SECURITY.items():
        if name not in headers:
            headers[name] = value
    if request.is_secure:
        headers.setdefault(*_OVER_TLS)
    route = request.url_rule.rule if request.url_rule else "unknown"
    metrics.REQUESTS.labels(route, response.status_code).inc()
    if not isinstance(response, EventStream):  # a stream writes its line when it ends
        took = time.perf_counter() - g.begun
        metrics.REQUEST_SECONDS.labels(route).observe(took)
        write = log.debug if route in _QUIET else log.info
        write("request", method=request.method, route=route, status=response.status_code, took_ms=round(took * 1e3, 2))
    return response


def _span(environ: dict[str, Any]) -> tracing.Span:
    """The request as traces show it, as part of what its caller says that it belongs to; the address without what may be private in it."""
    route = request.url_rule.rule if request.url_rule else "unknown"
    if not tracing.on() or route in _QUIET:
        return tracing.NOTHING
    method = environ["REQUEST_METHOD"]
    parent = tracing.told_by(environ.get("HTTP_TRACEPARENT", ""), environ.get("HTTP_TRACESTATE", ""))
    attributes = {"http.request.method": method, "http.route": route, "request_id": str(g.request_id)}
    span = tracing.span_of(parent, f"{method} {route}", kind="server", **attributes)
    span.enter()
    return span
