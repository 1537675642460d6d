"""Begins and ends tracing for a process (docs/observability.md). Whatever is wrong with it, the brain starts."""

from __future__ import annotations

from qzbrain import __version__, logs, metrics, tracing
from qzbrain.settings import Settings

log = logs.get(__name__)


class _Told:
    """Counts spans, and says in the log when the collector goes away and when it is back, once each."""

    def __init__(self, endpoint: str) -> None:
        self._endpoint, self._away = endpoint, False

    def __call__(self, result: str, spans: int) -> None:
        """See `tracing.Told`."""
        metrics.TRACE_SPANS.labels(result).inc(spans)
        if (result == "failed") is not self._away:
            self._away = not self._away
            if self._away:
                log.warning("traces_not_taken", endpoint=self._endpoint, next="See that the collector runs and takes OTLP over HTTP; answers go on meanwhile.")
            else:
                log.info("traces_taken_again", endpoint=self._endpoint)


def begin(settings: Settings, process: str) -> None:
    """Trace this process where a collector is configured."""
    endpoint = settings.otel_exporter_otlp_endpoint
    if not endpoint:
        return
    try:
        tracing.start(
            endpoint,
            process=process,
            headers=settings.otel_exporter_otlp_headers,
            content=settings.otel_content == "on",
            version=__version__,
            told=_Told(endpoint),
        )
    except ImportError as exc:
        log.error("traces_not_begun", reason=str(exc), next=f"OTEL_EXPORTER_OTLP_ENDPOINT is set and the library is not installed: {tracing.INSTALL}")
    else:
        log.info("traces_begun", endpoint=endpoint, content=settings.otel_content)


def end() -> None:
    """Send what waits, and trace no more."""
    tracing.stop()
