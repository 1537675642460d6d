"""Who is calling, in which language, and whether a browser was led here by a foreign page.

Without accounts everybody who reaches the port is the local user. What must not reach it is a page of another site that
runs in this user's browser: it could send requests across origins, or bind a name of its own to 127.0.0.1 (DNS rebinding).
Such a request always shows itself: a foreign `Origin`, `Sec-Fetch-Site`, or a `Host` that is not this machine's.
With accounts (web/callers.py) a name bound elsewhere gets no cookie; a foreign `Origin` and `Sec-Fetch-Site` are refused all the same.

A `Host` with a dot that is no loopback address is refused always. A single word (`Host: bench`) is no name that a stranger can
own in the public DNS; scripts behind a tunnel send such, so it passes as long as nothing about the request looks like a browser.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from flask import g

from qzbrain.auth.access import Access
from qzbrain.domain import Caller
from qzbrain.errors import Lang, PermissionRefused

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_BROWSER_HEADERS = ("HTTP_ORIGIN", "HTTP_SEC_FETCH_SITE", "HTTP_SEC_FETCH_MODE", "HTTP_REFERER")


def language(environ: dict[str, Any], default: Lang) -> Lang:
    """The reader's language by Accept-Language: the first of Chinese or English in it, else `default`."""
    for part in environ.get("HTTP_ACCEPT_LANGUAGE", "").lower().split(","):
        tag = part.split(";")[0].strip()[:2]
        if tag in ("zh", "en"):
            return "zh" if tag == "zh" else "en"
    return default


def socket_language(environ: dict[str, Any], default: Lang) -> Lang:
    """As `language`, but `?lang=zh|en` of a websocket's address goes first: pages cannot set headers there, and their reader may have chosen."""
    asked = parse_qs(environ.get("QUERY_STRING", "")).get("lang", [""])[-1]
    if asked in ("zh", "en"):
        return "zh" if asked == "zh" else "en"
    return language(environ, default)


def caller(_access: Access) -> Caller:
    """Who sent the request that is being handled."""
    found: Caller = g.caller
    return found


def require_own_host(environ: dict[str, Any]) -> None:
    """Raises PermissionRefused where the Host is not an address of this machine."""
    host = environ.get("HTTP_HOST", "")
    name, _port = _split(host)
    if name not in LOOPBACK and not name.startswith("127.") and ("." in name or ":" in name or _from_browser(environ)):
        raise PermissionRefused(
            "host_refused",
            zh=f"请求的主机名“{host[:80]}”不是本机地址。请通过 http://127.0.0.1 访问。",
            en=f'The host "{host[:80]}" is not an address of this machine. Open http://127.0.0.1 instead.',
        )


def require_same_origin(environ: dict[str, Any]) -> None:
    """Raises PermissionRefused for a request that a foreign page made in the user's browser."""
    host, origin = environ.get("HTTP_HOST", ""), environ.get("HTTP_ORIGIN")
    cross_site = environ.get("HTTP_SEC_FETCH_SITE") in ("cross-site", "same-site") and environ["REQUEST_METHOD"] not in _READING
    if cross_site or (origin is not None and not _same(origin, host)):
        raise PermissionRefused(
            "origin_refused",
            zh="请求来自其他网站的页面，已拒绝。请在本系统自己的页面中操作。",
            en="The request comes from a page of another site and is refused. Use this brain's own pages.",
        )


def _from_browser(environ: dict[str, Any]) -> bool:
    return any(name in environ for name in _BROWSER_HEADERS) or environ.get("HTTP_USER_AGENT", "").startswith("Mozilla/")


def _same(origin: str, host: str) -> bool:
    """Whether an Origin is this server's: the Host itself, or another loopback name with the same port."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return False
    if parts.netloc.lower() == host.lower():
        return True
    (name, port), (own_name, own_port) = _split(parts.netloc), _split(host)
    return name in LOOPBACK and own_name in LOOPBACK and port == own_port


def _split(netloc: str) -> tuple[str, str]:
    """`host:port` → (host in lower case without brackets, port or '')."""
    name, bracket, rest = netloc.rpartition("]")
    if bracket:
        return name.lstrip("[").lower(), rest.lstrip(":")
    name, _, port = netloc.partition(":")
    return name.lower().rstrip("."), port
