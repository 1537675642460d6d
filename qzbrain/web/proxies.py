"""Behind a proxy: who asked, how, and under which name, as a proxy that is trusted says it; what anybody else says of that is not looked at.

From the end of X-Forwarded-For addresses of trusted proxies are passed over; the first other one is the client's: what stands before it anybody could have
written. X-Forwarded-Proto and X-Forwarded-Host count as the nearest proxy gave them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from qzbrain.settings import Network

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

_HOST = re.compile(r"[A-Za-z0-9.\-_:\[\]]{1,255}")
_GIVEN = ("HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST")


def believing(app: Callable[..., Iterable[bytes]], trusted: Sequence[Network]) -> Callable[..., Iterable[bytes]]:
    """`app`, told the client's own address, scheme and host where a trusted proxy names them."""

    def wsgi(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        said = {name: environ.pop(name, "") for name in _GIVEN}
        if _is_trusted(environ.get("REMOTE_ADDR", ""), trusted):
            environ["REMOTE_ADDR"] = _client(said["HTTP_X_FORWARDED_FOR"], environ["REMOTE_ADDR"], trusted)
            if (scheme := _last(said["HTTP_X_FORWARDED_PROTO"]).lower()) in ("http", "https"):
                environ["wsgi.url_scheme"] = scheme
            if _HOST.fullmatch(host := _last(said["HTTP_X_FORWARDED_HOST"])):
                environ["HTTP_HOST"] = host
        return app(environ, start_response)

    return wsgi


def _client(forwarded: str, nearest: str, trusted: Sequence[Network]) -> str:
    known = nearest
    for given in reversed(forwarded.split(",")):
        address = _address(given)
        if address is None:
            return known
        known = str(address)
        if not _is_trusted(known, trusted):
            return known
    return known


def _is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    found = _address(address)
    return found is not None and any(found in network for network in trusted)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """An address, also in brackets and with a port; one of IPv4 within IPv6 as what it is."""
    plain = text.strip()
    if plain.startswith("["):
        plain = plain[1:].partition("]")[0]
    elif plain.count(":") == 1:
        plain = plain.partition(":")[0]
    try:
        found = ipaddress.ip_address(plain)
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, ipaddress.IPv6Address) else found


def _last(values: str) -> str:
    return values.rpartition(",")[2].strip()
