"""What this process counts, in Prometheus' form; `/metrics` shows it. Names are part of the interface: docs/api.md lists them.

Counters are process-local. What can be read when it is asked for (jobs, queues, open streams) is not counted here but gathered
at scrape time, by `web/health.py`. Several workers of one web process put theirs into files (PROMETHEUS_MULTIPROC_DIR, which
`web/gunicorn_conf.py` sets before this is imported), and `scraped` gives their sums.
"""

from __future__ import annotations

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.registry import Collector

REGISTRY = CollectorRegistry(auto_describe=False)

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
ANSWERS = Counter("qzbrain_answers_total", "Answers by the rung on which they stand, and whether they were stopped.", ["rung", "stopped"], registry=REGISTRY)
ANSWER_FAILURES = Counter("qzbrain_answer_failures_total", "Turns that ended without an answer, by error code.", ["code"], registry=REGISTRY)
ANSWER_SECONDS = Histogram(
    "qzbrain_answer_seconds",
    "Seconds from question to the end of its answer.",
    ["rung"],
    buckets=(0.01, 0.02, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300),
    registry=REGISTRY,
)
STREAM_DELTAS = Counter("qzbrain_stream_deltas_total", "Pieces of answers sent to clients, by transport.", ["transport"], registry=REGISTRY)
COMPLETION_TOKENS = Counter("qzbrain_completion_tokens_total", "Tokens of finished answers, as engines counted them.", registry=REGISTRY)
SEARCH_SECONDS = Histogram("qzbrain_search_seconds", "Seconds of one search.", buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2), registry=REGISTRY)
UPLOADS = Counter("qzbrain_uploads_total", "Files and texts taken in, by whether their bytes were known already.", ["duplicate"], registry=REGISTRY)


def scraped(gathered: Collector) -> CollectorRegistry:
    """What /metrics shows: all that is counted, over all workers of this web process, and what `gathered` reads then."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        REGISTRY.register(gathered)
        return REGISTRY
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = CollectorRegistry(auto_describe=False)
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    registry.register(gathered)
    return registry
