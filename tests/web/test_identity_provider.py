"""Signing in by OpenID Connect, against a provider that keeps to the protocol and against one that does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from qzbrain import metrics
from qzbrain.auth.passwords import Cost, Passwords
from qzbrain.brain import Brain, build
from qzbrain.settings import Settings
from qzbrain.storage.tables import users
from qzbrain.web.app import create_app
from tests.servers.identity_provider import IdentityProvider

GOOD = "vier graue Kraniche"


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    made = IdentityProvider()
    yield made
    made.close()


@pytest.fixture
def known(make_settings: Callable[..., Settings], provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[Brain]:
    monkeypatch.setattr("qzbrain.auth.accounts.Passwords", lambda: Passwords(Cost(memory_kib=64, passes=1)))
    made = build(make_settings(qzbrain_accounts="on", **provider.settings))
    made.accounts.users.create(made.access.local_caller(), name="root", password=GOOD, role="administrator")
    yield made
    made.close()


@pytest.fixture
def application(known: Brain, monkeypatch: pytest.MonkeyPatch) -> Flask:
    monkeypatch.setattr(metrics, "REGISTRY", type(metrics.REGISTRY)(auto_describe=False))
    return create_app(known)


def come_back(client: FlaskClient, provider: IdentityProvider) -> str:
    """Begin, sign in at the provider, come back; gives where the browser is sent then."""
    sent = client.get("/api/session/oidc")
    assert sent.status_code == 302 and "HttpOnly" in sent.headers["Set-Cookie"]
    back = urlsplit(provider.authorise(sent.headers["Location"]))
    reply = client.get(f"{back.path}?{back.query}")
    assert reply.status_code == 302
    return reply.headers["Location"]


def test_somebody_whom_the_provider_knows_is_signed_in(application: Flask, known: Brain, provider: IdentityProvider) -> None:
    client, local = application.test_client(), known.access.local_caller()
    known.accounts.groups.create(local, name="law")
    assert client.get("/api/session").json["oidc"] is True
    assert come_back(client, provider) == "/"
    shown = client.get("/api/session").json
    assert shown["signed_in"] and shown["user"]["username"] == "zhang" and shown["user"]["display_name"] == "张三"
    assert [one["name"] for one in shown["user"]["groups"]] == ["law"]
    row = known.db.rows(select(users).where(users.c.name == "zhang"))[0]
    assert (row.role, row.password, row.external) == ("reader", "", f"oidc:{provider.issuer}|u-1")
    assert come_back(application.test_client(), provider) == "/"
    assert len(known.db.rows(select(users.c.id))) == 2


@pytest.mark.parametrize("fault", ["nonce", "audience", "expired", "token_issuer", "signature", "unsigned", "key"])
def test_a_token_that_is_not_what_it_should_be_signs_nobody_in(fault: str, application: Flask, known: Brain, provider: IdentityProvider) -> None:
    client = application.test_client()
    provider.broken = fault
    assert come_back(client, provider) == "/?failed=provider_refused"
    assert client.get("/api/session").json["signed_in"] is False
    assert len(known.db.rows(select(users.c.id))) == 1


def test_what_was_not_begun_in_this_browser_is_not_ended_in_it(application: Flask, provider: IdentityProvider) -> None:
    attacker, victim = application.test_client(), application.test_client()
    back = urlsplit(provider.authorise(attacker.get("/api/session/oidc").headers["Location"]))
    assert victim.get(f"{back.path}?{back.query}").headers["Location"] == "/?failed=sign_in_not_begun"
    victim.get("/api/session/oidc")
    assert victim.get(f"{back.path}?{back.query}").headers["Location"] == "/?failed=sign_in_not_begun"
    assert victim.get("/api/session").json["signed_in"] is False


def test_a_code_counts_once(application: Flask, provider: IdentityProvider) -> None:
    client = application.test_client()
    back = urlsplit(provider.authorise(client.get("/api/session/oidc").headers["Location"]))
    cookie = client.get_cookie(f"qzbrain_oidc_{9025}", path="/api/session/oidc")
    assert client.get(f"{back.path}?{back.query}").headers["Location"] == "/"
    other = application.test_client()
    assert cookie is not None
    other.set_cookie(cookie.key, cookie.value, path="/api/session/oidc")
    assert other.get(f"{back.path}?{back.query}").headers["Location"] == "/?failed=provider_refused"


def test_who_pressed_cancel_comes_back_to_the_sign_in(application: Flask, provider: IdentityProvider) -> None:
    client = application.test_client()
    client.get("/api/session/oidc")
    assert client.get("/api/session/oidc/callback?error=access_denied&state=x").headers["Location"].startswith("/?failed=")


def test_a_local_account_of_the_same_name_is_not_taken_over(application: Flask, known: Brain, provider: IdentityProvider) -> None:
    provider.claims["preferred_username"] = "root"
    assert come_back(application.test_client(), provider) == "/?failed=name_is_local"


def test_who_was_disabled_here_stays_out(application: Flask, known: Brain, provider: IdentityProvider) -> None:
    come_back(application.test_client(), provider)
    known.accounts.users.update(known.access.local_caller(), "zhang", disabled=True)
    assert come_back(application.test_client(), provider) == "/?failed=account_disabled"


def test_keys_that_the_provider_has_changed_are_asked_for_once(application: Flask, provider: IdentityProvider) -> None:
    assert come_back(application.test_client(), provider) == "/"
    provider.key, provider.key_id = rsa.generate_private_key(public_exponent=65537, key_size=2048), "k2"
    assert come_back(application.test_client(), provider) == "/"
    assert provider.asked.count("/realm/keys") == 2


@pytest.mark.parametrize("fault", ["issuer", "no_json"])
def test_a_provider_that_says_something_else_of_itself_is_away(fault: str, application: Flask, provider: IdentityProvider) -> None:
    provider.broken = fault
    reply = application.test_client().get("/api/session/oidc")
    assert (reply.status_code, reply.json["error"]["code"]) == (503, "provider_away")


def test_a_provider_that_sends_us_elsewhere_is_not_followed(application: Flask, provider: IdentityProvider) -> None:
    provider.broken = "redirect"
    assert come_back(application.test_client(), provider) == "/?failed=provider_away"


def test_without_a_provider_there_is_nothing_there(make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "REGISTRY", type(metrics.REGISTRY)(auto_describe=False))
    made = build(make_settings(qzbrain_accounts="on"))
    client = create_app(made).test_client()
    assert client.get("/api/session").json["oidc"] is False
    for path in ("/api/session/oidc", "/api/session/oidc/callback?state=x&code=y"):
        assert client.get(path).json["error"]["code"] == "no_provider"
    made.close()
