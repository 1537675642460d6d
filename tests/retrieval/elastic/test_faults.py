"""What the search server does to us, on a real one: refuses, stalls, dies, fills up. Nothing applied is lost, and every error says what to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rows import put

from qzbrain.domain import new_id
from qzbrain.errors import IndexUnavailable, Unavailable
from qzbrain.retrieval.base import DeleteDocument, IndexChange, NoIndex
from qzbrain.retrieval.elastic import bulk, connection, writing
from qzbrain.retrieval.elastic.index import ElasticIndex
from qzbrain.retrieval.elastic.mapping import index_body, source
from qzbrain.settings import Settings
from tests.running import ROOT, free_port, wait_for
from tests.servers.proxy import Proxy, proxy_to
from tests.servers.search_server import SearchServer

pytestmark = pytest.mark.servers
PREFIX = "faults"


@pytest.fixture
def server(opensearch_server: SearchServer) -> SearchServer:
    return opensearch_server


@pytest.fixture
def make(server: SearchServer) -> Callable[..., ElasticIndex]:
    """One more process's view, with settings of its own."""
    return lambda **settings: ElasticIndex(Settings(**{**server.settings, "qizhibrain_index": PREFIX, **settings}))


@pytest.fixture
def index(make: Callable[..., ElasticIndex]) -> Iterator[ElasticIndex]:
    made = make()
    made.rebuild("kb", [put("a", "行政处罚的种类", first=1), put("b", "劳动合同的期限", first=2)], watermark=3)
    yield made
    made.drop("kb")


