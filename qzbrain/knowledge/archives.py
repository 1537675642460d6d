"""What an archive holds: zip, tar and what gzip, bzip2 or xz pack. Knows members and bytes, not rows; nothing is unpacked to a path.

Members are streamed one after the other. What a hostile archive could cost is bounded before or while it is read: sizes, ratio and number by
the zip's own directory, all that a tar unpacks to by counting.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from qzbrain.errors import ParseFailed
from qzbrain.knowledge.parsers import refusals
from qzbrain.knowledge.parsers.archive import check_members
from qzbrain.knowledge.parsers.base import ParseLimits
from qzbrain.storage.files import ByteSource

LIMITS = ParseLimits(max_unzipped_bytes=4 << 30, max_zip_members=20_000)
"""Of an archive of documents, which holds more than one document does."""

_DIRECTORY_BYTES = 8 << 20
_END_BYTES = 22 + 65_535
_TAR_HEAD_BYTES = 16 << 20
_DOCUMENT_ENDINGS = (
    ".docx", ".docm", ".dotx", ".xlsx", ".xlsm", ".pptx", ".pptm", ".ppsx", ".epub", ".odt", ".ods", ".odp", ".wps", ".et", ".dps", ".vsdx", ".ofd", ".qzkb",
)
_DOCUMENT_PARTS = ("word/", "xl/", "ppt/", "META-INF/container.xml", "[Content_Types].xml")
_PACKED = ((b"\x1f\x8b\x08", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\0", lzma.open))
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, struct.error, ValueError, NotImplementedError, RuntimeError,
    IndexError,
)
"""What the libraries raise for broken archives. OSError is among them (gzip): a disk's own fault then fails a member, not more."""
_NO_DOCUMENTS = frozenset(("thumbs.db", "desktop.ini", "__macosx"))


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive; `stream` may be read until the next one is asked for, and raises ParseFailed when it is damaged."""

    name: str
    stream: ByteSource


@dataclass(frozen=True, slots=True)
class BadMember:
    """A member that is not taken, and why."""

    name: str
    zh: str
    en: str


def is_archive(path: Path, name: str, head: bytes) -> bool:
    """Whether a file that begins with `head` is to be taken apart. One that is locked, broken or a bomb is not: read as a document, it says so."""
    if head[257:262] == b"ustar" or any(head.startswith(magic) for magic, _ in _PACKED):
        return True
    if not head.startswith(b"PK\x03\x04") or name.lower().endswith(_DOCUMENT_ENDINGS) or not _small_directory(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
        check_members(infos, path.stat().st_size, "zip", LIMITS)
    except (*_DAMAGE, ParseFailed):
        return False
    names = {info.filename for info in infos}
    return not any(name.startswith(_DOCUMENT_PARTS) for name in names) and not {"mimetype", "content.xml"} <= names


def members(path: Path, name: str) -> Iterator[Member | BadMember]:
    """The files of an archive in its order, with their paths in it. Raises ParseFailed when it is damaged so that nothing more can be read."""
    with path.open("rb") as file:
        head = file.read(512)
        if head.startswith(b"PK"):
            found = _zip_members(file)
        elif opened := next((opener for magic, opener in _PACKED if head.startswith(magic)), None):
            found = _packed_members(file, opened, name)
        else:
            found = _tar_members(file)
        file.seek(0)
        try:
            yield from found
        except _DAMAGE as exc:
            raise refusals.broken(name.rpartition(".")[2] or "zip") from exc


def _small_directory(path: Path) -> bool:
    """Whether a zip's directory, which is read whole, is of a size to be looked at here."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(size - _END_BYTES, 0))
        tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < 22:
        return False
    (directory_bytes,) = struct.unpack_from("<L", tail, at + 12)
    return bool(directory_bytes <= _DIRECTORY_BYTES)


