"""The connection to Redis: programs and messages over it, and what to do while it is away.

Away is a state, not an error of each caller: the first failure sets it and is logged, from then on nothing is tried but by one thread,
which tries once a second, so that an answer never waits for a server that is not there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from qzbrain import logs

log = logs.get(__name__)

TIMEOUT_S = 2.0
RETRY_S = 1.0
AT_ONCE = 16
"""Calls at once; the others wait their turn, and know by then whether Redis went away. (The client's pool has an error for the 101st.)"""


class Away(Exception):
    """Redis cannot be used now."""


class RedisLink:
    """One process's connection, and its subscription to `channels` (what to call with each message; it must not wait)."""

    def __init__(
        self, *, host: str, port: int, password: str, db: int, channels: Mapping[str, Callable[[bytes], None]], changed: Callable[[bool], None]
    ) -> None:
        """`changed` is told whenever Redis went away or came back."""
        self.up = True
        self._channels, self._changed = channels, changed
        self._client = redis.Redis(
            host=host,
            port=port,
            password=password or None,
            db=db,
            protocol=2,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),  # a kept connection may be one of a server before
        )
        self._where = f"{host}:{port}"
        self._lock = threading.Lock()
        self._turns = threading.Semaphore(AT_ONCE)
        self._closed = threading.Event()
        self._listener = threading.Thread(target=self._listen, name="redis-news", daemon=True)

    def start(self) -> None:
        """Listen from now on."""
        self._listener.start()

    def program(self, lua: str) -> Callable[[Sequence[str], Sequence[str | int]], Any]:
        """A Lua program as a function of its keys and arguments. Calls raise Away."""
        script = self._client.register_script(lua)
        return lambda keys, arguments: self._try(lambda: script(keys=keys, args=arguments))

    def publish(self, channel: str, message: bytes) -> None:
        """Send to all that listen now. Raises Away."""
        self._try(lambda: self._client.publish(channel, message))

    def close(self) -> None:
        """Listen no more, give connections back."""
        self._closed.set()
        self._client.connection_pool.disconnect(inuse_connections=False)  # the listener gives its own back

    def _try(self, call: Callable[[], Any]) -> Any:
        try:
            with self._turns:
                if not self.up:
                    raise Away
                return call()
        except (redis.RedisError, OSError) as exc:
            self._lose(exc)
            raise Away from exc

    def _listen(self) -> None:
        while not self._closed.is_set():
            try:
                with self._client.pubsub() as subscription:  # type: ignore[no-untyped-call]
                    subscription.subscribe(*self._channels)
                    self._hear(subscription)
            except (redis.RedisError, OSError) as exc:
                self._lose(exc)
                self._closed.wait(RETRY_S)

    def _hear(self, subscription: Any) -> None:
        missing = len(self._channels)
        while not self._closed.is_set():
            if not self.up and not missing:
                self._client.set(f"{next(iter(self._channels))}:probe", "1", px=1000)  # one that takes no writes is away too
                self._find()
            message = subscription.get_message(timeout=RETRY_S)
            if message is None:
                continue
            if message["type"] != "message":
                missing -= 1
                continue
            try:
                self._channels[message["channel"].decode()](message["data"])
            except Exception:
                log.exception("news_not_handled")

    def _lose(self, exc: Exception) -> None:
        with self._lock:
            if not self.up or self._closed.is_set():
                return
            self.up = False
        log.warning("redis_away", server=self._where, reason=str(exc), meaning="slots, rate limits and stops hold within this process only")
        self._changed(False)

    def _find(self) -> None:
        with self._lock:
            if self.up:
                return
            self.up = True
        log.info("redis_back", server=self._where)
        self._changed(True)
