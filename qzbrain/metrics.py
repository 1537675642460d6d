"""What this process counts, in Prometheus' form; `/metrics` shows it. Names are part of the interface: docs/observability.md says what each means.

Counters are process-local. What can be read when it is asked for (jobs, queues, engines, the disk) is not counted here but gathered
at scrape time, by `web/scrape.py`. Several workers of one web process put theirs into files (PROMETHEUS_MULTIPROC_DIR, which
`web/gunicorn_conf.py` sets before this is imported). The worker, a process of its own and perhaps in another container, writes what it has counted
into a file of the data folder (`share`); `scraped` gives the sums of it all.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

disable_created_metrics()  # type: ignore[no-untyped-call]
REGISTRY = CollectorRegistry(auto_describe=False)

SHARED_FOLDER = Path("run") / "metrics"
"""Below the data folder: one file for each worker."""
SHARE_EVERY_S = 5.0
FRESH_S = 60.0
"""A worker's file that was not written for so long is of one that has ended."""
_KEPT_S = 86_400.0
_QUICK = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_PATIENT = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120, 600)

# -- requests
REQUESTS = Counter("qzbrain_http_requests_total", "HTTP requests by route and status.", ["route", "status"], registry=REGISTRY)
REQUEST_SECONDS = Histogram(
    "qzbrain_http_request_seconds",
    "Seconds from request to reply, streams apart.",
    ["route"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
    registry=REGISTRY,
)
SOCKET_EVENTS = Counter("qzbrain_socket_events_total", "Socket.IO events received, by name.", ["event"], registry=REGISTRY)
SOCKETS = Gauge("qzbrain_sockets", "Socket.IO connections that are open.", multiprocess_mode="livesum", registry=REGISTRY)
STREAMS = Gauge(
    "qzbrain_streams", "Answers being streamed now, over SSE and Socket.IO.", ["transport"], multiprocess_mode="livesum", registry=REGISTRY
)
UPLOADS = Counter("qzbrain_uploads_total", "Files and texts taken in, by whether their bytes were known already.", ["duplicate"], registry=REGISTRY)

# -- answers
ANSWERS = Counter("qzbrain_answers_total", "Answers by the rung on which they stand, and whether they were stopped.", ["rung", "stopped"], registry=REGISTRY)
ANSWER_FAILURES = Counter("qzbrain_answer_failures_total", "Turns that ended without an answer, by error code.", ["code"], registry=REGISTRY)
ANSWER_SECONDS = Histogram(
    "qzbrain_answer_seconds",
    "Seconds from question to the end of its answer.",
    ["rung"],
    buckets=(0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300),
    registry=REGISTRY,
)
ANSWER_PART_SECONDS = Histogram(
    "qzbrain_answer_part_seconds", "Seconds that a part of an answer took; the parts of one answer make up its whole time.", ["part"], buckets=_PATIENT,
    registry=REGISTRY,
)  # fmt: skip
STREAM_DELTAS = Counter("qzbrain_stream_deltas_total", "Pieces of answers sent to clients, by transport.", ["transport"], registry=REGISTRY)
COMPLETION_TOKENS = Counter("qzbrain_completion_tokens_total", "Tokens of finished answers, as engines counted them.", registry=REGISTRY)

# -- admission and engines
QUEUE_WAIT_SECONDS = Histogram(
    "qzbrain_queue_wait_seconds", "Seconds that a question waited for a slot of its model.", ["model"], buckets=_PATIENT, registry=REGISTRY
)
REFUSALS = Counter("qzbrain_refusals_total", "Questions and requests that were turned away because of a bound, by error code.", ["reason"], registry=REGISTRY)
ENGINE_REQUESTS = Counter("qzbrain_engine_requests_total", "Requests to language model engines, by how they ended.", ["model", "result"], registry=REGISTRY)
ENGINE_FIRST_TOKEN_SECONDS = Histogram(
    "qzbrain_engine_first_token_seconds", "Seconds from the request to an engine to its first text.", ["model"], buckets=_PATIENT, registry=REGISTRY
)
ENGINE_TOKENS_PER_SECOND = Histogram(
    "qzbrain_engine_tokens_per_second",
    "Tokens a second of one answer, from its first text to its end.",
    ["model"],
    buckets=(1, 2, 5, 10, 20, 40, 80, 160, 320, 1000),
    registry=REGISTRY,
)

# -- retrieval
SEARCH_SECONDS = Histogram(
    "qzbrain_search_seconds",
    "Seconds of one search, those of answers included.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2),
    registry=REGISTRY,
)
SEARCH_STAGE_SECONDS = Histogram(
    "qzbrain_search_stage_seconds", "Seconds of one stage of a search; some go side by side.", ["stage"], buckets=_QUICK, registry=REGISTRY
)
CACHE_LOOKUPS = Counter("qzbrain_cache_lookups_total", "Look-ups in what is kept in memory, by whether it was there.", ["cache", "result"], registry=REGISTRY)

# -- ingest
JOBS_ENDED = Counter("qzbrain_jobs_ended_total", "Jobs by what became of one attempt.", ["kind", "result"], registry=REGISTRY)
DOCUMENTS_READ = Counter("qzbrain_documents_read_total", "Documents by kind of file and by what came of reading them.", ["type", "result"], registry=REGISTRY)
PAGES_READ = Counter("qzbrain_pages_read_total", "Pages of documents that were read.", registry=REGISTRY)
OCR_PAGES = Counter("qzbrain_ocr_pages_total", "Pages whose text came from OCR.", registry=REGISTRY)
CHUNKS_STORED = Counter("qzbrain_chunks_stored_total", "Chunks of documents that were stored.", registry=REGISTRY)
INGEST_STAGE_SECONDS = Histogram(
    "qzbrain_ingest_stage_seconds", "Seconds of one step of a stage of ingestion.", ["stage"], buckets=_PATIENT, registry=REGISTRY
)

# -- the database, the log, traces
SQL_SECONDS = Histogram(
    "qzbrain_sql_seconds", "Seconds of one read, or of one transaction that writes, without its wait.", ["operation"], buckets=_QUICK, registry=REGISTRY
)
SQL_WAIT_SECONDS = Histogram("qzbrain_sql_write_wait_seconds", "Seconds that a transaction waited for those before it.", buckets=_QUICK, registry=REGISTRY)
SLOW = Counter("qzbrain_slow_total", "What took longer than SLOW_ANSWER_S, SLOW_SEARCH_MS or SLOW_SQL_MS, each a line of the log.", ["kind"], registry=REGISTRY)
TRACE_SPANS = Counter("qzbrain_trace_spans_total", "Spans of traces by what became of them.", ["result"], registry=REGISTRY)


def scraped(gathered: Collector, data: Path | None = None) -> CollectorRegistry:
    """What /metrics shows: all that is counted, over all workers of this web process and the workers of the data folder, and what `gathered` reads then."""
    own: Collector | CollectorRegistry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        from prometheus_client.multiprocess import MultiProcessCollector

        own = MultiProcessCollector(CollectorRegistry(auto_describe=False))  # type: ignore[no-untyped-call]
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Summed(own, data))
    registry.register(gathered)
    return registry


