"""Requests a minute, by user and by key, over all web processes. What is refused does not count, and says when to come again."""

from __future__ import annotations

import math

from flask import Flask, g

from qzbrain import metrics
from qzbrain.auth.access import ANONYMOUS, LOCAL_USER
from qzbrain.brain import Brain
from qzbrain.domain import Caller
from qzbrain.errors import RateLimited

MINUTE_S = 60.0


class Limits:
    """The bounds of a brain."""

    def __init__(self, brain: Brain) -> None:
        self._brain, self._per_user = brain, brain.settings.requests_per_minute

    def require(self, caller: Caller) -> None:
        """Count one request. Raises RateLimited."""
        if caller.id in (LOCAL_USER, ANONYMOUS):
            return
        if caller.key_id and caller.requests_per_minute:
            self._take(f"key:{caller.key_id}", caller.requests_per_minute)
        if self._per_user:
            self._take(f"user:{caller.id}", self._per_user)

    def _take(self, key: str, limit: int) -> None:
        wait_s = self._brain.shared.take(f"requests:{key}", limit=limit, window_s=MINUTE_S)
        if wait_s:
            after = math.ceil(wait_s)
            metrics.REFUSALS.labels("request_limit_exceeded").inc()
            raise RateLimited(
                "request_limit_exceeded",
                zh=f"每分钟最多 {limit} 次请求，已达上限。请在 {after} 秒后重试；管理员可调整 REQUESTS_PER_MINUTE 或该密钥的上限。",
                en=f"At most {limit} requests a minute are taken, and that many came. Try again in {after} s; administrators may change "
                "REQUESTS_PER_MINUTE, or the key's own bound.",
                retry_after_s=after,
            )


def attach(app: Flask, limits: Limits) -> None:
    """Have every request counted."""

    @app.before_request
    def count() -> None:
        limits.require(g.caller)
