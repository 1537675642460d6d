"""A collector that takes traces by OTLP over HTTP, as protobuf, for tests. It can refuse, be slow, or be away."""

from __future__ import annotations

import gzip
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class TakenSpan:
    """One span as it came. Ids are hexadecimal, `parent` '' for none; times in seconds since 1970."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    began: float
    ended: float
    failed: bool
    process: str
    attributes: dict[str, Any]


class OtlpCollector:
    """`status`: what is replied (200 takes the spans); `delay_s`: so long after the request came. `bodies`: all that was taken, as bytes."""

    def __init__(self) -> None:
        self.status, self.delay_s = 200, 0.0
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.refused = 0
        self._spans: list[TakenSpan] = []
        self._port = 0
        self._server: ThreadingHTTPServer | None = None

    def start(self) -> OtlpCollector:
        """Listen; after a stop at the port where it was."""
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if collector._server is None:  # away: connections that were kept are so no more
                    self.close_connection = True
                    return
                time.sleep(collector.delay_s)
                status = collector.status if self.path == "/v1/traces" else 404
                if status == 200:
                    collector._take(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body, dict(self.headers))
                else:
                    collector.refused += 1
                self.send_response(status)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def endpoint(self) -> str:
        """For OTEL_EXPORTER_OTLP_ENDPOINT."""
        return f"http://127.0.0.1:{self._port}"

    def spans(self, name: str = "", **attributes: Any) -> list[TakenSpan]:
        """Those taken so far with this name and these attributes."""
        return [x for x in self._spans if name in ("", x.name) and all(x.attributes.get(key) == value for key, value in attributes.items())]

    def children(self, span: TakenSpan) -> dict[str, TakenSpan]:
        """By name, the spans right below one."""
        return {x.name: x for x in self._spans if x.parent == span.id and x.trace == span.trace}

    def _take(self, body: bytes, headers: dict[str, str]) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        request = ExportTraceServiceRequest.FromString(body)
        self.bodies.append(body)
        self.headers.append(headers)
        for of_process in request.resource_spans:
            resource = _values(of_process.resource.attributes)
            for scope in of_process.scope_spans:
                for one in scope.spans:
                    self._spans.append(
                        TakenSpan(
                            one.name, one.trace_id.hex(), one.span_id.hex(), one.parent_span_id.hex(), one.kind, one.start_time_unix_nano / 1e9,
                            one.end_time_unix_nano / 1e9, one.status.code == 2, resource.get("qzbrain.process", ""), _values(one.attributes),
                        )
                    )


def _values(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
