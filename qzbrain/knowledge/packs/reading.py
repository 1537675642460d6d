"""Opens a pack that may come from anybody: what lies in it, read piece by piece, and nothing unpacked by a name that it brings."""

from __future__ import annotations

import errno
import hashlib
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import orjson

from qzbrain.domain import LEVELS
from qzbrain.errors import BrainError, InvalidRequest
from qzbrain.knowledge.packs.format import CHECKSUMS, FILES, FORMAT, MAJOR, MANIFEST, RETIRED, SECTIONS, VECTOR_ROWS, VECTORS, PackManifest, VectorsPart
from qzbrain.knowledge.packs.graph_format import longest

_PIECE = 1 << 20
_LARGEST_MANIFEST = 4 << 20
_LARGEST_LIST = 256 << 20
_MOST_MEMBERS = 2_000_000
_BOMB_RATIO = 250
_BOMB_FROM = 16 << 20
_HEX = re.compile(r"[0-9a-f]{64}")
_OTHER = re.compile(r"[a-z0-9_]{1,40}(\.[a-z0-9]{1,10})?")
_KNOWN = {MANIFEST, CHECKSUMS, VECTORS, VECTOR_ROWS, *(f"{name}.jsonl" for name in (*SECTIONS, *RETIRED))}


def bad_pack(zh: str, en: str) -> InvalidRequest:
    """A pack that is not what it says. The sentences say what; what to do is the same each time."""
    return InvalidRequest(
        "bad_pack",
        zh=f"知识包不能导入：{zh}。没有导入任何内容。请重新导出或重新传输该文件。",
        en=f"The pack cannot be imported: {en}. Nothing was taken in. Export it again, or copy the file again.",
        param="file",
    )


def bad_row(section: str, number: int, name: str) -> InvalidRequest:
    """A row, from 1, of which this field is not what it must be."""
    return bad_pack(f"{section} 第 {number} 行的 {name} 无效", f"{name} in row {number} of {section} cannot be")


class Pack:
    """An open pack, its members and checksums as declared. `skipped`: members of sections that this program does not know."""

    def __init__(self, path: Path, *, line_bytes: int) -> None:
        """`line_bytes`: the longest line of a section. Raises InvalidRequest (`bad_pack`, `newer_pack`, `pack_not_found`)."""
        self.path, self._line_bytes = path, line_bytes
        try:
            self._zip = zipfile.ZipFile(path)
        except OSError as exc:
            if exc.errno == errno.EINVAL:
                raise bad_pack("不是知识包，或文件不完整", "it is no pack, or not whole") from exc
            raise InvalidRequest(
                "pack_not_found", zh=f"无法读取知识包 {path}：{exc.strerror}。", en=f"The pack {path} cannot be read: {exc.strerror}.", param="file"
            ) from exc
        except (zipfile.BadZipFile, struct.error, NotImplementedError, OverflowError, ValueError) as exc:
            raise bad_pack("不是知识包，或文件不完整", "it is no pack, or not whole") from exc
        try:
            self._open()
        except BaseException:
            self._zip.close()
            raise

    def _open(self) -> None:
        self.members = _members(self._zip.infolist())
        self.manifest = _manifest(self._whole(MANIFEST, _LARGEST_MANIFEST))
        self.checksum, self.sums = _sums(self._whole(CHECKSUMS, _LARGEST_LIST))
        if list(self.sums) != [name for name in self.members if name != CHECKSUMS]:
            raise bad_pack("校验清单与文件内容不一致", "its list of checksums names other members than it has")
        self.skipped = sorted(name for name in self.members if name not in _KNOWN and not name.startswith(FILES))
        if any(f"{name}.jsonl" in self.members and self.members[f"{name}.jsonl"].file_size for name in RETIRED):
            raise bad_pack("graph.jsonl 应为空", "its graph.jsonl is not empty")
        self.size_bytes = sum(info.file_size for info in self.members.values())

    def close(self) -> None:
        """Let the file go."""
        self._zip.close()

    def __enter__(self) -> Pack:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def member(self, name: str) -> Iterator[IO[bytes]]:
        """A member as a stream. Raises InvalidRequest where its bytes are damaged."""
        try:
            with self._zip.open(self.members[name]) as stream:
                yield stream
        except BrainError:
            raise
        except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, OSError, OverflowError, RuntimeError, ValueError) as exc:
            if isinstance(exc, OSError) and exc.errno != errno.EINVAL:  # an offset that cannot be is the pack's fault, a failing disk is not
                raise
            raise bad_pack(f"{name} 已损坏或缺失", f"{name} is damaged or missing") from exc

    def lines(self, name: str) -> Iterator[bytes]:
        """The rows of a section, and at their end its checksum is known to be right."""
        most = longest(name, self._line_bytes)
        member = f"{name}.jsonl"
        if member not in self.members:
            return
        digest = hashlib.sha256()
        with self.member(member) as stream:
            while line := stream.readline(most):
                digest.update(line)
                if not line.endswith(b"\n"):
                    raise bad_pack(f"{member} 有一行过长或不完整", f"{member} has a line that is too long or not whole")
                yield line
        self._compare(member, digest.hexdigest())

    def verify(self, name: str) -> Iterator[int]:
        """Read a member to its end and compare its checksum; gives the bytes of each piece."""
        digest = hashlib.sha256()
        with self.member(name) as stream:
            while piece := stream.read(_PIECE):
                digest.update(piece)
                yield len(piece)
        self._compare(name, digest.hexdigest())

    def _compare(self, name: str, found: str) -> None:
        if self.sums[name] != found:
            raise bad_pack(f"{name} 的校验和不符", f"the checksum of {name} does not fit")

    def _whole(self, name: str, most: int) -> bytes:
        if name not in self.members or self.members[name].file_size > most:
            raise bad_pack(f"缺少 {name}", f"it has no {name} of a sensible size")
        with self.member(name) as stream:
            return stream.read(most)