def _zip_members(file: BinaryIO) -> Iterator[Member | BadMember]:
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        check_members(infos, file.seek(0, io.SEEK_END), "zip", LIMITS)
        for info in infos:
            name = _zip_name(info)
            if info.is_dir() or name.endswith(("/", "\\")) or _is_hidden(name):
                continue
            if stat.S_ISLNK(info.external_attr >> 16):
                yield _link(name)
            elif fault := _path_fault(name):
                yield fault
            else:
                try:
                    with archive.open(info) as stream:
                        yield Member(name, _Checked(cast("BinaryIO", stream)))
                except _DAMAGE:
                    yield _damaged(name)


def _zip_name(info: zipfile.ZipInfo) -> str:
    """The name as its maker meant it: programs in China write GBK without saying so, and zipfile takes that for the IBM PC's characters."""
    if info.flag_bits & 0x800 or info.filename.isascii():
        return info.filename
    raw = info.filename.encode("cp437", "replace")
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return info.filename


def _packed_members(file: BinaryIO, opener: object, name: str) -> Iterator[Member | BadMember]:
    """A tar, or the one file that was packed."""
    file.seek(0)
    with opener(file) as unpacked:  # type: ignore[operator]
        is_tar = unpacked.read(512)[257:262] == b"ustar"
    file.seek(0)
    with opener(file) as unpacked:  # type: ignore[operator]
        if is_tar:
            yield from _tar_members(unpacked)
        else:
            inner = name.rpartition("/")[2]
            yield Member(inner.rpartition(".")[0] or inner, _Checked(unpacked))


def _tar_members(file: BinaryIO) -> Iterator[Member | BadMember]:
    file.seek(0)
    counted = _Counted(file)
    with tarfile.open(fileobj=cast("BinaryIO", counted), mode="r|", encoding="utf-8", errors="surrogateescape") as archive:
        for number, info in enumerate(archive):
            counted.allow(info.size)
            if number >= LIMITS.max_zip_members:
                raise refusals.bomb()
            name = _tar_name(info.name)
            if info.isdir() or _is_hidden(name):
                continue
            if not info.isreg():
                yield _link(name)
            elif fault := _path_fault(name):
                yield fault
            elif (stream := archive.extractfile(info)) is not None:
                yield Member(name, _Checked(cast("BinaryIO", stream)))


def _tar_name(name: str) -> str:
    """UTF-8, else GBK."""
    raw = name.encode("utf-8", "surrogateescape")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("gb18030", "replace")


class _Checked:
    """A member's stream whose damage is a reason."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def read(self, size: int = -1, /) -> bytes:
        try:
            return self._stream.read(size)
        except _DAMAGE as exc:
            raise refusals.broken("") from exc


class _Counted:
    """What a tar is read from. Long heads, which tarfile holds in memory, and endless ones end it, as does all that is over the limit."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = _TAR_HEAD_BYTES
        self._all = LIMITS.max_unzipped_bytes

    def allow(self, size: int) -> None:
        """The member that was just found may be read, and the head of the one after it."""
        self._left = size + _TAR_HEAD_BYTES

    def read(self, size: int = -1, /) -> bytes:
        piece = self._file.read(size)
        self._left -= len(piece)
        self._all -= len(piece)
        if self._left < 0 or self._all < 0:
            raise refusals.bomb()
        return piece


def _is_hidden(name: str) -> bool:
    """What systems put beside files: nothing that a person would miss."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return not parts or any(part[0] == "." or part.startswith("~$") or part.lower() in _NO_DOCUMENTS for part in parts)


def _path_fault(name: str) -> BadMember | None:
    plain = name.replace("\\", "/")
    if plain.startswith("/") or plain[1:2] == ":" or ".." in plain.split("/"):
        return BadMember(name, "路径指向压缩包之外，未读取", "its path leads out of the archive; not read")
    return None


def _link(name: str) -> BadMember:
    return BadMember(name, "是链接或特殊文件，未读取", "a link or a special file; not read")


def _damaged(name: str) -> BadMember:
    return BadMember(name, "在压缩包内已损坏，或压缩方式不受支持", "damaged in the archive, or packed in a way that is not supported")
