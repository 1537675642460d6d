"""A directory (LDAP, Active Directory): finds who has a name and tries his password there. The password is never kept.

The search is made as LDAP_BIND_DN, then the password is tried by a bind as what was found, on a connection of its own. Names are escaped in the
filter; an empty password, with which servers let anybody in as nobody, is refused before.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any

from qzbrain.auth.sso.profile import Profile
from qzbrain.errors import MissingExtra, Unavailable
from qzbrain.settings import Settings

TIMEOUT_S = 5


@dataclass(frozen=True, slots=True)
class _Found:
    dn: str
    profile: Profile


class Directory:
    """The directory of the settings. Raises MissingExtra without the library."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ldap3 = library()

    def recognise(self, name: str, password: str) -> Profile | None:
        """Who this is; None when there is nobody of this name, or the password is wrong. Raises Unavailable (`directory_away`)."""
        if not name or not password:
            return None
        ldap3, settings = self._ldap3, self._settings
        try:
            with self._connection(settings.ldap_bind_dn, settings.ldap_bind_password) as searching:
                if not searching.bind():
                    raise _away("LDAP_BIND_DN")
                found = self._find(searching, name)
            if found is None:
                return None
            with self._connection(found.dn, password) as trying:
                return found.profile if trying.bind() else None
        except ldap3.core.exceptions.LDAPException as exc:
            raise _away(type(exc).__name__) from exc

    def _connection(self, dn: str, password: str) -> Any:
        ldap3, settings = self._ldap3, self._settings
        tls = ldap3.Tls(validate=ssl.CERT_REQUIRED, ca_certs_file=settings.ldap_ca or None)
        server = ldap3.Server(settings.ldap_url, tls=tls, connect_timeout=TIMEOUT_S, get_info=ldap3.NONE)
        connection = ldap3.Connection(
            server, user=dn or None, password=password or None, auto_bind=ldap3.AUTO_BIND_NONE, receive_timeout=TIMEOUT_S, read_only=True, check_names=False
        )
        connection.open()
        if settings.ldap_start_tls:
            connection.start_tls()
        return connection

    def _find(self, connection: Any, name: str) -> _Found | None:
        settings = self._settings
        wanted = settings.ldap_user_filter.replace("{name}", self._ldap3.utils.conv.escape_filter_chars(name))
        attributes = list(dict.fromkeys([settings.ldap_name_attribute, settings.ldap_display_attribute, *settings.ldap_id_attribute.split()]))
        groups = settings.ldap_group_attribute
        connection.search(settings.ldap_user_base, wanted, attributes=[*attributes, *([groups] if groups else [])], size_limit=2)
        entries = [one for one in connection.response or [] if one.get("type") == "searchResEntry"]
        if len(entries) != 1:  # nobody, or more than one: then it is not known who is meant
            return None
        dn, values = entries[0]["dn"], entries[0]["attributes"]
        known_as = _first(values, settings.ldap_name_attribute) or name
        identity = next((found for one in settings.ldap_id_attribute.split() if (found := _first(values, one))), dn)
        member_of = frozenset(_common_name(one) for one in _all(values, groups)) if groups else None
        return _Found(dn, Profile(f"ldap:{identity}", known_as, _first(values, settings.ldap_display_attribute), member_of))


def library() -> Any:
    """The library, imported. Raises MissingExtra."""
    try:
        import ldap3
        import ldap3.utils.conv
    except ImportError as exc:
        raise MissingExtra(
            zh="LDAP 登录需要安装可选组件：pip install 'qzbrain[sso]'",
            en="Signing in by LDAP needs an optional part: pip install 'qzbrain[sso]'",
        ) from exc
    return ldap3


def _all(values: Any, name: str) -> list[str]:
    found = values.get(name) if name in values else None
    some = found if isinstance(found, list) else [] if found is None else [found]
    return [one.hex() if isinstance(one, bytes) else str(one) for one in some]


def _first(values: Any, name: str) -> str:
    return next(iter(_all(values, name)), "")


def _common_name(dn: str) -> str:
    """`cn=legal,ou=groups,…` → `legal`; a plain name as it is."""
    first = dn.split(",")[0]
    kind, equals, name = first.partition("=")
    return name.strip() if equals and kind.strip().lower() in ("cn", "ou") else first.strip()


def _away(reason: str) -> Unavailable:
    return Unavailable(
        "directory_away",
        zh=f"无法通过单位目录（LDAP）验证身份：{reason}。请稍后重试，或请管理员检查 LDAP_URL、LDAP_BIND_DN 等设置。",
        en=f"The directory (LDAP) cannot be asked: {reason}. Try again later, or have LDAP_URL, LDAP_BIND_DN and the others checked.",
        retry_after_s=10,
    )
