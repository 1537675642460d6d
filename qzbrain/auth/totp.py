"""One-time codes from a device: TOTP (RFC 6238) over HMAC-SHA-1, six digits, thirty seconds, as every authenticator app makes them. Pure.

SHA-1 is what those apps know; as an HMAC over a secret key it is sound. A code of the interval before or after is taken too: clocks differ.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from urllib.parse import quote

INTERVAL_S = 30
DIGITS = 6
_NEAR = 1
_SECRET_BYTES = 20
_RECOVERY_CODES = 10
_ALPHABET = "23456789abcdefghjkmnpqrstuvwxyz"  # nothing that is read as something else


def new_secret() -> str:
    """160 random bits in Base32, as it is typed into an app."""
    return base64.b32encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def code_at(secret: str, step: int, *, digits: int = DIGITS) -> str:
    """The code of an interval (RFC 4226, 5.3); `step` counts intervals since 1970."""
    mac = hmac.digest(base64.b32decode(secret), step.to_bytes(8, "big"), hashlib.sha1)
    offset = mac[-1] & 15
    number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFF_FFFF
    return str(number % 10**digits).zfill(digits)


def matching_step(secret: str, code: str, now: float, *, after: int) -> int | None:
    """The interval near `now` whose code this is; None for none. Those up to the interval `after` are used up: a code counts once."""
    given = "".join(code.split())
    here = int(now) // INTERVAL_S
    found = None
    for step in range(here - _NEAR, here + _NEAR + 1):
        if hmac.compare_digest(code_at(secret, step).encode(), given.encode("utf-8", "surrogatepass")) and step > after:
            found = step
    return found


def address(secret: str, name: str, issuer: str) -> str:
    """What an app reads from a QR code."""
    return f"otpauth://totp/{quote(issuer, safe='')}:{quote(name, safe='')}?secret={secret}&issuer={quote(issuer, safe='')}&digits={DIGITS}&period={INTERVAL_S}"


def new_recovery_codes() -> list[str]:
    """Codes that stand in for a lost device, each once: 49 random bits, written in two halves."""
    return ["-".join("".join(secrets.choice(_ALPHABET) for _ in range(5)) for _ in range(2)) for _ in range(_RECOVERY_CODES)]


def recovery_digest(code: str) -> str:
    """What is kept of a recovery code. Guessing is throttled, and 49 bits are far beyond what that allows; whoever has the table has the data too."""
    plain = "".join(x for x in code.lower() if x.isalnum())
    return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()
