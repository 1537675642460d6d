"""The services of accounts, wired to each other."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row

from qzbrain.auth.access import Access
from qzbrain.auth.codes import Codes
from qzbrain.auth.grants import Grants
from qzbrain.auth.groups import Groups
from qzbrain.auth.keyring import Keyring
from qzbrain.auth.keys import ApiKeys
from qzbrain.auth.passwords import Passwords
from qzbrain.auth.sealing import Seal
from qzbrain.auth.sessions import Sessions
from qzbrain.auth.setup import Setup
from qzbrain.auth.signin import SignIn
from qzbrain.auth.sso.profile import People, Profile
from qzbrain.auth.throttle import Throttle
from qzbrain.auth.users import Users
from qzbrain.settings import Settings
from qzbrain.storage.database import Database

if TYPE_CHECKING:
    from qzbrain.auth.sso.directory import Directory
    from qzbrain.auth.sso.provider import Provider


class Accounts:
    """Users, groups, rights, keys, and signing in."""

    def __init__(self, database: Database, access: Access, sessions: Sessions, keys: ApiKeys, settings: Settings) -> None:
        passwords = Passwords()
        self.codes = Codes(database, Seal(settings.data / "secrets" / "totp.key"))
        self.users = Users(database, access, passwords)
        self.groups = Groups(database, access)
        self.grants = Grants(database, access)
        self.keyring = Keyring(access, keys, self.users)
        self.setup = Setup(database, access, passwords, settings)
        self._settings, self._people = settings, People(database, settings)
        elsewhere = self._by_directory if settings.ldap_url else None
        self.sign_in = SignIn(database, access, passwords, sessions, self.codes, Throttle(database), elsewhere)

    @cached_property
    def provider(self) -> Provider | None:
        """The identity provider of the settings; None: there is none. Raises MissingExtra."""
        if not self._settings.oidc_issuer:
            return None
        from qzbrain.auth.sso.provider import Provider

        return Provider(self._settings)

    @cached_property
    def _directory(self) -> Directory:
        from qzbrain.auth.sso.directory import Directory

        return Directory(self._settings)

    def recognised(self, profile: Profile) -> Row[Any]:
        """The row of somebody whom the provider has recognised. Raises PermissionRefused, InvalidRequest."""
        return self._people.welcome(profile)

    def _by_directory(self, name: str, password: str) -> Row[Any] | None:
        profile = self._directory.recognise(name, password)
        return None if profile is None else self._people.welcome(profile)


def require_libraries(settings: Settings) -> None:
    """Return when what the settings need for signing in elsewhere is installed. Raises MissingExtra."""
    if settings.ldap_url:
        from qzbrain.auth.sso.directory import library as directory_library

        directory_library()
    if settings.oidc_issuer:
        from qzbrain.auth.sso.provider import library as provider_library

        provider_library()
