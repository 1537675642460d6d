"""Traces by OpenTelemetry, where OTEL_EXPORTER_OTLP_ENDPOINT is set; else next to nothing (a third of a microsecond a span).

What is traced says how long things took, how many there were and which model it was, never what was asked or answered, unless OTEL_CONTENT says so.
Spans are sent by a thread of its own from a queue with a bound: a collector that is away or slow costs spans and nothing else.
The span that new ones belong to is kept in the context; who starts a thread hands the context on (`storage/cooperation.py` does).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

QUEUE_SPANS = 2048
BATCH_SPANS = 256
"""Sent in one request: more would keep a process of greenlets busy for longer at once."""
EVERY_MS = 2000
EXPORT_S = 3.0
STOP_S = 3.0
"""Longest wait at the end for what has not been sent."""
INSTALL = "pip install 'qzbrain[otel]'"

Told = Callable[[str, int], None]
"""Is told of spans: `exported` or `failed`, and how many."""

_here: ContextVar[Any] = ContextVar("qzbrain_span", default=None)
_provider: TracerProvider | None = None
_tracer: Any = None
_content = False


class Span:
    """One piece of work as traces show it. This one goes nowhere: traces are off."""

    __slots__ = ()

    def set(self, **attributes: str | float | bool) -> None:
        """Say more about it."""

    def content(self, **texts: str) -> None:
        """Texts of questions and documents; kept only with OTEL_CONTENT=on."""

    def end(self, failed: str = "") -> None:
        """It is over. `failed`: why it came to nothing, in a word that gives no text away."""

    def enter(self) -> None:
        """From now on spans of this context belong to it."""

    def leave(self) -> None:
        """No more; those before are in place again."""

    def __enter__(self) -> Span:
        self.enter()
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, _traceback: object) -> None:
        self.leave()
        self.end("" if kind is None or kind is GeneratorExit else getattr(exc, "code", "") or kind.__name__)


NOTHING = Span()


class _Recorded(Span):
    __slots__ = ("_before", "_context", "_span")

    def __init__(self, span: Any) -> None:
        from opentelemetry.trace import set_span_in_context

        self._span = span
        self._context = set_span_in_context(span)
        self._before: Any = None

    def set(self, **attributes: str | float | bool) -> None:
        self._span.set_attributes(attributes)

    def content(self, **texts: str) -> None:
        if _content:
            self._span.set_attributes(texts)

    def end(self, failed: str = "") -> None:
        if failed:
            from opentelemetry.trace import StatusCode

            self._span.set_status(StatusCode.ERROR, failed)
        self._span.end()

    def enter(self) -> None:
        self._before = _here.get()
        _here.set(self._context)

    def leave(self) -> None:
        _here.set(self._before)


def on() -> bool:
    """Whether anything is traced."""
    return _tracer is not None


def here() -> Any:
    """The span that is current, for handing on; None without one."""
    return _here.get()


def span(name: str, *, kind: str = "internal", **attributes: str | float | bool) -> Span:
    """A piece of work that begins now, within the current one: `with span("search"): …`, or `end` it by hand. `kind`: internal, server or client."""
    return NOTHING if _tracer is None else _begun(name, _here.get(), kind, attributes)


def span_of(parent: Any, name: str, *, kind: str = "internal", **attributes: str | float | bool) -> Span:
    """As `span`, within `parent`: what `here` or `told_by` gave."""
    return NOTHING if _tracer is None else _begun(name, parent, kind, attributes)


def told_by(traceparent: str, tracestate: str = "") -> Any:
    """What the caller of a request belongs to (W3C Trace Context); None when he does not say."""
    if _tracer is None or not traceparent:
        return None
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier = {"traceparent": traceparent, **({"tracestate": tracestate} if tracestate else {})}
    return TraceContextTextMapPropagator().extract(carrier)


def headers() -> bytes:
    """The header that tells an engine what its request belongs to; b"" when nothing is traced."""
    if _tracer is None or (context := _here.get()) is None:
        return b""
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, context)
    return b"".join(f"{name}: {value}\r\n".encode() for name, value in carrier.items())


@contextmanager
def within(context: Any) -> Iterator[None]:
    """Have spans belong to what `here` gave elsewhere."""
    before = _here.get()
    _here.set(context)
    try:
        yield
    finally:
        _here.set(before)


def begin_anew(context: Any = None) -> None:
    """This greenlet or thread begins with something else: what was current is so no more."""
    if _tracer is not None:
        _here.set(context)


def start(endpoint: str, *, process: str, headers: str = "", content: bool = False, version: str = "", told: Told = lambda _result, _spans: None) -> None:
    """Trace from now on and send to `endpoint` (…/v1/traces is added). `headers`: `name=value`, separated by commas. Raises ImportError without the library.

    Call once a process, after it was forked.
    """
    global _provider, _tracer, _content
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # it tells of each try; `told` hears what came of it
    to = f"{endpoint.rstrip('/')}/v1/traces"
    exporter = _Counting(OTLPSpanExporter(endpoint=to, headers=_pairs(headers), timeout=EXPORT_S), told)
    resource = Resource.create({"service.name": "qzbrain", "service.version": version, "qzbrain.process": process})
    _provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    _provider.add_span_processor(
        BatchSpanProcessor(exporter, max_queue_size=QUEUE_SPANS, schedule_delay_millis=EVERY_MS, max_export_batch_size=BATCH_SPANS)  # type: ignore[arg-type]
    )
    _tracer, _content = _provider.get_tracer("qzbrain", version), content


def stop() -> None:
    """Send what waits, for three seconds at most, and trace no more."""
    global _provider, _tracer
    provider, _provider, _tracer = _provider, None, None
    if provider is not None:
        ending = threading.Thread(target=provider.shutdown, name="traces-end", daemon=True)
        ending.start()
        ending.join(STOP_S)


class _Counting:
    """An exporter that says what became of the spans. Not a subclass of the library's: that would have to be imported when nothing is traced."""

    def __init__(self, exporter: Any, told: Told) -> None:
        self._exporter, self._told = exporter, told

    def export(self, spans: Sequence[Any]) -> Any:
        """Send them; whatever happens is a result."""
        from opentelemetry.sdk.trace.export import SpanExportResult

        try:
            result = self._exporter.export(spans)
        except Exception:  # noqa: BLE001  the collector is somebody else's: whatever it does, the brain goes on
            result = SpanExportResult.FAILURE
        self._told("exported" if result is SpanExportResult.SUCCESS else "failed", len(spans))
        return result

    def shutdown(self) -> None:
        """No more."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Nothing is kept here."""
        return bool(self._exporter.force_flush(timeout_millis))


def _begun(name: str, parent: Any, kind: str, attributes: Mapping[str, str | float | bool]) -> Span:
    from opentelemetry.context import Context
    from opentelemetry.trace import SpanKind

    return _Recorded(_tracer.start_span(name, context=Context() if parent is None else parent, kind=SpanKind[kind.upper()], attributes=attributes))


def _pairs(headers: str) -> dict[str, str]:
    pairs = (one.partition("=") for one in headers.split(",") if "=" in one)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
