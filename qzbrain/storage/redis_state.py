"""The shared state of several web processes and hosts, in Redis.

Holds nothing that would be missed: slots are leases, news are heard or not. While Redis is away every process goes on by itself, as one
without Redis does, and says so in the log; when it is back they agree again within a second or two.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import orjson

from qzbrain.errors import Unavailable
from qzbrain.settings import Settings
from qzbrain.storage import redis_scripts
from qzbrain.storage.gate import NEWS_EVERY_S, Gate, Load
from qzbrain.storage.local_state import LocalState
from qzbrain.storage.redis_gate import Programs, RedisGate
from qzbrain.storage.redis_link import Away, RedisLink
from qzbrain.storage.shared import News


class RedisState:
    """See `SharedState`. One for a process; it listens from the start."""

    several = True

    def __init__(self, settings: Settings) -> None:
        self._holder = secrets.token_hex(6)
        self._prefix = f"qzbrain:{settings.qzbrain_env}:{settings.redis_db}"  # channels know no databases
        self._gates: dict[str, RedisGate] = {}
        self._alone = LocalState()
        self._closed = threading.Event()
        self._link = RedisLink(
            host=settings.redis_host,
            port=settings.redis_port,
            password=settings.redis_password,
            db=settings.redis_db,
            channels={self._prefix: self._hear, f"{self._prefix}:{self._holder}": self._admitted},
            changed=self._changed,
        )
        self._programs = Programs(self._link)
        self._take = self._link.program(redis_scripts.TAKE)
        self._link.start()
        threading.Thread(target=self._keep, name="redis-leases", daemon=True).start()

    @property
    def connected(self) -> bool:
        """See `SharedState.connected`."""
        return self._link.up

    def gate(self, name: str, *, slots: int, queue: int) -> Gate:
        """See `SharedState.gate`."""
        gate = self._gates.get(name)
        return gate if gate is not None else self._gates.setdefault(name, self._new_gate(name, slots=slots, queue=queue))

    def load(self, name: str) -> Load:
        """See `SharedState.load`."""
        return (self._gates.get(name) or self._new_gate(name, slots=1, queue=0)).load()

    def take(self, key: str, *, limit: int, window_s: float) -> float:
        """See `SharedState.take`."""
        try:
            wait_ms: int = self._take([f"{self._prefix}:rate:{key}"], [limit, round(window_s * 1e3), secrets.token_hex(8)])
        except Away:
            return self._alone.take(key, limit=limit, window_s=window_s)
        return wait_ms / 1e3

    def publish(self, news: News) -> None:
        """See `SharedState.publish`."""
        try:
            self._link.publish(self._prefix, orjson.dumps(asdict(news)))
        except Away as exc:
            raise Unavailable(
                "shared_state_away",
                zh="该回答由另一个网页进程生成，而各进程之间通信所用的 Redis 当前不可用。请稍后重试；管理员可用 qzbrain doctor 检查 Redis。",
                en="Another web process gives this answer, and Redis, through which the processes speak, is away. "
                "Try again in a moment; operators find out more with: qzbrain doctor.",
                retry_after_s=2,
            ) from exc

    def subscribe(self, hear: Callable[[News], None]) -> Callable[[], None]:
        """See `SharedState.subscribe`."""
        return self._alone.subscribe(hear)

    def close(self) -> None:
        """See `SharedState.close`."""
        self._closed.set()
        for gate in self._gates.values():
            gate.close()
        self._alone.close()
        self._link.close()

    def _new_gate(self, name: str, *, slots: int, queue: int) -> RedisGate:
        return RedisGate(name, slots=slots, queue=queue, link=self._link, programs=self._programs, news=self._prefix, holder=self._holder)

    def _hear(self, message: bytes) -> None:
        known: dict[str, Any] = orjson.loads(message)
        self._alone.publish(News(**known))

    def _admitted(self, message: bytes) -> None:
        ticket_id = message.decode()
        for gate in tuple(self._gates.values()):
            if gate.admit(ticket_id):
                return

    def _changed(self, up: bool) -> None:
        for gate in tuple(self._gates.values()):
            if up:
                gate.sync()
            else:
                gate.go_on_alone()

    def _keep(self) -> None:
        while not self._closed.wait(NEWS_EVERY_S):
            for gate in tuple(self._gates.values()):
                gate.sync()
