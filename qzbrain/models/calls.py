"""Single requests to an engine, external or of this machine: where it is, with which key, one JSON body there and one back."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from qzbrain import tracing
from qzbrain.errors import Cancelled
from qzbrain.models.base import Cancellation, EngineAddresses
from qzbrain.models.faults import EngineFault
from qzbrain.models.transport import Address, Transport
from qzbrain.settings import ModelSettings


@dataclass(frozen=True, slots=True)
class CallReply:
    """What came back, whatever its status."""

    status: int
    body: bytes
    retry_after_s: int | None


class EngineCalls:
    """One model's engine. Thread-safe; connections are kept."""

    def __init__(self, name: str, settings: ModelSettings, addresses: EngineAddresses | None) -> None:
        self._name, self._settings, self._addresses = name, settings, addresses
        self._lock = threading.Lock()
        self._transports: dict[str, Transport] = {}

    def post(self, path: str, body: bytes, cancellation: Cancellation, deadline: float, *, root: bool = False) -> CallReply:
        """`root`: beside /v1, not below it. `deadline`: of time.monotonic(). Raises EngineFault, EngineUnavailable, Cancelled."""
        with tracing.span("engine", kind="client", model=self._name, path=path) as span:
            reply = self._post(path, body, cancellation, deadline, root=root)
            span.set(status=reply.status)
        return reply

    def wake(self, longest_s: float) -> None:
        """See `EngineAddresses.wake`; nothing where the engine is not of this machine."""
        if self._settings.engine != "external" and self._addresses is not None:
            self._addresses.wake(self._name, timeout_s=longest_s)

    def _post(self, path: str, body: bytes, cancellation: Cancellation, deadline: float, *, root: bool) -> CallReply:
        transport, headers = self._engine(deadline, root=root)
        try:
            reply = transport.post(path, body, headers=headers + tracing.headers(), deadline=deadline, cancellation=cancellation)
            try:
                content = bytearray()
                while not reply.complete:
                    content += reply.read()
                content += reply.read()
            finally:
                transport.release(reply, finished=reply.complete)
        except (EngineFault, TimeoutError) as exc:
            if cancellation.cancelled:
                raise Cancelled from exc
            if isinstance(exc, EngineFault):
                raise
            raise EngineFault("没有在时限内回复", "it did not reply in time") from exc
        return CallReply(reply.status, bytes(content), int(reply.retry_after) if reply.retry_after.isdecimal() else None)

    def _engine(self, deadline: float, *, root: bool) -> tuple[Transport, bytes]:
        """Where to send, and the headers. The engine of a local model is started first, if need be."""
        settings, key = self._settings, self._settings.key()
        base_url = settings.base_url
        if settings.engine != "external":
            if self._addresses is None:
                raise EngineFault("本机引擎的管理程序没有运行", "no manager of this machine's engines is there")
            base_url = self._addresses.address(self._name, timeout_s=max(0.1, deadline - time.monotonic()))
            key = self._addresses.key(self._name)
        where = base_url.rstrip("/").removesuffix("/v1") if root else base_url
        with self._lock:
            if (transport := self._transports.get(where)) is None:
                transport = self._transports[where] = Transport(Address.of(where), connect_timeout_s=settings.connect_timeout_s)
        return transport, f"authorization: Bearer {key}\r\n".encode() if key else b""
