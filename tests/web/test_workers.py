"""WEB_WORKERS=2: two workers on one port, with a real Redis. Each test finds out by the kernel's tables which worker has a connection."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import socketio
from engine import Engine
from web_process import WebProcess, events_of, eventually, read_all

from tests.servers.redis_server import RedisServer

pytestmark = pytest.mark.servers

TEXTS = [f"第{i}段，" for i in range(12)]
OnWorker = Callable[[int], socketio.SimpleClient]


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    running = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield running
    running.stop()


@pytest.fixture
def start(tmp_path: Any, scripted: Engine, redis_server: RedisServer) -> Iterator[Callable[..., WebProcess]]:
    started: list[WebProcess] = []

    def one(**settings: str) -> WebProcess:
        config = f'[models.scripted]\nengine = "external"\nbase_url = "{scripted.base_url}"\nslots = 2\nqueue = 5\n'
        process = WebProcess(tmp_path, config, settings={**redis_server.environment, "WEB_WORKERS": "2", **settings}).start()
        started.append(process)
        eventually(lambda: len(process.workers()) == 2)
        return process

    yield one
    for process in started:
        process.stop()


@pytest.fixture
def on_worker() -> Iterator[Callable[[WebProcess, int], socketio.SimpleClient]]:
    """A Socket.IO client whose connection this worker has."""
    made: list[socketio.SimpleClient] = []

    def connect(web: WebProcess, worker: int) -> socketio.SimpleClient:
        def one() -> socketio.SimpleClient | None:
            client = socketio.SimpleClient()
            client.connect(web.url, transports=["websocket"])
            made.append(client)
            return client if web.worker_of(client.client.eio.ws.sock) == worker else None

        found: socketio.SimpleClient = eventually(one, within_s=20)
        return found

    yield connect
    for client in made:
        client.disconnect()


def chat(client: socketio.SimpleClient, user: str) -> str:
    ack = client.call("chat", {"message": "你好", "model": "scripted@none", "options": {"user": user}}, timeout=10)
    name, _ = client.receive(timeout=10)
    assert name == "chat:delta"
    return str(ack["message_id"])


def end_of(client: socketio.SimpleClient, message_id: str) -> dict[str, Any]:
    while True:
        name, payload = client.receive(timeout=15)
        if name == "chat:done" and payload["message_id"] == message_id:
            return dict(payload)


def test_a_worker_that_is_killed_takes_its_own_answers_only_and_its_slot_is_free_again(start: Any, on_worker: Any, scripted: Engine) -> None:
    web = start()
    scripted.script(["字"] * 150, user="w-lost", delay_s=0.1)
    scripted.script(["字"] * 50, user="w-kept", delay_s=0.1)
    victim, survivor = web.workers()
    doomed, lives, tab = on_worker(web, victim), on_worker(web, survivor), on_worker(web, survivor)
    lost, kept = chat(doomed, "w-lost"), chat(lives, "w-kept")
    tab.call("chat:resume", {"message_id": lost, "after_seq": -1}, timeout=10)
    os.kill(victim, signal.SIGKILL)
    killed = time.monotonic()
    assert end_of(tab, lost)["stopped"] is True
    assert time.monotonic() - killed < 8
    done = end_of(lives, kept)
    assert (done["answer"], done["stopped"]) == ("字" * 50, False)
    eventually(lambda: _model(web) == (0, 0), within_s=15)
    assert len(web.workers()) == 2 and victim not in web.workers()


def test_a_stop_in_one_worker_ends_the_answer_of_the_other_over_sse_too(start: Any, on_worker: Any, scripted: Engine) -> None:
    web = start()
    scripted.script(["字"] * 500, user="w-stop", delay_s=0.05)
    one, other = web.workers()
    asking, stopping = on_worker(web, one), on_worker(web, other)
    message = chat(asking, "w-stop")
    assert stopping.call("chat:stop", {"message_id": message}, timeout=10) == {"stopped": True}
    assert end_of(asking, message)["stopped"] is True
    _, made = web.call("POST", "/api/conversations", {})
    body = {"content": "问", "model": "scripted@none", "options": {"user": "w-stop"}}
    with web.open_stream(body, f"/api/conversations/{made['id']}/messages", Accept="text/event-stream") as stream:
        assert b"200 OK" in stream.recv(65536, socket.MSG_PEEK)
        running = web.call("GET", f"/api/conversations/{made['id']}/messages")[1]["data"][1]["id"]
        stopping_too = on_worker(web, next(pid for pid in web.workers() if pid != web.worker_of(stream)))
        assert stopping_too.call("chat:stop", {"message_id": running}, timeout=10) == {"stopped": True}
        assert events_of(read_all(stream))[-1]["stopped"] is True


def test_metrics_are_the_sums_over_the_workers_and_outlive_one(start: Any, on_worker: Any) -> None:
    web = start()
    workers = web.workers()
    sockets = [on_worker(web, worker) for worker in workers]
    for client in sockets:
        client.call("chat:stop", {"message_id": "nothing"}, timeout=10)
    for _ in range(40):
        assert web.call("GET", "/api/jobs")[0] == 200
    for _ in range(6):  # whichever worker is asked
        text = web.call("GET", "/metrics")[1]
        assert _value(text, 'qzbrain_http_requests_total{route="/api/jobs",status="200"}') == 40
        assert _value(text, 'qzbrain_socket_events_total{event="chat:stop"}') == 2
        assert _value(text, "qzbrain_sockets") >= 2
        assert "qzbrain_model_answers_running" in text
    os.kill(workers[0], signal.SIGKILL)
    eventually(lambda: len(web.workers()) == 2 and workers[0] not in web.workers())
    sockets[1].disconnect()
    eventually(lambda: _value(web.call("GET", "/metrics")[1], 'qzbrain_http_requests_total{route="/api/jobs",status="200"}') == 40)


def test_a_rate_is_limited_over_the_workers_and_says_when_to_come_back(start: Any, on_worker: Any, scripted: Engine) -> None:
    scripted.script(TEXTS, user="w-rate")
    web = start(RATE_LIMIT_PER_MINUTE="5")
    clients = [on_worker(web, worker) for worker in web.workers()]
    payload = {"message": "你好", "model": "scripted@none", "options": {"user": "w-rate"}}
    for number in range(5):
        assert "message_id" in clients[number % 2].call("chat", payload, timeout=10)
    for client in clients:
        error = client.call("chat", payload, timeout=10)["error"]
        assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    body = {"model": "scripted@none", "user": "w-rate", "messages": [{"role": "user", "content": "x"}]}
    for stream in (True, False):
        with web.open_stream({**body, "stream": stream}, Accept_Language="en") as sock:
            reply = ""
            while '"param"' not in reply:
                reply += sock.recv(65536).decode()
        assert reply.startswith("HTTP/1.1 429")
        wait = re.search(r"(?i)retry-after: (\d+)", reply)
        assert wait and 0 < int(wait.group(1)) <= 60
        assert "At most 5 questions a minute" in reply
    _, made = web.call("POST", "/api/conversations", {})
    assert web.call("POST", f"/api/conversations/{made['id']}/messages", {"content": "x", "model": "scripted@none"})[0] == 429


def test_a_stop_of_the_service_lets_the_answers_of_all_workers_end(start: Any, on_worker: Any, scripted: Engine) -> None:
    web = start()
    scripted.script(["字"] * 20, user="w-drain", delay_s=0.1)
    clients = [on_worker(web, worker) for worker in web.workers()]
    messages = [chat(client, "w-drain") for client in clients]
    assert web.process is not None
    web.process.terminate()
    for client, message in zip(clients, messages, strict=True):
        done = end_of(client, message)
        assert (done["answer"], done["stopped"]) == ("字" * 20, False)
    assert web.process.wait(15) == 0


def _model(web: WebProcess) -> tuple[int, int]:
    state = next(x for x in web.call("GET", "/api/models")[1]["data"] if x["name"] == "scripted")
    return state["in_use"], state["queued"]


def _value(text: str, name: str) -> float:
    line = next((line for line in text.splitlines() if line.startswith(f"{name} ")), f"{name} 0")
    return float(line.rpartition(" ")[2])
