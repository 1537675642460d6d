"""How many requests an engine is working on, read from its own metrics: llama.cpp's, our encoder server's, vLLM's and SGLang's."""

from __future__ import annotations

import http.client
import re
from urllib.parse import urlsplit

_AT_WORK = re.compile(
    r"^(?:llamacpp:requests_processing|llamacpp:requests_deferred|ctranslate2:requests_processing|vllm:num_requests_running|vllm:num_requests_waiting"
    r"|sglang:num_running_reqs|sglang:num_queue_reqs)(?:\{[^}]*\})? ([0-9.eE+]+)$",
    re.MULTILINE,
)
_TIMEOUT_S = 5.0


def at_work(url: str, key: str) -> int | None:
    """Requests that the engine at `http://127.0.0.1:PORT` answers now or keeps waiting; None when it does not tell."""
    text = get(url, "/metrics", key)
    found = _AT_WORK.findall(text) if text is not None else []
    return int(sum(map(float, found))) if found else None


def listens(url: str, key: str) -> bool:
    """Whether it answers its health check with 200."""
    return get(url, "/health", key) is not None


def get(url: str, path: str, key: str) -> str | None:
    """The body of a GET; None for any other status than 200, and when nobody answers."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"} if key else {})
        reply = connection.getresponse()
        body = reply.read()
        return body.decode("utf-8", "replace") if reply.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
