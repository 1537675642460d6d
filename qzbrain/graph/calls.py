"""Calls of the graph service that GRAPH_URL names: one request, within a time, behind a circuit breaker, its reply checked before it counts as one."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import urlencode

import orjson

from qzbrain.errors import GraphUnavailable
from qzbrain.graph.breaker import PAUSES_S, Breaker, GraphFault, State
from qzbrain.graph.exchange import Connections, Reply
from qzbrain.graph.remote_replies import ProcessedShape, error_code, read

Found = TypeVar("Found")

PROCESS = "/chat-process-txt"
FRESH_S = 10.0
"""Who looks at the state believes a reply that is no older."""
_LACKING = frozenset({404, 405, 501})


class RouteLacking(Exception):
    """The service does not speak this route: it is of another make, or older."""


class SaysNotFound(Exception):
    """The service, one of ours, does not have what was asked about; `code` as in its reply."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class GraphCalls:
    """The graph service of a process. Thread-safe."""

    def __init__(self, address: str, *, token: str, timeout_s: float, pauses_s: Sequence[float] = PAUSES_S) -> None:
        self._connections = Connections(address)
        self._timeout_s = timeout_s
        self._headers = {"Accept": "application/json", "User-Agent": "qzbrain"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._breaker = Breaker(self._trial, pauses_s=pauses_s)
        self._replied = float("-inf")

    @property
    def where(self) -> str:
        """HOST:PORT."""
        return self._connections.where

    @property
    def state(self) -> State:
        """Of the circuit breaker."""
        return self._breaker.state

    def process(self, payload: object, reading: Callable[[bytes], Found]) -> Found:
        """As `ask`, of the one route that every graph service has."""
        return self._guarded(lambda: self._processed(payload, reading))

    def ask(self, method: str, path: str, reading: Callable[[bytes], Found], *, query: Mapping[str, object] | None = None, payload: object = None) -> Found:
        """What `reading` makes of the body. Raises GraphUnavailable, RouteLacking, SaysNotFound.

        `reading` raises GraphFault for what is no such reply. `query`: None values are left out.
        """
        return self._guarded(lambda: self._asked(method, path, reading, query, payload))

    def _guarded(self, asking: Callable[[], Found]) -> Found:
        state = self._breaker.state
        if state.name != "closed":
            raise self.unavailable(state.fault or GraphFault("没有回复", "no reply"), state.retry_after_s)
        try:
            found = asking()
        except GraphFault as fault:
            self._breaker.failed(fault)
            raise self.unavailable(fault, self._breaker.state.retry_after_s) from fault
        except (RouteLacking, SaysNotFound):
            self._had_reply()
            raise
        self._had_reply()
        return found

    def check(self) -> State:
        """The breaker's state, after a trial where no reply came lately."""
        if self._breaker.state.name == "closed" and time.monotonic() - self._replied > FRESH_S:
            try:
                self._trial()
                self._had_reply()
            except GraphFault as fault:
                self._breaker.failed(GraphFault(fault.zh, fault.en, weight=max(1, fault.weight)))
                return State("open", fault, self._breaker.state.retry_after_s)
        return self._breaker.state

    def trial(self) -> float:
        """Ask it a question of no consequence, whatever the breaker says. Returns the milliseconds that it took. Raises GraphFault."""
        begun = time.perf_counter()
        self._trial()
        return (time.perf_counter() - begun) * 1e3

    def close(self) -> None:
        """Give connections back."""
        self._breaker.close()
        self._connections.close()

    def unavailable(self, fault: GraphFault, retry_after_s: float = 0.0) -> GraphUnavailable:
        """The error for whoever needs the service now."""
        return GraphUnavailable(
            zh=f"知识图谱服务（{self.where}）不可用：{fault.zh}。文本检索与回答不受影响，请稍后重试；排查请运行 qzbrain doctor --step 3。",
            en=f"The graph service at {self.where} cannot be used: {fault.en}. Searching texts and answering go on without it; try again in a moment, "
            "or see: qzbrain doctor --step 3",
            retry_after_s=max(1, round(retry_after_s)),
        )

    def _had_reply(self) -> None:
        self._replied = time.monotonic()
        self._breaker.succeeded()

    def _trial(self) -> None:
        self._processed({"text": "qzbrain", "kb_ids": [], "top_k": 1}, lambda body: read(ProcessedShape, body))

    def _processed(self, payload: object, reading: Callable[[bytes], Found]) -> Found:
        try:
            return self._asked("POST", PROCESS, reading, None, payload)
        except (RouteLacking, SaysNotFound) as exc:
            raise GraphFault("该地址没有 POST /chat-process-txt 接口，请检查 GRAPH_URL", "it has no route POST /chat-process-txt; check GRAPH_URL") from exc

    def _asked(self, method: str, path: str, reading: Callable[[bytes], Found], query: Mapping[str, object] | None, payload: object) -> Found:
        told = {name: value for name, value in (query or {}).items() if value is not None}
        body = None if payload is None else orjson.dumps(payload, option=orjson.OPT_NON_STR_KEYS)
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        reply = self._connections.request(method, f"{path}?{urlencode(told)}" if told else path, body, headers, timeout_s=self._timeout_s)
        _require_usable(reply)
        return reading(reply.body)


def _require_usable(reply: Reply) -> None:
    """Raises what a status other than 200 means."""
    status = reply.status
    if status == HTTPStatus.OK:
        return
    if 300 <= status < 400:
        raise GraphFault(f"它要求转到别的地址（HTTP {status}），不会跟随；GRAPH_URL 须为服务自己的地址", f"it redirects (HTTP {status}), which is not followed")
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        advice = "请检查双方的 GRAPH_TOKEN", "check GRAPH_TOKEN on both sides"
        raise GraphFault(f"它拒绝了我们的密钥（HTTP {status}），{advice[0]}", f"it refused our secret (HTTP {status}); {advice[1]}")
    code, message = error_code(reply.body)
    if status in _LACKING and code in ("", "route_not_found", "method_not_allowed"):
        raise RouteLacking
    if code == "knowledge_base_not_found":
        raise GraphFault("它不认识这个知识库：它读取的是另一个数据库", "it does not know this knowledge base: it reads another database", weight=0)
    if status == HTTPStatus.NOT_FOUND:
        raise SaysNotFound(code, message)
    if status < 500 and status != HTTPStatus.TOO_MANY_REQUESTS:
        raise GraphFault(f"它拒绝了这个请求（HTTP {status} {code}）", f"it refused this request (HTTP {status} {code})".replace(" )", ")"), weight=0)
    raise GraphFault(f"它报告故障（HTTP {status}）", f"it failed (HTTP {status})")
