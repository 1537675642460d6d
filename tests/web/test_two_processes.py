"""Two web processes over one data folder and one Redis, each on a port of its own: what they must agree on, and what a client of either sees."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import socketio
from engine import Engine
from web_process import WebProcess, events_of, eventually, read_all

from qzbrain.brain import build
from qzbrain.settings import Settings
from qzbrain.worker import work_inline
from tests.servers.redis_server import RedisServer

pytestmark = pytest.mark.servers

TEXTS = [f"第{i}段，" for i in range(30)]
SLOTS, QUEUE = 4, 6
Connect = Callable[[WebProcess], socketio.SimpleClient]


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    running = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, scripted: Engine, redis_server: RedisServer) -> Iterator[tuple[WebProcess, WebProcess]]:
    """Models `scripted` (many slots), `four` (4 slots, 6 may wait) and `single` (one slot)."""
    config = "".join(
        f'[models.{name}]\nengine = "external"\nbase_url = "{scripted.base_url}"\nslots = {slots}\nqueue = {queue}\n\n'
        for name, slots, queue in (("scripted", 200, 200), ("four", SLOTS, QUEUE), ("single", 1, 5))
    )
    folder, settings = tmp_path_factory.mktemp("pair"), redis_server.environment
    one = WebProcess(folder, config, settings=settings, app="tests.web.hasty:app").start()
    other = WebProcess(folder, beside=one, settings=settings, app="tests.web.hasty:app").start()
    yield one, other
    one.stop()
    other.stop()


@pytest.fixture
def connect() -> Iterator[Connect]:
    made: list[socketio.SimpleClient] = []

    def one(web: WebProcess) -> socketio.SimpleClient:
        client = socketio.SimpleClient()
        client.connect(web.url, transports=["websocket"])
        made.append(client)
        return client

    yield one
    for client in made:
        client.disconnect()


def chat(client: socketio.SimpleClient, user: str, model: str = "scripted@none") -> dict[str, Any]:
    reply: dict[str, Any] = client.call("chat", {"message": "你好", "model": model, "options": {"user": user}}, timeout=10)
    return reply


def until_end(client: socketio.SimpleClient, message_id: str) -> list[tuple[str, dict[str, Any]]]:
    seen = []
    while not seen or seen[-1][0] not in ("chat:done", "chat:error"):
        name, payload = client.receive(timeout=15)
        if payload["message_id"] == message_id:
            seen.append((name, payload))
    return seen


def freed(engine: Engine, user: str) -> float:
    """When (time.monotonic) the engine saw that nobody listens."""
    return float(eventually(lambda: next((at for name, at in engine.cancelled if name == user), 0.0)))


def test_a_stop_reaches_the_answer_in_the_other_process(pair: Any, connect: Connect, scripted: Engine) -> None:
    scripted.script(["字"] * 500, user="far-stop", delay_s=0.05)
    asking, stopping = connect(pair[0]), connect(pair[1])
    ack = chat(asking, "far-stop")
    asking.receive(timeout=10)
    began = time.monotonic()
    assert stopping.call("chat:stop", {"message_id": ack["message_id"]}, timeout=10) == {"stopped": True}
    assert freed(scripted, "far-stop") - began < 1
    name, done = until_end(asking, ack["message_id"])[-1]
    assert (name, done["stopped"]) == ("chat:done", True)
    assert stopping.call("chat:stop", {"message_id": ack["message_id"]}, timeout=10) == {"stopped": False}
    assert stopping.call("chat:stop", {"message_id": "nothing"}, timeout=10)["error"]["code"] == "message_not_found"


def test_the_stop_of_a_conversation_counts_and_ends_turns_everywhere(pair: Any, scripted: Engine) -> None:
    scripted.script(["字"] * 500, user="far-conversation", delay_s=0.05)
    one, other = pair
    _, made = one.call("POST", "/api/conversations", {})
    path = f"/api/conversations/{made['id']}"
    body = {"content": "问", "model": "scripted@none", "options": {"user": "far-conversation"}}
    streams = [web.open_stream(body, f"{path}/messages", Accept="text/event-stream") for web in pair]
    eventually(lambda: len([x for x in scripted.requests if x.body.get("user") == "far-conversation"]) == 2)
    assert other.call("POST", f"{path}/stop") == (200, {"stopped": 2})
    for stream in streams:
        events = events_of(read_all(stream))
        assert events[-1]["stopped"] is True
        stream.close()
    assert one.call("POST", f"{path}/stop") == (200, {"stopped": 0})


def test_a_resume_elsewhere_gets_the_whole_answer_at_its_end(pair: Any, connect: Connect, scripted: Engine) -> None:
    scripted.script(TEXTS, user="far-resume", delay_s=0.03)
    asking, fresh, behind = connect(pair[0]), connect(pair[1]), connect(pair[1])
    ack = chat(asking, "far-resume")
    asking.receive(timeout=10)
    for client, seq in ((fresh, -1), (behind, 3)):
        assert client.call("chat:resume", {"message_id": ack["message_id"], "after_seq": seq}, timeout=10) == {"message_id": ack["message_id"]}
    events = until_end(asking, ack["message_id"])
    assert "".join(payload["text"] for name, payload in events if name == "chat:delta") == "".join(TEXTS[1:])
    for client in (fresh, behind):
        (event,) = until_end(client, ack["message_id"])
        assert event == events[-1]
    assert event[1]["answer"] == "".join(TEXTS)


def test_an_answer_that_somebody_awaits_elsewhere_is_not_given_up(pair: Any, connect: Connect, scripted: Engine) -> None:
    scripted.script(["字"] * 60, user="far-grace", delay_s=0.1)
    scripted.script(["字"] * 200, user="far-left", delay_s=0.1)
    asking, awaiting, leaving = connect(pair[0]), connect(pair[1]), connect(pair[1])
    kept, left = chat(asking, "far-grace")["message_id"], chat(asking, "far-left")["message_id"]
    awaiting.call("chat:resume", {"message_id": kept, "after_seq": -1}, timeout=10)
    leaving.call("chat:resume", {"message_id": left, "after_seq": -1}, timeout=10)
    asking.disconnect()
    leaving.disconnect()
    freed(scripted, "far-left")
    (event,) = until_end(awaiting, kept)  # six seconds; the grace is 1.5
    assert (event[0], event[1]["answer"], event[1]["stopped"]) == ("chat:done", "字" * 60, False)


def test_slots_and_queue_hold_over_both(pair: Any, scripted: Engine) -> None:
    hold = threading.Event()
    scripted.script(TEXTS, user="slots", hold=hold)
    _, made = pair[0].call("POST", "/api/conversations", {})
    body = {"content": "问", "model": "four@none", "options": {"user": "slots"}}
    streams, refused = [], []
    for number in range(SLOTS + QUEUE + 4):
        stream = pair[number % 2].open_stream(body, f"/api/conversations/{made['id']}/messages", Accept="text/event-stream")
        if number >= SLOTS + QUEUE:
            refused.append(stream.recv(65536))  # before a slot becomes free
            continue
        streams.append(stream)
        eventually(lambda: sum(_load(pair[0], "four")) == len(streams))
    assert _load(pair[0], "four") == _load(pair[1], "four") == (SLOTS, QUEUE)
    assert len([x for x in scripted.requests if x.body.get("user") == "slots"]) == SLOTS
    hold.set()
    replies = [read_all(stream) for stream in streams]
    assert all(reply.startswith(b"HTTP/1.1 429") for reply in refused)
    assert all(b"retry-after:" in reply.lower() for reply in refused)
    first_places = Counter()
    for reply in replies[: SLOTS + QUEUE]:
        events = events_of(reply)
        assert events[-1]["answer"] == "".join(TEXTS)
        places = [event["position"] for event in events if "position" in event]
        assert places == sorted(places, reverse=True)
        first_places[places[0] if places else 0] += 1
    assert first_places == {0: SLOTS, **dict.fromkeys(range(1, QUEUE + 1), 1)}
    eventually(lambda: _load(pair[0], "four") == (0, 0))
    for stream in streams:
        stream.close()


def test_what_is_uploaded_through_one_is_found_through_the_other(pair: Any) -> None:
    one, other = pair
    assert one.call("POST", "/api/knowledge-bases", {"name": "rules"})[0] == 201
    _, added = one.call("POST", "/api/knowledge-bases/rules/documents", {"name": "a.txt", "text": "采购金额超过五十万元的，须经董事会批准。"})
    assert other.call("POST", "/api/search", {"query": "采购金额", "knowledge_bases": ["rules"]})[1]["hits"] == []
    worker = build(Settings(qzbrain_data=one.data))
    work_inline(worker, lambda: other.call("GET", "/api/knowledge-bases/rules")[1]["documents"]["ready"] == 1)
    for web in pair:
        assert [hit["document"] for hit in web.call("POST", "/api/search", {"query": "采购金额", "knowledge_bases": ["rules"]})[1]["hits"]] == ["a.txt"]
    assert other.call("DELETE", f"/api/documents/{added['data'][0]['id']}")[0] == 204
    for web in pair:
        assert web.call("POST", "/api/search", {"query": "采购金额", "knowledge_bases": ["rules"]})[1]["hits"] == []
    worker.close()


def test_sources_come_with_the_end_to_a_client_elsewhere(pair: Any, connect: Connect, scripted: Engine) -> None:
    one, other = pair
    assert one.call("POST", "/api/knowledge-bases", {"name": "cited"})[0] == 201
    one.call("POST", "/api/knowledge-bases/cited/documents", {"name": "b.txt", "text": "借阅期限为三十天，可以续借一次。"})
    worker = build(Settings(qzbrain_data=one.data))
    work_inline(worker, lambda: one.call("GET", "/api/knowledge-bases/cited")[1]["documents"]["ready"] == 1)
    worker.close()
    scripted.script(["借阅期限", "为三十天", "[1]。"] * 5, user="far-cited", delay_s=0.1)
    asking, fresh, behind = connect(one), connect(other), connect(other)
    ack = asking.call("chat", {"message": "借阅期限为多少天？", "model": "scripted@cited", "options": {"user": "far-cited"}}, timeout=10)
    fresh.call("chat:resume", {"message_id": ack["message_id"], "after_seq": -1}, timeout=10)
    behind.call("chat:resume", {"message_id": ack["message_id"], "after_seq": 0}, timeout=10)
    whole = until_end(asking, ack["message_id"])[-1]
    sources, done = until_end(fresh, ack["message_id"])
    assert sources == ("chat:sources", {"message_id": ack["message_id"], "citations": whole[1]["citations"]})
    assert [done] == until_end(behind, ack["message_id"]) == [whole]


def test_a_redis_that_is_killed_interrupts_no_answer_and_is_used_again(pair: Any, connect: Connect, scripted: Engine, redis_server: RedisServer) -> None:
    scripted.script(["字"] * 40, user="through", delay_s=0.1)
    clients = [connect(web) for web in (*pair, *pair)]
    acks = [chat(client, "through") for client in clients]
    for client in clients:
        client.receive(timeout=10)
    redis_server.kill()
    scripted.script(TEXTS, user="meanwhile")
    for web in pair:
        began = time.monotonic()
        status, _ = web.call("POST", "/v1/chat/completions", {"model": "single@none", "user": "meanwhile", "messages": [{"role": "user", "content": "x"}]})
        assert status == 200
        assert time.monotonic() - began < 3
    error = clients[0].call("chat:stop", {"message_id": acks[1]["message_id"]}, timeout=10)["error"]
    assert (error["type"], error["code"]) == ("unavailable_error", "shared_state_away")
    status, reply = pair[1].call("POST", f"/api/conversations/{acks[0]['conversation_id']}/stop")
    assert (status, reply["error"]["code"]) == (503, "shared_state_away")
    assert "qzbrain_shared_state_connected 0.0" in pair[0].call("GET", "/metrics")[1]
    redis_server.start()
    for client, ack in zip(clients, acks, strict=True):
        events = until_end(client, ack["message_id"])
        assert events[-1][1]["answer"] == "字" * 40
        assert events[-1][1]["stopped"] is False
    hold = threading.Event()
    scripted.script(TEXTS, user="again", hold=hold)
    question = {"model": "single@none", "user": "again", "stream": True, "messages": [{"role": "user", "content": "x"}]}
    eventually(lambda: _shared_again(pair))
    with pair[0].open_stream(question) as first, pair[1].open_stream(question) as second:
        eventually(lambda: _load(pair[0], "single") == (1, 1) == _load(pair[1], "single"))
        hold.set()
        for stream in (first, second):
            assert events_of(read_all(stream))[-1] == "[DONE]"


def test_a_process_that_is_killed_takes_its_own_answers_only(pair: Any, connect: Connect, scripted: Engine) -> None:
    one, other = pair
    scripted.script(["字"] * 100, user="victim", delay_s=0.1)
    scripted.script(["字"] * 60, user="survivor", delay_s=0.1)
    doomed, lives, watching = connect(other), connect(one), connect(one)
    lost = chat(doomed, "victim", "single@none")
    kept = chat(lives, "survivor")
    doomed.receive(timeout=10)
    lives.receive(timeout=10)
    watching.call("chat:resume", {"message_id": lost["message_id"], "after_seq": -1}, timeout=10)
    other.kill()
    freed(scripted, "victim")
    other.start()
    (event,) = until_end(watching, lost["message_id"])
    assert (event[0], event[1]["stopped"]) == ("chat:done", True)
    events = until_end(lives, kept["message_id"])
    assert (events[-1][1]["answer"], events[-1][1]["stopped"]) == ("字" * 60, False)
    eventually(lambda: _load(one, "single") == (0, 0), within_s=15)


def _load(web: WebProcess, model: str) -> tuple[int, int]:
    state = next(x for x in web.call("GET", "/api/models")[1]["data"] if x["name"] == model)
    return state["in_use"], state["queued"]


def _shared_again(pair: tuple[WebProcess, WebProcess]) -> bool:
    return all("qzbrain_shared_state_connected 1.0" in web.call("GET", "/metrics")[1] for web in pair)
