"""An OpenID provider that keeps to the protocol, and can be told to break it: for what a sign-in must refuse."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT, CLIENT_SECRET = "qzbrain", "provider secret"


class IdentityProvider:
    """Serves until `close()`. `claims` are put into the ID token last; `broken` names a fault: see `_token`."""

    def __init__(self) -> None:
        self.key, self.key_id = rsa.generate_private_key(public_exponent=65537, key_size=2048), "k1"
        self.claims: dict[str, Any] = {"sub": "u-1", "preferred_username": "Zhang", "name": "张三", "groups": ["law", "none of ours"]}
        self.broken = ""
        self.asked: list[str] = []
        self._codes: dict[str, dict[str, str]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Nothing."""

            def do_GET(self) -> None:
                provider.asked.append(urlsplit(self.path).path)
                provider._get(self)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
                provider.asked.append(urlsplit(self.path).path)
                provider._post(self, {name: values[0] for name, values in parse_qs(body).items()})

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_port}/realm"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.settings: dict[str, object] = {
            "oidc_issuer": self.issuer, "oidc_client_id": CLIENT, "oidc_client_secret": CLIENT_SECRET, "oidc_groups_claim": "groups",
        }  # fmt: skip

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()

    def authorise(self, address: str) -> str:
        """What a browser does at the provider: somebody signs in there. Gives the address that he is sent back to."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        assert asked["response_type"] == "code" and asked["client_id"] == CLIENT and asked["code_challenge_method"] == "S256"
        code = f"code{len(self._codes)}"
        self._codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def _get(self, handler: BaseHTTPRequestHandler) -> None:
        if handler.path.endswith("/.well-known/openid-configuration"):
            issuer = self.issuer if self.broken != "issuer" else "http://127.0.0.1:1/other"
            self._say(handler, 200, {
                "issuer": issuer, "authorization_endpoint": f"{self.issuer}/auth", "token_endpoint": f"{self.issuer}/token", "jwks_uri": f"{self.issuer}/keys",
            })  # fmt: skip
        elif handler.path.endswith("/keys"):
            told = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
            self._say(handler, 200, {"keys": [{**told, "kid": self.key_id, "use": "sig", "alg": "RS256"}]})
        else:
            self._say(handler, 404, {})

    def _post(self, handler: BaseHTTPRequestHandler, form: dict[str, str]) -> None:
        asked = self._codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()).rstrip(b"=").decode()
        good = asked is not None and challenge == asked["code_challenge"] and form.get("client_secret") == CLIENT_SECRET
        if not good or asked is None or form.get("redirect_uri") != asked["redirect_uri"]:
            self._say(handler, 400, {"error": "invalid_grant"})
        elif self.broken == "redirect":
            handler.send_response(302)
            handler.send_header("Location", f"{self.issuer}/keys")
            handler.end_headers()
        else:
            self._say(handler, 200, {"access_token": "x", "token_type": "Bearer", "id_token": self._token(asked["nonce"])})

    def _token(self, nonce: str) -> str:
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce, **self.claims}
        key: Any = self.key
        headers, algorithm = {"kid": self.key_id}, "RS256"
        match self.broken:
            case "nonce":
                claims["nonce"] = "another"
            case "audience":
                claims["aud"] = "another client"
            case "expired":
                claims["exp"] = now - 3600
            case "token_issuer":
                claims["iss"] = "http://127.0.0.1:1/other"
            case "signature":
                key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
            case "unsigned":
                key, algorithm = None, "none"
            case "key":
                headers["kid"] = "k9"
        return jwt.encode(claims, key, algorithm=algorithm, headers=headers)

    def _say(self, handler: BaseHTTPRequestHandler, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode() if self.broken != "no_json" else b"<html>"
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)
