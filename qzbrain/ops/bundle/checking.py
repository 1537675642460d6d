"""Is a bundle whole, and whose is it? Unpacked, or as a tar. Standard library only.

Every file must stand in SHA256SUMS with its hash and every line there must be a file: nothing missing, nothing changed, nothing added. Where there is a
signature, SHA256SUMS must be what the key beside it signed. Whether that key is to be trusted, only whoever knows its fingerprint from elsewhere can say.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from qzbrain.errors import Conflict, InvalidRequest
from qzbrain.ops.bundle import ed25519
from qzbrain.ops.bundle.layout import KEY, MANIFEST, SIGNATURE, SUMS, UNLISTED, Manifest, damaged, load

Tell = Callable[[int, int], None]
_CHUNK = 1 << 20
_SMALL = 4 << 20
_LINE = re.compile(r"([0-9a-f]{64})  ([^\\\n]+)")


@dataclass(frozen=True, slots=True)
class Checked:
    """A bundle that is whole. `fingerprint`: of the key that signed it, '' for none. `sums`: SHA-256 by name. `identity`: of the whole."""

    manifest: Manifest
    fingerprint: str
    sums: Mapping[str, str]
    identity: str


def check_folder(folder: Path, tell: Tell = lambda _done, _total: None) -> Checked:
    """Check an unpacked bundle; `tell` counts bytes. Raises Conflict (`bundle_damaged`, `bundle_newer`, `signature_wrong`), OSError."""
    if not (folder / SUMS).is_file():
        raise damaged(SUMS, "没有这个文件", "there is no such file")
    sums = _parsed((folder / SUMS).read_bytes())
    there = {str(one.relative_to(folder)): one for one in sorted(folder.rglob("*")) if one.is_symlink() or not one.is_dir()}
    _require_same(sums, {name for name in there if name not in UNLISTED})
    sizes = {name: _size(there[name], name) for name in sums}
    total, done = sum(sizes.values()), 0
    for name, wanted in sums.items():
        made = hashlib.sha256()
        with there[name].open("rb") as file:
            while chunk := file.read(_CHUNK):
                made.update(chunk)
                done += len(chunk)
                tell(done, total)
        _require_hash(name, wanted, made.hexdigest())
    small = {name: there[name].read_bytes() for name in (SUMS, SIGNATURE, KEY, MANIFEST) if name in there}
    return _concluded(small, sums)


def check_tar(path: Path, tell: Tell = lambda _done, _total: None) -> Checked:
    """The same for a bundle as it was made, read once from its beginning to its end. Raises InvalidRequest for what is no bundle."""
    total, hashes, small = path.stat().st_size, dict[str, str](), dict[str, bytes]()
    try:
        with tarfile.open(path, "r:", encoding="utf-8") as archive:
            for name, member in _members(archive):
                file = archive.extractfile(member)
                assert file is not None
                hashes[name] = _hashed(file)
                if name in (SUMS, SIGNATURE, KEY, MANIFEST) and member.size <= _SMALL:
                    file.seek(0)
                    small[name] = file.read()
                tell(member.offset_data + member.size, total)
    except (tarfile.TarError, EOFError, UnicodeDecodeError) as exc:
        raise _no_bundle(path, str(exc)) from exc
    if SUMS not in small:
        raise _no_bundle(path, f"no {SUMS}")
    sums = _parsed(small[SUMS])
    _require_same(sums, {name for name in hashes if name not in UNLISTED})
    for name, wanted in sums.items():
        _require_hash(name, wanted, hashes[name])
    return _concluded(small, sums)


def require_key(checked: Checked, wanted: str) -> None:
    """See that the bundle was signed by the key meant: a fingerprint, or a file with a public key. Raises Conflict (`key_wrong`), InvalidRequest."""
    expected = wanted_fingerprint(wanted)
    if not checked.fingerprint:
        raise Conflict(
            "key_wrong",
            zh=f"离线包没有签名，而要求的签名者是 {expected}。未安装。请向制作者索取签名的离线包。",
            en=f"The bundle is not signed, and should be by {expected}. Nothing was installed. Ask whoever made it for a signed one.",
        )
    if checked.fingerprint != expected:
        raise Conflict(
            "key_wrong",
            zh=f"离线包由另一把密钥签名：{checked.fingerprint}，应为 {expected}。未安装。请确认离线包的来源；若制作者更换了密钥，用 --key 指明新指纹。",
            en=f"The bundle was signed by another key: {checked.fingerprint} and not {expected}. Nothing was installed. Find out where it comes from; if its "
            "maker has a new key, name that one's fingerprint with --key.",
        )


def wanted_fingerprint(given: str) -> str:
    """A fingerprint as it was typed, or that of the public key in a file. Raises InvalidRequest."""
    typed = given.strip().lower().removeprefix("sha256:").replace(":", "")
    if re.fullmatch(r"[0-9a-f]{64}", typed):
        return f"sha256:{typed}"
    try:
        return ed25519.fingerprint(ed25519.public_key(Path(given).expanduser().read_bytes()))
    except (OSError, ValueError) as exc:
        raise InvalidRequest(
            "key_unreadable",
            zh=f"“{given[:120]}”既不是指纹（sha256: 加 64 位十六进制），也不是 Ed25519 公钥文件。",
            en=f'"{given[:120]}" is neither a fingerprint (sha256: and 64 hexadecimal digits) nor a file with an Ed25519 public key.',
            param="key",
        ) from exc


def _members(archive: tarfile.TarFile) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """Names without the one folder that all lie in. Raises Conflict for anything but plain files and folders."""
    seen = set[str]()
    for member in archive:
        name = member.name.partition("/")[2]
        if member.isdir():
            continue
        if not member.isreg() or not name or name in seen or ".." in name.split("/"):
            raise damaged(member.name, "不应有的内容", "nothing that belongs there")
        seen.add(name)
        yield name, member


def _hashed(file: IO[bytes]) -> str:
    made = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        made.update(chunk)
    return made.hexdigest()


def _parsed(data: bytes) -> dict[str, str]:
    """SHA-256 by name. Every line must be as it is written here: what sha256sum would pass over must not be there."""
    try:
        lines = data.decode().split("\n")
    except UnicodeDecodeError as exc:
        raise damaged(SUMS, "不是文本", "it is no text") from exc
    found: dict[str, str] = {}
    for line in lines[:-1]:
        match = _LINE.fullmatch(line)
        if match is None or match[2] in found or match[2].startswith("/") or ".." in match[2].split("/"):
            raise damaged(SUMS, "有一行无法识别", "a line of it cannot be read")
        found[match[2]] = match[1]
    if lines[-1]:
        raise damaged(SUMS, "文件不完整", "it is cut short")
    return found


def _require_same(sums: Mapping[str, str], there: set[str]) -> None:
    for name in sorted(sums.keys() - there):
        raise damaged(name, "缺少这个文件", "this file is missing")
    for name in sorted(there - sums.keys()):
        raise damaged(name, "多出的文件，不在校验清单中", "a file that is in no checksum")


def _size(path: Path, name: str) -> int:
    if path.is_symlink() or not path.is_file():
        raise damaged(name, "不是普通文件", "it is no plain file")
    return path.stat().st_size


def _require_hash(name: str, wanted: str, found: str) -> None:
    if wanted != found:
        raise damaged(name, "校验和不符", "its checksum differs")


def _concluded(small: Mapping[str, bytes], sums: Mapping[str, str]) -> Checked:
    fingerprint = ""
    if SIGNATURE in small or KEY in small:
        fingerprint = _signer(small)
    if MANIFEST not in small:
        raise damaged(MANIFEST, "没有这个文件", "there is no such file")
    manifest = load(small[MANIFEST])
    if manifest.signer != fingerprint:
        raise damaged(SIGNATURE, "与 bundle.json 所说的签名者不符", "it is not by the signer that bundle.json names")
    return Checked(manifest, fingerprint, sums, hashlib.sha256(small[SUMS]).hexdigest())


def _signer(small: Mapping[str, bytes]) -> str:
    try:
        key = ed25519.public_key(small.get(KEY, b""))
    except ValueError:
        key = b""
    if not key or not ed25519.is_signed(key, small[SUMS], small.get(SIGNATURE, b"")):
        raise Conflict(
            "signature_wrong",
            zh="离线包的签名不对：校验清单不是签名者签过的那一份。未安装。请重新复制离线包；若仍如此，不要使用它。",
            en="The bundle's signature is wrong: the checksums are not what its signer signed. Nothing was installed. Copy the bundle again; if that does "
            "not help, do not use it.",
        )
    return ed25519.fingerprint(key)


def _no_bundle(path: Path, why: str) -> InvalidRequest:
    return InvalidRequest(
        "not_a_bundle",
        zh=f"{path} 不是完整的离线包（{why[:120]}）。请重新复制，或用 qzbrain bundle 制作。",
        en=f"{path} is no whole bundle ({why[:120]}). Copy it again, or make one with qzbrain bundle.",
    )