def _members(infos: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """By name. Refuses names that are none of a pack's, members twice, locked ones, and what grows beyond measure."""
    if len(infos) > _MOST_MEMBERS:
        raise bad_pack("成员过多", "it has too many members")
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = info.filename
        named = _HEX.fullmatch(name.removeprefix(FILES)) if name.startswith(FILES) else _OTHER.fullmatch(name)
        if not named or name in members:
            raise bad_pack("含有不应存在的成员名", "it has a member of a name that no pack has")
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise bad_pack(f"{name} 已加密，或压缩方式不受支持", f"{name} is encrypted, or packed in a way that no pack is")
        if info.file_size > _BOMB_FROM and info.file_size > _BOMB_RATIO * info.compress_size:
            raise bad_pack(f"{name} 解压后异常大", f"{name} grows beyond measure when it is unpacked")
        members[name] = info
    return members


def _sums(raw: bytes) -> tuple[str, dict[str, str]]:
    """The pack's checksum, and that of each member in order."""
    lines = raw.decode("ascii", "replace").splitlines(keepends=True)
    sums: dict[str, str] = {}
    for line in lines[:-1]:
        sha256, blank, name = line.rstrip("\n").partition("  ")
        if not _HEX.fullmatch(sha256) or not blank or name in sums:
            raise bad_pack("校验清单无法读取", "its list of checksums cannot be read")
        sums[name] = sha256
    checksum = lines[-1].strip() if lines else ""
    if hashlib.sha256("".join(lines[:-1]).encode()).hexdigest() != checksum:
        raise bad_pack("校验清单自身的校验和不符", "the checksum of its list of checksums does not fit")
    return checksum, sums


def _manifest(raw: bytes) -> PackManifest:
    try:
        value: Any = orjson.loads(raw)
        version = (value["version"][0], value["version"][1])
        if value["format"] != FORMAT or not all(type(x) is int for x in version):
            raise ValueError
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, ValueError) as exc:
        raise bad_pack("manifest.json 无法读取", "its manifest.json cannot be read") from exc
    if version[0] > MAJOR:
        raise InvalidRequest(
            "newer_pack",
            zh=f"该知识包的格式版本为 {version[0]}.{version[1]}，本程序只能读取到 {MAJOR} 版。请升级 qzbrain 后再导入。",
            en=f"The pack is of format {version[0]}.{version[1]} and this program reads up to {MAJOR}. Upgrade qzbrain, then import it.",
            param="file",
        )
    try:
        return _checked(value, version)
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise bad_pack("manifest.json 的内容不完整或取值有误", "its manifest.json lacks something, or holds a value that cannot be") from exc


def _checked(value: dict[str, Any], version: tuple[int, int]) -> PackManifest:
    kb = dict(value["knowledge_base"])
    for name, most in (("name", 64), ("title", 255), ("description", 10_000), ("created_at", 32)):
        _require(isinstance(kb[name], str) and len(kb[name]) <= most)
    _require(type(kb["chunk_chars"]) is int and 50 <= kb["chunk_chars"] <= 8000)
    _require(type(kb["overlap_chars"]) is int and 0 <= kb["overlap_chars"] <= kb["chunk_chars"] // 2)
    _require(kb["without_evidence"] in ("refuse", "model") and isinstance(kb["manifest"], dict))
    _require(all(type(kb.get(name, 0)) is int and 0 <= kb.get(name, 0) < len(LEVELS) for name in ("level", "highest")))
    counts = {name: value["counts"].get(name, 0) for name in SECTIONS}
    _require(all(type(x) is int and x >= 0 for x in counts.values()))
    part = None
    if value["vectors"] is not None:
        given = value["vectors"]
        part = VectorsPart(given["embedder"], given["width"], given["rows"], given["upto"], dict(given["manifest"]))
        _require(isinstance(part.embedder, str) and len(part.embedder) <= 255)
        _require(all(type(x) is int for x in (part.width, part.rows, part.upto)) and 1 <= part.width <= 16_384)
        _require(0 <= part.rows <= part.upto <= counts["chunks"])
    for name in ("program", "made_at", "tokenizer"):
        _require(isinstance(value[name], str) and len(value[name]) <= 64)
    return PackManifest(version, value["program"], value["made_at"], value["tokenizer"], kb, counts, part, bool(value["originals"]))


def _require(good: bool) -> None:
    if not good:
        raise ValueError