@pytest.fixture
def proxy(server: SearchServer) -> Iterator[Proxy]:
    with proxy_to(server.url) as made:
        yield made


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that would have been made."""
    paused: list[float] = []
    monkeypatch.setattr(bulk.time, "sleep", paused.append)
    return paused


def fault(call: Callable[[], object]) -> IndexUnavailable:
    with pytest.raises(IndexUnavailable) as raised:
        call()
    assert raised.value.zh
    assert raised.value.en
    assert raised.value.retry_after_s
    return raised.value


# -- reaching it


def test_nobody_listens(make: Callable[..., ElasticIndex]) -> None:
    nobody = make(es_url_add=f"127.0.0.1:{free_port()}")
    for call in (lambda: nobody.search("kb", "罚款", top_k=1), nobody.ready, lambda: nobody.watermark("kb"), lambda: nobody.apply("kb", [], watermark=1)):
        error = fault(call)
        assert error.code == "search_unreachable"
        assert "ES_URL_ADD" in error.zh


def test_one_of_two_nodes_is_enough(make: Callable[..., ElasticIndex], server: SearchServer, index: ElasticIndex) -> None:
    both = make(es_url_add=f"127.0.0.1:{free_port()}, {server.url}")
    assert [len(both.search("kb", "劳动合同", top_k=5)) for _ in range(6)] == [1] * 6


def test_a_path_in_the_address_is_kept(make: Callable[..., ElasticIndex], proxy: Proxy) -> None:
    fault(make(es_url_add=f"{proxy.url}/behind/gateway/").ready)
    assert proxy.seen[0] == ("GET", "/behind/gateway/")


@pytest.mark.parametrize(
    ("reply", "named"),
    [
        (b'{"version":{"number":"7.17.0"},"tagline":"You Know, for Search"}', "elasticsearch 7.17.0"),
        (b'{"version":{"number":"1.3.2","distribution":"opensearch"}}', "opensearch 1.3.2"),
        (b'{"version":{"number":"3.0.0"},"tagline":"Something else"}', "unknown 3.0.0"),
        (b"<html>It works!</html>", "unknown"),
    ],
)
def test_another_product_is_named(make: Callable[..., ElasticIndex], proxy: Proxy, reply: bytes, named: str) -> None:
    proxy.refuse, proxy.path, proxy.status, proxy.body = 1, "/", 200, reply
    error = fault(make(es_url_add=proxy.url).ready)
    assert (error.code, named in error.en) == ("search_product", True)


@pytest.mark.parametrize(("status", "reply", "code"), [(503, b"{}", "search_red"), (200, b"<html>Sign in</html>", "search_refused")])
def test_a_gateway_that_answers_for_it(make: Callable[..., ElasticIndex], proxy: Proxy, status: int, reply: bytes, code: str) -> None:
    through = make(es_url_add=proxy.url)
    if status == 200:
        through.ready()
    proxy.refuse, proxy.status, proxy.body = 3 if status == 503 else 2, status, reply  # a search tries such a reply twice
    assert fault(lambda: through.search("kb", "劳动合同", top_k=1)).code == code
    if status == 503:
        assert fault(through.server.product).code == code


def test_a_server_that_stalls_costs_one_time_out_and_then_nothing(make: Callable[..., ElasticIndex], server: SearchServer, index: ElasticIndex) -> None:
    patient = make(es_timeout_s=1.0)
    wait_for(lambda: searched(patient), "warm", 20)
    server.pause()
    try:
        started = time.monotonic()
        assert fault(lambda: patient.search("kb", "劳动合同", top_k=1)).code == "search_timeout"
        first = time.monotonic() - started
        for _ in range(20):
            assert fault(lambda: patient.search("kb", "劳动合同", top_k=1)).code == "search_timeout"
        assert time.monotonic() - started - first < first < 5
    finally:
        server.resume()
    assert wait_for(lambda: searched(patient), "found again", 20)


def searched(index: ElasticIndex) -> bool:
    try:
        return bool(index.search("kb", "劳动合同", top_k=1))
    except IndexUnavailable:
        return False


# -- a busy server


def test_a_busy_server_is_asked_again_and_nothing_is_lost(make: Callable[..., ElasticIndex], index: ElasticIndex, proxy: Proxy, no_pauses: list[float]) -> None:
    through = make(es_url_add=proxy.url)
    proxy.refuse, proxy.path = 4, "/_bulk"
    through.apply("kb", [put("c", "海洋环境", first=10, chunks=3)], watermark=4)
    assert (through.watermark("kb"), through.chunk_count("kb")) == (4, 5)
    assert no_pauses == sorted(no_pauses)
    assert len(no_pauses) == 4


def test_the_time_that_a_server_names_is_waited(make: Callable[..., ElasticIndex], index: ElasticIndex, proxy: Proxy, no_pauses: list[float]) -> None:
    proxy.refuse, proxy.path, proxy.headers = 1, "/_bulk", {"retry-after": "6"}
    make(es_url_add=proxy.url).apply("kb", [put("c", "海洋环境", first=10)], watermark=4)
    assert no_pauses == [6.0]


def test_a_server_that_stays_busy_is_given_up_and_the_next_try_ends_it(
    make: Callable[..., ElasticIndex], index: ElasticIndex, proxy: Proxy, no_pauses: list[float]
) -> None:
    through = make(es_url_add=proxy.url)
    proxy.refuse, proxy.path = bulk.TRIES, "/_bulk"
    assert fault(lambda: through.apply("kb", [put("c", "海洋环境", first=10)], watermark=4)).code == "search_busy"
    assert (index.watermark("kb"), index.chunk_count("kb")) == (3, 2)
    through.apply("kb", [put("c", "海洋环境", first=10)], watermark=4)
    assert (index.watermark("kb"), index.chunk_count("kb")) == (4, 3)


def test_a_change_that_can_never_be_taken_is_not_waited_for(index: ElasticIndex, server: SearchServer) -> None:
    too_large = put("c", "海洋环境", first=2**63)
    with pytest.raises(Unavailable, match="search_refused") as refused:
        index.apply("kb", [too_large], watermark=4)
    assert not isinstance(refused.value, IndexUnavailable)
    assert (index.watermark("kb"), index.chunk_count("kb")) == (3, 2)


# -- a server that cannot write, or not read


def test_an_index_made_read_only_by_a_full_disk_waits_for_room(index: ElasticIndex, server: SearchServer) -> None:
    block(server, on=True)
    try:
        error = fault(lambda: index.apply("kb", [put("c", "海洋环境", first=10)], watermark=4))
        assert error.code == "search_disk_full"
        assert index.search("kb", "劳动合同", top_k=1)
    finally:
        block(server, on=False)
    index.apply("kb", [put("c", "海洋环境", first=10)], watermark=4)
    assert (index.watermark("kb"), index.chunk_count("kb")) == (4, 3)


def block(server: SearchServer, *, on: bool) -> None:
    """The block that the server itself sets at the flood-stage watermark."""
    status, reply = server.call("PUT", f"/{PREFIX}*/_settings", {"index.blocks.read_only_allow_delete": True if on else None})
    assert status == 200, reply


def test_an_index_without_its_shard_is_told_and_can_be_built_again(index: ElasticIndex, server: SearchServer) -> None:
    index.drop("kb")
    generations = index._generations("kb")
    body = index_body(3) | {"aliases": {generations.alias: {}}}
    body["settings"]["index.routing.allocation.require._name"] = "nowhere"
    assert server.call("PUT", f"/{generations.alias}-{new_id()}?wait_for_active_shards=0", body)[0] == 200
    assert fault(lambda: index.search("kb", "劳动合同", top_k=1)).code == "search_red"
    index.rebuild("kb", [put("b", "劳动合同的期限", first=2)], watermark=4)
    assert [hit.chunk_id for hit in index.search("kb", "劳动合同", top_k=5)] == [2]


# -- death in the middle


def test_the_server_dies_in_the_middle_of_applying(index: ElasticIndex, server: SearchServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "BATCH_CHANGES", 50)
    documents: list[IndexChange] = [DeleteDocument("a"), *(put(f"d{n}", f"海洋环境保护第{n}号", first=1000 + 10 * n, chunks=10) for n in range(40))]

    def deadly() -> Iterator[IndexChange]:
        yield from documents[:30]
        server.kill()
        yield from documents[30:]

    fault(lambda: index.apply("kb", deadly(), watermark=4))
    server.start()
    wait_for(lambda: searched(index), "the server is back", 30)
    assert index.watermark("kb") == 3
    index.apply("kb", documents, watermark=4)
    assert (index.watermark("kb"), index.chunk_count("kb")) == (4, 401)
    assert index.search("kb", "行政处罚", top_k=5) == []


@pytest.mark.parametrize("step", ["apply", "rebuild"])
def test_the_writer_dies_in_the_middle_and_the_next_one_goes_on_at_once(index: ElasticIndex, server: SearchServer, step: str, tmp_path: Path) -> None:
    program = tmp_path / "writer.py"
    program.write_text(WRITER, encoding="utf-8")
    command = [sys.executable, str(program), server.url, PREFIX, step]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{Path(__file__).parent}"}
    writer = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"sent\n"
    assert fault(lambda: index.apply("kb", [put("c", "海洋环境", first=10)], watermark=4)).code == "index_busy"
    assert searched(index)
    writer.send_signal(signal.SIGKILL)
    writer.wait(10)
    replay = [put("c", "海洋环境", first=10, chunks=200), *(DeleteDocument(f"x{n}") for n in range(64))]
    index.apply("kb", replay, watermark=4)
    assert (index.watermark("kb"), index.chunk_count("kb")) == (4, 202)
    index.rebuild("kb", [put("b", "劳动合同的期限", first=2)], watermark=5)
    strays = [one["index"] for one in server.call("GET", f"/_cat/indices/{PREFIX}-kb-*?format=json")[1]]
    assert strays == [index.generation("kb").name]  # type: ignore[union-attr]


WRITER = """
import sys, threading
from rows import put
from qzbrain.retrieval.elastic import bulk
from qzbrain.retrieval.elastic.index import ElasticIndex
from qzbrain.retrieval.elastic.mapping import index_body
from qzbrain.settings import Settings

