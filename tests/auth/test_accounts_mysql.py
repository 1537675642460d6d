"""The same accounts on a real MariaDB: what its types and collations could spoil."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from qzbrain.auth.access import Access
from qzbrain.auth.grants import Grant
from qzbrain.auth.passwords import Passwords
from qzbrain.auth.throttle import BY_NAME
from qzbrain.brain import build
from qzbrain.domain import Caller
from qzbrain.errors import AuthenticationRequired, Conflict, NotFound, RateLimited
from qzbrain.settings import Settings
from tests.auth.conftest import CHEAP, GOOD

pytestmark = pytest.mark.servers


def test_accounts_on_mariadb(mysql: dict[str, object], make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qzbrain.auth.accounts.Passwords", lambda: Passwords(CHEAP))
    brain = build(make_settings(qzbrain_accounts="on", **mysql))
    accounts = brain.accounts
    root = Caller(accounts.setup.finish(accounts.setup.link().partition("token=")[2], "root", GOOD), "root")
    ann = Caller(accounts.users.create(root, name="ann", password=GOOD, role="editor").id, "ann")
    for near in ("ANN", "ann"):
        with pytest.raises(Conflict):
            accounts.users.create(root, name=near)
    accounts.users.create(root, name="änn")  # another name
    with pytest.raises(NotFound):
        accounts.users.user(root, "ann\t")
    accounts.groups.create(root, name="law", members=["ann"])
    kb = brain.knowledge.create(root, name="k")
    accounts.grants.put(root, "k", grants=[Grant("write", group="law"), Grant("read", group="everyone")], level="internal")
    assert brain.access.allows(ann, "write", kb.id)
    assert Access(brain.db).allows(ann, "write", kb.id)
    made, secret = accounts.keyring.create(ann, name="k", knowledge_bases=["k"], right="read")
    program = brain.api_keys.caller(secret, "zh", "")
    assert program is not None
    assert program.only_in == {kb.id}
    assert brain.api_keys.alive([made.id]) == {made.id}
    token, _ = accounts.sign_in.sign_in("ann", GOOD, address="::1", agent="🙂" * 300)
    session = brain.sessions.caller(token, "zh", "")
    assert session is not None
    assert brain.sessions.alive([session.session_id]) == {session.session_id}
    for _ in range(BY_NAME.free):
        with pytest.raises(AuthenticationRequired):
            accounts.sign_in.sign_in("ann", "wrong wrong wrong", address="::1")
    with pytest.raises(RateLimited):
        accounts.sign_in.sign_in("ann", GOOD, address="::1")
    secret, _ = accounts.codes.begin(ann.id, "ann")
    with pytest.raises(Conflict):
        accounts.users.delete(root, "root")
    accounts.users.delete(root, "ann")
    assert not brain.access.allows(ann, "read", kb.id)
    assert brain.sessions.caller(token, "zh", "") is None
    brain.close()
