"""Accounts over HTTP and Socket.IO: who may come in, what his cookie is like, and how soon he is out again."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import socketio
from engine import Engine
from flask import Flask
from flask.testing import FlaskClient
from pydantic import BaseModel
from socketio.exceptions import ConnectionError as Refused
from sqlalchemy import update
from web_process import WebProcess, eventually, read_all

from qzbrain import metrics
from qzbrain.auth.passwords import Cost, Passwords
from qzbrain.brain import Brain, build
from qzbrain.settings import Settings
from qzbrain.storage.tables import sessions
from qzbrain.web import account_shapes as shapes
from qzbrain.web.app import create_app
from qzbrain.web.rights import NEEDS

GOOD = "vier graue Kraniche"


@pytest.fixture
def with_accounts(make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> Iterator[Brain]:
    monkeypatch.setattr("qzbrain.auth.accounts.Passwords", lambda: Passwords(Cost(memory_kib=64, passes=1)))
    made = build(make_settings(qzbrain_accounts="on"))
    yield made
    made.close()


@pytest.fixture
def application(with_accounts: Brain, monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.setattr(metrics, "REGISTRY", type(metrics.REGISTRY)(auto_describe=False))
    return create_app(with_accounts)


@pytest.fixture
def root(application: Flask, with_accounts: Brain) -> FlaskClient:
    """The first administrator, signed in."""
    client = application.test_client()
    token = with_accounts.accounts.setup.link().partition("token=")[2]
    assert client.post("/api/setup", json={"token": token, "username": "root", "password": GOOD}).status_code == 201
    return client


def signed_in(application: Flask, root: FlaskClient, name: str, **given: Any) -> FlaskClient:
    assert root.post("/api/users", json={"username": name, "password": GOOD, **given}).status_code == 201
    client = application.test_client()
    assert client.post("/api/session", json={"username": name, "password": GOOD}).status_code == 200
    return client


def code(reply: Any) -> str:
    return str(reply.json["error"]["code"])


def fits(model: type[BaseModel], value: Any) -> bool:
    """Whether a reply is just what /openapi.json says of it."""
    return set(value) == set(model.model_fields) and model.model_validate(value) is not None


def test_every_route_is_declared(application: Flask) -> None:
    rules = {f"{method} {rule.rule}" for rule in application.url_map.iter_rules() for method in rule.methods or () if method not in ("HEAD", "OPTIONS")}
    assert rules == set(NEEDS)


def test_nobody_may_do_nothing_but_sign_in(application: Flask) -> None:
    client, refused = application.test_client(), 0
    for rule, need in NEEDS.items():
        method, path = rule.split()
        path = re.sub(r"<[^>]+>", "x", path)
        reply = client.open(path, method=method)
        if need == "nobody":
            assert reply.status_code != 401, rule
        else:
            assert (reply.status_code, code(reply)) == (401, "authentication_required"), rule
            refused += 1
    assert refused > 100


def test_who_asks_is_told_to_nobody_too(application: Flask, root: FlaskClient) -> None:
    told = application.test_client().get("/api/session").json
    assert fits(shapes.SessionReply, told)
    assert (told["accounts"], told["signed_in"], told["user"], told["setup_needed"]) == (True, False, None, False)
    told = root.get("/api/session").json
    assert fits(shapes.SessionUser, told["user"])
    assert (told["signed_in"], told["user"]["role"], told["user"]["clearance"], told["must_change"]) == (True, "administrator", "top_secret", False)
    assert told["languages"] == ["zh", "en"]


def test_without_accounts_there_is_the_local_user(client: FlaskClient) -> None:
    told = client.get("/api/session").json
    assert fits(shapes.SessionReply, told)
    assert (told["accounts"], told["signed_in"], told["user"]["id"]) == (False, True, "local")
    for path in ("/api/session/password", "/api/session/totp"):
        reply = client.post(path, json={"old": "x", "new": "y"} if path.endswith("password") else {"password": "x"})
        assert (reply.status_code, code(reply)) == (409, "accounts_off")
    assert code(client.post("/api/session", json={"username": "x", "password": "y"})) == "accounts_off"
    assert client.post("/api/users", json={"username": "ann"}).status_code == 201  # to prepare what is to come


def test_the_cookie_is_out_of_reach(application: Flask, root: FlaskClient, with_accounts: Brain) -> None:
    reply = application.test_client().post("/api/session", json={"username": "root", "password": GOOD})
    cookie = reply.headers["Set-Cookie"]
    assert cookie.startswith("qzbrain_session_9025=")
    assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    over_tls = application.test_client().post("/api/session", json={"username": "root", "password": GOOD}, base_url="https://localhost")
    assert "Secure" in over_tls.headers["Set-Cookie"].split("; ")
    for text in (reply.get_data(as_text=True), repr(with_accounts.db.rows(sessions.select()))):
        assert cookie.split(";")[0].partition("=")[2] not in text


def test_a_page_of_another_site_cannot_use_the_cookie(root: FlaskClient) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        reply = root.post("/api/knowledge-bases", json={"name": "k"}, headers=headers)
        assert (reply.status_code, code(reply)) == (403, "origin_refused")
        assert code(root.post("/api/session", json={"username": "root", "password": GOOD}, headers=headers)) == "origin_refused"
    assert root.post("/api/knowledge-bases", json={"name": "k"}, headers={"Origin": "http://localhost"}).status_code == 201


def test_signing_in_again_leaves_no_session_behind(root: FlaskClient) -> None:
    for _ in range(3):
        root.post("/api/session", json={"username": "root", "password": GOOD})
    assert len(root.get("/api/session/all").json["data"]) == 1


def test_signing_out(application: Flask, root: FlaskClient) -> None:
    other = application.test_client()
    other.post("/api/session", json={"username": "root", "password": GOOD})
    found = root.get("/api/session/all").json["data"]
    assert all(fits(shapes.OwnSession, one) for one in found)
    assert [one["current"] for one in found].count(True) == 1
    assert root.delete("/api/session").status_code == 204
    assert root.get("/api/users").status_code == 401
    assert root.delete("/api/session").status_code == 204
    assert other.delete("/api/session/all").json == {"ended": 1}
    assert other.get("/api/users").status_code == 401


def test_a_token_is_replaced_while_it_is_used(root: FlaskClient, with_accounts: Brain) -> None:
    before = root.get_cookie("qzbrain_session_9025")
    with with_accounts.db.write() as connection:
        connection.execute(update(sessions).values(rotated_at=time.time() - 901))
    assert "Set-Cookie" in root.get("/api/users").headers
    after = root.get_cookie("qzbrain_session_9025")
    assert before is not None
    assert after is not None
    assert before.value != after.value
    assert "Set-Cookie" not in root.get("/api/users").headers
    with with_accounts.db.write() as connection:
        connection.execute(update(sessions).values(rotated_at=time.time() - 901))
    assert root.delete("/api/session").headers["Set-Cookie"].startswith("qzbrain_session_9025=;")  # no new one for who leaves


def test_too_many_attempts_say_when_to_come_back(application: Flask, root: FlaskClient) -> None:
    client = application.test_client()
    replies = [client.post("/api/session", json={"username": "root", "password": "wrong wrong wrong"}) for _ in range(6)]
    assert [one.status_code for one in replies] == [401] * 5 + [429]
    assert int(replies[-1].headers["Retry-After"]) >= 1


def test_who_must_choose_a_password_may_do_nothing_else(application: Flask, root: FlaskClient) -> None:
    client = signed_in(application, root, "ann", must_change=True)
    assert client.get("/api/session").json["must_change"] is True
    for path in ("/api/knowledge-bases", "/api/conversations", "/api/api-keys"):
        assert client.get(path).status_code == 403
    assert code(client.post("/api/session/password", json={"old": GOOD, "new": "short"})) == "password_refused"
    assert client.post("/api/session/password", json={"old": GOOD, "new": "neun weisse Kraniche"}).status_code == 204
    assert client.get("/api/session").json["must_change"] is False
    assert client.get("/api/knowledge-bases").status_code == 200


def test_a_password_by_a_link(application: Flask, root: FlaskClient) -> None:
    assert root.post("/api/users", json={"username": "ann"}).json["password"] is False
    link = root.post("/api/users/ann/link").json
    assert fits(shapes.LinkReply, link)
    assert link["url"] == f"http://127.0.0.1:9025/password?token={link['token']}"
    client = application.test_client()
    body = {"token": link["token"], "password": "neun weisse Kraniche"}
    assert client.post("/api/session/link", json=body).json == {"username": "ann"}
    assert (client.post("/api/session/link", json=body).status_code, code(client.post("/api/session/link", json=body))) == (404, "link_unknown")
    assert client.post("/api/session", json={"username": "ann", "password": body["password"]}).status_code == 200


def test_one_time_codes(application: Flask, root: FlaskClient) -> None:
    from qzbrain.auth import totp

    client = signed_in(application, root, "ann")
    assert code(client.post("/api/session/totp", json={})) == "invalid_value"
    assert code(client.post("/api/session/totp", json={"password": "wrong wrong wrong"})) == "credentials_wrong"
    begun = client.post("/api/session/totp", json={"password": GOOD}).json
    assert fits(shapes.TotpReply, begun)
    now = totp.code_at(begun["secret"], int(time.time()) // 30)
    recovery = client.post("/api/session/totp", json={"code": now}).json["recovery_codes"]
    assert len(recovery) == 10
    again = {"username": "ann", "password": GOOD}
    assert code(application.test_client().post("/api/session", json=again)) == "totp_required"
    assert code(application.test_client().post("/api/session", json={**again, "totp": now})) == "totp_wrong"  # it is used up
    assert application.test_client().post("/api/session", json={**again, "totp": recovery[0]}).status_code == 200
    assert client.delete("/api/session/totp", json={"password": GOOD}).status_code == 204
    assert application.test_client().post("/api/session", json=again).status_code == 200


def test_users_groups_and_rights(application: Flask, root: FlaskClient) -> None:
    ann = signed_in(application, root, "ann", role="editor", display_name="安")
    assert fits(shapes.UserReply, root.get("/api/users/ann").json)
    group = root.post("/api/groups", json={"name": "law", "members": ["ann"]}).json
    assert fits(shapes.GroupReply, group)
    root.post("/api/knowledge-bases", json={"name": "k"})
    assert ann.get("/api/knowledge-bases/k").status_code == 404
    rights = {"grants": [{"group": "law", "right": "write"}], "level": "internal"}
    given = root.put("/api/knowledge-bases/k/rights", json=rights).json
    assert fits(shapes.RightsReply, given)
    assert given["grants"] == [{"user": None, "group": "law", "id": group["id"], "right": "write"}]
    assert ann.get("/api/knowledge-bases/k").status_code == 200
    assert ann.get("/api/knowledge-bases/k/rights").status_code == 403
    assert ann.get("/api/users").status_code == 403
    manager = signed_in(application, root, "max", role="manager")
    seen = {one["username"]: one for one in manager.get("/api/users").json["data"]}
    assert all(fits(shapes.UserReply, one) for one in seen.values())
    assert {name: one["role"] for name, one in seen.items()} == {"ann": None, "root": None, "max": "manager"}
    assert manager.get("/api/groups").json["data"][0]["members"] == []
    assert ann.get("/api/users/ann").json["display_name"] == "安"
    assert ann.post("/api/users", json={"username": "x"}).status_code == 403
    assert root.patch("/api/groups/law", json={"members": []}).json["members"] == []
    assert ann.get("/api/knowledge-bases/k").status_code == 404
    names = [one["username"] for one in root.get("/api/users?limit=1").json["data"]]
    page = root.get("/api/users", query_string={"limit": 1, "after": names[0]}).json
    assert (names, [one["username"] for one in page["data"]], page["has_more"]) == (["ann"], ["max"], True)
    assert root.patch("/api/users/ann", json={"disabled": True}).json["disabled"] is True
    assert ann.get("/api/knowledge-bases").status_code == 401
    assert root.post("/api/users/root/sign-out").json == {"ended": 1}
    assert root.get("/api/users").status_code == 401


def test_keys(application: Flask, root: FlaskClient) -> None:
    ann = signed_in(application, root, "ann", role="manager")
    ann.post("/api/knowledge-bases", json={"name": "k"})
    made = ann.post("/api/api-keys", json={"name": "script", "right": "read", "knowledge_bases": ["k"]}).json
    assert fits(shapes.KeyMade, made)
    listed = ann.get("/api/api-keys").json["data"]
    assert listed == [{key: value for key, value in made.items() if key != "key"}]
    program, bearer = application.test_client(), {"Authorization": f"Bearer {made['key']}"}
    assert program.get("/api/knowledge-bases/k", headers=bearer).status_code == 200
    assert program.delete("/api/knowledge-bases/k", headers=bearer).status_code == 403
    assert code(program.post("/api/session/password", json={"old": GOOD, "new": "x"}, headers=bearer)) == "session_needed"
    assert code(program.post("/api/api-keys", json={"name": "wider"}, headers=bearer)) == "key_is_narrow"
    assert ann.get("/api/api-keys?all=true").status_code == 403
    assert [one["username"] for one in root.get("/api/api-keys?all=true").json["data"]] == ["ann"]
    assert root.get("/api/api-keys").json["data"] == []
    assert ann.patch(f"/api/api-keys/{made['id']}", json={"name": "renamed"}).json["name"] == "renamed"
    assert ann.delete(f"/api/api-keys/{made['id']}").status_code == 204
    assert (program.get("/api/session", headers=bearer).status_code, code(program.get("/api/session", headers=bearer))) == (401, "key_unknown")


# -- two real processes over one data folder


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, scripted: Engine) -> Iterator[tuple[WebProcess, WebProcess]]:
    folder, settings = tmp_path_factory.mktemp("accounts"), {"QZBRAIN_ACCOUNTS": "on"}
    config = f'[models.scripted]\nengine = "external"\nbase_url = "{scripted.base_url}"\nslots = 50\nqueue = 50\n'
    one = WebProcess(folder, config, settings=settings).start()
    other = WebProcess(folder, beside=one, settings=settings).start()
    yield one, other
    one.stop()
    other.stop()


@pytest.fixture
def beside(pair: tuple[WebProcess, WebProcess]) -> Iterator[Brain]:
    """A brain of the test's own over the processes' data, as the command line has it."""
    made = build(Settings(qzbrain_data=pair[0].data, qzbrain_embedder="none", qzbrain_accounts="on"))
    yield made
    made.close()


@pytest.fixture
def user(beside: Brain) -> Iterator[str]:
    """A user with the password GOOD."""
    local = beside.access.local_caller()
    name = f"user{time.monotonic_ns()}"
    beside.accounts.users.create(local, name=name, password=GOOD)
    yield name


def connected(web: WebProcess, *, cookie: str = "", key: str = "") -> socketio.SimpleClient:
    client = socketio.SimpleClient()
    headers = {"Cookie": f"qzbrain_session_{web.port}={cookie}"} if cookie else {}
    client.connect(web.url, transports=["websocket"], headers=headers, auth={"token": key} if key else None)
    return client


def gone_within(client: socketio.SimpleClient, seconds: float) -> None:
    """The server has closed the connection; the client would come again, and is refused."""
    client.client.reconnection = False
    eventually(lambda: not client.client.connected, within_s=seconds)


def test_a_websocket_needs_a_session_or_a_key(pair: tuple[WebProcess, WebProcess], beside: Brain, user: str) -> None:
    web = pair[0]
    for given in ({}, {"cookie": "x"}, {"key": "qzb_x"}, {"key": "x"}):
        with pytest.raises(Refused):
            connected(web, **given)
    _, secret = beside.accounts.keyring.create(beside.access.local_caller(), name="k", user=user)
    with connected(web, key=secret) as client:
        assert client.call("chat:stop", {"message_id": "nothing"}, timeout=10)["error"]["code"] == "message_not_found"
    foreign = socketio.SimpleClient()
    with pytest.raises(Refused):
        foreign.connect(web.url, transports=["websocket"], headers={"Origin": "http://evil.example"}, auth={"token": secret})


def test_a_key_that_is_deleted_is_refused_within_a_second_in_both_processes(pair: tuple[WebProcess, WebProcess], beside: Brain, user: str) -> None:
    local = beside.access.local_caller()
    made, secret = beside.accounts.keyring.create(local, name="k", user=user)
    bearer = {"Authorization": f"Bearer {secret}"}
    clients = [connected(web, key=secret) for web in pair]
    assert [web.call("GET", "/api/knowledge-bases", **bearer)[0] for web in pair] == [200, 200]
    beside.accounts.keyring.delete(local, made.id)
    assert [web.call("GET", "/api/knowledge-bases", **bearer)[0] for web in pair] == [401, 401]
    for client in clients:
        gone_within(client, 1.0)


def test_a_session_that_ends_takes_its_connections_with_it(pair: tuple[WebProcess, WebProcess], beside: Brain, user: str) -> None:
    web = pair[0]
    token, user_id = beside.accounts.sign_in.sign_in(user, GOOD)
    other, _ = beside.accounts.sign_in.sign_in(user, GOOD)
    mine, stays = connected(web, cookie=token), connected(web, cookie=other)
    found = beside.sessions.caller(token, "zh", "")
    assert found is not None
    beside.sessions.close(found.session_id)
    gone_within(mine, 1.0)
    assert stays.call("chat:stop", {"message_id": "nothing"}, timeout=10)["error"]["code"] == "message_not_found"
    beside.accounts.users.update(beside.access.local_caller(), user_id, disabled=True)
    gone_within(stays, 1.0)


def test_an_event_after_the_end_is_refused_before_the_connection_is_closed(pair: tuple[WebProcess, WebProcess], beside: Brain, user: str) -> None:
    token, user_id = beside.accounts.sign_in.sign_in(user, GOOD)
    client = connected(pair[0], cookie=token)
    beside.sessions.close_all(user_id)
    try:
        reply = client.call("chat", {"message": "你好"}, timeout=2)
    except Exception:  # closed already: as good
        return
    assert reply["error"]["code"] == "authentication_required"


def test_an_answer_on_its_way_ends_with_the_key_that_asked(pair: tuple[WebProcess, WebProcess], beside: Brain, user: str, scripted: Engine) -> None:
    local = beside.access.local_caller()
    made, secret = beside.accounts.keyring.create(local, name="k", user=user)
    _, other = beside.accounts.keyring.create(local, name="stays", user=user)
    streams = {}
    for name, key in (("ends", secret), ("stays", other)):
        scripted.script(["字"] * (600 if name == "ends" else 60), user=f"key-{name}", delay_s=0.05)
        body = {"model": "scripted@none", "stream": True, "user": f"key-{name}", "messages": [{"role": "user", "content": "x"}]}
        streams[name] = pair[1].open_stream(body, Authorization=f"Bearer {key}")
        assert streams[name].recv(65536).startswith(b"HTTP/1.1 200")
    begun = time.monotonic()
    beside.accounts.keyring.delete(local, made.id)
    read_all(streams["ends"])
    assert time.monotonic() - begun < 4  # 1 s, and some for a busy machine; all of it would take 30
    assert read_all(streams["stays"]).count("字".encode()) > 40


def test_signing_in_over_a_real_server(pair: tuple[WebProcess, WebProcess], user: str) -> None:
    one, other = pair
    status, told = one.call("POST", "/api/session", {"username": user, "password": GOOD})
    assert (status, told["user"]["username"]) == (200, user)
    for web in (one, other, one, other, one):
        assert web.call("POST", "/api/session", {"username": user, "password": "wrong wrong wrong"})[0] == 401
    assert other.call("POST", "/api/session", {"username": user, "password": GOOD})[0] == 429
