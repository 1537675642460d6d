"""Shapes of what the routes of accounts take and give."""

from __future__ import annotations

from pydantic import AliasChoices, BaseModel, Field

from qzbrain.domain import Level, Right, Role
from qzbrain.web.schemas import Name, Names, Strict

_USERNAME = AliasChoices("username", "name")
_CHOSEN = "At least 10 characters; none that is guessed first, nor made of the user's name."


class SignInBody(Strict):
    """Credentials."""

    username: str = Field(max_length=200)
    password: str = Field(max_length=1000)
    totp: str = Field("", max_length=40, description="The code of the device, or a recovery code, where the account asks for one.")


class SetupBody(Strict):
    """The first administrator."""

    token: str = Field(max_length=200, description="From the set-up link.")
    username: str = Field(max_length=200)
    password: str = Field(max_length=1000, description=_CHOSEN)


class LinkBody(Strict):
    """A password chosen by a one-time link."""

    token: str = Field(max_length=200, description="From the link.")
    password: str = Field(max_length=1000, description=_CHOSEN)


class ProviderQuery(BaseModel):
    """What an identity provider sends a browser back with."""

    state: str = Field("", max_length=500)
    code: str = Field("", max_length=4000)
    error: str = Field("", max_length=500)


class PasswordBody(Strict):
    """A change of one's own password."""

    old: str = Field(max_length=1000, validation_alias=AliasChoices("old", "old_password"))
    new: str = Field(max_length=1000, validation_alias=AliasChoices("new", "new_password"), description=_CHOSEN)


class TotpBody(Strict):
    """To begin: the password. To confirm: the first code."""

    password: str | None = Field(None, max_length=1000)
    code: str | None = Field(None, max_length=40)


class TotpEndBody(Strict):
    """To end: the password."""

    password: str = Field(max_length=1000)


class UserPath(BaseModel):
    """`{user}`: id or name."""

    user: str = Field(description="Id or name of the user.")


class UserCreate(Strict):
    """A user to make."""

    username: str = Field(max_length=200, validation_alias=_USERNAME, description="1-64 letters of any script, digits, `-`, `_`, `.`, `@`; kept in lower case.")
    password: str | None = Field(None, max_length=1000, description=f"{_CHOSEN} Without one the user needs a link.")
    display_name: str = Field("", max_length=200)
    role: Role = "reader"
    clearance: Level = "internal"
    must_change: bool = Field(False, description="He must choose another password when he signs in.")
    groups: Names = Field(default_factory=list, description="Names or ids.")


class UserUpdate(Strict):
    """What to change of a user."""

    username: str | None = Field(None, max_length=200, validation_alias=_USERNAME)
    password: str | None = Field(None, max_length=1000, description=f"{_CHOSEN} Ends all his sessions.")
    display_name: str | None = Field(None, max_length=200)
    role: Role | None = None
    clearance: Level | None = None
    disabled: bool | None = None
    must_change: bool | None = None
    totp: bool | None = Field(None, description="false: one-time codes are asked no more.")
    groups: Names | None = Field(None, description="Names or ids; in the place of those before.")


class GroupPath(BaseModel):
    """`{group}`: id or name."""

    group: str = Field(description="Id or name of the group.")


class GroupCreate(Strict):
    """A group to make."""

    name: str = Field(max_length=200)
    description: str = Field("", max_length=2000)
    members: list[Name] = Field(default_factory=list, max_length=10_000, description="Users by name or id.")


class GroupUpdate(Strict):
    """What to change of a group."""

    name: str | None = Field(None, max_length=200)
    description: str | None = Field(None, max_length=2000)
    members: list[Name] | None = Field(None, max_length=10_000, description="In the place of those before.")


class KeyPath(BaseModel):
    """`{key_id}`."""

    key_id: str


class KeyQuery(Strict):
    """Whose keys."""

    all: bool = Field(False, description="Everybody's; for administrators.")
    user: str | None = Field(None, max_length=200, description="This user's; for administrators.")


