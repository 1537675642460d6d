"""A whole brain that is watched: every metric moves when its thing happens, traces belong together across processes, what is slow is logged."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import socketio
from prometheus_client.parser import text_string_to_metric_families

from qzbrain import metrics
from tests.engine import Engine
from tests.flows.worker_process import WorkerProcess
from tests.knowledge.parsers.pdf_files import made, write
from tests.running import free_port, wait_for
from tests.servers.embedding_engine import TINY, EmbeddingEngine
from tests.servers.otlp_collector import OtlpCollector, TakenSpan
from tests.web.web_process import WebProcess

RULE = "采购金额超过五十万元的，须经董事会批准。五十万元以下的由总经理批准。"
QUESTION = "五十万元以上的采购由谁批准？"
PARTS = ("search", "graph", "evidence", "queue", "engine", "streaming", "check", "compose", "other")
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ELSEWHERE = {
    "qzbrain_ocr_pages": "reading a picture takes seconds: tests/knowledge/parsers/test_ocr.py",
}
"""Counters that this brain cannot move, and where they are."""

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


class Watched:
    """The brain with its engines and the collector of its traces."""

    def __init__(self, folder: Path) -> None:
        self.engine, self.collector, self.embedder = Engine(), OtlpCollector().start(), EmbeddingEngine(TINY).start()
        models = {"scripted": (self.engine.base_url, 20, 20), "narrow": (self.engine.base_url, 1, 0), "away": (f"http://127.0.0.1:{free_port()}/v1", 1, 1)}
        config = "".join(f'[models.{name}]\nengine = "external"\nbase_url = "{url}"\nslots = {s}\nqueue = {q}\n\n' for name, (url, s, q) in models.items())
        config += f'[models.tiny]\nengine = "external"\nkind = "embedding"\nbase_url = "{self.embedder.base_url}"\n'
        settings = {"QZBRAIN_EMBEDDER": "tiny", "OTEL_EXPORTER_OTLP_ENDPOINT": self.collector.endpoint, "SLOW_ANSWER_S": "0.5", "SLOW_SEARCH_MS": "0"}
        self.brain = WebProcess(folder, config, settings=settings).start()
        self.worker = WorkerProcess(self.brain.data, settings, folder / "worker.log")
        self.worker.start()
        wait_for(lambda: self.brain.call("GET", "/readyz")[0] == 200, "ready", 30)
        assert self.brain.call("POST", "/api/knowledge-bases", {"name": "rules"})[0] == 201

    def close(self) -> None:
        self.worker.stop()
        self.brain.stop()
        self.engine.close()
        self.embedder.kill()
        self.collector.stop()

    def scrape(self) -> Samples:
        connection = http.client.HTTPConnection("127.0.0.1", self.brain.port, timeout=20)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value for family in text_string_to_metric_families(text) for sample in family.samples
        }

    def ask(self, model: str = "scripted@rules", *, user: str = "", stream: bool = False, question: str = QUESTION, **headers: str) -> tuple[int, Any, str]:
        """Status, reply (of a stream the chunk with the timings), and the request's id."""
        connection = http.client.HTTPConnection("127.0.0.1", self.brain.port, timeout=30)
        body = {"model": model, "user": user, "stream": stream, "messages": [{"role": "user", "content": question}]}
        connection.request("POST", "/v1/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json", **headers})
        reply = connection.getresponse()
        data = reply.read().decode()
        connection.close()
        if stream and reply.status == 200:
            chunks = [json.loads(line[6:]) for line in data.splitlines() if line.startswith("data: {")]
            return 200, next(chunk for chunk in chunks if "timings" in chunk), str(reply.getheader("X-Request-Id"))
        return reply.status, json.loads(data), str(reply.getheader("X-Request-Id"))

    def upload(self, name: str, data: bytes) -> None:
        body = b"--X\r\ncontent-disposition: form-data; name=\"file\"; filename=\"%b\"\r\n\r\n%b\r\n--X--\r\n" % (name.encode(), data)
        connection = http.client.HTTPConnection("127.0.0.1", self.brain.port, timeout=20)
        connection.request("POST", "/api/knowledge-bases/rules/documents", body, {"Content-Type": "multipart/form-data; boundary=X"})
        assert connection.getresponse().status == 202
        connection.close()

    def lines(self, event: str) -> list[dict[str, Any]]:
        """Of the log of web."""
        text = self.brain.log.read_text(encoding="utf-8")
        return [line for line in (json.loads(x) for x in text.splitlines() if x.startswith("{")) if line.get("event") == event]

    def span(self, name: str, **attributes: Any) -> TakenSpan:
        found: TakenSpan = wait_for(lambda: self.collector.spans(name, **attributes), f"span {name}", 20)[0]
        return found


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    running = Watched(tmp_path_factory.mktemp("observed"))
    yield running
    running.close()


