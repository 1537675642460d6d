"""Who is calling: the local user where there are no accounts, else whoever the cookie or the key says, or nobody.

A browser's session lies in a cookie that scripts cannot read and other sites cannot send; the port is in its name, since cookies do not tell ports
apart and several brains may run on one host. Programs send `Authorization: Bearer qzb_…`. Nobody may do nothing but what `web/rights.py` names.
"""

from __future__ import annotations

import hmac
from http.cookies import CookieError, SimpleCookie
from typing import Any

from flask import Flask, Response, g, request

from qzbrain.auth.access import ANONYMOUS
from qzbrain.auth.tokens import KEY_PREFIX
from qzbrain.brain import Brain
from qzbrain.domain import Caller
from qzbrain.errors import AuthenticationRequired, Lang
from qzbrain.settings import Settings
from qzbrain.web import guards
from qzbrain.web.sse import EventStream

_BEARER = "bearer "
METRICS_READER = "metrics-reader"
"""Who sends METRICS_TOKEN to /metrics, where alone he is somebody."""


class Callers:
    """Tells callers from their requests."""

    def __init__(self, brain: Brain) -> None:
        self._brain = brain
        self.cookie = cookie_name(brain.settings)

    def of(self, environ: dict[str, Any], lang: Lang, *, key: str = "") -> Caller:
        """Who sent a request. `key`: one that came another way than as a header. Raises PermissionRefused, AuthenticationRequired.

        Without any credentials it is nobody (ANONYMOUS), who may do nothing; with some that are not good (any more), it is refused.
        """
        if not self._brain.settings.accounts:
            guards.require_own_host(environ)
            guards.require_same_origin(environ)
            return self._brain.access.local_caller(lang, environ.get("REMOTE_ADDR") or "")
        guards.require_same_origin(environ)
        address = environ.get("REMOTE_ADDR", "") or ""
        header = environ.get("HTTP_AUTHORIZATION", "")
        if header[: len(_BEARER)].lower() == _BEARER:
            key = header[len(_BEARER) :].strip()
        if key and environ.get("PATH_INFO") == "/metrics" and self._is_metrics_token(key):
            return Caller(METRICS_READER, METRICS_READER, lang, address=address)
        if key:
            found = self._brain.api_keys.caller(key, lang, address) if key.startswith(KEY_PREFIX) else None
            if found is None:
                raise AuthenticationRequired(
                    "key_unknown",
                    zh="这个 API 密钥不存在、已停用或已过期。请在“账号”页面或用 qzbrain key create 创建新的密钥。",
                    en="This API key is unknown, ended or expired. Make a new one on the page Account, or with: qzbrain key create.",
                )
            return found
        token = self.token(environ)
        session = self._brain.sessions.caller(token, lang, address) if token else None
        return session or Caller(ANONYMOUS, ANONYMOUS, lang, address=address)

    def _is_metrics_token(self, given: str) -> bool:
        wanted = self._brain.settings.metrics_token
        return bool(wanted) and hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())

    def token(self, environ: dict[str, Any]) -> str:
        """The session's token that a browser sent, '' for none."""
        given = environ.get("HTTP_COOKIE", "")
        if self.cookie not in given:
            return ""
        try:
            morsel = SimpleCookie(given).get(self.cookie)
        except CookieError:
            return ""
        return morsel.value if morsel is not None else ""

    def keep(self, response: Response, token: str) -> None:
        """Give the browser its session, or take it away for ''."""
        secure = request.scheme == "https"
        if token:
            response.set_cookie(self.cookie, token, httponly=True, samesite="Lax", secure=secure, path="/")
        else:
            response.delete_cookie(self.cookie, httponly=True, samesite="Lax", secure=secure, path="/")

    def attach(self, app: Flask) -> None:
        """Have sessions' tokens replaced from time to time."""

        @app.after_request
        def renew(response: Response) -> Response:
            who: Caller | None = g.get("caller")
            if who is not None and who.session_id and not isinstance(response, EventStream) and response.status_code < 400:
                fresh = None if "Set-Cookie" in response.headers else self._brain.sessions.rotated(self.token(request.environ))
                if fresh is not None:
                    self.keep(response, fresh)
            return response


def cookie_name(settings: Settings) -> str:
    """The session cookie's name."""
    return f"qzbrain_session_{settings.qzbrain_port}"


def signed_out() -> AuthenticationRequired:
    """The error for nobody."""
    return AuthenticationRequired(
        zh="请先登录：在浏览器中打开本系统的首页，或在请求头 Authorization: Bearer 中给出 API 密钥。",
        en="Sign in first: open this brain's page in a browser, or send an API key as the header Authorization: Bearer.",
    )