def workers_counting(data: Path) -> list[Path]:
    """The files of the workers that are alive."""
    return [path for path in sorted((data / SHARED_FOLDER).glob("*.prom")) if _age_s(path) < FRESH_S]


def share(data: Path) -> Callable[[], None]:
    """Write what this process counts into the data folder, every few seconds from now on; call what is returned at the end.

    The file's time says that its process is alive. Those of processes that ended are removed after a day.
    """
    folder = data / SHARED_FOLDER
    path = folder / f"{socket.gethostname()}-{os.getpid()}.prom"
    over = threading.Event()

    def write() -> None:
        with suppress(OSError):  # a full disk: the numbers come later
            folder.mkdir(parents=True, exist_ok=True)
            being_written = path.with_suffix(".tmp")
            being_written.write_bytes(generate_latest(REGISTRY))
            being_written.replace(path)

    def keep() -> None:
        while True:
            write()
            if over.wait(SHARE_EVERY_S):
                return

    def end() -> None:
        over.set()
        thread.join(2)
        write()

    with suppress(OSError):
        for old in folder.glob("*"):
            if _age_s(old) > _KEPT_S:
                old.unlink(missing_ok=True)
    thread = threading.Thread(target=keep, name="metrics", daemon=True)
    thread.start()
    return end


class _Summed:
    """The sums of what this process counts and what workers have written down."""

    def __init__(self, own: Collector | CollectorRegistry, data: Path | None) -> None:
        self._own, self._data = own, data

    def describe(self) -> Iterable[Metric]:
        """Nothing ahead of time."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Each metric once."""
        families: dict[str, Metric] = {}
        sums: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
        for family in (one for source in self._sources() for one in source):
            families.setdefault(family.name, family)
            of_family = sums.setdefault(family.name, {})
            for sample in family.samples:
                key = sample.name, tuple(sorted(sample.labels.items()))
                of_family[key] = of_family.get(key, 0.0) + sample.value
        for name, family in families.items():
            made = Metric(name, family.documentation, family.type)
            made.samples = [Sample(sample, dict(labels), value) for (sample, labels), value in sums[name].items()]
            yield made

    def _sources(self) -> Iterator[Iterable[Metric]]:
        from prometheus_client.parser import text_string_to_metric_families

        yield self._own.collect()
        for path in workers_counting(self._data) if self._data is not None else ():
            with suppress(OSError, ValueError):  # removed meanwhile, or not ours
                yield list(text_string_to_metric_families(path.read_text(encoding="utf-8")))


def _age_s(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return float("inf")
