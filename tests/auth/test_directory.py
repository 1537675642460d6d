"""Signing in by a real directory (OpenLDAP): who is let in, who is not, and what is kept of him here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import ldap3
import pytest
from sqlalchemy import select

from qzbrain.auth.passwords import Passwords
from qzbrain.brain import Brain, build
from qzbrain.errors import AuthenticationRequired, BrainError, PermissionRefused, Unavailable
from qzbrain.settings import Settings
from qzbrain.storage.tables import users
from tests.auth.conftest import CHEAP, GOOD
from tests.servers.ldap_server import PEOPLE, SUFFIX, LdapServer

pytestmark = [pytest.mark.servers, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LdapServer]:
    server = LdapServer(tmp_path_factory.mktemp("ldap")).start()
    yield server
    server.stop()


@pytest.fixture
def make(make_settings: Callable[..., Settings], directory: LdapServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Brain]]:
    monkeypatch.setattr("qzbrain.auth.accounts.Passwords", lambda: Passwords(CHEAP))
    made: list[Brain] = []

    def brain(**more: object) -> Brain:
        made.append(build(make_settings(**{"qzbrain_accounts": "on", **directory.settings, **more})))
        return made[-1]

    yield brain
    for one in made:
        one.close()


def refused(brain: Brain, name: str, password: str) -> BrainError:
    with pytest.raises(BrainError) as error:
        brain.accounts.sign_in.sign_in(name, password)
    return error.value


def test_somebody_of_the_directory_is_let_in_and_gets_a_row_without_a_password(make: Callable[..., Brain]) -> None:
    brain = make(sso_clearance="confidential")
    local = brain.access.local_caller()
    brain.accounts.groups.create(local, name="law")
    brain.accounts.groups.create(local, name="others")
    token, user_id = brain.accounts.sign_in.sign_in("Wang", PEOPLE["wang"][1])
    who = brain.sessions.caller(token, "zh", "127.0.0.1")
    assert who is not None and who.id == user_id
    row = brain.db.rows(select(users).where(users.c.id == user_id))[0]
    assert (row.name, row.display_name, row.role, row.clearance, row.password) == ("wang", "王芳", "reader", 2, "")
    assert row.external.startswith("ldap:") and "uid=" not in row.external  # the entry's UUID, not its name
    assert [name for _, name in brain.accounts.users.user(local, "wang").groups] == ["law"]
    assert brain.accounts.sign_in.sign_in("wang", PEOPLE["wang"][1])[1] == user_id


@pytest.mark.parametrize("scheme", ["start_tls", "ldaps"])
def test_wrong_passwords_unknown_names_and_filters_in_names_let_nobody_in(make: Callable[..., Brain], directory: LdapServer, scheme: str) -> None:
    brain = make() if scheme == "start_tls" else make(ldap_url=f"ldaps://127.0.0.1:{directory.tls_port}")
    right = PEOPLE["wang"][1]
    for name, password in (("wang", "wrong"), ("nobody", "x"), ("wa*", right), ("*", right), ("wang)(uid=*", right), ("wang", "")):
        error = refused(brain, name, password)
        assert isinstance(error, AuthenticationRequired) and error.code == "credentials_wrong", name
    assert brain.db.rows(select(users.c.id)) == []
    assert brain.accounts.sign_in.sign_in("wang", PEOPLE["wang"][1])


def test_a_local_account_of_the_same_name_is_not_taken_over(make: Callable[..., Brain]) -> None:
    brain = make()
    brain.accounts.users.create(brain.access.local_caller(), name="root", password=GOOD, role="administrator")
    assert refused(brain, "root", PEOPLE["root"][1]).code == "credentials_wrong"
    assert brain.accounts.sign_in.sign_in("root", GOOD)


def test_a_certificate_that_nobody_vouches_for_is_not_believed(make: Callable[..., Brain], directory: LdapServer) -> None:
    for more in ({"ldap_ca": ""}, {"ldap_ca": "", "ldap_url": f"ldaps://127.0.0.1:{directory.tls_port}"}):
        error = refused(make(**more), "wang", PEOPLE["wang"][1])
        assert isinstance(error, Unavailable) and error.code == "directory_away"


def test_a_directory_that_is_away_or_refuses_us_is_told_and_local_accounts_go_on(make: Callable[..., Brain]) -> None:
    brain = make(ldap_url="ldap://127.0.0.1:9")
    assert refused(brain, "wang", PEOPLE["wang"][1]).code == "directory_away"
    brain.accounts.users.create(brain.access.local_caller(), name="zhao", password=GOOD)
    assert brain.accounts.sign_in.sign_in("zhao", GOOD)
    assert refused(make(ldap_bind_password="wrong"), "wang", PEOPLE["wang"][1]).code == "directory_away"


def test_disabled_here_or_gone_there_is_out(make: Callable[..., Brain], directory: LdapServer) -> None:
    brain, local = make(), make().access.local_caller()
    with directory.as_admin() as connection:
        connection.add(f"uid=chen,ou=people,{SUFFIX}", "inetOrgPerson", {"cn": "陈", "sn": "陈", "userPassword": "chen's password"})
    _, user_id = brain.accounts.sign_in.sign_in("chen", "chen's password")
    brain.accounts.users.update(local, user_id, disabled=True)
    assert isinstance(refused(brain, "chen", "chen's password"), PermissionRefused)
    brain.accounts.users.update(local, user_id, disabled=False)
    with directory.as_admin() as connection:
        connection.delete(f"uid=chen,ou=people,{SUFFIX}")
    assert refused(brain, "chen", "chen's password").code == "credentials_wrong"


def test_the_password_of_the_directory_is_not_changed_here(make: Callable[..., Brain]) -> None:
    brain = make()
    token, user_id = brain.accounts.sign_in.sign_in("wang", PEOPLE["wang"][1])
    session = brain.sessions.caller(token, "zh", "")
    assert session is not None
    with pytest.raises(BrainError) as error:
        brain.accounts.sign_in.change_password(user_id, session.session_id, PEOPLE["wang"][1], "another good one", "")
    assert error.value.code == "password_elsewhere"


def test_leaving_a_group_there_is_leaving_it_here(make: Callable[..., Brain], directory: LdapServer) -> None:
    brain = make()
    local = brain.access.local_caller()
    brain.accounts.groups.create(local, name="law")
    brain.accounts.sign_in.sign_in("wang", PEOPLE["wang"][1])
    group, wang = f"cn=law,ou=groups,{SUFFIX}", f"uid=wang,ou=people,{SUFFIX}"
    other = f"uid=root,ou=people,{SUFFIX}"
    with directory.as_admin() as connection:
        connection.modify(group, {"member": [(ldap3.MODIFY_REPLACE, [other])]})
    try:
        brain.accounts.sign_in.sign_in("wang", PEOPLE["wang"][1])
        assert brain.accounts.users.user(local, "wang").groups == ()
    finally:
        with directory.as_admin() as connection:
            connection.modify(group, {"member": [(ldap3.MODIFY_REPLACE, [wang])]})


def test_guessing_is_slowed_down_for_the_directory_too(make: Callable[..., Brain]) -> None:
    brain = make()
    codes = [refused(brain, "wang", "wrong").code for _ in range(8)]
    assert codes[0] == "credentials_wrong" and codes[-1] == "too_many_attempts"
