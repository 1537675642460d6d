"""The doctor's look at a search server: nobody there, all well, read-only, made by another version, changes that wait."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import insert

from qzbrain.brain import build
from qzbrain.domain import utc_now
from qzbrain.ops.doctor import Check, examine
from qzbrain.retrieval.elastic import index as elastic
from qzbrain.retrieval.elastic.index import ElasticIndex
from qzbrain.settings import Settings
from qzbrain.storage.tables import knowledge_bases, outbox
from tests.running import free_port
from tests.servers.search_server import SearchServer

PREFIX = "doctored"


def by_id(settings: Settings) -> dict[str, Check]:
    return {check.id: check for check in examine(settings, "en", step=4)}


@pytest.fixture
def settings(opensearch_server: SearchServer, make_settings: Callable[..., Settings]) -> Iterator[Settings]:
    yield make_settings(**opensearch_server.settings, qizhibrain_index=PREFIX)
    opensearch_server.remove(f"{PREFIX}*")


def test_without_an_address_the_built_in_index_is_named(make_settings: Callable[..., Settings]) -> None:
    check = by_id(make_settings())["search"]
    assert (check.status, "ES_URL_ADD" in check.next) == ("skip", True)


def test_nobody_there_is_one_failure_with_the_way_out(make_settings: Callable[..., Settings]) -> None:
    checks = by_id(make_settings(es_url_add=f"127.0.0.1:{free_port()}"))
    assert [x.id for x in checks.values() if x.id.startswith("search")] == ["search"]
    assert (checks["search"].status, "ES_URL_ADD" in checks["search"].next) == ("fail", True)


@pytest.mark.servers
def test_a_good_server_passes_and_nothing_is_left_behind(settings: Settings, opensearch_server: SearchServer) -> None:
    ElasticIndex(settings).rebuild("kb", [], watermark=1)
    before = opensearch_server.call("GET", f"/_cat/indices/{PREFIX}*?format=json")[1]
    checks = by_id(settings)
    assert {checks[x].status for x in ("search", "search_rights", "search_analysis", "search_cluster", "search_index")} == {"ok"}
    assert "opensearch 2" in checks["search"].evidence
    assert checks["search_disk"].status in ("ok", "warn")  # as full as this machine's disk is
    after = opensearch_server.call("GET", f"/_cat/indices/{PREFIX}*?format=json")[1]
    assert {x["index"] for x in before} == {x["index"] for x in after}


@pytest.mark.servers
def test_read_only_indexes_are_found(settings: Settings, opensearch_server: SearchServer) -> None:
    ElasticIndex(settings).rebuild("kb", [], watermark=1)
    opensearch_server.call("PUT", f"/{PREFIX}-*/_settings", {"index.blocks.read_only_allow_delete": True})
    checks = by_id(settings)
    check = checks["search_disk"]
    assert (check.status, PREFIX in check.evidence, "docs/search_server.md" in check.next) == ("fail", True, True)
    others = {id: one for id, one in checks.items() if id.startswith("search_") and one.status == "fail" and not one.follows}
    assert set(others) == {"search_disk"}
    subprocess.run(["bash", "-ec", check.next[check.next.index("curl ") :]], check=True, capture_output=True)
    assert by_id(settings)["search_disk"].status in ("ok", "warn")


@pytest.mark.servers
def test_one_that_hangs_is_the_cause_and_is_named_in_time(settings: Settings, opensearch_server: SearchServer) -> None:
    opensearch_server.pause()
    try:
        checks = by_id(settings)
    finally:
        opensearch_server.resume()
    assert [(id, one.status) for id, one in checks.items() if id.startswith("search")] == [("search", "fail")]


@pytest.mark.servers
def test_an_index_of_another_version_is_found(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    index = ElasticIndex(settings)
    monkeypatch.setattr(elastic, "index_body", lambda watermark: {"mappings": {"_meta": {"schema": "older", "watermark": watermark}}})
    index.rebuild("kb", [], watermark=1)
    assert by_id(settings)["search_index"].status == "warn"


@pytest.mark.servers
def test_a_missing_copy_and_a_lost_shard_are_told_apart(settings: Settings, opensearch_server: SearchServer) -> None:
    opensearch_server.call("PUT", f"/{PREFIX}-extra", {"settings": {"number_of_replicas": 1}})
    assert by_id(settings)["search_cluster"].status == "warn"
    nowhere = {"settings": {"index.routing.allocation.require._name": "nowhere"}}
    opensearch_server.call("PUT", f"/{PREFIX}-lost?wait_for_active_shards=0", nowhere)
    assert by_id(settings)["search_cluster"].status == "fail"


def test_changes_that_wait_are_counted_and_a_server_that_is_away_is_no_wrong_index(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(es_url_add=f"127.0.0.1:{free_port()}")
    brain = build(settings)
    with brain.db.write() as connection:
        connection.execute(insert(outbox), [{"kb_id": "kb", "op": "put", "document_id": str(n)} for n in range(3)])
        base = {"id": "kb", "name": "kb", "chunk_chars": 250, "overlap_chars": 50, "without_evidence": "refuse", "manifest": {}, "created_at": utc_now()}
        connection.execute(insert(knowledge_bases), base)
    brain.close()
    checks = {check.id: check for check in examine(settings, "en", step=7)}
    assert (checks["index_progress"].status, checks["index_progress"].evidence[:2]) == ("warn", "3 ")
    assert checks["index"].status == "skip"
