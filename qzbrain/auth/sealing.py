"""Encrypts the few secrets that must be read again, with a key that lies beside the database and not in it: a copy of the database alone shows none.

AES-256-GCM; what a sealed text is for is bound to it, so that it cannot be moved to another row.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qzbrain.errors import BrainError

_KEY_BYTES, _NONCE_BYTES = 32, 12


class Seal:
    """Seals and opens; the key is made when it is first needed."""

    def __init__(self, path: Path) -> None:
        """`path`: the key's file. All processes and hosts of one brain need the same."""
        self._path = path

    def seal(self, text: str, *, purpose: str) -> str:
        """The text, readable with the key alone."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(self._key(make=True)).encrypt(nonce, text.encode(), purpose.encode())
        return base64.urlsafe_b64encode(nonce + sealed).decode()

    def open(self, sealed: str, *, purpose: str) -> str:
        """What was sealed for this purpose. Raises BrainError (`seal_broken`) where the key is gone, or another one."""
        data = base64.urlsafe_b64decode(sealed)
        try:
            return AESGCM(self._key(make=False)).decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], purpose.encode()).decode()
        except (InvalidTag, OSError, ValueError) as exc:
            raise BrainError(
                "seal_broken",
                zh=f"密钥文件 {self._path} 丢失或已更换，无法读取两步验证的密钥。"
                "请恢复该文件，或由管理员为该用户关闭两步验证：qzbrain user set 用户名 --no-totp",
                en=f"The key file {self._path} is gone or another one, so the secret of one-time codes cannot be read. Bring the file back, or have an "
                "administrator switch one-time codes off for the user: qzbrain user set NAME --no-totp",
            ) from exc

    def _key(self, *, make: bool) -> bytes:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            if not make:
                raise
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(os.urandom(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(fresh, self._path)  # the first of several processes wins
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
        return self._path.read_bytes()
