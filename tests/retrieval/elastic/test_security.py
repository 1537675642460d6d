"""A search server with HTTPS, users and API keys: what gets in, and what each refusal says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rows import put

from qzbrain.errors import IndexUnavailable
from qzbrain.ops import doctor_search
from qzbrain.retrieval.elastic.index import ElasticIndex
from qzbrain.settings import Settings
from tests.servers.search_server import PASSWORD, SearchServer

pytestmark = pytest.mark.servers
PREFIX = "secured"
LEAST_RIGHTS = {
    "cluster": ["monitor"],
    "indices": [{"names": [f"{PREFIX}-*", f"{PREFIX}.state"], "privileges": ["manage", "read", "write"]}],
}


@pytest.fixture(scope="module")
def server() -> Iterator[SearchServer]:
    """An Elasticsearch of its own: with security it needs longer to start than any test here."""
    made = SearchServer("elasticsearch", secure=True).start()
    yield made
    made.close()


@pytest.fixture
def settings(server: SearchServer) -> Callable[..., Settings]:
    return lambda **other: Settings(**{**server.settings, "qizhibrain_index": PREFIX, **other})


def user(server: SearchServer, name: str, rights: object) -> dict[str, object]:
    """A user with these rights alone; the settings to be it."""
    assert server.call("PUT", f"/_security/role/{name}", rights)[0] == 200
    assert server.call("PUT", f"/_security/user/{name}", {"password": PASSWORD, "roles": [name]})[0] == 200
    return {"es_user": name, "es_password": PASSWORD}


def worked_through(index: ElasticIndex) -> None:
    """Everything that a brain does."""
    index.rebuild("kb", [put("a", "行政处罚的种类", first=1)], watermark=1)
    index.apply("kb", [put("b", "劳动合同的期限", first=2)], watermark=2)
    assert [hit.chunk_id for hit in index.search("kb", "劳动合同", top_k=5)] == [2]
    assert (index.watermark("kb"), index.chunk_count("kb"), index.deleted_share("kb")) == (2, 2, 0.0)
    index.rebuild("kb", [], watermark=3)
    index.drop("kb")


def code(settings: Settings) -> str:
    with pytest.raises(IndexUnavailable) as refused:
        worked_through(ElasticIndex(settings))
    return refused.value.code


def test_a_password_of_any_characters_and_a_ca_of_ones_own(settings: Callable[..., Settings]) -> None:
    worked_through(ElasticIndex(settings()))


def test_the_rights_that_the_manual_names_suffice(server: SearchServer, settings: Callable[..., Settings]) -> None:
    worked_through(ElasticIndex(settings(**user(server, "least", LEAST_RIGHTS))))


def test_an_api_key_instead_of_a_password(server: SearchServer, settings: Callable[..., Settings]) -> None:
    rights = {"cluster": LEAST_RIGHTS["cluster"], "index": LEAST_RIGHTS["indices"]}
    status, key = server.call("POST", "/_security/api_key", {"name": "qzbrain", "role_descriptors": {"qzbrain": rights}})
    assert status == 200, key
    worked_through(ElasticIndex(settings(es_user="", es_password="", es_api_key=key["encoded"])))


def test_a_wrong_password_and_a_wrong_key(settings: Callable[..., Settings]) -> None:
    assert code(settings(es_password="wrong")) == "search_login"
    assert code(settings(es_user="", es_password="", es_api_key="d3Jvbmc6d3Jvbmc=")) == "search_login"
    assert code(settings(es_user="", es_password="")) == "search_login"


def test_a_user_who_may_only_read(server: SearchServer, settings: Callable[..., Settings]) -> None:
    rights = {"cluster": ["monitor"], "indices": [{"names": [f"{PREFIX}*"], "privileges": ["read", "view_index_metadata"]}]}
    assert code(settings(**user(server, "reader", rights))) == "search_forbidden"


def test_a_certificate_that_nobody_vouches_for(settings: Callable[..., Settings], tmp_path: Path) -> None:
    assert code(settings(es_ca_file="")) == "search_tls"
    assert code(settings(es_ca_file=str(tmp_path / "nowhere.crt"))) == "search_tls"
    (tmp_path / "noise.crt").write_text("noise")
    assert code(settings(es_ca_file=str(tmp_path / "noise.crt"))) == "search_tls"


def test_a_secure_server_addressed_in_the_clear(server: SearchServer, settings: Callable[..., Settings]) -> None:
    assert code(settings(es_url_add=f"127.0.0.1:{server.port}")) in ("search_unreachable", "search_tls")


def test_a_full_disk_is_told_here_too(server: SearchServer, settings: Callable[..., Settings]) -> None:
    index = ElasticIndex(settings())
    index.rebuild("kb", [], watermark=1)
    try:
        assert server.call("PUT", f"/{PREFIX}-*/_settings", {"index.blocks.read_only_allow_delete": True})[0] == 200
        with pytest.raises(IndexUnavailable) as refused:
            index.apply("kb", [put("a", "行政处罚的种类", first=1)], watermark=2)
        assert refused.value.code == "search_disk_full"
    finally:
        server.call("PUT", f"/{PREFIX}-*/_settings", {"index.blocks.read_only_allow_delete": None})
        index.drop("kb")


def test_the_doctor_says_which_right_is_missing(server: SearchServer, settings: Callable[..., Settings]) -> None:
    found = {one.id: one for one in doctor_search.search(settings())}
    assert {found[name].status for name in ("search", "search_rights")} == {"ok"}
    assert "fail" not in {one.status for one in doctor_search.search(settings(**user(server, "least", LEAST_RIGHTS)))}
    rights = {"cluster": ["monitor"], "indices": [{"names": [f"{PREFIX}*"], "privileges": ["read", "view_index_metadata"]}]}
    found = {one.id: one for one in doctor_search.search(settings(**user(server, "reader", rights)))}
    assert (found["search"].status, found["search_rights"].status) == ("ok", "fail")
    (only,) = doctor_search.search(settings(es_password="wrong"))
    assert (only.id, only.status) == ("search", "fail")
    assert "ES_PASSWORD" in only.next[0] + only.evidence[0]
