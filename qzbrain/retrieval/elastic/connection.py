"""Requests to the search server: nodes, login, TLS, time-outs, and a breaker. Knows JSON over HTTP, not what is asked for.

Node selection and retries are opensearch-py's, whose plain JSON Elasticsearch understands as well. Its connection is replaced by a leaner
one: it logs no bodies, keeps bytes as bytes, and tells how long a server asks us to wait.
"""

from __future__ import annotations

import base64
import ssl
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import urlencode, urlsplit

import orjson
import urllib3
from opensearchpy.connection import Urllib3HttpConnection
from opensearchpy.exceptions import ConnectionError as DriverConnectionError
from opensearchpy.exceptions import ConnectionTimeout, SSLError, TransportError
from opensearchpy.serializer import Serializer
from opensearchpy.transport import Transport

from qzbrain.retrieval.elastic import faults
from qzbrain.settings import Settings

POOL = 16
WRITE_TIMEOUT_S = 60.0
DEAD_S = 10.0
"""A node that failed is left out for so long, where there are others."""
AWAY_S = 2.0
"""After a fault that the next request would meet too, none is sent for so long: a question must not wait out the time-out each time."""
JSON, LINES = "application/json", "application/x-ndjson"
SUPPORTED = {"elasticsearch": (8, 9), "opensearch": (2, 3)}


@dataclass(frozen=True, slots=True)
class Product:
    """What the server says that it is."""

    name: str
    version: str

    @property
    def major(self) -> int:
        """The first number of the version; 0 when it is none."""
        first = self.version.partition(".")[0]
        return int(first) if first.isdecimal() else 0

    def is_supported(self) -> bool:
        """Whether this program was written for it."""
        least, most = SUPPORTED.get(self.name, (1, 0))
        return least <= self.major <= most

    @property
    def leaves_out_k1(self) -> bool:
        """Whether its BM25 lacks the factor k1 + 1, which tantivy and all the others have."""
        return self.name == "opensearch" and self.major >= 3


@dataclass(frozen=True, slots=True)
class Reply:
    """A status that was expected, and the JSON that came with it."""

    status: int
    body: Any

    @property
    def found(self) -> bool:
        """Not 404."""
        return self.status != 404


class Rejected(Exception):
    """429, or 503 to a write: come again, after `after_s` if the server names a time. Only raised to those who ask for it."""

    def __init__(self, fault: faults.Fault, after_s: float | None) -> None:
        super().__init__(fault.en)
        self.fault, self.after_s = fault, after_s


class Server:
    """The search server of the settings. Thread-safe; nothing is sent before the first request."""

    def __init__(self, settings: Settings) -> None:
        self.addresses = settings.es_addresses
        self.timeout_s = settings.es_timeout_s
        self._settings = settings
        self._lock = threading.Lock()
        self._transport: Transport | None = None
        self._product: Product | None = None
        self._fault: faults.Fault | None = None
        self._away_until = 0.0

    @property
    def where(self) -> str:
        """The addresses, for messages."""
        return ", ".join(self.addresses)

    def request(
        self, method: str, path: str, body: Any = None, *, params: Mapping[str, str] | None = None, expected: Collection[int] = (), timeout_s: float = 0.0
    ) -> Reply:
        """One request; 2xx and `expected` come back, everything else raises IndexUnavailable. `body`: bytes are sent as lines of JSON."""
        try:
            return self.attempt(method, path, body, params=params, expected=expected, timeout_s=timeout_s)
        except Rejected as exc:
            raise exc.fault.error() from exc

    def attempt(
        self, method: str, path: str, body: Any = None, *, params: Mapping[str, str] | None = None, expected: Collection[int] = (), timeout_s: float = 0.0
    ) -> Reply:
        """As `request`, but a server that asks to come again raises Rejected."""
        self.product()
        done = self._send(method, path, body, params, expected, timeout_s or self.timeout_s)
        if isinstance(done.body, str):
            raise faults.unexpected(done.status, done.body).error()
        return done

    def product(self) -> Product:
        """What runs there, asked once. Raises IndexUnavailable, also for one that is not supported."""
        if self._product is None:
            try:
                found = _product(self._send("GET", "/", None, None, (), self.timeout_s).body)
            except Rejected as exc:
                raise exc.fault.error() from exc
            if not found.is_supported():
                self._raise(faults.unsupported(f"{found.name} {found.version}".strip()))
            self._product = found
        return self._product

    # -- one request

    def _send(self, method: str, path: str, body: Any, params: Mapping[str, str] | None, expected: Collection[int], timeout_s: float) -> Reply:
        self._stand_back(timeout_s)
        headers = {"content-type": LINES if isinstance(body, bytes) else JSON}
        try:
            done: Reply = self._transport_made().perform_request(
                method, path, params={**(params or {}), "request_timeout": timeout_s, "ignore": tuple(expected)}, body=body, headers=headers
            )
        except ConnectionTimeout as exc:
            self._raise(faults.too_slow(self.where, timeout_s), exc)
        except SSLError as exc:
            self._raise(faults.untrusted(self.where, _why(exc)), exc)
        except DriverConnectionError as exc:
            self._raise(faults.unreachable(self.where, _why(exc)), exc)
        except _Refusal as exc:
            self._refused(exc)
        self._fault = None
        return done

    def _stand_back(self, timeout_s: float) -> None:
        """Raise at once what was met a moment ago. When the moment is over one request goes first, and the others still wait for it."""
        with self._lock:
            if self._fault is None:
                return
            now = time.monotonic()
            if now < self._away_until:
                raise self._fault.error()
            self._away_until = now + timeout_s + AWAY_S

    def _refused(self, exc: _Refusal) -> NoReturn:
        status = int(exc.status_code)
        fault = faults.from_reply(self.where, status, exc.info)
        if fault.lasting:
            self._raise(fault, exc)
        self._fault = None  # it answers
        if status in (429, 502, 503, 504) and fault.code != "search_disk_full":
            raise Rejected(fault, exc.after_s) from exc
        raise fault.error() from exc

    def _raise(self, fault: faults.Fault, cause: Exception | None = None) -> NoReturn:
        if fault.lasting:
            with self._lock:
                self._fault, self._away_until = fault, time.monotonic() + AWAY_S
        raise fault.error() from cause

    def _transport_made(self) -> Transport:
        with self._lock:
            if self._transport is None:
                self._transport = self._new_transport()
            return self._transport

    def _new_transport(self) -> Transport:
        hosts = [_node(urlsplit(address)) for address in self.addresses]
        context = self._tls() if any(host["use_ssl"] for host in hosts) else None
        several = len(hosts) > 1
        return Transport(
            hosts,
            connection_class=_Connection,
            serializer=_Json(),
            max_retries=1,
            retry_on_timeout=several,
            retry_on_status=(502, 503, 504) if several else (),
            dead_timeout=DEAD_S,
            pool_maxsize=POOL,
            headers=self._login(),
            ssl_context=context,
        )

    def _tls(self) -> ssl.SSLContext:
        path = self._settings.es_ca_path
        try:
            return ssl.create_default_context(cafile=path)
        except OSError as exc:  # ssl.SSLError is one
            raise faults.untrusted(self.where, f"ES_CA_FILE {path}: {exc.strerror or exc}").error() from exc

    def _login(self) -> dict[str, str]:
        """As UTF-8, which both servers read; the driver's own would fail at a Chinese password."""
        settings = self._settings
        if settings.es_api_key:
            return {"authorization": f"ApiKey {settings.es_api_key}"}
        if settings.es_user or settings.es_password:
            return {"authorization": "Basic " + base64.b64encode(f"{settings.es_user}:{settings.es_password}".encode()).decode()}
        return {}