@pytest.fixture(scope="module")
def busy(watched: Watched) -> tuple[Samples, Samples, Samples]:
    """What was shown before all of it, while an answer was on its way, and after it."""
    before = watched.scrape()
    watched.upload("purchase.txt", RULE.encode())
    watched.upload("again.txt", RULE.encode())
    watched.upload("broken.pdf", b"%PDF-1.7\nnot really")
    watched.upload("page.html", "<h1>食堂</h1><p>食堂每日供应三餐，过时不候。</p>".encode())
    pages = ["机房温度应当保持在二十二度上下，湿度适中，每日两次记入台账。"], ["值班电话须随时有人接听，不得关机，交接时应当面说明未尽事项。"]
    watched.upload("two.pdf", made(*(partial(write, lines=lines) for lines in pages)))
    wait_for(lambda: watched.brain.call("GET", "/api/knowledge-bases/rules")[1]["documents"] == {"total": 4, "ready": 3, "failed": 1, "pending": 0}, "read", 30)
    wait_for(lambda: watched.brain.call("GET", "/api/knowledge-bases/rules")[1]["manifest"]["state"] == "active", "vectors", 30)
    watched.engine.script(["由董事会", "批准", "[1]。"])
    watched.engine.script(["慢"] * 60, user="held", delay_s=0.05)
    for _ in range(2):  # the second time its vector is remembered
        assert watched.brain.call("POST", "/api/search", {"query": QUESTION, "mode": "hybrid"})[0] == 200
    assert watched.ask()[0] == watched.ask("extractive@rules")[0] == 200
    client = socketio.SimpleClient()
    client.connect(f"http://127.0.0.1:{watched.brain.port}", transports=["websocket"])
    held = client.call("chat", {"message": "你好", "model": "narrow@none", "options": {"user": "held"}}, timeout=10)
    assert client.receive(timeout=10)[0] == "chat:delta"
    assert watched.ask("narrow@none")[0] == 429
    during = watched.scrape()
    client.call("chat:stop", {"message_id": held["message_id"]}, timeout=10)
    while client.receive(timeout=10)[0] != "chat:done":
        pass
    client.disconnect()
    assert watched.ask("away@none")[0] == 503
    watched.engine.script(["晚"], user="late", first_delay_s=0.7)
    assert watched.ask(user="late", stream=True)[0] == 200
    counted = ("qzbrain_chunks_stored_total", "qzbrain_ingest_stage_seconds_count", "qzbrain_jobs_ended_total")
    after = wait_for(lambda: (now := watched.scrape()) and all(sum_of(now, name) > sum_of(before, name) for name in counted) and now, "the worker's", 15)
    wait_for(lambda: sum_of(watched.scrape(), "qzbrain_trace_spans_total"), "spans", 15)
    return before, during, watched.scrape() if after else after


def sum_of(samples: Samples, name: str, **labels: str) -> float:
    return sum(value for (one, has), value in samples.items() if one == name and labels.items() <= dict(has).items())


def test_every_counter_and_histogram_moves_when_its_thing_happens(busy: tuple[Samples, Samples, Samples]) -> None:
    before, _, after = busy
    still = []
    for family in metrics.REGISTRY.collect():
        name = {"counter": f"{family.name}_total", "histogram": f"{family.name}_count"}.get(family.type)
        if name is not None and family.name not in ELSEWHERE and not sum_of(after, name) > sum_of(before, name):
            still.append(name)
    assert still == []


