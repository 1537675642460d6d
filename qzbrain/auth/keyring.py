"""API keys as their owners and administrators see and change them. A key never makes one that may more than itself."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from qzbrain.auth.access import LOCAL_USER, Access
from qzbrain.auth.keys import ApiKeys, KeyShown
from qzbrain.auth.users import Users
from qzbrain.domain import Caller, Right
from qzbrain.errors import Conflict, InvalidRequest, NotFound, PermissionRefused

_MOST = 100
_LONGEST_NAME = 100


class Keyring:
    """Keys of users."""

    def __init__(self, access: Access, keys: ApiKeys, users: Users) -> None:
        self._access, self._keys, self._users = access, keys, users

    def create(
        self,
        caller: Caller,
        *,
        name: str,
        user: str | None = None,
        right: Right = "manage",
        knowledge_bases: Sequence[str] = (),
        expires_at: str | None = None,
        requests_per_minute: int = 0,
    ) -> tuple[KeyShown, str]:
        """A key in the caller's own name, or, by an administrator, in a user's; and its secret, shown this once.

        `knowledge_bases`: names or ids that it is narrowed to. Raises PermissionRefused, InvalidRequest, NotFound, Conflict (`too_many_keys`).
        """
        _require_whole(caller)
        owner = self._owner(caller, user)
        values = self._checked(caller, name=name, knowledge_bases=knowledge_bases, expires_at=expires_at)
        if len(self._keys.of(owner)) >= _MOST:
            raise Conflict(
                "too_many_keys", zh=f"每个用户最多 {_MOST} 个密钥。请先删除不用的。", en=f"A user has at most {_MOST} keys. Delete those that are not used."
            )
        return self._keys.create(owner, right=right, requests_per_minute=requests_per_minute, **values)

    def keys(self, caller: Caller, *, everybody: bool = False, user: str | None = None) -> list[KeyShown]:
        """The caller's own keys; an administrator may ask for a user's, or everybody's. Raises PermissionRefused, NotFound."""
        if everybody or caller.id == LOCAL_USER or user is not None:
            self._access.require(caller, "manage")
            return self._keys.of(None if user is None else self._users.user(caller, user).id)
        return self._keys.of(caller.id)

    def key(self, caller: Caller, key_id: str) -> KeyShown:
        """One key, the caller's own or, for an administrator, anybody's. Raises NotFound (`key_not_found`)."""
        found = self._keys.get(key_id) if key_id.isprintable() else None
        if found is None or (found.user_id != caller.id and not self._access.allows(caller, "manage")):
            raise NotFound("key_not_found", zh="没有这个密钥，或它已被删除。", en="There is no such key, or it was deleted.", param="key_id")
        return found

    def update(
        self,
        caller: Caller,
        key_id: str,
        *,
        name: str | None = None,
        right: Right | None = None,
        knowledge_bases: Sequence[str] | None = None,
        expires_at: str | None = None,
        requests_per_minute: int | None = None,
    ) -> KeyShown:
        """Change what is given. Raises as `create`."""
        _require_whole(caller)
        found = self.key(caller, key_id)
        self._owner(caller, None if found.user_id == caller.id else found.user_id)
        values = self._checked(caller, name=name, knowledge_bases=knowledge_bases, expires_at=expires_at)
        given: dict[str, Any] = {**values, "at_most": right, "requests_per_minute": requests_per_minute}
        self._keys.update(found.id, {key: value for key, value in given.items() if value is not None})
        return self.key(caller, found.id)

    def delete(self, caller: Caller, key_id: str) -> KeyShown:
        """End a key at once. Raises NotFound, PermissionRefused."""
        gone = self.key(caller, key_id)
        if gone.id != caller.key_id:  # any key may end itself
            _require_whole(caller)
        self._keys.delete(gone.id)
        return gone

    def _owner(self, caller: Caller, user: str | None) -> str:
        if user is None or user in (caller.id, caller.name):
            if caller.id == LOCAL_USER:
                raise InvalidRequest("user_needed", zh="请用 user 指定密钥属于哪个用户。", en="Name the user whose key it is to be, as user.", param="user")
            return caller.id
        return self._users.require_power_over(caller, user)

    def _checked(self, caller: Caller, *, name: str | None, knowledge_bases: Sequence[str] | None, expires_at: str | None) -> dict[str, Any]:
        if name is not None and (not 1 <= len(name.strip()) <= _LONGEST_NAME or not name.isprintable()):
            raise InvalidRequest(
                zh=f"密钥的名称须为 1 至 {_LONGEST_NAME} 个可显示的字符。", en=f"A key's name is 1 to {_LONGEST_NAME} printable characters.", param="name"
            )
        values: dict[str, Any] = {"name": None if name is None else name.strip(), "expires_at": None if expires_at is None else _moment(expires_at)}
        if knowledge_bases is not None:
            values["knowledge_bases"] = [ref.id for ref in self._access.resolve(caller, knowledge_bases)]
        return values


def _require_whole(caller: Caller) -> None:
    """Return unless the caller is a key that is narrowed to something. Raises PermissionRefused."""
    if caller.at_most != "manage" or caller.only_in is not None:
        raise PermissionRefused(
            "key_is_narrow",
            zh="受限的密钥不能创建、修改或删除密钥。请登录后在“账号”页面操作。",
            en="A key that is narrowed to something cannot make, change or delete keys. Sign in and use the page Account.",
        )


def _moment(text: str) -> str:
    """RFC 3339 in UTC, of a time that is still to come. Raises InvalidRequest."""
    try:
        at = datetime.fromisoformat(text)
        at = (at if at.tzinfo else at.astimezone()).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise InvalidRequest(
            zh="expires_at 不是有效的时间，例如 2027-01-31 或 2027-01-31T12:00:00Z。",
            en="expires_at is no time such as 2027-01-31 or 2027-01-31T12:00:00Z.",
            param="expires_at",
        ) from exc
    if at <= datetime.now(UTC):
        raise InvalidRequest(zh="expires_at 已经过去，请指定将来的时间。", en="expires_at is past; name a time to come.", param="expires_at")
    return at.isoformat(timespec="microseconds")[:26] + "Z"
