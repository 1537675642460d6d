"""Keys that sign bundles. The private one stays on the machine that makes them; the fingerprint of the public one is for everybody."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, load_pem_private_key

from qzbrain.errors import Conflict, InvalidRequest
from qzbrain.ops.bundle import ed25519


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Where the two keys of a pair lie."""

    private: Path
    public: Path
    fingerprint: str


def make_key(path: Path) -> KeyPair:
    """A new pair: `path` (mode 0600) and `path`.pub. Raises Conflict when there is one already, OSError."""
    if path.exists():
        raise Conflict(
            "key_exists",
            zh=f"{path} 已存在，未改动。换了密钥，以前的安装会拒绝新离线包；确要更换请用 -o 指定另一个文件。",
            en=f"{path} is there already and stays as it is. With another key what is installed refuses new bundles; to change it all the same, name another "
            "file with -o.",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    key = Ed25519PrivateKey.generate()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = path.with_name(path.name + ".pub")
    public.write_bytes(public_pem(key))
    return KeyPair(path, public, fingerprint(key))


def load_key(path: Path) -> Ed25519PrivateKey:
    """The private key of a file. Raises InvalidRequest (`key_unreadable`)."""
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError) as exc:
        raise _unreadable(path) from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise _unreadable(path)
    return key


def public_pem(key: Ed25519PrivateKey) -> bytes:
    """The public half, as `openssl` reads it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key: Ed25519PrivateKey) -> str:
    """Of the public half."""
    return ed25519.fingerprint(key.public_key().public_bytes_raw())


def _unreadable(path: Path) -> InvalidRequest:
    return InvalidRequest(
        "key_unreadable",
        zh=f"{path} 不是可读的 Ed25519 私钥（PEM，无口令）。用 qzbrain bundle keygen 生成一把。",
        en=f"{path} is no readable Ed25519 private key (PEM, without a passphrase). Make one with: qzbrain bundle keygen",
        param="sign",
    )
