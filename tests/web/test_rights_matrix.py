"""Every route and event × everybody who may ask × levels × ownership: each cell is allowed or refused, and what is hidden answers as what is not there.

What is expected is worked out here, from `rights.NEEDS` and a table of what each caller may, not by `auth.access`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from rights_samples import SAMPLES, Sample
from rights_world import ABSENT, Target, Who, World
from socketio.exceptions import ConnectionRefusedError

from qzbrain import metrics
from qzbrain.auth.access import ANONYMOUS
from qzbrain.brain import build
from qzbrain.domain import RIGHTS
from qzbrain.settings import Settings
from qzbrain.web import engine, rights
from qzbrain.web.app import create_app

LEVELS = (0, 2, 4)
"""Of what is asked for: everybody is cleared for the first, all but one for the second, nobody for the third."""
HIDING = ("knowledge_base_not_found", "document_not_found", "entry_not_found", "job_not_found", "conversation_not_found", "message_not_found")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One brain for all cells; what a request changes is made for it."""
    folder = tmp_path_factory.mktemp("rights")
    (folder / "watched").mkdir()
    made = build(Settings(qzbrain_data=folder / "data", qzbrain_embedder="none", qzbrain_accounts="on", watch_roots=str(folder / "watched")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(metrics, "REGISTRY", type(metrics.REGISTRY)(auto_describe=False))
        app = create_app(made)
    yield World(made, app)
    made.close()


def routes(app: Flask) -> set[str]:
    """All of them, as `NEEDS` writes them."""
    return {f"{method} {rule.rule}" for rule in app.url_map.iter_rules() for method in (rule.methods or ()) if method not in ("HEAD", "OPTIONS")}


def test_every_route_has_declared_what_it_needs_and_has_a_sample_here(world: World) -> None:
    there = routes(world.app)
    assert there - rights.NEEDS.keys() == set()
    assert there - SAMPLES.keys() == set()
    assert SAMPLES.keys() - there == set()


def test_every_event_has_declared_what_it_needs(world: World) -> None:
    server = world.app.extensions["socketio"].server
    assert set(server.handlers["/"]) - {"disconnect"} == rights.EVENTS.keys()


@pytest.mark.parametrize("route", [x for x, one in SAMPLES.items() if one.subject == "nothing"])
def test_what_belongs_to_nobody(world: World, route: str) -> None:
    method, need, sample = route.split()[0], rights.NEEDS[route], SAMPLES[route]
    for who in world.callers:
        status, body = world.ask(who, method, sample.make(world, 0))
        if (refused := gate(who, need)) is not None:
            assert status == refused, (route, who.name, body)
        else:
            assert_allowed(sample, status, body, route, who.name)


@pytest.mark.parametrize("route", [x for x, one in SAMPLES.items() if one.subject in ("kb", "item")])
def test_what_is_in_knowledge_bases(world: World, route: str) -> None:
    method, need, sample = route.split()[0], rights.NEEDS[route], SAMPLES[route]
    for who in world.callers:
        for level in LEVELS:
            target = sample.make(world, level)
            status, body = world.ask(who, method, target)
            cell = route, who.name, level, body
            if (refused := gate(who, need)) is not None:
                assert status == refused, cell
            elif who.right is None or level > who.clearance:
                assert status == 404, cell
                assert_as_if_absent(world, who, method, sample, target, body)
            elif need in RIGHTS and RIGHTS.index(need) > RIGHTS.index(who.right):
                assert status == 403, cell
            else:
                assert_allowed(sample, status, body, *cell[:3])


@pytest.mark.parametrize("route", [x for x, one in SAMPLES.items() if one.subject == "conversation"])
def test_conversations_belong_to_their_owners(world: World, route: str) -> None:
    method, need, sample = route.split()[0], rights.NEEDS[route], SAMPLES[route]
    for who in world.callers:
        for owner in ("own", "shared", "another's"):
            talk, message = world.conversation(who.user_id if owner == "own" else world.ids["other"], shared_with=who.user_id if owner == "shared" else "")
            target = sample.make(world, 0)
            target.url, target.id, target.kb = target.url.replace("{message}", message), talk, world.kb(0)
            status, body = world.ask(who, method, target)
            cell = route, who.name, owner, body
            if (refused := gate(who, need)) is not None:
                assert status == refused, cell
            elif owner == "another's":
                assert status == 404, cell
                assert_as_if_absent(world, who, method, sample, target, body)
            elif owner == "shared" and not (method == "GET" and not route.endswith("/share")):
                assert status == 403, cell
            elif need == "write" and (who.right is None or who.right == "read"):
                assert status == (404 if who.right is None else 403), cell
            else:
                assert_allowed(sample, status, body, *cell[:3])


def test_lists_hold_only_what_may_be_read(world: World) -> None:
    found = {level: world.document(level)[1] for level in LEVELS}
    kb, kbs = world.kb(0), {level: world.kb(level) for level in LEVELS}
    entries = {level: world.entry(level)[1] for level in LEVELS}
    jobs = {level: world.job(level)[1] for level in LEVELS}

    def listed(who: Who, url: str) -> set[str]:
        status, body = world.ask(who, "GET", Target(url))
        assert status == 200, (url, who.name, body)
        return {one["id"] for one in body["data"]}

    for who in world.callers[1:]:
        may = [level for level in LEVELS if who.right is not None and level <= who.clearance]
        assert set(kbs.values()) & listed(who, "/api/knowledge-bases?limit=500") == {kbs[level] for level in may}, who.name
        assert set(jobs.values()) & listed(who, "/api/jobs?limit=500") == {jobs[level] for level in may}, who.name
        names = listed(who, "/v1/models")
        shown = {level for level in LEVELS if f"auto@{world.brain.knowledge.knowledge_base(world.local, kbs[level]).name}" in names}
        assert shown == set(may), who.name
        if who.right is not None:
            assert set(found.values()) & listed(who, f"/api/knowledge-bases/{kb}/documents?limit=500") == {found[level] for level in may}, who.name
            assert set(entries.values()) & listed(who, f"/api/knowledge-bases/{kb}/entries?limit=500") == {entries[level] for level in may}, who.name


def test_counts_are_of_what_may_be_read(world: World) -> None:
    kb = world.kb(0, fresh=True)
    for level in (0, 0, 2, 4):
        world.document(level, kb)
    counts = {}
    for who in world.callers[1:]:
        status, body = world.ask(who, "GET", Target(f"/api/knowledge-bases/{kb}"))
        counts[who.name] = (body["documents"]["total"], body["documents"]["ready"], body["chunks"]) if status == 200 else None
    read = (3, 3, 3)
    assert counts == {
        "stranger": None, "reader": read, "editor": read, "manager": read, "low_administrator": (2, 2, 2), "key_for_reading": read, "key_for_elsewhere": None,
    }  # fmt: skip
    assert world.brain.knowledge.knowledge_base(world.local, kb).documents.total == 4


@pytest.mark.parametrize("event", ["chat", "chat:stop", "chat:resume"])
def test_events(world: World, event: str) -> None:
    server = world.app.extensions["socketio"].server
    for who in world.callers:
        sid = connected(world, who)
        if who.name == "nobody":
            assert sid is None
            continue
        assert sid is not None, who.name

        def send(payload: dict[str, Any], sid: str = sid) -> dict[str, Any]:
            found: dict[str, Any] = server.handlers["/"][event](sid, payload)
            return found

        if event == "chat":
            for level in LEVELS:
                kb = world.kb(level)
                said = send({"message": "你好", "model": f"extractive@{kb}"})
                if who.right is None or level > who.clearance:
                    assert said["error"]["code"] == "knowledge_base_not_found", (who.name, level, said)
                    assert same(said, kb) == same(send({"message": "你好", "model": f"extractive@{ABSENT}"}), ABSENT)
                else:
                    assert said["message_id"], (who.name, level, said)
            continue
        _, theirs = world.conversation(world.ids["other"])
        _, mine = world.conversation(who.user_id)
        said = send({"message_id": theirs})
        assert said["error"]["code"] == "message_not_found", (who.name, said)
        assert same(said, theirs) == same(send({"message_id": ABSENT}), ABSENT)
        assert "error" not in send({"message_id": mine}), who.name


# -- what is expected


def gate(who: Who, need: str) -> int | None:
    """What a route says before it looks at anything: 401, 403, or nothing."""
    if need == "nobody":
        return None
    if who.role is None:
        return 401
    return 403 if (need == "create" and not who.creates) or (need == "administer" and not who.rules) else None


def assert_allowed(sample: Sample, status: int, body: Any, *cell: object) -> None:
    """It did what was asked, or said why not without a word of rights."""
    code = body["error"]["code"] if isinstance(body, dict) and "error" in body else ""
    assert status != 401, (*cell, body)
    assert status != 403 or code in sample.refusals, (*cell, body)
    assert status < 500 or status == 503, (*cell, status, body)
    assert status != 404 or (code in sample.missing and code not in HIDING), (*cell, status, body)


def assert_as_if_absent(world: World, who: Who, method: str, sample: Sample, target: Target, body: Any) -> None:
    """The same request on what is not there gets the same reply, word for word but for the id."""
    again = sample.make(world, 0)
    absent = Target(target.url, again.json, again.data, kb=target.kb, id=target.id)
    if ("{kb}" in target.url + json.dumps(target.json) and sample.subject == "kb") or (who.right is None and "{kb}" in target.url):
        absent.kb = ABSENT
    else:
        absent.id = ABSENT
    status, said = world.ask(who, method, absent)
    assert status == 404
    assert same(body, target.kb, target.id) == same(said, ABSENT, target.id, target.kb)


def same(body: Any, *ids: str) -> str:
    """A reply without these ids."""
    text = json.dumps(body, ensure_ascii=False)
    for one in ids:
        text = text.replace(one, "…") if one else text
    return text


def connected(world: World, who: Who) -> str | None:
    """The id of a connection of somebody; None for one that was refused."""
    sid = f"sid-{who.name}"
    wire = SimpleNamespace(backlog=0, broken=False, write=lambda data: None, on_drained=lambda call: None)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET", "HTTP_HOST": "127.0.0.1", "HTTP_ACCEPT_LANGUAGE": "en", "QUERY_STRING": "", "REMOTE_ADDR": "127.0.0.1",
        engine.SESSION: SimpleNamespace(wire=wire, close=lambda: None),
    }  # fmt: skip
    token = who.headers.get("Authorization", "").removeprefix("Bearer ")
    try:
        world.app.extensions["chat_sockets"].connect(sid, environ, {"token": token} if token else None)
    except ConnectionRefusedError:
        return None
    assert who.name != ANONYMOUS
    return sid
