"""What an index of words and one of vectors have in common on the server: generations built and swapped, dropped, counted, their watermark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qzbrain import logs
from qzbrain.errors import IndexUnavailable
from qzbrain.retrieval.elastic.bulk import Bulk
from qzbrain.retrieval.elastic.connection import WRITE_TIMEOUT_S, Server
from qzbrain.retrieval.elastic.generations import Generations
from qzbrain.retrieval.elastic.writing import States

log = logs.get(__name__)


class Keeping:
    """Indexes by key (a knowledge base's id, or a space's) under one prefix and of one schema. Every method raises IndexUnavailable."""

    def __init__(self, server: Server, states: States, prefix: str, schema: str) -> None:
        self._server, self._states, self._prefix, self._schema = server, states, prefix, schema

    def generations(self, key: str) -> Generations:
        """Its physical indexes."""
        return Generations(self._server, self._prefix, key, self._schema)

    def rebuild(self, key: str, body: dict[str, Any], watermark: int, fill: Callable[[Bulk], None]) -> None:
        """Build a generation beside the one in use, then swap. When it raises, the old one stays."""
        generations = self.generations(key)
        with self._states.writing(key) as writing:
            current = generations.current()
            generations.sweep(current.name if current else "")
            name = generations.new(body)
            try:
                bulk = Bulk(self._server, generations.building, max(0, watermark), writing.still_mine)
                fill(bulk)
                bulk.flush()
                self.refresh(name)
                writing.still_mine()
            except BaseException:
                self._give_up(generations, name)
                raise
            generations.use(name)
            writing.finish(name, watermark)

    def drop(self, key: str) -> None:
        """Forget it; an unknown one is no error."""
        generations = self.generations(key)
        if not generations.all() and self._states.read(key).version is None:
            return
        with self._states.writing(key) as writing:
            generations.sweep("")
            writing.forget()

    def watermark(self, key: str) -> int:
        """How far it is; -1 when there is none of this schema."""
        current = self.generations(key).current()
        if current is None:
            return -1
        state = self._states.read(key)
        return max(current.watermark, state.watermark if state.index == current.name else -1)

    def count(self, key: str) -> int:
        """What a search can find now."""
        reply = self._server.request("GET", f"/{self.generations(key).alias}/_count", expected=(404,))
        return int(reply.body["count"]) if reply.found else 0

    def refresh(self, name: str) -> None:
        """Let searches see what was written."""
        self._server.request("POST", f"/{name}/_refresh", timeout_s=WRITE_TIMEOUT_S)

    def _give_up(self, generations: Generations, name: str) -> None:
        try:
            generations.remove(name)
        except IndexUnavailable as exc:
            log.warning("stray_index_left", index=name, code=exc.code)
