"""The graph asked of another process: the same answers as from this one, and what happens when that process misbehaves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.serving import make_server

from qzbrain import metrics
from qzbrain.brain import Brain, build
from qzbrain.errors import GraphUnavailable, NotFound
from qzbrain.graph import exchange
from qzbrain.graph.base import Fact, Place
from qzbrain.graph.breaker import FAILURES, Breaker, GraphFault
from qzbrain.graph.calls import GraphCalls
from qzbrain.graph.passages import NearPassage
from qzbrain.graph.remote import MOST_BASES, RemoteGraph, RemotePassages, RemoteRoutes
from qzbrain.retrieval.hybrid import SearchQuery
from qzbrain.settings import Settings
from qzbrain.web.app import create_app
from qzbrain.web.graph_app import create_graph_app
from tests.graph.faulty_service import FaultyService
from tests.running import wait_for

LIMIT_S = 1.0
SLACK_S = 0.9
PATIENCE_S = 20.0
"""Where a real service answers and time is not what is asked."""
PAUSES_S = (0.05, 0.1)
TOKEN = "a-secret-of-this-test"
QUESTION = "晨光集团的董事长是谁？"
FACTS = (
    Fact("晨光公司", "董事长", "李明", Place("import", source="a.csv"), head_type="公司", tail_type="人", aliases=("晨光", "晨光集团")),
    Fact("晨光公司", "高管", "王芳", Place("import", source="a.csv"), head_type="公司"),
    Fact("晨光公司", "所属行业", "造纸", Place("import", source="a.csv"), head_type="公司"),
    Fact("恒丰公司", "所属行业", "造纸", Place("import", source="a.csv"), head_type="公司"),
    Fact("李明", "出生地", "杭州", Place("import", source="a.csv"), head_type="人"),
)


@pytest.fixture
def kb_id(brain: Brain) -> str:
    """A knowledge base `kb` with a graph."""
    found = brain.knowledge.create(brain.access.local_caller("en"), name="kb").id
    brain.graph.add(found, FACTS)
    return found


@pytest.fixture
def faulty() -> Iterator[FaultyService]:
    made = FaultyService()
    yield made
    made.behave = "good"
    made.stop()


@pytest.fixture
def calls() -> Iterator[Callable[..., GraphCalls]]:
    """Makes clients that are closed at the end."""
    made: list[GraphCalls] = []

    def make(address: str, **options: Any) -> GraphCalls:
        made.append(GraphCalls(address, **{"token": "", "timeout_s": LIMIT_S, "pauses_s": PAUSES_S, **options}))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def service(make_settings: Callable[..., Settings], kb_id: str) -> Iterator[str]:
    """The graph service's own application over the same data, with TOKEN; its address."""
    over = build(make_settings(graph_token=TOKEN))
    server = make_server("127.0.0.1", 0, create_graph_app(over), threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    over.close()


def remote_graph(brain: Brain, client: GraphCalls) -> RemoteGraph:
    return RemoteGraph(RemoteRoutes(client), brain.graph.version, lambda: brain.local_graph)


def never() -> Any:
    raise AssertionError("the graph was read here")


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what it gave or raised."""
    begun = time.perf_counter()
    try:
        found = call()
    except (GraphUnavailable, NotFound) as exc:
        found = exc
    return time.perf_counter() - begun, found


def test_it_answers_as_the_graph_here(brain: Brain, kb_id: str, service: str, calls: Callable[..., GraphCalls]) -> None:
    here, there = brain.local_graph, RemoteGraph(RemoteRoutes(calls(service, token=TOKEN, timeout_s=PATIENCE_S)), brain.graph.version, never)
    ids = {one.name: one.id for name in ("晨光公司", "恒丰公司", "杭州") for one in here.search(kb_id, name, limit=1)}
    asked: list[Callable[[Any], Any]] = [
        lambda graph: graph.search(kb_id, "晨光", limit=5),
        lambda graph: graph.entity(kb_id, ids["晨光公司"]),
        lambda graph: graph.relations_of(kb_id, ids["晨光公司"]),
        lambda graph: graph.neighbors(kb_id, ids["晨光公司"], depth=2, relation=None, limit=50),
        lambda graph: graph.neighbors(kb_id, ids["晨光公司"], depth=1, relation="高管", limit=50),
        lambda graph: graph.path(kb_id, ids["恒丰公司"], ids["杭州"], max_hops=4),
        lambda graph: graph.path(kb_id, ids["恒丰公司"], ids["杭州"], max_hops=1),
        lambda graph: graph.overview(kb_id, limit=3),
        lambda graph: graph.answer(QUESTION, [kb_id]),
        lambda graph: graph.answer("他出生在哪里？", [kb_id], before=["李明是谁？"], nearness={"出生地": 0.9}),
        lambda graph: (graph.labels(kb_id)[0], sorted(graph.labels(kb_id))),
        lambda graph: graph.relations(kb_id),
        lambda graph: graph.relation(kb_id, "高管"),
    ]
    for one in asked:
        assert one(there) == one(here)
    assert there.answer(QUESTION, [kb_id]).values == ("李明",)
    for options in ({"hops": 1}, {"mode": "around", "top_k": 3}, {"mode": "answer", "hops": 3}):
        assert [x.score for x in there.process(QUESTION, [kb_id], **options).triples] == [x.score for x in here.process(QUESTION, [kb_id], **options).triples]
    told, meant = there.process(QUESTION, [kb_id]), here.process(QUESTION, [kb_id])
    assert (told.entities[0].entity.id, told.entities[0].mention, told.version) == (ids["晨光公司"], "晨光集团", meant.version)
    assert (told.entities[0].start, told.entities[0].end) == (0, 4)
    assert [(x.triple.head.name, x.triple.relation, x.triple.tail.name, x.score) for x in told.triples] == [
        (x.triple.head.name, x.triple.relation, x.triple.tail.name, x.score) for x in meant.triples
    ]
    assert told.context == meant.context != ""


def test_what_is_not_there_is_said_as_here(brain: Brain, kb_id: str, service: str, calls: Callable[..., GraphCalls]) -> None:
    client = calls(service, token=TOKEN, timeout_s=PATIENCE_S)
    here, there = brain.local_graph, RemoteGraph(RemoteRoutes(client), brain.graph.version, never)
    known = here.search(kb_id, "晨光公司", limit=1)[0].id
    for one in (
        lambda graph: graph.entity(kb_id, 987654321),
        lambda graph: graph.neighbors(kb_id, known, depth=1, relation="没有的", limit=5),
        lambda graph: graph.path(kb_id, known, 987654321, max_hops=2),
        lambda graph: graph.relation(kb_id, "没有的"),
    ):
        for _ in range(FAILURES + 1):  # and none of them counts as a failure of the service
            (_, meant), (_, told) = timed(lambda one=one: one(here)), timed(lambda one=one: one(there))  # type: ignore[misc]
            assert (type(told), told.code, told.zh, told.en) == (NotFound, meant.code, meant.zh, meant.en)
    assert client.state.name == "closed"


def test_labels_are_asked_for_once_while_the_graph_does_not_change(brain: Brain, kb_id: str, faulty: FaultyService, calls: Callable[..., GraphCalls]) -> None:
    path = f"/api/graph/{kb_id}/relations"
    faulty.routes["GET", path] = 200, {"data": [{"relation": "董事长", "triples": 2}, {"relation": "高管", "triples": 1}, {"relation": "旧", "triples": 0}]}
    graph = remote_graph(brain, calls(faulty.base))
    assert [tuple(graph.labels(kb_id)) for _ in range(3)] == [("董事长", "高管")] * 3
    assert [one[1] for one in faulty.asked] == [path]
    brain.graph.add(kb_id, [Fact("甲", "乙", "丙", Place("import"))])
    assert list(graph.labels(kb_id)) and len(faulty.asked) == 2
    assert graph.labels("no-graph") == ()


def test_passages_come_from_there(brain: Brain, kb_id: str, faulty: FaultyService, calls: Callable[..., GraphCalls]) -> None:
    faulty.routes["POST", f"/api/graph/{kb_id}/passages"] = 200, {"data": [{"chunk_id": 7, "score": 0.5}, {"chunk_id": 9, "score": 1}]}
    passages = RemotePassages(RemoteRoutes(calls(faulty.base)), brain.graph.version, never)
    assert passages.near(kb_id, QUESTION, [3], top_k=30) == [NearPassage(7, 0.5), NearPassage(9, 1.0)]
    assert passages.near("no-graph", QUESTION, [], top_k=30) == []
    assert len(faulty.asked) == 1  # a knowledge base without a graph costs nothing


@pytest.mark.parametrize("scores", [[{"chunk_id": 7, "score": 2}], [{"chunk_id": "7", "score": 0.5}], [{"chunk_id": -1, "score": 0.5}], {"7": 1}])
def test_passages_that_are_none_are_refused(brain: Brain, kb_id: str, faulty: FaultyService, calls: Callable[..., GraphCalls], scores: Any) -> None:
    faulty.routes["POST", f"/api/graph/{kb_id}/passages"] = 200, {"data": scores}
    with pytest.raises(GraphUnavailable, match="not what was agreed"):
        RemotePassages(RemoteRoutes(calls(faulty.base)), brain.graph.version, never).near(kb_id, QUESTION, [], top_k=30)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("hang", "no whole reply within"), ("drip", "no whole reply within"), ("endless-headers", "not whole HTTP"), ("reset", "connection failed"),
        ("cut", "not whole HTTP"), ("status-500", "HTTP 500"), ("status-503", "HTTP 503"), ("status-429", "HTTP 429"), ("not-json", "not what was agreed"),
        ("wrong-shape", "triples.0"), ("code-7", "code 7"), ("huge", "longer than"), ("endless", "longer than"), ("garbage", "not whole HTTP"),
        ("redirect", "redirects"), ("status-401", "GRAPH_TOKEN"),
    ],
)  # fmt: skip
def test_each_fault_is_told_in_time_and_opens_the_breaker(
    brain: Brain, kb_id: str, faulty: FaultyService, calls: Callable[..., GraphCalls], how: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "MOST_REPLY_BYTES", 1 << 20)
    faulty.behave = how
    client = calls(faulty.base, pauses_s=(30,))
    graph = remote_graph(brain, client)
    needed = 1 if why.startswith("no whole") else FAILURES
    for _ in range(needed):
        assert client.state.name == "closed"
        took_s, exc = timed(lambda: graph.process(QUESTION, [kb_id]))
        assert took_s < LIMIT_S + SLACK_S
        assert isinstance(exc, GraphUnavailable) and why in exc.en and exc.zh and exc.code == "graph_unavailable"
        assert f"127.0.0.1:{faulty.port}" in exc.en and (exc.retry_after_s or 0) >= 1
    assert client.state.name == "open"
    asked = len(faulty.asked)
    took_s, exc = timed(lambda: graph.process(QUESTION, [kb_id]))
    assert took_s < LIMIT_S / 2 and isinstance(exc, GraphUnavailable) and why in exc.en
    assert len(faulty.asked) == asked == needed  # nobody is asked while it is open, and a redirect is not followed


@pytest.mark.parametrize("how", ["hang", "status-500", "gone"])
def test_it_comes_back_by_itself(brain: Brain, kb_id: str, faulty: FaultyService, calls: Callable[..., GraphCalls], how: str) -> None:
    client = calls(faulty.base)
    graph = remote_graph(brain, client)
    assert graph.process(QUESTION, [kb_id]).triples
    if how == "gone":
        faulty.stop()
    faulty.behave = how
    wait_for(lambda: isinstance(timed(lambda: graph.process(QUESTION, [kb_id]))[1], GraphUnavailable) and client.state.name == "open", "opened")
    wait_for(lambda: client.state.name == "half_open" or how != "hang", "a trial is under way")
    faulty.behave = "good"
    if how == "gone":
        faulty.start()
    wait_for(lambda: client.state.name == "closed", "closed again", 5)
    told = graph.process(QUESTION, [kb_id])
    assert [(x.triple.head.name, x.triple.tail.name) for x in told.triples] == [("晨光公司", "李明")]


def test_many_who_wait_at_once_wait_no_longer(brain: Brain, kb_id: str, faulty: FaultyService, calls: Callable[..., GraphCalls]) -> None:
    faulty.behave = "hang"
    graph = remote_graph(brain, calls(faulty.base, pauses_s=(30,)))
    took: list[float] = []
    threads = [threading.Thread(target=lambda: took.append(timed(lambda: graph.process(QUESTION, [kb_id]))[0])) for _ in range(exchange.MOST_AT_ONCE + 20)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert max(took) < LIMIT_S + 2 * SLACK_S
    assert len(faulty.asked) <= exchange.MOST_AT_ONCE


def test_a_name_server_that_hangs_does_not_hold_anybody(
    brain: Brain, kb_id: str, calls: Callable[..., GraphCalls], monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()
    monkeypatch.setattr("socket.getaddrinfo", lambda *_args, **_more: let_go.wait(20) and [])
    took_s, exc = timed(lambda: remote_graph(brain, calls("http://graph.internal:8000")).process(QUESTION, [kb_id]))
    let_go.set()
    assert isinstance(exc, GraphUnavailable) and took_s < LIMIT_S + SLACK_S


def test_a_connection_that_the_service_closed_is_replaced(brain: Brain, kb_id: str, faulty: FaultyService, calls: Callable[..., GraphCalls]) -> None:
    client = calls(faulty.base, pauses_s=(30,))
    graph = remote_graph(brain, client)
    for _ in range(FAILURES + 1):
        assert graph.process(QUESTION, [kb_id]).triples
        faulty.stop()
        faulty.start()
    assert client.state.name == "closed"


def test_connections_are_kept_and_no_proxy_is_used(
    brain: Brain, kb_id: str, faulty: FaultyService, calls: Callable[..., GraphCalls], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    graph = remote_graph(brain, calls(faulty.base, token=TOKEN))
    opened: list[object] = []
    made = exchange.Connections.made
    monkeypatch.setattr(exchange.Connections, "made", lambda self, timeout_s: opened.append(self) or made(self, timeout_s))
    for _ in range(5):
        graph.process(QUESTION, [kb_id])
    assert len(opened) == 1
    assert {one[2]["authorization"] for one in faulty.asked} == {f"Bearer {TOKEN}"}


def test_a_service_of_others_is_asked_what_it_knows_and_the_rest_is_read_here(
    brain: Brain, kb_id: str, faulty: FaultyService, calls: Callable[..., GraphCalls]
) -> None:
    client = calls(faulty.base, pauses_s=(30,))
    graph = remote_graph(brain, client)
    told = graph.process("晨光公司的董事长", [kb_id])
    assert (told.entities[0].entity.id, told.entities[0].start, told.entities[0].end) == (0, 0, 4)
    assert told.context == "晨光公司 的 董事长：李明"
    for _ in range(FAILURES + 1):
        assert [one.name for one in graph.search(kb_id, "恒丰", limit=3)] == ["恒丰公司"]
        assert graph.answer(QUESTION, [kb_id]).values == ("李明",)
    paths = [one[1].split("?")[0] for one in faulty.asked]
    assert paths.count(f"/api/graph/{kb_id}/search") == paths.count("/api/graph/answer") == 1  # what it lacks it is not asked for again
    assert client.state.name == "closed"
    faulty.stop()
    assert isinstance(timed(lambda: graph.process(QUESTION, [kb_id]))[1], GraphUnavailable)
    assert graph.search(kb_id, "恒丰", limit=3)  # nothing of this was ever its business


def test_an_address_where_something_else_listens_is_told(brain: Brain, kb_id: str, faulty: FaultyService, calls: Callable[..., GraphCalls]) -> None:
    faulty.routes.clear()
    client = calls(faulty.base, pauses_s=(30,))
    for _ in range(FAILURES):
        _, exc = timed(lambda: remote_graph(brain, client).process(QUESTION, [kb_id]))
        assert isinstance(exc, GraphUnavailable) and "GRAPH_URL" in exc.en and "GRAPH_URL" in exc.zh
    assert client.state.name == "open"


def test_one_request_that_is_refused_does_not_open_it(brain: Brain, kb_id: str, faulty: FaultyService, calls: Callable[..., GraphCalls]) -> None:
    faulty.behave = "status-422"
    client = calls(faulty.base)
    for _ in range(FAILURES + 2):
        _, exc = timed(lambda: remote_graph(brain, client).process(QUESTION, [kb_id]))
        assert isinstance(exc, GraphUnavailable) and "422" in exc.en
    assert client.state.name == "closed"


def test_more_knowledge_bases_than_one_call_may_name(brain: Brain, faulty: FaultyService, calls: Callable[..., GraphCalls]) -> None:
    graph = remote_graph(brain, calls(faulty.base))
    told = graph.process(QUESTION, [f"kb{n}" for n in range(2 * MOST_BASES + 1)], top_k=2)
    assert len(faulty.asked) == 3 and len(told.triples) == 2
    assert graph.process(QUESTION, []).triples == ()


def test_pauses_grow_and_begin_anew_after_a_reply() -> None:
    tried: list[float] = []
    good = threading.Event()

    def probe() -> None:
        tried.append(time.monotonic())
        if not good.is_set():
            raise GraphFault("坏", "bad")

    breaker = Breaker(probe, pauses_s=(0.02, 0.05, 0.1))
    breaker.failed(GraphFault("慢", "slow", weight=FAILURES))
    breaker.failed(GraphFault("慢", "slow", weight=FAILURES))
    wait_for(lambda: len(tried) >= 4, "tries", 5)
    assert breaker.state.name in ("open", "half_open") and breaker.state.fault is not None
    assert tried[2] - tried[1] >= 0.1
    good.set()
    wait_for(lambda: breaker.state.name == "closed", "closed", 5)
    breaker.failed(GraphFault("慢", "slow", weight=FAILURES))
    assert breaker.state.retry_after_s == 0.1  # a trial alone is no proof
    wait_for(lambda: breaker.state.name == "closed", "closed", 5)
    breaker.succeeded()
    breaker.failed(GraphFault("慢", "slow", weight=FAILURES))
    assert breaker.state.retry_after_s == 0.02
    breaker.close()


@pytest.fixture
def web(make_settings: Callable[..., Settings], kb_id: str, faulty: FaultyService, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Brain, FlaskClient]]:
    """Web over the same data, whose GRAPH_URL is the faulty service."""
    monkeypatch.setattr(metrics, "REGISTRY", type(metrics.REGISTRY)(auto_describe=False))
    made = build(make_settings(graph_url=faulty.url, graph_timeout_s=LIMIT_S))
    yield made, create_app(made).test_client()
    made.close()


def test_a_route_of_the_graph_says_that_the_service_is_away(web: tuple[Brain, FlaskClient], faulty: FaultyService, kb_id: str) -> None:
    _, client = web
    faulty.behave = "hang"
    for path, lang, word in (("search?q=x", "en", "graph service"), ("overview", "zh-CN", "知识图谱服务")):
        reply = client.get(f"/api/graph/kb/{path}", headers={"Accept-Language": lang})
        assert reply.status_code == 503 and int(reply.headers["Retry-After"]) >= 1
        assert reply.get_json()["error"]["code"] == "graph_unavailable" and word in reply.get_json()["error"]["message"]
    assert client.post("/chat-process-txt", json={"text": "x"}).status_code == 503
    assert client.get("/api/graph/kb/stats").get_json()["triples"] == len(FACTS)  # counted in the database
    written = client.put("/api/graph/kb/relations/高管", json={"forward_cues": ["谁管"]})  # truth is in the database, so writing goes on
    assert written.status_code == 200 and written.get_json()["forward_cues"] == ["谁管"]


def test_ready_without_it_and_says_so(web: tuple[Brain, FlaskClient], faulty: FaultyService) -> None:
    _, client = web
    faulty.behave = "hang"
    took_s, reply = timed(lambda: client.get("/readyz").get_json()["checks"])
    assert reply["graph"].startswith("degraded: graph_unavailable") and took_s < LIMIT_S + SLACK_S
    took_s, again = timed(lambda: client.get("/readyz").get_json()["checks"])
    assert again["graph"].startswith("degraded: graph_unavailable") and took_s < LIMIT_S / 2
    assert "qzbrain_graph_service_connected 0.0" in client.get("/metrics").get_data(as_text=True)
    faulty.behave = "good"
    wait_for(lambda: client.get("/readyz").get_json()["checks"]["graph"] == "ok", "back", 5)
    assert "qzbrain_graph_service_connected 1.0" in client.get("/metrics").get_data(as_text=True)


def test_a_search_goes_on_without_it_and_waits_once(web: tuple[Brain, FlaskClient], faulty: FaultyService, kb_id: str) -> None:
    brain, _ = web
    faulty.routes["POST", f"/api/graph/{kb_id}/passages"] = 200, {"data": []}
    scope = brain.access.scope(brain.access.local_caller("en"))
    assert brain.retriever.search(SearchQuery(QUESTION), scope).degraded == ()
    faulty.behave = "hang"
    took_s, found = timed(lambda: brain.retriever.search(SearchQuery(QUESTION), scope))
    assert LIMIT_S < took_s < LIMIT_S + SLACK_S
    assert [one.part for one in found.degraded] == ["graph"] and "no whole reply" in found.degraded[0].reason
    took_s, found = timed(lambda: brain.retriever.search(SearchQuery(QUESTION), scope))
    assert took_s < LIMIT_S / 2 and [one.part for one in found.degraded] == ["graph"]
    assert brain.retriever.search(SearchQuery(QUESTION, mode="lexical"), scope).degraded == ()
    faulty.behave = "good"
    wait_for(lambda: brain.retriever.search(SearchQuery(QUESTION), scope).degraded == (), "back", 5)
