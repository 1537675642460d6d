"""What one user or key may take: requests a minute, answers at a time, storage; and who has no bound."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import insert, select, update

from qzbrain import metrics
from qzbrain.auth.standing import access_changed
from qzbrain.brain import Brain, build
from qzbrain.chat.plan import Ask
from qzbrain.domain import Caller, utc_now
from qzbrain.errors import RateLimited
from qzbrain.settings import Settings
from qzbrain.storage.tables import documents, users
from qzbrain.web.app import create_app

Open = Callable[..., tuple[Brain, FlaskClient, dict[str, str]]]


@pytest.fixture
def opened(make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> Open:
    def make(**settings: Any) -> tuple[Brain, FlaskClient, dict[str, str]]:
        monkeypatch.setattr(metrics, "REGISTRY", type(metrics.REGISTRY)(auto_describe=False))
        brain = build(make_settings(qzbrain_accounts="on", **settings))
        keys = {}
        for name in ("a", "b"):
            row = {"id": name, "name": name, "role": "administrator", "clearance": 4, "recovery": [], "created_at": utc_now()}
            with brain.db.write() as connection:
                connection.execute(insert(users).values(row))
                access_changed(connection)
            keys[name] = brain.api_keys.create(name, "test")[1]
        return brain, create_app(brain).test_client(), keys

    return make


def with_key(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_a_user_has_a_bound_over_all_his_keys_and_others_do_not_feel_it(opened: Open) -> None:
    brain, client, keys = opened(requests_per_minute=5)
    other_key = brain.api_keys.create("a", "second")[1]
    replies = [client.get("/api/jobs", headers=with_key(keys["a"] if i % 2 else other_key)) for i in range(7)]
    assert [one.status_code for one in replies] == [200] * 5 + [429] * 2
    assert 0 < int(replies[-1].headers["Retry-After"]) <= 60
    assert replies[-1].json["error"]["code"] == "request_limit_exceeded"
    assert client.get("/api/jobs", headers=with_key(keys["b"])).status_code == 200
    assert client.get("/healthz").status_code == 200


def test_a_key_may_have_a_bound_of_its_own(opened: Open) -> None:
    brain, client, keys = opened()
    narrow = brain.api_keys.create("a", "narrow", requests_per_minute=2)[1]
    assert [client.get("/api/jobs", headers=with_key(narrow)).status_code for _ in range(3)] == [200, 200, 429]
    assert [client.get("/api/jobs", headers=with_key(keys["a"])).status_code for _ in range(9)] == [200] * 9


def test_answers_at_a_time_are_bounded_by_user_and_given_back(opened: Open) -> None:
    brain, _, _ = opened(answers_per_user=2)
    who, other = Caller("a", "a"), Caller("b", "b")
    ask = Ask("你好", model="extractive", origin="api")
    turns = [brain.chat.begin(who, ask) for _ in range(2)]
    with pytest.raises(RateLimited) as refused:
        brain.chat.begin(who, ask)
    assert (refused.value.code, refused.value.retry_after_s) == ("too_many_answers", 5)
    brain.chat.begin(other, ask)
    list(brain.chat.answer(turns[0]))
    third = brain.chat.begin(who, ask)
    run = brain.chat.answer(turns[1])
    next(run)
    run.close()  # the client left
    fourth = brain.chat.begin(who, ask)
    with pytest.raises(RateLimited):
        brain.chat.begin(who, ask)
    for turn in (third, fourth):
        list(brain.chat.answer(turn))
    for _ in range(5):  # a question that is refused for another reason takes no place
        with pytest.raises(Exception, match="model"):
            brain.chat.begin(who, Ask("你好", model="nothing", origin="api"))
    brain.chat.begin(who, ask)


def test_the_local_user_has_no_bound(make_settings: Callable[..., Settings]) -> None:
    brain = build(make_settings(answers_per_user=1, requests_per_minute=1))
    who = brain.access.local_caller()
    assert len([brain.chat.begin(who, Ask("你好", model="extractive", origin="api")) for _ in range(5)]) == 5


def test_storage_counts_a_users_own_documents(opened: Open) -> None:
    brain, client, keys = opened(storage_per_user_mb=1)
    assert client.post("/api/knowledge-bases", json={"name": "kb"}, headers=with_key(keys["a"])).status_code == 201

    def upload(user: str, letter: str, size: int) -> Any:
        data = {"file": (BytesIO(letter.encode() * size), f"{letter}.txt")}
        return client.post("/api/knowledge-bases/kb/documents", data=data, headers=with_key(keys[user]))

    assert upload("a", "x", 700_000).status_code == 202
    refused = upload("a", "y", 700_000)
    assert (refused.status_code, refused.json["error"]["code"]) == (413, "storage_exceeded")
    assert upload("b", "y", 700_000).status_code == 202  # his own bound
    owners = {row.name: row.owner for row in brain.db.rows(select(documents.c.name, documents.c.owner))}
    assert owners == {"x.txt": "a", "y.txt": "b"}
    assert upload("b", "x", 200_000).status_code == 202
    with brain.db.write() as connection:
        connection.execute(update(users).where(users.c.id == "a").values(storage_mb=2))
    assert upload("a", "z", 700_000).status_code == 202
    (first,) = [row.id for row in brain.db.rows(select(documents.c.id).where(documents.c.name == "z.txt"))]
    before = brain.storage_shares.used_bytes("a")
    assert client.delete(f"/api/documents/{first}", headers=with_key(keys["a"])).status_code == 204
    assert brain.storage_shares.used_bytes("a") == before - 700_000
