"""The way to Neo4j: what is wrong is said with the next step and without the password, and nobody waits for a server that is away or frozen."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from qzbrain.brain import build
from qzbrain.errors import MirrorUnavailable, MissingExtra, SettingsInvalid
from qzbrain.graph.base import Fact, Place
from qzbrain.graph.mirror import errors, link
from qzbrain.graph.mirror.feeding import Mirror
from qzbrain.graph.mirror.store import MirroredGraph
from qzbrain.ops.doctor_neo4j import neo4j
from qzbrain.settings import Settings, load_settings
from qzbrain.storage.database import Database
from qzbrain.storage.migrate import upgrade
from tests.graph.mirrored import link_of
from tests.running import free_port
from tests.servers.neo4j_server import Neo4jServer

FACTS = [Fact("甲", "与", "乙", Place("import", source="表"))]


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = Database(tmp_path / "brain.sqlite")
    upgrade(made)
    return made


def refusal(settings: dict[str, object], **more: float) -> MirrorUnavailable:
    with pytest.raises(MirrorUnavailable) as refused:
        link_of(settings, **more).server()
    shown = f"{refused.value.zh}{refused.value.en}"
    assert str(settings.get("neo4j_password", "?")) not in shown
    return refused.value


@pytest.mark.parametrize("url", ["127.0.0.1:7687", "http://127.0.0.1:7474", "bolt://", "bolt://h:1/db", "bolt://h:x", "neo4j://u:secret@h:7687", "bolt://h?a=b"])
def test_an_address_that_is_none_is_refused_at_the_start(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("QZBRAIN_DATA", str(tmp_path))
    monkeypatch.setenv("NEO4J_URL", url)
    with pytest.raises(SettingsInvalid) as refused:
        load_settings()
    assert refused.value.param == "neo4j_url"
    assert "secret" not in refused.value.zh + refused.value.en


@pytest.mark.parametrize("scheme", ["bolt", "bolt+s", "bolt+ssc", "neo4j", "neo4j+s", "neo4j+ssc"])
def test_every_scheme_is_taken(scheme: str) -> None:
    assert Settings(neo4j_url=f"{scheme}://db.internal:7687").neo4j_url
    assert "p@ss" not in repr(Settings(neo4j_password="p@ss"))


def test_without_the_driver_nothing_starts_and_the_command_is_named(make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'qzbrain\[neo4j\]'") as refused:
        build(make_settings(neo4j_url="bolt://127.0.0.1:1"))
    assert "pip install 'qzbrain[neo4j]'" in refused.value.zh
    build(make_settings()).close()


def test_where_nobody_listens_sql_answers_at_once(database: Database) -> None:
    to = link_of({"neo4j_url": f"bolt://127.0.0.1:{free_port()}", "neo4j_password": "p@ss"})
    store = MirroredGraph(database, Mirror(database, to))
    store.add("kb", FACTS)
    with database.write() as connection:
        from qzbrain.graph.changes import follow

        follow(connection, "kb")
    begun = time.monotonic()
    assert store.stats("kb").triples == 1 and store.standing_in == "neo4j_unreachable"
    assert time.monotonic() - begun < 4.5
    begun = time.monotonic()
    for _ in range(50):
        assert store.search("kb", "甲", limit=1)[0].name == "甲"
    assert time.monotonic() - begun < 2.5, "nobody is sent there again for a while"
    assert store.reads == {"sql": 51}


def test_a_port_that_swallows_everything_costs_the_time_limit_once(database: Database) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(16)
        begun = time.monotonic()
        found = refusal({"neo4j_url": f"bolt://127.0.0.1:{mute.getsockname()[1]}", "neo4j_password": "p@ss"}, read_s=0.5)
        assert found.code in ("neo4j_slow", "neo4j_unreachable") and time.monotonic() - begun < 4


@pytest.mark.servers
class TestAgainstServer:
    def test_who_answers(self, neo4j_server: Neo4jServer) -> None:
        to = link_of(neo4j_server.settings)
        assert to.server().version.startswith("5.26") and to.server().edition == "community"
        to.close()

    def test_a_wrong_password(self, neo4j_server: Neo4jServer) -> None:
        found = refusal({**neo4j_server.settings, "neo4j_password": "falsch-geheim"})
        assert found.code == "neo4j_login_refused" and "NEO4J_PASSWORD" in found.en and "NEO4J_PASSWORD" in found.zh
        (finding,) = neo4j(Settings(**{**neo4j_server.settings, "neo4j_password": "falsch-geheim"}))  # type: ignore[arg-type]
        assert finding.status == "fail" and "falsch-geheim" not in str(finding)

    def test_no_such_database(self, neo4j_server: Neo4jServer) -> None:
        found = refusal({**neo4j_server.settings, "neo4j_database": "missing"})
        assert found.code == "neo4j_no_database" and "missing" in found.en

    def test_a_version_that_is_too_old(self, neo4j_server: Neo4jServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(errors, "LEAST", (6000, 1))
        found = refusal(neo4j_server.settings)
        assert found.code == "neo4j_version" and "5.26" in found.zh and "6000.1" in found.zh

    def test_the_doctor_names_it(self, neo4j_server: Neo4jServer) -> None:
        (finding,) = neo4j(Settings(**neo4j_server.settings))  # type: ignore[arg-type]
        assert finding.status == "ok" and "5.26" in finding.evidence[0]

    def test_a_frozen_server_is_not_waited_for(self, neo4j_server: Neo4jServer, database: Database) -> None:
        to = link_of(neo4j_server.settings, read_s=1.0, rest_s=3.0)
        store = MirroredGraph(database, Mirror(database, to))
        store.add("frozen", FACTS)
        store.mirror.catch_up("frozen")
        self.until_copied(store)
        assert store.reads["neo4j"] == 1, "it is read from there once it is warm, in a second"
        neo4j_server.pause()
        try:
            begun = time.monotonic()
            assert store.search("frozen", "甲", limit=1)[0].name == "甲"
            # once for a second; a slow machine's SQL would take longer than a shorter rest, and ask again and again
            assert time.monotonic() - begun < 3 and store.standing_in == "neo4j_slow"
            assert [t.tail.name for t in store.every_triple("frozen")] == ["乙"]
        finally:
            neo4j_server.resume()
        self.until_copied(store)
        assert store.standing_in == "", "it is asked again when it is back"
        store.mirror.forget("frozen")
        to.close()

    @staticmethod
    def until_copied(store: MirroredGraph) -> None:
        """Ask until the copy answers: a statement's first time on a cold and busy server may take longer than a second."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            assert store.stats("frozen").triples == 1
            if not store.standing_in:
                return
            time.sleep(0.1)
