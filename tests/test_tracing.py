"""Traces by themselves: off, on, and with a collector that refuses, is slow, or is not there."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from qzbrain import tracing
from qzbrain.errors import SettingsInvalid
from qzbrain.ops import traces
from qzbrain.settings import Settings, load_settings
from qzbrain.storage.cooperation import beside
from tests.running import free_port, wait_for
from tests.servers.otlp_collector import OtlpCollector

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[OtlpCollector]:
    monkeypatch.setattr(tracing, "EXPORT_S", 0.5)
    monkeypatch.setattr(tracing, "STOP_S", 1.0)
    running = OtlpCollector().start()
    yield running
    tracing.stop()
    tracing.begin_anew()
    running.stop()


def test_off_there_is_nothing_to_pay_for(collector: OtlpCollector) -> None:
    assert tracing.span("answer", model="m") is tracing.NOTHING
    with tracing.span("answer") as span:
        span.set(hits=3)
        span.content(question="问")
        assert (tracing.here(), tracing.headers()) == (None, b"")
    assert tracing.told_by(f"00-{TRACE}-{CALLER}-01") is None
    assert collector.bodies == []


def test_spans_belong_together_across_threads_and_to_what_the_caller_named(collector: OtlpCollector) -> None:
    told = Counter[str]()
    tracing.start(collector.endpoint, process="web", headers="X-Token=abc, other = 1", told=lambda result, spans: told.update({result: spans}))
    with tracing.span_of(tracing.told_by(f"00-{TRACE}-{CALLER}-01"), "GET /x", kind="server") as request:
        request.set(status=200)
        header = tracing.headers().decode()
        with tracing.span("search", mode="auto") as search:
            search.content(query="秘密的问题")
            beside(lambda: tracing.span("words").end()).result()
        with pytest.raises(ValueError, match="secret"), tracing.span("engine", kind="client"):
            raise ValueError("a secret text")
    assert tracing.here() is None
    tracing.stop()
    (root,), (found,), (words,), (engine,) = (collector.spans(name) for name in ("GET /x", "search", "words", "engine"))
    assert (root.trace, root.parent, root.kind, root.attributes["status"]) == (TRACE, CALLER, 2, 200)
    assert header == f"traceparent: 00-{TRACE}-{root.id}-01\r\n"
    assert (found.parent, words.parent, engine.parent) == (root.id, found.id, root.id)
    assert (engine.failed, engine.kind, root.failed, root.process) == (True, 3, False, "web")
    assert told == {"exported": 4}
    assert (collector.headers[0]["x-token"], collector.headers[0]["other"]) == ("abc", "1")
    sent = b"".join(collector.bodies)
    assert "秘密".encode() not in sent and b"secret" not in sent


def test_texts_are_in_it_only_when_that_is_wanted(collector: OtlpCollector) -> None:
    tracing.start(collector.endpoint, process="web", content=True)
    with tracing.span("search") as span:
        span.content(query="采购由谁批准")
    tracing.stop()
    assert collector.spans("search")[0].attributes["query"] == "采购由谁批准"


def test_a_caller_who_names_nonsense_begins_a_trace_of_his_own(collector: OtlpCollector) -> None:
    tracing.start(collector.endpoint, process="web")
    for given in ("", "nonsense", f"00-{'0' * 32}-{CALLER}-01", f"00-{TRACE}-{CALLER}-01-" + "x" * 5000):
        tracing.span_of(tracing.told_by(given), "request", kind="server").end()
    tracing.stop()
    found = collector.spans("request")
    assert len(found) == 4
    assert all(len(one.trace) == 32 and one.trace != "0" * 32 for one in found)


@pytest.mark.parametrize("fault", ["refused", "503", "slow"])
def test_a_collector_that_does_not_take_them_costs_spans_and_no_time(collector: OtlpCollector, fault: str) -> None:
    if fault == "refused":
        endpoint = f"http://127.0.0.1:{free_port()}"
    else:
        endpoint, collector.status, collector.delay_s = collector.endpoint, 503 if fault == "503" else 200, 0.0 if fault == "503" else 30.0
    told = Counter[str]()
    tracing.start(endpoint, process="web", told=lambda result, spans: told.update({result: spans}))
    began = time.perf_counter()
    for _ in range(3 * tracing.QUEUE_SPANS):
        tracing.span("answer").end()
    assert time.perf_counter() - began < 3  # a third of a second on a machine at rest
    wait_for(lambda: fault == "slow" or told["failed"], "told of the failure", 12)
    ending = time.monotonic()
    tracing.stop()
    assert time.monotonic() - ending < tracing.STOP_S + 2
    assert not told["exported"]
    assert not collector.bodies
    assert not [x for x in threading.enumerate() if x.name == "traces-end"] or fault == "slow"


def test_without_the_library_the_brain_starts_and_says_how_to_get_it(
    make_settings: Callable[..., Settings], collector: OtlpCollector, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = make_settings(otel_exporter_otlp_endpoint=collector.endpoint)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
        traces.begin(settings, "web")
        assert not tracing.on()
        assert "traces_not_begun" in (said := capfd.readouterr().err) and tracing.INSTALL in said
    traces.begin(settings, "web")
    assert tracing.on()
    traces.end()
    assert not tracing.on()
    traces.begin(make_settings(), "web")
    assert not tracing.on()


@pytest.mark.parametrize(
    ("address", "good"), [("http://h:4318", True), ("https://h/otlp", True), ("h:4318", False), ("http://u:p@h:4318", False), ("grpc://h", False)]
)
def test_an_address_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: object, address: str, good: bool) -> None:
    monkeypatch.setenv("QZBRAIN_DATA", str(tmp_path))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    if good:
        assert load_settings().otel_exporter_otlp_endpoint == address
    else:
        with pytest.raises(SettingsInvalid, match="otel_exporter_otlp_endpoint") as refused:
            load_settings()
        assert "u:p" not in str(refused.value)
