"""The example of docs/examples/nginx.conf under a real nginx: streams, sockets, sticky browsers, a process that is killed, a client that leaves."""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
import socketio
from engine import Engine
from web_process import WebProcess, events_of, eventually, read_all

from tests.servers.nginx_server import NginxServer
from tests.servers.redis_server import RedisServer

pytestmark = pytest.mark.servers

TEXTS = [f"第{i}段，" for i in range(30)]


class Site(WebProcess):
    """nginx as a place that requests are sent to; `behind`: the web processes."""

    def __init__(self, port: int, behind: tuple[WebProcess, WebProcess]) -> None:
        self.port, self.url, self.behind = port, f"http://127.0.0.1:{port}", behind


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, scripted: Engine) -> Iterator[Site]:
    redis_server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    config = f'[models.scripted]\nengine = "external"\nbase_url = "{scripted.base_url}"\nslots = 200\n'
    folder = tmp_path_factory.mktemp("behind")
    one = WebProcess(folder, config, settings=redis_server.environment).start()
    other = WebProcess(folder, beside=one, settings=redis_server.environment).start()
    nginx = NginxServer(tmp_path_factory.mktemp("nginx"), (one.port, other.port))
    try:
        nginx.start()
        yield Site(nginx.port, (one, other))
    finally:
        for server in (nginx, one, other, redis_server):
            server.stop()


def ask(user: str) -> dict[str, Any]:
    return {"model": "scripted@none", "stream": True, "user": user, "messages": [{"role": "user", "content": "你好"}]}


def test_streams_pass_token_by_token_and_whole(site: Site, scripted: Engine) -> None:
    scripted.script(TEXTS, user="nginx-many", delay_s=0.02)
    streams = [site.open_stream(ask("nginx-many")) for _ in range(30)]
    for stream in streams:
        events = events_of(read_all(stream))
        assert "".join(event["choices"][0]["delta"].get("content", "") for event in events[:-1]) == "".join(TEXTS)
        stream.close()
    counted = [_counted(web, "/v1/chat/completions") for web in site.behind]
    assert sum(counted) == 30
    assert min(counted) > 3  # clients without a cookie are spread
    scripted.script(["早", "晚"], user="nginx-slow", delay_s=4)
    began = time.monotonic()
    with site.open_stream(ask("nginx-slow")) as stream:
        data = b""
        while "早".encode() not in data:
            data += stream.recv(65536)
        assert time.monotonic() - began < 3
        assert b"event-stream" in data
        assert b"set-cookie: qzbrain_route=" in data.lower()


def test_a_browser_stays_with_one_process_and_moves_when_that_is_killed(site: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
    connection.request("GET", "/")
    reply = connection.getresponse()
    reply.read()
    found = re.match(r"(qzbrain_route=\w+);.*HttpOnly", reply.getheader("Set-Cookie") or "")
    assert found
    cookie = found.group(1)
    before = [_counted(web, "/api/jobs") for web in site.behind]
    for _ in range(12):
        status, _ = site.call("GET", "/api/jobs", Cookie=cookie)
        assert status == 200
    rise = [_counted(web, "/api/jobs") - known for web, known in zip(site.behind, before, strict=True)]
    assert sorted(rise) == [0, 12]
    mine = site.behind[rise.index(12)]
    mine.kill()
    try:
        for _ in range(12):
            assert site.call("GET", "/api/jobs", Cookie=cookie)[0] == 200
    finally:
        mine.start()


def test_a_socket_chats_and_a_page_of_another_site_does_not(site: Site, scripted: Engine) -> None:
    scripted.script(TEXTS, user="nginx-socket", delay_s=0.01)
    client, tab = socketio.SimpleClient(), socketio.SimpleClient()
    # (the client library sends the site's address as Origin)
    client.connect(site.url, headers={"Cookie": "qzbrain_route=a"}, transports=["websocket"])
    ack = client.call("chat", {"message": "你好", "model": "scripted@none", "options": {"user": "nginx-socket"}}, timeout=10)
    tab.connect(site.url, headers={"Cookie": "qzbrain_route=a"}, transports=["websocket"])
    tab.call("chat:resume", {"message_id": ack["message_id"], "after_seq": -1}, timeout=10)
    for reader in (client, tab):  # the same process: both see the text come
        text, name = "", ""
        while name != "chat:done":
            name, payload = reader.receive(timeout=10)
            text += payload.get("text", "")
        assert text == "".join(TEXTS) == payload["answer"]
        reader.disconnect()
    assert site.call("GET", "/api/jobs", Origin="http://evil.example")[0] == 403
    assert site.call("GET", "/api/jobs", Host="evil.example")[0] == 403


def test_a_client_that_leaves_frees_the_engine_and_a_large_upload_passes(site: Site, scripted: Engine) -> None:
    scripted.script(["字"] * 200, user="nginx-leaver", delay_s=0.5)
    sock = site.open_stream(ask("nginx-leaver"))
    data = b""
    while "字".encode() not in data:
        data += sock.recv(65536)
    sock.close()
    left = time.monotonic()
    freed = eventually(lambda: next((at for name, at in scripted.cancelled if name == "nginx-leaver"), None))
    assert freed - left < 2
    assert site.call("POST", "/api/knowledge-bases", {"name": "large"})[0] == 201
    status, added = site.call("POST", "/api/knowledge-bases/large/documents", {"name": "a.txt", "text": "法" * 3_000_000})
    assert status == 202, added


def _counted(web: WebProcess, route: str) -> int:
    text = web.call("GET", "/metrics")[1]
    lines = [line for line in text.splitlines() if line.startswith("qzbrain_http_requests_total{") and f'route="{route}"' in line]
    return sum(round(float(line.rpartition(" ")[2])) for line in lines)
