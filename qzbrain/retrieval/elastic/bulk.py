"""Sending many changes: batches by size, back-pressure, and a version on each, so that a writer that was overtaken changes nothing.

A batch that the server refuses for being busy is sent again with growing pauses; it is safe to be sent twice.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import orjson

from qzbrain import logs
from qzbrain.retrieval.elastic import faults
from qzbrain.retrieval.elastic.connection import WRITE_TIMEOUT_S, Rejected, Server

log = logs.get(__name__)

BATCH_BYTES = 4_000_000
BATCH_CHANGES = 2_000
TRIES = 7
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 10.0
_BUSY = (429, 502, 503, 504)
_PARAMS = {"filter_path": "errors,items.*.status,items.*.error", "require_alias": "true"}


class Bulk:
    """Changes to one index. `version` (the watermark) stands on each: the server refuses one that is older than what it has of that chunk.

    `before`: called before each batch is sent, and raises when this writer has lost the right to write.
    """

    def __init__(self, server: Server, alias: str, version: int, before: Callable[[], None]) -> None:
        self._server, self._path, self._before = server, f"/{alias}/_bulk", before
        self._version = {"version": version, "version_type": "external_gte"}
        self._changes: dict[int, bytes] = {}
        self._bytes = 0

    def put(self, chunk_id: int, source: dict[str, Any]) -> None:
        """Index a chunk with these fields; numbers may be numpy's."""
        line = orjson.dumps({"index": self._about(chunk_id)}) + b"\n" + orjson.dumps(source, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n"
        self._add(chunk_id, line)

    def delete(self, chunk_id: int) -> None:
        """Forget a chunk; one that is not there is no error."""
        self._add(chunk_id, orjson.dumps({"delete": self._about(chunk_id)}) + b"\n")

    def flush(self) -> None:
        """Send what is left."""
        if self._changes:
            self._before()
            self._send(list(self._changes.values()))
        self._changes, self._bytes = {}, 0

    def _about(self, chunk_id: int) -> dict[str, Any]:
        return {"_id": str(chunk_id), **self._version}

    def _add(self, chunk_id: int, line: bytes) -> None:
        """The last change of a chunk within a batch counts."""
        self._bytes += len(line) - len(self._changes.get(chunk_id, b""))
        self._changes[chunk_id] = line
        if self._bytes >= BATCH_BYTES or len(self._changes) >= BATCH_CHANGES:
            self.flush()

    def _send(self, lines: list[bytes]) -> None:
        pause_s = FIRST_PAUSE_S
        for attempt in range(1, TRIES + 1):
            try:
                items = self._server.attempt("POST", self._path, b"".join(lines), params=_PARAMS, timeout_s=WRITE_TIMEOUT_S).body
                lines = self._refused(lines, items)
            except Rejected as exc:
                fault, after_s = exc.fault, exc.after_s
            else:
                if not lines:
                    return
                fault, after_s = faults.overloaded("bulk items were rejected"), None
            if attempt == TRIES:
                raise fault.error()
            wait_s = min(LONGEST_PAUSE_S, after_s if after_s is not None else pause_s * random.uniform(0.8, 1.2))  # noqa: S311 - spreads retries
            log.info("search_server_busy", code=fault.code, attempt=attempt, wait_s=round(wait_s, 2), changes=len(lines))
            time.sleep(wait_s)
            self._before()
            pause_s *= 2

    def _refused(self, lines: list[bytes], reply: dict[str, Any]) -> list[bytes]:
        """The changes that shall be sent again. Raises IndexUnavailable, or Unavailable `search_refused` for a change that can never be taken."""
        if not reply.get("errors"):
            return []
        again: list[bytes] = []
        for line, item in zip(lines, reply["items"], strict=True):
            (done,) = item.values()
            if "error" not in done:
                continue
            if done["status"] == 409:
                raise faults.another_writer().error()
            fault = faults.from_reply(self._server.where, done["status"], done["error"])
            if fault.code == "search_refused":
                raise fault.refusal()
            if done["status"] not in _BUSY or fault.code == "search_disk_full":
                raise fault.error()
            again.append(line)
        return again
