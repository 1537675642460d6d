"""Secrets that are handed out once: tokens of sessions, API keys, links. The database holds only what they hash to."""

from __future__ import annotations

import hashlib
import secrets

KEY_PREFIX = "qzb_"
_BYTES = 32


def new_token(prefix: str = "") -> str:
    """256 random bits, in characters that may stand in an address or a header."""
    return prefix + secrets.token_urlsafe(_BYTES)


def digest(token: str) -> str:
    """What is kept of a token: SHA-256 in hexadecimal. Tokens are long and random, so nothing slower is needed."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
