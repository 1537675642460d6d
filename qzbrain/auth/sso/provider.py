"""An identity provider by OpenID Connect: the authorisation code flow with PKCE (RFC 7636), the ID token checked against the provider's keys.

What one sign-in must remember until the browser comes back (state, nonce, verifier) lies in a cookie of that browser, so that nobody can be made to
end a sign-in that he did not begin, and any web process can end it. Nothing goes out but to OIDC_ISSUER and the addresses that it publishes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson
import urllib3

from qzbrain.auth.sso.profile import Profile
from qzbrain.errors import AuthenticationRequired, MissingExtra, Unavailable
from qzbrain.settings import Settings

TIMEOUT_S = 5.0
KEPT_FOR_S = 600
"""How long a sign-in may take at the provider."""
_KNOWN_FOR_S = 600.0
_MOST_BYTES = 1 << 20
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in that was begun: where the browser goes, and what it must bring back as a cookie."""

    address: str
    kept: str


class Provider:
    """The provider of the settings. Raises MissingExtra without the library. Thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._jwt = library()
        self._http = urllib3.PoolManager(timeout=TIMEOUT_S, retries=False, ca_certs=settings.oidc_ca or None)
        self._lock = threading.Lock()
        self._told: tuple[float, dict[str, Any], dict[str, Any]] | None = None

    def begin(self, callback: str) -> Begun:
        """Send a browser to the provider; `callback` is where it comes back to. Raises Unavailable (`provider_away`)."""
        told, _ = self._published()
        state, nonce, verifier = (secrets.token_urlsafe(24) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code", "client_id": self._settings.oidc_client_id, "redirect_uri": callback, "scope": self._settings.oidc_scopes, "state": state,
            "nonce": nonce, "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        glue = "&" if urlsplit(told["authorization_endpoint"]).query else "?"
        return Begun(f"{told['authorization_endpoint']}{glue}{urlencode(query)}", f"{state}.{nonce}.{verifier}")

    def finish(self, kept: str, *, state: str, code: str, callback: str) -> Profile:
        """Who came back. Raises AuthenticationRequired (`sign_in_not_begun`, `provider_refused`), Unavailable (`provider_away`)."""
        parts = kept.split(".")
        if len(parts) != 3 or not state or not hmac.compare_digest(parts[0].encode(), state.encode("utf-8", "replace")):
            raise AuthenticationRequired(
                "sign_in_not_begun",
                zh="这次登录不是从本浏览器发起的，或已超过 10 分钟。请回到登录页重新登录。",
                en="This sign-in was not begun in this browser, or took more than ten minutes. Begin again on the sign-in page.",
            )
        _, nonce, verifier = parts
        told, _ = self._published()
        client = self._settings.oidc_client_id
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": callback, "code_verifier": verifier, "client_id": client}
        if self._settings.oidc_client_secret:
            form["client_secret"] = self._settings.oidc_client_secret
        reply = self._call("POST", told["token_endpoint"], form)
        token = reply.get("id_token")
        if not isinstance(token, str):
            raise _refused("no id_token")
        return self._profile(self._checked(token, nonce))

    def _checked(self, token: str, nonce: str) -> dict[str, Any]:
        jwt = self._jwt
        for fresh in (False, True):  # keys that it has changed meanwhile are asked for once
            told, keys = self._published(anew=fresh)
            try:
                key = self._key(keys, jwt.get_unverified_header(token))
                if key is None and not fresh:
                    continue
                if key is None:
                    raise _refused("unknown key")
                claims: dict[str, Any] = jwt.decode(
                    token, key, algorithms=_ALGORITHMS, audience=self._settings.oidc_client_id, issuer=told["issuer"], leeway=60,
                    options={"require": ["exp", "iat", "sub"]},
                )  # fmt: skip
            except jwt.PyJWTError as exc:
                raise _refused(type(exc).__name__) from exc
            if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
                raise _refused("nonce")
            return claims
        raise _refused("unknown key")

    def _key(self, keys: dict[str, Any], header: dict[str, Any]) -> Any:
        usable = [one for one in self._jwt.PyJWKSet.from_dict(keys).keys if one.public_key_use in (None, "sig")]
        named = header.get("kid")
        fitting = [one for one in usable if one.key_id == named] if named else usable
        return fitting[0] if len(fitting) == 1 else None

    def _profile(self, claims: dict[str, Any]) -> Profile:
        settings = self._settings
        name = str(claims.get(settings.oidc_name_claim) or claims.get("preferred_username") or claims.get("email") or claims["sub"])
        groups = claims.get(settings.oidc_groups_claim) if settings.oidc_groups_claim else None
        told = frozenset(str(one) for one in groups) if isinstance(groups, list) else None
        return Profile(f"oidc:{claims['iss']}|{claims['sub']}", name, str(claims.get("name") or ""), told)

    def _published(self, *, anew: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
        """What the provider says of itself, and its keys; kept for some minutes."""
        with self._lock:
            if self._told is not None and not anew and time.monotonic() - self._told[0] < _KNOWN_FOR_S:
                return self._told[1], self._told[2]
            issuer = self._settings.oidc_issuer.rstrip("/")
            told = self._call("GET", f"{issuer}/.well-known/openid-configuration")
            wanted = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")
            if any(not isinstance(told.get(one), str) for one in wanted) or told["issuer"].rstrip("/") != issuer:
                raise _away("openid-configuration")
            keys = self._call("GET", told["jwks_uri"])
            self._told = time.monotonic(), told, keys
            return told, keys

    def _call(self, method: str, address: str, form: dict[str, str] | None = None) -> dict[str, Any]:
        body = None if form is None else urlencode(form)
        headers = {"Accept": "application/json"} | ({} if form is None else {"Content-Type": "application/x-www-form-urlencoded"})
        if urlsplit(address).scheme != "https" and urlsplit(address).hostname not in ("127.0.0.1", "localhost", "::1"):
            raise _away("https")
        try:
            reply = self._http.request(method, address, redirect=False, preload_content=False, body=body, headers=headers)
            data = reply.read(_MOST_BYTES, decode_content=True)
            reply.release_conn()
            if reply.status in (400, 401, 403) and method == "POST":
                raise _refused(f"HTTP {reply.status}")
            if reply.status != 200:
                raise _away(f"HTTP {reply.status}")
            found = orjson.loads(data)
        except (urllib3.exceptions.HTTPError, orjson.JSONDecodeError) as exc:
            raise _away(type(exc).__name__) from exc
        if not isinstance(found, dict):
            raise _away("JSON")
        return found


def library() -> Any:
    """The library, imported. Raises MissingExtra."""
    try:
        import jwt
    except ImportError as exc:
        raise MissingExtra(
            zh="OpenID Connect 登录需要安装可选组件：pip install 'qzbrain[sso]'",
            en="Signing in by OpenID Connect needs an optional part: pip install 'qzbrain[sso]'",
        ) from exc
    return jwt


def _refused(reason: str) -> AuthenticationRequired:
    return AuthenticationRequired(
        "provider_refused",
        zh=f"统一身份认证未通过（{reason}）。请回到登录页重新登录；反复出现时请联系管理员。",
        en=f"The identity provider did not confirm the sign-in ({reason}). Begin again on the sign-in page; ask an administrator if it happens again.",
    )


def _away(reason: str) -> Unavailable:
    return Unavailable(
        "provider_away",
        zh=f"无法使用统一身份认证服务：{reason}。请稍后重试，或请管理员检查 OIDC_ISSUER。",
        en=f"The identity provider cannot be used: {reason}. Try again later, or have OIDC_ISSUER checked.",
        retry_after_s=10,
    )
