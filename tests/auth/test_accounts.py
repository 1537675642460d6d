"""Users, groups, rights and keys as services: who may, and what stays true of all of them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from qzbrain.auth.grants import Grant
from qzbrain.auth.keys import ApiKeys
from qzbrain.brain import Brain, build
from qzbrain.domain import Caller
from qzbrain.errors import BrainError, Conflict, InvalidRequest, NotFound, PermissionRefused
from qzbrain.storage.tables import api_keys, group_members, kb_grants, links, sessions
from tests.auth.conftest import GOOD, Clock


def code_of(attempt) -> str:
    with pytest.raises(BrainError) as refused:
        attempt()
    return refused.value.code


@pytest.fixture
def root(new) -> Caller:
    return new("root", "administrator", "top_secret")


def test_only_administrators_rule_over_accounts(accounts_brain: Brain, new, root: Caller) -> None:
    users, groups = accounts_brain.accounts.users, accounts_brain.accounts.groups
    for role in ("reader", "editor", "manager"):
        who = new(role, role)
        for attempt in (
            lambda: users.create(who, name="x"),  # noqa: B023
            lambda: users.update(who, who.id, role="administrator"),  # noqa: B023
            lambda: users.delete(who, "root"),  # noqa: B023
            lambda: users.link(who, "root"),  # noqa: B023
            lambda: users.sign_out(who, "root"),  # noqa: B023
            lambda: groups.create(who, name="g"),  # noqa: B023
        ):
            with pytest.raises(PermissionRefused):
                attempt()
        assert users.user(who, who.id).username == role
    with pytest.raises(PermissionRefused):
        users.users(new("other"))
    seen = {one.username: one for one in users.users(Caller(users.user(root, "manager").id, ""))}
    assert (seen["root"].name_only, seen["manager"].name_only) == (True, False)


def test_nobody_gives_more_clearance_than_he_has(accounts_brain: Brain, new, root: Caller) -> None:
    users, lesser = accounts_brain.accounts.users, new("lesser", "administrator", "confidential")
    low, high = new("low"), new("high", "reader", "secret")
    assert code_of(lambda: users.create(lesser, name="x", clearance="secret")) == "level_refused"
    assert code_of(lambda: users.update(lesser, low.id, clearance="secret")) == "level_refused"
    assert code_of(lambda: users.update(lesser, lesser.id, clearance="top_secret")) == "level_refused"
    for attempt in (
        lambda: users.update(lesser, high.id, password="neun weisse Kraniche"),
        lambda: users.update(lesser, high.id, totp=False),
        lambda: users.update(lesser, high.id, disabled=True, password="neun weisse Kraniche"),
        lambda: users.link(lesser, high.id),
        lambda: accounts_brain.accounts.keyring.create(lesser, name="k", user="high"),
    ):
        assert code_of(attempt) == "level_refused"  # he could sign in as one who sees more
    assert users.update(lesser, high.id, disabled=True).disabled
    assert users.update(lesser, low.id, clearance="confidential").clearance == "confidential"
    assert users.update(root, high.id, clearance="top_secret").clearance == "top_secret"


def test_the_last_administrator_stays(accounts_brain: Brain, new, root: Caller) -> None:
    users = accounts_brain.accounts.users
    attempts = (lambda: users.delete(root, root.id), lambda: users.update(root, root.id, disabled=True), lambda: users.update(root, root.id, role="manager"))
    for attempt in attempts:
        assert code_of(attempt) == "last_administrator"
    users.create(root, name="no-password", role="administrator")  # cannot sign in, so he does not count
    assert code_of(attempts[0]) == "last_administrator"
    assert users.user(root, root.id).role == "administrator"
    new("second", "administrator")
    users.delete(root, root.id)
    assert code_of(lambda: users.delete(accounts_brain.access.local_caller(), "second")) == "last_administrator"


def test_without_any_administrator_the_command_line_may_do_all(accounts_brain: Brain, new) -> None:
    new("ann")
    local, users = accounts_brain.access.local_caller(), accounts_brain.accounts.users
    assert users.update(local, "ann", role="editor").role == "editor"
    users.delete(local, "ann")


def test_deleting_a_user_leaves_nothing_of_his_rights(accounts_brain: Brain, new, root: Caller) -> None:
    accounts = accounts_brain.accounts
    who = new("ann", "manager")
    accounts.groups.create(root, name="law", members=["ann"])
    token, _ = accounts.sign_in.sign_in("ann", GOOD)
    _, secret = accounts.keyring.create(who, name="k")
    accounts.users.link(root, "ann")
    kb = accounts_brain.knowledge.create(who, name="hers")
    accounts.users.delete(root, "ann")
    assert accounts_brain.sessions.caller(token, "zh", "") is None
    assert accounts_brain.api_keys.caller(secret, "zh", "") is None
    assert not accounts_brain.access.allows(who, "read", kb.id)
    for table in (sessions, api_keys, links, group_members, kb_grants):
        assert accounts_brain.db.rows(select(func.count()).select_from(table).where(table.c.user_id == who.id))[0][0] == 0
    with pytest.raises(NotFound):
        accounts.users.user(root, "ann")


def test_disabling_ends_sessions_and_keys_and_enabling_brings_the_keys_back(accounts_brain: Brain, new, root: Caller) -> None:
    accounts, who = accounts_brain.accounts, new("ann")
    token, _ = accounts.sign_in.sign_in("ann", GOOD)
    made, secret = accounts.keyring.create(who, name="k")
    accounts.users.update(root, "ann", disabled=True)
    assert accounts_brain.sessions.caller(token, "zh", "") is None
    assert accounts_brain.api_keys.caller(secret, "zh", "") is None
    assert accounts_brain.api_keys.alive([made.id]) == set()
    accounts.users.update(root, "ann", disabled=False)
    assert accounts_brain.sessions.caller(token, "zh", "") is None
    assert accounts_brain.api_keys.caller(secret, "zh", "") is not None


def test_names(accounts_brain: Brain, new, root: Caller) -> None:
    users = accounts_brain.accounts.users
    assert users.create(root, name=" 王Wei@law.cn ").username == "王wei@law.cn"
    assert code_of(lambda: users.create(root, name="王WEI@law.cn")) == "name_taken"
    for name in ("", "a b", "a/b", "..", "x" * 65, "\ud800", "a\x00"):
        with pytest.raises(InvalidRequest):
            users.create(root, name=name)
    other = users.create(root, name="other")
    assert code_of(lambda: users.update(root, other.id, name="root")) == "name_taken"
    assert users.create(root, name=other.id).username == other.id  # called as another one's id
    assert users.user(root, other.id).username == "other"
    for unknown in ("nobody", "\ud800", ""):
        assert code_of(lambda: users.user(root, unknown)) == "user_not_found"  # noqa: B023


def test_a_group_gives_its_members_what_it_was_given(accounts_brain: Brain, new, root: Caller) -> None:
    accounts, access, who = accounts_brain.accounts, accounts_brain.access, new("ann", "editor")
    kb = accounts_brain.knowledge.create(root, name="k").id
    group = accounts.groups.create(root, name="Law", members=["ann"])
    assert group.members == ((who.id, "ann"),)
    assert not access.allows(who, "read", kb)
    accounts.grants.put(root, "k", grants=[Grant("write", group="law")])
    assert access.allows(who, "write", kb)
    accounts.groups.update(root, "law", members=[])
    assert not access.allows(who, "read", kb)
    accounts.users.update(root, "ann", groups=[group.id])
    assert access.allows(who, "write", kb)
    accounts.groups.delete(root, "law")
    assert not access.allows(who, "read", kb)
    assert accounts.grants.of(root, "k").grants == ()
    assert code_of(lambda: accounts.groups.create(root, name="Everyone")) == "invalid_name"
    assert code_of(lambda: accounts.groups.create(root, name="x", members=["nobody"])) == "user_not_found"


def test_rights_are_given_by_who_manages_the_knowledge_base(accounts_brain: Brain, new, root: Caller) -> None:
    grants, access = accounts_brain.accounts.grants, accounts_brain.access
    maker, other = new("maker", "manager", "confidential"), new("other", "manager")
    kb = accounts_brain.knowledge.create(maker, name="k")
    assert grants.of(maker, "k").grants == (Grant("manage", user="maker", subject_id=maker.id),)
    with pytest.raises(NotFound):
        grants.of(other, "k")
    grants.put(maker, "k", grants=[Grant("manage", user="maker"), Grant("read", group="everyone")], level="internal")
    assert access.allows(other, "read", kb.id)
    with pytest.raises(PermissionRefused):
        grants.put(other, "k", grants=[Grant("manage", user="other")])
    assert code_of(lambda: grants.put(maker, "k", level="secret")) == "level_refused"
    assert grants.put(maker, "k", level="confidential").level == "confidential"
    assert not access.allows(other, "read", kb.id)  # not cleared for it
    with pytest.raises(NotFound):
        grants.of(other, "k")
    for wrong in ([Grant("read")], [Grant("read", user="maker", group="everyone")], [Grant("read", user="maker"), Grant("write", user=maker.id)]):
        with pytest.raises(InvalidRequest):
            grants.put(maker, "k", grants=wrong)
    assert len(grants.of(maker, "k").grants) == 2  # what was refused has changed nothing
    accounts_brain.knowledge.delete(maker, "k")
    assert accounts_brain.db.rows(select(func.count()).select_from(kb_grants))[0][0] == 0


def test_a_right_that_is_taken_is_gone_within_a_second_in_another_process(accounts_brain: Brain, new, root: Caller) -> None:
    who, elsewhere = new("ann"), build(accounts_brain.settings)
    kb = accounts_brain.knowledge.create(root, name="k").id
    accounts_brain.accounts.grants.put(root, "k", grants=[Grant("read", user="ann")])
    assert elsewhere.access.allows(who, "read", kb)
    accounts_brain.accounts.grants.put(root, "k", grants=[])
    deadline = time.monotonic() + 1
    while elsewhere.access.allows(who, "read", kb):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    elsewhere.close()


def test_a_knowledge_base_made_in_another_process_is_its_makers_at_once(accounts_brain: Brain, new, root: Caller) -> None:
    who, elsewhere = new("ann", "manager"), build(accounts_brain.settings)
    accounts_brain.knowledge.create(root, name="other")
    assert elsewhere.access.resolve(who) == []  # known there from now on, as it was
    made = accounts_brain.knowledge.create(who, name="k")
    assert [ref.id for ref in elsewhere.access.resolve(who, ["k"])] == [made.id]
    elsewhere.close()


def test_keys_are_their_users_or_the_administrators(accounts_brain: Brain, new, root: Caller) -> None:
    keyring, ann, bob = accounts_brain.accounts.keyring, new("ann"), new("bob")
    made, secret = keyring.create(ann, name="k")
    assert secret.startswith("qzb_")
    assert made.shown == secret[:10]
    assert secret not in str(accounts_brain.db.rows(select(api_keys)))
    assert [one.id for one in keyring.keys(ann)] == [made.id]
    assert keyring.keys(bob) == []
    for attempt in (lambda: keyring.key(bob, made.id), lambda: keyring.delete(bob, made.id), lambda: keyring.update(bob, made.id, name="x")):
        assert code_of(attempt) == "key_not_found"
    for attempt in (lambda: keyring.keys(bob, everybody=True), lambda: keyring.keys(bob, user="ann"), lambda: keyring.create(bob, name="x", user="ann")):
        with pytest.raises(PermissionRefused):
            attempt()
    assert [one.id for one in keyring.keys(root, everybody=True)] == [made.id]
    assert keyring.update(root, made.id, name="new", right="read").right == "read"
    keyring.delete(root, made.id)
    assert accounts_brain.api_keys.caller(secret, "zh", "") is None


def test_a_narrow_key_makes_no_wider_one(accounts_brain: Brain, new) -> None:
    keyring, ann = accounts_brain.accounts.keyring, new("ann", "manager")
    kb = accounts_brain.knowledge.create(ann, name="k")
    other = accounts_brain.knowledge.create(ann, name="other")
    for narrowed in ({"right": "read"}, {"knowledge_bases": ["k"]}):
        made, secret = keyring.create(ann, name="narrow", **narrowed)
        program = accounts_brain.api_keys.caller(secret, "zh", "")
        assert program is not None
        assert code_of(lambda: keyring.create(program, name="wide")) == "key_is_narrow"  # noqa: B023
        assert code_of(lambda: keyring.update(program, made.id, right="manage")) == "key_is_narrow"  # noqa: B023
        assert accounts_brain.access.allows(program, "read", kb.id)
        assert accounts_brain.access.allows(program, "write", kb.id) is ("right" not in narrowed)
        assert accounts_brain.access.allows(program, "read", other.id) is ("right" in narrowed)
        keyring.delete(program, made.id)  # it may end itself
        assert accounts_brain.api_keys.caller(secret, "zh", "") is None


def test_a_key_ends_at_its_time(accounts_brain: Brain, new, clock: Clock) -> None:
    keyring, ann = accounts_brain.accounts.keyring, new("ann")
    soon = datetime.now(UTC) + timedelta(hours=1)
    made, secret = keyring.create(ann, name="k", expires_at=soon.isoformat())
    assert accounts_brain.api_keys.caller(secret, "zh", "") is not None
    clock.now = soon.timestamp() + 1
    later = ApiKeys(accounts_brain.db, now=clock)
    assert later.caller(secret, "zh", "") is None
    assert later.alive([made.id]) == set()
    for wrong in ("soon", "2020-01-01", "0001-01-01T00:00:00+14:00"):
        with pytest.raises(InvalidRequest):
            keyring.create(ann, name="k", expires_at=wrong)
    for name in ("", " ", "x" * 101, "a\nb"):
        with pytest.raises(InvalidRequest):
            keyring.create(ann, name=name)


def test_a_user_has_so_many_keys_and_no_more(accounts_brain: Brain, new, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qzbrain.auth.keyring._MOST", 2)
    keyring, ann = accounts_brain.accounts.keyring, new("ann")
    for _ in range(2):
        keyring.create(ann, name="k")
    with pytest.raises(Conflict):
        keyring.create(ann, name="k")


def test_setting_up_is_over_once_there_is_a_user(accounts_brain: Brain) -> None:
    setup = accounts_brain.accounts.setup
    first = setup.link().partition("token=")[2]
    assert setup.link().startswith("http://127.0.0.1:9025/setup?token=")
    token = setup.link().partition("token=")[2]
    assert code_of(lambda: setup.finish(first, "root", GOOD)) == "link_unknown"
    assert code_of(lambda: setup.finish(token, "root", "1234567890")) == "password_refused"
    root = Caller(setup.finish(token, "Root", GOOD), "")
    made = accounts_brain.accounts.users.user(root, "root")
    assert (made.role, made.clearance, made.signed_in_at) == ("administrator", "top_secret", None)
    accounts_brain.sessions.open(root.id, address="", agent="")
    assert accounts_brain.accounts.users.user(root, "root").signed_in_at is not None
    assert code_of(lambda: setup.finish(token, "other", GOOD)) == "set_up"
    assert code_of(setup.link) == "set_up"
