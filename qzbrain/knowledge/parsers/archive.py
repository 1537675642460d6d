"""Zip files looked at before anything in them is unpacked: sizes, ratio, member count, passwords."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Sequence

from qzbrain.knowledge.parsers import refusals
from qzbrain.knowledge.parsers.base import ParseLimits

_RATIO_FROM_BYTES = 32 * 1024 * 1024
"""Below this unpacked size the ratio is not looked at: small office files of repeated XML are squeezed a hundredfold."""


def check_archive(data: bytes, kind: str, limits: ParseLimits) -> frozenset[str]:
    """Names of the members, once the archive is known to be harmless. Raises ParseFailed: broken, bomb, encrypted.

    Declared sizes can be relied on: zipfile gives no more of a member than it declares, and then fails on its checksum.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, OSError, struct.error, NotImplementedError, UnicodeDecodeError, RuntimeError, IndexError) as exc:
        raise refusals.broken(kind) from exc
    check_members(members, len(data), kind, limits)
    return frozenset(member.filename for member in members)


def check_members(members: Sequence[zipfile.ZipInfo], packed_bytes: int, kind: str, limits: ParseLimits) -> None:
    """Refuse what an archive's directory says is too much or locked. Raises ParseFailed: bomb, encrypted."""
    unpacked = sum(member.file_size for member in members)
    if len(members) > limits.max_zip_members or unpacked > limits.max_unzipped_bytes:
        raise refusals.bomb()
    if unpacked > _RATIO_FROM_BYTES and unpacked > limits.max_zip_ratio * packed_bytes:
        raise refusals.bomb()
    if any(member.flag_bits & 0x1 for member in members):
        raise refusals.encrypted(kind)
