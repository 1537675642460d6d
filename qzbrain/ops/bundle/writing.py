"""The tar itself: the same bytes for the same parts. Names sorted, one time for all, nobody's user, two kinds of mode."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from qzbrain.errors import StorageFull
from qzbrain.ops.bundle.layout import KEY, SIGNATURE, SUMS
from qzbrain.ops.bundle.signing import public_pem

EPOCH = 1_577_836_800
"""The time of every file, unless SOURCE_DATE_EPOCH says another: what is in a bundle is told by hashes, not by dates."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the bundle: from the disk, or as bytes."""

    name: str
    content: Path | bytes
    executable: bool = False

    def size(self) -> int:
        """Its bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


@dataclass(frozen=True, slots=True)
class Written:
    """`sha256`: of the whole tar."""

    size_bytes: int
    sha256: str
    files: int


def write_bundle(target: Path, folder: str, parts: Iterable[Part], key: Ed25519PrivateKey | None, tell: Callable[[int, int], None]) -> Written:
    """Write all parts, their checksums and the signature into `target`, which appears whole or not at all. Raises StorageFull, OSError."""
    parts = sorted(parts, key=_order)
    total, new = sum(part.size() for part in parts), target.with_name(f".{target.name}.new")
    sums: list[tuple[str, str]] = []
    done = 0
    try:
        with new.open("wb") as out:
            counted = _Hashed(out)
            with tarfile.open(fileobj=counted, mode="w", format=tarfile.GNU_FORMAT, encoding="utf-8") as archive:
                for part in parts:
                    sums.append((part.name, _add(archive, folder, part)))
                    done += part.size()
                    tell(done, total)
                listed = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums)).encode()
                last = [Part(SUMS, listed)]
                if key is not None:
                    last += [Part(SIGNATURE, key.sign(listed)), Part(KEY, public_pem(key))]
                for part in last:
                    _add(archive, folder, part)
            out.flush()
            os.fsync(out.fileno())
        new.replace(target)
    except OSError as exc:
        if exc.errno in (28, 122):  # ENOSPC, EDQUOT
            raise StorageFull from exc
        raise
    finally:
        new.unlink(missing_ok=True)
    return Written(target.stat().st_size, counted.digest.hexdigest(), len(parts) + len(last))


def _order(part: Part) -> tuple[bool, str]:
    """What one looks at first stands first."""
    return "/" in part.name, part.name


def _add(archive: tarfile.TarFile, folder: str, part: Part) -> str:
    info = tarfile.TarInfo(f"{folder}/{part.name}")
    info.size, info.mode = part.size(), 0o755 if part.executable else 0o644
    info.mtime = int(os.environ.get("SOURCE_DATE_EPOCH") or EPOCH)
    with io.BytesIO(part.content) if isinstance(part.content, bytes) else part.content.open("rb") as file:
        reading = _Reading(file)
        archive.addfile(info, reading)
    return reading.digest.hexdigest()


class _Reading:
    """What was read, hashed on the way."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


class _Hashed:
    """A file that is written once from its beginning to its end, hashed on the way."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self.digest = file, hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)

    def tell(self) -> int:
        return self._file.tell()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