class KeyCreate(Strict):
    """A key to make."""

    name: str = Field(max_length=200, description="What it is for.")
    user: str | None = Field(None, max_length=200, description="Whose it is to be; by default the caller's own. For administrators.")
    right: Right = Field("manage", description="At most this, whatever its user may.")
    knowledge_bases: Names = Field(default_factory=list, description="Only in these, by name or id; empty: in all that its user may.")
    expires_at: str | None = Field(None, max_length=40, description="When it ends; null: never.")
    requests_per_minute: int = Field(0, ge=0, le=1_000_000, description="0: as the setting says.")


class KeyUpdate(Strict):
    """What to change of a key."""

    name: str | None = Field(None, max_length=200)
    right: Right | None = None
    knowledge_bases: Names | None = None
    expires_at: str | None = Field(None, max_length=40)
    requests_per_minute: int | None = Field(None, ge=0, le=1_000_000)


class GrantBody(Strict):
    """A right of one user or one group."""

    user: str | None = Field(None, max_length=200, description="Name or id.")
    group: str | None = Field(None, max_length=200, description="Name or id; `everyone`: whoever is signed in.")
    right: Right


class RightsBody(Strict):
    """Rights in a knowledge base, in the place of all there were; and its level."""

    grants: list[GrantBody] | None = Field(None, max_length=1000)
    level: Level | None = None


class NamedReply(BaseModel):
    """Something by id and name."""

    id: str
    name: str


class SessionUser(BaseModel):
    """Who is signed in."""

    id: str
    username: str
    display_name: str
    role: Role
    clearance: Level
    totp: bool
    groups: list[NamedReply]


class SessionReply(BaseModel):
    """Who asks. `accounts` false: there is no signing in, and everybody is the local user. `setup_needed`: nobody has an account yet."""

    accounts: bool
    signed_in: bool
    user: SessionUser | None
    must_change: bool
    setup_needed: bool
    oidc: bool = Field(description="Whether one may sign in by an identity provider: open /api/session/oidc in the browser.")
    languages: list[str]


class LinkUsed(BaseModel):
    """Whose password was set."""

    username: str


class Ended(BaseModel):
    """How many sessions were ended."""

    ended: int


class OwnSession(BaseModel):
    """One of the caller's sessions."""

    id: str
    created_at: str
    seen_at: str
    address: str
    agent: str
    current: bool


class TotpReply(BaseModel):
    """`secret` and `uri` when it begins, `recovery_codes` when it is confirmed; shown this once."""

    secret: str | None
    uri: str | None
    recovery_codes: list[str] | None


class UserReply(BaseModel):
    """A user. `password`: whether he has one. All but names is null for who is no administrator."""

    id: str
    username: str
    display_name: str
    role: Role | None
    clearance: Level | None
    disabled: bool | None
    must_change: bool | None
    password: bool | None
    totp: bool | None
    external: str | None
    groups: list[NamedReply] | None
    created_at: str | None
    signed_in_at: str | None


class LinkReply(BaseModel):
    """A one-time link; shown this once."""

    url: str
    token: str
    expires_in_s: int


class GroupReply(BaseModel):
    """A group."""

    id: str
    name: str
    description: str
    members: list[NamedReply]
    created_at: str


class KeyReply(BaseModel):
    """A key without its secret; `shown` is how it begins."""

    id: str
    user_id: str
    username: str
    name: str
    shown: str
    right: Right
    knowledge_bases: list[str]
    requests_per_minute: int
    created_at: str
    expires_at: str | None
    used_at: str | None


class KeyMade(KeyReply):
    """A new key; `key` is shown this once."""

    key: str


class GrantReply(BaseModel):
    """A right of one user or one group, the other being null."""

    user: str | None
    group: str | None
    id: str
    right: Right


class RightsReply(BaseModel):
    """Who may what in a knowledge base."""

    knowledge_base: str
    level: Level
    grants: list[GrantReply]
