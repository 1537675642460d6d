"""Whether an Ed25519 signature is right, by the standard library alone: a machine to be installed on has no `cryptography` yet.

RFC 8032, section 5.1.7, in extended coordinates (its appendix A). For checking only: nothing here is secret, so nothing has to take equally long.
"""

from __future__ import annotations

import base64
import hashlib
import re

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)
_BASE_Y = 4 * pow(5, -1, _P) % _P
_DER = bytes.fromhex("302a300506032b6570032100")
"""What stands before the 32 bytes of a public key in SubjectPublicKeyInfo (RFC 8410)."""

_Point = tuple[int, int, int, int]


def public_key(pem: bytes) -> bytes:
    """The 32 bytes of a key in PEM. Raises ValueError when it is no Ed25519 public key."""
    found = re.fullmatch(rb"\s*-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----\s*", pem)
    der = base64.b64decode(b"".join(found[1].split()), validate=True) if found else b""
    if len(der) != len(_DER) + 32 or not der.startswith(_DER):
        raise ValueError("not an Ed25519 public key in PEM")
    return der[len(_DER) :]


def fingerprint(public: bytes) -> str:
    """What people compare: SHA-256 of the key's 32 bytes. `openssl pkey -pubin -in KEY -outform DER | tail -c 32 | sha256sum` gives the same."""
    return f"sha256:{hashlib.sha256(public).hexdigest()}"


def is_signed(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the holder of this key has signed this message."""
    if len(signature) != 64 or len(public) != 32:
        return False
    key, commitment = _point(public), _point(signature[:32])
    scalar = int.from_bytes(signature[32:], "little")
    if key is None or commitment is None or scalar >= _L:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % _L
    base = _decoded(_BASE_Y, 0)
    assert base is not None
    return _same(_times(scalar, base), _sum(commitment, _times(challenge, key)))


def _point(data: bytes) -> _Point | None:
    number = int.from_bytes(data, "little")
    return _decoded(number & ((1 << 255) - 1), number >> 255)


def _decoded(y: int, sign: int) -> _Point | None:
    """The point with this y, and the x of this parity; None when there is none."""
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _sum(a: _Point, b: _Point) -> _Point:
    first, second = (a[1] - a[0]) * (b[1] - b[0]) % _P, (a[1] + a[0]) * (b[1] + b[0]) % _P
    third, fourth = 2 * a[3] * b[3] * _D % _P, 2 * a[2] * b[2] % _P
    e, f, g, h = second - first, fourth - third, fourth + third, second + first
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(scalar: int, point: _Point) -> _Point:
    result: _Point = (0, 1, 1, 0)
    while scalar:
        if scalar & 1:
            result = _sum(result, point)
        point, scalar = _sum(point, point), scalar >> 1
    return result


def _same(a: _Point, b: _Point) -> bool:
    return (a[0] * b[2] - b[0] * a[2]) % _P == 0 and (a[1] * b[2] - b[1] * a[2]) % _P == 0
