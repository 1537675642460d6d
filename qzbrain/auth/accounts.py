"""The services of accounts, wired to each other."""

from __future__ import annotations

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
from qzbrain.auth.throttle import Throttle
from qzbrain.auth.users import Users
from qzbrain.settings import Settings
from qzbrain.storage.database import Database


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
        self.sign_in = SignIn(database, access, passwords, sessions, self.codes, Throttle(database))
