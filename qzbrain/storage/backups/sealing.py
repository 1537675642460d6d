"""Encryption of backups: AES-256-GCM, in pieces, under a random key that the folder keeps wrapped by one made from the user's secret (scrypt).

A sealed stream is 16 random bytes, then pieces of 1 MiB, each with its tag. Its key follows from those bytes and from what the stream is
(`context`), so that streams cannot be exchanged; a piece's nonce is its number and whether it is the last, so none can be moved or cut off.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import os
from pathlib import Path
from typing import IO, Any

from qzbrain.errors import Conflict, SettingsInvalid

PIECE = 1 << 20
_SALT, _TAG = 16, 16
_SCRYPT = {"n": 2**15, "r": 8, "p": 1}
_MEMORY = 128 << 20


class BadSeal(Exception):
    """What is read is not what was sealed."""


def secret_of(path: Path) -> bytes:
    """What a key file holds, without blanks at its ends. Raises SettingsInvalid."""
    try:
        secret = path.read_bytes().strip()
    except OSError as exc:
        raise SettingsInvalid(
            zh=f"无法读取备份密钥文件 {path}：{exc.strerror}。请检查路径和权限。",
            en=f"The key file {path} cannot be read: {exc.strerror}. Check its path and its rights.",
            param="backup_key_file",
        ) from exc
    if len(secret) < 8:
        raise SettingsInvalid(
            zh=f"备份密钥文件 {path} 太短（至少 8 个字节）。可用 head -c 32 /dev/urandom | base64 生成。",
            en=f"The key file {path} is too short (8 bytes at least). Make one with: head -c 32 /dev/urandom | base64",
            param="backup_key_file",
        )
    return secret


class Key:
    """The key of one folder."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def new(cls, secret: bytes) -> tuple[Key, dict[str, Any]]:
        """A fresh key, and how the folder keeps it."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key, salt, nonce = os.urandom(32), os.urandom(16), os.urandom(12)
        wrapped = nonce + AESGCM(_stretched(secret, salt, _SCRYPT)).encrypt(nonce, key, b"qzbrain-backups")
        return cls(key), {"kdf": "scrypt", **_SCRYPT, "salt": base64.b64encode(salt).decode(), "wrapped": base64.b64encode(wrapped).decode()}

    @classmethod
    def unwrapped(cls, kept: dict[str, Any], secret: bytes) -> Key:
        """The folder's key. Raises Conflict (`backup_key_wrong`)."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        salt, wrapped = base64.b64decode(kept["salt"]), base64.b64decode(kept["wrapped"])
        try:
            return cls(AESGCM(_stretched(secret, salt, kept)).decrypt(wrapped[:12], wrapped[12:], b"qzbrain-backups"))
        except InvalidTag as exc:
            raise Conflict(
                "backup_key_wrong",
                zh="密钥不对：它不是写这些备份时所用的密钥。请用 --key-file 指定当时的密钥文件。",
                en="The key is not the one that these backups were made with. Name the right file with --key-file.",
                param="key_file",
            ) from exc

    def name(self, sha256: str) -> str:
        """What a content is called in the folder: its address tells whoever has the key alone what it is."""
        return self.mark(b"name " + sha256.encode())

    def mark(self, data: bytes) -> str:
        """A checksum that nobody makes without the key."""
        return hmac.new(self._key, data, hashlib.sha256).hexdigest()

    def of_stream(self, salt: bytes, context: str) -> Any:
        """The cipher of one stream."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        return AESGCM(HKDF(SHA256(), 32, salt, b"qzbrain-backup " + context.encode()).derive(self._key))


class Sealing:
    """Seals what is written to it; `finish` ends it."""

    def __init__(self, out: Any, key: Key, context: str) -> None:
        salt = os.urandom(_SALT)
        out.write(salt)
        self._out, self._cipher, self._waiting, self._number = out, key.of_stream(salt, context), bytearray(), 0

    def write(self, data: Any, /) -> int:
        """Seal; whole pieces go out at once."""
        self._waiting += data
        while len(self._waiting) > PIECE:
            self._put(bytes(self._waiting[:PIECE]), last=False)
            del self._waiting[:PIECE]
        return len(data)

    def flush(self) -> None:
        """A piece waits until it is whole."""

    def finish(self) -> None:
        """Write the last piece."""
        self._put(bytes(self._waiting), last=True)

    def _put(self, piece: bytes, *, last: bool) -> None:
        self._out.write(self._cipher.encrypt(_nonce(self._number, last=last), piece, None))
        self._number += 1


class Unsealing(io.RawIOBase):
    """A stream that gives what was sealed. Raises BadSeal."""

    def __init__(self, source: IO[bytes], key: Key, context: str) -> None:
        self._source = source
        self._cipher = key.of_stream(source.read(_SALT), context)
        self._ahead: bytes | None = source.read(PIECE + _TAG)
        self._opened, self._number = memoryview(b""), 0

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Some bytes; 0 at the end."""
        while not self._opened and self._ahead is not None:
            self._next()
        size = min(len(buffer), len(self._opened))
        buffer[:size], self._opened = self._opened[:size], self._opened[size:]
        return size

    def _next(self) -> None:
        from cryptography.exceptions import InvalidTag

        following = self._source.read(PIECE + _TAG)
        try:
            opened = self._cipher.decrypt(_nonce(self._number, last=not following), bytes(self._ahead or b""), None)
        except (InvalidTag, ValueError) as exc:
            raise BadSeal from exc
        self._opened, self._ahead, self._number = memoryview(opened), following or None, self._number + 1

    def close(self) -> None:
        """Close the one beneath, too."""
        self._source.close()
        super().close()


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _stretched(secret: bytes, salt: bytes, by: dict[str, Any]) -> bytes:
    return hashlib.scrypt(secret, salt=salt, n=int(by["n"]), r=int(by["r"]), p=int(by["p"]), maxmem=_MEMORY, dklen=32)
