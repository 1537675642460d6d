"""A whole brain with accounts, from its first start: the set-up link, the first administrator, the sample for everyone, a start again."""

from __future__ import annotations

import http.client
import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.running import RunningBrain, wait_for

GOOD = "vier graue Kraniche"
LINK = re.compile(r"^http://127\.0\.0\.1:(\d+)/setup\?token=([\w-]{43})$", re.MULTILINE)


def call(brain: RunningBrain, method: str, path: str, payload: Any = None, cookie: str = "") -> tuple[int, Any, str]:
    connection = http.client.HTTPConnection("127.0.0.1", brain.port, timeout=30)
    headers = {"Cookie": cookie, "Content-Type": "application/json"}
    connection.request(method, path, None if payload is None else json.dumps(payload), headers)
    reply = connection.getresponse()
    data = reply.read()
    connection.close()
    return reply.status, json.loads(data) if data else None, (reply.getheader("Set-Cookie") or "").split(";")[0]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_first_start_with_accounts(tmp_path: Path) -> None:
    brain = RunningBrain(tmp_path / "data")
    brain.environment["QZBRAIN_ACCOUNTS"] = "on"
    brain.start()
    try:
        assert call(brain, "GET", "/api/knowledge-bases")[0] == 401
        assert call(brain, "GET", "/api/session")[1]["setup_needed"] is True
        ((port, first),) = LINK.findall(brain.output())
        assert int(port) == brain.port
        assert not any(first in command for command in brain.processes().values())
        assert not (brain.data / "run" / "setup-link").exists()
        assert first.encode() not in b"".join(path.read_bytes() for path in (brain.data / "logs").iterdir())
        brain.stop()
        brain.start()
        (_, second) = LINK.findall(brain.output())[-1]
        body = {"username": "root", "password": GOOD}
        assert call(brain, "POST", "/api/setup", {**body, "token": first})[0] == 404  # made anew
        status, told, cookie = call(brain, "POST", "/api/setup", {**body, "token": second})
        assert (status, told["user"]["clearance"]) == (201, "top_secret")
        assert call(brain, "POST", "/api/users", {"username": "ann", "password": GOOD}, cookie)[0] == 201
        status, _, reader = call(brain, "POST", "/api/session", {"username": "ann", "password": GOOD})
        assert status == 200
        wait_for(lambda: call(brain, "GET", "/api/knowledge-bases/laws", cookie=reader)[1]["documents"]["pending"] == 0, "the sample")
        found = call(brain, "POST", "/api/search", {"query": "警告", "knowledge_bases": ["laws"]}, reader)[1]
        assert found["hits"]
        assert call(brain, "DELETE", "/api/knowledge-bases/laws", cookie=reader)[0] == 403
        brain.stop()
        brain.start()
        assert len(LINK.findall(brain.output())) == 2  # none where there is a user
        assert call(brain, "GET", "/api/users", cookie=cookie)[0] == 200  # a session outlives a start
    finally:
        brain.stop()