class _Refusal(TransportError):
    """A status that was not expected; `after_s`: when the server asks us to come again."""

    def __init__(self, status: int, body: Any, after_s: float | None) -> None:
        super().__init__(status, "", body)
        self.after_s = after_s


class _Json(Serializer):
    """What goes out is made by orjson; what comes in has been read by the connection."""

    mimetype = JSON

    def dumps(self, data: Any) -> Any:
        return data if isinstance(data, bytes) else orjson.dumps(data)

    def loads(self, s: Any) -> Any:
        return s


class _Connection(Urllib3HttpConnection):
    """One node: gives `Reply`, raises the driver's exceptions, which its transport understands."""

    def perform_request(
        self,
        method: str,
        url: str,
        params: Mapping[str, Any] | None = None,
        body: bytes | None = None,
        timeout: float | None = None,
        ignore: Collection[int] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        target = f"{self.url_prefix}{url}?{urlencode(params)}" if params else self.url_prefix + url
        try:
            response = self.pool.urlopen(method, target, body, retries=False, headers={**self.headers, **(headers or {})}, timeout=timeout)
        except urllib3.exceptions.SSLError as exc:
            raise SSLError("N/A", str(exc), exc) from exc
        except urllib3.exceptions.HTTPError as exc:
            refused = isinstance(exc, urllib3.exceptions.NewConnectionError)  # which calls itself a time-out
            if isinstance(exc, urllib3.exceptions.TimeoutError) and not refused:
                raise ConnectionTimeout("TIMEOUT", str(exc), exc) from exc
            raise DriverConnectionError("N/A", str(exc), exc) from exc
        reply = Reply(response.status, _parsed(response.data))
        if not 200 <= response.status < 300 and response.status not in ignore:
            raise _Refusal(response.status, reply.body, _seconds(response.headers.get("retry-after")))
        return response.status, {}, reply


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data) if data else None
    except ValueError:
        return data[: faults.LONGEST_REASON].decode("utf-8", "replace")


def _seconds(value: str | None) -> float | None:
    return float(value) if value is not None and value.isdecimal() else None


def _node(parts: Any) -> dict[str, Any]:
    secure = parts.scheme == "https"
    return {"host": parts.hostname, "port": parts.port or (443 if secure else 9200), "url_prefix": parts.path.rstrip("/"), "use_ssl": secure}


def _product(body: Any) -> Product:
    """Elasticsearch names no distribution, and its tagline tells it from what merely looks like it."""
    version = body.get("version") if isinstance(body, dict) else None
    if not isinstance(version, dict):
        return Product("unknown", "")
    number = str(version.get("number", ""))
    if "distribution" in version:
        return Product(str(version["distribution"]).lower(), number)
    return Product("elasticsearch" if body.get("tagline") == "You Know, for Search" else "unknown", number)


def _why(exc: TransportError) -> str:
    """The driver's words without the object's address that urllib3 puts before them."""
    text = str(exc.error)
    return text.rpartition(">: ")[2][: faults.LONGEST_REASON]