def test_labels_say_what_happened(busy: tuple[Samples, Samples, Samples]) -> None:
    before, during, after = busy

    def more(name: str, **labels: str) -> float:
        return sum_of(after, name, **labels) - sum_of(before, name, **labels)

    assert more("qzbrain_documents_read_total", type="pdf", result="read") == more("qzbrain_documents_read_total", type="html", result="read") == 1
    assert more("qzbrain_documents_read_total", type="unknown", result="broken") == 1
    assert more("qzbrain_pages_read_total") == 2
    assert more("qzbrain_uploads_total", duplicate="true") == 1
    assert more("qzbrain_refusals_total", reason="rate_limited") == 1
    assert more("qzbrain_engine_requests_total", model="scripted", result="ok") == 2
    assert more("qzbrain_engine_requests_total", model="narrow", result="cancelled") == 1
    assert more("qzbrain_engine_requests_total", model="away", result="failed") >= 1
    assert more("qzbrain_slow_total", kind="answer") >= 1
    assert more("qzbrain_cache_lookups_total", cache="question_vectors", result="hit") >= 1
    assert more("qzbrain_jobs_ended_total", kind="ingest", result="done") >= 3 and more("qzbrain_jobs_ended_total", kind="ingest", result="failed") == 1
    for stage in ("words", "embed", "vectors", "fill", "references", "graph"):
        assert more("qzbrain_search_stage_seconds_count", stage=stage) >= 1, stage
    for stage in ("read", "store", "index", "embed"):
        assert more("qzbrain_ingest_stage_seconds_count", stage=stage) >= 1, stage
    for part in (*PARTS, "store"):
        assert more("qzbrain_answer_part_seconds_count", part=part) >= 1, part
    assert (sum_of(during, "qzbrain_sockets"), sum_of(during, "qzbrain_streams", transport="socket")) == (1, 1)
    assert sum_of(during, "qzbrain_model_answers_running", model="narrow") == 1
    assert (sum_of(after, "qzbrain_sockets"), sum_of(after, "qzbrain_model_answers_running", model="narrow")) == (0, 0)
    assert (sum_of(after, "qzbrain_model_up", model="scripted"), sum_of(after, "qzbrain_model_up", model="away")) == (1, 0)
    assert sum_of(after, "qzbrain_model_slots", model="scripted") == 20
    assert (sum_of(after, "qzbrain_worker_up"), sum_of(after, "qzbrain_workers_counting"), sum_of(after, "qzbrain_build")) == (1, 1, 1)
    assert 0 < sum_of(after, "qzbrain_disk_free_bytes") < sum_of(after, "qzbrain_disk_bytes")
    assert sum_of(after, "qzbrain_documents", status="ready") == 3
    assert not [name for name, labels in after if any(len(value) == 32 and value.isalnum() for _, value in labels)]  # no ids


@pytest.mark.parametrize(("model", "stream"), [("scripted@rules", False), ("scripted@rules", True), ("extractive@rules", False), ("scripted@none", False)])
def test_the_parts_of_an_answer_make_up_its_time(watched: Watched, busy: object, model: str, stream: bool) -> None:
    watched.engine.script(["由董事会", "批准[1]。"], user="timed", first_delay_s=0.1, delay_s=0.05)
    _, reply, _ = watched.ask(model, user="timed", stream=stream)
    timings: dict[str, float] = reply["timings"]
    assert sum(timings.get(f"{part}_ms", 0) for part in PARTS) == pytest.approx(timings["total_ms"], abs=0.05)
    assert timings["total_ms"] >= timings["first_token_ms"] > 0
    if model.startswith("scripted"):
        assert (timings["engine_ms"] >= 95 and timings["streaming_ms"] >= 45 and "queue_ms" in timings and "compose_ms" not in timings) or "@none" not in model
    else:
        assert timings["compose_ms"] > 0 and "engine_ms" not in timings
    if model.endswith("@none"):
        assert not [name for name in timings if name.startswith("search")]
    else:
        assert timings["search_ms"] >= timings["search_words_ms"] > 0