bulk.BATCH_CHANGES = 50

def changes():
    yield put("c", "海洋环境", first=10, chunks=150)
    for n in range(64):
        yield put(f"x{n}", "其他", first=5000 + n)
    print("sent", flush=True)
    threading.Event().wait()

getattr(ElasticIndex(Settings(es_url_add=sys.argv[1], qizhibrain_index=sys.argv[2])), sys.argv[3])("kb", changes(), watermark=4)
"""


def test_a_holder_elsewhere_keeps_the_lease_until_it_runs_out(index: ElasticIndex, server: SearchServer) -> None:
    hold(server, "elsewhere:1:1:abc", time.time() + 60)
    assert fault(lambda: index.apply("kb", [], watermark=4)).code == "index_busy"
    hold(server, "elsewhere:1:1:abc", time.time() - 1)
    index.apply("kb", [], watermark=4)
    assert index.watermark("kb") == 4


def hold(server: SearchServer, owner: str, until: float) -> None:
    there = server.call("GET", f"/{PREFIX}.state/_doc/kb")[1]["_source"]
    assert server.call("PUT", f"/{PREFIX}.state/_doc/kb", {**there, "owner": owner, "lease_until": until})[0] == 200


def test_a_writer_that_was_overtaken_brings_nothing_back(
    index: ElasticIndex, make: Callable[..., ElasticIndex], server: SearchServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "BATCH_CHANGES", 50)
    monkeypatch.setattr(writing, "RENEW_S", 0.0)

    def overtaken() -> Iterator[IndexChange]:
        yield put("old", "过时的内容", first=100, chunks=120)
        hold(server, "", 0)
        make().apply("kb", [DeleteDocument("old"), DeleteDocument("a")], watermark=9)
        yield put("a", "过时的内容", first=1, chunks=1)
        for n in range(64):
            yield put(f"x{n}", "过时的内容", first=5000 + n)

    assert fault(lambda: index.apply("kb", overtaken(), watermark=4)).code == "index_busy"
    assert (index.watermark("kb"), index.chunk_count("kb")) == (9, 1)
    assert index.search("kb", "过时的内容", top_k=5) == []


def test_an_older_version_of_a_chunk_is_refused_by_the_server_itself(index: ElasticIndex) -> None:
    index.apply("kb", [DeleteDocument("b")], watermark=9)
    late = bulk.Bulk(index.server, index._generations("kb").alias, 4, lambda: None)
    late.put(2, source(put("b", "过时的内容", first=2).chunks[0], 1))
    assert fault(late.flush).code == "index_busy"


# -- swapping


def test_a_search_that_meets_a_swap_is_made_once_more(make: Callable[..., ElasticIndex], index: ElasticIndex, proxy: Proxy) -> None:
    through = make(es_url_add=proxy.url)
    through.ready()
    proxy.refuse, proxy.path, proxy.status = 1, "/_msearch", 503
    proxy.body = b'{"error":{"type":"search_phase_execution_exception","reason":"all shards failed"}}'
    assert [hit.chunk_id for hit in through.search("kb", "劳动合同", top_k=1)] == [2]


def test_searches_go_on_while_the_index_is_swapped(index: ElasticIndex, make: Callable[..., ElasticIndex]) -> None:
    seen: list[list[int]] = []
    stop = threading.Event()
    reader = make()

    def search() -> None:
        while not stop.is_set():
            seen.append([hit.chunk_id for hit in reader.search("kb", "劳动合同", top_k=5)])

    thread = threading.Thread(target=search)
    thread.start()
    for n in range(4):
        index.rebuild("kb", [put("b", "劳动合同的期限", first=2), put("c", "无关", first=10 + n)], watermark=4 + n)
    stop.set()
    thread.join(30)
    assert len(seen) > 4
    assert {tuple(one) for one in seen} == {(2,)}


def test_another_schema_does_not_count(make: Callable[..., ElasticIndex], index: ElasticIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    from qzbrain.retrieval.elastic import index as elastic

    monkeypatch.setattr(elastic, "SCHEMA_HASH", "0123456789ab")
    index = make()
    assert (index.watermark("kb"), index.chunk_count("kb")) == (-1, 0)
    with pytest.raises(NoIndex):
        index.search("kb", "劳动合同", top_k=5)
    index.rebuild("kb", [put("b", "劳动合同的期限", first=2)], watermark=4)
    assert len(index._generations("kb").all()) == 1
    assert index.watermark("kb") == 4


def test_scores_are_on_one_scale_whatever_the_server_multiplies(make: Callable[..., ElasticIndex], index: ElasticIndex, proxy: Proxy) -> None:
    """OpenSearch 3 leaves the factor k1 + 1 out of BM25, which the others have."""
    (here,) = index.search("kb", "劳动合同", top_k=5)
    proxy.refuse, proxy.path, proxy.status = 1, "/", 200
    proxy.body = b'{"version":{"number":"3.0.0","distribution":"opensearch"}}'
    (there,) = make(es_url_add=proxy.url).search("kb", "劳动合同", top_k=5)
    assert (there.score, there.confidence) == (pytest.approx(2.2 * here.score, abs=0.001), here.confidence)


def test_what_shares_only_common_words_does_not_count(make: Callable[..., ElasticIndex], index: ElasticIndex) -> None:
    index.rebuild("kb", [put(f"d{n}", "应当 依法" if n % 2 else "应当 采购", first=n) for n in range(2000)], watermark=4)
    assert index.search("kb", "应当", top_k=5) == []
    assert len(make(qizhibrain_es_score=0).search("kb", "应当", top_k=5)) == 5
    assert len(index.search("kb", "应当采购", top_k=5)) == 5


def test_after_a_refused_login_nothing_is_sent_for_a_moment(make: Callable[..., ElasticIndex], proxy: Proxy) -> None:
    through = make(es_url_add=proxy.url)
    through.ready()
    proxy.refuse, proxy.status, proxy.body = 1, 401, b"{}"
    assert fault(through.ready).code == "search_login"
    before = len(proxy.seen)
    assert fault(through.ready).code == "search_login"
    assert len(proxy.seen) == before
    wait_for(lambda: answers(through), "asked again", connection.AWAY_S + 5)
    assert len(proxy.seen) == before + 1


def answers(index: ElasticIndex) -> bool:
    try:
        index.ready()
    except IndexUnavailable:
        return False
    return True