def test_a_request_is_one_trace_from_its_caller_to_the_engine(watched: Watched, busy: object) -> None:
    watched.engine.script(["由董事会批准[1]。"], user="traced")
    status, _, request_id = watched.ask(user="traced", stream=True, question="采购金额超过五十万元的，由谁批准呢？", traceparent=f"00-{TRACE}-{CALLER}-01")
    assert status == 200
    request = watched.span("POST /v1/chat/completions", request_id=request_id)
    assert (request.trace, request.parent, request.kind, request.process) == (TRACE, CALLER, 2, "web")
    answer = watched.collector.children(request)["answer"]
    parts = watched.collector.children(answer)
    assert {"search", "graph", "engine", "store"} <= set(parts)
    assert {"words", "embed", "vectors", "fill", "references", "graph"} <= set(watched.collector.children(parts["search"]))
    assert "engine" in watched.collector.children(watched.collector.children(parts["search"])["embed"])
    seen = next(one for one in reversed(watched.engine.requests) if one.body.get("user") == "traced")
    assert {name.lower(): value for name, value in seen.headers.items()}["traceparent"] == f"00-{TRACE}-{parts['engine'].id}-01"
    assert (answer.attributes["model"], answer.attributes["rung"], answer.attributes["request_id"]) == ("scripted", "model", request_id)
    assert request.began <= answer.began <= parts["search"].began <= parts["engine"].began <= answer.ended <= request.ended + 0.001
    reading = watched.collector.children(watched.span("job ingest"))["read"]
    assert {"store", "index"} <= set(watched.collector.children(reading))
    assert watched.span("job ingest").process == "worker"
    sent = b"".join(watched.collector.bodies)
    assert not [text for text in ("批准", "purchase", "食堂") if text.encode() in sent]


def test_what_was_slow_is_in_the_log_with_its_parts_and_without_its_text(watched: Watched, busy: object) -> None:
    late = next(line for line in watched.lines("slow_answer") if line["timings"].get("engine_ms", 0) >= 650)
    assert late["took_ms"] >= 700 and late["store_ms"] > 0
    assert (late["model"], late["rung"], late["question_chars"], bool(late["request_id"])) == ("scripted", "model", len(QUESTION), True)
    assert "批准" not in json.dumps(watched.lines("slow_answer"), ensure_ascii=False)
    quick = watched.ask("extractive@rules")[1]
    assert quick["message_id"] not in {line["message_id"] for line in watched.lines("slow_answer")}


@pytest.mark.parametrize("fault", ["away", "slow"])
def test_a_collector_in_trouble_costs_no_answer_anything(watched: Watched, busy: object, fault: str) -> None:
    watched.engine.script(["好。"], user="in-trouble")
    failed = lambda: sum_of(watched.scrape(), "qzbrain_trace_spans_total", result="failed")  # noqa: E731
    before = failed()
    if fault == "away":
        watched.collector.stop()
    else:
        watched.collector.delay_s = 30.0
    try:
        took = []
        for _ in range(5):
            began = time.monotonic()
            assert watched.ask(user="in-trouble")[0] == 200
            took.append(time.monotonic() - began)
        assert sorted(took)[2] < 1
        wait_for(lambda: failed() > before, "counted as lost", 20)
    finally:
        watched.collector.delay_s = 0.0
        watched.collector.start() if fault == "away" else None
    _, _, request_id = watched.ask(user="in-trouble")
    watched.span("POST /v1/chat/completions", request_id=request_id)
    assert 1 <= len(watched.lines("traces_not_taken")) <= 4
    assert watched.lines("library_log") == []
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", watched.lines("traces_not_taken")[0]["endpoint"])


def test_a_stop_sends_what_has_not_been_sent(watched: Watched, busy: object) -> None:
    assert watched.brain.call("GET", "/api/jobs", X_Request_Id="last-of-all")[0] == 200
    watched.brain.stop()
    assert watched.collector.spans("GET /api/jobs", request_id="last-of-all")
    assert "Traceback" not in watched.brain.log.read_text(encoding="utf-8")
